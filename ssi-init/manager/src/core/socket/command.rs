// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands of a socket unit, one after the other: `ExecStartPre=` and its kin.

use serde::{Deserialize, Serialize};
use ssi_unit::config::SocketConfig;
use ssi_unit::exec_line::ExecCommand;

use super::{SocketResult, enter_dead, enter_signal, enter_stop_pre, runtime, socket};
use crate::core::Core;
use crate::core::mount::tool;
use crate::core::state::SocketState;
use crate::core::system::{Exit, Pid, Priority};
use crate::graph::UnitId;

/// Which of a socket's command lists is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SocketList {
    /// `ExecStartPre=`
    StartPre,
    /// `ExecStartPost=`
    StartPost,
    /// `ExecStopPre=`
    StopPre,
    /// `ExecStopPost=`
    StopPost,
}

impl SocketList {
    /// Its commands.
    pub fn of(self, config: &SocketConfig) -> &[ExecCommand] {
        match self {
            Self::StartPre => &config.exec_start_pre,
            Self::StartPost => &config.exec_start_post,
            Self::StopPre => &config.exec_stop_pre,
            Self::StopPost => &config.exec_stop_post,
        }
    }
}

/// A command that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCommand {
    /// The list.
    pub list: SocketList,
    /// Its place there.
    pub index: usize,
}

/// Nobody waits for the command any more.
pub(super) fn forget_control(core: &mut Core, id: UnitId) {
    if let Some(pid) = runtime(core, id).control.take() {
        core.unwatch(pid);
    }
}

/// Begins a list; `Ok(false)`: it is empty.
pub(super) fn run_list(core: &mut Core, id: UnitId, list: SocketList) -> Result<bool, String> {
    forget_control(core, id);
    runtime(core, id).command = None;
    run(core, id, SocketCommand { list, index: 0 })
}

/// Runs one command; `Ok(false)`: there is none at that place.
fn run(core: &mut Core, id: UnitId, which: SocketCommand) -> Result<bool, String> {
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let config = config.socket().ok_or("it is no socket unit")?;
    let Some(command) = which.list.of(config).get(which.index) else { return Ok(false) };
    let pid = tool::spawn(core, id, command.clone(), config.timeout)?;
    let runtime = runtime(core, id);
    runtime.control = Some(pid);
    runtime.command = Some(which);
    let mut ran = std::mem::take(&mut runtime.ran);
    tool::began(core, &mut ran, which, pid);
    super::runtime(core, id).ran = ran;
    Ok(true)
}

/// Runs what comes after the command that ended well; `false`: it was the last one.
pub(super) fn run_next(core: &mut Core, id: UnitId) -> bool {
    let Some(last) = socket!(core, id).command else { return false };
    match run(core, id, SocketCommand { index: last.index + 1, ..last }) {
        Ok(more) => more,
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot run its next command: {text}"));
            let result = SocketResult::Resources;
            match socket!(core, id).state {
                SocketState::StartPost => enter_stop_pre(core, id, result),
                SocketState::StopPost => enter_dead(core, id, result),
                _ => enter_signal(core, id, SocketState::FinalSigterm, result),
            }
            true
        }
    }
}

/// The command ended. What that means for the unit.
pub(super) fn ended(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) -> SocketResult {
    core.unwatch(pid);
    let mut result = SocketResult::of(exit);
    let runtime = runtime(core, id);
    runtime.control = None;
    if let Some(which) = runtime.command {
        let mut ran = std::mem::take(&mut runtime.ran);
        tool::ended(core, &mut ran, &which, exit);
        super::runtime(core, id).ran = ran;
        let command = core.unit(id).config.socket().and_then(|config| which.list.of(config).get(which.index));
        if command.is_some_and(|command| command.ignore_failure) {
            result = SocketResult::Success;
        }
    }
    core.log_exit(id, "control process", pid, exit, result == SocketResult::Success);
    result
}
