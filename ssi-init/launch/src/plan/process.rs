// SPDX-License-Identifier: GPL-2.0-or-later
//! Priorities, limits, directories, credentials, login records: from the settings of a unit to the executor's words.
//! Pure; what is to be known of the machine comes in by [`Nodes`].

use ssi_exec::plan;
use ssi_unit::config::ExecConfig;
use ssi_unit::config::cgroup::CpuSet;
use ssi_unit::config::exec::{
    CpuPolicy, Credential, CredentialSource, DirectoryKind, IoClass, KeyringMode, NumaPolicy, Resource, ResourceLimit,
    RuntimePreserve, UtmpMode,
};

/// What the kernel says of the memory nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    /// Numbers of all nodes.
    pub(super) all: CpuSet,
    /// The processors of the nodes in `NUMAMask=`.
    pub(super) processors: CpuSet,
}

fn numbers(set: &CpuSet) -> Vec<u32> {
    // More processors than any machine has: a range that is a mistake must not fill the memory.
    const MOST: usize = 65_536;
    set.ranges.iter().flat_map(|(first, last)| *first..=*last).take(MOST).collect()
}

/// `Nice=`, `CPUScheduling…=`, `IOScheduling…=`, `OOMScoreAdjust=`, `CPUAffinity=`, `NUMA…=`, `TimerSlackNSec=`.
pub(super) fn scheduling(exec: &ExecConfig, nodes: &Nodes) -> plan::Scheduling {
    let affinity = if exec.cpu_affinity_from_numa { &nodes.processors } else { &exec.cpu_affinity };
    plan::Scheduling {
        nice: exec.nice,
        cpu: exec.cpu_scheduling.map(|cpu| plan::Scheduler {
            // sched.h
            policy: match cpu.policy {
                CpuPolicy::Other => 0,
                CpuPolicy::Fifo => 1,
                CpuPolicy::RoundRobin => 2,
                CpuPolicy::Batch => 3,
                CpuPolicy::Idle => 5,
            },
            priority: i32::from(cpu.priority),
            reset_on_fork: exec.cpu_scheduling_reset_on_fork,
        }),
        io: exec.io_scheduling.map(|io| plan::IoPriority {
            class: match io.class {
                IoClass::None => plan::IoClass::None,
                IoClass::Realtime => plan::IoClass::Realtime,
                IoClass::BestEffort => plan::IoClass::BestEffort,
                IoClass::Idle => plan::IoClass::Idle,
            },
            level: io.priority,
        }),
        oom_score_adjust: exec.oom_score_adjust,
        affinity: (!affinity.is_empty()).then(|| numbers(affinity)),
        numa: exec.numa_policy.map(|policy| {
            let mask = exec.numa_mask.as_ref();
            // Only these two go without nodes.
            let nodes = match policy {
                NumaPolicy::Default | NumaPolicy::Local => Vec::new(),
                _ => numbers(mask.unwrap_or(&nodes.all)),
            };
            let policy = match policy {
                NumaPolicy::Default => plan::NumaPolicy::Default,
                NumaPolicy::Preferred => plan::NumaPolicy::Preferred,
                NumaPolicy::Bind => plan::NumaPolicy::Bind,
                NumaPolicy::Interleave => plan::NumaPolicy::Interleave,
                NumaPolicy::Local => plan::NumaPolicy::Local,
            };
            (policy, nodes)
        }),
        timer_slack_nsec: exec.timer_slack_ns,
    }
}

/// `Limit…=`.
pub(super) fn limits(exec: &ExecConfig) -> Vec<plan::Limit> {
    let bound = |value: u64| (value != ResourceLimit::INFINITY).then_some(value);
    exec.limits
        .iter()
        .map(|(resource, limit)| plan::Limit {
            resource: match resource {
                Resource::Cpu => plan::Resource::Cpu,
                Resource::Fsize => plan::Resource::Fsize,
                Resource::Data => plan::Resource::Data,
                Resource::Stack => plan::Resource::Stack,
                Resource::Core => plan::Resource::Core,
                Resource::Rss => plan::Resource::Rss,
                Resource::Nofile => plan::Resource::Nofile,
                Resource::As => plan::Resource::As,
                Resource::Nproc => plan::Resource::Nproc,
                Resource::Memlock => plan::Resource::Memlock,
                Resource::Locks => plan::Resource::Locks,
                Resource::Sigpending => plan::Resource::Sigpending,
                Resource::Msgqueue => plan::Resource::Msgqueue,
                Resource::Nice => plan::Resource::Nice,
                Resource::Rtprio => plan::Resource::Rtprio,
                Resource::Rttime => plan::Resource::Rttime,
            },
            soft: bound(limit.soft),
            hard: bound(limit.hard),
        })
        .collect()
}

/// The executor's word for a kind of directory.
pub(crate) fn directory_kind(kind: DirectoryKind) -> plan::DirectoryKind {
    match kind {
        DirectoryKind::Runtime => plan::DirectoryKind::Runtime,
        DirectoryKind::State => plan::DirectoryKind::State,
        DirectoryKind::Cache => plan::DirectoryKind::Cache,
        DirectoryKind::Logs => plan::DirectoryKind::Logs,
        DirectoryKind::Configuration => plan::DirectoryKind::Configuration,
    }
}

/// `RuntimeDirectory=` and its sisters.
pub(super) fn directories(exec: &ExecConfig, prefix: Option<String>) -> plan::Directories {
    let set = |(kind, of_kind): (&DirectoryKind, &ssi_unit::config::exec::ServiceDirectories)| plan::DirectorySet {
        kind: directory_kind(*kind),
        mode: of_kind.mode,
        entries: of_kind
            .directories
            .iter()
            .map(|each| plan::ManagedDirectory { path: each.path.clone(), symlinks: each.symlinks.clone() })
            .collect(),
        preserve: *kind == DirectoryKind::Runtime && exec.runtime_directory_preserve != RuntimePreserve::No,
    };
    let sets = exec.directories.iter().filter(|(_, of_kind)| !of_kind.directories.is_empty()).map(set);
    plan::Directories { sets: sets.collect(), prefix }
}

/// `LoadCredential=` and `SetCredential=`; what cannot be given is told to `warn`. `own`: the directory of the
/// manager's own credentials.
pub(super) fn credentials(exec: &ExecConfig, own: Option<&str>, warn: &mut dyn FnMut(String)) -> plan::Credentials {
    // Loaded ones win over those that are set.
    let loaded = |credential: &&Credential| !matches!(credential.source, CredentialSource::Literal(_));
    let (first, then): (Vec<_>, Vec<_>) = exec.credentials.iter().partition(loaded);
    let mut entries = Vec::new();
    for credential in first.into_iter().chain(then) {
        let source = match &credential.source {
            _ if credential.encrypted => {
                warn(format!("credential {} is not given: encrypted credentials cannot be opened", credential.id));
                continue;
            }
            CredentialSource::Import => {
                warn(format!("credential {} is not given: ImportCredential= is not known", credential.id));
                continue;
            }
            CredentialSource::Path(path) if path.starts_with('/') => plan::CredentialSource::Path(path.clone()),
            CredentialSource::Path(name) => plan::CredentialSource::Store(name.clone()),
            CredentialSource::Literal(bytes) => plan::CredentialSource::Bytes(bytes.clone()),
        };
        entries.push((credential.id.clone(), source));
    }
    let system = ["/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"];
    let stores = own.into_iter().chain(system).map(str::to_owned).collect();
    plan::Credentials { entries, stores }
}

/// `UtmpIdentifier=`.
pub(super) fn utmp(exec: &ExecConfig) -> Option<plan::Utmp> {
    exec.utmp_identifier.as_ref().map(|identifier| plan::Utmp {
        identifier: identifier.clone(),
        mode: match exec.utmp_mode {
            UtmpMode::Init => plan::UtmpMode::Init,
            UtmpMode::Login => plan::UtmpMode::Login,
            UtmpMode::User => plan::UtmpMode::User,
        },
    })
}

/// `KeyringMode=`.
pub(super) fn keyring(exec: &ExecConfig) -> plan::KeyringMode {
    match exec.keyring_mode {
        KeyringMode::Inherit => plan::KeyringMode::Inherit,
        KeyringMode::Private => plan::KeyringMode::Private,
        KeyringMode::Shared => plan::KeyringMode::Shared,
    }
}

/// `Personality=`, on a machine that is of `native` (`x86_64`, `aarch64`: [`std::env::consts::ARCH`]).
pub(super) fn personality(exec: &ExecConfig, native: &str, warn: &mut dyn FnMut(String)) -> Option<plan::Personality> {
    let wanted = exec.personality.as_deref()?;
    let native = ssi_unit::specifier::architecture(native);
    let sister = match native {
        "x86-64" => "x86",
        "arm64" => "arm",
        "ppc64" => "ppc",
        "ppc64-le" => "ppc-le",
        "s390x" => "s390",
        _ => "",
    };
    match wanted {
        _ if wanted == native => Some(plan::Personality::Native),
        _ if !sister.is_empty() && wanted == sister => Some(plan::Personality::Linux32),
        _ => {
            warn(format!("Personality={wanted} is not taken: a machine of {native} does not have it"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    #[test]
    fn loaded_credentials_come_before_set_ones_and_encrypted_ones_are_told_of() {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        let credential = |id: &str, source, encrypted| Credential { id: id.into(), source, encrypted };
        exec.credentials = vec![
            credential("a", CredentialSource::Literal(b"x".to_vec()), false),
            credential("a", CredentialSource::Path("/etc/a".into()), false),
            credential("b", CredentialSource::Path("b".into()), false),
            credential("c", CredentialSource::Path("/etc/c".into()), true),
        ];
        let mut warnings = Vec::new();
        let made = credentials(&exec, Some("/own"), &mut |text| warnings.push(text));
        let order: Vec<_> = made.entries.iter().map(|(id, source)| (id.as_str(), source.clone())).collect();
        assert_eq!(
            order,
            [
                ("a", plan::CredentialSource::Path("/etc/a".into())),
                ("b", plan::CredentialSource::Store("b".into())),
                ("a", plan::CredentialSource::Bytes(b"x".to_vec())),
            ]
        );
        assert_eq!(made.stores[0], "/own");
        assert!(warnings.len() == 1 && warnings[0].contains("credential c"), "{warnings:?}");
    }

    #[test]
    fn personalities_of_the_machine_and_its_sister() {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        let mut ask = |wanted: &str| {
            exec.personality = Some(wanted.into());
            let mut warnings = 0;
            (personality(&exec, "x86_64", &mut |_| warnings += 1), warnings)
        };
        assert_eq!(ask("x86-64"), (Some(plan::Personality::Native), 0));
        assert_eq!(ask("x86"), (Some(plan::Personality::Linux32), 0));
        assert_eq!(ask("arm64"), (None, 1));
    }
}
