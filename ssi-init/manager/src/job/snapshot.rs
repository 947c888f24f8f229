// SPDX-License-Identifier: GPL-2.0-or-later
//! The queue as it outlives the manager.
//!
//! Units go by their names in it, since the next manager numbers them anew, and may know fewer. What was not told yet is
//! not in it: drain the events before.

use serde::{Deserialize, Serialize};
use ssi_unit::name::UnitName;

use super::UnitStates;
use super::queue::{Job, JobId, Queue};
use super::types::{JobState, JobType};
use crate::graph::UnitId;

/// All jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// The last number that was given to a job.
    pub last_id: u32,
    /// How many jobs there ever were.
    pub installed: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Those there are.
    pub jobs: Vec<SavedJob>,
}

/// A job. Times are microseconds of the monotonic clock, which goes on over a restart of the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedJob {
    /// Its number.
    pub id: u32,
    /// Its unit.
    pub unit: UnitName,
    /// What it does.
    pub kind: JobType,
    /// What it is at.
    pub state: JobState,
    /// No later transaction may replace it.
    pub irreversible: bool,
    /// It runs whatever other jobs there are.
    pub ignore_order: bool,
    /// When it was installed.
    pub installed_at: u64,
    /// When it last began to run.
    pub running_since: Option<u64>,
    /// When it times out.
    pub deadline: Option<u64>,
}

impl Queue {
    /// Writes the queue down.
    #[must_use]
    pub fn snapshot(&self, states: &impl UnitStates) -> QueueSnapshot {
        let (last_id, installed, failed) = self.counters();
        let saved = |job: &Job| SavedJob {
            id: job.id.0,
            unit: states.name(job.unit).clone(),
            kind: job.kind,
            state: job.state,
            irreversible: job.irreversible,
            ignore_order: job.ignore_order,
            installed_at: job.installed_at,
            running_since: job.running_since,
            deadline: job.deadline,
        };
        QueueSnapshot { last_id, installed, failed, jobs: self.jobs().map(saved).collect() }
    }

    /// The queue of a snapshot, and those of its jobs that have no place in it: their unit is not there any more
    /// (`find`), or the snapshot has two jobs where there can be one. Jobs that wait are looked at anew; jobs that run go
    /// on when their unit's state changes, so the states have to be those of the snapshot.
    #[must_use]
    pub fn restore(
        states: &impl UnitStates,
        snapshot: QueueSnapshot,
        find: impl Fn(&UnitName) -> Option<UnitId>,
    ) -> (Queue, Vec<SavedJob>) {
        let mut queue = Queue::new();
        queue.set_counters((snapshot.last_id, snapshot.installed, snapshot.failed));
        let mut lost = Vec::new();
        for saved in snapshot.jobs {
            let put = find(&saved.unit).is_some_and(|unit| {
                let job = Job {
                    id: JobId(saved.id),
                    unit,
                    kind: saved.kind,
                    state: saved.state,
                    irreversible: saved.irreversible,
                    ignore_order: saved.ignore_order,
                    installed_at: saved.installed_at,
                    running_since: saved.running_since,
                    deadline: saved.deadline,
                    queued: false,
                };
                queue.put_back(states, job)
            });
            if !put {
                lost.push(saved);
            }
        }
        (queue, lost)
    }
}
