// SPDX-License-Identifier: GPL-2.0-or-later
//! From a wish to a consistent set of jobs.
//!
//! ```text
//!   draft.rs     the jobs and who pulled in whom; taking one out takes out those that cannot do without it
//!   gather.rs    pull in what the wish needs, what it contradicts and what it is passed on to
//!   settle.rs    mark what matters; drop what is redundant, unneeded, contradicting; one job a unit
//!   order.rs     find cycles in the order and break them
//!   error.rs     why there is no transaction, and what is worth a word when there is one
//! ```
//!
//! In that order, as systemd does it (the header of each file tells the rules). Nothing outside the draft changes, so a
//! wish that cannot be granted leaves no trace, and [`plan`] may be called to see what would happen.

mod draft;
mod error;
mod gather;
mod order;
mod settle;

use ssi_unit::config::unit::JobMode;

use super::UnitStates;
use super::queue::Queue;
use super::types::{JobType, Request};
use crate::graph::{Graph, UnitId};
use draft::Draft;

pub use error::{Link, Notice, TransactionError};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Of which unit.
    pub unit: UnitId,
    /// What.
    pub request: Request,
    /// And what may happen to other jobs for it.
    pub mode: JobMode,
    /// A person or a program asked for it by name: units that only a dependency may start or stop refuse.
    pub manual: bool,
}

/// A job of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedJob {
    /// For which unit.
    pub unit: UnitId,
    /// What.
    pub kind: JobType,
    /// No later transaction may replace it.
    pub irreversible: bool,
    /// It runs at once, whatever other jobs there are.
    pub ignore_order: bool,
}

/// A transaction that can be installed: without contradictions in itself and to what is queued. Good for the queue as it
/// was when it was made, no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) anchor: PlannedJob,
    pub(super) mode: JobMode,
    /// What was passed over or dropped on the way: for the log.
    pub notices: Vec<Notice>,
}

impl Plan {
    /// Its jobs; one a unit.
    #[must_use]
    pub fn jobs(&self) -> &[PlannedJob] {
        &self.jobs
    }

    /// The job that was wished for.
    #[must_use]
    pub fn anchor(&self) -> PlannedJob {
        self.anchor
    }
}

/// Works out what has to happen for a wish.
///
/// # Errors
/// When it cannot be granted; nothing changed. [`TransactionError::unit`] is the unit that stands in the way: when its
/// file may have appeared since it was looked for, load it and ask again.
pub fn plan(graph: &Graph, states: &impl UnitStates, queue: &Queue, wish: Wish) -> Result<Plan, TransactionError> {
    let Wish { unit, request, mode, manual } = wish;
    let name = || states.name(unit).clone();
    if mode == JobMode::Isolate && request != Request::Start {
        return Err(TransactionError::IsolateIsForStart);
    }
    if mode == JobMode::Isolate && !states.allows_isolate(unit) {
        return Err(TransactionError::NoIsolation { unit: name() });
    }
    if mode == JobMode::Triggering && request != Request::Stop {
        return Err(TransactionError::TriggeringIsForStop);
    }
    if manual {
        check_manual(states, unit, request)?;
    }
    let kind = request.settle(states.active(unit));
    let ignore_order = mode == JobMode::IgnoreDependencies;
    let ignore_requirements = matches!(mode, JobMode::IgnoreDependencies | JobMode::IgnoreRequirements);
    let anchor = gather::Anchor { unit, kind, ignore_requirements, ignore_order };
    let mut draft = Draft::gather(graph, states, anchor, mode == JobMode::ReplaceIrreversibly)?;
    match mode {
        JobMode::Isolate => draft.gather_isolated(graph, states, queue),
        JobMode::Triggering => draft.gather_triggers(graph, states, queue, unit),
        _ => {}
    }
    settle::settle(draft, graph, states, queue, mode)
}

/// Works out the reloads that a reload of a unit is passed on to, for a unit that reads its configuration anew by itself.
/// The anchor does nothing.
///
/// # Errors
/// When the unit is not loaded, or the reloads contradict jobs that are queued.
pub fn plan_reload_of_others(
    graph: &Graph,
    states: &impl UnitStates,
    queue: &Queue,
    unit: UnitId,
    mode: JobMode,
) -> Result<Plan, TransactionError> {
    let ignore_order = mode == JobMode::IgnoreDependencies;
    let anchor = gather::Anchor { unit, kind: JobType::Nop, ignore_requirements: true, ignore_order: true };
    let mut draft = Draft::gather(graph, states, anchor, mode == JobMode::ReplaceIrreversibly)?;
    draft.gather_reloads(graph, states, unit, ignore_order);
    settle::settle(draft, graph, states, queue, mode)
}

/// Whether a person may ask for this.
fn check_manual(states: &impl UnitStates, unit: UnitId, request: Request) -> Result<(), TransactionError> {
    use ssi_unit::load::LoadState;
    let name = || states.name(unit).clone();
    let active = states.active(unit);
    let load_failed = !matches!(states.load(unit), Some(LoadState::Loaded | LoadState::Masked));
    if request == Request::Stop && load_failed && active == crate::core::state::ActiveState::Inactive {
        return Err(TransactionError::NotLoadedForStop { unit: name() });
    }
    let (starts, stops) = match request {
        Request::Start => (true, false),
        Request::Stop => (false, true),
        Request::Restart | Request::TryRestart => (true, true),
        Request::ReloadOrStart => (request.settle(active) == JobType::Start, false),
        Request::VerifyActive | Request::Reload | Request::TryReload | Request::Nop => (false, false),
    };
    if (starts && states.refuses_manual_start(unit)) || (stops && states.refuses_manual_stop(unit)) {
        return Err(TransactionError::OnlyByDependency { unit: name() });
    }
    Ok(())
}
