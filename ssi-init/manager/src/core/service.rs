// SPDX-License-Identifier: GPL-2.0-or-later
//! A service: from `start` to its end, and perhaps to the next start.
//!
//! ```text
//!            start                                                              an exit, READY=1, a bus name
//!  dead ───────────▶ condition ─▶ start-pre ─▶ start ─▶ start-post ─▶ running ◀──▶ reload
//!   ▲                    │            │          │          │           │  └─▶ exited (RemainAfterExit=)
//!   │                    └────────────┴────┬─────┴──────────┘           │ stop, or it ended
//!   │                                      │ failed                     ▼
//!   │                                      │                          stop ─▶ stop-sigterm ─▶ stop-sigkill
//!   │                                      └───────────────────────────────────▶│                │
//!   │                                                                           ▼                ▼
//!   ├───────────────────────────────────── final-sigkill ◀─ final-sigterm ◀─ stop-post ◀─────────┘
//!   ├── failed
//!   └── auto-restart ─▶ (a restart job, after RestartSec=)
//! ```
//!
//! Every arrow is a function `enter_…` here; what comes in are [`start`], [`stop`], [`reload`], [`exited`],
//! [`group_empty`], [`deadline`], [`notified`] and [`bus_name`]. A command list is run one command at a time: the next is
//! started when the one before it ended well. The order of checks is that of systemd 252, whose behaviour
//! systemd.service(5) describes; where that page is silent, what Debian's units were written against decides.

mod ends;
mod messages;
mod processes;
mod runtime;

pub(in crate::core) use ends::{deadline, exited, group_empty, out_of_memory};
pub(in crate::core) use messages::stored_gone;
pub use messages::{Notification, notified};
pub(in crate::core) use processes::pid_file_changed;
pub use runtime::{List, Ran, Running, Said, ServiceResult, ServiceRuntime};

use std::rc::Rc;
use std::time::Duration;

use ssi_unit::config::service::{ExitStatuses, Restart, ServiceType};

use super::exec::{Apply, Fds};
use super::kill::{KillStep, signal_processes};
use super::state::ServiceState;
use super::system::{Clock, Exit, Pid, Priority};
use super::{Core, Deadline, usec};
use crate::graph::UnitId;
use crate::job::{JobMode, Reply, Request, Wish};

pub(super) fn config_of(core: &Core, id: UnitId) -> Rc<ssi_unit::config::UnitConfig> {
    Rc::clone(&core.unit(id).config)
}

macro_rules! service {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.service()
    };
}
use service;

/// Starts it. Conditions, assertions and the start limit were looked at.
///
/// [`Reply::NotYet`] while it is on its way down, or waits to be restarted: there is a job for that.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    use ServiceState::*;
    match service!(core, id).state {
        Stop | StopWatchdog | StopSigterm | StopSigkill | StopPost | FinalWatchdog | FinalSigterm | FinalSigkill => {
            return Reply::NotYet;
        }
        Condition | StartPre | Start | StartPost => return Reply::Underway,
        // What depends on it has to see it stop first; a restart job does both.
        AutoRestart => return Reply::NotYet,
        Running | Exited | Reload | ReloadSignal | ReloadNotify => return Reply::Already,
        Dead | Failed => {}
    }
    core.new_invocation(id);
    let runtime = core.service_mut(id);
    runtime.result = ServiceResult::Success;
    runtime.reload_result = ServiceResult::Success;
    runtime.main_known = false;
    runtime.main_alien = false;
    runtime.forbid_restart = false;
    runtime.said = Said::Nothing;
    runtime.status_text = None;
    runtime.status_errno = 0;
    runtime.watchdog_override = None;
    runtime.extended_until = None;
    runtime.oom_killed = false;
    runtime.ran.clear();
    if std::mem::take(&mut runtime.flush_restarts) {
        runtime.restarts = 0;
    }
    enter_list(core, id, List::Condition);
    Reply::Underway
}

/// Stops it.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    use ServiceState::*;
    core.service_mut(id).forbid_restart = true;
    match service!(core, id).state {
        Stop | StopWatchdog | StopSigterm | StopSigkill | StopPost | FinalWatchdog | FinalSigterm | FinalSigkill => {}
        AutoRestart => set_state(core, id, Dead),
        Condition | StartPre | Start | StartPost | Reload | ReloadSignal | ReloadNotify => {
            enter_signal(core, id, StopSigterm, ServiceResult::Success);
        }
        Running | Exited => enter_stop(core, id, ServiceResult::Success),
        Dead | Failed => {}
    }
}

/// Whether it knows how to reload.
pub(super) fn can_reload(unit: &super::unit::Unit) -> bool {
    unit.config
        .service()
        .is_some_and(|service| !service.exec_reload.is_empty() || service.service_type == ServiceType::NotifyReload)
}

/// Has it read its configuration anew. It is running, or exited.
pub(super) fn reload(core: &mut Core, id: UnitId) {
    core.service_mut(id).reload_result = ServiceResult::Success;
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if service.service_type == ServiceType::NotifyReload
        && let Some(main) = service!(core, id).main
    {
        let begun = core.now().monotonic;
        core.service_mut(id).reload_begun = begun;
        match core.sys.kill(main, service.reload_signal) {
            Ok(true) => {}
            Ok(false) => {}
            Err(error) => {
                core.log(Priority::Warning, id, &format!("cannot ask its main process {main} to reload: {error}"));
                core.service_mut(id).reload_result = ServiceResult::Resources;
                enter_running(core, id, ServiceResult::Success);
                return;
            }
        }
        if service.exec_reload.is_empty() {
            arm_timeout(core, id, service.timeout_start);
            set_state(core, id, ServiceState::ReloadSignal);
            return;
        }
    }
    enter_list(core, id, List::Reload);
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if service!(core, id).state == ServiceState::Failed {
        set_state(core, id, ServiceState::Dead);
    }
    let runtime = core.service_mut(id);
    runtime.result = ServiceResult::Success;
    runtime.reload_result = ServiceResult::Success;
    runtime.restarts = 0;
    runtime.flush_restarts = false;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, ServiceResult::StartLimitHit, false);
}

/// Takes on a new fine state, with what goes with it, and tells everybody.
pub(super) fn set_state(core: &mut Core, id: UnitId, state: ServiceState) {
    use ServiceState::*;
    let old = service!(core, id).state;
    if !needs_timer(state) {
        core.disarm(id, Deadline::State);
    }
    if matches!(state, Dead | Failed | AutoRestart) {
        processes::forget_main(core, id);
        core.service_mut(id).main_command = None;
    }
    if matches!(state, Dead | Failed | AutoRestart | Running | Exited) {
        processes::forget_control(core, id);
        core.service_mut(id).control_command = None;
    }
    if matches!(state, Dead | Failed | AutoRestart) {
        core.unwatch_pid_file(id);
        // A restart has use for the connection.
        if state != Dead || core.queue.job_of(id).is_none() {
            core.close_connection(id);
        }
    }
    if !matches!(state, StartPost | Running | Reload | ReloadSignal | ReloadNotify) {
        core.disarm(id, Deadline::Watchdog);
    }
    core.service_mut(id).state = state;
    if old != state {
        core.service_mut(id).extended_until = None;
    }
    let reload_failed = service!(core, id).reload_result != ServiceResult::Success;
    core.state_changed(id, old.active(), state.active(), reload_failed);
}

fn needs_timer(state: ServiceState) -> bool {
    use ServiceState::*;
    !matches!(state, Dead | Failed | Exited)
}

/// Begins a list of commands, or what comes after it when it is empty.
fn enter_list(core: &mut Core, id: UnitId, list: List) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if list.of(service).is_empty() {
        after_list(core, id, list);
        return;
    }
    let state = match list {
        List::Condition => ServiceState::Condition,
        List::StartPre => ServiceState::StartPre,
        List::Start => return enter_start(core, id),
        List::StartPost => ServiceState::StartPost,
        List::Reload => ServiceState::Reload,
        List::Stop => ServiceState::Stop,
        List::StopPost => ServiceState::StopPost,
    };
    processes::forget_control(core, id);
    match run_control(core, id, Running { list, index: 0 }) {
        Ok(()) => set_state(core, id, state),
        Err(text) => {
            core.log(Priority::Warning, id, &text);
            list_not_run(core, id, list);
        }
    }
}

/// A list is through, or was empty; the service goes on.
fn after_list(core: &mut Core, id: UnitId, list: List) {
    match list {
        List::Condition => enter_list(core, id, List::StartPre),
        List::StartPre => enter_start(core, id),
        List::Start => enter_start_post(core, id),
        List::StartPost | List::Reload => enter_running(core, id, ServiceResult::Success),
        List::Stop => enter_signal(core, id, ServiceState::StopSigterm, ServiceResult::Success),
        List::StopPost => enter_signal(core, id, ServiceState::FinalSigterm, ServiceResult::Success),
    }
}

/// No process could be made for a list.
fn list_not_run(core: &mut Core, id: UnitId, list: List) {
    let result = ServiceResult::Resources;
    match list {
        List::Condition | List::StartPre => enter_dead(core, id, result, true),
        List::Start => enter_signal(core, id, ServiceState::StopSigterm, result),
        List::StartPost => enter_stop(core, id, result),
        List::Reload => {
            core.service_mut(id).reload_result = result;
            enter_running(core, id, ServiceResult::Success);
        }
        List::Stop => enter_signal(core, id, ServiceState::StopSigterm, result),
        List::StopPost => enter_signal(core, id, ServiceState::FinalSigterm, result),
    }
}

/// Starts a command that is not the main one, under the time limit of its list.
fn run_control(core: &mut Core, id: UnitId, running: Running) -> Result<(), String> {
    let config = config_of(core, id);
    let service = config.service().ok_or("it is no service")?;
    let command = running.list.of(service).get(running.index).ok_or("there is no such command")?;
    let (limit, apply) = match running.list {
        List::Condition | List::StartPre | List::StartPost | List::Reload => {
            (service.timeout_start, Apply::control(service))
        }
        List::Start => (service.timeout_start, Apply::main()),
        List::Stop | List::StopPost => (service.timeout_stop, Apply::control(service)),
    };
    arm_timeout(core, id, limit);
    let fds = if running.list == List::Start || processes::talks_over_socket(service) {
        processes::passed(core, id, service)
    } else {
        Fds::default()
    };
    let pid = processes::spawn(core, id, command, apply, fds, running.list != List::Start)?;
    let start = core.now();
    let runtime = core.service_mut(id);
    runtime.control = Some(pid);
    runtime.control_command = Some(running);
    record(runtime, running, Ran { start, pid: Some(pid), ..Ran::default() });
    Ok(())
}

fn record(runtime: &mut ServiceRuntime, running: Running, ran: Ran) {
    match runtime.ran.iter_mut().find(|(known, _)| *known == running) {
        Some((_, old)) => *old = ran,
        None => runtime.ran.push((running, ran)),
    }
}

/// Starts the service's own program.
fn enter_start(core: &mut Core, id: UnitId) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    processes::forget_control(core, id);
    processes::forget_main(core, id);
    let first = Running { list: List::Start, index: 0 };
    if service.service_type == ServiceType::Forking {
        match run_control(core, id, first) {
            Ok(()) => set_state(core, id, ServiceState::Start),
            Err(text) => {
                core.log(Priority::Warning, id, &text);
                enter_signal(core, id, ServiceState::StopSigterm, ServiceResult::Resources);
            }
        }
        return;
    }
    if service.exec_start.is_empty() {
        // A oneshot service may consist of what it does on the way down.
        match service.service_type {
            ServiceType::Oneshot => {
                // That it was on its way up is seen even so: `SuccessAction=` of the units that end the machine hangs on
                // its coming down from somewhere.
                set_state(core, id, ServiceState::Start);
                enter_start_post(core, id);
            }
            _ => enter_signal(core, id, ServiceState::StopSigterm, ServiceResult::Resources),
        }
        return;
    }
    if let Err(text) = run_main(core, id, first) {
        core.log(Priority::Warning, id, &text);
        enter_signal(core, id, ServiceState::StopSigterm, ServiceResult::Resources);
        return;
    }
    match service.service_type {
        ServiceType::Simple | ServiceType::Idle => enter_start_post(core, id),
        _ => set_state(core, id, ServiceState::Start),
    }
}

/// Starts a command of `ExecStart=` as the main process.
fn run_main(core: &mut Core, id: UnitId, running: Running) -> Result<(), String> {
    let config = config_of(core, id);
    let service = config.service().ok_or("it is no service")?;
    let command = service.exec_start.get(running.index).ok_or("there is no such command")?;
    // The start of a simple service is over at once, so there is nothing to wait for.
    let limit = match service.service_type {
        ServiceType::Simple | ServiceType::Idle => None,
        _ => service.timeout_start,
    };
    arm_timeout(core, id, limit);
    let fds = processes::passed(core, id, service);
    let pid = processes::spawn(core, id, command, Apply::main(), fds, false)?;
    let start = core.now();
    let runtime = core.service_mut(id);
    runtime.main = Some(pid);
    runtime.main_known = true;
    runtime.main_alien = false;
    runtime.main_command = Some(running);
    runtime.main_ran = Ran { start, pid: Some(pid), ..Ran::default() };
    let ran = runtime.main_ran;
    record(runtime, running, ran);
    Ok(())
}

/// It is up, but for what is to be done afterwards.
pub(super) fn enter_start_post(core: &mut Core, id: UnitId) {
    reset_watchdog(core, id);
    enter_list(core, id, List::StartPost);
}

/// It is up, or was.
pub(super) fn enter_running(core: &mut Core, id: UnitId, result: ServiceResult) {
    processes::forget_control(core, id);
    core.service_mut(id).control_command = None;
    note(core, id, result);
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if processes::is_good(core, id) {
        match service!(core, id).said {
            Said::Reloading => enter_reload_by_notify(core, id),
            Said::Stopping => enter_stop_by_notify(core, id),
            Said::Nothing | Said::Ready => {
                set_state(core, id, ServiceState::Running);
                let active = core.unit(id).runtime.times.active_enter.monotonic;
                match service.runtime_max {
                    Some(limit) => {
                        let extra = core.random_below(service.runtime_randomized_extra);
                        core.arm(id, Deadline::State, Clock::Monotonic, active + usec(limit) + extra);
                    }
                    None => core.disarm(id, Deadline::State),
                }
            }
        }
    } else if service.remain_after_exit {
        set_state(core, id, ServiceState::Exited);
    } else {
        enter_stop(core, id, ServiceResult::Success);
    }
}

/// It said that it reads its configuration anew.
fn enter_reload_by_notify(core: &mut Core, id: UnitId) {
    let config = config_of(core, id);
    let limit = config.service().and_then(|service| service.timeout_start);
    arm_timeout(core, id, limit);
    set_state(core, id, ServiceState::ReloadNotify);
    core.propagate_reload(id);
}

/// It said that it is on its way down.
fn enter_stop_by_notify(core: &mut Core, id: UnitId) {
    let config = config_of(core, id);
    arm_timeout(core, id, config.service().and_then(|service| service.timeout_stop));
    // It is killed only if it does not go by itself in time.
    set_state(core, id, ServiceState::StopSigterm);
}

/// Runs the stop commands.
pub(super) fn enter_stop(core: &mut Core, id: UnitId, result: ServiceResult) {
    note(core, id, result);
    processes::forget_control(core, id);
    enter_list(core, id, List::Stop);
}

/// Ends what runs by signal.
pub(super) fn enter_signal(core: &mut Core, id: UnitId, state: ServiceState, result: ServiceResult) {
    use ServiceState::*;
    note(core, id, result);
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let step = match state {
        StopWatchdog | FinalWatchdog => KillStep::Watchdog,
        StopSigkill | FinalSigkill => KillStep::Kill,
        StopSigterm if core.has_restart_job(id) => KillStep::TerminateForRestart,
        _ => KillStep::Terminate,
    };
    let (main, control, alien) = {
        let runtime = service!(core, id);
        (runtime.main, runtime.control, runtime.main_alien)
    };
    match signal_processes(core, id, step, main, control, alien) {
        Ok(true) => {
            let limit = match state {
                StopWatchdog | FinalWatchdog => service.timeout_abort.unwrap_or(service.timeout_stop),
                _ => service.timeout_stop,
            };
            arm_timeout(core, id, limit);
            set_state(core, id, state);
        }
        Ok(false) => match state {
            StopWatchdog | StopSigterm if service.kill.send_sigkill => {
                enter_signal(core, id, StopSigkill, ServiceResult::Success);
            }
            StopWatchdog | StopSigterm | StopSigkill => enter_stop_post(core, id, ServiceResult::Success),
            FinalWatchdog | FinalSigterm if service.kill.send_sigkill => {
                enter_signal(core, id, FinalSigkill, ServiceResult::Success);
            }
            _ => enter_dead(core, id, ServiceResult::Success, true),
        },
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot end its processes: {text}"));
            match state {
                StopWatchdog | StopSigterm | StopSigkill => enter_stop_post(core, id, ServiceResult::Resources),
                _ => enter_dead(core, id, ServiceResult::Resources, true),
            }
        }
    }
}

/// Runs what comes after the end.
pub(super) fn enter_stop_post(core: &mut Core, id: UnitId, result: ServiceResult) {
    note(core, id, result);
    processes::forget_control(core, id);
    enter_list(core, id, List::StopPost);
}

/// It is over, for now or until the next start.
pub(super) fn enter_dead(core: &mut Core, id: UnitId, result: ServiceResult, allow_restart: bool) {
    // Where a job wants it down, it stays down.
    let allow_restart = allow_restart && !core.has_stop_job(id);
    note(core, id, result);
    let result = service!(core, id).result;
    let end = match result {
        ServiceResult::Success | ServiceResult::ExecCondition => ServiceState::Dead,
        _ => ServiceState::Failed,
    };
    match result {
        ServiceResult::Success => core.log(Priority::Debug, id, "deactivated"),
        ServiceResult::ExecCondition => core.log(Priority::Notice, id, "skipped: ExecCondition= said no"),
        other => core.log(Priority::Warning, id, &format!("failed with result '{}'", other.word())),
    }
    let restart = allow_restart && shall_restart(core, id);
    core.service_mut(id).will_restart = restart;
    set_state(core, id, end);
    if restart {
        core.service_mut(id).will_restart = false;
        let config = config_of(core, id);
        match config.service().and_then(|service| service.restart_pause) {
            Some(pause) => {
                let at = core.now().monotonic + usec(pause);
                core.arm(id, Deadline::State, Clock::Monotonic, at);
            }
            None => core.disarm(id, Deadline::State),
        }
        set_state(core, id, ServiceState::AutoRestart);
    } else {
        core.service_mut(id).flush_restarts = true;
    }
    // A restart by hand is allowed again from here on.
    core.service_mut(id).forbid_restart = false;
    processes::clean_up(core, id, restart);
}

/// `Restart=` and its exceptions.
fn shall_restart(core: &Core, id: UnitId) -> bool {
    let config = config_of(core, id);
    let (Some(service), runtime) = (config.service(), service!(core, id)) else { return false };
    if runtime.forbid_restart {
        return false;
    }
    if runtime.main_ran.exit.is_some_and(|exit| listed(&service.restart_prevent_exit_status, exit)) {
        return false;
    }
    if runtime.main_ran.exit.is_some_and(|exit| listed(&service.restart_force_exit_status, exit)) {
        return true;
    }
    use ServiceResult::*;
    match service.restart {
        Restart::No => false,
        Restart::Always => runtime.result != ExecCondition,
        Restart::OnSuccess => runtime.result == Success,
        Restart::OnFailure => !matches!(runtime.result, Success | ExecCondition),
        Restart::OnAbnormal => !matches!(runtime.result, Success | ExitCode | ExecCondition),
        Restart::OnWatchdog => runtime.result == Watchdog,
        Restart::OnAbort => matches!(runtime.result, Signal | CoreDump),
    }
}

fn listed(set: &ExitStatuses, exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => set.codes.contains(&code),
        Exit::Signal(signal) | Exit::Dumped(signal) => set.signals.contains(&signal),
    }
}

/// The pause before a restart is over.
fn enter_restart(core: &mut Core, id: UnitId) {
    if core.has_stop_job(id) {
        core.log(Priority::Info, id, "its restart is not needed any more: it is to be stopped");
        return;
    }
    match core.wish(Wish { unit: id, request: Request::Restart, mode: JobMode::Replace, manual: false }) {
        Ok(_) => {
            let runtime = core.service_mut(id);
            runtime.restarts = runtime.restarts.saturating_add(1);
            runtime.flush_restarts = false;
            let count = runtime.restarts;
            core.log(Priority::Info, id, &format!("scheduled restart job, restart counter is at {count}"));
        }
        Err(error) => {
            core.log(Priority::Warning, id, &format!("cannot be restarted: {error}"));
            enter_dead(core, id, ServiceResult::Resources, false);
        }
    }
}

/// The first thing that goes wrong is what went wrong.
fn note(core: &mut Core, id: UnitId, result: ServiceResult) {
    if service!(core, id).result == ServiceResult::Success && result != ServiceResult::Success {
        core.service_mut(id).result = result;
    }
}

fn arm_timeout(core: &mut Core, id: UnitId, limit: Option<Duration>) {
    match limit {
        Some(limit) => {
            let at = core.now().monotonic.saturating_add(usec(limit));
            core.arm(id, Deadline::State, Clock::Monotonic, at);
        }
        None => core.disarm(id, Deadline::State),
    }
}

/// The watchdog's interval now: the one it asked for, or the configured one.
pub(super) fn watchdog_interval(core: &Core, id: UnitId) -> Option<u64> {
    let config = config_of(core, id);
    let configured = config.service()?.watchdog.map(usec).filter(|interval| *interval > 0);
    service!(core, id).watchdog_override.or(configured).filter(|interval| *interval > 0 && *interval < u64::MAX / 4)
}

/// It said that it lives, or begins to.
pub(super) fn reset_watchdog(core: &mut Core, id: UnitId) {
    let now = core.now();
    core.service_mut(id).watchdog_at = now;
    match watchdog_interval(core, id) {
        Some(interval) => core.arm(id, Deadline::Watchdog, Clock::Monotonic, now.monotonic + interval),
        None => core.disarm(id, Deadline::Watchdog),
    }
}

/// The owner of its bus name came, went or changed.
pub(super) fn bus_name(core: &mut Core, id: UnitId, owner: Option<Pid>, owned: bool) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let before = std::mem::replace(&mut core.service_mut(id).bus_name_owned, owned);
    core.touch(id);
    if service.service_type == ServiceType::Dbus {
        match service!(core, id).state {
            ServiceState::Start if owned => enter_start_post(core, id),
            ServiceState::Running if before && !owned => enter_running(core, id, ServiceResult::Success),
            _ => {}
        }
    } else if let Some(owner) = owner
        && owned
        && service!(core, id).control != Some(owner)
        && service!(core, id).main.is_none()
        && matches!(service!(core, id).state, ServiceState::Start | ServiceState::StartPost | ServiceState::Running)
    {
        processes::claim_main(core, id, owner);
    }
}

/// Its program runs now: the start of a service of `Type=exec` is over.
pub(super) fn executed(core: &mut Core, id: UnitId, pid: Pid) {
    let config = config_of(core, id);
    let waits = config.service().is_some_and(|service| service.service_type == ServiceType::Exec);
    if waits && service!(core, id).main == Some(pid) && service!(core, id).state == ServiceState::Start {
        enter_start_post(core, id);
    }
}

/// A new manager takes it up as it was left.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    use ServiceState::*;
    let (main, control, state) = {
        let runtime = service!(core, id);
        (runtime.main, runtime.control, runtime.state)
    };
    for pid in main.into_iter().chain(control) {
        core.watch(pid, id);
    }
    if matches!(state, Start | StartPost) {
        // A PID file may have come while nobody looked.
        core.watch_pid_file(id);
        pid_file_changed(core, id);
    }
    if matches!(state, Dead | Failed | AutoRestart) {
        core.drop_group(id);
    }
    super::socket::tie(core, id);
    if state == Dead && service!(core, id).connection.is_some() && core.queue.job_of(id).is_none() {
        // The manager before this one had taken the connection, and not come to the job for it.
        if !core.wish_quietly(Wish { unit: id, request: Request::Start, mode: JobMode::Replace, manual: false }) {
            core.close_connection(id);
        }
    }
}
