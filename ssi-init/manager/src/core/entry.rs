// SPDX-License-Identifier: GPL-2.0-or-later
//! Every way into the core, as a value: for recordings, and for doing the same again.
//!
//! All that a core does follows from what it was entered with and from what its [`System`](super::system::System) and
//! its loader answered. [`System::entered`](super::system::System::entered) is told of each entry before anything is
//! done about it; [`Core::enter_again`] does it once more with another core. Entries do not nest: what a function of the
//! core calls inside of it is part of the entry.
//!
//! Units are named, not numbered, so that a recording can be read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use ssi_cluster::scope::manager::Told;
use ssi_unit::name::UnitName;

use super::cluster::SavedCluster;
use super::commands::Whom;
use super::saved::SavedUnit;
use super::system::Moment;
use super::unit::Runtime;
use super::{Core, Event};
use crate::graph::UnitId;
use crate::job::{JobId, JobMode, QueueSnapshot, Request, Wish};

/// How the core was entered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// Something was set that is set from outside: it holds from now on.
    Set {
        /// When user space began.
        started: Moment,
        /// Whether the first transaction is through.
        finished_starting: bool,
    },
    /// The units that are always there are brought.
    Begin,
    /// What an earlier manager has written down is taken up.
    Restore {
        /// The units.
        units: Cow<'a, [SavedUnit]>,
        /// The jobs.
        queue: Cow<'a, QueueSnapshot>,
    },
    /// Something happened.
    Event(Cow<'a, Event>),
    /// What can be done now is done.
    Settle,
    /// A unit is wanted by its name.
    Load(Cow<'a, UnitName>),
    /// The files of one unit are read again.
    Reread(Cow<'a, UnitName>),
    /// The folders of unit files are listed again.
    RefreshFiles,
    /// All unit files are read again.
    ReloadFiles,
    /// A wish for a unit.
    Wish {
        /// The unit.
        unit: Cow<'a, UnitName>,
        /// What is to be done with it.
        request: Request,
        /// What may happen to other jobs for it.
        mode: JobMode,
        /// Whether somebody asked for it by its name.
        manual: bool,
    },
    /// A job is taken back.
    CancelJob(JobId),
    /// All jobs are taken back.
    CancelAllJobs,
    /// A client waits for a job, or one less does.
    ClientWaits {
        /// The job.
        job: JobId,
        /// One more.
        more: bool,
    },
    /// A signal for a unit's processes.
    Kill {
        /// The unit.
        unit: Cow<'a, str>,
        /// Which of them.
        whom: Whom,
        /// The signal.
        signal: i32,
    },
    /// A failure is forgotten.
    ResetFailed(Cow<'a, UnitName>),
    /// Somebody does not want a unit forgotten.
    Hold {
        /// The unit.
        unit: Cow<'a, UnitName>,
        /// Who.
        holder: Cow<'a, str>,
    },
    /// Somebody does not care any more.
    Release {
        /// The unit.
        unit: Cow<'a, UnitName>,
        /// Who.
        holder: Cow<'a, str>,
    },
    /// Somebody is gone, and holds nothing any more.
    ReleaseAll(Cow<'a, str>),
    /// What ssi-clusterd tells.
    Cluster(Cow<'a, Told>),
    /// What an earlier manager has written down of the cluster's units is taken up.
    RestoreCluster(Cow<'a, SavedCluster>),
    /// What is going on with a unit was changed from outside ([`Core::unit_mut`]): this is what it is now.
    Amend {
        /// The unit.
        unit: Cow<'a, UnitName>,
        /// What it is now.
        runtime: Cow<'a, Runtime>,
    },
}

impl Core {
    /// The core is entered, unless it is inside of an entry already. To be followed by [`Core::leave`].
    pub(super) fn enter(&mut self, entry: &Entry<'_>) {
        if self.inside == 0 {
            self.tell_what_was_set();
            self.sys.entered(entry);
        }
        self.inside += 1;
    }

    /// As [`Core::enter`], with an entry about a unit.
    pub(super) fn enter_unit(&mut self, id: UnitId, entry: impl FnOnce(Cow<'static, UnitName>) -> Entry<'static>) {
        if self.inside == 0 {
            let name = self.unit(id).name.clone();
            self.enter(&entry(Cow::Owned(name)));
        } else {
            self.inside += 1;
        }
    }

    /// The end of [`Core::enter`].
    pub(super) fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
        if self.inside == 0 {
            self.sys.left();
        }
    }

    /// What was changed past the functions of the core since it was last entered.
    fn tell_what_was_set(&mut self) {
        let set = (self.started, self.finished_starting);
        if self.told_set != Some(set) {
            self.told_set = Some(set);
            self.sys.entered(&Entry::Set { started: set.0, finished_starting: set.1 });
            self.sys.left();
        }
        for id in std::mem::take(&mut self.amended) {
            if self.table.contains(id) {
                let unit = self.table.get(id);
                let entry = Entry::Amend { unit: Cow::Borrowed(&unit.name), runtime: Cow::Borrowed(&unit.runtime) };
                self.sys.entered(&entry);
                self.sys.left();
            }
        }
    }

    /// Enters the core as it, or another one, was entered before. What the caller was answered then is not kept.
    ///
    /// # Errors
    /// When there is no unit of that name here, which there was then.
    pub fn enter_again(&mut self, entry: Entry<'_>) -> Result<(), NoSuchUnit> {
        let known =
            |core: &Core, unit: Cow<'_, UnitName>| core.table.find(&unit).ok_or_else(|| NoSuchUnit(unit.into_owned()));
        match entry {
            Entry::Set { started, finished_starting } => {
                self.started = started;
                self.finished_starting = finished_starting;
                self.tell_what_was_set();
            }
            Entry::Begin => self.begin(),
            Entry::Restore { units, queue } => self.restore(units.into_owned(), queue.into_owned()),
            Entry::Event(event) => self.handle(event.into_owned()),
            Entry::Settle => self.settle(),
            Entry::Load(name) => {
                self.load(&name);
            }
            Entry::Reread(name) => {
                self.reread_unit(&name);
            }
            Entry::RefreshFiles => self.refresh_files(),
            Entry::ReloadFiles => self.reload_files(),
            Entry::Wish { unit, request, mode, manual } => {
                let unit = known(self, unit)?;
                // Its refusal was the client's to hear.
                let _ = self.wish(Wish { unit, request, mode, manual });
            }
            Entry::CancelJob(job) => {
                let _ = self.cancel_job(job);
            }
            Entry::CancelAllJobs => self.cancel_all_jobs(),
            Entry::ClientWaits { job, more } => self.client_waits(job, more),
            Entry::Kill { unit, whom, signal } => {
                let _ = self.kill(&unit, whom, signal);
            }
            Entry::ResetFailed(unit) => {
                let id = known(self, unit)?;
                self.reset_failed(id);
            }
            Entry::Hold { unit, holder } => {
                let id = known(self, unit)?;
                self.hold_unit(id, &holder);
            }
            Entry::Release { unit, holder } => {
                let id = known(self, unit)?;
                self.release_unit(id, &holder);
            }
            Entry::ReleaseAll(holder) => self.release_all_units(&holder),
            Entry::Cluster(told) => self.cluster_told(&told),
            Entry::RestoreCluster(saved) => self.restore_cluster(saved.into_owned()),
            Entry::Amend { unit, runtime } => {
                let id = known(self, unit)?;
                self.unit_mut(id).runtime = runtime.into_owned();
                self.tell_what_was_set();
            }
        }
        Ok(())
    }
}

/// There is no unit of that name in this core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no unit {0}")]
pub struct NoSuchUnit(pub UnitName);
