// SPDX-License-Identifier: GPL-2.0-or-later
//! What confines a program: each directive as a type, and whether the executor gives it.

use super::Slot;
use serde::{Deserialize, Serialize};

/// A directive that confines or protects. systemd.exec(5), "Sandboxing" and "System Call Filtering".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protection {
    /// `PrivateMounts=`: a mount namespace of its own.
    PrivateMounts,
    /// `MountAPIVFS=`: /proc, /sys, /dev and /run below `RootDirectory=`.
    MountApiVfs,
    /// `MountFlags=`: how mounts pass between it and the machine; `Slave` unless told.
    MountFlags(MountPropagation),
    /// `PrivateTmp=`: these directories become /tmp and /var/tmp. [`crate::private_tmp`] makes them.
    PrivateTmp {
        /// The directory for /tmp.
        tmp: String,
        /// The directory for /var/tmp.
        var_tmp: String,
    },
    /// `ProtectSystem=`.
    ProtectSystem(ProtectSystem),
    /// `ProtectHome=`.
    ProtectHome(ProtectHome),
    /// `PrivateDevices=`.
    PrivateDevices,
    /// `ProtectKernelTunables=`.
    ProtectKernelTunables,
    /// `ProtectKernelModules=`.
    ProtectKernelModules,
    /// `ProtectKernelLogs=`.
    ProtectKernelLogs,
    /// `ProtectControlGroups=`.
    ProtectControlGroups,
    /// `ProtectClock=`.
    ProtectClock,
    /// `ProtectHostname=`.
    ProtectHostname,
    /// `ProtectProc=`.
    ProtectProc(ProtectProc),
    /// `ProcSubset=pid`.
    ProcSubsetPid,
    /// `ReadWritePaths=`.
    ReadWritePaths(Vec<PathRule>),
    /// `ReadOnlyPaths=`.
    ReadOnlyPaths(Vec<PathRule>),
    /// `InaccessiblePaths=`.
    InaccessiblePaths(Vec<PathRule>),
    /// `ExecPaths=`.
    ExecPaths(Vec<PathRule>),
    /// `NoExecPaths=`.
    NoExecPaths(Vec<PathRule>),
    /// `BindPaths=` and `BindReadOnlyPaths=`.
    BindPaths(Vec<BindMount>),
    /// `TemporaryFileSystem=`: path and mount options.
    TemporaryFileSystem(Vec<(String, String)>),
    /// `PrivateNetwork=`: a network namespace with loopback alone, shared by the unit's processes (and by units
    /// that join it) when the manager passes the pair of [`NamespaceShare`].
    PrivateNetwork(Option<NamespaceShare>),
    /// `NetworkNamespacePath=`.
    NetworkNamespacePath(String),
    /// `PrivateIPC=`.
    PrivateIpc(Option<NamespaceShare>),
    /// `IPCNamespacePath=`.
    IpcNamespacePath(String),
    /// `PrivateUsers=`.
    PrivateUsers,
    /// `RestrictNamespaces=`, as written.
    RestrictNamespaces(String),
    /// `RestrictAddressFamilies=`, as written.
    RestrictAddressFamilies(String),
    /// `RestrictRealtime=`.
    RestrictRealtime,
    /// `RestrictSUIDSGID=`.
    RestrictSuidSgid,
    /// `LockPersonality=`.
    LockPersonality,
    /// `MemoryDenyWriteExecute=`.
    MemoryDenyWriteExecute,
    /// `SystemCallFilter=`, as written.
    SystemCallFilter(String),
    /// `SystemCallArchitectures=`, as written.
    SystemCallArchitectures(String),
    /// `PAMName=`.
    Pam(String),
    /// `AppArmorProfile=`.
    AppArmorProfile(String),
    /// `SELinuxContext=`.
    SelinuxContext(String),
    /// `SmackProcessLabel=`.
    SmackProcessLabel(String),
    /// `RootImage=`, `MountImages=`, `ExtensionImages=` and what else needs dissected images.
    Images(String),
    /// Any other directive that confines and that has no type here yet, by its name.
    Other(String),
}

/// What the executor makes of a protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// All of it.
    Full,
    /// Some of it; what is missing.
    Partial(&'static str),
    /// None of it; why.
    None(&'static str),
}

const SECCOMP: &str = "system call filters are not installed";

impl Protection {
    /// Whether the executor gives it.
    pub fn supported(&self) -> Support {
        match self {
            Protection::PrivateMounts
            | Protection::MountApiVfs
            | Protection::MountFlags(_)
            | Protection::PrivateTmp { .. }
            | Protection::ProtectSystem(_)
            | Protection::ProtectHome(_)
            | Protection::ProtectControlGroups
            | Protection::ProtectProc(_)
            | Protection::ProcSubsetPid
            | Protection::ReadWritePaths(_)
            | Protection::ReadOnlyPaths(_)
            | Protection::InaccessiblePaths(_)
            | Protection::ExecPaths(_)
            | Protection::NoExecPaths(_)
            | Protection::BindPaths(_)
            | Protection::TemporaryFileSystem(_)
            | Protection::PrivateNetwork(_)
            | Protection::NetworkNamespacePath(_)
            | Protection::PrivateIpc(_)
            | Protection::IpcNamespacePath(_)
            | Protection::PrivateUsers
            | Protection::ProtectKernelTunables => Support::Full,
            Protection::PrivateDevices => Support::Partial(
                "raw I/O system calls are not filtered (the devices are hidden, the capabilities are gone)",
            ),
            Protection::ProtectKernelModules => Support::Partial(
                "module system calls are not filtered (the capability is gone, the modules are hidden)",
            ),
            Protection::ProtectKernelLogs => {
                Support::Partial("syslog(2) is not filtered (the capability is gone, the devices are hidden)")
            }
            Protection::ProtectClock => {
                Support::Partial("clock system calls are not filtered (the capabilities are gone)")
            }
            Protection::ProtectHostname => {
                Support::Partial("sethostname(2) is not filtered (it acts in a namespace of the unit's own)")
            }
            Protection::RestrictNamespaces(_)
            | Protection::RestrictAddressFamilies(_)
            | Protection::RestrictRealtime
            | Protection::RestrictSuidSgid
            | Protection::LockPersonality
            | Protection::MemoryDenyWriteExecute
            | Protection::SystemCallFilter(_)
            | Protection::SystemCallArchitectures(_) => Support::None(SECCOMP),
            Protection::Pam(_) => Support::None("no PAM session is opened"),
            Protection::AppArmorProfile(_) => Support::None("AppArmor profiles are not changed"),
            Protection::SelinuxContext(_) => Support::None("SELinux contexts are not changed"),
            Protection::SmackProcessLabel(_) => Support::None("Smack labels are not changed"),
            Protection::Images(_) => Support::None("disk images are not mounted"),
            Protection::Other(_) => Support::None("it is not known to the executor"),
        }
    }

    /// The directive's name, as in a unit file.
    pub fn directive(&self) -> &str {
        match self {
            Protection::PrivateMounts => "PrivateMounts=",
            Protection::MountApiVfs => "MountAPIVFS=",
            Protection::MountFlags(_) => "MountFlags=",
            Protection::PrivateTmp { .. } => "PrivateTmp=",
            Protection::ProtectSystem(_) => "ProtectSystem=",
            Protection::ProtectHome(_) => "ProtectHome=",
            Protection::PrivateDevices => "PrivateDevices=",
            Protection::ProtectKernelTunables => "ProtectKernelTunables=",
            Protection::ProtectKernelModules => "ProtectKernelModules=",
            Protection::ProtectKernelLogs => "ProtectKernelLogs=",
            Protection::ProtectControlGroups => "ProtectControlGroups=",
            Protection::ProtectClock => "ProtectClock=",
            Protection::ProtectHostname => "ProtectHostname=",
            Protection::ProtectProc(_) => "ProtectProc=",
            Protection::ProcSubsetPid => "ProcSubset=",
            Protection::ReadWritePaths(_) => "ReadWritePaths=",
            Protection::ReadOnlyPaths(_) => "ReadOnlyPaths=",
            Protection::InaccessiblePaths(_) => "InaccessiblePaths=",
            Protection::ExecPaths(_) => "ExecPaths=",
            Protection::NoExecPaths(_) => "NoExecPaths=",
            Protection::BindPaths(_) => "BindPaths=",
            Protection::TemporaryFileSystem(_) => "TemporaryFileSystem=",
            Protection::PrivateNetwork(_) => "PrivateNetwork=",
            Protection::NetworkNamespacePath(_) => "NetworkNamespacePath=",
            Protection::PrivateIpc(_) => "PrivateIPC=",
            Protection::IpcNamespacePath(_) => "IPCNamespacePath=",
            Protection::PrivateUsers => "PrivateUsers=",
            Protection::RestrictNamespaces(_) => "RestrictNamespaces=",
            Protection::RestrictAddressFamilies(_) => "RestrictAddressFamilies=",
            Protection::RestrictRealtime => "RestrictRealtime=",
            Protection::RestrictSuidSgid => "RestrictSUIDSGID=",
            Protection::LockPersonality => "LockPersonality=",
            Protection::MemoryDenyWriteExecute => "MemoryDenyWriteExecute=",
            Protection::SystemCallFilter(_) => "SystemCallFilter=",
            Protection::SystemCallArchitectures(_) => "SystemCallArchitectures=",
            Protection::Pam(_) => "PAMName=",
            Protection::AppArmorProfile(_) => "AppArmorProfile=",
            Protection::SelinuxContext(_) => "SELinuxContext=",
            Protection::SmackProcessLabel(_) => "SmackProcessLabel=",
            Protection::Images(directive) | Protection::Other(directive) => directive,
        }
    }

    /// Whether it needs a mount namespace.
    pub fn needs_mounts(&self) -> bool {
        match self {
            Protection::ReadWritePaths(rules)
            | Protection::ReadOnlyPaths(rules)
            | Protection::InaccessiblePaths(rules)
            | Protection::ExecPaths(rules)
            | Protection::NoExecPaths(rules) => !rules.is_empty(),
            Protection::BindPaths(binds) => !binds.is_empty(),
            Protection::TemporaryFileSystem(list) => !list.is_empty(),
            Protection::PrivateMounts
            | Protection::MountApiVfs
            | Protection::MountFlags(_)
            | Protection::PrivateTmp { .. }
            | Protection::ProtectSystem(_)
            | Protection::ProtectHome(_)
            | Protection::PrivateDevices
            | Protection::ProtectKernelTunables
            | Protection::ProtectKernelModules
            | Protection::ProtectKernelLogs
            | Protection::ProtectControlGroups
            | Protection::ProtectProc(_)
            | Protection::ProcSubsetPid
            | Protection::PrivateIpc(_)
            | Protection::IpcNamespacePath(_) => true,
            _ => false,
        }
    }
}

/// mount_namespaces(7), "Shared subtrees".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// Both ways.
    Shared,
    /// From the machine to the unit.
    Slave,
    /// Not at all.
    Private,
}

/// `ProtectSystem=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtectSystem {
    /// `yes`: /usr and the boot loader's directories are read-only.
    Yes,
    /// `full`: /etc too.
    Full,
    /// `strict`: everything but /dev, /proc and /sys.
    Strict,
}

/// `ProtectHome=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtectHome {
    /// `yes`: /home, /root and /run/user are empty and closed.
    Yes,
    /// `read-only`.
    ReadOnly,
    /// `tmpfs`: empty, read-only, and open to be bind mounted on.
    Tmpfs,
}

/// `ProtectProc=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtectProc {
    /// Others' processes are seen, what is in them is not.
    NoAccess,
    /// Others' processes are not seen.
    Invisible,
    /// Only processes that may be traced.
    Ptraceable,
}

/// A path of `ReadWritePaths=` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRule {
    /// The path.
    pub path: String,
    /// The `-` before it: skipped when it is not there.
    pub missing_ok: bool,
    /// The `+` before it: below `RootDirectory=`.
    pub in_root: bool,
}

/// One mount of `BindPaths=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// From where.
    pub source: String,
    /// To where.
    pub destination: String,
    /// `BindReadOnlyPaths=`.
    pub read_only: bool,
    /// `rbind` (true unless told) or `norbind`.
    pub recursive: bool,
    /// The `-` before it.
    pub missing_ok: bool,
}

/// A pair of sockets by which the processes of a unit agree on one namespace: the first puts it in, the others
/// find it there. Made with socketpair(AF_UNIX, SOCK_DGRAM) by the manager, kept while the unit lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceShare {
    /// The end that is read, and that the lock is on.
    pub take: Slot,
    /// The end that is written.
    pub put: Slot,
}
