// SPDX-License-Identifier: GPL-2.0-or-later
//! The units themselves: events come in, acts go out through [`system::System`], and nothing else happens.
//!
//! ```text
//!   Event ──▶ Core::handle ──▶ the unit it is about ──▶ a function of its kind (service.rs, socket.rs, …)
//!                                                          │ enters a state
//!                                                          ▼
//!                                             Core::state_changed (changes.rs): its job, units that hang on it
//!                                                          │
//!   Core::settle (turn.rs) ◀──────────────────────────────┘
//!     loads what was named, runs jobs that may run, looks after what is bound or unneeded, until all is quiet
//!                                                          │
//!                          Core::take_outgoing ◀──────────┘  what clients, and the machine, are to be told
//! ```
//!
//! | file | subject |
//! | --- | --- |
//! | `table.rs`, `unit.rs`, `state.rs` | what a unit is here |
//! | `load.rs` | from a name to a unit with its edges; `daemon-reload` |
//! | `turn.rs` | jobs run; conditions, assertions, start limits |
//! | `changes.rs` | what follows from a change of state |
//! | `groups.rs` | control groups: which is whose |
//! | `deadlines.rs` | what is due when |
//! | `cluster/` | units that the cluster places |
//! | `kinds.rs`, then `service.rs` … | what each type of unit does |
//! | `exec.rs`, `kill.rs` | processes: how they start, how they end |
//! | `system.rs` | all that acts |
//! | `entry.rs` | every way in, as a value |

pub mod automount;
mod changes;
pub mod cluster;
pub mod commands;
pub mod deadlines;
pub mod device;
pub mod entry;
pub mod exec;
mod groups;
mod kill;
pub mod kinds;
mod load;
pub mod mount;
pub mod path;
mod properties_view;
pub mod saved;
pub mod scope;
pub mod service;
pub mod slice;
pub mod socket;
pub mod state;
pub mod swap;
pub mod system;
pub mod table;
mod takeover;
pub mod target;
pub mod timer;
mod turn;
pub mod unit;
mod view;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssi_unit::config::unit::EmergencyAction;
use ssi_unit::implicit::Surroundings;
use ssi_unit::name::UnitName;

use crate::graph::{Graph, UnitId};
use crate::job::{JobId, JobMode, JobResult, JobType, Queue, TransactionError, Wish};
pub use deadlines::{Deadline, Deadlines};
use entry::Entry;
pub use load::{FileLoads, Loads};
use system::{Clock, Exit, FdKey, Moment, Pid, Priority, System};
use table::Table;
use unit::Unit;

/// Something happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A process ended that PID 1 was the parent of.
    Exited {
        /// Which.
        pid: Pid,
        /// How.
        exit: Exit,
    },
    /// A started process runs its program now ([`exec::Start::wait_for_exec`]).
    Executed {
        /// Which.
        pid: Pid,
    },
    /// The last process of a control group, by its path below the root, is gone.
    GroupEmpty(String),
    /// The kernel killed for want of memory in a control group.
    OutOfMemory(String),
    /// A message came at the notification socket.
    Notified(service::Notification),
    /// The other end of a descriptor that a service has stored is gone: nothing comes of it any more.
    StoredGone(FdKey),
    /// Something changed where a service's PID file is to be.
    PidFileChanged(UnitName),
    /// There is something to read at a socket unit's descriptor, by one of its processes or a connection.
    Port {
        /// The unit.
        unit: UnitName,
        /// Which of its descriptors.
        port: FdKey,
    },
    /// Something changed at a path that a path unit watches.
    PathChanged(UnitName),
    /// The clock of the day was set, so that what goes by it is due at another time than it seemed.
    ClockSet,
    /// The machine's time zone is another one.
    TimeZoneChanged,
    /// Who looks at an automount waits.
    AutomountAsked {
        /// The unit.
        unit: UnitName,
        /// What the kernel asks for.
        ask: automount::Ask,
    },
    /// The kernel's table of mounts, whole.
    Mounts(Vec<mount::Mounted>),
    /// The kernel's table of swap areas, whole.
    Swaps(Vec<swap::InUse>),
    /// What udev knows of a device, or that it is gone.
    Device(device::DeviceChange),
    /// A name that a unit has as `BusName=` got an owner, or lost it.
    BusName {
        /// The name.
        name: String,
        /// The owner's process, where it is known.
        owner: Option<Pid>,
        /// Whether there is one.
        owned: bool,
    },
    /// Time passed: what is due is done.
    Tick,
}

/// What somebody is to be told, or to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// There is a new unit.
    UnitNew(UnitId),
    /// A unit is forgotten.
    UnitRemoved {
        /// Its name.
        name: UnitName,
    },
    /// Something about a unit changed.
    UnitChanged(UnitId),
    /// There is a new job.
    JobNew {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
    },
    /// A job's state changed.
    JobChanged {
        /// The job.
        job: JobId,
    },
    /// A job is over.
    JobRemoved {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitName,
        /// How it ended.
        result: JobResult,
    },
    /// What ssi-clusterd is to know changed ([`Core::cluster_says`]).
    ClusterSays,
    /// The machine, or the manager, is to end in some way.
    Action {
        /// Which.
        action: EmergencyAction,
        /// Why, for people.
        reason: String,
        /// Argument of a reboot.
        argument: Option<String>,
        /// Exit status, where the manager ends.
        status: Option<u8>,
    },
}

/// All units and what is going on with them.
pub struct Core {
    /// What acts.
    pub sys: Box<dyn System>,
    /// The units.
    pub table: Table,
    /// What they are to one another.
    pub graph: Graph,
    /// What is to be done with them.
    pub queue: Queue,
    loader: Box<dyn Loads>,
    /// What of the machine decides about edges.
    surroundings: Surroundings,
    deadlines: Deadlines,
    /// Whose process it is.
    watched: HashMap<Pid, UnitId>,
    /// Whose control group it is.
    groups: HashMap<String, UnitId>,
    /// Units that need the mounts of a path, by the path.
    mounts_for: HashMap<String, BTreeSet<UnitId>>,
    to_load: VecDeque<UnitId>,
    /// Units that have to be looked at: unneeded, bound to what is gone, upheld?
    to_look_at: BTreeSet<UnitId>,
    /// Units that may be forgotten.
    to_forget: BTreeSet<UnitId>,
    /// Units whose runtime is to be written down.
    dirty: BTreeSet<UnitId>,
    /// Names of units that were forgotten since it was last written down.
    forgotten: Vec<UnitName>,
    queue_dirty: bool,
    /// Units that the cluster places.
    cluster: cluster::Cluster,
    /// Jobs a client waits for: they are not collected.
    clients: HashMap<JobId, u32>,
    out: VecDeque<Outgoing>,
    /// Nothing is done before then, in monotonic microseconds: see [`Core::settle`].
    paused_until: Option<u64>,
    /// Whether the first transaction is through: jobs there are no longer those of the boot.
    pub finished_starting: bool,
    /// When this system's user space began.
    pub started: Moment,
    /// While states are put back or files read again nothing follows from a change.
    quiet: bool,
    /// How many functions of the core are under way, one inside of the other: see [`entry`].
    inside: u32,
    /// What of `started` and `finished_starting` was told to whom records.
    told_set: Option<(Moment, bool)>,
    /// Units that were changed from outside since the core was last entered.
    amended: BTreeSet<UnitId>,
}

/// Microseconds; more than 500,000 years are as good as for ever.
pub fn usec(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

impl Core {
    /// One without units.
    pub fn new(sys: Box<dyn System>, loader: Box<dyn Loads>, surroundings: Surroundings) -> Self {
        let started = sys.now();
        Self {
            sys,
            started,
            finished_starting: false,
            paused_until: None,
            table: Table::default(),
            graph: Graph::new(),
            queue: Queue::new(),
            loader,
            surroundings,
            deadlines: Deadlines::default(),
            watched: HashMap::new(),
            groups: HashMap::new(),
            mounts_for: HashMap::new(),
            to_load: VecDeque::new(),
            to_look_at: BTreeSet::new(),
            to_forget: BTreeSet::new(),
            dirty: BTreeSet::new(),
            forgotten: Vec::new(),
            queue_dirty: false,
            cluster: cluster::Cluster::default(),
            clients: HashMap::new(),
            out: VecDeque::new(),
            quiet: false,
            inside: 0,
            told_set: None,
            amended: BTreeSet::new(),
        }
    }

    /// Takes in what happened, and does all that follows from it now.
    pub fn handle(&mut self, event: Event) {
        self.enter(&Entry::Event(Cow::Borrowed(&event)));
        self.take_in(event);
        self.settle();
        self.leave();
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Exited { pid, exit } => self.exited(pid, exit),
            Event::Executed { pid } => {
                if let Some(id) = self.watched.get(&pid).copied() {
                    service::executed(self, id, pid);
                }
            }
            Event::GroupEmpty(group) => self.group_empty(&group),
            Event::OutOfMemory(group) => {
                if let Some(id) = self.groups.get(&group).copied() {
                    kinds::out_of_memory(self, id);
                }
            }
            Event::Notified(message) => self.notified(&message),
            Event::StoredGone(key) => service::stored_gone(self, &key),
            Event::PidFileChanged(unit) => self.about(&unit, service::pid_file_changed),
            Event::Port { unit, port } => self.about(&unit, |core, id| socket::incoming(core, id, &port)),
            Event::PathChanged(unit) => self.about(&unit, path::changed),
            Event::ClockSet => timer::clock_set(self),
            Event::TimeZoneChanged => timer::time_zone_changed(self),
            Event::AutomountAsked { unit, ask } => self.about(&unit, |core, id| automount::asked(core, id, &ask)),
            Event::Mounts(table) => mount::table_read(self, table),
            Event::Swaps(table) => swap::table_read(self, table),
            Event::Device(change) => device::changed(self, change),
            Event::BusName { name, owner, owned } => {
                let of_name = |unit: &&Unit| {
                    unit.config.service().is_some_and(|service| service.bus_name.as_deref() == Some(name.as_str()))
                };
                let ids: Vec<UnitId> = self.table.iter().filter(of_name).map(|unit| unit.id).collect();
                for id in ids {
                    service::bus_name(self, id, owner, owned);
                }
            }
            Event::Tick => {}
        }
    }

    fn about(&mut self, name: &UnitName, act: impl FnOnce(&mut Core, UnitId)) {
        if let Some(id) = self.table.find(name) {
            act(self, id);
        }
    }

    fn exited(&mut self, pid: Pid, exit: Exit) {
        if let Some(id) = self.watched.get(&pid).copied() {
            kinds::exited(self, id, pid, exit);
        }
    }

    fn notified(&mut self, message: &service::Notification) {
        let by_pid = message.sender.and_then(|pid| self.watched.get(&pid).copied());
        let by_group =
            || message.sender.and_then(|pid| self.sys.group_of(pid)).and_then(|group| self.unit_of_group(&group));
        match by_pid.or_else(by_group) {
            Some(id) => service::notified(self, id, message),
            None => self.sys.close(&message.fds),
        }
    }

    /// What is to be told or done since it was last asked for.
    pub fn take_outgoing(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// When something is due next, by the clock that does not jump, and by the time of day. Microseconds.
    pub fn next_due(&self) -> (Option<u64>, Option<u64>) {
        let (monotonic, realtime) = self.deadlines.next();
        let job = self.queue.next_deadline();
        if self.paused_until.is_some() {
            return (self.paused_until, None);
        }
        (monotonic.into_iter().chain(job).chain(self.cluster_due()).min(), realtime)
    }

    // ---- units -------------------------------------------------------------------------------------------------

    /// A unit; an empty one where there is none of that number.
    pub fn unit(&self, id: UnitId) -> &Unit {
        self.table.get(id)
    }

    /// A unit, to be changed; what changed in its `runtime` is written down.
    pub fn unit_mut(&mut self, id: UnitId) -> &mut Unit {
        if self.inside == 0 {
            self.amended.insert(id);
        }
        self.dirty.insert(id);
        self.table.get_mut(id)
    }

    /// What is going on with a service.
    pub(crate) fn service_mut(&mut self, id: UnitId) -> &mut service::ServiceRuntime {
        self.unit_mut(id).runtime.kind.service_mut()
    }

    /// Something about a unit changed that clients may want to know.
    pub(crate) fn touch(&mut self, id: UnitId) {
        self.dirty.insert(id);
        if self.out.back() != Some(&Outgoing::UnitChanged(id)) {
            self.out.push_back(Outgoing::UnitChanged(id));
        }
    }

    /// Units whose state is to be written down, those that are gone, and whether the jobs are.
    pub fn take_dirty(&mut self) -> (BTreeSet<UnitId>, Vec<UnitName>, bool) {
        (std::mem::take(&mut self.dirty), std::mem::take(&mut self.forgotten), std::mem::take(&mut self.queue_dirty))
    }

    /// Units triggered by this one, and whatever it is called that triggers: `Triggers=` edges.
    pub(crate) fn triggered_units(&self, id: UnitId) -> Vec<UnitId> {
        self.graph.with(id, ssi_unit::dependency::Atoms::TRIGGERS).collect()
    }

    // ---- time --------------------------------------------------------------------------------------------------

    /// What time it is.
    pub fn now(&self) -> Moment {
        self.sys.now()
    }

    /// Sets a deadline of a unit, in place of the one there was. Microseconds of that clock.
    pub(crate) fn arm(&mut self, id: UnitId, which: Deadline, clock: Clock, at: u64) {
        self.deadlines.arm(id, which, clock, at);
        self.dirty.insert(id);
    }

    /// Takes a deadline back.
    pub(crate) fn disarm(&mut self, id: UnitId, which: Deadline) {
        self.deadlines.disarm(id, which);
        self.dirty.insert(id);
    }

    /// When a deadline is due.
    pub fn deadline_of(&self, id: UnitId, which: Deadline) -> Option<u64> {
        self.deadlines.at(id, which)
    }

    /// All deadlines of a unit, for writing down.
    pub fn deadlines_of(&self, id: UnitId) -> Vec<(Deadline, Clock, u64)> {
        self.deadlines.of_unit(id)
    }

    /// A number of microseconds below the span; 0 for none.
    pub(crate) fn random_below(&mut self, span: Duration) -> u64 {
        match usec(span) {
            0 => 0,
            limit => (self.sys.random() % u128::from(limit)) as u64,
        }
    }

    // ---- processes ---------------------------------------------------------------------------------------------

    /// The end of this process is the unit's business.
    pub(crate) fn watch(&mut self, pid: Pid, id: UnitId) {
        self.watched.insert(pid, id);
    }

    /// It is not any more.
    pub(crate) fn unwatch(&mut self, pid: Pid) {
        self.watched.remove(&pid);
    }

    /// Which unit a process belongs to: one it started or claimed, or the one whose control group it is in.
    pub fn unit_of_process(&self, pid: Pid) -> Option<UnitId> {
        let by_group = || self.sys.group_of(pid).and_then(|group| self.unit_of_group(&group));
        self.watched.get(&pid).copied().or_else(by_group)
    }

    /// A new run of the unit begins.
    pub(crate) fn new_invocation(&mut self, id: UnitId) {
        let invocation = self.sys.random();
        self.unit_mut(id).runtime.invocation = invocation;
    }

    pub(crate) fn watch_pid_file(&mut self, id: UnitId) {
        let unit = self.unit(id);
        let (name, path) = (unit.name.clone(), unit.config.service().and_then(|service| service.pid_file.clone()));
        if let Some(path) = path
            && let Err(error) = self.sys.watch_pid_file(&name, &path)
        {
            self.log(Priority::Warning, id, &error.to_string());
        }
    }

    pub(crate) fn unwatch_pid_file(&mut self, id: UnitId) {
        let unit = self.unit(id);
        if unit.config.service().is_some_and(|service| service.pid_file.is_some()) {
            let name = unit.name.clone();
            self.sys.unwatch_pid_file(&name);
        }
    }

    pub(crate) fn remove_runtime_directories(&mut self, id: UnitId, restart: bool) {
        let (name, config) = (self.unit(id).name.clone(), std::rc::Rc::clone(&self.unit(id).config));
        self.sys.remove_directories(&name, &config, restart);
    }

    /// The connection a service was started for is over.
    pub(crate) fn close_connection(&mut self, id: UnitId) {
        if let Some(key) = self.unit(id).runtime.kind.service().connection.clone() {
            let runtime = self.service_mut(id);
            runtime.connection = None;
            runtime.peer = None;
            let socket = runtime.accepted_by.take().and_then(|name| self.table.find(&name));
            self.sys.close(&[key]);
            if let Some(socket) = socket {
                // It has one connection less, and may have been kept only for them.
                self.touch(socket);
                self.to_forget.insert(socket);
            }
        }
    }

    // ---- jobs --------------------------------------------------------------------------------------------------

    /// Has something done with a unit, and all that follows from that.
    ///
    /// # Errors
    /// When it cannot be done as things are; nothing changed then.
    pub fn wish(&mut self, wish: Wish) -> Result<JobId, TransactionError> {
        let Wish { unit, request, mode, manual } = wish;
        self.enter_unit(unit, |unit| Entry::Wish { unit, request, mode, manual });
        let result = self.install(wish);
        if manual && result.is_ok() {
            self.note_ask(unit, request);
        }
        self.leave();
        result
    }

    fn install(&mut self, wish: Wish) -> Result<JobId, TransactionError> {
        self.load_pending();
        let plan = crate::job::transaction::plan(&self.graph, &self.table, &self.queue, wish)?;
        for notice in &plan.notices {
            let priority = if notice.is_warning() { Priority::Warning } else { Priority::Debug };
            self.sys.log(priority, None, &notice.to_string());
        }
        let now = self.now().monotonic;
        let ids = self.queue.install(&self.graph, &self.table, &plan, now);
        self.take_queue_events();
        // The anchor's is the first; a plan is never without it.
        Ok(ids.first().copied().unwrap_or(JobId(0)))
    }

    /// As [`Core::wish`], of the manager's own accord: what cannot be done is a word in the log.
    pub(crate) fn wish_quietly(&mut self, wish: Wish) -> bool {
        match self.wish(wish) {
            Ok(_) => true,
            Err(error) => {
                let text = format!("cannot have it {}: {error}", wish.request.word());
                self.log(Priority::Warning, wish.unit, &text);
                false
            }
        }
    }

    /// The reloads that follow from one that a unit did by itself.
    pub(crate) fn propagate_reload(&mut self, id: UnitId) {
        let plan =
            crate::job::transaction::plan_reload_of_others(&self.graph, &self.table, &self.queue, id, JobMode::Fail);
        match plan {
            // With nobody to pass it on to there is only the anchor, which does nothing.
            Ok(plan) if plan.jobs().len() <= 1 => {}
            Ok(plan) => {
                let now = self.now().monotonic;
                self.queue.install(&self.graph, &self.table, &plan, now);
                self.take_queue_events();
            }
            Err(error) => self.log(Priority::Warning, id, &format!("cannot pass its reload on: {error}")),
        }
    }

    /// Whether a job wants it down.
    pub(crate) fn has_stop_job(&self, id: UnitId) -> bool {
        self.queue.job_of(id).is_some_and(|job| job.kind == JobType::Stop)
    }

    /// Whether a job wants it down and up again.
    pub(crate) fn has_restart_job(&self, id: UnitId) -> bool {
        self.queue.job_of(id).is_some_and(|job| job.kind == JobType::Restart)
    }

    /// A client waits for this job, or one less does.
    pub fn client_waits(&mut self, job: JobId, more: bool) {
        self.enter(&Entry::ClientWaits { job, more });
        let count = self.clients.entry(job).or_default();
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        if *count == 0 {
            self.clients.remove(&job);
            self.queue.offer_for_collection(&self.table, job);
        }
        self.leave();
    }

    // ---- words -------------------------------------------------------------------------------------------------

    /// A line about a unit.
    pub(crate) fn log(&mut self, priority: Priority, id: UnitId, text: &str) {
        let name = self.table.get(id).name.clone();
        self.sys.log(priority, Some(&name), text);
    }

    /// A line about the end of a process.
    pub(crate) fn log_exit(&mut self, id: UnitId, what: &str, pid: Pid, exit: Exit, expected: bool) {
        let how = match exit {
            Exit::Code(code) => {
                let words = ssi_unit::process_end::exit_status_name(code);
                words.map_or_else(
                    || format!("ended with status {code}"),
                    |words| format!("ended with status {code} ({words})"),
                )
            }
            Exit::Signal(signal) => format!("was ended by signal {}", ssi_unit::process_end::signal_name(signal)),
            Exit::Dumped(signal) => format!(
                "was ended by signal {} and left its memory in a file",
                ssi_unit::process_end::signal_name(signal)
            ),
        };
        let priority = match (expected, exit) {
            (true, Exit::Code(0)) => Priority::Debug,
            (true, _) => Priority::Info,
            (false, _) => Priority::Notice,
        };
        self.log(priority, id, &format!("{what} {pid} {how}"));
    }
}
