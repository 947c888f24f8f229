// SPDX-License-Identifier: GPL-2.0-or-later
//! What confines a process: from the settings of a unit to the list the executor goes by. Pure.

use std::fmt::Write;

use ssi_exec::plan::{self, Capabilities, Protection};
use ssi_unit::config::ExecConfig;
use ssi_unit::config::sandbox::{
    CapabilitySet, MountPropagation, NameList, NamespaceKind, NamespacePath, ProcSubset, ProtectHome, ProtectProc,
    ProtectSystem, Sandbox, SyscallAction, SyscallFilter,
};

/// CAP_SYS_ADMIN of capabilities(7).
const SYS_ADMIN: u32 = 21;

/// The protections in force, but for those that need something made first: `PrivateTmp=`, `PrivateNetwork=` and
/// `PrivateIPC=` are for the caller to add. `rooted`: `RootDirectory=` applies to this process.
pub(super) fn protections(exec: &ExecConfig, rooted: bool) -> Vec<Protection> {
    let sandbox = &exec.sandbox;
    let mut list = Vec::new();
    let mut flag = |on: bool, protection: Protection| {
        if on {
            list.push(protection);
        }
    };
    flag(sandbox.private_mounts, Protection::PrivateMounts);
    flag(rooted && sandbox.root_directory.is_some() && sandbox.mount_api_vfs != Some(false), Protection::MountApiVfs);
    flag(sandbox.private_devices, Protection::PrivateDevices);
    flag(sandbox.private_users, Protection::PrivateUsers);
    flag(sandbox.protect_kernel_tunables, Protection::ProtectKernelTunables);
    flag(sandbox.protect_kernel_modules, Protection::ProtectKernelModules);
    flag(sandbox.protect_kernel_logs, Protection::ProtectKernelLogs);
    flag(sandbox.protect_control_groups, Protection::ProtectControlGroups);
    flag(sandbox.protect_clock, Protection::ProtectClock);
    flag(sandbox.protect_hostname, Protection::ProtectHostname);
    flag(sandbox.proc_subset == ProcSubset::Pid, Protection::ProcSubsetPid);
    flag(sandbox.restrict_realtime, Protection::RestrictRealtime);
    flag(sandbox.restrict_suid_sgid, Protection::RestrictSuidSgid);
    flag(sandbox.lock_personality, Protection::LockPersonality);
    flag(sandbox.memory_deny_write_execute, Protection::MemoryDenyWriteExecute);
    flag(sandbox.restrict_file_systems.is_some(), Protection::Other("RestrictFileSystems=".into()));
    flag(sandbox.system_call_log.is_some(), Protection::Other("SystemCallLog=".into()));
    flag(rooted && sandbox.root_image.is_some(), Protection::Images("RootImage=".into()));
    flag(!sandbox.mount_images.is_empty(), Protection::Images("MountImages=".into()));
    flag(!sandbox.extension_images.is_empty(), Protection::Images("ExtensionImages=".into()));
    flag(!sandbox.extension_directories.is_empty(), Protection::Images("ExtensionDirectories=".into()));

    list.extend(paths(sandbox));
    list.extend(sandbox.mount_flags.map(|flags| {
        Protection::MountFlags(match flags {
            MountPropagation::Shared => plan::MountPropagation::Shared,
            MountPropagation::Slave => plan::MountPropagation::Slave,
            MountPropagation::Private => plan::MountPropagation::Private,
        })
    }));
    list.extend(match sandbox.protect_system {
        ProtectSystem::No => None,
        ProtectSystem::Yes => Some(Protection::ProtectSystem(plan::ProtectSystem::Yes)),
        ProtectSystem::Full => Some(Protection::ProtectSystem(plan::ProtectSystem::Full)),
        ProtectSystem::Strict => Some(Protection::ProtectSystem(plan::ProtectSystem::Strict)),
    });
    list.extend(match sandbox.protect_home {
        ProtectHome::No => None,
        ProtectHome::Yes => Some(Protection::ProtectHome(plan::ProtectHome::Yes)),
        ProtectHome::ReadOnly => Some(Protection::ProtectHome(plan::ProtectHome::ReadOnly)),
        ProtectHome::Tmpfs => Some(Protection::ProtectHome(plan::ProtectHome::Tmpfs)),
    });
    list.extend(match sandbox.protect_proc {
        ProtectProc::Default => None,
        ProtectProc::Noaccess => Some(Protection::ProtectProc(plan::ProtectProc::NoAccess)),
        ProtectProc::Invisible => Some(Protection::ProtectProc(plan::ProtectProc::Invisible)),
        ProtectProc::Ptraceable => Some(Protection::ProtectProc(plan::ProtectProc::Ptraceable)),
    });
    list.extend(sandbox.network_namespace_path.clone().map(Protection::NetworkNamespacePath));
    list.extend(sandbox.ipc_namespace_path.clone().map(Protection::IpcNamespacePath));

    list.extend(sandbox.restrict_namespaces.as_ref().map(|kinds| {
        let words: Vec<&str> = kinds.iter().map(|kind: &NamespaceKind| kind.as_str()).collect();
        Protection::RestrictNamespaces(if words.is_empty() { "yes".to_owned() } else { words.join(" ") })
    }));
    list.extend(sandbox.restrict_address_families.as_ref().map(|list| {
        let none = list.allow && list.names.is_empty();
        Protection::RestrictAddressFamilies(if none { "none".to_owned() } else { name_list(list) })
    }));
    list.extend(sandbox.system_call_filter.as_ref().map(|filter| Protection::SystemCallFilter(filter_text(filter))));
    list.extend(sandbox.system_call_architectures.as_ref().map(|names| {
        Protection::SystemCallArchitectures(names.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    }));
    list.extend(exec.pam_name.clone().map(Protection::Pam));
    list.extend(sandbox.apparmor_profile.as_ref().map(|label| Protection::AppArmorProfile(label.label.clone())));
    list.extend(sandbox.selinux_context.as_ref().map(|label| Protection::SelinuxContext(label.label.clone())));
    list.extend(sandbox.smack_process_label.as_ref().map(|label| Protection::SmackProcessLabel(label.label.clone())));
    list
}

fn paths(sandbox: &Sandbox) -> Vec<Protection> {
    let rules = |list: &[NamespacePath]| -> Vec<plan::PathRule> {
        list.iter()
            .map(|rule| plan::PathRule { path: rule.path.clone(), missing_ok: rule.optional, in_root: rule.own_root })
            .collect()
    };
    let binds = sandbox.bind_mounts.iter().map(|bind| plan::BindMount {
        source: bind.source.clone(),
        destination: bind.destination.clone(),
        read_only: bind.read_only,
        recursive: bind.recursive,
        missing_ok: bind.optional,
    });
    let memory = sandbox.temporary_file_systems.iter().map(|each| (each.path.clone(), each.options.clone()));
    let mut list = vec![
        Protection::ReadWritePaths(rules(&sandbox.read_write_paths)),
        Protection::ReadOnlyPaths(rules(&sandbox.read_only_paths)),
        Protection::InaccessiblePaths(rules(&sandbox.inaccessible_paths)),
        Protection::ExecPaths(rules(&sandbox.exec_paths)),
        Protection::NoExecPaths(rules(&sandbox.no_exec_paths)),
        Protection::BindPaths(binds.collect()),
        Protection::TemporaryFileSystem(memory.collect()),
    ];
    list.retain(Protection::needs_mounts);
    list
}

fn name_list(list: &NameList) -> String {
    let names: Vec<&str> = list.names.iter().map(String::as_str).collect();
    format!("{}{}", if list.allow { "" } else { "~" }, names.join(" "))
}

/// The filter as one could have written it on one line after another.
fn filter_text(filter: &SyscallFilter) -> String {
    let mut text = String::new();
    if filter.entries.is_empty() && !filter.allow {
        text.push('~');
    }
    for entry in &filter.entries {
        let separator = if text.is_empty() { "" } else { " " };
        let tilde = if entry.inverted { "~" } else { "" };
        let _ = write!(text, "{separator}{tilde}{}", entry.name);
        match &entry.action {
            None => {}
            Some(SyscallAction::Kill) => text.push_str(":kill"),
            Some(SyscallAction::Error(error)) => {
                let _ = write!(text, ":{error}");
            }
        }
    }
    text
}

/// Capability sets, secure bits and `NoNewPrivileges=`.
pub(super) fn capabilities(exec: &ExecConfig) -> Capabilities {
    let sandbox = &exec.sandbox;
    Capabilities {
        bounding: Some(sandbox.capability_bounding_set).filter(|set| *set != CapabilitySet::ALL).map(|set| set.0),
        ambient: sandbox.ambient_capabilities.0,
        secure_bits: sandbox.secure_bits.iter().fold(0, |bits, bit| bits | bit.bit()),
        no_new_privileges: sandbox.no_new_privileges || implies_no_new_privileges(exec),
    }
}

/// A process that has lost CAP_SYS_ADMIN could not install a system call filter otherwise, so settings that are
/// filters bring `NoNewPrivileges=` along. systemd.exec(5) says so at each of them.
fn implies_no_new_privileges(exec: &ExecConfig) -> bool {
    let sandbox = &exec.sandbox;
    let is_root = exec.user.as_deref().is_none_or(|user| matches!(user, "root" | "0"));
    let keeps = if is_root { sandbox.capability_bounding_set } else { sandbox.ambient_capabilities };
    if keeps.contains(SYS_ADMIN) {
        return false;
    }
    sandbox.restrict_address_families.is_some()
        || sandbox.memory_deny_write_execute
        || sandbox.restrict_realtime
        || sandbox.restrict_suid_sgid
        || sandbox.restrict_namespaces.is_some()
        || sandbox.protect_clock
        || sandbox.protect_kernel_tunables
        || sandbox.protect_kernel_modules
        || sandbox.protect_kernel_logs
        || sandbox.protect_hostname
        || sandbox.private_devices
        || sandbox.system_call_filter.is_some()
        || sandbox.system_call_log.is_some()
        || sandbox.system_call_architectures.is_some()
        || sandbox.lock_personality
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    fn exec(change: impl FnOnce(&mut ExecConfig)) -> ExecConfig {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        change(&mut exec);
        exec
    }

    #[test]
    fn nothing_asked_for_confines_nothing() {
        assert_eq!(protections(&exec(|_| {}), true), []);
        assert_eq!(capabilities(&exec(|_| {})), Capabilities::default());
    }

    #[test]
    fn a_filter_without_the_capability_forbids_new_privileges() {
        let filtered = |user: Option<&str>| {
            capabilities(&exec(|exec| {
                exec.user = user.map(str::to_owned);
                exec.sandbox.lock_personality = true;
            }))
            .no_new_privileges
        };
        assert!(!filtered(None));
        assert!(!filtered(Some("root")));
        assert!(filtered(Some("nobody")));
        let bounded = exec(|exec| {
            exec.sandbox.lock_personality = true;
            exec.sandbox.capability_bounding_set.0 &= !(1 << SYS_ADMIN);
        });
        assert!(capabilities(&bounded).no_new_privileges);
    }

    #[test]
    fn the_api_file_systems_come_with_a_root_directory() {
        let rooted = exec(|exec| exec.sandbox.root_directory = Some("/srv".into()));
        assert_eq!(protections(&rooted, true), [Protection::MountApiVfs]);
        assert_eq!(protections(&rooted, false), []);
        let bare = exec(|exec| {
            exec.sandbox.root_directory = Some("/srv".into());
            exec.sandbox.mount_api_vfs = Some(false);
        });
        assert_eq!(protections(&bare, true), []);
    }
}
