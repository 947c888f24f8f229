// SPDX-License-Identifier: GPL-2.0-or-later
//! Jobs: what is to be done with units, in which order, and what follows when it is done or cannot be.
//!
//! ```text
//!   Wish ──transaction::plan()──▶ Plan ──Queue::install()──▶ Job ──Queue::next()──▶ Task ──▶ the unit's state machine
//!   "start b,        what else has to happen;   waiting ──────────▶ running            │
//!    in mode         contradictions settled,       ▲                  │                │
//!    replace"        cycles broken, or an          │   Queue::reply() ◀── Reply ◀──────┤ at once
//!                    error and nothing changed     │   Queue::unit_changed() ◀─────────┘ each time its state changes
//!                                                  │                  │
//!                                                  └── others go on ◀─┴─▶ Event: new, changed, removed, on-failure
//! ```
//!
//! A **job** is one of six things ([`JobType`]) to be done with one unit; a unit has at most one, and beside it one that
//! does nothing. A **transaction** is a wish with all that follows from it by requirements, conflicts and propagation
//! ([`crate::graph`]); it becomes jobs as a whole or not at all. The job that was wished for is its **anchor**, and what
//! the anchor cannot do without **matters** to it: that is never dropped to make the rest fit.
//!
//! Requirement and order are two things. Requirements choose the jobs of a transaction and carry failures on; `Before=`
//! and `After=` say which of two jobs runs first, whichever wish brought them in.
//!
//! All of it is pure: units and their states come in through [`UnitStates`], time as a number, and what is to be done
//! goes out as [`Task`] and [`Event`]. The rules are systemd 252's, see systemd.unit(5) and systemctl(1).
//!
//! Start reading at [`types`], the tables; then [`transaction`], then [`queue`]. [`upkeep`] is what happens to units
//! that change without a job.

pub mod queue;
mod snapshot;
pub mod transaction;
pub mod types;
pub mod upkeep;

use ssi_unit::load::LoadState;
use ssi_unit::name::UnitName;

pub use queue::{Change, Event, Job, JobId, Queue, Reply, Task, TaskAct};
pub use snapshot::{QueueSnapshot, SavedJob};
pub use ssi_unit::config::unit::JobMode;
pub use transaction::{Notice, Plan, PlannedJob, TransactionError, Wish};
pub use types::{JobResult, JobState, JobType, Request};

use crate::core::state::ActiveState;
use crate::graph::UnitId;

/// What the job engine has to know of units.
///
/// Every [`UnitId`] it asks for is one of the graph's, or was when a job of it was installed.
pub trait UnitStates {
    /// The unit's name.
    fn name(&self, unit: UnitId) -> &UnitName;

    /// Its state now.
    fn active(&self, unit: UnitId) -> ActiveState;

    /// How its files were read; `None` while they were not.
    fn load(&self, unit: UnitId) -> Option<LoadState>;

    /// Whether it can be started by a job at all. A device or the root slice cannot: they are there or not.
    fn can_start(&self, unit: UnitId) -> bool;

    /// Whether it can be stopped by a job.
    fn can_stop(&self, unit: UnitId) -> bool;

    /// Whether it knows how to read its configuration anew, as it is now.
    fn can_reload(&self, unit: UnitId) -> bool;

    /// Whether it is there for ever: `-.slice`, `init.scope`, `-.mount`.
    fn is_perpetual(&self, unit: UnitId) -> bool;

    /// `AllowIsolate=`.
    fn allows_isolate(&self, unit: UnitId) -> bool;

    /// `IgnoreOnIsolate=`.
    fn ignores_isolate(&self, unit: UnitId) -> bool;

    /// `RefuseManualStart=`.
    fn refuses_manual_start(&self, unit: UnitId) -> bool;

    /// `RefuseManualStop=`.
    fn refuses_manual_stop(&self, unit: UnitId) -> bool;

    /// `JobTimeoutSec=` in microseconds; `None`: no limit.
    fn job_timeout(&self, unit: UnitId) -> Option<u64>;

    /// `JobRunningTimeoutSec=` in microseconds; `None`: no limit.
    fn job_running_timeout(&self, unit: UnitId) -> Option<u64>;

    /// `StopWhenUnneeded=`.
    fn stops_when_unneeded(&self, unit: UnitId) -> bool;

    /// Whether it is down only until its restart is due.
    fn will_restart(&self, unit: UnitId) -> bool;

    /// Other units that are the same thing under another name and get the same jobs: the device units of one device.
    fn followers(&self, unit: UnitId) -> Vec<UnitId> {
        let _ = unit;
        Vec::new()
    }

    /// `CPUWeight=`, or the start-up weight while that counts: of two jobs that may run, the heavier unit's runs first.
    fn cpu_weight(&self, unit: UnitId) -> u64 {
        let _ = unit;
        100
    }

    /// `Nice=`: at the same weight, the less nice unit's job runs first.
    fn nice(&self, unit: UnitId) -> i32 {
        let _ = unit;
        0
    }
}
