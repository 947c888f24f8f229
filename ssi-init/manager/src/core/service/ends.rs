// SPDX-License-Identifier: GPL-2.0-or-later
//! What comes to an end around a service: its processes, its time limits, its control group.

use ssi_unit::config::ServiceConfig;
use ssi_unit::config::service::{OomPolicy, ServiceType, TimeoutFailureMode};

use super::{
    List, Ran, Running as Command, Said, ServiceResult, arm_timeout, config_of, enter_dead, enter_list, enter_restart,
    enter_running, enter_signal, enter_start, enter_start_post, enter_stop, enter_stop_post, list_not_run, listed,
    note, processes, record, run_control, run_main, service, set_state, watchdog_interval,
};
use crate::core::state::ServiceState;
use crate::core::system::{Exit, Pid, Priority};
use crate::core::{Core, Deadline};
use crate::graph::UnitId;

/// A time limit has passed.
pub(in crate::core) fn deadline(core: &mut Core, id: UnitId, which: Deadline) {
    use ServiceState::*;
    use TimeoutFailureMode::{Abort, Kill, Terminate};
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let state = service!(core, id).state;
    if which == Deadline::Watchdog {
        if matches!(state, StartPost | Running | Reload | ReloadSignal | ReloadNotify) {
            let seconds = watchdog_interval(core, id).unwrap_or(0) / 1_000_000;
            core.log(Priority::Error, id, &format!("watchdog timeout (limit {seconds} s)"));
            enter_signal(core, id, StopWatchdog, ServiceResult::Watchdog);
        }
        return;
    }
    let timeout = ServiceResult::Timeout;
    match state {
        Condition | StartPre | Start | StartPost => {
            core.log(Priority::Warning, id, &format!("{} operation timed out", state.word()));
            match service.timeout_start_failure_mode {
                Terminate => enter_signal(core, id, StopSigterm, timeout),
                Abort => enter_signal(core, id, StopWatchdog, timeout),
                Kill if service.kill.send_sigkill => enter_signal(core, id, StopSigkill, timeout),
                Kill => enter_stop_post(core, id, timeout),
            }
        }
        Running => {
            core.log(Priority::Warning, id, "has run for as long as it may; it is stopped");
            enter_stop(core, id, timeout);
        }
        Reload | ReloadSignal | ReloadNotify => {
            core.log(Priority::Warning, id, "reload operation timed out");
            processes::kill_control(core, id);
            core.service_mut(id).reload_result = timeout;
            enter_running(core, id, ServiceResult::Success);
        }
        Stop => {
            core.log(Priority::Warning, id, "stop operation timed out");
            match service.timeout_stop_failure_mode {
                Terminate => enter_signal(core, id, StopSigterm, timeout),
                Abort => enter_signal(core, id, StopWatchdog, timeout),
                Kill if service.kill.send_sigkill => enter_signal(core, id, StopSigkill, timeout),
                Kill => enter_stop_post(core, id, timeout),
            }
        }
        StopSigterm if service.timeout_stop_failure_mode == Abort => {
            core.log(Priority::Warning, id, "did not end in time; it is aborted");
            enter_signal(core, id, StopWatchdog, timeout);
        }
        StopWatchdog | StopSigterm => {
            if service.kill.send_sigkill {
                core.log(Priority::Warning, id, "did not end in time; it is killed");
                enter_signal(core, id, StopSigkill, timeout);
            } else {
                core.log(Priority::Warning, id, "did not end in time; SendSIGKILL=no leaves its processes");
                enter_stop_post(core, id, timeout);
            }
        }
        StopSigkill => {
            core.log(Priority::Warning, id, "has processes that the kill signal did not end; they are left");
            enter_stop_post(core, id, timeout);
        }
        StopPost => {
            core.log(Priority::Warning, id, "stop-post operation timed out");
            match service.timeout_stop_failure_mode {
                Terminate => enter_signal(core, id, FinalSigterm, timeout),
                Abort => enter_signal(core, id, FinalWatchdog, timeout),
                Kill if service.kill.send_sigkill => enter_signal(core, id, FinalSigkill, timeout),
                Kill => enter_dead(core, id, timeout, false),
            }
        }
        FinalSigterm if service.timeout_stop_failure_mode == Abort => enter_signal(core, id, FinalWatchdog, timeout),
        FinalWatchdog | FinalSigterm => {
            if service.kill.send_sigkill {
                enter_signal(core, id, FinalSigkill, timeout);
            } else {
                enter_dead(core, id, timeout, false);
            }
        }
        FinalSigkill => {
            core.log(Priority::Warning, id, "has processes that the kill signal did not end; it counts as failed");
            enter_dead(core, id, timeout, true);
        }
        AutoRestart => enter_restart(core, id),
        Dead | Failed | Exited => {}
    }
}

/// A process ended that this service started or claimed.
pub(in crate::core) fn exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    let (main, control) = {
        let runtime = service!(core, id);
        (runtime.main, runtime.control)
    };
    if main == Some(pid) {
        main_exited(core, id, pid, exit);
    } else if control == Some(pid) {
        control_exited(core, id, pid, exit);
    }
}

/// Whether that is a good end, and if not, what it is.
fn judge(service: &ServiceConfig, exit: Exit, command: bool) -> ServiceResult {
    // systemd.service(5), SuccessExitStatus=: the signals that ask a daemon to end are no failure of it.
    const CLEAN: [i32; 4] = [1, 2, 15, 13];
    let good = match exit {
        Exit::Code(0) => true,
        Exit::Signal(signal) => !command && CLEAN.contains(&signal),
        _ => false,
    };
    if good || listed(&service.success_exit_status, exit) {
        return ServiceResult::Success;
    }
    match exit {
        Exit::Code(_) => ServiceResult::ExitCode,
        Exit::Signal(_) => ServiceResult::Signal,
        Exit::Dumped(_) => ServiceResult::CoreDump,
    }
}

fn main_exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    use ServiceState::*;
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let kind = service.service_type;
    let mut result = judge(service, exit, kind == ServiceType::Oneshot);
    let now = core.now();
    core.unwatch(pid);
    let runtime = core.service_mut(id);
    runtime.main = None;
    runtime.main_ran.end = now;
    runtime.main_ran.exit = Some(exit);
    let command = runtime.main_command;
    if let Some(running) = command {
        let ran = runtime.main_ran;
        record(runtime, running, ran);
        if service.exec_start.get(running.index).is_some_and(|command| command.ignore_failure) {
            result = ServiceResult::Success;
        }
    }
    core.log_exit(id, "main process", pid, exit, result == ServiceResult::Success);
    note(core, id, result);
    let success = result == ServiceResult::Success;
    if let Some(running) = command
        && kind == ServiceType::Oneshot
        && success
        && running.index + 1 < service.exec_start.len()
        && service!(core, id).state == Start
    {
        if let Err(text) = run_main(core, id, Command { index: running.index + 1, ..running }) {
            core.log(Priority::Warning, id, &text);
            enter_signal(core, id, StopSigterm, ServiceResult::Resources);
        }
        return;
    }
    core.service_mut(id).main_command = None;
    let control_gone = service!(core, id).control.is_none();
    match service!(core, id).state {
        // What runs beside it is waited for.
        StartPost | Reload | ReloadSignal | ReloadNotify | Stop if !control_gone => {}
        StartPost | Stop => {}
        Reload | ReloadSignal | ReloadNotify => enter_running(core, id, result),
        Start if kind == ServiceType::Oneshot => {
            if success {
                enter_start_post(core, id);
            } else {
                enter_signal(core, id, StopSigterm, result);
            }
        }
        Start if matches!(kind, ServiceType::Notify | ServiceType::NotifyReload) => {
            // Nothing but READY=1 makes it up.
            let result = if success && !service.remain_after_exit { ServiceResult::Protocol } else { result };
            enter_signal(core, id, StopSigterm, result);
        }
        Start | Running => enter_running(core, id, result),
        StopWatchdog | StopSigterm | StopSigkill if control_gone => enter_stop_post(core, id, result),
        StopPost if control_gone => enter_signal(core, id, FinalSigterm, result),
        FinalWatchdog | FinalSigterm | FinalSigkill if control_gone => enter_dead(core, id, result, true),
        _ => {}
    }
}

fn control_exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    use ServiceState::*;
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let state = service!(core, id).state;
    let mut result = judge(service, exit, true);
    let now = core.now();
    core.unwatch(pid);
    let runtime = core.service_mut(id);
    runtime.control = None;
    let command = runtime.control_command;
    if let Some(running) = command {
        let start = runtime.ran.iter().find(|(known, _)| *known == running).map(|(_, ran)| ran.start);
        record(runtime, running, Ran { start: start.unwrap_or_default(), end: now, pid: Some(pid), exit: Some(exit) });
        let ignored = running.list.of(service).get(running.index).is_some_and(|command| command.ignore_failure);
        if ignored && state != Condition {
            result = ServiceResult::Success;
        }
    }
    if state == Condition
        && let Exit::Code(1..=254) = exit
    {
        result = ServiceResult::ExecCondition;
    }
    let expected = matches!(result, ServiceResult::Success | ServiceResult::ExecCondition);
    core.log_exit(id, "control process", pid, exit, expected);
    if !matches!(state, Reload | ReloadSignal | ReloadNotify) {
        note(core, id, result);
    }
    let success = result == ServiceResult::Success;
    if let Some(running) = command
        && success
        && running.index + 1 < running.list.of(service).len()
    {
        let next = Command { index: running.index + 1, ..running };
        if let Err(text) = run_control(core, id, next) {
            core.log(Priority::Warning, id, &text);
            list_not_run(core, id, running.list);
        }
        return;
    }
    core.service_mut(id).control_command = None;
    let main_gone = !processes::main_lives(core, id);
    match state {
        Condition if success => enter_list(core, id, List::StartPre),
        StartPre if success => enter_start(core, id),
        Condition | StartPre => enter_signal(core, id, StopSigterm, result),
        Start => processes::forked(core, id, result),
        StartPost if success => processes::post_done(core, id),
        StartPost => enter_signal(core, id, StopSigterm, result),
        Reload | ReloadSignal | ReloadNotify => {
            if success {
                processes::look_for_main(core, id);
            }
            core.service_mut(id).reload_result = result;
            if service.service_type == ServiceType::NotifyReload && service!(core, id).said != Said::Ready {
                // The command was only one half of it.
                arm_timeout(core, id, service.timeout_start);
                let state = if service!(core, id).said == Said::Reloading { ReloadNotify } else { ReloadSignal };
                set_state(core, id, state);
            } else {
                enter_running(core, id, ServiceResult::Success);
            }
        }
        Stop => enter_signal(core, id, StopSigterm, result),
        StopWatchdog | StopSigterm | StopSigkill if main_gone => enter_stop_post(core, id, result),
        StopPost if main_gone => enter_signal(core, id, FinalSigterm, result),
        FinalWatchdog | FinalSigterm | FinalSigkill if main_gone => enter_dead(core, id, result, true),
        _ => {}
    }
}

/// The last process of its control group ended.
pub(in crate::core) fn group_empty(core: &mut Core, id: UnitId) {
    use ServiceState::*;
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    let main_gone = !processes::main_lives(core, id);
    let control_gone = service!(core, id).control.is_none();
    let gone = main_gone && control_gone;
    match service!(core, id).state {
        Start if gone && matches!(service.service_type, ServiceType::Notify | ServiceType::NotifyReload) => {
            enter_signal(core, id, StopSigterm, ServiceResult::Protocol);
        }
        Start if gone && service.pid_file.is_some() => {
            core.log(Priority::Warning, id, "its daemon ended and never wrote its PID file");
            enter_signal(core, id, StopSigterm, ServiceResult::Protocol);
        }
        StartPost if gone && service.pid_file.is_some() && !service!(core, id).main_known => {
            core.log(Priority::Warning, id, "its daemon ended and never wrote its PID file");
            enter_stop(core, id, ServiceResult::Protocol);
        }
        Running => enter_running(core, id, ServiceResult::Success),
        StopWatchdog | StopSigterm | StopSigkill if gone => enter_stop_post(core, id, ServiceResult::Success),
        StopPost | FinalWatchdog | FinalSigterm | FinalSigkill if gone => {
            enter_dead(core, id, ServiceResult::Success, true);
        }
        Dead | Failed | AutoRestart => core.drop_group(id),
        _ => {}
    }
}

/// The kernel killed one of its processes for want of memory (`OOMPolicy=`).
pub(in crate::core) fn out_of_memory(core: &mut Core, id: UnitId) {
    use ServiceState::*;
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    core.log(Priority::Notice, id, "the kernel killed one of its processes for want of memory");
    core.service_mut(id).oom_killed = true;
    let policy = service.oom_policy;
    if policy == OomPolicy::Continue {
        return;
    }
    let whole = policy == OomPolicy::Kill;
    match service!(core, id).state {
        Condition | StartPre | Start | StartPost | Stop => {
            enter_signal(core, id, if whole { StopSigkill } else { StopSigterm }, ServiceResult::OomKill);
        }
        Exited | Running if whole => enter_signal(core, id, StopSigkill, ServiceResult::OomKill),
        Exited | Running => enter_stop(core, id, ServiceResult::OomKill),
        StopWatchdog | StopSigterm if whole => enter_signal(core, id, StopSigkill, ServiceResult::OomKill),
        StopPost if whole => enter_signal(core, id, FinalSigkill, ServiceResult::OomKill),
        StopWatchdog | StopSigterm | StopSigkill | StopPost | FinalWatchdog | FinalSigterm | FinalSigkill => {
            note(core, id, ServiceResult::OomKill);
        }
        Reload | ReloadSignal | ReloadNotify | Dead | Failed | AutoRestart => {}
    }
}
