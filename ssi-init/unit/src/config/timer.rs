// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Timer]` section: systemd.timer(5).

use std::time::Duration;

use super::manager::ManagerDefaults;
use crate::name::UnitName;
use crate::time::CalendarSpec;

/// When a timer elapses.
#[derive(Debug, Clone, PartialEq)]
pub enum TimerTrigger {
    /// At times of the calendar (`OnCalendar=`).
    Calendar(CalendarSpec),
    /// So long after another moment; `None` is never.
    After(TimerBase, Option<Duration>),
}

/// The moment a monotonic timer counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimerBase {
    /// When the timer itself was started (`OnActiveSec=`).
    Active,
    /// When the machine was booted (`OnBootSec=`).
    Boot,
    /// When the manager was first started (`OnStartupSec=`).
    Startup,
    /// When the triggered unit was last started (`OnUnitActiveSec=`).
    UnitActive,
    /// When the triggered unit last stopped (`OnUnitInactiveSec=`).
    UnitInactive,
}

/// The `[Timer]` section.
#[derive(Debug, Clone, PartialEq)]
pub struct TimerConfig {
    /// When it elapses: each of these, in the order they were written.
    pub triggers: Vec<TimerTrigger>,
    /// Elapse when the system clock jumps.
    pub on_clock_change: bool,
    /// Elapse when the time zone changes.
    pub on_timezone_change: bool,
    /// Catch up at start on a calendar time missed while off.
    pub persistent: bool,
    /// Wake the machine from sleep.
    pub wake_system: bool,
    /// Stay loaded after the last elapse.
    pub remain_after_elapse: bool,
    /// The random delay is the same each time.
    pub fixed_random_delay: bool,
    /// How much later it may elapse so that wake-ups meet; `None` is without bound.
    pub accuracy: Option<Duration>,
    /// Longest random delay; `None` is without bound.
    pub randomized_delay: Option<Duration>,
    /// What is started; `None`: the service of the same name.
    pub unit: Option<UnitName>,
}

impl TimerConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> TimerConfig {
        TimerConfig {
            triggers: Vec::new(),
            on_clock_change: false,
            on_timezone_change: false,
            persistent: false,
            wake_system: false,
            remain_after_elapse: true,
            fixed_random_delay: false,
            accuracy: defaults.timer_accuracy,
            randomized_delay: Some(Duration::ZERO),
            unit: None,
        }
    }
}
