// SPDX-License-Identifier: GPL-2.0-or-later
//! How processes are run: systemd.exec(5), but for what confines them, which is in `sandbox.rs`. The parts stand in the
//! order of systemd, which goes to and fro between the two.

use ssi_unit::config::exec::{
    CpuPolicy, CredentialSource, DirectoryKind, InputSource, IoClass, IoScheduling, NumaPolicy, OutputTarget, Resource,
    ResourceLimit,
};
use zbus::zvariant::Value;

use super::value::{bits, maybe, text, usec};
use super::{Property, View, fixed};

fn limit(v: &View<'_>, resource: Resource) -> ResourceLimit {
    v.exec().limits.get(&resource).copied().unwrap_or_else(|| v.figures.inherited_limit(resource))
}

/// The hard and the soft limit of each resource.
macro_rules! limits {
    ($($name:literal $resource:ident,)+) => {
        [$(
            fixed(concat!("Limit", $name), "t", |v| limit(v, Resource::$resource).hard.into()),
            fixed(concat!("Limit", $name, "Soft"), "t", |v| limit(v, Resource::$resource).soft.into()),
        )+]
    };
}

/// Disk scheduling as it is in force: a process that has none of its own is served as one of the normal class.
fn io_scheduling(v: &View<'_>) -> IoScheduling {
    match v.exec().io_scheduling {
        None | Some(IoScheduling { class: IoClass::None, .. }) => {
            IoScheduling { class: IoClass::BestEffort, priority: 4 }
        }
        Some(told) => told,
    }
}

fn input(source: &InputSource) -> &'static str {
    match source {
        InputSource::Null => "null",
        InputSource::Tty => "tty",
        InputSource::TtyForce => "tty-force",
        InputSource::TtyFail => "tty-fail",
        InputSource::Data => "data",
        InputSource::File(_) => "file",
        InputSource::Socket => "socket",
        InputSource::Fd(_) => "fd",
    }
}

fn output(target: &OutputTarget) -> &'static str {
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

fn output_descriptor(target: &OutputTarget) -> Value<'static> {
    match target {
        OutputTarget::Fd(name) => text(name),
        _ => text(""),
    }
}

/// A size of a terminal; none is all ones.
fn size(size: Option<u32>) -> Value<'static> {
    size.and_then(|size| u16::try_from(size).ok()).unwrap_or(u16::MAX).into()
}

/// The place of a level among those of syslog(3).
fn level(level: ssi_unit::config::exec::LogLevel) -> i32 {
    level as i32
}

fn literal(v: &View<'_>, encrypted: bool) -> Value<'static> {
    let rows = v.exec().credentials.iter().filter(|one| one.encrypted == encrypted).filter_map(|one| {
        let CredentialSource::Literal(secret) = &one.source else { return None };
        Some((one.id.clone(), secret.clone()))
    });
    Value::from(rows.collect::<Vec<_>>())
}

fn loaded(v: &View<'_>, encrypted: bool) -> Value<'static> {
    let rows = v.exec().credentials.iter().filter(|one| one.encrypted == encrypted).filter_map(|one| {
        let CredentialSource::Path(path) = &one.source else { return None };
        Some((one.id.clone(), path.clone()))
    });
    Value::from(rows.collect::<Vec<_>>())
}

fn directories(v: &View<'_>, kind: DirectoryKind) -> Value<'static> {
    Value::from(v.exec().directories(kind).iter().map(|one| one.path.clone()).collect::<Vec<_>>())
}

fn directory_mode(v: &View<'_>, kind: DirectoryKind) -> Value<'static> {
    v.exec().directories.get(&kind).map_or(0o755, |of_kind| of_kind.mode).into()
}

/// `(sst)`: directory, link to it, and a number that is always 0.
fn symlinks(v: &View<'_>, kind: DirectoryKind) -> Value<'static> {
    let rows = v
        .exec()
        .directories(kind)
        .iter()
        .flat_map(|one| one.symlinks.iter().map(|link| (one.path.clone(), link.clone(), 0u64)));
    Value::from(rows.collect::<Vec<_>>())
}

pub(super) const ENVIRONMENT: &[Property] = &[
    fixed("Environment", "as", |v| v.exec().environment.clone().into()),
    fixed("EnvironmentFiles", "a(sb)", |v| {
        Value::from(
            v.exec().environment_files.iter().map(|file| (file.path.clone(), file.optional)).collect::<Vec<_>>(),
        )
    }),
    fixed("PassEnvironment", "as", |v| v.exec().pass_environment.clone().into()),
    fixed("UnsetEnvironment", "as", |v| v.exec().unset_environment.clone().into()),
    fixed("UMask", "u", |v| v.exec().umask.into()),
];

pub(super) const LIMITS: &[Property] = &limits![
    "CPU" Cpu,
    "FSIZE" Fsize,
    "DATA" Data,
    "STACK" Stack,
    "CORE" Core,
    "RSS" Rss,
    "NOFILE" Nofile,
    "AS" As,
    "NPROC" Nproc,
    "MEMLOCK" Memlock,
    "LOCKS" Locks,
    "SIGPENDING" Sigpending,
    "MSGQUEUE" Msgqueue,
    "NICE" Nice,
    "RTPRIO" Rtprio,
    "RTTIME" Rttime,
];

pub(super) const WORKING_DIRECTORY: &[Property] = &[fixed("WorkingDirectory", "s", |v| {
    let Some(directory) = &v.exec().working_directory else { return text("") };
    let sign = if directory.missing_ok { "!" } else { "" };
    text(&format!("{sign}{}", directory.path.as_deref().unwrap_or("~")))
})];

pub(super) const SCHEDULING_AND_STREAMS: &[Property] = &[
    fixed("OOMScoreAdjust", "i", |v| {
        v.exec().oom_score_adjust.unwrap_or_else(|| v.figures.inherited().oom_score_adjust).into()
    }),
    fixed("CoredumpFilter", "t", |v| {
        v.exec().coredump_filter.unwrap_or_else(|| v.figures.inherited().coredump_filter).into()
    }),
    fixed("Nice", "i", |v| v.exec().nice.unwrap_or_else(|| v.figures.inherited().nice).into()),
    // The kernel's numbers: ioprio_set(2), sched(7), set_mempolicy(2).
    fixed("IOSchedulingClass", "i", |v| {
        match io_scheduling(v).class {
            IoClass::None => 0,
            IoClass::Realtime => 1,
            IoClass::BestEffort => 2,
            IoClass::Idle => 3,
        }
        .into()
    }),
    fixed("IOSchedulingPriority", "i", |v| i32::from(io_scheduling(v).priority).into()),
    fixed("CPUSchedulingPolicy", "i", |v| {
        match v.exec().cpu_scheduling.map_or(CpuPolicy::Other, |scheduling| scheduling.policy) {
            CpuPolicy::Other => 0,
            CpuPolicy::Fifo => 1,
            CpuPolicy::RoundRobin => 2,
            CpuPolicy::Batch => 3,
            CpuPolicy::Idle => 5,
        }
        .into()
    }),
    fixed("CPUSchedulingPriority", "i", |v| {
        v.exec().cpu_scheduling.map_or(0, |scheduling| i32::from(scheduling.priority)).into()
    }),
    fixed("CPUAffinity", "ay", |v| {
        let from_numa = v.exec().numa_mask.as_ref().filter(|_| v.exec().cpu_affinity_from_numa);
        match from_numa {
            // Which processors are at those nodes is known where the process is started.
            Some(_) => Vec::<u8>::new().into(),
            None => bits(&v.exec().cpu_affinity).into(),
        }
    }),
    fixed("CPUAffinityFromNUMA", "b", |v| v.exec().cpu_affinity_from_numa.into()),
    fixed("NUMAPolicy", "i", |v| {
        match v.exec().numa_policy {
            None => -1,
            Some(NumaPolicy::Default) => 0,
            Some(NumaPolicy::Preferred) => 1,
            Some(NumaPolicy::Bind) => 2,
            Some(NumaPolicy::Interleave) => 3,
            Some(NumaPolicy::Local) => 4,
        }
        .into()
    }),
    fixed("NUMAMask", "ay", |v| v.exec().numa_mask.as_ref().map(bits).unwrap_or_default().into()),
    fixed("TimerSlackNSec", "t", |v| {
        v.exec().timer_slack_ns.unwrap_or_else(|| v.figures.inherited().timer_slack).into()
    }),
    fixed("CPUSchedulingResetOnFork", "b", |v| v.exec().cpu_scheduling_reset_on_fork.into()),
    fixed("NonBlocking", "b", |v| v.unit.config.service().is_some_and(|service| service.non_blocking).into()),
    fixed("StandardInput", "s", |v| text(input(&v.exec().standard_input))),
    fixed("StandardInputFileDescriptorName", "s", |v| match &v.exec().standard_input {
        InputSource::Fd(name) => text(name),
        _ => text(""),
    }),
    fixed("StandardInputData", "ay", |v| v.exec().standard_input_data.clone().into()),
    fixed("StandardOutput", "s", |v| text(output(&v.exec().standard_output))),
    fixed("StandardOutputFileDescriptorName", "s", |v| output_descriptor(&v.exec().standard_output)),
    fixed("StandardError", "s", |v| text(output(&v.exec().standard_error))),
    fixed("StandardErrorFileDescriptorName", "s", |v| output_descriptor(&v.exec().standard_error)),
    fixed("TTYPath", "s", |v| maybe(v.exec().tty_path.as_deref())),
    fixed("TTYReset", "b", |v| v.exec().tty_reset.into()),
    fixed("TTYVHangup", "b", |v| v.exec().tty_vhangup.into()),
    fixed("TTYVTDisallocate", "b", |v| v.exec().tty_vt_disallocate.into()),
    fixed("TTYRows", "q", |v| size(v.exec().tty_rows)),
    fixed("TTYColumns", "q", |v| size(v.exec().tty_columns)),
    fixed("SyslogPriority", "i", |v| (i32::from(v.exec().syslog_facility) << 3 | level(v.exec().syslog_level)).into()),
    fixed("SyslogIdentifier", "s", |v| maybe(v.exec().syslog_identifier.as_deref())),
    fixed("SyslogLevelPrefix", "b", |v| v.exec().syslog_level_prefix.into()),
    fixed("SyslogLevel", "i", |v| level(v.exec().syslog_level).into()),
    fixed("SyslogFacility", "i", |v| i32::from(v.exec().syslog_facility).into()),
    fixed("LogLevelMax", "i", |v| v.exec().log_level_max.map_or(-1, level).into()),
    fixed("LogRateLimitIntervalUSec", "t", |v| usec(v.exec().log_rate_limit_interval).into()),
    fixed("LogRateLimitBurst", "u", |v| v.exec().log_rate_limit_burst.into()),
    fixed("LogExtraFields", "aay", |v| v.exec().log_extra_fields.clone().into()),
    fixed("LogNamespace", "s", |v| maybe(v.exec().log_namespace.as_deref())),
];

pub(super) const USER: &[Property] = &[
    fixed("User", "s", |v| maybe(v.exec().user.as_deref())),
    fixed("Group", "s", |v| maybe(v.exec().group.as_deref())),
    fixed("DynamicUser", "b", |v| v.exec().dynamic_user.into()),
    fixed("RemoveIPC", "b", |v| v.exec().remove_ipc.into()),
    fixed("SetCredential", "a(say)", |v| literal(v, false)),
    fixed("SetCredentialEncrypted", "a(say)", |v| literal(v, true)),
    fixed("LoadCredential", "a(ss)", |v| loaded(v, false)),
    fixed("LoadCredentialEncrypted", "a(ss)", |v| loaded(v, true)),
    fixed("SupplementaryGroups", "as", |v| v.exec().supplementary_groups.clone().into()),
    fixed("PAMName", "s", |v| maybe(v.exec().pam_name.as_deref())),
];

pub(super) const SEARCH_PATH: &[Property] =
    &[fixed("ExecSearchPath", "as", |v| v.exec().exec_search_path.clone().into())];

pub(super) const UTMP: &[Property] = &[
    // mount(8) is run in the manager's own process group, so that it does not wait for an autofs of the manager's.
    fixed("SameProcessGroup", "b", |v| matches!(v.unit.unit_type(), ssi_unit::name::UnitType::Mount).into()),
    fixed("UtmpIdentifier", "s", |v| maybe(v.exec().utmp_identifier.as_deref())),
    fixed("UtmpMode", "s", |v| text(v.exec().utmp_mode.as_str())),
];

pub(super) const SIGPIPE: &[Property] = &[fixed("IgnoreSIGPIPE", "b", |v| v.exec().ignore_sigpipe.into())];

pub(super) const PERSONALITY: &[Property] = &[fixed("Personality", "s", |v| maybe(v.exec().personality.as_deref()))];

pub(super) const DIRECTORIES: &[Property] = &[
    fixed("RuntimeDirectorySymlink", "a(sst)", |v| symlinks(v, DirectoryKind::Runtime)),
    fixed("RuntimeDirectoryPreserve", "s", |v| text(v.exec().runtime_directory_preserve.as_str())),
    fixed("RuntimeDirectoryMode", "u", |v| directory_mode(v, DirectoryKind::Runtime)),
    fixed("RuntimeDirectory", "as", |v| directories(v, DirectoryKind::Runtime)),
    fixed("StateDirectorySymlink", "a(sst)", |v| symlinks(v, DirectoryKind::State)),
    fixed("StateDirectoryMode", "u", |v| directory_mode(v, DirectoryKind::State)),
    fixed("StateDirectory", "as", |v| directories(v, DirectoryKind::State)),
    fixed("CacheDirectorySymlink", "a(sst)", |v| symlinks(v, DirectoryKind::Cache)),
    fixed("CacheDirectoryMode", "u", |v| directory_mode(v, DirectoryKind::Cache)),
    fixed("CacheDirectory", "as", |v| directories(v, DirectoryKind::Cache)),
    fixed("LogsDirectorySymlink", "a(sst)", |v| symlinks(v, DirectoryKind::Logs)),
    fixed("LogsDirectoryMode", "u", |v| directory_mode(v, DirectoryKind::Logs)),
    fixed("LogsDirectory", "as", |v| directories(v, DirectoryKind::Logs)),
    fixed("ConfigurationDirectoryMode", "u", |v| directory_mode(v, DirectoryKind::Configuration)),
    fixed("ConfigurationDirectory", "as", |v| directories(v, DirectoryKind::Configuration)),
    fixed("TimeoutCleanUSec", "t", |v| usec(v.exec().timeout_clean).into()),
];

pub(super) const KEYRING: &[Property] = &[fixed("KeyringMode", "s", |v| text(v.exec().keyring_mode.as_str()))];
