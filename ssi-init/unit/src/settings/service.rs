// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Service]` (systemd.service(5)) and `[Scope]` (systemd.scope(5)).

use super::kill::set_signal;
use super::unit::set_action;
use super::value::{self, BARE};
use super::{Outcome, Problem, Reader, Table};
use crate::config::WarningKind;
use crate::config::scope::ScopeConfig;
use crate::config::service::{
    ExitStatuses, ExitType, FdStorePreserve, NotifyAccess, OomPolicy, Restart, RestartMode, ServiceConfig, ServiceType,
    TimeoutFailureMode,
};
use crate::config::unit::UnitSection;
use crate::exec_line::{self, ExecCommand};
use crate::name::UnitType;
use crate::process_end::{exit_status, signal_number};

/// The keys of `[Service]`.
pub(super) const SERVICE: Table<ServiceConfig> = &[
    ("Type", |service, value, reader| {
        let mut kind = ServiceType::Simple;
        reader.set_word(&mut kind, value, ServiceType::from_word)?;
        service.told.service_type = Some(kind);
        Ok(())
    }),
    ("ExitType", |service, value, reader| reader.set_word(&mut service.exit_type, value, ExitType::from_word)),
    ("Restart", |service, value, reader| reader.set_word(&mut service.restart, value, Restart::from_word)),
    ("RestartMode", |service, value, reader| reader.set_word(&mut service.restart_mode, value, RestartMode::from_word)),
    ("RestartSec", |service, value, reader| reader.set_span(&mut service.restart_pause, value)),
    ("RestartSteps", |service, value, reader| reader.set_unsigned(&mut service.restart_steps, value)),
    ("RestartMaxDelaySec", |service, value, reader| reader.set_span(&mut service.restart_max_delay, value)),
    ("PIDFile", |service, value, reader| {
        if value.is_empty() {
            service.pid_file = None;
            return Ok(());
        }
        let below_run = if value.starts_with('/') { value.to_owned() } else { format!("/run/{value}") };
        let path = reader.path(&below_run)?;
        service.pid_file = Some(without_var_run(path, reader));
        Ok(())
    }),
    ("BusName", |service, value, reader| {
        let name = reader.text(value)?;
        if !value::is_bus_name(&name) {
            return Err(reader.bad(&name, "a name on the bus"));
        }
        service.bus_name = Some(name);
        Ok(())
    }),
    ("ExecCondition", |service, value, reader| commands(&mut service.exec_condition, value, reader)),
    ("ExecStartPre", |service, value, reader| commands(&mut service.exec_start_pre, value, reader)),
    ("ExecStart", |service, value, reader| commands(&mut service.exec_start, value, reader)),
    ("ExecStartPost", |service, value, reader| commands(&mut service.exec_start_post, value, reader)),
    ("ExecReload", |service, value, reader| commands(&mut service.exec_reload, value, reader)),
    ("ExecStop", |service, value, reader| commands(&mut service.exec_stop, value, reader)),
    ("ExecStopPost", |service, value, reader| commands(&mut service.exec_stop_post, value, reader)),
    ("TimeoutSec", |service, value, reader| {
        reader.set_timeout(&mut service.timeout_start, value)?;
        service.timeout_stop = service.timeout_start;
        service.told.timeout_start = true;
        Ok(())
    }),
    ("TimeoutStartSec", |service, value, reader| {
        reader.set_timeout(&mut service.timeout_start, value)?;
        service.told.timeout_start = true;
        Ok(())
    }),
    ("TimeoutStopSec", |service, value, reader| reader.set_timeout(&mut service.timeout_stop, value)),
    ("TimeoutAbortSec", |service, value, reader| {
        service.timeout_abort = if value.is_empty() { None } else { Some(reader.span(value)?) };
        Ok(())
    }),
    ("TimeoutStartFailureMode", |service, value, reader| {
        reader.set_word(&mut service.timeout_start_failure_mode, value, TimeoutFailureMode::from_word)
    }),
    ("TimeoutStopFailureMode", |service, value, reader| {
        reader.set_word(&mut service.timeout_stop_failure_mode, value, TimeoutFailureMode::from_word)
    }),
    ("RuntimeMaxSec", |service, value, reader| reader.set_span(&mut service.runtime_max, value)),
    ("RuntimeRandomizedExtraSec", |service, value, reader| {
        reader.set_finite_span(&mut service.runtime_randomized_extra, value)
    }),
    ("WatchdogSec", |service, value, reader| reader.set_span(&mut service.watchdog, value)),
    ("PermissionsStartOnly", |service, value, reader| reader.set_bool(&mut service.permissions_start_only, value)),
    ("RootDirectoryStartOnly", |service, value, reader| reader.set_bool(&mut service.root_directory_start_only, value)),
    ("RemainAfterExit", |service, value, reader| reader.set_bool(&mut service.remain_after_exit, value)),
    ("GuessMainPID", |service, value, reader| reader.set_bool(&mut service.guess_main_pid, value)),
    ("RestartPreventExitStatus", |service, value, reader| {
        statuses(&mut service.restart_prevent_exit_status, value, reader)
    }),
    ("RestartForceExitStatus", |service, value, reader| {
        statuses(&mut service.restart_force_exit_status, value, reader)
    }),
    ("SuccessExitStatus", |service, value, reader| statuses(&mut service.success_exit_status, value, reader)),
    ("SysVStartPriority", |_, _, reader| no_effect(reader)),
    ("BusPolicy", |_, _, reader| no_effect(reader)),
    ("NonBlocking", |service, value, reader| reader.set_bool(&mut service.non_blocking, value)),
    ("FileDescriptorStoreMax", |service, value, reader| {
        reader.set_unsigned(&mut service.file_descriptor_store_max, value)
    }),
    ("FileDescriptorStorePreserve", |service, value, reader| {
        reader.set_word(&mut service.file_descriptor_store_preserve, value, FdStorePreserve::from_word)
    }),
    ("NotifyAccess", |service, value, reader| {
        reader.set_word(&mut service.notify_access, value, NotifyAccess::from_word)
    }),
    ("ReloadSignal", |service, value, reader| set_signal(&mut service.reload_signal, value, reader)),
    ("Sockets", |service, value, reader| {
        for word in reader.words(value, BARE) {
            match reader.other_unit(&word) {
                Ok(name) if name.unit_type() == UnitType::Socket => service.sockets.push(name),
                Ok(name) => reader.skip(format!("Sockets={name} is no socket unit, ignoring")),
                Err(Problem::Ignored(text)) => reader.skip(text),
                Err(fatal) => return Err(fatal),
            }
        }
        Ok(())
    }),
    ("USBFunctionDescriptors", |service, value, reader| reader.set_path(&mut service.usb_function_descriptors, value)),
    ("USBFunctionStrings", |service, value, reader| reader.set_path(&mut service.usb_function_strings, value)),
    ("OOMPolicy", |service, value, reader| {
        let mut policy = OomPolicy::Continue;
        reader.set_word(&mut policy, value, OomPolicy::from_word)?;
        service.told.oom_policy = Some(policy);
        Ok(())
    }),
];

/// Keys that stood in `[Service]` before they moved to `[Unit]`; both places are taken.
pub(super) const IN_UNIT: Table<UnitSection> = &[
    ("StartLimitInterval", |unit, value, reader| reader.set_span(&mut unit.start_limit_interval, value)),
    ("StartLimitBurst", |unit, value, reader| reader.set_unsigned(&mut unit.start_limit_burst, value)),
    ("StartLimitAction", |unit, value, reader| set_action(&mut unit.start_limit_action, value, reader)),
    ("FailureAction", |unit, value, reader| set_action(&mut unit.failure_action, value, reader)),
    ("RebootArgument", |unit, value, reader| reader.set_text(&mut unit.reboot_argument, value)),
];

/// The keys of `[Scope]`.
pub(super) const SCOPE: Table<ScopeConfig> = &[
    ("RuntimeMaxSec", |scope, value, reader| reader.set_span(&mut scope.runtime_max, value)),
    ("RuntimeRandomizedExtraSec", |scope, value, reader| {
        reader.set_finite_span(&mut scope.runtime_randomized_extra, value)
    }),
    ("TimeoutStopSec", |scope, value, reader| reader.set_span(&mut scope.timeout_stop, value)),
    ("OOMPolicy", |scope, value, reader| {
        let mut policy = OomPolicy::Continue;
        reader.set_word(&mut policy, value, OomPolicy::from_word)?;
        scope.oom_policy = Some(policy);
        Ok(())
    }),
];

/// Commands; an empty value takes back those before it.
pub(super) fn commands(list: &mut Vec<ExecCommand>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let line = exec_line::parse(value, reader.specifiers);
    let key = reader.key().to_owned();
    for warning in line.warnings {
        reader.say(WarningKind::BadValue, format!("{key}={value}: {warning}"));
    }
    list.extend(line.commands);
    match line.error {
        Some(error) => Err(Problem::Fatal(format!("{key}={value}: {error}"))),
        None => Ok(()),
    }
}

/// Exit statuses and signals. A number is a status, never a signal.
fn statuses(set: &mut ExitStatuses, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        *set = ExitStatuses::default();
        return Ok(());
    }
    for word in reader.words(value, BARE) {
        if let Some(status) = exit_status(&word) {
            set.codes.insert(status);
        } else if let Some(signal) = signal_number(&word).filter(|_| !word.starts_with(|c: char| c.is_ascii_digit())) {
            set.signals.insert(signal);
        } else {
            reader.skip(format!("{}={word} is neither an exit status nor a signal, ignoring", reader.key()));
        }
    }
    Ok(())
}

/// /var/run has been a link to /run for long, and may not be mounted yet.
pub(super) fn without_var_run(path: String, reader: &mut Reader<'_>) -> String {
    let Some(rest) = path.strip_prefix("/var/run/") else { return path };
    let shorter = format!("/run/{rest}");
    reader.obsolete(&format!("names {path} below the old directory /var/run; taken as {shorter}"));
    shorter
}

/// A key that once meant something.
pub(super) fn no_effect(reader: &mut Reader<'_>) -> Outcome {
    reader.obsolete("has no effect any more");
    Ok(())
}
