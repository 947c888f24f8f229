// SPDX-License-Identifier: GPL-2.0-or-later
//! What units ask of one another outside of jobs: when one comes or goes by itself, and for as long as one is up.
//!
//! | what is kept up | looked at when | and then |
//! | --- | --- | --- |
//! | `Requires=` of a unit that came up by itself | [`retroactive`] | its requirements start, what it conflicts with stops |
//! | `BindsTo=` of a unit that went away by itself | [`retroactive`] | what is bound to it stops |
//! | `StopWhenUnneeded=` | [`to_look_at`] → [`is_unneeded`] | it stops |
//! | `BindsTo=` | [`to_look_at`] → [`missing_bond`] | it stops |
//! | `Upholds=` | [`to_look_at`] → [`upholder`] | it starts |
//!
//! And before a unit starts, [`missing_at_start`] tells whether it may: a unit that is bound to one it is ordered after
//! does not start without it, whatever brought the start about.
//!
//! The last three of the table are questions about the state of things rather than about an event: what may have changed is looked at
//! again until it is as asked. Each look may start or stop the same unit over and over; the caller limits the rate, as it
//! does for `Restart=`.

use ssi_unit::config::unit::JobMode;
use ssi_unit::dependency::Atoms;

use super::UnitStates;
use super::queue::Queue;
use super::transaction::Wish;
use super::types::Request;
use crate::core::state::ActiveState;
use crate::graph::{Graph, UnitId};

fn wish(unit: UnitId, request: Request, mode: JobMode) -> Wish {
    Wish { unit, request, mode, manual: false }
}

/// What follows when a unit went from one state to another and no job wanted that
/// ([`Change::Unexpected`](super::Change::Unexpected)): a mount appeared that requires others, a device went.
///
/// A unit that came up while it should have waited for another one (`After=`) is past that; the other one is not started
/// any more.
#[must_use]
pub fn retroactive(
    graph: &Graph,
    states: &impl UnitStates,
    unit: UnitId,
    old: ActiveState,
    new: ActiveState,
) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut add = |atom: Atoms, request: Request, mode: JobMode, fits: &dyn Fn(UnitId) -> bool| {
        wishes.extend(graph.with(unit, atom).filter(|other| fits(*other)).map(|other| wish(other, request, mode)));
    };
    let startable = |other| !graph.has(unit, Atoms::AFTER, other) && !states.active(other).is_active_or_activating();
    let stoppable = |other| !states.active(other).is_inactive_or_deactivating();
    if old.is_inactive_or_failed() && new.is_active_or_activating() {
        add(Atoms::RETROACTIVE_START_REPLACE, Request::Start, JobMode::Replace, &startable);
        add(Atoms::RETROACTIVE_START_FAIL, Request::Start, JobMode::Fail, &startable);
        add(Atoms::RETROACTIVE_STOP_ON_START, Request::Stop, JobMode::Replace, &stoppable);
    } else if old.is_active_or_activating() && new.is_inactive_or_deactivating() {
        add(Atoms::RETROACTIVE_STOP_ON_STOP, Request::Stop, JobMode::Replace, &stoppable);
    }
    wishes
}

/// The units whose standing may have changed with a unit's state, the unit itself first.
#[must_use]
pub fn to_look_at(graph: &Graph, unit: UnitId, new: ActiveState) -> Vec<UnitId> {
    let mut atoms = Atoms::NONE;
    if new.is_inactive_or_failed() {
        atoms |= Atoms::QUEUE_STOP_WHEN_UNNEEDED | Atoms::QUEUE_CANNOT_BE_ACTIVE_WITHOUT;
    }
    if new.is_active_or_reloading() {
        atoms |= Atoms::QUEUE_START_WHEN_UPHELD;
    }
    std::iter::once(unit).chain(graph.with(unit, atoms)).collect()
}

/// What has to be done so that a unit stands as the units around it ask; `None`: it does. Units with a job are left alone
/// until that is over.
#[must_use]
pub fn look_at(graph: &Graph, states: &impl UnitStates, queue: &Queue, unit: UnitId) -> Option<Wish> {
    if missing_bond(graph, states, queue, unit).is_some() {
        Some(wish(unit, Request::Stop, JobMode::Replace))
    } else if upholder(graph, states, queue, unit).is_some() {
        Some(wish(unit, Request::Start, JobMode::Fail))
    } else if is_unneeded(graph, states, queue, unit) {
        Some(wish(unit, Request::Stop, JobMode::Fail))
    } else {
        None
    }
}

/// Whether the unit is up with `StopWhenUnneeded=`, and no unit that needs it is up, on its way, or about to be.
#[must_use]
pub fn is_unneeded(graph: &Graph, states: &impl UnitStates, queue: &Queue, unit: UnitId) -> bool {
    states.stops_when_unneeded(unit)
        && states.active(unit) == ActiveState::Active
        && queue.job_of(unit).is_none()
        && graph.with(unit, Atoms::PINS_STOP_WHEN_UNNEEDED).all(|other| {
            queue.job_of(other).is_none() && states.active(other).is_inactive_or_failed() && !states.will_restart(other)
        })
}

/// A unit that is down and that this one, which is up, must not be without.
#[must_use]
pub fn missing_bond(graph: &Graph, states: &impl UnitStates, queue: &Queue, unit: UnitId) -> Option<UnitId> {
    if states.active(unit) != ActiveState::Active || queue.job_of(unit).is_some() {
        return None;
    }
    graph
        .with(unit, Atoms::CANNOT_BE_ACTIVE_WITHOUT)
        .find(|other| queue.job_of(*other).is_none() && states.active(*other).is_inactive_or_failed())
}

/// A unit that this one is bound to and ordered after and that is not up: the start of this one is refused with
/// [`Reply::DependencyMissing`](super::Reply::DependencyMissing). To be asked when the start is about to be done; the
/// unit's conditions come later.
#[must_use]
pub fn missing_at_start(graph: &Graph, states: &impl UnitStates, unit: UnitId) -> Option<UnitId> {
    graph
        .with(unit, Atoms::CANNOT_BE_ACTIVE_WITHOUT)
        .find(|other| graph.has(unit, Atoms::AFTER, *other) && !states.active(*other).is_active_or_reloading())
}

/// A unit that is up and wants this one, which is down, to be up as well.
#[must_use]
pub fn upholder(graph: &Graph, states: &impl UnitStates, queue: &Queue, unit: UnitId) -> Option<UnitId> {
    if !states.active(unit).is_inactive_or_failed() || queue.job_of(unit).is_some() {
        return None;
    }
    graph
        .with(unit, Atoms::START_STEADILY)
        .find(|other| queue.job_of(*other).is_none() && states.active(*other).is_active_or_reloading())
}
