// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Scope]` and `[Slice]` sections: systemd.scope(5), systemd.slice(5).

use std::time::Duration;

use super::cgroup::CgroupConfig;
use super::kill::KillConfig;
use super::manager::ManagerDefaults;
use super::service::OomPolicy;

/// A scope: a control group for processes somebody else started. Made at run time, never from an installed file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeConfig {
    /// Longest life; `None`: no limit.
    pub runtime_max: Option<Duration>,
    /// Up to this much is added to `runtime_max` by chance.
    pub runtime_randomized_extra: Duration,
    /// Stop takes no longer; `None`: no limit.
    pub timeout_stop: Option<Duration>,
    /// What happens when the kernel ran out of memory; `None`: go on.
    pub oom_policy: Option<OomPolicy>,
    /// Control group.
    pub cgroup: CgroupConfig,
    /// How its processes are ended.
    pub kill: KillConfig,
}

impl ScopeConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> ScopeConfig {
        ScopeConfig {
            runtime_max: None,
            runtime_randomized_extra: Duration::ZERO,
            timeout_stop: defaults.timeout_stop,
            oom_policy: None,
            cgroup: CgroupConfig::new(defaults),
            kill: KillConfig::default(),
        }
    }
}

/// A slice: a node in the tree of control groups that holds other units.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceConfig {
    /// Control group.
    pub cgroup: CgroupConfig,
}

impl SliceConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> SliceConfig {
        // A default for each unit must not become a limit on all of them together.
        SliceConfig { cgroup: CgroupConfig { tasks_max: None, tasks_max_before: None, ..CgroupConfig::new(defaults) } }
    }
}
