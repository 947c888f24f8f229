// SPDX-License-Identifier: GPL-2.0-or-later
//! Ending a unit's processes: `KillMode=` and its kin, systemd.kill(5).

use ssi_unit::config::kill::KillMode;

use super::Core;
use super::system::{Except, Pid, Priority};
use crate::graph::UnitId;

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;

/// How it is asked this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KillStep {
    /// To end.
    Terminate,
    /// To end, to be started again.
    TerminateForRestart,
    /// It missed its watchdog.
    Watchdog,
    /// It is not asked.
    Kill,
}

/// Sends a unit's processes the signal of this step. Whether there is something to wait for.
pub(super) fn signal_processes(
    core: &mut Core,
    id: UnitId,
    step: KillStep,
    main: Option<Pid>,
    control: Option<Pid>,
    main_alien: bool,
) -> Result<bool, String> {
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let Some(kill) = config.kill() else { return Ok(false) };
    if kill.mode == KillMode::None {
        return Ok(false);
    }
    let signal = match step {
        KillStep::Terminate => kill.kill_signal,
        KillStep::TerminateForRestart => kill.restart_kill_signal.unwrap_or(kill.kill_signal),
        KillStep::Watchdog => kill.watchdog_signal,
        KillStep::Kill => kill.final_kill_signal,
    };
    let hang_up =
        kill.send_sighup && matches!(step, KillStep::Terminate | KillStep::TerminateForRestart) && signal != SIGHUP;
    let mut wait = false;
    for (pid, alien) in main.map(|pid| (pid, main_alien)).into_iter().chain(control.map(|pid| (pid, false))) {
        match core.sys.kill(pid, signal) {
            // Nobody tells of the end of a process that is none of ours.
            Ok(true) => wait |= !alien,
            Ok(false) => {}
            Err(error) => {
                core.log(Priority::Warning, id, &format!("cannot send signal {signal} to process {pid}: {error}"))
            }
        }
        if hang_up {
            let _ = core.sys.kill(pid, SIGHUP);
        }
        // A stopped process acts on nothing but SIGKILL and SIGCONT.
        if signal != SIGKILL {
            let _ = core.sys.kill(pid, SIGCONT);
        }
    }
    let whole_group = match kill.mode {
        KillMode::ControlGroup => true,
        KillMode::Mixed => step == KillStep::Kill,
        KillMode::Process | KillMode::None => false,
    };
    if whole_group && let Some(group) = core.unit(id).runtime.cgroup.clone() {
        let told = Except { pids: main.into_iter().chain(control).collect() };
        let got = core.sys.kill_group(&group, signal, &told).map_err(|error| error.to_string())?;
        wait |= got > 0;
        if got > 0 && signal != SIGKILL {
            let _ = core.sys.kill_group(&group, SIGCONT, &told);
        }
        if got > 0 && hang_up {
            let _ = core.sys.kill_group(&group, SIGHUP, &told);
        }
    }
    Ok(wait)
}
