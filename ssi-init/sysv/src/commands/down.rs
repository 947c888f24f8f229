// SPDX-License-Identifier: GPL-2.0-or-later
//! Who is told that the machine goes down, and in what order they are tried.

use super::terminal;
use crate::action::Action;
use crate::logind::Logind;
use crate::manager::{Manager, ManagerError, Verb};
use crate::utmp::{self, Event};
use crate::{power, wall};
use anyhow::{Context as _, Result, bail, ensure};
use jiff::Zoned;
use std::fs;
use std::io;
use std::path::Path;

/// What the boot loader or the firmware is told with `reboot ARGUMENT`; read by whoever calls reboot(2) at the end.
const REBOOT_ARGUMENT: &str = "/run/systemd/reboot-param";

/// Whether the caller is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Stops all units and goes down; comes back as soon as that has begun. `message` is told to the users before what
/// happens, if `wall` is set.
pub(super) fn in_order(action: Action, message: &str, wall: bool) -> Result<()> {
    if !is_root() {
        return as_a_user(action, message, wall);
    }
    if wall {
        wall::write(&told(action, message), &Zoned::now());
    }
    // Irreversibly: nothing that is started meanwhile takes it back.
    let asked =
        Manager::connect().and_then(|manager| manager.queue(Verb::Start, action.target(), "replace-irreversibly"));
    match asked {
        Ok(_) => Ok(()),
        // Who asks may be a power supply that has a minute left, so the machine goes down even so.
        Err(absent @ ManagerError::Absent { .. }) if power::process_1_knows_signals() => {
            terminal::remark(format_args!(
                "{absent}; process 1 is asked to end everything at once, units are not stopped in their order"
            ));
            power::ask_process_1(action).context("process 1 cannot be asked either; with -f the kernel is")
        }
        Err(error) => Err(error).context("with -f the kernel is asked, and nothing is stopped first"),
    }
}

/// What the users are told: the caller's message, if any, then what happens.
pub(super) fn told(action: Action, message: &str) -> String {
    behind(message, format!("{} now!", action.sentence()))
}

/// `sentence` on a line of its own behind `message`, which may be empty.
pub(super) fn behind(message: &str, sentence: String) -> String {
    if message.is_empty() { sentence } else { format!("{message}\n{sentence}") }
}

/// logind lets those go down who sit at the machine; the manager asks polkit.
fn as_a_user(action: Action, message: &str, wall: bool) -> Result<()> {
    let logind = match Logind::connect()? {
        Some(logind) => match logind.go_down(action, message, wall) {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
        None => "logind is not there".to_owned(),
    };
    let asked =
        Manager::connect().and_then(|manager| manager.queue(Verb::Start, action.target(), "replace-irreversibly"));
    asked.map(drop).with_context(|| format!("{logind}; try it as root"))
}

/// How to go down at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce {
    /// What is written goes to the disks first.
    pub(super) sync: bool,
    /// utmp and wtmp are told.
    pub(super) record: bool,
}

/// Has the kernel go down now, with nothing stopped or unmounted.
pub(super) fn at_once(action: Action, how: AtOnce, argument: Option<&str>) -> Result<()> {
    ensure!(is_root(), "only root may do that");
    if how.record {
        // Without a unit that is stopped nobody else writes it; the machine goes down even if it cannot be written.
        if let Err(error) = utmp::record(&Event::Shutdown, false) {
            terminal::remark(format_args!("the record of the shutdown is not written: {error}"));
        }
    }
    match argument.filter(|argument| !argument.is_empty()) {
        Some(argument) => power::reboot_with(argument, how.sync),
        None => power::now(action, how.sync),
    }
    .with_context(|| format!("the kernel refuses to {} the machine", action.word()))?;
    // In a process namespace, the kernel kills process 1, and this process with it or a moment later.
    Ok(())
}

/// Leaves the argument for whoever calls reboot(2), or takes an older one away.
pub(super) fn leave_reboot_argument(argument: Option<&str>) -> Result<()> {
    let Some(argument) = argument.filter(|argument| !argument.is_empty()) else {
        return match fs::remove_file(REBOOT_ARGUMENT) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                Err(error).with_context(|| format!("removing {REBOOT_ARGUMENT}, which is of an earlier reboot"))
            }
            _ => Ok(()),
        };
    };
    if argument.contains('\0') {
        bail!("the argument for the reboot holds a NUL, which the kernel would take for its end");
    }
    if let Some(folder) = Path::new(REBOOT_ARGUMENT).parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(REBOOT_ARGUMENT, format!("{argument}\n"))
        .with_context(|| format!("leaving the argument for the reboot in {REBOOT_ARGUMENT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_words_come_first() {
        assert_eq!(told(Action::Reboot, ""), "The system will reboot now!");
        assert_eq!(told(Action::PowerOff, "save your work"), "save your work\nThe system will power off now!");
    }
}
