// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands, one file each, and what they share: where they work, how they speak, with which status they end.

mod apply;
mod check;
pub mod compat;
mod context;
mod copies;
mod create;
mod diff;
mod edit;
mod exec;
mod foreach;
mod list;
mod node;
mod own;
mod remove;
mod resolve;
mod revert;

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Cdsl, Command, Global};
use crate::inventory::Entry;
use crate::lock::Lock;
use crate::ops::{self, OpError, Outcome, Progress, Step};
use crate::path::{PathError, TreePath};
use crate::site::{Site, SiteError};
use crate::store::StoreError;
use crate::tree::TreeError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Done,
    /// Something failed, or a check found something.
    Found,
    /// A program that was run for the user ended with this.
    Of(u8),
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// It would not be right; nothing was changed.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// The status of the process.
    pub fn status(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 4,
        }
    }
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(why) => Self::Refused(why),
            OpError::Stopped { error, after } if matches!(*error, OpError::Refused(_)) => {
                Self::Refused(OpError::Stopped { error, after }.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::Usage(error.to_string())
    }
}

macro_rules! failed {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        })+
    };
}
failed!(SiteError, StoreError, TreeError, crate::inventory::InventoryError);

/// What a command gives back.
pub type Outcomes = Result<Status, Failure>;

/// What a command has to do with.
pub struct Env {
    /// Where it works.
    pub site: Site,
    /// How it speaks.
    pub global: Global,
}

/// Runs a command.
pub fn run(cdsl: Cdsl) -> ExitCode {
    end(dispatch(cdsl))
}

/// Tells why it was not done, and gives the status of the process.
fn end(outcome: Outcomes) -> ExitCode {
    match outcome {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Found) => ExitCode::from(1),
        Ok(Status::Of(status)) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("cdsl: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn dispatch(cdsl: Cdsl) -> Outcomes {
    if let Command::Completions { shell } = cdsl.command {
        let mut command = <Cdsl as clap::CommandFactory>::command();
        clap_complete::generate(shell, &mut command, "cdsl", &mut std::io::stdout());
        return Ok(Status::Done);
    }
    let site = Site::open(&cdsl.global.root, cdsl.global.node.filter(|_| names_a_known_node(&cdsl.command)))?;
    let env = Env { site, global: cdsl.global };
    match cdsl.command {
        Command::Create(args) => create::run(&env, &args),
        Command::Own(args) => own::run(&env, &args),
        Command::Remove(args) => remove::run(&env, &args),
        Command::Revert(args) => revert::run(&env, &args),
        Command::Resolve(args) => resolve::run(&env, &args),
        Command::List(args) => list::run(&env, &args),
        Command::Check(args) => check::run(&env, &args),
        Command::Apply(args) => apply::run(&env, &args),
        Command::Diff(args) => diff::run(&env, &args),
        Command::Edit(args) => edit::run(&env, &args),
        Command::Exec(args) => exec::run(&env, &args),
        Command::Foreach(args) => foreach::run(&env, &args),
        Command::Context(args) => context::run(&env, &args),
        Command::Mount => context::mount(&env),
        Command::Umount => context::umount(&env),
        Command::Node(command) => node::run(&env, &command),
        Command::Completions { .. } => Ok(Status::Done),
    }
}

/// `cdsl node` has numbers of its own, also of nodes that are gone.
fn names_a_known_node(command: &Command) -> bool {
    !matches!(command, Command::Node(_))
}

impl Env {
    /// A path that the user named; one that does not begin at the root begins where the user is, for the machine's own
    /// root.
    pub fn path(&self, text: &OsStr) -> Result<TreePath, Failure> {
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'/') && self.site.root.is_machine() {
            let here = std::env::current_dir()
                .map_err(|error| Failure::Failed(format!("cannot tell where this is: {error}")))?;
            let path = [here.as_os_str().as_bytes(), b"/", bytes].concat();
            return Ok(TreePath::parse(&path)?);
        }
        Ok(TreePath::parse(bytes)?)
    }

    /// Tells something that is not asked for in the form of data.
    pub fn say(&self, line: &str) {
        if !self.global.quiet {
            tell(line);
        }
    }

    /// Keeps other commands away from the tree, and finishes or undoes what one that was cut off left.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let lock = Lock::take(&self.site.root, &mut |holder| {
            let whom = if holder.is_empty() { "another cdsl" } else { holder };
            eprintln!("cdsl: waiting for {whom}, which is changing this tree");
        })?;
        if let Some(recovered) = ops::recover(&self.site, &lock)? {
            tell_cut(&recovered.finished, "finished");
            tell_cut(&recovered.undone, "undone");
            self.tell_attic(&recovered.attic);
        }
        Ok(lock)
    }

    /// As [`Env::lock`], for a command that may only be asked what it would do: it then leaves the tree alone, also in
    /// the hands of another command.
    pub fn lock_unless(&self, dry_run: bool) -> Result<Option<Lock>, Failure> {
        if !dry_run {
            return self.lock().map(Some);
        }
        if crate::journal::Journal::read(&self.site.root)?.is_some() {
            eprintln!("cdsl: a command was cut off or is at work: what it had begun is finished or undone first");
        }
        Ok(None)
    }

    /// Where things went that were taken away.
    pub fn tell_attic(&self, attic: &[(TreePath, TreePath)]) {
        if attic.len() > NAMED {
            let below =
                attic.first().and_then(|(from, to)| Some(to.as_bytes().strip_suffix(from.as_bytes())?.to_vec()));
            let below = below.map_or_else(|| "the attic".to_owned(), |place| crate::path::shown(&place));
            eprintln!("cdsl: {} things that were taken away are below {below} now", attic.len());
            return;
        }
        for (from, to) in attic {
            eprintln!("cdsl: what was at {} is at {} now", self.site.root.shown(from), self.site.root.shown(to));
        }
    }

    /// Does what was planned; without the tree in its hands it prints it.
    pub fn carry_out(&self, lock: Option<&Lock>, steps: &[Step]) -> Result<Outcome, Failure> {
        let Some(lock) = lock else {
            for line in ops::describe(&self.site, steps) {
                tell(&line);
            }
            return Ok(Outcome::default());
        };
        let bar = self.bar(steps.len());
        let outcome = ops::execute(&self.site, lock, steps, &mut |told: Progress| {
            if let Some(bar) = &bar {
                bar.set_position(told.done as u64);
                bar.set_message(format!("{} copied, {} MiB", told.copied.entries, told.copied.bytes >> 20));
            }
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Err(OpError::Stopped { after, .. }) = &outcome {
            self.tell_attic(&after.attic);
        }
        let outcome = outcome?;
        self.tell_attic(&outcome.attic);
        if outcome.sockets > 0 {
            eprintln!(
                "cdsl: {} sockets were not copied: they belong to the processes that listen there",
                outcome.sockets
            );
        }
        Ok(outcome)
    }

    /// A bar for long work, where somebody looks.
    pub fn bar(&self, all: usize) -> Option<ProgressBar> {
        if self.global.quiet || !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::new(all as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}") {
            bar.set_style(style);
        }
        Some(bar)
    }

    /// The inventory's entries for paths that the user named.
    pub fn entries(&self, texts: &[std::ffi::OsString]) -> Result<Vec<Entry>, Failure> {
        let paths = texts.iter().map(|text| self.path(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(ops::entries_of(&self.site, &paths)?)
    }

    /// The inventory's entry for a path that the user named.
    pub fn entry(&self, text: &OsStr) -> Result<Entry, Failure> {
        let path = self.path(text)?;
        Ok(ops::entry_of(&self.site, &path)?)
    }
}

/// So many paths are named one by one; more are counted.
const NAMED: usize = 10;

/// What became of the changes of a command that was cut off.
fn tell_cut(paths: &[TreePath], how: &str) {
    match paths {
        [] => {}
        [first, .., last] if paths.len() > NAMED => {
            eprintln!("cdsl: {} changes of a command that was cut off are {how}, from {first} to {last}", paths.len());
        }
        few => few.iter().for_each(|path| eprintln!("cdsl: {path}: a command that was cut off is {how}")),
    }
}

/// A line on standard output. A reader that has seen enough is no error.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
