// SPDX-License-Identifier: GPL-2.0-or-later
//! Pulling in all that follows from a wish.
//!
//! | a job | pulls in, for units that are | and without it |
//! | --- | --- | --- |
//! | start, restart | a start: `Requires=`, `BindsTo=` | fails |
//! | | a start: `Wants=`, `Upholds=` | goes on |
//! | | a check that it is up: `Requisite=` | fails |
//! | | a stop: `Conflicts=` | fails |
//! | | a stop: named by the other's `Conflicts=` | goes on |
//! | stop | a stop: `RequiredBy`, `BoundBy`, `ConsistsOf`, `PropagatesStopTo=` … | fails |
//! | restart | a restart of those that are up: the same, but `PropagatesStopTo=` | fails |
//! | reload | a reload of those that are up: `PropagatesReloadTo=` | goes on |
//!
//! A unit that cannot do what is asked of it by a dependency (stop the root slice) is passed over. Everything pulled in
//! pulls in in turn. When a wanted unit turns out to be unfit half-way (it requires a unit that is not there), what it
//! had already pulled in stays: that is systemd's way, and boot depends on it going on.
//!
//! The walk keeps its own stack: a chain of ten thousand units is no reason to overflow that of the process.

use ssi_unit::dependency::Atoms;
use ssi_unit::load::LoadState;

use super::super::UnitStates;
use super::super::queue::Queue;
use super::super::types::{JobType, Request};
use super::draft::{Draft, Slot};
use super::error::{Notice, TransactionError};
use crate::graph::{Graph, UnitId};

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) unit: UnitId,
    pub(super) kind: JobType,
    /// Pull in nothing.
    pub(super) ignore_requirements: bool,
    /// And do not wait for anything.
    pub(super) ignore_order: bool,
}

/// What becomes of a job when one that it pulls in cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    /// It cannot be had either.
    Fails,
    /// It goes on; the other unit being absent or masked is usual.
    GoesOn,
    /// It goes on, and somebody should look at it.
    GoesOnWithWord,
}

/// A job to pull in.
#[derive(Clone, Copy, Debug)]
struct Pulled {
    unit: UnitId,
    kind: JobType,
    conflicts: bool,
    without: Without,
}

impl Pulled {
    /// Whether the one that pulls it in cannot do without it, should it be dropped later.
    fn matters(&self) -> bool {
        self.without == Without::Fails
    }
}

/// A job whose dependencies are being pulled in.
struct Frame {
    slot: Slot,
    ahead: std::vec::IntoIter<Pulled>,
    /// What the job that pulled this one in does without it; unimportant for the first.
    without: Without,
}

impl Draft {
    /// Begins with the first job and everything that follows from it.
    pub(super) fn gather(
        graph: &Graph,
        states: &impl UnitStates,
        anchor: Anchor,
        irreversible: bool,
    ) -> Result<Draft, TransactionError> {
        check(states, anchor.unit, anchor.kind)?;
        let mut draft = Draft::new(anchor.unit, anchor.kind, anchor.ignore_order, irreversible);
        if !anchor.ignore_requirements {
            let ahead = follows(graph, states, anchor.unit, anchor.kind).into_iter();
            let first = Frame { slot: draft.anchor(), ahead, without: Without::Fails };
            draft.walk(graph, states, first, anchor.ignore_order)?;
        }
        Ok(draft)
    }

    /// Adds one job that the anchor pulls in, and everything that follows from it. When it cannot be had, the anchor goes
    /// on without.
    fn pull_in(&mut self, graph: &Graph, states: &impl UnitStates, pulled: Pulled, ignore_order: bool) {
        let slot = self.anchor();
        let only = Frame { slot, ahead: vec![pulled].into_iter(), without: Without::Fails };
        if let Err(error) = self.walk(graph, states, only, ignore_order) {
            self.note_ignored(states, slot, pulled.kind, error, false);
        }
    }

    fn walk(
        &mut self,
        graph: &Graph,
        states: &impl UnitStates,
        first: Frame,
        ignore_order: bool,
    ) -> Result<(), TransactionError> {
        let mut frames = vec![first];
        while let Some(frame) = frames.last_mut() {
            let by = frame.slot;
            let Some(pulled) = frame.ahead.next() else {
                frames.pop();
                continue;
            };
            match check(states, pulled.unit, pulled.kind) {
                Ok(()) => {
                    let (slot, new) = self.add(pulled.unit, pulled.kind, ignore_order);
                    self.link(by, slot, pulled.matters(), pulled.conflicts);
                    if new {
                        let ahead = follows(graph, states, pulled.unit, pulled.kind).into_iter();
                        frames.push(Frame { slot, ahead, without: pulled.without });
                    }
                }
                Err(error) => self.go_without(states, &mut frames, pulled, error)?,
            }
        }
        Ok(())
    }

    /// A job cannot be had: goes back to the one that does without it. An error when that is nobody.
    fn go_without(
        &mut self,
        states: &impl UnitStates,
        frames: &mut Vec<Frame>,
        pulled: Pulled,
        error: TransactionError,
    ) -> Result<(), TransactionError> {
        let (mut without, mut kind) = (pulled.without, pulled.kind);
        while without == Without::Fails {
            if matches!(error, TransactionError::JobTypeNotApplicable { .. }) {
                return Ok(());
            }
            match frames.pop() {
                Some(frame) if !frames.is_empty() => (without, kind) = (frame.without, self.job(frame.slot).kind),
                _ => return Err(error),
            }
        }
        let Some(frame) = frames.last() else { return Err(error) };
        let usual = without == Without::GoesOn
            && matches!(
                error,
                TransactionError::NoSuchUnit { .. }
                    | TransactionError::Masked { .. }
                    | TransactionError::JobTypeNotApplicable { .. }
            );
        self.note_ignored(states, frame.slot, kind, error, usual);
        Ok(())
    }

    fn note_ignored(
        &mut self,
        states: &impl UnitStates,
        by: Slot,
        kind: JobType,
        error: TransactionError,
        usual: bool,
    ) {
        let by = states.name(self.job(by).unit).clone();
        self.notices.push(Notice::Ignored { by, kind, error: Box::new(error), usual });
    }

    /// Passes a reload of `unit` on, from the anchor.
    pub(super) fn gather_reloads(&mut self, graph: &Graph, states: &impl UnitStates, unit: UnitId, ignore_order: bool) {
        for pulled in reloads(graph, states, unit) {
            self.pull_in(graph, states, pulled, ignore_order);
        }
    }

    /// Adds a stop for each unit that isolation does not leave alone: that is up or has a job, is not in the transaction
    /// yet, and is not triggered by a unit that stays.
    ///
    /// Which triggering units stay is settled before the first stop is added. (systemd looks at what is listed at that
    /// moment, stops among them, so that a service may survive its socket, or not, by the order of a hash table.)
    pub(super) fn gather_isolated(&mut self, graph: &Graph, states: &impl UnitStates, queue: &Queue) {
        let at_rest = |unit| states.active(unit).is_inactive_or_failed() && queue.job_of(unit).is_none();
        let chosen: Vec<UnitId> = graph
            .units()
            .filter(|unit| !at_rest(*unit) && !states.ignores_isolate(*unit) && self.head(*unit).is_none())
            .filter(|unit| {
                !graph.with(*unit, Atoms::TRIGGERED_BY).any(|trigger| {
                    states.ignores_isolate(trigger)
                        || self.head(trigger).is_some_and(|slot| self.job(slot).kind != JobType::Stop)
                })
            })
            .collect();
        self.gather_stops(graph, states, chosen);
    }

    /// Adds a stop for each unit that triggers `unit` and is up or has a job.
    pub(super) fn gather_triggers(&mut self, graph: &Graph, states: &impl UnitStates, queue: &Queue, unit: UnitId) {
        let chosen: Vec<UnitId> = graph
            .with(unit, Atoms::TRIGGERED_BY)
            .filter(|unit| !states.active(*unit).is_inactive_or_failed() || queue.job_of(*unit).is_some())
            .collect();
        self.gather_stops(graph, states, chosen);
    }

    fn gather_stops(&mut self, graph: &Graph, states: &impl UnitStates, chosen: Vec<UnitId>) {
        for unit in chosen {
            // The stop of one chosen before may have brought it in.
            if self.head(unit).is_some() {
                continue;
            }
            // The anchor goes on without it; but once it is in, it matters.
            if let Err(error) = check(states, unit, JobType::Stop) {
                self.note_ignored(states, self.anchor(), JobType::Stop, error, false);
                continue;
            }
            let pulled = Pulled { unit, kind: JobType::Stop, conflicts: false, without: Without::Fails };
            self.pull_in(graph, states, pulled, false);
        }
    }
}

/// Whether there can be such a job.
fn check(states: &impl UnitStates, unit: UnitId, kind: JobType) -> Result<(), TransactionError> {
    let name = || states.name(unit).clone();
    let Some(load) = states.load(unit) else {
        return Err(TransactionError::NotLoaded { unit: name() });
    };
    if kind != JobType::Stop {
        match load {
            LoadState::Loaded => {}
            LoadState::NotFound => return Err(TransactionError::NoSuchUnit { unit: name() }),
            LoadState::BadSetting => return Err(TransactionError::BadUnitSetting { unit: name() }),
            LoadState::Error => return Err(TransactionError::LoadFailed { unit: name() }),
            LoadState::Masked => return Err(TransactionError::Masked { unit: name() }),
        }
    }
    let applicable = match kind {
        // A unit that no job can start may still come up by itself, and somebody may want to wait for that.
        JobType::Start | JobType::VerifyActive | JobType::Nop => true,
        JobType::Stop => !states.is_perpetual(unit),
        JobType::Restart => states.can_stop(unit) && states.can_start(unit),
        JobType::Reload => states.can_reload(unit),
    };
    if applicable { Ok(()) } else { Err(TransactionError::JobTypeNotApplicable { unit: name(), kind }) }
}

/// What a job pulls in, in the order it does.
fn follows(graph: &Graph, states: &impl UnitStates, unit: UnitId, kind: JobType) -> Vec<Pulled> {
    let mut all = Vec::new();
    if kind == JobType::Nop {
        return all;
    }
    let mut add = |atom: Atoms, kind: JobType, conflicts: bool, without: Without| {
        all.extend(graph.with(unit, atom).map(|unit| Pulled { unit, kind, conflicts, without }));
    };
    if matches!(kind, JobType::Start | JobType::Restart) {
        add(Atoms::PULL_IN_START, JobType::Start, false, Without::Fails);
        add(Atoms::PULL_IN_START_IGNORED, JobType::Start, false, Without::GoesOn);
        add(Atoms::PULL_IN_VERIFY, JobType::VerifyActive, false, Without::Fails);
        add(Atoms::PULL_IN_STOP, JobType::Stop, true, Without::Fails);
        add(Atoms::PULL_IN_STOP_IGNORED, JobType::Stop, false, Without::GoesOnWithWord);
    }
    match kind {
        JobType::Stop => add(Atoms::PROPAGATE_STOP, JobType::Stop, false, Without::Fails),
        JobType::Restart => {
            let up = graph.with(unit, Atoms::PROPAGATE_RESTART).filter_map(|unit| {
                let kind = Request::TryRestart.settle(states.active(unit));
                (kind != JobType::Nop).then_some(Pulled { unit, kind, conflicts: false, without: Without::Fails })
            });
            all.extend(up);
        }
        JobType::Reload => all.extend(reloads(graph, states, unit)),
        JobType::Start | JobType::VerifyActive | JobType::Nop => {}
    }
    let followers = states.followers(unit).into_iter();
    let followers = followers.map(|unit| Pulled { unit, kind, conflicts: false, without: Without::GoesOnWithWord });
    all.splice(0..0, followers);
    all
}

/// The reloads that a reload of a unit is passed on to.
fn reloads<'a>(graph: &'a Graph, states: &'a impl UnitStates, unit: UnitId) -> impl Iterator<Item = Pulled> + 'a {
    graph.with(unit, Atoms::PROPAGATES_RELOAD_TO).filter_map(|unit| {
        let kind = Request::TryReload.settle(states.active(unit));
        let pulled = Pulled { unit, kind, conflicts: false, without: Without::GoesOnWithWord };
        (kind != JobType::Nop).then_some(pulled)
    })
}
