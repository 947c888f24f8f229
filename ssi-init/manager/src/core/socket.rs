// SPDX-License-Identifier: GPL-2.0-or-later
//! A socket unit: it holds what others connect to, and starts a service when somebody does (systemd.socket(5)).
//!
//! ```text
//!          start                  the ports are opened               somebody connects
//!   dead ─────────▶ start-pre ─────────────────────────▶ start-post ─▶ listening ◀──────────────────▶ running
//!    ▲                  │                                     │        │       the service is down    │
//!    │                  │                                     └────────┤ stop, or a limit was hit     │
//!    │                  ▼                                              ▼                              │
//!    ├── failed ◀─ final-sigkill ◀─ final-sigterm ◀─ stop-post ◀─── stop-pre ◀───────────────────────┘
//!    │                                               the ports are closed │
//!    │                                                   ▲                ▼
//!    │                                                   └─ stop-pre-sigterm ─▶ stop-pre-sigkill
//! ```
//!
//! With `Accept=no` the service gets the ports themselves: whoever comes first starts it, and while it runs the ports are
//! its business alone (`running`: nobody looks at them here). With `Accept=yes` the connections are taken here, each gets
//! an instance of its own of the service's template, and the unit never leaves `listening` for that.
//!
//! A port has a name ([`Port::key`]) by which process 1 keeps it, so that one that was opened once stays open until the unit
//! stops, whichever manager is at work: who connects meanwhile waits, and is not turned away.
//!
//! `ports.rs` knows the ports, `command.rs` runs the unit's commands, `traffic.rs` does what follows when somebody connects.

mod command;
mod ports;
mod traffic;

use serde::{Deserialize, Serialize};
use ssi_unit::name::UnitType;

use super::kill::{KillStep, signal_processes};
use super::mount::tool;
use super::service::Ran;
use super::state::{ServiceState, SocketState};
use super::system::{Clock, Exit, Pid, Priority};
use super::unit::{RateLimit, Unit};
use super::{Core, Deadline};
use crate::graph::UnitId;
use crate::job::Reply;
pub use command::{SocketCommand, SocketList};
use command::{forget_control, run_list};
pub use ports::{Port, descriptor_name, identity, port_type};
use ports::{close_ports, flush_ports, open_ports, watch_ports};
pub(super) use ports::{descriptors, reloaded};
pub use traffic::connections;
pub(super) use traffic::{incoming, tie};

/// Why a socket is no longer up, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SocketResult {
    /// All went as it should.
    #[default]
    Success,
    /// A port could not be opened, a process not be made, or the service not be asked for.
    Resources,
    /// A command took too long.
    Timeout,
    /// A command ended with a status that is no success.
    ExitCode,
    /// A signal ended a command.
    Signal,
    /// A signal ended a command, which left its memory in a file.
    CoreDump,
    /// The unit was started too often.
    StartLimitHit,
    /// Somebody connected too often in too short a time.
    TriggerLimitHit,
    /// Its service was started too often.
    ServiceStartLimitHit,
}

impl SocketResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::StartLimitHit => "start-limit-hit",
            Self::TriggerLimitHit => "trigger-limit-hit",
            Self::ServiceStartLimitHit => "service-start-limit-hit",
        }
    }

    /// What the end of a command means. A signal is no good end, whichever it is: these are no daemons.
    fn of(exit: Exit) -> Self {
        match exit {
            Exit::Code(0) => Self::Success,
            Exit::Code(_) => Self::ExitCode,
            Exit::Signal(_) => Self::Signal,
            Exit::Dumped(_) => Self::CoreDump,
        }
    }
}

/// What is going on with a socket unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SocketRuntime {
    /// Where in the drawing it is.
    pub state: SocketState,
    /// What went wrong first since the last start.
    pub result: SocketResult,
    /// What is open, in the order of the unit's file.
    pub ports: Vec<Port>,
    /// The process of the command that runs.
    pub control: Option<Pid>,
    /// Which command that is.
    pub command: Option<SocketCommand>,
    /// How each command was last run.
    pub ran: Vec<(SocketCommand, Ran)>,
    /// How many connections got an instance. The number of the next one is in its instance's name.
    pub accepted: u32,
    /// How many connections were turned away.
    pub refused: u32,
    /// How often somebody connected, against `TriggerLimitBurst=`.
    pub triggers: RateLimit,
}

macro_rules! socket {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.socket()
    };
}
use socket;

fn runtime(core: &mut Core, id: UnitId) -> &mut SocketRuntime {
    core.unit_mut(id).runtime.kind.socket_mut()
}

/// The one service it starts; `None` with `Accept=yes`, and where that service is not known.
fn service_of(core: &Core, id: UnitId) -> Option<UnitId> {
    let unit = core.unit(id);
    let config = unit.config.socket().filter(|config| !config.accept)?;
    let name = match &config.service {
        Some(name) => name.clone(),
        None => unit.name.with_type(UnitType::Service).ok()?,
    };
    core.table.find(&name)
}

fn accepts(core: &Core, id: UnitId) -> bool {
    core.unit(id).config.socket().is_some_and(|config| config.accept)
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
///
/// A service that is up already has opened for itself what the unit is to hold, so that is refused.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    use SocketState::*;
    match socket!(core, id).state {
        StopPre | StopPreSigterm | StopPreSigkill | StopPost | FinalSigterm | FinalSigkill => return Reply::NotYet,
        StartPre | StartChown | StartPost => return Reply::Underway,
        Listening | Running => return Reply::Already,
        Dead | Failed => {}
    }
    if !accepts(core, id) {
        let Some(service) = service_of(core, id).filter(|service| core.unit(*service).is_loaded()) else {
            core.log(Priority::Error, id, "cannot start: the service it would start cannot be used, or is not there");
            return Reply::Failed;
        };
        let state = core.unit(service).runtime.kind.service().state;
        if !matches!(state, ServiceState::Dead | ServiceState::Failed | ServiceState::AutoRestart) {
            let text = format!("cannot start: its service {} is up already", core.unit(service).name);
            core.log(Priority::Error, id, &text);
            return Reply::Failed;
        }
    }
    core.new_invocation(id);
    let runtime = runtime(core, id);
    runtime.result = SocketResult::Success;
    runtime.ran.clear();
    enter_start_pre(core, id);
    Reply::Underway
}

/// Stops it. Its service goes on with the ports it has.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    use SocketState::*;
    match socket!(core, id).state {
        StartPre | StartChown | StartPost => enter_signal(core, id, StopPreSigterm, SocketResult::Success),
        Listening | Running => enter_stop_pre(core, id, SocketResult::Success),
        StopPre | StopPreSigterm | StopPreSigkill | StopPost | FinalSigterm | FinalSigkill | Dead | Failed => {}
    }
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if socket!(core, id).state == SocketState::Failed {
        set_state(core, id, SocketState::Dead);
    }
    runtime(core, id).result = SocketResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, SocketResult::StartLimitHit);
}

/// A new manager takes it up as it was left: the ports are open still, in process 1.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    use SocketState::*;
    if let Some(pid) = socket!(core, id).control {
        core.watch(pid, id);
    }
    // This manager has read the files anew.
    reloaded(core, id);
    match socket!(core, id).state {
        Dead | Failed => core.drop_group(id),
        Listening => watch_ports(core, id, true),
        _ => {}
    }
    if matches!(socket!(core, id).state, Listening | Running) {
        // What the one before had begun is looked for when all units are taken up.
        let now = core.now().monotonic;
        core.arm(id, Deadline::Idle, Clock::Monotonic, now);
    }
}

/// The command that runs.
pub(super) fn control_process(unit: &Unit) -> Option<Pid> {
    unit.runtime.kind.socket().control
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// Its command ended.
pub(super) fn exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    use SocketState::*;
    if socket!(core, id).control != Some(pid) {
        return;
    }
    let result = command::ended(core, id, pid, exit);
    note(core, id, result);
    let success = result == SocketResult::Success;
    if success && command::run_next(core, id) {
        return;
    }
    runtime(core, id).command = None;
    match socket!(core, id).state {
        StartPre if success => enter_start_chown(core, id),
        StartPre => enter_signal(core, id, FinalSigterm, result),
        StartChown if success => enter_start_post(core, id),
        StartPost if success => enter_listening(core, id),
        StartChown | StartPost => enter_stop_pre(core, id, result),
        StopPre | StopPreSigterm | StopPreSigkill => enter_stop_post(core, id, result),
        StopPost | FinalSigterm | FinalSigkill => enter_dead(core, id, result),
        Dead | Listening | Running | Failed => {}
    }
    core.touch(id);
}

/// A command takes too long, or a new manager has all units together.
pub(super) fn deadline(core: &mut Core, id: UnitId, which: Deadline) {
    use SocketState::*;
    if which == Deadline::Idle {
        traffic::catch_up(core, id);
        return;
    }
    let timeout = SocketResult::Timeout;
    let kills = core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill);
    match socket!(core, id).state {
        StartPre => {
            core.log(Priority::Warning, id, "its start takes too long; what runs is ended");
            enter_signal(core, id, FinalSigterm, timeout);
        }
        StartChown | StartPost => {
            core.log(Priority::Warning, id, "its start takes too long; it is stopped");
            enter_stop_pre(core, id, timeout);
        }
        StopPre => {
            core.log(Priority::Warning, id, "its stop takes too long; what runs is ended");
            enter_signal(core, id, StopPreSigterm, timeout);
        }
        StopPreSigterm if kills => {
            core.log(Priority::Warning, id, "its command did not end in time; it is killed");
            enter_signal(core, id, StopPreSigkill, timeout);
        }
        StopPreSigterm | StopPreSigkill => {
            core.log(Priority::Warning, id, "has a command that does not end; it is left");
            enter_stop_post(core, id, timeout);
        }
        StopPost => {
            core.log(Priority::Warning, id, "the end of its stop takes too long; what runs is ended");
            enter_signal(core, id, FinalSigterm, timeout);
        }
        FinalSigterm if kills => {
            core.log(Priority::Warning, id, "its command did not end in time; it is killed");
            enter_signal(core, id, FinalSigkill, timeout);
        }
        FinalSigterm | FinalSigkill => {
            core.log(Priority::Warning, id, "has a command that does not end; it is left");
            enter_dead(core, id, timeout);
        }
        Dead | Listening | Running | Failed => {}
    }
}

/// Its service, or a job of that, changed.
pub(super) fn triggered_changed(core: &mut Core, id: UnitId, other: UnitId) {
    use ServiceState as Service;
    if core.unit(other).unit_type() != UnitType::Service {
        return;
    }
    if accepts(core, id) {
        traffic::drop_idle_connection(core, id, other);
        return;
    }
    if !core.unit(other).is_loaded()
        || !matches!(socket!(core, id).state, SocketState::Listening | SocketState::Running)
    {
        return;
    }
    if core.unit(other).runtime.start_limit_hit {
        enter_stop_pre(core, id, SocketResult::ServiceStartLimitHit);
        return;
    }
    // What it is on the way to will be told when it is there.
    if core.queue.job_of(other).is_some() {
        return;
    }
    match core.unit(other).runtime.kind.service().state {
        Service::Dead | Service::Failed | Service::FinalSigterm | Service::FinalSigkill | Service::AutoRestart => {
            enter_listening(core, id);
        }
        Service::Running => set_state(core, id, SocketState::Running),
        _ => {}
    }
}

// ---- states ------------------------------------------------------------------------------------------------------

/// The first thing that goes wrong is what went wrong.
fn note(core: &mut Core, id: UnitId, result: SocketResult) {
    let runtime = runtime(core, id);
    if runtime.result == SocketResult::Success {
        runtime.result = result;
    }
}

/// Takes on a new fine state, with what goes with it, and tells everybody.
fn set_state(core: &mut Core, id: UnitId, state: SocketState) {
    use SocketState::*;
    if matches!(state, Dead | Listening | Running | Failed) {
        core.disarm(id, Deadline::State);
        forget_control(core, id);
        runtime(core, id).command = None;
    }
    if state != Listening {
        watch_ports(core, id, false);
    }
    if matches!(state, Dead | StartPre | StopPost | FinalSigterm | FinalSigkill | Failed) {
        core.disarm(id, Deadline::Idle);
        close_ports(core, id);
    }
    let old = std::mem::replace(&mut runtime(core, id).state, state);
    core.state_changed(id, old.active(), state.active(), false);
}

fn enter_start_pre(core: &mut Core, id: UnitId) {
    match run_list(core, id, SocketList::StartPre) {
        Ok(true) => set_state(core, id, SocketState::StartPre),
        Ok(false) => enter_start_chown(core, id),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot start: {text}"));
            enter_dead(core, id, SocketResult::Resources);
        }
    }
}

fn enter_start_chown(core: &mut Core, id: UnitId) {
    match open_ports(core, id) {
        Ok(()) => enter_start_post(core, id),
        Err(text) => {
            core.log(Priority::Error, id, &format!("cannot listen: {text}"));
            enter_stop_pre(core, id, SocketResult::Resources);
        }
    }
}

fn enter_start_post(core: &mut Core, id: UnitId) {
    match run_list(core, id, SocketList::StartPost) {
        Ok(true) => set_state(core, id, SocketState::StartPost),
        Ok(false) => enter_listening(core, id),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot run what follows its start: {text}"));
            enter_stop_pre(core, id, SocketResult::Resources);
        }
    }
}

fn enter_listening(core: &mut Core, id: UnitId) {
    let flush = core.unit(id).config.socket().is_some_and(|config| !config.accept && config.flush_pending);
    if flush {
        flush_ports(core, id);
    }
    watch_ports(core, id, true);
    set_state(core, id, SocketState::Listening);
}

fn enter_stop_pre(core: &mut Core, id: UnitId, result: SocketResult) {
    note(core, id, result);
    match run_list(core, id, SocketList::StopPre) {
        Ok(true) => set_state(core, id, SocketState::StopPre),
        Ok(false) => enter_stop_post(core, id, SocketResult::Success),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot run what precedes its stop: {text}"));
            enter_stop_post(core, id, SocketResult::Resources);
        }
    }
}

fn enter_stop_post(core: &mut Core, id: UnitId, result: SocketResult) {
    note(core, id, result);
    match run_list(core, id, SocketList::StopPost) {
        Ok(true) => set_state(core, id, SocketState::StopPost),
        Ok(false) => enter_signal(core, id, SocketState::FinalSigterm, SocketResult::Success),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot run what follows its stop: {text}"));
            enter_signal(core, id, SocketState::FinalSigterm, SocketResult::Resources);
        }
    }
}

/// Ends what runs by signal.
fn enter_signal(core: &mut Core, id: UnitId, state: SocketState, result: SocketResult) {
    use SocketState::*;
    note(core, id, result);
    let step = match state {
        StopPreSigterm if core.has_restart_job(id) => KillStep::TerminateForRestart,
        FinalSigterm => KillStep::Terminate,
        // Also the first of the two before the ports are closed: systemd 252 does not ask there, whatever the state is
        // called.
        _ => KillStep::Kill,
    };
    let control = socket!(core, id).control;
    match signal_processes(core, id, step, None, control, false) {
        Ok(true) => {
            let limit = core.unit(id).config.socket().and_then(|config| config.timeout);
            tool::arm(core, id, limit);
            set_state(core, id, state);
        }
        Ok(false) => match state {
            StopPreSigterm => enter_signal(core, id, StopPreSigkill, SocketResult::Success),
            StopPreSigkill => enter_stop_post(core, id, SocketResult::Success),
            FinalSigterm => enter_signal(core, id, FinalSigkill, SocketResult::Success),
            _ => enter_dead(core, id, SocketResult::Success),
        },
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot end its command: {text}"));
            match state {
                StopPreSigterm | StopPreSigkill => enter_stop_post(core, id, SocketResult::Resources),
                _ => enter_dead(core, id, SocketResult::Resources),
            }
        }
    }
}

fn enter_dead(core: &mut Core, id: UnitId, result: SocketResult) {
    note(core, id, result);
    let failed = socket!(core, id).result;
    if failed == SocketResult::Success {
        core.log(Priority::Debug, id, "deactivated");
        set_state(core, id, SocketState::Dead);
    } else {
        core.log(Priority::Warning, id, &format!("failed with result '{}'", failed.word()));
        set_state(core, id, SocketState::Failed);
    }
    core.remove_runtime_directories(id, false);
    core.drop_group(id);
}

impl Core {
    /// The socket units whose ports a service gets: those that start it, and those it names (`Sockets=`).
    pub fn sockets_of(&self, service: UnitId) -> Vec<UnitId> {
        let triggers = self.graph.with(service, ssi_unit::dependency::Atoms::TRIGGERED_BY);
        triggers.filter(|unit| self.unit(*unit).unit_type() == UnitType::Socket).collect()
    }
}
