// SPDX-License-Identifier: GPL-2.0-or-later
//! What confines the processes of a unit: systemd.exec(5), "Sandboxing" and its neighbours.
//!
//! Each setting is a field; `Sandbox::protections` lists those that are in force, see [`super::protection`].

use std::collections::BTreeSet;

use super::words::words;

words! {
    /// How much of the file system is read-only (`ProtectSystem=`).
    pub enum ProtectSystem {
        /// Nothing.
        No = "no" | "false" | "off" | "0" | "n" | "f",
        /// /usr and the boot loader's directories.
        Yes = "yes" | "true" | "on" | "1" | "y" | "t",
        /// Also /etc.
        Full = "full",
        /// All but /dev, /proc and /sys.
        Strict = "strict",
    }
}

words! {
    /// What becomes of /home, /root and /run/user (`ProtectHome=`).
    pub enum ProtectHome {
        /// Nothing.
        No = "no" | "false" | "off" | "0" | "n" | "f",
        /// They are out of reach.
        Yes = "yes" | "true" | "on" | "1" | "y" | "t",
        /// They are read-only.
        ReadOnly = "read-only",
        /// They are empty.
        Tmpfs = "tmpfs",
    }
}

words! {
    /// Whose processes are seen in /proc (`ProtectProc=`).
    pub enum ProtectProc {
        /// All.
        Default = "default",
        /// Of others, that they are there.
        Noaccess = "noaccess",
        /// Only the user's own.
        Invisible = "invisible",
        /// Only those that may be traced.
        Ptraceable = "ptraceable",
    }
}

words! {
    /// How much of /proc there is (`ProcSubset=`).
    pub enum ProcSubset {
        /// All.
        All = "all",
        /// Only the processes.
        Pid = "pid",
    }
}

words! {
    /// Kinds of namespaces (`RestrictNamespaces=`), namespaces(7).
    pub enum NamespaceKind {
        /// Control groups.
        Cgroup = "cgroup",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Network.
        Net = "net",
        /// Mounts.
        Mnt = "mnt",
        /// Processes.
        Pid = "pid",
        /// Users.
        User = "user",
        /// Host and domain name.
        Uts = "uts",
        /// Clocks.
        Time = "time",
    }
}

words! {
    /// How mounts travel between the unit and the rest of the system (`MountFlags=`).
    pub enum MountPropagation {
        /// Both ways.
        Shared = "shared",
        /// In, not out.
        Slave = "slave",
        /// Not at all.
        Private = "private",
    }
}

/// A path that may be missing, and whose place may be counted from the unit's own root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePath {
    /// Absolute path.
    pub path: String,
    /// It may be missing (`-`).
    pub optional: bool,
    /// Below `RootDirectory=` or `RootImage=` rather than the system's root (`+`).
    pub own_root: bool,
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// What is bound; absolute.
    pub source: String,
    /// Where; absolute.
    pub destination: String,
    /// It cannot be written.
    pub read_only: bool,
    /// With all that is mounted below.
    pub recursive: bool,
    /// It may be missing (`-`).
    pub optional: bool,
}

/// A file system in memory over a path (`TemporaryFileSystem=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporaryFileSystem {
    /// Where; absolute.
    pub path: String,
    /// Mount options.
    pub options: String,
}

/// An image, or a directory, laid over the unit's root (`MountImages=`, `ExtensionImages=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountImage {
    /// The image; absolute.
    pub source: String,
    /// Where; absolute; `None` for extensions, which know it themselves.
    pub destination: Option<String>,
    /// Mount options by partition; the partition may be empty.
    pub options: Vec<(String, String)>,
    /// It may be missing (`-`).
    pub optional: bool,
}

/// A list whose names are either the only ones allowed, or the ones refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameList {
    /// Whether the names are the allowed ones.
    pub allow: bool,
    /// The names.
    pub names: BTreeSet<String>,
}

/// What happens at a system call the filter does not let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyscallAction {
    /// The process is killed.
    Kill,
    /// The call fails with this error, by name (`EPERM`) or number.
    Error(String),
}

/// One name in a system call filter, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallEntry {
    /// Whether the line began with `~`.
    pub inverted: bool,
    /// Name of a system call, or `@` and the name of a group.
    pub name: String,
    /// What happens at this one; `None`: as for all.
    pub action: Option<SyscallAction>,
}

/// A system call filter as it was written, in order: a later line takes away from an earlier one of the other sense.
///
/// Groups stand unresolved: what they hold belongs to who builds the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallFilter {
    /// Whether the first line named what is allowed.
    pub allow: bool,
    /// All names in order.
    pub entries: Vec<SyscallEntry>,
}

/// A set of capabilities, capabilities(7): bit N is capability N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// No capability.
    pub const NONE: CapabilitySet = CapabilitySet(0);
    /// Every capability, also those yet to come.
    pub const ALL: CapabilitySet = CapabilitySet(u64::MAX);

    /// Whether capability `number` is in the set.
    pub fn contains(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

/// Names of the capabilities by number.
pub const CAPABILITIES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

words! {
    /// Bits of `SecureBits=`, capabilities(7).
    pub enum SecureBit {
        /// SECBIT_NOROOT.
        Noroot = "noroot",
        /// SECBIT_NOROOT_LOCKED.
        NorootLocked = "noroot-locked",
        /// SECBIT_NO_SETUID_FIXUP.
        NoSetuidFixup = "no-setuid-fixup",
        /// SECBIT_NO_SETUID_FIXUP_LOCKED.
        NoSetuidFixupLocked = "no-setuid-fixup-locked",
        /// SECBIT_KEEP_CAPS.
        KeepCaps = "keep-caps",
        /// SECBIT_KEEP_CAPS_LOCKED.
        KeepCapsLocked = "keep-caps-locked",
    }
}

impl SecureBit {
    /// The bit in the kernel's word.
    pub fn bit(self) -> u32 {
        match self {
            SecureBit::Noroot => 1 << 0,
            SecureBit::NorootLocked => 1 << 1,
            SecureBit::NoSetuidFixup => 1 << 2,
            SecureBit::NoSetuidFixupLocked => 1 << 3,
            SecureBit::KeepCaps => 1 << 4,
            SecureBit::KeepCapsLocked => 1 << 5,
        }
    }
}

/// A label of a security module; the start goes on without it when it cannot be had (`-`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityLabel {
    /// The label or the profile's name.
    pub label: String,
    /// Go on without it.
    pub optional: bool,
}

/// What confines the processes of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Directory that becomes the root.
    pub root_directory: Option<String>,
    /// Image that becomes the root.
    pub root_image: Option<String>,
    /// Mount options of that image, by partition.
    pub root_image_options: Vec<(String, String)>,
    /// Hash of that image: hexadecimal, or a path.
    pub root_hash: Option<String>,
    /// Signature of that hash: `base64:` and text, or a path.
    pub root_hash_signature: Option<String>,
    /// File with that image's verity data.
    pub root_verity: Option<String>,
    /// Whether /proc, /sys, /dev and /run are there in the unit's own root; `None`: where another setting needs them.
    pub mount_api_vfs: Option<bool>,
    /// Images mounted.
    pub mount_images: Vec<MountImage>,
    /// Images laid over /usr and /opt.
    pub extension_images: Vec<MountImage>,
    /// Directories laid over /usr and /opt.
    pub extension_directories: Vec<NamespacePath>,
    /// Bind mounts.
    pub bind_mounts: Vec<BindMount>,
    /// File systems in memory.
    pub temporary_file_systems: Vec<TemporaryFileSystem>,
    /// Paths that can be written all the same.
    pub read_write_paths: Vec<NamespacePath>,
    /// Paths that cannot be written.
    pub read_only_paths: Vec<NamespacePath>,
    /// Paths that are out of reach.
    pub inaccessible_paths: Vec<NamespacePath>,
    /// Paths whose programs may be run all the same.
    pub exec_paths: Vec<NamespacePath>,
    /// Paths whose programs cannot be run.
    pub no_exec_paths: Vec<NamespacePath>,
    /// How mounts travel; `None`: in, where there is a namespace at all.
    pub mount_flags: Option<MountPropagation>,
    /// /tmp and /var/tmp of its own.
    pub private_tmp: bool,
    /// Only pseudo devices.
    pub private_devices: bool,
    /// Only a loopback of its own.
    pub private_network: bool,
    /// Path of a network namespace to join.
    pub network_namespace_path: Option<String>,
    /// System V IPC and message queues of its own.
    pub private_ipc: bool,
    /// Path of an IPC namespace to join.
    pub ipc_namespace_path: Option<String>,
    /// Only root, nobody and its own user.
    pub private_users: bool,
    /// Mounts of its own.
    pub private_mounts: bool,
    /// What of the system is read-only.
    pub protect_system: ProtectSystem,
    /// What becomes of homes.
    pub protect_home: ProtectHome,
    /// The host's name cannot be changed.
    pub protect_hostname: bool,
    /// The clocks cannot be changed.
    pub protect_clock: bool,
    /// Kernel variables cannot be changed.
    pub protect_kernel_tunables: bool,
    /// Modules cannot be loaded.
    pub protect_kernel_modules: bool,
    /// The kernel's log is out of reach.
    pub protect_kernel_logs: bool,
    /// The control-group tree is read-only.
    pub protect_control_groups: bool,
    /// Whose processes are seen.
    pub protect_proc: ProtectProc,
    /// How much of /proc there is.
    pub proc_subset: ProcSubset,
    /// Families of sockets that may be made; `None`: all. The name `none` is kept as an empty allowed list.
    pub restrict_address_families: Option<NameList>,
    /// File systems that may be used; `None`: all.
    pub restrict_file_systems: Option<NameList>,
    /// Kinds of namespaces that may be made; `None`: all.
    pub restrict_namespaces: Option<BTreeSet<NamespaceKind>>,
    /// The personality cannot be changed.
    pub lock_personality: bool,
    /// No memory is both written and run.
    pub memory_deny_write_execute: bool,
    /// No real-time scheduling.
    pub restrict_realtime: bool,
    /// No set-user-id and set-group-id files are made.
    pub restrict_suid_sgid: bool,
    /// Which system calls pass; `None`: all.
    pub system_call_filter: Option<SyscallFilter>,
    /// What happens at the others.
    pub system_call_error: SyscallAction,
    /// Architectures whose system calls pass; `None`: all. `native` stands for that of the system.
    pub system_call_architectures: Option<BTreeSet<String>>,
    /// Which system calls are logged; `None`: none.
    pub system_call_log: Option<SyscallFilter>,
    /// No program gives more rights than the caller has.
    pub no_new_privileges: bool,
    /// Capabilities that can be had at all.
    pub capability_bounding_set: CapabilitySet,
    /// Capabilities had without being root.
    pub ambient_capabilities: CapabilitySet,
    /// Secure bits.
    pub secure_bits: BTreeSet<SecureBit>,
    /// SELinux context.
    pub selinux_context: Option<SecurityLabel>,
    /// AppArmor profile.
    pub apparmor_profile: Option<SecurityLabel>,
    /// Smack label.
    pub smack_process_label: Option<SecurityLabel>,
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox {
            root_directory: None,
            root_image: None,
            root_image_options: Vec::new(),
            root_hash: None,
            root_hash_signature: None,
            root_verity: None,
            mount_api_vfs: None,
            mount_images: Vec::new(),
            extension_images: Vec::new(),
            extension_directories: Vec::new(),
            bind_mounts: Vec::new(),
            temporary_file_systems: Vec::new(),
            read_write_paths: Vec::new(),
            read_only_paths: Vec::new(),
            inaccessible_paths: Vec::new(),
            exec_paths: Vec::new(),
            no_exec_paths: Vec::new(),
            mount_flags: None,
            private_tmp: false,
            private_devices: false,
            private_network: false,
            network_namespace_path: None,
            private_ipc: false,
            ipc_namespace_path: None,
            private_users: false,
            private_mounts: false,
            protect_system: ProtectSystem::No,
            protect_home: ProtectHome::No,
            protect_hostname: false,
            protect_clock: false,
            protect_kernel_tunables: false,
            protect_kernel_modules: false,
            protect_kernel_logs: false,
            protect_control_groups: false,
            protect_proc: ProtectProc::Default,
            proc_subset: ProcSubset::All,
            restrict_address_families: None,
            restrict_file_systems: None,
            restrict_namespaces: None,
            lock_personality: false,
            memory_deny_write_execute: false,
            restrict_realtime: false,
            restrict_suid_sgid: false,
            system_call_filter: None,
            system_call_error: SyscallAction::Kill,
            system_call_architectures: None,
            system_call_log: None,
            no_new_privileges: false,
            capability_bounding_set: CapabilitySet::ALL,
            ambient_capabilities: CapabilitySet::NONE,
            secure_bits: BTreeSet::new(),
            selinux_context: None,
            apparmor_profile: None,
            smack_process_label: None,
        }
    }
}
