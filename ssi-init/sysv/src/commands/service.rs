// SPDX-License-Identifier: GPL-2.0-or-later
//! `service`: one service by its name, be it a unit or an init script (service(8)).
//!
//! What every unit can do is done by the manager; other words (`configtest`, `rotate`, …) are the script's own, and it
//! is run with a small environment and at /, as it would be at boot.

use crate::generator::name::{is_hidden_or_backup, unit_of_script};
use crate::manager::{Manager, ManagerError, UnitState, Verb};
use crate::power;
use anyhow::{Context as _, Result, bail};
use clap::{ArgAction, Parser};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

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

/// PATH, where the caller has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// LSB's answers to `status`: Linux Standard Base, "Init Script Actions".
const NOT_RUNNING: u8 = 3;
const UNKNOWN: u8 = 4;

#[derive(Debug, Parser)]
#[command(about = "Start, stop or ask a service", disable_help_flag = true)]
pub(super) struct Service {
    /// The script's name, which is the unit's without ".service"
    #[arg(value_name = "NAME", required_unless_present = "status_all")]
    name: Option<OsString>,
    /// start, stop, restart, try-restart, reload, force-reload, force-stop, status, or what the script knows
    #[arg(value_name = "ACTION", required_unless_present_any = ["status_all", "full_restart"])]
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
    let action = asked.action.clone().unwrap_or_else(|| OsString::from("restart"));
    let known = action.to_str().filter(|_| power::process_1_knows_signals()).and_then(Act::read);
    let Some(act) = known else {
        if asked.full_restart {
            let stopped = as_at_boot(&script).arg("stop").status().with_context(|| running(&script))?;
            if !stopped.success() {
                eprintln!("service: {} stop: {stopped}", script.display());
            }
            return become_script(&script, &["start".into()]);
        }
        let words: Vec<OsString> = std::iter::once(action).chain(asked.arguments.iter().cloned()).collect();
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

/// Who stops a service means that it stays stopped, and not that its socket starts it again.
fn with_sockets(manager: &Manager, verb: Verb, unit: &str) -> Result<(), ManagerError> {
    let state = manager.state(unit)?;
    let sockets = state.triggered_by.iter().filter(|trigger| trigger.ends_with(".socket"));
    for socket in sockets {
        manager.run(verb, socket, "replace")?;
    }
    manager.run(verb, unit, "replace")
}

fn show(unit: &str, state: &UnitState) -> ExitCode {
    if state.load == "not-found" {
        eprintln!("service: there is no unit {unit}");
        return ExitCode::from(UNKNOWN);
    }
    println!("{unit} - {}", state.description);
    println!("  loaded: {}\n  active: {} ({})", state.load, state.active, state.sub);
    if !state.triggered_by.is_empty() {
        println!("  started by: {}", state.triggered_by.join(", "));
    }
    match state.active.as_str() {
        "active" | "reloading" | "refreshing" => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_RUNNING),
    }
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
    if !is_script(script) {
        bail!(
            "{} is no script that could be run; the manager's own words are start, stop, restart, try-restart, reload, force-reload, force-stop and status",
            script.display()
        );
    }
    // Comes back only if it cannot be run.
    Err(as_at_boot(script).args(words).exec()).with_context(|| running(script))
}

fn is_script(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Asks each script: `+` it runs, `-` it does not, `?` it does not know the question.
fn status_of_all() -> Result<ExitCode> {
    let entries = fs::read_dir(SCRIPTS).with_context(|| format!("looking for scripts in {SCRIPTS}"))?;
    let mut scripts: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    scripts.sort();
    for script in scripts {
        let name = script.file_name().unwrap_or_default();
        if is_hidden_or_backup(name.as_bytes()) || name == "README" || !is_script(&script) {
            continue;
        }
        let output = as_at_boot(&script).arg("status").stdin(Stdio::null()).output();
        let sign = match &output {
            Ok(output) if [&output.stdout, &output.stderr].into_iter().any(|said| is_usage(said)) => '?',
            Ok(output) if output.status.success() => '+',
            Ok(_) => '-',
            Err(_) => '?',
        };
        println!(" [ {sign} ]  {}", name.to_string_lossy());
    }
    Ok(ExitCode::SUCCESS)
}

fn is_usage(said: &[u8]) -> bool {
    said.windows(6).any(|part| part.eq_ignore_ascii_case(b"usage:"))
}
