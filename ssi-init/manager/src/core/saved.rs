// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written down so that the next manager goes on where this one stopped, and taking it up again.
//!
//! A unit that nothing is going on with is not written down: its files say all there is to know.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use ssi_unit::name::UnitName;

use super::deadlines::Deadline;
use super::entry::Entry;
use super::system::{Clock, Priority};
use super::unit::Runtime;
use super::{Core, kinds};
use crate::graph::UnitId;
use crate::job::{Queue, QueueSnapshot};

/// A unit, as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedUnit {
    /// Its name.
    pub name: UnitName,
    /// What is going on with it.
    pub runtime: Runtime,
    /// What it waits for.
    pub deadlines: Vec<(Deadline, Clock, u64)>,
}

impl Core {
    /// A unit to be written down; `None`: there is nothing to write.
    pub fn saved(&self, id: UnitId) -> Option<SavedUnit> {
        if !self.table.contains(id) {
            return None;
        }
        let unit = self.unit(id);
        let deadlines = self.deadlines_of(id);
        if deadlines.is_empty() && unit.runtime == Runtime::new(unit.unit_type()) {
            return None;
        }
        Some(SavedUnit { name: unit.name.clone(), runtime: unit.runtime.clone(), deadlines })
    }

    /// The jobs, to be written down.
    pub fn saved_queue(&self) -> QueueSnapshot {
        self.queue.snapshot(&self.table)
    }

    /// Takes up what an earlier manager has written down. Nothing is started or stopped by it; what is due since is due
    /// at the next turn.
    pub fn restore(&mut self, units: Vec<SavedUnit>, queue: QueueSnapshot) {
        self.enter(&Entry::Restore { units: Cow::Borrowed(&units), queue: Cow::Borrowed(&queue) });
        self.take_up(units, queue);
        self.leave();
    }

    fn take_up(&mut self, units: Vec<SavedUnit>, queue: QueueSnapshot) {
        self.quiet = true;
        let mut ids = Vec::with_capacity(units.len());
        for saved in units {
            let id = self.named(&saved.name);
            // Before its files are read: what is in the kernel's tables needs none.
            self.table.get_mut(id).runtime = saved.runtime;
            for (which, clock, at) in saved.deadlines {
                self.deadlines.arm(id, which, clock, at);
            }
            ids.push(id);
        }
        // A unit whose job waits may have nothing else going on.
        for job in &queue.jobs {
            self.named(&job.unit);
        }
        self.load_pending();
        let names: Vec<UnitId> = ids.into_iter().filter(|id| self.table.contains(*id)).collect();
        for id in &names {
            self.adopt_group(*id);
        }
        let table = &self.table;
        let (queue, lost) = Queue::restore(table, queue, |name| table.find(name));
        self.queue = queue;
        for job in lost {
            let text = format!("the {} job of {} is lost: there is no such unit any more", job.kind, job.unit);
            self.sys.log(Priority::Warning, None, &text);
        }
        self.quiet = false;
        for id in names {
            kinds::resume(self, id);
        }
    }
}
