// SPDX-License-Identifier: GPL-2.0-or-later
//! A service: systemd.service(5).

use std::sync::LazyLock;

use ssi_manager::core::service::{List, Ran, Running, ServiceRuntime};
use ssi_unit::config::service::ExitStatuses;
use ssi_unit::config::{ManagerDefaults, ServiceConfig};
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::load::LoadState;
use zbus::zvariant::Value;

use super::value::{ended, maybe, monotonic, realtime, text, usec};
use super::{Property, View, commands, fixed, invalidated, silent, told};

fn config<'a>(v: &View<'a>) -> &'a ServiceConfig {
    static NONE: LazyLock<ServiceConfig> = LazyLock::new(|| ServiceConfig::new(&ManagerDefaults::default()));
    v.unit.config.service().unwrap_or(&NONE)
}

fn runtime<'a>(v: &View<'a>) -> &'a ServiceRuntime {
    v.unit.runtime.kind.service()
}

/// What is decided when all of the unit's files are read: of a unit that has none, nothing is.
fn decided(v: &View<'_>, word: &str) -> Value<'static> {
    let read = !matches!(v.unit.load, None | Some(LoadState::NotFound | LoadState::Masked));
    text(if read { word } else { "" })
}

/// `(aiai)`: statuses and signals.
fn statuses(set: &ExitStatuses) -> Value<'static> {
    let codes = set.codes.iter().map(|code| i32::from(*code)).collect::<Vec<_>>();
    Value::from((codes, set.signals.iter().copied().collect::<Vec<_>>()))
}

/// The commands of a list, each with its last run.
fn ran<'a>(v: &View<'a>, list: List) -> impl Iterator<Item = (&'a ExecCommand, Ran)> {
    let runs = &runtime(v).ran;
    list.of(config(v)).iter().enumerate().map(move |(index, command)| {
        let found = runs.iter().find(|(which, _)| *which == Running { list, index });
        (command, found.map(|(_, ran)| *ran).unwrap_or_default())
    })
}

macro_rules! lists {
    ($($name:literal $list:ident,)+) => {
        [$(
            invalidated($name, "a(sasbttttuii)", |v| commands::plain(ran(v, List::$list))),
            invalidated(concat!($name, "Ex"), "a(sasasttttuii)", |v| commands::with_prefixes(ran(v, List::$list))),
        )+]
    };
}

/// The interval in which it has to say that it lives. Before its first start nothing is asked of it.
fn watchdog(v: &View<'_>) -> u64 {
    let told = || if v.unit.runtime.times.inactive_exit.is_set() { usec(config(v).watchdog) } else { u64::MAX };
    runtime(v).watchdog_override.unwrap_or_else(told)
}

const SETTINGS_AND_STATE: [Property; 43] = [
    fixed("Type", "s", |v| decided(v, config(v).service_type.as_str())),
    fixed("ExitType", "s", |v| text(config(v).exit_type.as_str())),
    fixed("Restart", "s", |v| text(config(v).restart.as_str())),
    fixed("PIDFile", "s", |v| maybe(config(v).pid_file.as_deref())),
    fixed("NotifyAccess", "s", |v| text(config(v).notify_access.as_str())),
    fixed("RestartUSec", "t", |v| usec(config(v).restart_pause).into()),
    fixed("TimeoutStartUSec", "t", |v| usec(config(v).timeout_start).into()),
    fixed("TimeoutStopUSec", "t", |v| usec(config(v).timeout_stop).into()),
    silent("TimeoutAbortUSec", "t", |v| usec(config(v).timeout_abort.unwrap_or(config(v).timeout_stop)).into()),
    fixed("TimeoutStartFailureMode", "s", |v| text(config(v).timeout_start_failure_mode.as_str())),
    fixed("TimeoutStopFailureMode", "s", |v| text(config(v).timeout_stop_failure_mode.as_str())),
    fixed("RuntimeMaxUSec", "t", |v| usec(config(v).runtime_max).into()),
    fixed("RuntimeRandomizedExtraUSec", "t", |v| usec(Some(config(v).runtime_randomized_extra)).into()),
    silent("WatchdogUSec", "t", |v| watchdog(v).into()),
    silent("WatchdogTimestamp", "t", |v| realtime(runtime(v).watchdog_at)),
    silent("WatchdogTimestampMonotonic", "t", |v| monotonic(runtime(v).watchdog_at)),
    fixed("RootDirectoryStartOnly", "b", |v| config(v).root_directory_start_only.into()),
    fixed("RemainAfterExit", "b", |v| config(v).remain_after_exit.into()),
    fixed("GuessMainPID", "b", |v| config(v).guess_main_pid.into()),
    fixed("RestartPreventExitStatus", "(aiai)", |v| statuses(&config(v).restart_prevent_exit_status)),
    fixed("RestartForceExitStatus", "(aiai)", |v| statuses(&config(v).restart_force_exit_status)),
    fixed("SuccessExitStatus", "(aiai)", |v| statuses(&config(v).success_exit_status)),
    told("MainPID", "u", |v| runtime(v).main.map_or(0, |pid| pid.0).into()),
    told("ControlPID", "u", |v| runtime(v).control.map_or(0, |pid| pid.0).into()),
    fixed("BusName", "s", |v| maybe(config(v).bus_name.as_deref())),
    fixed("FileDescriptorStoreMax", "u", |v| config(v).file_descriptor_store_max.into()),
    silent("NFileDescriptorStore", "u", |v| u32::try_from(runtime(v).stored.len()).unwrap_or(u32::MAX).into()),
    told("StatusText", "s", |v| maybe(runtime(v).status_text.as_deref().or(v.core.cluster_place(v.id)))),
    told("StatusErrno", "i", |v| runtime(v).status_errno.into()),
    told("Result", "s", |v| text(runtime(v).result.word())),
    told("ReloadResult", "s", |v| text(runtime(v).reload_result.word())),
    // What `systemctl clean` removes is removed at once, or the call fails: nothing is left to be told of it.
    told("CleanResult", "s", |_| text("success")),
    fixed("USBFunctionDescriptors", "s", |v| maybe(config(v).usb_function_descriptors.as_deref())),
    fixed("USBFunctionStrings", "s", |v| maybe(config(v).usb_function_strings.as_deref())),
    told("UID", "u", owner_user),
    told("GID", "u", owner_group),
    told("NRestarts", "u", |v| runtime(v).restarts.into()),
    fixed("OOMPolicy", "s", |v| decided(v, config(v).oom_policy.as_str())),
    told("ExecMainStartTimestamp", "t", |v| realtime(runtime(v).main_ran.start)),
    told("ExecMainStartTimestampMonotonic", "t", |v| monotonic(runtime(v).main_ran.start)),
    told("ExecMainExitTimestamp", "t", |v| realtime(runtime(v).main_ran.end)),
    told("ExecMainExitTimestampMonotonic", "t", |v| monotonic(runtime(v).main_ran.end)),
    told("ExecMainPID", "u", |v| runtime(v).main_ran.pid.map_or(0, |pid| pid.0).into()),
];

const ENDED: [Property; 2] = [
    told("ExecMainCode", "i", |v| ended(runtime(v).main_ran.exit).0.into()),
    told("ExecMainStatus", "i", |v| ended(runtime(v).main_ran.exit).1.into()),
];

const COMMANDS: [Property; 14] = lists![
    "ExecCondition" Condition,
    "ExecStartPre" StartPre,
    "ExecStart" Start,
    "ExecStartPost" StartPost,
    "ExecReload" Reload,
    "ExecStop" Stop,
    "ExecStopPost" StopPost,
];

/// Whom its processes run as.
pub(super) fn owner_user(v: &View<'_>) -> Value<'static> {
    v.figures.owner(v.unit).map_or(u32::MAX, |(user, _)| user).into()
}

/// The group of [`owner_user`].
pub(super) fn owner_group(v: &View<'_>) -> Value<'static> {
    v.figures.owner(v.unit).map_or(u32::MAX, |(_, group)| group).into()
}

pub(super) static TABLE: LazyLock<Vec<Property>> =
    LazyLock::new(|| [&SETTINGS_AND_STATE[..], &ENDED, &COMMANDS].concat());
