// SPDX-License-Identifier: GPL-2.0-or-later
//! `service`: one service by its name, be it a unit or an init script (service(8)).
//!
//! What every unit can do is done by the manager; other words (`configtest`, `rotate`, …) are the script's own, and it
//! is run with a small environment and at /, as it would be at boot.

use super::terminal;
use crate::generator::name::{is_hidden_or_backup, unit_of_script};
use crate::manager::{Manager, ManagerError, UnitState, Verb};
use crate::power;
use anyhow::{Context as _, Result, bail, ensure};
use clap::{ArgAction, Parser};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

/// Where the scripts are.
const SCRIPTS: &str = "/etc/init.d";

/// What a script keeps of its caller's environment.
const ENVIRONMENT: [&str; 16] = [
    "LANG",
    "LANGUAGE",
    "LC_CTYPE",
    "LC_NUMERIC",
    "LC_TIME",
    "LC_COLLATE",
    "LC_MONETARY",
    "LC_MESSAGES",
    "LC_PAPER",
    "LC_NAME",
    "LC_ADDRESS",
    "LC_TELEPHONE",
    "LC_MEASUREMENT",
    "LC_IDENTIFICATION",
    "LC_ALL",
    "TERM",
];

/// What is in the folder beside services: the parts of sysvinit itself, which would act on the machine as a whole,
/// and examples.
const NO_SERVICES: [&str; 13] = [
    "README",
    "bootclean.sh",
    "functions",
    "halt",
    "killall",
    "kudzu",
    "linuxconf",
    "rc",
    "rc.local",
    "rcS",
    "reboot",
    "single",
    "skeleton",
];

/// PATH, where the caller has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// LSB's answers to `status`: Linux Standard Base, "Init Script Actions".
const RUNNING: u8 = 0;
const NOT_RUNNING: u8 = 3;
const UNKNOWN: u8 = 4;

#[derive(Debug, Parser)]
#[command(about = "Start, stop or ask a service", version, disable_help_flag = true)]
pub(super) struct Service {
    /// The script's name, which is the unit's without ".service"
    #[arg(value_name = "NAME", required_unless_present = "status_all")]
    name: Option<OsString>,
    /// start, stop, restart, try-restart, reload, force-reload, force-stop, status, or what the script knows. Without
    /// one the script is run without, and tells what it knows
    #[arg(value_name = "ACTION")]
    action: Option<OsString>,
    /// What the script is told behind the action
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// Ask all scripts
    #[arg(long, conflicts_with = "name")]
    status_all: bool,
    /// Stop and start
    #[arg(long, conflicts_with = "action")]
    full_restart: bool,
    /// Show this help
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(super) fn run(asked: &Service) -> Result<ExitCode> {
    let Some(name) = asked.name.as_deref().filter(|_| !asked.status_all) else { return status_of_all() };
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        bail!("\"{}\" is not the name of a service", name.to_string_lossy());
    }
    let script = Path::new(SCRIPTS).join(name);
    let Some(act) = Act::of(asked).filter(|_| power::process_1_knows_signals()) else {
        if asked.full_restart {
            return stop_and_start(&script);
        }
        let words: Vec<OsString> = asked.action.iter().chain(&asked.arguments).cloned().collect();
        return become_script(&script, &words);
    };
    let unit = unit_of_script(name.as_bytes()).with_context(|| format!("naming {}", name.to_string_lossy()))?;
    let manager = Manager::connect()?;
    act.run(&manager, unit.as_str(), &script)
}

/// What the manager does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    ForceReload,
    ForceStop,
    Status,
}

impl Act {
    /// What is asked of the manager; none where the word is the script's own.
    fn of(asked: &Service) -> Option<Act> {
        if asked.full_restart { Some(Act::Restart) } else { Act::read(asked.action.as_ref()?.to_str()?) }
    }

    fn read(word: &str) -> Option<Act> {
        Some(match word {
            "start" => Act::Start,
            "stop" => Act::Stop,
            "restart" => Act::Restart,
            "try-restart" | "condrestart" => Act::TryRestart,
            "reload" => Act::Reload,
            "force-reload" => Act::ForceReload,
            "force-stop" => Act::ForceStop,
            "status" => Act::Status,
            _ => return None,
        })
    }

    fn run(self, manager: &Manager, unit: &str, script: &Path) -> Result<ExitCode> {
        match self {
            Act::Start => with_sockets(manager, Verb::Start, unit)?,
            Act::Stop => with_sockets(manager, Verb::Stop, unit)?,
            Act::Restart => manager.run(Verb::Restart, unit, "replace")?,
            Act::TryRestart => manager.run(Verb::TryRestart, unit, "replace")?,
            Act::ForceStop => manager.kill(unit)?,
            Act::Status => return Ok(show(unit, &manager.state(unit)?)),
            Act::Reload if !manager.state(unit)?.can_reload => return become_script(script, &["reload".into()]),
            Act::ForceReload if !manager.state(unit)?.can_reload => manager.run(Verb::Restart, unit, "replace")?,
            Act::Reload | Act::ForceReload => reload(manager, unit)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A reload that a hook asks for while the machine comes up or goes down may be ordered after that very hook, so it is
/// not waited for then.
fn reload(manager: &Manager, unit: &str) -> Result<(), ManagerError> {
    match manager.system_state()?.as_str() {
        "running" | "degraded" => manager.run(Verb::Reload, unit, "replace"),
        _ => manager.queue(Verb::Reload, unit, "replace").map(drop),
    }
}

/// Who stops a service means that it stays stopped, and not that its socket starts it again. A socket that cannot follow
/// (it is not started beside a service that runs already) keeps nobody from the service itself.
fn with_sockets(manager: &Manager, verb: Verb, unit: &str) -> Result<(), ManagerError> {
    let state = manager.state(unit)?;
    let sockets = state.triggered_by.iter().filter(|trigger| trigger.ends_with(".socket"));
    for socket in sockets {
        if let Err(error) = manager.run(verb, socket, "replace") {
            terminal::remark(format_args!("service: {error}"));
        }
    }
    manager.run(verb, unit, "replace")
}

fn show(unit: &str, state: &UnitState) -> ExitCode {
    let status = lsb_status(state);
    if status == UNKNOWN {
        terminal::remark(format_args!("service: there is no unit {unit}"));
        return ExitCode::from(status);
    }
    terminal::answer(format_args!("{unit} - {}", state.description));
    terminal::answer(format_args!("  loaded: {}\n  active: {} ({})", state.load, state.active, state.sub));
    if !state.triggered_by.is_empty() {
        terminal::answer(format_args!("  started by: {}", state.triggered_by.join(", ")));
    }
    ExitCode::from(status)
}

fn lsb_status(state: &UnitState) -> u8 {
    match (state.load.as_str(), state.active.as_str()) {
        ("not-found", "inactive" | "failed") => UNKNOWN,
        (_, "active" | "reloading" | "refreshing") => RUNNING,
        _ => NOT_RUNNING,
    }
}

/// A service that would not stop is started even so: its script knows what to do with one that runs.
fn stop_and_start(script: &Path) -> Result<ExitCode> {
    ensure_script(script)?;
    let stopped = as_at_boot(script).arg("stop").status().with_context(|| running(script))?;
    if !stopped.success() {
        terminal::remark(format_args!("service: {} stop: {stopped}", script.display()));
    }
    become_script(script, &["start".into()])
}

fn running(script: &Path) -> String {
    format!("running {}", script.display())
}

/// The script with the environment it would have at boot.
fn as_at_boot(script: &Path) -> Command {
    let mut command = Command::new(script);
    command.current_dir("/").env_clear();
    command.envs(ENVIRONMENT.iter().filter_map(|variable| Some((variable, env::var_os(variable)?))));
    command.env("PATH", env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH)));
    command
}

fn become_script(script: &Path, words: &[OsString]) -> Result<ExitCode> {
    ensure_script(script)?;
    // Comes back only if it cannot be run.
    Err(as_at_boot(script).args(words).exec()).with_context(|| running(script))
}

fn ensure_script(path: &Path) -> Result<()> {
    ensure!(
        is_script(path),
        "{} is no script that could be run; the manager's own words are start, stop, restart, try-restart, reload, \
         force-reload, force-stop and status",
        path.display()
    );
    Ok(())
}

fn is_script(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Asks each script: `+` it runs, `-` it does not, `?` it does not know the question.
fn status_of_all() -> Result<ExitCode> {
    let folder = Path::new(SCRIPTS);
    let scripts = services(folder).with_context(|| format!("looking for scripts in {}", folder.display()))?;
    for script in scripts {
        let output = as_at_boot(&script).arg("status").stdin(Stdio::null()).output();
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match sign(output.ok().as_ref()) {
            // No answer to the question, so not among the answers.
            '?' => terminal::remark(format_args!(" [ ? ]  {name}")),
            sign => terminal::answer(format_args!(" [ {sign} ]  {name}")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The scripts of services in a folder, by name.
fn services(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut scripts: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            let service = !is_hidden_or_backup(name.as_bytes()) && !NO_SERVICES.iter().any(|other| name == *other);
            service && is_script(path)
        })
        .collect();
    scripts.sort();
    Ok(scripts)
}

/// What a script's answer to `status` means. One that says nothing at all has no status: nothing runs of which it knew.
fn sign(output: Option<&Output>) -> char {
    let Some(output) = output else { return '?' };
    let said = [&output.stdout, &output.stderr];
    if said.iter().any(|said| is_usage(said)) {
        '?'
    } else if output.status.success() && said.iter().any(|said| !said.is_empty()) {
        '+'
    } else {
        '-'
    }
}

fn is_usage(said: &[u8]) -> bool {
    said.windows(6).any(|part| part.eq_ignore_ascii_case(b"usage:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Name;
    use clap::FromArgMatches;

    fn read(words: &str) -> Service {
        let given = std::iter::once("service").chain(words.split_whitespace());
        let matches = Name::Service.definition().try_get_matches_from(given).expect(words);
        Service::from_arg_matches(&matches).expect(words)
    }

    #[test]
    fn the_managers_words_and_the_scripts_own() {
        for (words, act) in [
            ("cron start", Some(Act::Start)),
            ("cron stop", Some(Act::Stop)),
            ("cron restart", Some(Act::Restart)),
            ("cron --full-restart", Some(Act::Restart)),
            ("cron try-restart", Some(Act::TryRestart)),
            ("cron condrestart", Some(Act::TryRestart)),
            ("cron reload", Some(Act::Reload)),
            ("cron force-reload", Some(Act::ForceReload)),
            ("cron force-stop", Some(Act::ForceStop)),
            ("cron status", Some(Act::Status)),
            ("apache2 configtest", None),
            ("cron", None),
            ("cron Start", None),
        ] {
            assert_eq!(Act::of(&read(words)), act, "{words}");
        }
    }

    #[test]
    fn what_is_behind_the_action_is_the_scripts() {
        let asked = read("nginx rotate --verbose -x all");
        assert_eq!(asked.name.as_deref(), Some("nginx".as_ref()));
        assert_eq!(asked.action.as_deref(), Some("rotate".as_ref()));
        assert_eq!(asked.arguments, ["--verbose", "-x", "all"]);
        assert!(read("--status-all").status_all);
    }

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable script");
        path
    }

    #[test]
    fn scripts_tell_by_their_answer_whether_they_run() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, expected) in [
            ("echo cron is running", '+'),
            ("echo is running >&2", '+'),
            ("exit 0", '-'),
            ("echo is not running; exit 3", '-'),
            ("echo \"Usage: $0 {start|stop}\" >&2; exit 3", '?'),
            ("echo usage: none", '?'),
            ("[ \"$1\" = status ] && echo yes", '+'),
            ("[ \"$(pwd)\" = / ] && echo at the root", '+'),
            ("[ -z \"$CARGO_MANIFEST_DIR\" ] && [ -n \"$PATH\" ] && echo a small environment", '+'),
        ] {
            let script = script(folder.path(), "s", text);
            let output = as_at_boot(&script).arg("status").output().expect("runs");
            assert_eq!(sign(Some(&output)), expected, "{text}: {output:?}");
        }
        assert_eq!(sign(None), '?');
    }

    #[test]
    fn parts_of_sysvinit_and_backups_are_no_services() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in
            ["cron", "at", "halt", "reboot", "single", "rc", "rcS", "skeleton", "cron.dpkg-old", ".hidden", "x~"]
        {
            script(folder.path(), name, "exit 1");
        }
        fs::write(folder.path().join("plain"), "").expect("a file");
        fs::create_dir(folder.path().join("sub")).expect("a folder");
        let found = services(folder.path()).expect("a folder that is there");
        assert_eq!(found, ["at", "cron"].map(|name| folder.path().join(name)));
        assert!(services(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_full_restart_of_nothing_says_so() {
        let missing = tempfile::tempdir().expect("a folder").path().join("none");
        let error = stop_and_start(&missing).expect_err("no script").to_string();
        assert!(error.contains("none is no script"), "{error}");
    }

    #[test]
    fn the_status_is_lsbs() {
        let state = |load: &str, active: &str| UnitState {
            description: "d".to_owned(),
            load: load.to_owned(),
            active: active.to_owned(),
            sub: "s".to_owned(),
            can_reload: false,
            triggered_by: vec!["u.socket".to_owned()],
        };
        for (load, active, code) in [
            ("loaded", "active", 0),
            ("loaded", "reloading", 0),
            ("loaded", "inactive", 3),
            ("loaded", "failed", 3),
            ("loaded", "activating", 3),
            ("masked", "inactive", 3),
            ("not-found", "inactive", 4),
            // Its file is gone, and it runs on.
            ("not-found", "active", 0),
        ] {
            assert_eq!(lsb_status(&state(load, active)), code, "{load} {active}");
        }
    }
}
