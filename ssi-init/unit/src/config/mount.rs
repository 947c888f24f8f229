// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Mount]`, `[Automount]` and `[Swap]` sections: systemd.mount(5), systemd.automount(5), systemd.swap(5).

use std::time::Duration;

use super::cgroup::CgroupConfig;
use super::exec::ExecConfig;
use super::kill::KillConfig;
use super::manager::ManagerDefaults;

/// A mount point.
#[derive(Debug, Clone, PartialEq)]
pub struct MountConfig {
    /// Device, file, path or word that is mounted.
    pub what: Option<String>,
    /// Where; `None`: as the unit's name has it.
    pub mount_point: Option<String>,
    /// File system type; `None`: mount(8) finds out.
    pub fs_type: Option<String>,
    /// Options between commas.
    pub options: Option<String>,
    /// mount(8) takes no longer; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Mode of directories made for the mount point.
    pub directory_mode: u32,
    /// Let options pass that the file system does not know.
    pub sloppy_options: bool,
    /// Detach now, let go when no longer in use.
    pub lazy_unmount: bool,
    /// Unmount even when the server is out of reach.
    pub force_unmount: bool,
    /// Fail rather than fall back to read-only.
    pub read_write_only: bool,
    /// How mount(8) is run.
    pub exec: ExecConfig,
    /// How it is ended.
    pub kill: KillConfig,
    /// Its control group.
    pub cgroup: CgroupConfig,
}

impl MountConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> MountConfig {
        MountConfig {
            what: None,
            mount_point: None,
            fs_type: None,
            options: None,
            timeout: defaults.timeout_start,
            directory_mode: 0o755,
            sloppy_options: false,
            lazy_unmount: false,
            force_unmount: false,
            read_write_only: false,
            exec: ExecConfig::new(defaults),
            kill: KillConfig::default(),
            cgroup: CgroupConfig::new(defaults),
        }
    }
}

/// A mount made when somebody first looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomountConfig {
    /// Where; `None`: as the unit's name has it.
    pub mount_point: Option<String>,
    /// More options of autofs, between commas.
    pub extra_options: Option<String>,
    /// Mode of directories made for the mount point.
    pub directory_mode: u32,
    /// Unmount after so long out of use; `None`: never.
    pub timeout_idle: Option<Duration>,
}

impl Default for AutomountConfig {
    fn default() -> AutomountConfig {
        AutomountConfig { mount_point: None, extra_options: None, directory_mode: 0o755, timeout_idle: None }
    }
}

/// Swap space.
#[derive(Debug, Clone, PartialEq)]
pub struct SwapConfig {
    /// Device or file; `None`: as the unit's name has it.
    pub what: Option<String>,
    /// Priority, 0 to 32767; `None`: the kernel's choice.
    pub priority: Option<i32>,
    /// Options between commas, as in fstab(5).
    pub options: Option<String>,
    /// swapon(8) takes no longer; `None`: no limit.
    pub timeout: Option<Duration>,
    /// How swapon(8) is run.
    pub exec: ExecConfig,
    /// How it is ended.
    pub kill: KillConfig,
    /// Its control group.
    pub cgroup: CgroupConfig,
}

impl SwapConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> SwapConfig {
        SwapConfig {
            what: None,
            priority: None,
            options: None,
            timeout: defaults.timeout_start,
            exec: ExecConfig::new(defaults),
            kill: KillConfig::default(),
            cgroup: CgroupConfig::new(defaults),
        }
    }
}
