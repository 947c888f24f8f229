// SPDX-License-Identifier: GPL-2.0-or-later
//! The properties of the manager, org.freedesktop.systemd1(5); `systemctl show` without a unit lists them.

use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::state::ActiveState;
use ssi_manager::core::system::Moment;
use ssi_unit::config::exec::{OutputTarget, Resource};
use zbus::zvariant::{OwnedValue, Str, Value};

use crate::dispatch::Scene;
use crate::host::{Facts, Setting};
use crate::interface::{Emits, Property};

/// All of them.
pub(crate) const PROPERTIES: &[Property] = &[
    Property::new("Version", "s", Emits::Const),
    Property::new("Features", "s", Emits::Const),
    Property::new("Virtualization", "s", Emits::Const),
    Property::new("Architecture", "s", Emits::Const),
    Property::new("Tainted", "s", Emits::Const),
    Property::new("FirmwareTimestamp", "t", Emits::Const),
    Property::new("FirmwareTimestampMonotonic", "t", Emits::Const),
    Property::new("LoaderTimestamp", "t", Emits::Const),
    Property::new("LoaderTimestampMonotonic", "t", Emits::Const),
    Property::new("KernelTimestamp", "t", Emits::Const),
    Property::new("KernelTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDTimestamp", "t", Emits::Const),
    Property::new("InitRDTimestampMonotonic", "t", Emits::Const),
    Property::new("UserspaceTimestamp", "t", Emits::Const),
    Property::new("UserspaceTimestampMonotonic", "t", Emits::Const),
    Property::new("FinishTimestamp", "t", Emits::Const),
    Property::new("FinishTimestampMonotonic", "t", Emits::Const),
    Property::new("SecurityStartTimestamp", "t", Emits::Const),
    Property::new("SecurityStartTimestampMonotonic", "t", Emits::Const),
    Property::new("SecurityFinishTimestamp", "t", Emits::Const),
    Property::new("SecurityFinishTimestampMonotonic", "t", Emits::Const),
    Property::new("GeneratorsStartTimestamp", "t", Emits::Const),
    Property::new("GeneratorsStartTimestampMonotonic", "t", Emits::Const),
    Property::new("GeneratorsFinishTimestamp", "t", Emits::Const),
    Property::new("GeneratorsFinishTimestampMonotonic", "t", Emits::Const),
    Property::new("UnitsLoadStartTimestamp", "t", Emits::Const),
    Property::new("UnitsLoadStartTimestampMonotonic", "t", Emits::Const),
    Property::new("UnitsLoadFinishTimestamp", "t", Emits::Const),
    Property::new("UnitsLoadFinishTimestampMonotonic", "t", Emits::Const),
    Property::new("UnitsLoadTimestamp", "t", Emits::Const),
    Property::new("UnitsLoadTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDSecurityStartTimestamp", "t", Emits::Const),
    Property::new("InitRDSecurityStartTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDSecurityFinishTimestamp", "t", Emits::Const),
    Property::new("InitRDSecurityFinishTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDGeneratorsStartTimestamp", "t", Emits::Const),
    Property::new("InitRDGeneratorsStartTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDGeneratorsFinishTimestamp", "t", Emits::Const),
    Property::new("InitRDGeneratorsFinishTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDUnitsLoadStartTimestamp", "t", Emits::Const),
    Property::new("InitRDUnitsLoadStartTimestampMonotonic", "t", Emits::Const),
    Property::new("InitRDUnitsLoadFinishTimestamp", "t", Emits::Const),
    Property::new("InitRDUnitsLoadFinishTimestampMonotonic", "t", Emits::Const),
    Property::writable("LogLevel", "s"),
    Property::writable("LogTarget", "s"),
    Property::new("NNames", "u", Emits::Nothing),
    Property::new("NFailedUnits", "u", Emits::Change),
    Property::new("NJobs", "u", Emits::Nothing),
    Property::new("NInstalledJobs", "u", Emits::Nothing),
    Property::new("NFailedJobs", "u", Emits::Nothing),
    Property::new("Progress", "d", Emits::Nothing),
    Property::new("Environment", "as", Emits::Nothing),
    Property::new("ConfirmSpawn", "b", Emits::Const),
    Property::new("ShowStatus", "b", Emits::Nothing),
    Property::new("UnitPath", "as", Emits::Const),
    Property::new("DefaultStandardOutput", "s", Emits::Const),
    Property::new("DefaultStandardError", "s", Emits::Const),
    Property::new("WatchdogDevice", "s", Emits::Const),
    Property::new("WatchdogLastPingTimestamp", "t", Emits::Nothing),
    Property::new("WatchdogLastPingTimestampMonotonic", "t", Emits::Nothing),
    Property::writable("RuntimeWatchdogUSec", "t"),
    Property::writable("RuntimeWatchdogPreUSec", "t"),
    Property::writable("RuntimeWatchdogPreGovernor", "s"),
    Property::writable("RebootWatchdogUSec", "t"),
    Property::writable("KExecWatchdogUSec", "t"),
    Property::writable("ServiceWatchdogs", "b"),
    Property::new("ControlGroup", "s", Emits::Nothing),
    Property::new("SystemState", "s", Emits::Nothing),
    Property::new("ExitCode", "y", Emits::Nothing),
    Property::new("DefaultTimerAccuracyUSec", "t", Emits::Const),
    Property::new("DefaultTimeoutStartUSec", "t", Emits::Const),
    Property::new("DefaultTimeoutStopUSec", "t", Emits::Const),
    Property::new("DefaultTimeoutAbortUSec", "t", Emits::Nothing),
    Property::new("DefaultDeviceTimeoutUSec", "t", Emits::Const),
    Property::new("DefaultRestartUSec", "t", Emits::Const),
    Property::new("DefaultStartLimitIntervalUSec", "t", Emits::Const),
    Property::new("DefaultStartLimitBurst", "u", Emits::Const),
    Property::new("DefaultCPUAccounting", "b", Emits::Const),
    Property::new("DefaultBlockIOAccounting", "b", Emits::Const),
    Property::new("DefaultMemoryAccounting", "b", Emits::Const),
    Property::new("DefaultTasksAccounting", "b", Emits::Const),
    Property::new("DefaultLimitCPU", "t", Emits::Const),
    Property::new("DefaultLimitCPUSoft", "t", Emits::Const),
    Property::new("DefaultLimitFSIZE", "t", Emits::Const),
    Property::new("DefaultLimitFSIZESoft", "t", Emits::Const),
    Property::new("DefaultLimitDATA", "t", Emits::Const),
    Property::new("DefaultLimitDATASoft", "t", Emits::Const),
    Property::new("DefaultLimitSTACK", "t", Emits::Const),
    Property::new("DefaultLimitSTACKSoft", "t", Emits::Const),
    Property::new("DefaultLimitCORE", "t", Emits::Const),
    Property::new("DefaultLimitCORESoft", "t", Emits::Const),
    Property::new("DefaultLimitRSS", "t", Emits::Const),
    Property::new("DefaultLimitRSSSoft", "t", Emits::Const),
    Property::new("DefaultLimitNOFILE", "t", Emits::Const),
    Property::new("DefaultLimitNOFILESoft", "t", Emits::Const),
    Property::new("DefaultLimitAS", "t", Emits::Const),
    Property::new("DefaultLimitASSoft", "t", Emits::Const),
    Property::new("DefaultLimitNPROC", "t", Emits::Const),
    Property::new("DefaultLimitNPROCSoft", "t", Emits::Const),
    Property::new("DefaultLimitMEMLOCK", "t", Emits::Const),
    Property::new("DefaultLimitMEMLOCKSoft", "t", Emits::Const),
    Property::new("DefaultLimitLOCKS", "t", Emits::Const),
    Property::new("DefaultLimitLOCKSSoft", "t", Emits::Const),
    Property::new("DefaultLimitSIGPENDING", "t", Emits::Const),
    Property::new("DefaultLimitSIGPENDINGSoft", "t", Emits::Const),
    Property::new("DefaultLimitMSGQUEUE", "t", Emits::Const),
    Property::new("DefaultLimitMSGQUEUESoft", "t", Emits::Const),
    Property::new("DefaultLimitNICE", "t", Emits::Const),
    Property::new("DefaultLimitNICESoft", "t", Emits::Const),
    Property::new("DefaultLimitRTPRIO", "t", Emits::Const),
    Property::new("DefaultLimitRTPRIOSoft", "t", Emits::Const),
    Property::new("DefaultLimitRTTIME", "t", Emits::Const),
    Property::new("DefaultLimitRTTIMESoft", "t", Emits::Const),
    Property::new("DefaultTasksMax", "t", Emits::Nothing),
    Property::new("TimerSlackNSec", "t", Emits::Const),
    Property::new("DefaultOOMPolicy", "s", Emits::Const),
    Property::new("DefaultOOMScoreAdjust", "i", Emits::Const),
    Property::new("CtrlAltDelBurstAction", "s", Emits::Const),
];

fn text(text: impl Into<Str<'static>>) -> OwnedValue {
    OwnedValue::from(text.into())
}

fn list(list: Vec<String>) -> Option<OwnedValue> {
    // Texts hold no descriptor, which is all that could go wrong.
    OwnedValue::try_from(Value::from(list)).ok()
}

fn count(number: usize) -> OwnedValue {
    OwnedValue::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A span in microseconds; without an end, the greatest number.
fn span(span: Option<std::time::Duration>) -> OwnedValue {
    OwnedValue::from(span.map_or(u64::MAX, |span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
}

/// The word for where output goes, systemd.exec(5).
fn output_word(target: &OutputTarget) -> &'static str {
    match target {
        OutputTarget::Inherit => "inherit",
        OutputTarget::Null => "null",
        OutputTarget::Tty => "tty",
        OutputTarget::Journal => "journal",
        OutputTarget::JournalAndConsole => "journal+console",
        OutputTarget::Kmsg => "kmsg",
        OutputTarget::KmsgAndConsole => "kmsg+console",
        OutputTarget::File(_) => "file",
        OutputTarget::Append(_) => "append",
        OutputTarget::Truncate(_) => "truncate",
        OutputTarget::Socket => "socket",
        OutputTarget::Fd(_) => "fd",
    }
}

/// The values of all properties.
pub(crate) fn all(scene: &Scene<'_>) -> Vec<(&'static str, OwnedValue)> {
    let facts = scene.host.facts();
    PROPERTIES.iter().filter_map(|property| Some((property.name, value(scene, &facts, property.name)?))).collect()
}

/// The value of a property.
pub(crate) fn get(scene: &Scene<'_>, name: &str) -> Option<OwnedValue> {
    value(scene, &scene.host.facts(), name)
}

fn value(scene: &Scene<'_>, facts: &Facts, name: &str) -> Option<OwnedValue> {
    let found = of_core(scene, name).or_else(|| of_times(facts, name)).or_else(|| of_defaults(facts, name));
    if found.is_some() {
        return found;
    }
    Some(match name {
        "Version" => text(facts.version.clone()),
        "Features" => text(facts.features.clone()),
        "Virtualization" => text(facts.virtualization.clone()),
        "Architecture" => text(facts.architecture.clone()),
        "Tainted" => text(facts.tainted.clone()),
        "LogLevel" => text(facts.log_level.clone()),
        "LogTarget" => text(facts.log_target.clone()),
        "Environment" => return list(scene.host.environment()),
        "ConfirmSpawn" => facts.confirm_spawn.into(),
        "ShowStatus" => facts.show_status.into(),
        "UnitPath" => return list(facts.unit_path.clone()),
        "WatchdogDevice" => text(facts.watchdog_device.clone()),
        "RuntimeWatchdogUSec" => facts.runtime_watchdog.into(),
        "RuntimeWatchdogPreUSec" => facts.runtime_watchdog_pre.into(),
        "RuntimeWatchdogPreGovernor" => text(facts.runtime_watchdog_pre_governor.clone()),
        "RebootWatchdogUSec" => facts.reboot_watchdog.into(),
        "KExecWatchdogUSec" => facts.kexec_watchdog.into(),
        "ServiceWatchdogs" => facts.service_watchdogs.into(),
        "ControlGroup" => text(facts.control_group.clone()),
        "ExitCode" => facts.exit_code.into(),
        "TimerSlackNSec" => facts.timer_slack.into(),
        "CtrlAltDelBurstAction" => text(facts.ctrl_alt_del_burst_action.clone()),
        _ => return None,
    })
}

/// What the units and jobs tell.
fn of_core(scene: &Scene<'_>, name: &str) -> Option<OwnedValue> {
    let core = &*scene.core;
    Some(match name {
        "NNames" => count(core.table.names().count()),
        "NFailedUnits" => count(core.table.iter().filter(|unit| unit.active() == ActiveState::Failed).count()),
        "NJobs" => count(core.queue.len()),
        "NInstalledJobs" => count(usize::try_from(core.queue.installed_ever()).unwrap_or(usize::MAX)),
        "NFailedJobs" => count(usize::try_from(core.queue.failed_ever()).unwrap_or(usize::MAX)),
        "Progress" => {
            let (there, ever) = (core.queue.len() as f64, core.queue.installed_ever() as f64);
            OwnedValue::from(if core.finished_starting || ever == 0.0 { 1.0 } else { 1.0 - there / ever })
        }
        "SystemState" => text(core.system_state()),
        _ => return None,
    })
}

/// Moments: one by the time of day, and the same by the clock that does not jump.
fn of_times(facts: &Facts, name: &str) -> Option<OwnedValue> {
    let (name, monotonic) = match name.strip_suffix("Monotonic") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let times = &facts.times;
    let moment = match name.strip_suffix("Timestamp")? {
        "Firmware" => times.firmware,
        "Loader" => times.loader,
        "Kernel" => times.kernel,
        "InitRD" => times.initrd,
        "Userspace" => times.userspace,
        "Finish" => times.finish,
        "SecurityStart" => times.security_start,
        "SecurityFinish" => times.security_finish,
        "GeneratorsStart" => times.generators_start,
        "GeneratorsFinish" => times.generators_finish,
        "UnitsLoadStart" => times.units_load_start,
        "UnitsLoadFinish" => times.units_load_finish,
        "UnitsLoad" => times.units_load,
        "WatchdogLastPing" => facts.watchdog_last_ping,
        // An initramfs of ours has no manager of its own.
        "InitRDSecurityStart"
        | "InitRDSecurityFinish"
        | "InitRDGeneratorsStart"
        | "InitRDGeneratorsFinish"
        | "InitRDUnitsLoadStart"
        | "InitRDUnitsLoadFinish" => Moment::default(),
        _ => return None,
    };
    Some(OwnedValue::from(if monotonic { moment.monotonic } else { moment.realtime }))
}

/// What holds where unit files say nothing.
fn of_defaults(facts: &Facts, name: &str) -> Option<OwnedValue> {
    let defaults = &facts.defaults;
    let name = name.strip_prefix("Default")?;
    if let Some(resource) = name.strip_prefix("Limit") {
        let (resource, soft) = match resource.strip_suffix("Soft") {
            Some(resource) => (resource, true),
            None => (resource, false),
        };
        let resource = Resource::ALL.iter().find(|known| known.as_str() == resource);
        if let Some(resource) = resource {
            let limit = defaults.limits.get(resource);
            return Some(OwnedValue::from(limit.map_or(u64::MAX, |limit| if soft { limit.soft } else { limit.hard })));
        }
    }
    Some(match name {
        "StandardOutput" => text(output_word(&defaults.standard_output)),
        "StandardError" => text(output_word(&defaults.standard_error)),
        "TimerAccuracyUSec" => span(defaults.timer_accuracy),
        "TimeoutStartUSec" => span(defaults.timeout_start),
        "TimeoutStopUSec" => span(defaults.timeout_stop),
        "TimeoutAbortUSec" => span(defaults.timeout_abort.unwrap_or(defaults.timeout_stop)),
        "DeviceTimeoutUSec" => span(defaults.device_timeout),
        "RestartUSec" => span(defaults.restart),
        "StartLimitIntervalUSec" => span(defaults.start_limit_interval),
        "StartLimitBurst" => defaults.start_limit_burst.into(),
        "CPUAccounting" => defaults.cpu_accounting.into(),
        "BlockIOAccounting" => defaults.io_accounting.into(),
        "MemoryAccounting" => defaults.memory_accounting.into(),
        "TasksAccounting" => defaults.tasks_accounting.into(),
        "TasksMax" => facts.tasks_max.into(),
        "OOMPolicy" => text(defaults.oom_policy.as_str()),
        "OOMScoreAdjust" => defaults.oom_score_adjust.unwrap_or(0).into(),
        _ => return None,
    })
}

/// Sets a property that may be set; its type was looked at.
pub(crate) fn set(scene: &mut Scene<'_>, name: &str, value: &OwnedValue) -> Result<(), CommandError> {
    let wrong = |_| CommandError::new(errors::INVALID_ARGUMENTS, format!("{name} cannot be that"));
    let word = || value.downcast_ref::<String>().map_err(wrong);
    let number = || value.downcast_ref::<u64>().map_err(wrong);
    let setting = match name {
        "LogLevel" => Setting::LogLevel(word()?),
        "LogTarget" => Setting::LogTarget(word()?),
        "RuntimeWatchdogUSec" => Setting::RuntimeWatchdog(number()?),
        "RuntimeWatchdogPreUSec" => Setting::RuntimeWatchdogPre(number()?),
        "RuntimeWatchdogPreGovernor" => Setting::RuntimeWatchdogPreGovernor(word()?),
        "RebootWatchdogUSec" => Setting::RebootWatchdog(number()?),
        "KExecWatchdogUSec" => Setting::KexecWatchdog(number()?),
        "ServiceWatchdogs" => Setting::ServiceWatchdogs(value.downcast_ref::<bool>().map_err(wrong)?),
        _ => return Err(CommandError::new(crate::reply::names::PROPERTY_READ_ONLY, format!("{name} cannot be set"))),
    };
    scene.host.set(setting)
}
