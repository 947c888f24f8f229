// SPDX-License-Identifier: GPL-2.0-or-later
//! A scope: processes that somebody else started, in a control group of their own. Sessions of users are scopes.

use serde::{Deserialize, Serialize};

use super::kill::{KillStep, signal_processes};
use super::state::ScopeState;
use super::system::{Clock, Pid, Priority};
use super::{Core, Deadline, usec};
use crate::graph::UnitId;
use crate::job::Reply;

/// Why a scope is no longer up, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScopeResult {
    /// All went as it should.
    #[default]
    Success,
    /// Its processes could not be moved, or not be ended.
    Resources,
    /// It took too long.
    Timeout,
    /// The kernel killed one of its processes for want of memory.
    OomKill,
}

impl ScopeResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Timeout => "timeout",
            Self::OomKill => "oom-kill",
        }
    }
}

/// What is going on with a scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScopeRuntime {
    /// Whether its processes run.
    pub state: ScopeState,
    /// What went wrong first.
    pub result: ScopeResult,
    /// Processes that are to be moved into it when it starts.
    pub pids: Vec<Pid>,
    /// Who is told that it is to stop: a name on the bus.
    pub controller: Option<String>,
}

macro_rules! scope {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.scope()
    };
}

pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    match scope!(core, id).state {
        // Its processes are on their way out; there will be no others.
        ScopeState::StopSigterm | ScopeState::StopSigkill => return Reply::NotYet,
        ScopeState::StartChown => return Reply::Underway,
        _ => {}
    }
    let pids = std::mem::take(&mut core.unit_mut(id).runtime.kind.scope_mut().pids);
    if pids.is_empty() {
        core.log(Priority::Warning, id, "a scope is started with the processes it is to hold, and there are none");
        return Reply::Failed;
    }
    core.new_invocation(id);
    core.unit_mut(id).runtime.kind.scope_mut().result = ScopeResult::Success;
    let moved = core.realize_group(id).and_then(|group| core.sys.move_to_group(&group, &pids));
    if let Err(error) = moved {
        core.log(Priority::Warning, id, &error.to_string());
        // Those that are in it are its processes all the same; without any there is no scope.
        if !core.group_populated(id) {
            enter_dead(core, id, ScopeResult::Resources);
            return Reply::Failed;
        }
    }
    let config = core.unit(id).config.clone();
    if let Some(limit) = config.scope().and_then(|scope| scope.runtime_max) {
        let at = core.now().monotonic.saturating_add(usec(limit));
        core.arm(id, Deadline::State, Clock::Monotonic, at);
    }
    set_state(core, id, ScopeState::Running);
    Reply::Underway
}

pub(super) fn stop(core: &mut Core, id: UnitId) {
    if matches!(scope!(core, id).state, ScopeState::Running | ScopeState::Abandoned | ScopeState::StartChown) {
        enter_signal(core, id, ScopeState::StopSigterm, ScopeResult::Success);
    }
}

/// Who made it has no more to do with it: its processes stay, and it ends with the last of them.
pub fn abandon(core: &mut Core, id: UnitId) -> bool {
    if !matches!(scope!(core, id).state, ScopeState::Running | ScopeState::Abandoned) {
        return false;
    }
    core.unit_mut(id).runtime.kind.scope_mut().controller = None;
    set_state(core, id, ScopeState::Abandoned);
    true
}

pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if scope!(core, id).state == ScopeState::Failed {
        set_state(core, id, ScopeState::Dead);
    }
    core.unit_mut(id).runtime.kind.scope_mut().result = ScopeResult::Success;
}

pub(super) fn group_empty(core: &mut Core, id: UnitId) {
    match scope!(core, id).state {
        ScopeState::Running | ScopeState::Abandoned | ScopeState::StopSigterm | ScopeState::StopSigkill => {
            enter_dead(core, id, ScopeResult::Success);
        }
        ScopeState::Dead | ScopeState::Failed => core.drop_group(id),
        ScopeState::StartChown => {}
    }
}

pub(super) fn out_of_memory(core: &mut Core, id: UnitId) {
    use ssi_unit::config::service::OomPolicy;
    let config = core.unit(id).config.clone();
    let Some(scope) = config.scope() else { return };
    if !matches!(scope!(core, id).state, ScopeState::Running | ScopeState::Abandoned) {
        return;
    }
    core.log(Priority::Notice, id, "the kernel killed one of its processes for want of memory");
    match scope.oom_policy {
        None | Some(OomPolicy::Continue) => {}
        Some(OomPolicy::Stop) => enter_signal(core, id, ScopeState::StopSigterm, ScopeResult::OomKill),
        Some(OomPolicy::Kill) => enter_signal(core, id, ScopeState::StopSigkill, ScopeResult::OomKill),
    }
}

pub(super) fn deadline(core: &mut Core, id: UnitId, _: Deadline) {
    match scope!(core, id).state {
        ScopeState::Running | ScopeState::Abandoned => {
            core.log(Priority::Warning, id, "has run for as long as it may; it is stopped");
            enter_signal(core, id, ScopeState::StopSigterm, ScopeResult::Timeout);
        }
        ScopeState::StopSigterm if core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill) => {
            core.log(Priority::Warning, id, "did not end in time; it is killed");
            enter_signal(core, id, ScopeState::StopSigkill, ScopeResult::Timeout);
        }
        ScopeState::StopSigterm => enter_dead(core, id, ScopeResult::Timeout),
        ScopeState::StopSigkill => {
            core.log(Priority::Warning, id, "has processes that the kill signal did not end; they are left");
            enter_dead(core, id, ScopeResult::Timeout);
        }
        ScopeState::StartChown => enter_signal(core, id, ScopeState::StopSigterm, ScopeResult::Timeout),
        ScopeState::Dead | ScopeState::Failed => {}
    }
}

/// The scope of the manager and of process 1.
pub(super) fn always_there(core: &mut Core, id: UnitId) {
    set_state(core, id, ScopeState::Running);
}

pub(super) fn resume(core: &mut Core, id: UnitId) {
    let runs = matches!(scope!(core, id).state, ScopeState::Running | ScopeState::Abandoned);
    if runs && core.unit(id).name.as_str() != "init.scope" && !core.group_populated(id) {
        enter_dead(core, id, ScopeResult::Success);
    }
}

fn enter_signal(core: &mut Core, id: UnitId, state: ScopeState, result: ScopeResult) {
    note(core, id, result);
    let step = if state == ScopeState::StopSigkill { KillStep::Kill } else { KillStep::Terminate };
    match signal_processes(core, id, step, None, None, false) {
        Ok(true) => {
            let config = core.unit(id).config.clone();
            match config.scope().and_then(|scope| scope.timeout_stop) {
                Some(limit) => {
                    let at = core.now().monotonic.saturating_add(usec(limit));
                    core.arm(id, Deadline::State, Clock::Monotonic, at);
                }
                None => core.disarm(id, Deadline::State),
            }
            set_state(core, id, state);
        }
        Ok(false) if state == ScopeState::StopSigterm => {
            enter_signal(core, id, ScopeState::StopSigkill, ScopeResult::Success);
        }
        Ok(false) => enter_dead(core, id, ScopeResult::Success),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot end its processes: {text}"));
            enter_dead(core, id, ScopeResult::Resources);
        }
    }
}

fn enter_dead(core: &mut Core, id: UnitId, result: ScopeResult) {
    note(core, id, result);
    let failed = scope!(core, id).result != ScopeResult::Success;
    core.disarm(id, Deadline::State);
    set_state(core, id, if failed { ScopeState::Failed } else { ScopeState::Dead });
    core.drop_group(id);
}

fn note(core: &mut Core, id: UnitId, result: ScopeResult) {
    let runtime = core.unit_mut(id).runtime.kind.scope_mut();
    if runtime.result == ScopeResult::Success {
        runtime.result = result;
    }
}

fn set_state(core: &mut Core, id: UnitId, state: ScopeState) {
    let old = std::mem::replace(&mut core.unit_mut(id).runtime.kind.scope_mut().state, state);
    core.state_changed(id, old.active(), state.active(), false);
}
