// SPDX-License-Identifier: GPL-2.0-or-later
//! Cycles in the order of a transaction: finding one, and the job to drop so that it is none.
//!
//! Which job waits for which follows from the kinds of the jobs as well as from `Before=` and `After=`
//! ([`JobType::order`]), so two units may be in a cycle for one transaction and not for another. Jobs that are queued
//! take part, but only jobs of the transaction can be dropped, and none of a unit of which one matters to the anchor.
//!
//! It is looked for three times: among the jobs as they were pulled in, which is where systemd looks, and once more when they are
//! merged, with one another and with what is queued: a start that became a restart waits for other jobs than before. And a
//! third time as if every restart were a start already, as it will be. Jobs that wait for one another would wait until they
//! time out, which most never do.
//!
//! The walk is depth first along "runs before", from the anchor on. When it comes back to a job on its path, the path
//! from there on is the cycle, and the last job on it that may be dropped is dropped.

use std::cmp::Ordering;
use std::collections::HashMap;

use ssi_unit::dependency::Atoms;

use super::super::UnitStates;
use super::super::queue::Queue;
use super::super::types::{JobType, Side};
use super::draft::Draft;
use crate::graph::{Graph, UnitId};

/// A cycle: each job waits for the next one, and the last one for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CycleFound {
    pub(super) jobs: Vec<(UnitId, JobType)>,
    /// The place in `jobs` of the one to drop; `None` when all of them matter.
    pub(super) expendable: Option<usize>,
}

/// What the walk knows of a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    OnPath,
    /// No cycle can be reached from here.
    Clear,
}

/// A job on the path.
struct Step {
    unit: UnitId,
    kind: JobType,
    ahead: std::vec::IntoIter<UnitId>,
}

/// Where jobs are looked up.
pub(super) struct Jobs<'a, S> {
    pub(super) draft: &'a Draft,
    pub(super) graph: &'a Graph,
    pub(super) queue: &'a Queue,
    /// Given when the transaction's jobs are merged: then they count as merged with the queued ones, too.
    pub(super) merged: Option<&'a S>,
    /// Restarts count as the starts they will be.
    pub(super) second_half: bool,
}

impl<S: UnitStates> Jobs<'_, S> {
    /// The job that counts for a unit, and whether it ignores the order.
    fn at(&self, unit: UnitId) -> Option<(JobType, bool)> {
        let (kind, ignores) = self.at_first(unit)?;
        Some((if self.second_half && kind == JobType::Restart { JobType::Start } else { kind }, ignores))
    }

    /// The transaction's job, else the queued one.
    fn at_first(&self, unit: UnitId) -> Option<(JobType, bool)> {
        let queued = self.queue.job_of(unit).map(|job| (job.kind, job.ignore_order));
        let Some(job) = self.draft.head(unit).map(|slot| self.draft.job(slot)) else { return queued };
        if let (Some(states), Some((kind, ignores))) = (self.merged, queued)
            && let Some(kind) = kind.merge(job.kind, states.active(unit))
        {
            return Some((kind, ignores || job.ignore_order));
        }
        Some((job.kind, job.ignore_order))
    }

    /// A unit with the units whose jobs run after its own.
    fn step(&self, unit: UnitId) -> Option<Step> {
        let (kind, ignore_order) = self.at(unit)?;
        let mut ahead = Vec::new();
        if !ignore_order {
            for (side, atom) in [(Side::Before, Atoms::BEFORE), (Side::After, Atoms::AFTER)] {
                ahead.extend(self.graph.with(unit, atom).filter(|other| {
                    self.at(*other)
                        .is_some_and(|(other, ignores)| !ignores && kind.order(side, other) == Ordering::Less)
                }));
            }
        }
        Some(Step { unit, kind, ahead: ahead.into_iter() })
    }

    /// Looks for a cycle.
    pub(super) fn find_cycle(&self) -> Option<CycleFound> {
        let mut marks: HashMap<UnitId, Mark> = HashMap::new();
        for start in self.draft.units() {
            if marks.contains_key(&start) {
                continue;
            }
            let mut path: Vec<Step> = Vec::new();
            let mut next = Some(start);
            loop {
                if let Some(unit) = next.take()
                    && let Some(step) = self.step(unit)
                {
                    marks.insert(unit, Mark::OnPath);
                    path.push(step);
                }
                let Some(step) = path.last_mut() else { break };
                let Some(unit) = step.ahead.next() else {
                    marks.insert(step.unit, Mark::Clear);
                    path.pop();
                    continue;
                };
                match marks.get(&unit) {
                    None => next = Some(unit),
                    Some(Mark::Clear) => {}
                    Some(Mark::OnPath) => return Some(cycle_back_to(self.draft, &path, unit)),
                }
            }
        }
        None
    }
}

/// The cycle that is closed by a step from the end of the path to `unit`.
fn cycle_back_to(draft: &Draft, path: &[Step], unit: UnitId) -> CycleFound {
    let mut jobs = Vec::new();
    let mut expendable = None;
    for step in path.iter().rev() {
        if expendable.is_none() && draft.head(step.unit).is_some() && !draft.unit_matters(step.unit) {
            expendable = Some(jobs.len());
        }
        jobs.push((step.unit, step.kind));
        if step.unit == unit {
            break;
        }
    }
    CycleFound { jobs, expendable }
}
