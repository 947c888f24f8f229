// SPDX-License-Identifier: GPL-2.0-or-later
//! Which protections of a [`Sandbox`] are in force: so that a unit can say which of them are not held to when the
//! executor or the kernel cannot.

use std::fmt;

use super::sandbox::{CapabilitySet, MountPropagation, ProcSubset, ProtectHome, ProtectProc, ProtectSystem, Sandbox};

/// Makes the list of protections: its word is the setting's key, its condition says when it is in force.
macro_rules! protections {
    ($sandbox:ident; $($(#[$doc:meta])* $name:ident = $key:literal if $in_force:expr,)+) => {
        /// One setting that confines a unit, named as in its file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Protection {
            $($(#[$doc])* $name,)+
        }

        impl Protection {
            /// Every protection.
            pub const ALL: &'static [Protection] = &[$(Protection::$name),+];

            /// The setting's key.
            pub fn key(self) -> &'static str {
                match self {
                    $(Protection::$name => $key,)+
                }
            }
        }

        impl Sandbox {
            /// The protections that are in force.
            pub fn protections(&self) -> Vec<Protection> {
                let $sandbox = self;
                let mut found = Vec::new();
                $(if $in_force { found.push(Protection::$name); })+
                found
            }
        }
    };
}

protections! { sandbox;
    /// A root of its own, from a directory.
    RootDirectory = "RootDirectory" if sandbox.root_directory.is_some(),
    /// A root of its own, from an image.
    RootImage = "RootImage" if sandbox.root_image.is_some(),
    /// API file systems in the unit's own root.
    MountApiVfs = "MountAPIVFS" if sandbox.mount_api_vfs == Some(true),
    /// Mounted images.
    MountImages = "MountImages" if !sandbox.mount_images.is_empty(),
    /// Overlaid images.
    ExtensionImages = "ExtensionImages" if !sandbox.extension_images.is_empty(),
    /// Overlaid directories.
    ExtensionDirectories = "ExtensionDirectories" if !sandbox.extension_directories.is_empty(),
    /// Bind mounts.
    BindPaths = "BindPaths" if sandbox.bind_mounts.iter().any(|bind| !bind.read_only),
    /// Read-only bind mounts.
    BindReadOnlyPaths = "BindReadOnlyPaths" if sandbox.bind_mounts.iter().any(|bind| bind.read_only),
    /// File systems in memory.
    TemporaryFileSystem = "TemporaryFileSystem" if !sandbox.temporary_file_systems.is_empty(),
    /// Writable paths.
    ReadWritePaths = "ReadWritePaths" if !sandbox.read_write_paths.is_empty(),
    /// Read-only paths.
    ReadOnlyPaths = "ReadOnlyPaths" if !sandbox.read_only_paths.is_empty(),
    /// Paths out of reach.
    InaccessiblePaths = "InaccessiblePaths" if !sandbox.inaccessible_paths.is_empty(),
    /// Paths whose programs run.
    ExecPaths = "ExecPaths" if !sandbox.exec_paths.is_empty(),
    /// Paths whose programs do not.
    NoExecPaths = "NoExecPaths" if !sandbox.no_exec_paths.is_empty(),
    /// Mount propagation.
    MountFlags = "MountFlags" if sandbox.mount_flags.is_some_and(|flags| flags != MountPropagation::Shared),
    /// Temporary directories of its own.
    PrivateTmp = "PrivateTmp" if sandbox.private_tmp,
    /// Pseudo devices only.
    PrivateDevices = "PrivateDevices" if sandbox.private_devices,
    /// A network of its own.
    PrivateNetwork = "PrivateNetwork" if sandbox.private_network,
    /// The network namespace it joins.
    NetworkNamespacePath = "NetworkNamespacePath" if sandbox.network_namespace_path.is_some(),
    /// IPC of its own.
    PrivateIpc = "PrivateIPC" if sandbox.private_ipc,
    /// The IPC namespace it joins.
    IpcNamespacePath = "IPCNamespacePath" if sandbox.ipc_namespace_path.is_some(),
    /// Users of its own.
    PrivateUsers = "PrivateUsers" if sandbox.private_users,
    /// Mounts of its own.
    PrivateMounts = "PrivateMounts" if sandbox.private_mounts,
    /// Read-only system.
    ProtectSystem = "ProtectSystem" if sandbox.protect_system != ProtectSystem::No,
    /// Homes.
    ProtectHome = "ProtectHome" if sandbox.protect_home != ProtectHome::No,
    /// Host name.
    ProtectHostname = "ProtectHostname" if sandbox.protect_hostname,
    /// Clocks.
    ProtectClock = "ProtectClock" if sandbox.protect_clock,
    /// Kernel variables.
    ProtectKernelTunables = "ProtectKernelTunables" if sandbox.protect_kernel_tunables,
    /// Kernel modules.
    ProtectKernelModules = "ProtectKernelModules" if sandbox.protect_kernel_modules,
    /// Kernel log.
    ProtectKernelLogs = "ProtectKernelLogs" if sandbox.protect_kernel_logs,
    /// Control-group tree.
    ProtectControlGroups = "ProtectControlGroups" if sandbox.protect_control_groups,
    /// Processes of others.
    ProtectProc = "ProtectProc" if sandbox.protect_proc != ProtectProc::Default,
    /// The rest of /proc.
    ProcSubset = "ProcSubset" if sandbox.proc_subset != ProcSubset::All,
    /// Families of sockets.
    RestrictAddressFamilies = "RestrictAddressFamilies" if sandbox.restrict_address_families.is_some(),
    /// File systems.
    RestrictFileSystems = "RestrictFileSystems" if sandbox.restrict_file_systems.is_some(),
    /// Namespaces.
    RestrictNamespaces = "RestrictNamespaces" if sandbox.restrict_namespaces.is_some(),
    /// Personality.
    LockPersonality = "LockPersonality" if sandbox.lock_personality,
    /// Memory both written and run.
    MemoryDenyWriteExecute = "MemoryDenyWriteExecute" if sandbox.memory_deny_write_execute,
    /// Real-time scheduling.
    RestrictRealtime = "RestrictRealtime" if sandbox.restrict_realtime,
    /// Set-user-id files.
    RestrictSuidSgid = "RestrictSUIDSGID" if sandbox.restrict_suid_sgid,
    /// System calls.
    SystemCallFilter = "SystemCallFilter" if sandbox.system_call_filter.is_some(),
    /// System calls of other architectures.
    SystemCallArchitectures = "SystemCallArchitectures" if sandbox.system_call_architectures.is_some(),
    /// Logged system calls.
    SystemCallLog = "SystemCallLog" if sandbox.system_call_log.is_some(),
    /// No more rights than the caller's.
    NoNewPrivileges = "NoNewPrivileges" if sandbox.no_new_privileges,
    /// Capabilities that can be had.
    CapabilityBoundingSet = "CapabilityBoundingSet" if sandbox.capability_bounding_set != CapabilitySet::ALL,
    /// Capabilities had without being root.
    AmbientCapabilities = "AmbientCapabilities" if sandbox.ambient_capabilities != CapabilitySet::NONE,
    /// Secure bits.
    SecureBits = "SecureBits" if !sandbox.secure_bits.is_empty(),
    /// SELinux.
    SelinuxContext = "SELinuxContext" if sandbox.selinux_context.is_some(),
    /// AppArmor.
    AppArmorProfile = "AppArmorProfile" if sandbox.apparmor_profile.is_some(),
    /// Smack.
    SmackProcessLabel = "SmackProcessLabel" if sandbox.smack_process_label.is_some(),
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
