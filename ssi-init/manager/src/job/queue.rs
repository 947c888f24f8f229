// SPDX-License-Identifier: GPL-2.0-or-later
//! The jobs there are: which may run, what comes of them, and who is told.
//!
//! ```text
//!   install(plan) ─▶ waiting ──next()──▶ running ──reply(), unit_changed(), expire(), cancel()──▶ removed
//!                      ▲  ▲                │ │                                                       │
//!                      │  └──── not yet ───┘ └─ a restart that took its unit down becomes a start    │
//!                      └──────────────── those that waited for it are looked at again ◀──────────────┘
//! ```
//!
//! A job may run when no other job has to go before it ([`JobType::order`], by `Before=` and `After=`). Of those that may,
//! the one of the unit type that is quickest goes first (scopes, slices, paths … services last), then the one of the
//! heavier unit, see systemd.resource-control(5) `CPUWeight=`.
//!
//! When a start does not end well, the starts of units that require it end with the result `dependency`, and so on; when
//! a stop does not, the starts that wait for it because of `Conflicts=`.
//!
//! Everything that others are to be told comes out as [`Event`]s in order. The caller drains them when the call returns;
//! the queue starts nothing by itself, `OnFailure=` units included.
//!
//! Times are microseconds of the monotonic clock.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};
use ssi_unit::config::unit::JobMode;
use ssi_unit::dependency::Atoms;
use ssi_unit::name::{UnitName, UnitType};

use super::UnitStates;
use super::transaction::{Plan, PlannedJob};
use super::types::{JobResult, JobState, JobType, Side};
use crate::core::state::ActiveState;
use crate::graph::{Graph, UnitId};

/// A job's number: never 0, and not used again before four thousand million others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its unit.
    pub unit: UnitId,
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
    /// When it ends with the result `timeout`.
    pub deadline: Option<u64>,
    /// It is among those to be looked at by [`Queue::next`].
    pub(super) queued: bool,
}

/// What a unit is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskAct {
    /// Come up.
    Start,
    /// Go down.
    Stop,
    /// Read its configuration anew.
    Reload,
}

/// A job that runs now: the unit is to be told, and what it says goes to [`Queue::reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The job.
    pub job: JobId,
    /// Its unit.
    pub unit: UnitId,
    /// What to tell it.
    pub act: TaskAct,
}

/// What came of telling a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It is at it; its state will tell.
    Underway,
    /// It cannot just now: it is on its way elsewhere. The job waits for the unit's next change.
    NotYet,
    /// It is as wanted already.
    Already,
    /// Its conditions do not hold: it stays down, and the job is done.
    ConditionFailed,
    /// It knows of no such thing. A start or a stop then waits for the unit to come or go by itself.
    NotApplicable,
    /// Its files are not fit for it.
    Invalid,
    /// An assertion does not hold.
    AssertFailed,
    /// Units of this type do not work on this machine.
    Unsupported,
    /// Something it must not be without is not there.
    DependencyMissing,
    /// It starts only once, and did.
    OnlyOnce,
    /// It could not.
    Failed,
}

/// Whether a unit's change of state was a job's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job wanted it, or is fine with it.
    Expected,
    /// It happened without a job, or against it: see [`super::upkeep::retroactive`].
    Unexpected,
}

/// What somebody may have to be told, or has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a new job (`JobNew`).
    New {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
    },
    /// A job has another state or kind.
    Changed {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
    },
    /// The first half of a restart is done; the job goes on as a start.
    HalfDone {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
        /// The unit was down before.
        already: bool,
    },
    /// A job is over (`JobRemoved`). What triggers the unit wants to know, too.
    Removed {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
        /// What it did at last.
        kind: JobType,
        /// How it ended.
        result: JobResult,
        /// It did nothing with the unit: no word about it in the log.
        already: bool,
    },
    /// A job timed out or missed a dependency: the units of `OnFailure=` are to be started. (When the unit fails itself,
    /// its state tells.)
    StartOnFailure {
        /// The unit whose `OnFailure=` it is.
        unit: UnitId,
    },
}

/// Where a job stands among those that may run.
type Turn = (Reverse<UnitType>, Reverse<u64>, i32, UnitName, JobId);

/// All jobs.
#[derive(Clone, Debug)]
pub struct Queue {
    jobs: BTreeMap<JobId, Job>,
    of_unit: HashMap<UnitId, JobId>,
    /// Jobs that do nothing have a place of their own.
    nop_of_unit: HashMap<UnitId, JobId>,
    /// Jobs to be looked at, the most urgent first. Those that are over by then are passed over.
    turns: BTreeSet<Turn>,
    deadlines: BTreeSet<(u64, JobId)>,
    /// Jobs of devices that may be waiting for nobody's sake.
    collectable: BTreeSet<JobId>,
    events: VecDeque<Event>,
    last_id: u32,
    installed: u64,
    failed: u64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue::new()
    }
}

impl Queue {
    /// One without jobs.
    #[must_use]
    pub fn new() -> Queue {
        Queue {
            jobs: BTreeMap::new(),
            of_unit: HashMap::new(),
            nop_of_unit: HashMap::new(),
            turns: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            collectable: BTreeSet::new(),
            events: VecDeque::new(),
            last_id: 0,
            installed: 0,
            failed: 0,
        }
    }

    /// A job.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// A unit's job; not one that does nothing.
    #[must_use]
    pub fn job_of(&self, unit: UnitId) -> Option<&Job> {
        self.jobs.get(self.of_unit.get(&unit)?)
    }

    /// A unit's job that does nothing.
    #[must_use]
    pub fn nop_of(&self, unit: UnitId) -> Option<&Job> {
        self.jobs.get(self.nop_of_unit.get(&unit)?)
    }

    /// All jobs, the oldest number first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// How many jobs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many jobs run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.jobs.values().filter(|job| job.state == JobState::Running).count()
    }

    /// How many jobs there ever were (`NInstalledJobs`).
    #[must_use]
    pub fn installed_ever(&self) -> u64 {
        self.installed
    }

    /// How many of them failed (`NFailedJobs`).
    #[must_use]
    pub fn failed_ever(&self) -> u64 {
        self.failed
    }

    /// The oldest thing that was not told yet.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // ---- jobs come in -------------------------------------------------------------------------------------------

    /// Makes jobs of a plan; those it contradicts are canceled, those it agrees with become one with it. The numbers of
    /// the jobs, the anchor's first.
    pub fn install(&mut self, graph: &Graph, states: &impl UnitStates, plan: &Plan, now: u64) -> Vec<JobId> {
        if matches!(plan.mode, JobMode::Isolate | JobMode::Flush) {
            let planned: BTreeSet<UnitId> = plan.jobs.iter().map(|job| job.unit).collect();
            let strangers: Vec<JobId> = self
                .jobs
                .values()
                .filter(|job| !planned.contains(&job.unit) && !states.ignores_isolate(job.unit))
                .map(|job| job.id)
                .collect();
            for job in strangers {
                self.finish(graph, states, job, JobResult::Canceled, Ending::ALONE);
            }
        }
        let mut ids = Vec::with_capacity(plan.jobs.len());
        for planned in &plan.jobs {
            let id = self.install_one(graph, states, planned, now);
            if *planned == plan.anchor {
                ids.insert(0, id);
            } else {
                ids.push(id);
            }
        }
        for id in &ids {
            self.enqueue(states, *id);
            self.offer_for_collection(states, *id);
        }
        // Who waited for a job that is out of the order now waits no more.
        for unit in plan.jobs.iter().filter(|job| job.ignore_order).map(|job| job.unit) {
            for other in graph.with(unit, Atoms::AFTER | Atoms::BEFORE) {
                if let Some(id) = self.of_unit.get(&other).copied() {
                    self.enqueue(states, id);
                }
            }
        }
        ids
    }

    fn install_one(&mut self, graph: &Graph, states: &impl UnitStates, planned: &PlannedJob, now: u64) -> JobId {
        let unit = planned.unit;
        let there = if planned.kind == JobType::Nop { self.nop_of(unit) } else { self.job_of(unit) };
        if let Some(there) = there {
            let id = there.id;
            if there.kind.conflicts_with(planned.kind) {
                self.finish(graph, states, id, JobResult::Canceled, Ending::ALONE);
            } else {
                self.merge_into(states, id, planned);
                self.arm(id, now, states.job_timeout(unit));
                return id;
            }
        }
        let id = self.next_id();
        let place = if planned.kind == JobType::Nop { &mut self.nop_of_unit } else { &mut self.of_unit };
        place.insert(unit, id);
        let job = Job {
            id,
            unit,
            kind: planned.kind,
            state: JobState::Waiting,
            irreversible: planned.irreversible,
            ignore_order: planned.ignore_order,
            installed_at: now,
            running_since: None,
            deadline: None,
            queued: false,
        };
        self.jobs.insert(id, job);
        self.installed += 1;
        self.events.push_back(Event::New { job: id, unit });
        self.arm(id, now, states.job_timeout(unit));
        id
    }

    /// Makes one job of one that is there and one that is planned.
    fn merge_into(&mut self, states: &impl UnitStates, id: JobId, planned: &PlannedJob) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // A reload that runs may have read the configuration before its last change: the new one has to run again. A
        // restart that runs has not started the unit yet, or it would be a start.
        let fits = job.state == JobState::Waiting || (planned.kind != JobType::Reload && job.kind.covers(planned.kind));
        let before = (job.kind, job.state);
        if let Some(kind) = job.kind.merge(planned.kind, states.active(job.unit)) {
            job.kind = kind;
        }
        job.irreversible |= planned.irreversible;
        job.ignore_order |= planned.ignore_order;
        if !fits {
            job.state = JobState::Waiting;
        }
        if before != (job.kind, job.state) {
            self.events.push_back(Event::Changed { job: id, unit: job.unit });
        }
    }

    fn next_id(&mut self) -> JobId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = JobId(self.last_id);
            if id.0 != 0 && !self.jobs.contains_key(&id) {
                return id;
            }
        }
    }

    // ---- jobs run ----------------------------------------------------------------------------------------------

    /// The next job that may run; it runs from now on. `None`: all others wait for a unit.
    pub fn next(&mut self, graph: &Graph, states: &impl UnitStates, now: u64) -> Option<Task> {
        while let Some((.., id)) = self.turns.pop_first() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.queued = false;
            let (unit, kind) = (job.unit, job.kind);
            if job.state != JobState::Waiting || self.blocker(graph, id).is_some() {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.state = JobState::Running;
            job.running_since = Some(now);
            self.events.push_back(Event::Changed { job: id, unit });
            self.arm(id, now, states.job_running_timeout(unit));
            let act = match kind {
                JobType::Start => TaskAct::Start,
                JobType::Stop | JobType::Restart => TaskAct::Stop,
                JobType::Reload => TaskAct::Reload,
                JobType::Nop => {
                    self.finish(graph, states, id, JobResult::Done, Ending::ALREADY);
                    continue;
                }
                JobType::VerifyActive => {
                    match states.active(unit) {
                        ActiveState::Active | ActiveState::Reloading => {
                            self.finish(graph, states, id, JobResult::Done, Ending::ALREADY);
                        }
                        ActiveState::Activating => self.wait_again(id),
                        _ => self.finish(graph, states, id, JobResult::Skipped, Ending::FULL),
                    }
                    continue;
                }
            };
            return Some(Task { job: id, unit, act });
        }
        None
    }

    /// A job that this one has to wait for, if there is one.
    #[must_use]
    pub fn blocker(&self, graph: &Graph, id: JobId) -> Option<JobId> {
        self.neighbours(graph, id, Ordering::Greater).next()
    }

    /// The jobs that have to end before this one may run (`GetBefore()` of the job's D-Bus object), by number.
    #[must_use]
    pub fn waits_for(&self, graph: &Graph, id: JobId) -> BTreeSet<JobId> {
        self.neighbours(graph, id, Ordering::Greater).collect()
    }

    /// The jobs that wait for this one (`GetAfter()`), by number.
    #[must_use]
    pub fn holds_up(&self, graph: &Graph, id: JobId) -> BTreeSet<JobId> {
        self.neighbours(graph, id, Ordering::Less).collect()
    }

    /// The jobs ordered like this to one: [`Ordering::Less`]: it goes before them.
    fn neighbours<'a>(&'a self, graph: &'a Graph, id: JobId, order: Ordering) -> impl Iterator<Item = JobId> + 'a {
        let job = self.jobs.get(&id).filter(|job| !job.ignore_order);
        let sides = [(Side::After, Atoms::AFTER), (Side::Before, Atoms::BEFORE)];
        job.into_iter().flat_map(move |job| {
            sides.into_iter().flat_map(move |(side, atom)| {
                graph
                    .with(job.unit, atom)
                    .filter_map(|unit| self.job_of(unit))
                    .filter(move |other| !other.ignore_order && job.kind.order(side, other.kind) == order)
                    .map(|other| other.id)
            })
        })
    }

    /// What came of a task. Of no effect when the job ended meanwhile.
    pub fn reply(&mut self, graph: &Graph, states: &impl UnitStates, id: JobId, reply: Reply) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.state == JobState::Running) else { return };
        let (result, ending) = match reply {
            Reply::Underway => return,
            Reply::NotYet => return self.wait_again(id),
            Reply::NotApplicable if job.kind != JobType::Reload => return,
            Reply::NotApplicable => (JobResult::Skipped, Ending::FULL),
            Reply::Already => (JobResult::Done, Ending::ALREADY),
            Reply::ConditionFailed => (JobResult::Done, Ending::FULL),
            Reply::Invalid => (JobResult::Invalid, Ending::FULL),
            Reply::AssertFailed => (JobResult::Assert, Ending::FULL),
            Reply::Unsupported => (JobResult::Unsupported, Ending::FULL),
            Reply::DependencyMissing => (JobResult::Dependency, Ending::FULL),
            Reply::OnlyOnce => (JobResult::Once, Ending::FULL),
            Reply::Failed => (JobResult::Failed, Ending::FULL),
        };
        self.finish(graph, states, id, result, ending);
    }

    /// A unit changed its state; [`UnitStates::active`] tells the new one. `reload_failed`: it is back from a reload that
    /// did not work.
    ///
    /// Call it after each change, also one of the fine state only: a job that could not run may be able to now.
    pub fn unit_changed(
        &mut self,
        graph: &Graph,
        states: &impl UnitStates,
        unit: UnitId,
        reload_failed: bool,
    ) -> Change {
        let Some(job) = self.job_of(unit) else { return Change::Unexpected };
        let (id, running) = (job.id, job.state == JobState::Running);
        let active = states.active(unit);
        let down = active.is_inactive_or_failed();
        let fell = if active == ActiveState::Failed { JobResult::Failed } else { JobResult::Done };
        // What the state means for the job, and whether the job meant it.
        let (result, change) = match job.kind {
            JobType::Start | JobType::VerifyActive if active.is_active_or_reloading() => {
                (Some(JobResult::Done), Change::Expected)
            }
            JobType::Start | JobType::VerifyActive if running && active != ActiveState::Activating => {
                (down.then_some(fell), Change::Unexpected)
            }
            JobType::Reload if running && active == ActiveState::Active => {
                let result = if reload_failed { JobResult::Failed } else { JobResult::Done };
                (Some(result), Change::Expected)
            }
            JobType::Reload if running && !matches!(active, ActiveState::Activating | ActiveState::Reloading) => {
                (down.then_some(fell), Change::Unexpected)
            }
            JobType::Stop | JobType::Restart if down => (Some(JobResult::Done), Change::Expected),
            JobType::Stop | JobType::Restart if running && active != ActiveState::Deactivating => {
                (Some(JobResult::Failed), Change::Unexpected)
            }
            _ => (None, Change::Expected),
        };
        if !running {
            self.enqueue(states, id);
        }
        if let Some(result) = result {
            self.finish(graph, states, id, result, Ending::FULL);
        }
        change
    }

    fn wait_again(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = JobState::Waiting;
            self.events.push_back(Event::Changed { job: id, unit: job.unit });
        }
    }

    /// Has a job looked at by [`Queue::next`].
    pub(super) fn enqueue(&mut self, states: &impl UnitStates, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if std::mem::replace(&mut job.queued, true) {
            return;
        }
        let name = states.name(job.unit).clone();
        let (weight, nice) = (states.cpu_weight(job.unit), states.nice(job.unit));
        self.turns.insert((Reverse(name.unit_type()), Reverse(weight), nice, name, id));
    }

    // ---- jobs end ----------------------------------------------------------------------------------------------

    /// Takes a job back, because somebody asked for that. Whether there was one.
    pub fn cancel(&mut self, graph: &Graph, states: &impl UnitStates, id: JobId) -> bool {
        let there = self.jobs.contains_key(&id);
        self.finish(graph, states, id, JobResult::Canceled, Ending::FULL);
        there
    }

    /// Takes all jobs back; nothing follows from it.
    pub fn cancel_all(&mut self, graph: &Graph, states: &impl UnitStates) {
        while let Some(id) = self.jobs.keys().next().copied() {
            self.finish(graph, states, id, JobResult::Canceled, Ending::ALONE);
        }
    }

    /// When the next job times out.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends the jobs whose time is over. Their units, for `JobTimeoutAction=`.
    pub fn expire(&mut self, graph: &Graph, states: &impl UnitStates, now: u64) -> Vec<UnitId> {
        let mut units = Vec::new();
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            // That the job ends takes its deadline out; this is for a job that is not there.
            self.deadlines.remove(&(at, id));
            if let Some(job) = self.jobs.get(&id) {
                units.push(job.unit);
                self.finish(graph, states, id, JobResult::Timeout, Ending::FULL);
            }
        }
        units
    }

    /// Ends the jobs that nothing waits for: of devices, which do nothing for them. `watched` are those that a client
    /// waits for.
    pub fn collect(&mut self, graph: &Graph, states: &impl UnitStates, watched: impl Fn(JobId) -> bool) {
        while let Some(id) = self.collectable.pop_first() {
            // One that is kept for a job behind it is offered again when that ends.
            if self.jobs.contains_key(&id)
                && !watched(id)
                && self.neighbours(graph, id, Ordering::Less).next().is_none()
            {
                self.finish(graph, states, id, JobResult::Collected, Ending::ALONE);
            }
        }
    }

    /// Has [`Queue::collect`] look at a job again: a client that waited for it is gone.
    pub fn offer_for_collection(&mut self, states: &impl UnitStates, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.kind != JobType::Nop && states.name(job.unit).unit_type() == UnitType::Device {
            self.collectable.insert(id);
        }
    }

    /// Ends a job, and what follows from that, in the order systemd tells it: first the job itself, then each that depends
    /// on it with all that follows from its end, then `OnFailure=`, then those that waited.
    fn finish(&mut self, graph: &Graph, states: &impl UnitStates, id: JobId, result: JobResult, ending: Ending) {
        enum Step {
            /// Ends the start of this unit for the lack of a dependency.
            FailStart(UnitId),
            /// What is left to do once the dependants are through.
            Close(UnitId, Option<JobResult>),
        }
        let mut steps = Vec::new();
        let mut ends = Some((id, result, ending));
        loop {
            if let Some((id, result, ending)) = ends.take()
                && let Some(job) = self.jobs.get(&id)
            {
                let (unit, kind) = (job.unit, job.kind);
                if result == JobResult::Done && kind == JobType::Restart {
                    self.go_on_as_start(states, id, ending);
                    steps.push(Step::Close(unit, None));
                } else {
                    self.remove(id, result, ending.already);
                    steps.push(Step::Close(unit, Some(result)));
                    if ending.recursive {
                        let lost = starts_lost(kind, result, states.active(unit));
                        let from = steps.len();
                        steps.extend(graph.with(unit, lost).map(Step::FailStart));
                        steps[from..].reverse();
                    }
                }
            }
            match steps.pop() {
                None => break,
                Some(Step::FailStart(unit)) => {
                    ends = self
                        .job_of(unit)
                        .filter(|job| matches!(job.kind, JobType::Start | JobType::VerifyActive))
                        .map(|job| (job.id, JobResult::Dependency, Ending::FULL));
                }
                Some(Step::Close(unit, result)) => {
                    if matches!(result, Some(JobResult::Timeout | JobResult::Dependency)) {
                        self.events.push_back(Event::StartOnFailure { unit });
                    }
                    for other in graph.with(unit, Atoms::AFTER | Atoms::BEFORE) {
                        if let Some(id) = self.of_unit.get(&other).copied() {
                            self.enqueue(states, id);
                            self.offer_for_collection(states, id);
                        }
                    }
                }
            }
        }
    }

    /// A restart took its unit down: the rest of it is a start.
    fn go_on_as_start(&mut self, states: &impl UnitStates, id: JobId, ending: Ending) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.kind = JobType::Start;
        job.state = JobState::Waiting;
        let unit = job.unit;
        self.events.push_back(Event::HalfDone { job: id, unit, already: ending.already });
        self.events.push_back(Event::Changed { job: id, unit });
        self.enqueue(states, id);
        self.offer_for_collection(states, id);
    }

    fn remove(&mut self, id: JobId, result: JobResult, already: bool) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let (unit, kind) = (job.unit, job.kind);
        let place = if kind == JobType::Nop { &mut self.nop_of_unit } else { &mut self.of_unit };
        place.remove(&unit);
        if let Some(at) = job.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.collectable.remove(&id);
        if matches!(result, JobResult::Failed | JobResult::Invalid) {
            self.failed += 1;
        }
        self.events.push_back(Event::Removed { job: id, unit, kind, result, already });
    }

    /// Gives a job so long from now, unless it has less than that already.
    fn arm(&mut self, id: JobId, now: u64, limit: Option<u64>) {
        let (Some(job), Some(limit)) = (self.jobs.get_mut(&id), limit) else { return };
        // The limit from installation on is never put off; the one for running may come first.
        let at = now.saturating_add(limit);
        match job.deadline {
            Some(old) if old <= at => return,
            Some(old) => {
                self.deadlines.remove(&(old, id));
            }
            None => {}
        }
        job.deadline = Some(at);
        self.deadlines.insert((at, id));
    }

    // ---- jobs outlive the manager -----------------------------------------------------------------------------

    /// The counters, for a snapshot: the last number given, jobs ever installed, jobs ever failed.
    pub(super) fn counters(&self) -> (u32, u64, u64) {
        (self.last_id, self.installed, self.failed)
    }

    /// Sets the counters, from a snapshot.
    pub(super) fn set_counters(&mut self, (last_id, installed, failed): (u32, u64, u64)) {
        (self.last_id, self.installed, self.failed) = (last_id, installed, failed);
    }

    /// Puts a job back where it was. Whether its place and its number were free.
    pub(super) fn put_back(&mut self, states: &impl UnitStates, job: Job) -> bool {
        let (id, unit) = (job.id, job.unit);
        let place = if job.kind == JobType::Nop { &mut self.nop_of_unit } else { &mut self.of_unit };
        if id.0 == 0 || self.jobs.contains_key(&id) || place.contains_key(&unit) {
            return false;
        }
        place.insert(unit, id);
        if let Some(at) = job.deadline {
            self.deadlines.insert((at, id));
        }
        let waiting = job.state == JobState::Waiting;
        self.jobs.insert(id, job);
        if waiting {
            self.enqueue(states, id);
        }
        self.offer_for_collection(states, id);
        true
    }
}

/// What follows from the end of a job.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// The starts that depend on it end as well.
    recursive: bool,
    /// The job did nothing with the unit.
    already: bool,
}

impl Ending {
    const FULL: Ending = Ending { recursive: true, already: false };
    const ALREADY: Ending = Ending { recursive: true, already: true };
    const ALONE: Ending = Ending { recursive: false, already: false };
}

/// Whose starts are lost with a job that ends like this, with its unit in this state.
fn starts_lost(kind: JobType, result: JobResult, active: ActiveState) -> Atoms {
    match (kind, result) {
        // A start may be done and the unit down: a one-shot that is through, a condition that does not hold. Enough for
        // `Requires=`, not for `Requisite=`, whose check became one with this job.
        (JobType::Start | JobType::Reload, JobResult::Done) if !active.is_active_or_reloading() => {
            Atoms::PROPAGATE_INACTIVE_START_AS_FAILURE
        }
        (_, JobResult::Done) => Atoms::NONE,
        (JobType::Start | JobType::VerifyActive, _) => Atoms::PROPAGATE_START_FAILURE,
        (JobType::Stop, _) => Atoms::PROPAGATE_STOP_FAILURE,
        _ => Atoms::NONE,
    }
}
