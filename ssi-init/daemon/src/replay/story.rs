// SPDX-License-Identifier: GPL-2.0-or-later
//! What happened in a step, for people and programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use ssi_manager::core::entry::Entry;
use ssi_manager::core::system::{Exit, Moment, Priority};
use ssi_manager::core::{Core, Event, Outgoing};

use super::player::Player;
use crate::record::About;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// How important it is.
    pub priority: Priority,
    /// What unit it is about.
    pub unit: Option<String>,
    /// The line.
    pub text: String,
}

/// Something that is another way than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Change {
    /// A unit's state.
    Unit {
        /// Its name.
        unit: String,
        /// What it was; `None`: there was no such unit.
        from: Option<String>,
        /// What it is; `None`: it is forgotten.
        to: Option<String>,
    },
    /// There is a new job.
    JobNew {
        /// Its number.
        job: u32,
        /// What it does.
        kind: String,
        /// Its unit.
        unit: String,
    },
    /// A job is over.
    JobDone {
        /// Its number.
        job: u32,
        /// Its unit.
        unit: String,
        /// How it ended.
        result: String,
    },
    /// The machine, or the manager, is to end in some way.
    Action {
        /// How.
        action: String,
        /// Why.
        reason: String,
    },
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// Its number, from 1 on; a manager that begins has that of the step before it.
    pub step: usize,
    /// When it was over.
    pub at: Moment,
    /// How the core was entered.
    pub entry: String,
    /// What it did to the machine.
    pub acts: Vec<String>,
    /// What changed.
    pub changes: Vec<Change>,
    /// What it logs.
    pub log: Vec<Said>,
}

impl Happened {
    pub(super) fn begin(step: usize, about: &About) -> Self {
        let entry =
            format!("a manager begins: ssi-init {}, build {}, {} before it", about.version, about.build, about.starts);
        Self { step, at: about.at, entry, acts: Vec::new(), changes: Vec::new(), log: Vec::new() }
    }

    /// Whether more than looking at things came of it.
    pub fn is_something(&self) -> bool {
        !self.acts.is_empty() || !self.changes.is_empty() || !self.log.is_empty()
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.monotonic as f64 / 1e6;
        write!(f, "{:>6} {at:>14.6}  {}", self.step, self.entry)?;
        let mut line = |text: String| write!(f, "\n{:23}{text}", "");
        self.acts.iter().try_for_each(|act| line(act.clone()))?;
        for change in &self.changes {
            line(match change {
                Change::Unit { unit, from: Some(from), to: Some(to) } => format!("{unit}: {from} -> {to}"),
                Change::Unit { unit, from: None, to: Some(to) } => format!("{unit} is new: {to}"),
                Change::Unit { unit, to: None, .. } => format!("{unit} is forgotten"),
                Change::JobNew { job, kind, unit } => format!("job {job}: {kind} {unit}"),
                Change::JobDone { job, unit, result } => format!("job {job} of {unit}: {result}"),
                Change::Action { action, reason } => format!("{action}: {reason}"),
            })?;
        }
        for said in &self.log {
            let unit = said.unit.as_ref().map(|unit| format!("{unit}: ")).unwrap_or_default();
            line(format!("log, {}: {unit}{}", format!("{:?}", said.priority).to_lowercase(), said.text))?;
        }
        Ok(())
    }
}

/// What is known of units, to see what changes.
#[derive(Debug, Default)]
pub(super) struct Story {
    states: BTreeMap<String, String>,
}

impl Story {
    /// What happened in the step that is over.
    pub(super) fn tell(&mut self, step: usize, entry: String, core: &mut Core, player: &Player) -> Happened {
        let mut changes = Vec::new();
        for outgoing in core.take_outgoing() {
            match outgoing {
                Outgoing::UnitNew(id) | Outgoing::UnitChanged(id) => {
                    if core.table.contains(id) {
                        self.look(core, id, &mut changes);
                    }
                }
                Outgoing::UnitRemoved { name } => {
                    if let Some(from) = self.states.remove(name.as_str()) {
                        changes.push(Change::Unit { unit: name.to_string(), from: Some(from), to: None });
                    }
                }
                Outgoing::JobNew { job, unit } => {
                    let kind = core.queue.get(job).map_or_else(|| "a job".to_owned(), |job| job.kind.to_string());
                    changes.push(Change::JobNew { job: job.0, kind, unit: core.unit(unit).name.to_string() });
                }
                Outgoing::JobChanged { .. } | Outgoing::ClusterSays => {}
                Outgoing::JobRemoved { job, unit, result } => changes.push(Change::JobDone {
                    job: job.0,
                    unit: unit.to_string(),
                    result: result.word().to_owned(),
                }),
                Outgoing::Action { action, reason, .. } => {
                    changes.push(Change::Action { action: format!("{action:?}").to_lowercase(), reason });
                }
            }
        }
        let (acts, log, at) = player.take_acts();
        Happened { step, at, entry, acts, changes, log }
    }

    fn look(&mut self, core: &Core, id: ssi_manager::graph::UnitId, changes: &mut Vec<Change>) {
        let unit = core.unit(id);
        let load = unit.load.map_or("not-read", ssi_unit::load::LoadState::as_str);
        let to = format!("{load}, {} ({})", unit.active().word(), unit.sub_state());
        let from = self.states.insert(unit.name.to_string(), to.clone());
        if from.as_ref() != Some(&to) {
            changes.push(Change::Unit { unit: unit.name.to_string(), from, to: Some(to) });
        }
    }
}

/// An entry in words.
pub(super) fn words(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Set { .. } => "what holds for the whole is set".to_owned(),
        Entry::Begin => "the units that are always there are brought".to_owned(),
        Entry::Restore { units, queue } => {
            format!("{} units and {} jobs of an earlier manager are taken up", units.len(), queue.jobs.len())
        }
        Entry::Event(event) => event_words(event),
        Entry::Settle => "what can be done is done".to_owned(),
        Entry::Load(unit) => format!("{unit} is looked for"),
        Entry::Reread(unit) => format!("the files of {unit} are read again"),
        Entry::RefreshFiles => "the folders of unit files are listed".to_owned(),
        Entry::ReloadFiles => "all unit files are read again".to_owned(),
        Entry::Wish { unit, request, mode, .. } => format!("{unit} is to {} (mode {mode})", request.word()),
        Entry::CancelJob(job) => format!("job {job} is taken back"),
        Entry::CancelAllJobs => "all jobs are taken back".to_owned(),
        Entry::ClientWaits { job, more: true } => format!("a client waits for job {job}"),
        Entry::ClientWaits { job, more: false } => format!("a client waits for job {job} no more"),
        Entry::Kill { unit, whom, signal } => format!("signal {signal} is for {unit} ({whom:?})"),
        Entry::ResetFailed(unit) => format!("the failure of {unit} is forgotten"),
        Entry::Hold { unit, holder } => format!("{holder} holds {unit}"),
        Entry::Release { unit, holder } => format!("{holder} lets go of {unit}"),
        Entry::ReleaseAll(holder) => format!("{holder} is gone"),
        Entry::Cluster(told) => match &told.orders {
            Some(orders) => format!("ssi-clusterd tells of {} grants", orders.len()),
            None => "ssi-clusterd tells that nothing is agreed".to_owned(),
        },
        Entry::RestoreCluster(_) => "the grants of an earlier manager are taken up".to_owned(),
        Entry::Amend { unit, .. } => format!("{unit} is changed by a client"),
    }
}

fn event_words(event: &Event) -> String {
    match event {
        Event::Exited { pid, exit } => match exit {
            Exit::Code(code) => format!("process {pid} ended with status {code}"),
            Exit::Signal(signal) => format!("signal {signal} ended process {pid}"),
            Exit::Dumped(signal) => {
                format!("signal {signal} ended process {pid}, and its memory was written to a file")
            }
        },
        Event::Executed { pid } => format!("process {pid} runs its program"),
        Event::GroupEmpty(group) => format!("the control group {group} is empty"),
        Event::OutOfMemory(group) => format!("the kernel killed in {group} for want of memory"),
        Event::Notified(message) => {
            let fields: Vec<String> = message.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let sender = message.sender.map_or_else(|| "somebody".to_owned(), |pid| format!("process {pid}"));
            format!("{sender} says {}", fields.join(" "))
        }
        Event::StoredGone(key) => format!("the other end of {} is gone", key.0),
        Event::PidFileChanged(unit) => format!("something changed where the PID file of {unit} is to be"),
        Event::Port { unit, port } => format!("there is something at {} of {unit}", port.0),
        Event::PathChanged(unit) => format!("a path of {unit} changed"),
        Event::ClockSet => "the clock was set".to_owned(),
        Event::TimeZoneChanged => "the time zone is another one".to_owned(),
        Event::AutomountAsked { unit, ask } => format!("the kernel asks {unit}: {ask:?}"),
        Event::Mounts(table) => format!("the table of mounts has {} lines", table.len()),
        Event::Swaps(table) => format!("the table of swap areas has {} lines", table.len()),
        Event::Device(change) => format!("udev tells of {}", change.syspath),
        Event::BusName { name, owned, .. } => {
            format!("{name} on the bus has {} owner", if *owned { "an" } else { "no" })
        }
        Event::Tick => "time passed".to_owned(),
    }
}
