// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands of TruCluster and OpenSSI, each a link to `cdsl` under its name: `mkcdsl`, `cdslinvchk`, `mklocalfile`,
//! `mkglobalfile`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use indicatif::ProgressBar;

use super::{Env, Failure, Outcomes, Status, dispatch, end, tell};
use crate::check;
use crate::check::rebuild::entry_of_link;
use crate::cli::{Cdsl, Command, Create, Global, Remove};
use crate::layout::{self, Variable};
use crate::site::Site;
use crate::store::{self, Change};
use crate::tree::TreeError;

/// The names under which the program is one of them.
pub const NAMES: [&str; 4] = ["mkcdsl", "cdslinvchk", "mklocalfile", "mkglobalfile"];

/// Where `cdslinvchk` writes what it found, unless told.
const LOG: &str = "/var/log/cdsl_check_list";

/// Make a CDSL, as on TruCluster.
///
/// Links lead to each node's own part of /cluster; so the link's text, where it is given, has to be the one that cdsl
/// makes.
#[derive(Debug, Parser)]
#[command(name = "mkcdsl", version)]
pub struct MkCdsl {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Every node gets a copy of what is there
    #[arg(short = 'a', group = "how")]
    pub all: bool,
    /// Only this node gets what is there
    #[arg(short = 'c', group = "how")]
    pub this: bool,
    /// Change the inventory only: a path that is a CDSL is taken into it, one that is none is taken out
    #[arg(short = 'i', group = "how")]
    pub inventory: bool,
    /// Go on where that means a moment without the path, an original in use, or copies that are there already
    #[arg(short = 'f')]
    pub force: bool,
    /// Print every step and do none
    #[arg(short = 'n')]
    pub dry_run: bool,
    /// Say what is done, which is so anyway unless -q is given
    #[arg(short = 'v', conflicts_with = "quiet")]
    pub verbose: bool,
    /// The text of the link, if it is given, and the path
    #[arg(required = true, num_args = 1..=2, value_name = "SOURCE] [TARGET")]
    pub names: Vec<OsString>,
}

/// Compare inventory and tree, as on TruCluster.
#[derive(Debug, Parser)]
#[command(name = "cdslinvchk", version)]
pub struct CdslInvChk {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Where it is written what was found; the one from before is kept with .old at its end
    #[arg(default_value = LOG, value_name = "LOG")]
    pub log: PathBuf,
}

/// Give every node its own copy of a shared file, as OpenSSI's command.
#[derive(Debug, Parser)]
#[command(name = "mklocalfile", version)]
pub struct MkLocalFile {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Print every step and do none
    #[arg(short = 'n')]
    pub dry_run: bool,
    /// The files or directories
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
}

/// Make a node-specific file a shared one again, with this node's content, as OpenSSI's command.
#[derive(Debug, Parser)]
#[command(name = "mkglobalfile", version)]
pub struct MkGlobalFile {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Print every step and do none
    #[arg(short = 'n')]
    pub dry_run: bool,
    /// The CDSLs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
}

/// Which of them the program was called as; `None` for `cdsl` itself.
pub fn called_as(arguments: &[OsString]) -> Option<&'static str> {
    let name = Path::new(arguments.first()?).file_name()?;
    NAMES.into_iter().find(|known| OsStr::new(known) == name)
}

/// Runs one of them.
pub fn run(name: &str, arguments: Vec<OsString>) -> ExitCode {
    end(match name {
        "mkcdsl" => mkcdsl(MkCdsl::parse_from(arguments)),
        "cdslinvchk" => cdslinvchk(&CdslInvChk::parse_from(arguments)),
        "mklocalfile" => {
            let args = MkLocalFile::parse_from(arguments);
            create(args.global, args.paths, None, args.dry_run, false)
        }
        _ => {
            let args = MkGlobalFile::parse_from(arguments);
            let remove = Remove { paths: args.paths, from: None, purge: false, dry_run: args.dry_run, force: false };
            dispatch(Cdsl { global: args.global, command: Command::Remove(remove) })
        }
    })
}

fn create(global: Global, paths: Vec<OsString>, only: Option<String>, dry_run: bool, force: bool) -> Outcomes {
    let create = Create {
        paths,
        each: only.is_none(),
        only,
        default: false,
        var: Variable::nodenum().to_string(),
        recursive: false,
        dry_run,
        force,
    };
    dispatch(Cdsl { global, command: Command::Create(create) })
}

fn mkcdsl(args: MkCdsl) -> Outcomes {
    let mut names = args.names;
    let Some(target) = names.pop() else {
        return Err(Failure::Usage("mkcdsl needs a path".to_owned()));
    };
    let site = Site::open(&args.global.root, args.global.node)?;
    let env = Env { site, global: args.global.clone() };
    let path = env.path(&target)?;
    if let Some(source) = names.pop() {
        let text = layout::link_text(&Variable::nodenum(), &path);
        if *source.as_encoded_bytes() != *text {
            let right = crate::path::shown(&text);
            return Err(Failure::Refused(format!(
                "a CDSL at {path} leads to {right}, and cannot to {}: leave the source out",
                crate::path::shown(source.as_encoded_bytes())
            )));
        }
    }
    if args.inventory {
        return inventory_only(&env, &path, args.dry_run);
    }
    let only = match (args.all, args.this) {
        (true, _) => None,
        (_, true) => Some(env.site.node()?.to_string()),
        _ => {
            return Err(Failure::Refused(format!(
                "{path}: say with -a that every node gets a copy of it, or with -c that only this one does"
            )));
        }
    };
    create(args.global, vec![target], only, args.dry_run, args.force)
}

/// `mkcdsl -i`
fn inventory_only(env: &Env, path: &crate::path::TreePath, dry_run: bool) -> Outcomes {
    let root = &env.site.root;
    let failed = |error: std::io::Error| TreeError::new("look at", root.shown(path), error);
    let lock = env.lock()?;
    let path = root.canonical(path).map_err(failed)?;
    let link = root.readlink(&path).map_err(failed)?.and_then(|text| layout::parse_link(&text));
    let old = store::find(root, &path)?;
    let mut change = Change::default();
    let told = match link.filter(|(_, target)| *target == path) {
        Some((variable, _)) => match entry_of_link(&env.site, &path, &variable, old.as_ref())? {
            Some(entry) => {
                change.add.push(entry);
                format!("{path} is a CDSL, and in the inventory")
            }
            None => return Err(Failure::Failed(format!("{path} is a CDSL that leads to no copy on any node"))),
        },
        None if old.is_some() => {
            change.drop.push(path.clone());
            format!("{path} is no CDSL, and not in the inventory any more")
        }
        None => format!("{path} is no CDSL, and not in the inventory"),
    };
    if !dry_run {
        store::change(root, &lock, change)?;
    }
    env.say(&told);
    Ok(Status::Done)
}

fn cdslinvchk(args: &CdslInvChk) -> Outcomes {
    let site = Site::open(&args.global.root, args.global.node)?;
    let env = Env { site, global: args.global.clone() };
    let mut found = Vec::new();
    check::check(
        &env.site,
        false,
        &ProgressBar::hidden(),
        &mut |line| eprintln!("cdslinvchk: {line}"),
        &mut |finding| {
            found.push(finding);
        },
    )?;
    if found.is_empty() {
        write_log(&args.log, "Successful CDSL inventory check\n")?;
        env.say("Successful CDSL inventory check");
        return Ok(Status::Done);
    }
    let text: String = found.iter().map(|finding| format!("{finding}\n    {}\n", finding.cure())).collect();
    write_log(&args.log, &text)?;
    tell(text.trim_end());
    env.say(&format!("written to {}", args.log.display()));
    Ok(Status::Found)
}

/// Writes the log, and keeps the one before.
fn write_log(log: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot write {}: {error}", log.display()));
    let mut old = log.as_os_str().to_owned();
    old.push(".old");
    match fs::rename(log, old) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::File::create_new(log).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_hold_together() {
        MkCdsl::command().debug_assert();
        CdslInvChk::command().debug_assert();
        MkLocalFile::command().debug_assert();
        MkGlobalFile::command().debug_assert();
    }

    #[test]
    fn the_name_of_the_program_tells() {
        let called = |name: &str| called_as(&[OsString::from(name)]);
        assert_eq!(called("/usr/sbin/mkcdsl"), Some("mkcdsl"));
        assert_eq!(called("mkglobalfile"), Some("mkglobalfile"));
        assert_eq!(called("/usr/bin/cdsl"), None);
        assert_eq!(called_as(&[]), None);
    }

    #[test]
    fn options_that_contradict_each_other_are_wrong_use() {
        for bad in ["mkcdsl -a -c /x", "mkcdsl -a -i /x", "mkcdsl -a", "mkcdsl -a 1 2 3", "mkcdsl -q -v -a /x"] {
            assert!(MkCdsl::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
        assert!(MkCdsl::try_parse_from("mkcdsl -afnq /cluster/x /x".split(' ')).is_ok());
    }
}
