// SPDX-License-Identifier: GPL-2.0-or-later
//! The jobs of a transaction that is being made, and who pulled in whom.
//!
//! While it is made, a unit may have several jobs that are still to become one. Jobs and links between them are kept in
//! two lists and named by their place; what is taken out leaves a hole. That keeps every step linear: a shutdown pulls in
//! ten thousand jobs, most of which turn out to have nothing to do.

use std::collections::HashMap;

use super::super::types::JobType;
use super::error::Notice;
use crate::graph::UnitId;

/// A job's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u32);

/// A job that may become one.
#[derive(Clone, Debug)]
pub(super) struct DraftJob {
    pub(super) unit: UnitId,
    pub(super) kind: JobType,
    /// The anchor cannot do without it.
    pub(super) matters: bool,
    pub(super) irreversible: bool,
    pub(super) ignore_order: bool,
    alive: bool,
    /// The next job of the same unit, an earlier one.
    older: Option<Slot>,
    /// Links to what it pulled in, also dead ones.
    pulls: Vec<u32>,
    /// Links from what pulled it in, also dead ones.
    pulled_by: Vec<u32>,
    /// Those of `pulled_by` that live.
    pullers: u32,
}

/// One job pulled in another one.
#[derive(Clone, Copy, Debug)]
struct Pull {
    from: Slot,
    to: Slot,
    /// `from` cannot do without `to`.
    matters: bool,
    /// It is a stop, and `Conflicts=` asked for it.
    conflicts: bool,
    alive: bool,
}

/// A transaction that is being made.
#[derive(Debug)]
pub(super) struct Draft {
    jobs: Vec<DraftJob>,
    links: Vec<Pull>,
    /// The newest job of each unit.
    heads: HashMap<UnitId, Slot>,
    irreversible: bool,
    pub(super) notices: Vec<Notice>,
}

impl Draft {
    /// One with its anchor.
    pub(super) fn new(unit: UnitId, kind: JobType, ignore_order: bool, irreversible: bool) -> Draft {
        let mut draft =
            Draft { jobs: Vec::new(), links: Vec::new(), heads: HashMap::new(), irreversible, notices: Vec::new() };
        draft.add(unit, kind, ignore_order);
        draft
    }

    /// The job that was wished for: the first one. No step takes it out, for it matters to itself.
    pub(super) fn anchor(&self) -> Slot {
        Slot(0)
    }

    pub(super) fn job(&self, slot: Slot) -> &DraftJob {
        &self.jobs[slot.0 as usize]
    }

    fn job_mut(&mut self, slot: Slot) -> &mut DraftJob {
        &mut self.jobs[slot.0 as usize]
    }

    /// The newest job of a unit.
    pub(super) fn head(&self, unit: UnitId) -> Option<Slot> {
        self.heads.get(&unit).copied()
    }

    /// The jobs of a unit, the newest first.
    pub(super) fn jobs_of(&self, unit: UnitId) -> impl Iterator<Item = Slot> + '_ {
        std::iter::successors(self.head(unit), |slot| self.job(*slot).older)
    }

    /// Whether one of the unit's jobs matters to the anchor.
    pub(super) fn unit_matters(&self, unit: UnitId) -> bool {
        self.jobs_of(unit).any(|slot| self.job(slot).matters)
    }

    /// All jobs, in the order they were added.
    pub(super) fn slots(&self) -> Vec<Slot> {
        (0u32..).map(Slot).zip(&self.jobs).filter(|(_, job)| job.alive).map(|(slot, _)| slot).collect()
    }

    /// All units with a job, in the order of their newest jobs.
    pub(super) fn units(&self) -> Vec<UnitId> {
        self.slots()
            .into_iter()
            .filter(|slot| self.head(self.job(*slot).unit) == Some(*slot))
            .map(|slot| self.job(slot).unit)
            .collect()
    }

    /// Whether the job is still in it.
    pub(super) fn is_alive(&self, slot: Slot) -> bool {
        self.job(slot).alive
    }

    /// Whether nothing pulls the job in any more.
    pub(super) fn is_unpulled(&self, slot: Slot) -> bool {
        self.job(slot).pullers == 0
    }

    /// Whether `Conflicts=` asked for it.
    pub(super) fn is_conflicted_by(&self, slot: Slot) -> bool {
        self.job(slot).pulled_by.iter().any(|link| {
            let link = self.links[*link as usize];
            link.alive && link.conflicts
        })
    }

    /// What the job pulled in, and whether it cannot do without.
    pub(super) fn pulled_in_by(&self, slot: Slot) -> impl Iterator<Item = (Slot, bool)> + '_ {
        self.job(slot)
            .pulls
            .iter()
            .map(|link| self.links[*link as usize])
            .filter(|link| link.alive)
            .map(|link| (link.to, link.matters))
    }

    /// The job of this kind for this unit, made where there was none; and whether there was none.
    pub(super) fn add(&mut self, unit: UnitId, kind: JobType, ignore_order: bool) -> (Slot, bool) {
        let found = self.jobs_of(unit).find(|slot| self.job(*slot).kind == kind);
        if let Some(slot) = found {
            self.job_mut(slot).ignore_order |= ignore_order;
            return (slot, false);
        }
        // There are six kinds of jobs, and no more units than fit into 32 bits minus those.
        let slot = Slot(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX));
        self.jobs.push(DraftJob {
            unit,
            kind,
            matters: false,
            irreversible: self.irreversible,
            ignore_order,
            alive: true,
            older: self.heads.insert(unit, slot),
            pulls: Vec::new(),
            pulled_by: Vec::new(),
            pullers: 0,
        });
        (slot, true)
    }

    /// Notes that one job pulled in another one.
    pub(super) fn link(&mut self, from: Slot, to: Slot, matters: bool, conflicts: bool) {
        let link = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        self.links.push(Pull { from, to, matters, conflicts, alive: true });
        self.job_mut(from).pulls.push(link);
        let to = self.job_mut(to);
        to.pulled_by.push(link);
        to.pullers += 1;
    }

    /// Marks a job as one the anchor cannot do without.
    pub(super) fn mark_mattering(&mut self, slot: Slot) {
        self.job_mut(slot).matters = true;
    }

    /// Takes a job out, and with it all that cannot do without it, and so on.
    pub(super) fn remove_with_dependants(&mut self, slot: Slot) {
        let mut next = vec![slot];
        while let Some(slot) = next.pop() {
            next.extend(self.remove(slot));
        }
    }

    /// Takes a job out; those that cannot do without it stay, and are returned.
    pub(super) fn remove(&mut self, slot: Slot) -> Vec<Slot> {
        if !self.job(slot).alive {
            return Vec::new();
        }
        let job = self.job_mut(slot);
        job.alive = false;
        let (unit, older) = (job.unit, job.older.take());
        let (pulls, pulled_by) = (std::mem::take(&mut job.pulls), std::mem::take(&mut job.pulled_by));
        if self.head(unit) == Some(slot) {
            match older {
                Some(older) => self.heads.insert(unit, older),
                None => self.heads.remove(&unit),
            };
        } else {
            let newer = self.jobs_of(unit).find(|newer| self.job(*newer).older == Some(slot));
            if let Some(newer) = newer {
                self.job_mut(newer).older = older;
            }
        }
        for link in pulls {
            if let Some(link) = self.cut(link) {
                self.job_mut(link.to).pullers -= 1;
            }
        }
        let pullers = pulled_by.into_iter().filter_map(|link| self.cut(link));
        pullers.filter(|link| link.matters).map(|link| link.from).collect()
    }

    /// Ends a link; what it was, if it lived.
    fn cut(&mut self, link: u32) -> Option<Pull> {
        let link = &mut self.links[link as usize];
        std::mem::replace(&mut link.alive, false).then_some(*link)
    }

    /// Makes one job of all of a unit's: it pulls in and is pulled in as all of them were. The anchor stays the anchor.
    pub(super) fn merge(&mut self, unit: UnitId, kind: JobType) {
        let all: Vec<Slot> = self.jobs_of(unit).collect();
        let Some(kept) = all.iter().copied().find(|slot| *slot == self.anchor()).or(all.first().copied()) else {
            return;
        };
        for gone in all.into_iter().filter(|slot| *slot != kept) {
            let other = self.job_mut(gone);
            other.alive = false;
            let (matters, irreversible, ignore_order) = (other.matters, other.irreversible, other.ignore_order);
            let (pulls, pulled_by) = (std::mem::take(&mut other.pulls), std::mem::take(&mut other.pulled_by));
            let pullers = std::mem::take(&mut other.pullers);
            for link in &pulls {
                self.links[*link as usize].from = kept;
            }
            for link in &pulled_by {
                self.links[*link as usize].to = kept;
            }
            let job = self.job_mut(kept);
            job.matters |= matters;
            job.irreversible |= irreversible;
            job.ignore_order |= ignore_order;
            job.pulls.extend(pulls);
            job.pulled_by.extend(pulled_by);
            job.pullers += pullers;
        }
        let job = self.job_mut(kept);
        job.kind = kind;
        job.older = None;
        self.heads.insert(unit, kept);
    }
}
