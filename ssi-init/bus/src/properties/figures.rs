// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit shows that the manager's core does not know.

use std::collections::BTreeMap;

use ssi_manager::core::unit::Unit;
use ssi_unit::config::cgroup::CpuSet;
use ssi_unit::config::exec::{Resource, ResourceLimit};

/// The edge: the kernel, the file system, the process of the manager itself. What is not answered is "not known".
pub trait Figures {
    /// Figures of a control group, by the names of their properties (`MemoryCurrent`, `TasksCurrent`, `CPUUsageNSec`,
    /// `IOReadBytes`, `IPIngressBytes`, `ControlGroupId`, …). What is not counted is not there.
    fn of_group(&self, group: &str) -> BTreeMap<&'static str, u64> {
        let _ = group;
        BTreeMap::new()
    }

    /// The processors a control group may use now.
    fn effective_cpus(&self, group: &str) -> Option<CpuSet> {
        let _ = group;
        None
    }

    /// The memory nodes a control group may use now.
    fn effective_memory_nodes(&self, group: &str) -> Option<CpuSet> {
        let _ = group;
        None
    }

    /// Whether a control group is frozen: `running`, `freezing`, `frozen`, `thawing`.
    fn freezer_state(&self, group: &str) -> &'static str {
        let _ = group;
        "running"
    }

    /// The path of the manager's own control group, which those of its units are below; empty for the whole tree.
    fn root_group(&self) -> String {
        String::new()
    }

    /// Whether the unit is enabled, by the words of `systemctl is-enabled`; `None`: it has no file.
    fn unit_file_state(&self, unit: &Unit) -> Option<&'static str> {
        let _ = unit;
        None
    }

    /// Whether presets would have it `enabled` or `disabled`; `None`: it has no file.
    fn unit_file_preset(&self, unit: &Unit) -> Option<&'static str> {
        let _ = unit;
        None
    }

    /// Whether files of the unit are other ones than were read.
    fn needs_daemon_reload(&self, unit: &Unit) -> bool {
        unit.runtime.needs_reload
    }

    /// User and group that the unit's processes run as, where they are others than the manager's.
    fn owner(&self, unit: &Unit) -> Option<(u32, u32)> {
        let _ = unit;
        None
    }

    /// Bytes of memory that the machine has: what shares of it are of.
    fn physical_memory(&self) -> Option<u64> {
        None
    }

    /// The most tasks that the machine has: what shares of them are of.
    fn most_tasks(&self) -> Option<u64> {
        None
    }

    /// A limit that the manager itself runs under, which a process inherits whose unit tells none.
    fn inherited_limit(&self, resource: Resource) -> ResourceLimit {
        let _ = resource;
        ResourceLimit { soft: ResourceLimit::INFINITY, hard: ResourceLimit::INFINITY }
    }

    /// What else a process inherits from the manager where its unit does not tell.
    fn inherited(&self) -> Inherited {
        Inherited::default()
    }
}

/// What a process has of the manager where its unit does not tell. The default is what the kernel gives to process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// From -20 to 19.
    pub nice: i32,
    /// From -1000 to 1000.
    pub oom_score_adjust: i32,
    /// core(5)
    pub coredump_filter: u64,
    /// Nanoseconds.
    pub timer_slack: u64,
}

impl Default for Inherited {
    fn default() -> Self {
        Self { nice: 0, oom_score_adjust: 0, coredump_filter: 0x33, timer_slack: 50_000 }
    }
}

/// An edge that knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unknown;

impl Figures for Unknown {}
