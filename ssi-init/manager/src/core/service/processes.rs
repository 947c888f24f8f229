// SPDX-License-Identifier: GPL-2.0-or-later
//! The processes of a service: which is the main one, whether it lives, how one is started, what is left to clean up.

use ssi_unit::config::ServiceConfig;
use ssi_unit::config::service::ServiceType;
use ssi_unit::exec_line::ExecCommand;

use super::{ServiceResult, config_of, enter_running, enter_signal, enter_start_post, reset_watchdog};
use crate::core::exec::{Apply, Fds, Start};
use crate::core::state::ServiceState;
use crate::core::system::{Exit, Pid, Priority};
use crate::core::{Core, socket};
use crate::graph::UnitId;

macro_rules! service {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.service()
    };
}

/// Starts a process of the service.
pub(super) fn spawn(
    core: &mut Core,
    id: UnitId,
    command: &ExecCommand,
    apply: Apply,
    fds: Fds,
    control: bool,
) -> Result<Pid, String> {
    let config = config_of(core, id);
    let service = config.service().ok_or("it is no service")?;
    let cgroup = core.realize_group(id).map_err(|error| error.to_string())?;
    let runtime = service!(core, id);
    let mut environment = vec![("INVOCATION_ID".to_owned(), format!("{:032x}", core.unit(id).runtime.invocation))];
    environment.extend(core.cluster_environment(id));
    if let Some(main) = runtime.main {
        environment.push(("MAINPID".to_owned(), main.to_string()));
    }
    if runtime.state != ServiceState::Dead
        && matches!(runtime.control_command.map(|run| run.list), None | Some(super::List::Stop | super::List::StopPost))
        && control
    {
        environment.push(("SERVICE_RESULT".to_owned(), runtime.result.word().to_owned()));
        match runtime.main_ran.exit {
            Some(Exit::Code(code)) => {
                environment.push(("EXIT_CODE".to_owned(), "exited".to_owned()));
                environment.push(("EXIT_STATUS".to_owned(), code.to_string()));
            }
            Some(Exit::Signal(signal)) => {
                environment.push(("EXIT_CODE".to_owned(), "killed".to_owned()));
                environment.push(("EXIT_STATUS".to_owned(), ssi_unit::process_end::signal_name(signal)));
            }
            Some(Exit::Dumped(signal)) => {
                environment.push(("EXIT_CODE".to_owned(), "dumped".to_owned()));
                environment.push(("EXIT_STATUS".to_owned(), ssi_unit::process_end::signal_name(signal)));
            }
            None => {}
        }
    }
    if let Some(pid_file) = &service.pid_file {
        environment.push(("PIDFILE".to_owned(), pid_file.clone()));
    }
    if let Some(peer) = &runtime.peer {
        environment.extend(peer.address.iter().map(|address| ("REMOTE_ADDR".to_owned(), address.clone())));
        environment.extend(peer.port.iter().map(|port| ("REMOTE_PORT".to_owned(), port.to_string())));
    }
    let start = Start {
        command: command.clone(),
        config: config.clone(),
        apply,
        fds,
        environment,
        cgroup,
        // A helper command beside a delegated service's tree would be in the way of what the service does there.
        subgroup: (control && service.cgroup.delegate.is_some()).then(|| ".control".to_owned()),
        notify: service.notify_access != ssi_unit::config::service::NotifyAccess::None,
        watchdog: if control { None } else { super::watchdog_interval(core, id) },
        idle: service.service_type == ServiceType::Idle && !control,
        wait_for_exec: service.service_type == ServiceType::Exec && !control,
        invocation: core.unit(id).runtime.invocation,
    };
    let name = core.unit(id).name.clone();
    let pid = core.sys.spawn(&name, &start).map_err(|error| error.to_string())?;
    core.watch(pid, id);
    core.touch(id);
    Ok(pid)
}

/// Whether a socket is the input or output of its programs, so that each of them gets it.
pub(super) fn talks_over_socket(service: &ServiceConfig) -> bool {
    use ssi_unit::config::exec::{InputSource, OutputTarget};
    let exec = &service.exec;
    matches!(exec.standard_input, InputSource::Socket)
        || matches!(exec.standard_output, OutputTarget::Socket)
        || matches!(exec.standard_error, OutputTarget::Socket)
}

/// The descriptors its program is to find: its sockets, and what it stored.
pub(super) fn passed(core: &Core, id: UnitId, service: &ServiceConfig) -> Fds {
    let runtime = service!(core, id);
    let sockets = match &runtime.connection {
        Some(connection) => vec![(connection.clone(), "connection".to_owned())],
        None => {
            let of_unit = |unit| {
                let unit = core.unit(unit);
                let ports = &unit.runtime.kind.socket().ports;
                ports.iter().map(move |port| (port.key.clone(), socket::descriptor_name(unit)))
            };
            core.sockets_of(id).into_iter().flat_map(of_unit).collect()
        }
    };
    Fds {
        sockets,
        stored: runtime.stored.clone(),
        connection: runtime.connection.clone(),
        non_blocking: service.non_blocking,
    }
}

/// Whether the main process lives, as far as can be known.
pub(super) fn main_lives(core: &Core, id: UnitId) -> bool {
    let runtime = service!(core, id);
    match runtime.main {
        Some(main) if runtime.main_alien => core.sys.is_alive(main),
        Some(_) => true,
        None => false,
    }
}

/// Whether it is up: its main process lives or, where that is not known, any process of it.
pub(super) fn is_good(core: &Core, id: UnitId) -> bool {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return false };
    let runtime = service!(core, id);
    if service.service_type == ServiceType::Dbus && !runtime.bus_name_owned {
        return false;
    }
    if runtime.main.is_some() {
        return main_lives(core, id);
    }
    if runtime.main_known {
        return service.exit_type == ssi_unit::config::service::ExitType::Cgroup && core.group_populated(id);
    }
    core.group_populated(id)
}

/// It is not asked after any more.
pub(super) fn forget_main(core: &mut Core, id: UnitId) {
    if let Some(pid) = core.service_mut(id).main.take() {
        core.unwatch(pid);
    }
}

/// As for the main process.
pub(super) fn forget_control(core: &mut Core, id: UnitId) {
    if let Some(pid) = core.service_mut(id).control.take() {
        core.unwatch(pid);
    }
}

/// Kills the command that runs beside the main process.
pub(super) fn kill_control(core: &mut Core, id: UnitId) {
    const SIGKILL: i32 = 9;
    if let Some(pid) = service!(core, id).control
        && let Err(error) = core.sys.kill(pid, SIGKILL)
    {
        core.log(Priority::Warning, id, &format!("cannot kill its process {pid}: {error}"));
    }
}

/// This is the main process from now on.
pub(super) fn claim_main(core: &mut Core, id: UnitId, pid: Pid) {
    forget_main(core, id);
    let ours = core.sys.group_of(pid).is_some_and(|group| core.owns_group(id, &group));
    let runtime = core.service_mut(id);
    runtime.main = Some(pid);
    runtime.main_known = true;
    // What is in none of our groups is somebody's else, and PID 1 is not told of its end.
    runtime.main_alien = !ours;
    runtime.main_ran.pid = Some(pid);
    let now = core.now();
    core.service_mut(id).main_ran.start = now;
    core.watch(pid, id);
    core.touch(id);
}

/// Reads the PID file.
fn load_pid_file(core: &mut Core, id: UnitId) -> Result<(), String> {
    let config = config_of(core, id);
    let Some(path) = config.service().and_then(|service| service.pid_file.clone()) else {
        return Err("it has no PIDFile=".to_owned());
    };
    let pid = core.sys.read_pid_file(&path).map_err(|error| error.to_string())?;
    if service!(core, id).main == Some(pid) {
        return Ok(());
    }
    if pid.0 <= 1 {
        return Err(format!("{path} names process {pid}, which cannot be its main process"));
    }
    if service!(core, id).control == Some(pid) {
        return Err(format!("{path} names process {pid}, which is one of its commands"));
    }
    if !core.sys.is_alive(pid) {
        return Err(format!("{path} names process {pid}, which is not there"));
    }
    if !core.sys.group_of(pid).is_some_and(|group| core.owns_group(id, &group)) {
        // A file that others can write must not make the manager watch, and kill, what belongs to somebody else.
        return Err(format!("{path} names process {pid}, which is no process of this service"));
    }
    claim_main(core, id, pid);
    Ok(())
}

/// Looks for the main process where nothing told it: the only one in the control group.
pub(super) fn look_for_main(core: &mut Core, id: UnitId) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if service.pid_file.is_some() {
        if let Err(text) = load_pid_file(core, id) {
            core.log(Priority::Debug, id, &text);
        }
        return;
    }
    if !service.guess_main_pid || service!(core, id).main_known {
        return;
    }
    let Some(group) = core.unit(id).runtime.cgroup.clone() else { return };
    let control = service!(core, id).control;
    let candidates: Vec<_> = core
        .sys
        .group_processes(&group)
        .into_iter()
        .filter(|pid| Some(*pid) != control && core.sys.is_alive(*pid))
        .collect();
    if let [only] = candidates[..] {
        claim_main(core, id, only);
    }
}

/// The first process of a forking service ended: is there a daemon?
pub(super) fn forked(core: &mut Core, id: UnitId, result: ServiceResult) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if service.service_type != ServiceType::Forking {
        return;
    }
    if result != ServiceResult::Success {
        enter_signal(core, id, ServiceState::StopSigterm, result);
        return;
    }
    if service.pid_file.is_some() {
        if let Err(text) = load_pid_file(core, id)
            && service.exec_start_post.is_empty()
        {
            // It may be written a moment after the parent ended.
            if core.group_populated(id) {
                core.log(Priority::Debug, id, &format!("{text}; waiting for it"));
                core.watch_pid_file(id);
            } else {
                core.log(Priority::Warning, id, &text);
                enter_signal(core, id, ServiceState::StopSigterm, ServiceResult::Protocol);
            }
            return;
        }
    } else {
        look_for_main(core, id);
    }
    enter_start_post(core, id);
}

/// `ExecStartPost=` is through.
pub(super) fn post_done(core: &mut Core, id: UnitId) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if service.pid_file.is_some() && !service!(core, id).main_known {
        if let Err(text) = load_pid_file(core, id) {
            if core.group_populated(id) {
                core.log(Priority::Debug, id, &format!("{text}; waiting for it"));
                core.watch_pid_file(id);
            } else {
                core.log(Priority::Warning, id, &text);
                super::enter_stop(core, id, ServiceResult::Protocol);
            }
            return;
        }
    } else {
        look_for_main(core, id);
    }
    enter_running(core, id, ServiceResult::Success);
}

/// Something changed where the PID file is to be.
pub(in crate::core) fn pid_file_changed(core: &mut Core, id: UnitId) {
    if load_pid_file(core, id).is_err() {
        return;
    }
    core.unwatch_pid_file(id);
    match service!(core, id).state {
        ServiceState::Start => enter_start_post(core, id),
        ServiceState::StartPost => enter_running(core, id, ServiceResult::Success),
        _ => reset_watchdog(core, id),
    }
}

/// Takes away what belonged to this run of it.
pub(super) fn clean_up(core: &mut Core, id: UnitId, restart: bool) {
    let config = config_of(core, id);
    let Some(service) = config.service() else { return };
    if let Some(pid_file) = &service.pid_file {
        core.sys.remove_path(pid_file);
    }
    core.remove_runtime_directories(id, restart);
    use ssi_unit::config::service::FdStorePreserve;
    let keep = match service.file_descriptor_store_preserve {
        FdStorePreserve::Yes => true,
        FdStorePreserve::Restart => restart || core.has_restart_job(id),
        FdStorePreserve::No => false,
    };
    if !keep {
        let stored: Vec<_> = core.service_mut(id).stored.drain(..).map(|(key, _)| key).collect();
        core.sys.close(&stored);
    }
    core.drop_group(id);
}
