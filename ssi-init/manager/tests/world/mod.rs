// SPDX-License-Identifier: GPL-2.0-or-later
//! A small world of units to drive the job engine in: they come from unit files, and do at once what a job asks.
//!
//! How a unit behaves is read from its file, in a way that real systemd behaves alike:
//!
//! | in the file | what a start does |
//! | --- | --- |
//! | `Type=oneshot` with `ExecStart=…false` | fails |
//! | `Type=oneshot` with `/run/scene/` in `ExecStart=` | goes on until the unit is released |
//! | any condition | none holds: the start is skipped |
//! | a device | nothing; it comes by itself |
//!
//! `/run/scene/` in `ExecStop=` makes a stop go on likewise.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod scene;

use std::collections::{BTreeSet, HashMap, VecDeque};

use ssi_manager::core::state::ActiveState;
use ssi_manager::graph::{Graph, UnitId};
use ssi_manager::job::transaction::{self, Wish};
use ssi_manager::job::{
    Change, Event, JobMode, JobType, Notice, Plan, PlannedJob, Queue, Reply, Request, Task, TaskAct, TransactionError,
    UnitStates, upkeep,
};
use ssi_unit::config::manager::ManagerDefaults;
use ssi_unit::config::service::ServiceType;
use ssi_unit::config::{KindConfig, UnitConfig};
use ssi_unit::dependency::{Atoms, Dependency, Origins};
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::files::MemoryFiles;
use ssi_unit::implicit::{Subject, Surroundings, is_perpetual, orders_default_target, relations};
use ssi_unit::load::{LoadState, Loader, SearchPath};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::specifier::Host;

const FOLDER: &str = "/etc/systemd/system";

pub(crate) struct Row {
    pub(crate) name: UnitName,
    pub(crate) load: LoadState,
    pub(crate) config: UnitConfig,
    pub(crate) active: ActiveState,
    defaults: bool,
}

/// All units, by number.
pub(crate) struct Rows(pub(crate) Vec<Row>);

impl Rows {
    fn row(&self, unit: UnitId) -> &Row {
        &self.0[unit.index()]
    }
}

impl UnitStates for Rows {
    fn name(&self, unit: UnitId) -> &UnitName {
        &self.row(unit).name
    }
    fn active(&self, unit: UnitId) -> ActiveState {
        self.row(unit).active
    }
    fn load(&self, unit: UnitId) -> Option<LoadState> {
        Some(self.row(unit).load)
    }
    fn can_start(&self, unit: UnitId) -> bool {
        !matches!(self.row(unit).name.unit_type(), UnitType::Device | UnitType::Scope) && !self.is_perpetual(unit)
    }
    fn can_stop(&self, unit: UnitId) -> bool {
        self.row(unit).name.unit_type() != UnitType::Device && !self.is_perpetual(unit)
    }
    fn can_reload(&self, unit: UnitId) -> bool {
        matches!(&self.row(unit).config.kind, KindConfig::Service(service) if !service.exec_reload.is_empty())
    }
    fn is_perpetual(&self, unit: UnitId) -> bool {
        is_perpetual(&self.row(unit).name)
    }
    fn allows_isolate(&self, unit: UnitId) -> bool {
        self.row(unit).config.unit.allow_isolate
    }
    fn ignores_isolate(&self, unit: UnitId) -> bool {
        self.row(unit).config.unit.ignore_on_isolate || self.is_perpetual(unit)
    }
    fn refuses_manual_start(&self, unit: UnitId) -> bool {
        self.row(unit).config.unit.refuse_manual_start
    }
    fn refuses_manual_stop(&self, unit: UnitId) -> bool {
        self.row(unit).config.unit.refuse_manual_stop
    }
    fn job_timeout(&self, unit: UnitId) -> Option<u64> {
        self.row(unit).config.unit.job_timeout.map(|limit| limit.as_micros() as u64)
    }
    fn job_running_timeout(&self, unit: UnitId) -> Option<u64> {
        self.row(unit).config.unit.job_running_timeout.map(|limit| limit.as_micros() as u64)
    }
    fn stops_when_unneeded(&self, unit: UnitId) -> bool {
        self.row(unit).config.unit.stop_when_unneeded
    }
    fn will_restart(&self, _: UnitId) -> bool {
        false
    }
}

/// Units, their graph and their jobs.
pub(crate) struct World {
    loader: Loader<MemoryFiles>,
    pub(crate) graph: Graph,
    pub(crate) rows: Rows,
    pub(crate) ids: HashMap<UnitName, UnitId>,
    pub(crate) queue: Queue,
    pub(crate) now: u64,
    /// `unit/type/result` of each job that ended.
    pub(crate) ended: Vec<String>,
    /// `unit/act` of each task a unit was given.
    pub(crate) told: Vec<String>,
    pub(crate) notices: Vec<Notice>,
    wishes: VecDeque<Wish>,
    to_look_at: VecDeque<UnitId>,
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap_or_else(|error| panic!("{error}"))
}

fn mentions(commands: &[ExecCommand], text: &str) -> bool {
    commands.iter().any(|command| command.arguments.iter().any(|argument| argument.to_string_lossy().contains(text)))
}

impl World {
    /// A world of these files, `(name, text)`; all of the units are loaded, and those they name. An empty text masks.
    pub(crate) fn new<N: AsRef<str>, T: AsRef<str>>(files: impl IntoIterator<Item = (N, T)>) -> World {
        let mut memory = MemoryFiles::new();
        let mut names = BTreeSet::new();
        memory.directory(FOLDER);
        for (unit, text) in files {
            let path = format!("{FOLDER}/{}", unit.as_ref());
            if text.as_ref().trim().is_empty() {
                memory.link(path, "/dev/null");
            } else {
                memory.file(path, text.as_ref());
            }
            names.insert(name(unit.as_ref()));
        }
        let search = SearchPath::of([FOLDER]);
        let mut world = World {
            loader: Loader::new(memory, search, Host::default(), ManagerDefaults::default()),
            graph: Graph::new(),
            rows: Rows(Vec::new()),
            ids: HashMap::new(),
            queue: Queue::new(),
            now: 0,
            ended: Vec::new(),
            told: Vec::new(),
            notices: Vec::new(),
            wishes: VecDeque::new(),
            to_look_at: VecDeque::new(),
        };
        for unit in &names {
            world.load(unit);
        }
        world
    }

    /// The unit of this name, loaded with all it names if it was not.
    pub(crate) fn load(&mut self, unit: &UnitName) -> UnitId {
        let first = self.rows.0.len();
        let id = self.load_one(unit);
        let mut at = first;
        while at < self.rows.0.len() {
            let from = UnitId(at as u32);
            let row = &self.rows.0[at];
            let found = relations(Subject::from_file(&row.name, &row.config), &Surroundings::default());
            let folders: Vec<_> = self.loader.load(&row.name.clone()).folder_dependencies;
            self.rows.0[at].defaults = found.default_dependencies;
            for edge in found.edges {
                let to = self.load_one(&edge.to);
                self.graph.depend(from, edge.kind, to, edge.origins);
            }
            for (kind, to) in folders {
                let to = self.load_one(&to);
                self.graph.depend(from, kind, to, Origins::FILE);
            }
            at += 1;
        }
        for at in 0..self.rows.0.len() {
            self.order_default_targets(UnitId(at as u32));
        }
        id
    }

    fn order_default_targets(&mut self, target: UnitId) {
        let row = &self.rows.0[target.index()];
        if row.name.unit_type() != UnitType::Target {
            return;
        }
        let below: Vec<UnitId> = self.graph.with(target, Atoms::QUEUE_DEFAULT_TARGET).collect();
        for unit in below {
            let before_already = self.graph.has(target, Atoms::BEFORE, unit);
            let other = &self.rows.0[unit.index()];
            if orders_default_target(self.rows.0[target.index()].defaults, other.defaults, before_already) {
                self.graph.add(target, Dependency::After, unit, Origins::DEFAULT);
            }
        }
    }

    fn load_one(&mut self, unit: &UnitName) -> UnitId {
        if let Some(id) = self.ids.get(unit) {
            return *id;
        }
        let loaded = self.loader.load(unit);
        let id = self.graph.add_unit();
        assert_eq!(id.index(), self.rows.0.len());
        let slice = unit.unit_type() == UnitType::Slice;
        // Slices and devices need no file.
        let load = if slice && loaded.state == LoadState::NotFound { LoadState::Loaded } else { loaded.state };
        let active = if is_perpetual(unit) { ActiveState::Active } else { ActiveState::Inactive };
        self.rows.0.push(Row { name: unit.clone(), load, config: loaded.config, active, defaults: false });
        self.ids.insert(unit.clone(), id);
        id
    }

    pub(crate) fn id(&self, unit: &str) -> UnitId {
        *self.ids.get(&name(unit)).unwrap_or_else(|| panic!("there is no {unit}"))
    }

    pub(crate) fn active(&self, unit: &str) -> ActiveState {
        self.rows.active(self.id(unit))
    }

    /// What would happen.
    pub(crate) fn plan(&mut self, unit: &str, request: Request, mode: JobMode) -> Result<Plan, TransactionError> {
        let unit = self.load(&name(unit));
        let wish = Wish { unit, request, mode, manual: true };
        transaction::plan(&self.graph, &self.rows, &self.queue, wish)
    }

    /// Makes it happen, as far as jobs being there.
    pub(crate) fn wish(&mut self, unit: &str, request: Request, mode: JobMode) -> Result<Plan, TransactionError> {
        let plan = self.plan(unit, request, mode)?;
        self.install(&plan);
        Ok(plan)
    }

    fn install(&mut self, plan: &Plan) {
        self.notices.extend(plan.notices.iter().cloned());
        self.queue.install(&self.graph, &self.rows, plan, self.now);
        self.tell();
    }

    /// Runs until all that is left waits for somebody.
    pub(crate) fn drain(&mut self) {
        assert!(self.drain_at_most(100_000), "the units never come to rest: {:?}", self.ended);
    }

    /// Forgets what units still want of one another.
    pub(crate) fn forget_wishes(&mut self) {
        self.wishes.clear();
        self.to_look_at.clear();
    }

    /// The same for so many steps; whether that was enough.
    pub(crate) fn drain_at_most(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if let Some(task) = self.queue.next(&self.graph, &self.rows, self.now) {
                self.perform(task);
            } else if let Some(wish) = self.wishes.pop_front() {
                if let Ok(plan) = transaction::plan(&self.graph, &self.rows, &self.queue, wish) {
                    self.install(&plan);
                }
            } else if let Some(unit) = self.to_look_at.pop_front() {
                self.wishes.extend(upkeep::look_at(&self.graph, &self.rows, &self.queue, unit));
            } else {
                self.tell();
                return true;
            }
            self.tell();
        }
        false
    }

    fn perform(&mut self, task: Task) {
        let row = &self.rows.0[task.unit.index()];
        self.told.push(format!("{}/{:?}", row.name, task.act).to_lowercase());
        let oneshot = match &row.config.kind {
            KindConfig::Service(service) if service.service_type == ServiceType::Oneshot => Some(service),
            _ => None,
        };
        use ActiveState::*;
        let (through, reply): (&[ActiveState], Reply) = match (task.act, row.active) {
            (TaskAct::Start, Active | Reloading) => (&[], Reply::Already),
            (TaskAct::Start, Activating) => (&[], Reply::Underway),
            (TaskAct::Start, Deactivating) => (&[], Reply::NotYet),
            (TaskAct::Start, _) if row.name.unit_type() == UnitType::Device => (&[], Reply::NotApplicable),
            (TaskAct::Start, _) if upkeep::missing_at_start(&self.graph, &self.rows, task.unit).is_some() => {
                (&[], Reply::DependencyMissing)
            }
            (TaskAct::Start, _) if !row.config.unit.conditions.is_empty() => (&[], Reply::ConditionFailed),
            (TaskAct::Start, _) if !row.config.unit.asserts.is_empty() => (&[], Reply::AssertFailed),
            (TaskAct::Start, _) => match oneshot {
                None => (&[Active], Reply::Underway),
                Some(service) if mentions(&service.exec_start, "/run/scene/") => (&[Activating], Reply::Underway),
                Some(service) if mentions(&service.exec_start, "false") => (&[Activating, Failed], Reply::Underway),
                Some(service) if service.remain_after_exit => (&[Activating, Active], Reply::Underway),
                Some(_) => (&[Activating, Inactive], Reply::Underway),
            },
            (TaskAct::Stop, Inactive | Failed | Maintenance) => (&[], Reply::Already),
            (TaskAct::Stop, Deactivating) => (&[], Reply::Underway),
            (TaskAct::Stop, _) => match &row.config.kind {
                KindConfig::Device => (&[], Reply::NotApplicable),
                KindConfig::Service(service) if mentions(&service.exec_stop, "/run/scene/") && row.active == Active => {
                    (&[Deactivating], Reply::Underway)
                }
                _ => (&[Inactive], Reply::Underway),
            },
            (TaskAct::Reload, Active) => (&[Reloading, Active], Reply::Underway),
            (TaskAct::Reload, Reloading) => (&[], Reply::Underway),
            (TaskAct::Reload, Activating) => (&[], Reply::NotYet),
            (TaskAct::Reload, _) => (&[], Reply::Invalid),
        };
        for state in through {
            self.change(task.unit, *state);
        }
        self.queue.reply(&self.graph, &self.rows, task.job, reply);
        self.tell();
    }

    /// A unit goes on with what it was held in.
    pub(crate) fn release(&mut self, unit: &str) {
        let unit = self.id(unit);
        let row = &self.rows.0[unit.index()];
        let KindConfig::Service(service) = &row.config.kind else { panic!("{} is no service", row.name) };
        let next = match row.active {
            ActiveState::Activating if service.remain_after_exit => ActiveState::Active,
            ActiveState::Activating | ActiveState::Deactivating => ActiveState::Inactive,
            other => panic!("{} is {}, and not held in anything", row.name, other.word()),
        };
        self.change(unit, next);
    }

    /// A unit changes its state.
    pub(crate) fn change(&mut self, unit: UnitId, new: ActiveState) {
        let old = std::mem::replace(&mut self.rows.0[unit.index()].active, new);
        let change = self.queue.unit_changed(&self.graph, &self.rows, unit, false);
        if change == Change::Unexpected {
            self.wishes.extend(upkeep::retroactive(&self.graph, &self.rows, unit, old, new));
        }
        if old != new {
            if new == ActiveState::Failed {
                self.start_units_of(unit, Atoms::ON_FAILURE);
            }
            self.to_look_at.extend(upkeep::to_look_at(&self.graph, unit, new));
        }
        self.tell();
    }

    fn start_units_of(&mut self, unit: UnitId, atom: Atoms) {
        let mode = self.rows.row(unit).config.unit.on_failure_job_mode;
        let units: Vec<UnitId> = self.graph.with(unit, atom).collect();
        self.wishes.extend(units.into_iter().map(|unit| Wish { unit, request: Request::Start, mode, manual: false }));
    }

    /// Takes note of what the queue has to tell.
    pub(crate) fn tell(&mut self) {
        while let Some(event) = self.queue.pop_event() {
            match event {
                Event::Removed { unit, kind, result, .. } => {
                    self.ended.push(format!("{}/{kind}/{result}", self.rows.name(unit)));
                    // What was held back by the job may be due now.
                    self.to_look_at.push_back(unit);
                }
                Event::HalfDone { unit, .. } => self.ended.push(format!("{}/restart/done", self.rows.name(unit))),
                Event::StartOnFailure { unit } => self.start_units_of(unit, Atoms::ON_FAILURE),
                Event::New { .. } | Event::Changed { .. } => {}
            }
        }
    }

    /// `unit/type` of each job there is, by unit.
    pub(crate) fn queued(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.queue.jobs().map(|job| format!("{}/{}", self.rows.name(job.unit), job.kind)).collect();
        all.sort();
        all
    }

    /// `unit/type` of each job of a plan, by unit.
    pub(crate) fn planned(&self, plan: &Plan) -> Vec<String> {
        let mut all: Vec<String> =
            plan.jobs().iter().map(|job| format!("{}/{}", self.rows.name(job.unit), job.kind)).collect();
        all.sort();
        all
    }

    /// The same, as the jobs are once they are one with those that were queued.
    pub(crate) fn installed(&self, plan: &Plan) -> Vec<String> {
        let kind = |job: &PlannedJob| match self.queue.job_of(job.unit) {
            Some(queued) if job.kind != JobType::Nop => queued.kind,
            _ => job.kind,
        };
        plan.jobs().iter().map(|job| format!("{}/{}", self.rows.name(job.unit), kind(job))).collect()
    }
}
