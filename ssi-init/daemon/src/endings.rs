// SPDX-License-Identifier: GPL-2.0-or-later
//! How the machine ends, and what signals to process 1 ask for: systemd(1), "Signals".

use nix::libc;
use ssi_keep::link::How;
use ssi_manager::core::Core;
use ssi_manager::core::system::Priority;
use ssi_manager::job::{JobMode, Request};
use ssi_unit::config::unit::EmergencyAction;

/// What is to be done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Start a unit in this mode.
    Start(&'static str, JobMode),
    /// Read all files again.
    Reload,
    /// Execute anew.
    Reexecute,
    /// Look for the system bus again.
    Bus,
    /// Write the state of all units to the log.
    Dump,
    /// Write debugging lines, or none any more.
    Debug(bool),
    /// Nothing.
    Nothing,
}

/// What a signal asks for.
pub(crate) fn asked(signal: i32) -> Asked {
    use Asked::Start;
    let hard = JobMode::ReplaceIrreversibly;
    match signal {
        libc::SIGINT => Start("ctrl-alt-del.target", hard),
        libc::SIGWINCH => Start("kbrequest.target", JobMode::Replace),
        libc::SIGPWR => Start("sigpwr.target", JobMode::Replace),
        libc::SIGHUP => Asked::Reload,
        libc::SIGTERM => Asked::Reexecute,
        libc::SIGUSR1 => Asked::Bus,
        libc::SIGUSR2 => Asked::Dump,
        _ => match signal - libc::SIGRTMIN() {
            0 => Start("default.target", JobMode::Isolate),
            1 => Start("rescue.target", JobMode::Isolate),
            2 => Start("emergency.target", JobMode::Isolate),
            3 => Start("halt.target", hard),
            4 => Start("poweroff.target", hard),
            5 => Start("reboot.target", hard),
            6 => Start("kexec.target", hard),
            22 => Asked::Debug(true),
            23 => Asked::Debug(false),
            _ => Asked::Nothing,
        },
    }
}

/// The end that an action is, or the unit whose start leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing ends.
    None,
    /// Through a unit, in order.
    Unit(&'static str),
    /// All units are down, or do not matter: process 1 does the rest.
    Now(How),
    /// This instant, with nothing written back.
    Immediate(How),
}

/// What an action is.
pub(crate) fn end_of(action: EmergencyAction) -> End {
    use EmergencyAction::*;
    match action {
        None => End::None,
        Reboot => End::Unit("reboot.target"),
        // To start again in user space alone is newer than the systemd whose files these are; the machine starts again.
        SoftReboot => End::Unit("reboot.target"),
        RebootForce | SoftRebootForce => End::Now(How::Reboot),
        RebootImmediate => End::Immediate(How::Reboot),
        Poweroff => End::Unit("poweroff.target"),
        PoweroffForce => End::Now(How::PowerOff),
        PoweroffImmediate => End::Immediate(How::PowerOff),
        Exit => End::Unit("exit.target"),
        ExitForce => End::Now(How::Exit),
        Kexec => End::Unit("kexec.target"),
        KexecForce => End::Now(How::Kexec),
        Halt => End::Unit("halt.target"),
        HaltForce => End::Now(How::Halt),
        HaltImmediate => End::Immediate(How::Halt),
    }
}

/// Starts a unit for a signal or an action; what cannot be started is told.
pub(crate) fn start(core: &mut Core, unit: &str, mode: JobMode) -> bool {
    match core.request(unit, Request::Start, mode) {
        Ok(_) => true,
        Err(error) => {
            core.sys.log(Priority::Error, None, &format!("cannot start {unit}: {error}"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_containers_managers_send_them_for() {
        let of = |offset| asked(libc::SIGRTMIN() + offset);
        assert_eq!(of(3), Asked::Start("halt.target", JobMode::ReplaceIrreversibly));
        assert_eq!(of(4), Asked::Start("poweroff.target", JobMode::ReplaceIrreversibly));
        assert_eq!((of(12), asked(libc::SIGHUP)), (Asked::Nothing, Asked::Reload));
    }

    #[test]
    fn forced_actions_go_past_units() {
        assert_eq!(end_of(EmergencyAction::PoweroffForce), End::Now(How::PowerOff));
        assert_eq!(end_of(EmergencyAction::Reboot), End::Unit("reboot.target"));
        assert_eq!(end_of(EmergencyAction::RebootImmediate), End::Immediate(How::Reboot));
    }
}
