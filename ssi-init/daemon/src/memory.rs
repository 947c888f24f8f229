// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written down for the next manager, and read from the one before.
//!
//! | key | value |
//! | --- | --- |
//! | `unit/NAME` | [`SavedUnit`] |
//! | `jobs` | [`QueueSnapshot`] |
//! | `cluster` | [`SavedCluster`]: the grants this node has |
//! | `manager` | [`Whole`] |
//! | `intent/N` | [`Intent`], of a process that is about to be made |
//! | `recording` | [`Recorded`], while what happens is recorded |
//! | `exits` | which exits are in what is written, by [`ssi_keep::exits`] |
//!
//! # A turn is one batch
//!
//! All that follows from one event, a turn, is committed at its end, at once: a manager that dies before has done
//! nothing, as far as the next one knows. What it has done nevertheless must be undone or be done again without harm.
//! Signals and limits may be sent and set twice. An exit is acknowledged, a message read away and a client answered only
//! after the batch. Processes are what is left: one that was made in a turn that was not committed belongs to nobody. So
//! a new process waits, ready, until the turn that made it is committed, and begins its program only then
//! ([`ssi_launch::Launcher::gated`]): a start happens once or not at all. And each is announced by an *intent*, written
//! before it is made and taken back in the turn's batch. The next manager ends what it finds of intents that are still
//! there, and lets go on what is on record and still waits ([`crate::takeover`]); the event that made the process comes
//! again, and makes another one.
//!
//! Values are postcard. A value that cannot be read, as of a manager that was newer and is gone again, is told and left
//! out: a unit that is forgotten is found again by its control group and its files, a manager that does not come up is
//! worse.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ssi_keep::exits::Exits;
use ssi_keep::link::Link;
use ssi_keep::log::Log;
use ssi_manager::core::Core;
use ssi_manager::core::cluster::SavedCluster;
use ssi_manager::core::saved::SavedUnit;
use ssi_manager::core::system::Moment;
use ssi_manager::job::QueueSnapshot;
use ssi_unit::name::UnitName;

const UNIT: &str = "unit/";
const INTENT: &str = "intent/";
const JOBS: &str = "jobs";
const WHOLE: &str = "manager";
const CLUSTER: &str = "cluster";
const RECORDING: &str = "recording";

/// What is known of the system as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole {
    /// When user space began.
    pub(crate) started: Moment,
    /// When the boot was done.
    pub(crate) finished: Option<Moment>,
    /// What every process finds in its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Clients on the bus that want signals.
    pub(crate) subscribers: BTreeSet<String>,
}

/// A recording that is to go on with the next manager. Its descriptor is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) file: String,
    /// Most bytes in it.
    pub(crate) limit: u64,
}

/// All that was written.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) whole: Option<Whole>,
    pub(crate) units: Vec<SavedUnit>,
    pub(crate) jobs: QueueSnapshot,
    /// Processes that were about to be made, and perhaps were.
    pub(crate) intents: Vec<Intent>,
    pub(crate) recording: Option<Recorded>,
    /// The cluster's units.
    pub(crate) cluster: Option<SavedCluster>,
    /// What could not be read.
    pub(crate) lost: Vec<String>,
}

/// A process that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) unit: UnitName,
    /// The control group it is to be born in.
    pub(crate) cgroup: String,
    /// One below that.
    pub(crate) subgroup: Option<String>,
}

/// The log, with what is in it.
pub(crate) struct Memory {
    pub(crate) log: Log,
    pub(crate) exits: Exits,
    /// How many intents of this turn are written.
    intents: u64,
    /// What was written last.
    whole: Option<Whole>,
}

impl Memory {
    /// The log of an earlier manager, or a new one.
    pub(crate) fn new(log: Log, exits: Exits) -> Self {
        Self { log, exits, intents: 0, whole: None }
    }

    /// Writes down that a process is about to be made. It is on record when this returns.
    pub(crate) fn intend(&mut self, intent: &Intent) -> Result<()> {
        self.log.put(&format!("{INTENT}{}", self.intents), &postcard::to_stdvec(intent)?)?;
        self.intents += 1;
        // No exit was decided since the last commit: there is nothing to acknowledge.
        let _ = self
            .log
            .commit()
            .with_context(|| format!("writing down that {} is about to start a process", intent.unit))?;
        Ok(())
    }

    /// Commits the turn. The exits that are in it and may be acknowledged now.
    pub(crate) fn commit(&mut self) -> Result<Vec<u64>> {
        for number in 0..std::mem::take(&mut self.intents) {
            self.log.remove(&format!("{INTENT}{number}"))?;
        }
        let committed = self.log.commit().context("writing down the state of the units")?;
        Ok(self.exits.committed(&committed))
    }

    /// Keeps the log small, and gives process 1 the file when it is another one.
    pub(crate) fn tend(&mut self, link: &mut Link) -> Result<()> {
        if self.log.wants_compaction() {
            self.log.compact().context("making the log of states smaller")?;
        }
        if let Some(file) = self.log.to_hand_over()
            && let Err(error) = link.snapshot(file)
        {
            self.log.not_held();
            return Err(error).context("handing the log of states to process 1");
        }
        Ok(())
    }

    /// Reads all that is written.
    pub(crate) fn read(&mut self) -> Result<Remembered> {
        let mut found = Remembered::default();
        let keys: Vec<String> = self.log.keys(UNIT).map(str::to_owned).collect();
        for key in keys {
            found.units.extend(self.value(&key, &mut found.lost)?);
        }
        let intents: Vec<String> = self.log.keys(INTENT).map(str::to_owned).collect();
        // They are overwritten or taken back by the next commit, whatever their number was.
        self.intents = intents.len() as u64;
        for key in intents {
            found.intents.extend(self.value(&key, &mut found.lost)?);
        }
        found.jobs = self.value(JOBS, &mut found.lost)?.unwrap_or_default();
        found.whole = self.value(WHOLE, &mut found.lost)?;
        found.recording = self.value(RECORDING, &mut found.lost)?;
        found.cluster = self.value(CLUSTER, &mut found.lost)?;
        Ok(found)
    }

    fn value<T: DeserializeOwned>(&self, key: &str, lost: &mut Vec<String>) -> Result<Option<T>> {
        let Some(bytes) = self.log.get(key).with_context(|| format!("reading '{key}' of the manager's log"))? else {
            return Ok(None);
        };
        match postcard::from_bytes(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                lost.push(format!("'{key}' of the manager's log cannot be understood and is left out: {error}"));
                Ok(None)
            }
        }
    }

    /// Puts down that a recording goes on, or that none does any more. Not yet committed.
    pub(crate) fn put_recording(&mut self, recorded: Option<&Recorded>) -> Result<()> {
        match recorded {
            Some(recorded) => self.log.put(RECORDING, &postcard::to_stdvec(recorded)?)?,
            None => self.log.remove(RECORDING)?,
        }
        Ok(())
    }

    /// Puts down all that changed since the last time. Not yet committed.
    pub(crate) fn put(&mut self, core: &mut Core, whole: &Whole) -> Result<()> {
        let (dirty, forgotten, jobs) = core.take_dirty();
        for name in forgotten {
            self.log.remove(&format!("{UNIT}{name}"))?;
        }
        for id in dirty {
            if !core.table.contains(id) {
                continue;
            }
            let key = format!("{UNIT}{}", core.unit(id).name);
            match core.saved(id) {
                Some(saved) => self.log.put(&key, &postcard::to_stdvec(&saved)?)?,
                None => self.log.remove(&key)?,
            }
        }
        if jobs {
            self.log.put(JOBS, &postcard::to_stdvec(&core.saved_queue())?)?;
        }
        if let Some(cluster) = core.take_cluster() {
            self.log.put(CLUSTER, &postcard::to_stdvec(&cluster)?)?;
        }
        if self.whole.as_ref() != Some(whole) {
            self.log.put(WHOLE, &postcard::to_stdvec(whole)?)?;
            self.whole = Some(whole.clone());
        }
        Ok(())
    }
}
