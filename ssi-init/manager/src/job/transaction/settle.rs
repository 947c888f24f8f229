// SPDX-License-Identifier: GPL-2.0-or-later
//! From all that was pulled in to one job a unit, without contradictions.
//!
//! 1. Mark what matters: what the anchor cannot do without, directly or by others that matter.
//! 2. In mode `fail`: drop what does not matter and would stop a running unit or contradict a queued job.
//! 3. Drop the jobs of units that are already as all of them want.
//! 4. Drop what nothing pulls in any more, but not when isolating: there the stops are pulled in by hand.
//! 5. Break cycles in the order ([`super::order`]), and again from 4 until there is none.
//! 6. Of two jobs of a unit that contradict each other, drop one that does not matter, and then 4; merge the others.
//! 7. Drop again what is redundant by now, and break the cycles that merging made, or that the second
//!    halves of restarts will make.
//! 8. Refuse when what is left contradicts a queued job that may not be replaced.
//!
//! A job is dropped together with those that cannot do without it; what pulls it in only by a wish stays.

use ssi_unit::config::unit::JobMode;

use super::super::UnitStates;
use super::super::queue::Queue;
use super::super::types::JobType;
use super::draft::{Draft, Slot};
use super::error::{Link, Notice, TransactionError};
use super::{Plan, PlannedJob, order};
use crate::graph::{Graph, UnitId};

/// Makes a plan of a draft.
pub(super) fn settle(
    mut draft: Draft,
    graph: &Graph,
    states: &impl UnitStates,
    queue: &Queue,
    mode: JobMode,
) -> Result<Plan, TransactionError> {
    mark_mattering(&mut draft);
    if mode == JobMode::Fail {
        spare_what_is_there(&mut draft, states, queue);
    }
    drop_redundant(&mut draft, states, queue);
    let collect = mode != JobMode::Isolate;
    if collect {
        drop_unneeded(&mut draft);
    }
    let break_cycles = |draft: &mut Draft, merged, second_half| {
        while let Some(cycle) = (order::Jobs { draft, graph, queue, merged, second_half }).find_cycle() {
            break_cycle(draft, states, cycle)?;
            if collect {
                drop_unneeded(draft);
            }
        }
        Ok(())
    };
    break_cycles(&mut draft, None, false)?;
    merge(&mut draft, states, collect)?;
    drop_redundant(&mut draft, states, queue);
    break_cycles(&mut draft, Some(states), false)?;
    break_cycles(&mut draft, Some(states), true)?;
    check_destructive(&draft, states, queue, mode)?;

    let planned = |slot: Slot| {
        let job = draft.job(slot);
        PlannedJob { unit: job.unit, kind: job.kind, irreversible: job.irreversible, ignore_order: job.ignore_order }
    };
    let anchor = planned(draft.anchor());
    let jobs = draft.slots().into_iter().map(planned).collect();
    Ok(Plan { jobs, anchor, mode, notices: draft.notices })
}

fn mark_mattering(draft: &mut Draft) {
    let mut next: Vec<Slot> = vec![draft.anchor()];
    while let Some(slot) = next.pop() {
        if draft.job(slot).matters {
            continue;
        }
        draft.mark_mattering(slot);
        next.extend(draft.pulled_in_by(slot).filter(|(_, matters)| *matters).map(|(slot, _)| slot));
    }
}

/// Whether a unit's queued job contradicts this one.
fn contradicts_queued(queue: &Queue, unit: UnitId, kind: JobType) -> bool {
    queue.job_of(unit).is_some_and(|job| job.kind.conflicts_with(kind))
}

fn spare_what_is_there(draft: &mut Draft, states: &impl UnitStates, queue: &Queue) {
    for slot in draft.slots() {
        let job = draft.job(slot);
        if !draft.is_alive(slot) || job.matters {
            continue;
        }
        let stops_running = job.kind == JobType::Stop && states.active(job.unit).is_active_or_activating();
        if stops_running || contradicts_queued(queue, job.unit, job.kind) {
            let notice = Notice::Spared { unit: states.name(job.unit).clone(), deleted: job.kind };
            draft.remove_with_dependants(slot);
            draft.notices.push(notice);
        }
    }
}

/// A unit's jobs are dropped only when all of them have nothing to do. Those that pulled them in stay.
fn drop_redundant(draft: &mut Draft, states: &impl UnitStates, queue: &Queue) {
    for unit in draft.units() {
        let active = states.active(unit);
        let redundant = draft.jobs_of(unit).all(|slot| {
            let kind = draft.job(slot).kind;
            draft.anchor() != slot && kind.is_redundant(active) && !contradicts_queued(queue, unit, kind)
        });
        if redundant {
            let slots: Vec<Slot> = draft.jobs_of(unit).collect();
            for slot in slots {
                draft.remove(slot);
            }
        }
    }
}

/// Drops what nothing pulls in any more.
///
/// Of a unit's jobs only the newest one is looked at, and the next one when that is gone. So does systemd, and it shows: a
/// unit that is wanted, and that a unit which is up already conflicts with, keeps its stop beneath its start, and is not
/// started.
fn drop_unneeded(draft: &mut Draft) {
    let mut next = draft.units();
    while let Some(unit) = next.pop() {
        let Some(slot) = draft.head(unit).filter(|slot| draft.is_unpulled(*slot) && draft.anchor() != *slot) else {
            continue;
        };
        let pulled: Vec<UnitId> = draft.pulled_in_by(slot).map(|(slot, _)| draft.job(slot).unit).collect();
        draft.remove(slot);
        next.extend(pulled);
        next.push(unit);
    }
}

fn break_cycle(draft: &mut Draft, states: &impl UnitStates, found: order::CycleFound) -> Result<(), TransactionError> {
    let name = |(unit, kind): &(UnitId, JobType)| -> Link { (states.name(*unit).clone(), *kind) };
    let cycle: Vec<Link> = found.jobs.iter().map(name).collect();
    let Some(deleted) = found.expendable.and_then(|place| found.jobs.get(place)) else {
        return Err(TransactionError::OrderIsCyclic { cycle });
    };
    let slots: Vec<Slot> = draft.jobs_of(deleted.0).collect();
    for slot in slots {
        draft.remove_with_dependants(slot);
    }
    // Jobs that were merged pull in more than each of them did: what seemed expendable may have been the anchor's need.
    if !draft.is_alive(draft.anchor()) {
        return Err(TransactionError::OrderIsCyclic { cycle });
    }
    draft.notices.push(Notice::CycleBroken { cycle, deleted: name(deleted) });
    Ok(())
}

fn merge(draft: &mut Draft, states: &impl UnitStates, collect: bool) -> Result<(), TransactionError> {
    // What is dropped for one unit contradicts nothing at the units before it, so each is looked at once.
    for unit in draft.units() {
        while let Some((newer, older)) = contradiction(draft, unit) {
            let deleted = choose_deleted(draft, newer, older);
            let Some(deleted) = deleted else {
                let (one, other) = (draft.job(newer).kind, draft.job(older).kind);
                return Err(TransactionError::JobsConflicting { unit: states.name(unit).clone(), one, other });
            };
            let kept = if deleted == newer { older } else { newer };
            let (kept, kind) = (draft.job(kept).kind, draft.job(deleted).kind);
            draft.notices.push(Notice::ConflictSettled { unit: states.name(unit).clone(), kept, deleted: kind });
            draft.remove_with_dependants(deleted);
            if !draft.is_alive(draft.anchor()) {
                return Err(TransactionError::JobsConflicting {
                    unit: states.name(unit).clone(),
                    one: kept,
                    other: kind,
                });
            }
            if collect {
                drop_unneeded(draft);
            }
        }
    }
    for unit in draft.units() {
        let active = states.active(unit);
        let kinds = draft.jobs_of(unit).map(|slot| draft.job(slot).kind);
        let merged = kinds.map(Some).reduce(|one, two| one?.merge(two?, active)).flatten();
        if let Some(kind) = merged {
            draft.merge(unit, kind);
        }
    }
    Ok(())
}

/// Two jobs of a unit that contradict each other, the newer one first.
fn contradiction(draft: &Draft, unit: UnitId) -> Option<(Slot, Slot)> {
    let slots: Vec<Slot> = draft.jobs_of(unit).collect();
    slots.iter().enumerate().find_map(|(place, newer)| {
        let older =
            slots[place + 1..].iter().find(|older| draft.job(*newer).kind.conflicts_with(draft.job(**older).kind))?;
        Some((*newer, *older))
    })
}

/// Which of the two to drop: one that does not matter. When neither does, the stop goes, for up is better than down;
/// but not a stop that `Conflicts=` of another unit asks for.
fn choose_deleted(draft: &Draft, newer: Slot, older: Slot) -> Option<Slot> {
    let (matters, is_stop) = (|slot| draft.job(slot).matters, |slot| draft.job(slot).kind == JobType::Stop);
    match (matters(newer), matters(older)) {
        (true, true) => None,
        (false, true) => Some(newer),
        (true, false) => Some(older),
        (false, false) if is_stop(newer) => Some(if draft.is_conflicted_by(newer) { older } else { newer }),
        (false, false) if is_stop(older) => Some(if draft.is_conflicted_by(older) { newer } else { older }),
        (false, false) => Some(newer),
    }
}

fn check_destructive(
    draft: &Draft,
    states: &impl UnitStates,
    queue: &Queue,
    mode: JobMode,
) -> Result<(), TransactionError> {
    for slot in draft.slots() {
        let job = draft.job(slot);
        let Some(queued) = queue.job_of(job.unit) else { continue };
        if (mode == JobMode::Fail || queued.irreversible) && queued.kind.conflicts_with(job.kind) {
            let anchor = draft.job(draft.anchor());
            return Err(TransactionError::IsDestructive {
                anchor: (states.name(anchor.unit).clone(), anchor.kind),
                unit: states.name(job.unit).clone(),
                queued: queued.kind,
                planned: job.kind,
            });
        }
    }
    Ok(())
}
