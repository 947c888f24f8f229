// SPDX-License-Identifier: GPL-2.0-or-later
//! What settings are when no unit file speaks of them: the `Default…=` settings of systemd-system.conf(5).

use std::collections::BTreeMap;
use std::time::Duration;

use super::cgroup::TasksMax;
use super::exec::{OutputTarget, Resource, ResourceLimit};
use super::service::OomPolicy;

/// Defaults of the manager. [`ManagerDefaults::default`] is what holds without any system.conf.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagerDefaults {
    /// Start of a unit; `None`: no limit.
    pub timeout_start: Option<Duration>,
    /// Stop of a unit; `None`: no limit.
    pub timeout_stop: Option<Duration>,
    /// End after a missed watchdog; the outer `None`: as `timeout_stop`.
    pub timeout_abort: Option<Option<Duration>>,
    /// Wait for a device; `None`: no limit.
    pub device_timeout: Option<Duration>,
    /// Pause before a restart.
    pub restart: Option<Duration>,
    /// Starts are counted over this time.
    pub start_limit_interval: Option<Duration>,
    /// Starts allowed in that time.
    pub start_limit_burst: u32,
    /// How much later timers may elapse.
    pub timer_accuracy: Option<Duration>,
    /// Where standard output goes.
    pub standard_output: OutputTarget,
    /// Where standard error goes.
    pub standard_error: OutputTarget,
    /// Environment of every process.
    pub environment: Vec<String>,
    /// Limits of every process.
    pub limits: BTreeMap<Resource, ResourceLimit>,
    /// Account for CPU time.
    pub cpu_accounting: bool,
    /// Account for input and output.
    pub io_accounting: bool,
    /// Account for IP traffic.
    pub ip_accounting: bool,
    /// Account for memory.
    pub memory_accounting: bool,
    /// Account for tasks.
    pub tasks_accounting: bool,
    /// Most tasks of a unit that is no slice.
    pub tasks_max: TasksMax,
    /// What happens to a service when the kernel ran out of memory.
    pub oom_policy: OomPolicy,
    /// OOM score adjustment of every process; `None`: the manager's own.
    pub oom_score_adjust: Option<i32>,
}

impl Default for ManagerDefaults {
    fn default() -> ManagerDefaults {
        ManagerDefaults {
            timeout_start: Some(Duration::from_secs(90)),
            timeout_stop: Some(Duration::from_secs(90)),
            timeout_abort: None,
            device_timeout: Some(Duration::from_secs(90)),
            restart: Some(Duration::from_millis(100)),
            start_limit_interval: Some(Duration::from_secs(10)),
            start_limit_burst: 5,
            timer_accuracy: Some(Duration::from_secs(60)),
            standard_output: OutputTarget::Journal,
            standard_error: OutputTarget::Inherit,
            environment: Vec::new(),
            limits: BTreeMap::new(),
            cpu_accounting: true,
            io_accounting: false,
            ip_accounting: false,
            memory_accounting: true,
            tasks_accounting: true,
            tasks_max: TasksMax::Percent { hundredths: 1500 },
            oom_policy: OomPolicy::Stop,
            oom_score_adjust: None,
        }
    }
}
