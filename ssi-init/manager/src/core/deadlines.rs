// SPDX-License-Identifier: GPL-2.0-or-later
//! What is due when: time limits, watchdogs, pauses, calendar times. One of each kind for a unit.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::system::{Clock, Moment};
use crate::graph::UnitId;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Deadline {
    /// The unit's fine state has a time limit, or is a pause.
    State,
    /// It has to say that it lives.
    Watchdog,
    /// A timer elapses, by the clock that does not jump.
    Elapse,
    /// A timer elapses, by the calendar.
    Calendar,
    /// An automount's idle time is over; a socket looks for what an earlier manager left undone.
    Idle,
}

/// All of them, in their order.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    monotonic: BTreeSet<(u64, UnitId, Deadline)>,
    realtime: BTreeSet<(u64, UnitId, Deadline)>,
    of: HashMap<(UnitId, Deadline), (Clock, u64)>,
}

impl Deadlines {
    /// Sets one, in place of the one there was. Microseconds on that clock.
    pub fn arm(&mut self, unit: UnitId, which: Deadline, clock: Clock, at: u64) {
        self.disarm(unit, which);
        self.set(clock).insert((at, unit, which));
        self.of.insert((unit, which), (clock, at));
    }

    /// Takes one back.
    pub fn disarm(&mut self, unit: UnitId, which: Deadline) {
        if let Some((clock, at)) = self.of.remove(&(unit, which)) {
            self.set(clock).remove(&(at, unit, which));
        }
    }

    /// When it is due.
    pub fn at(&self, unit: UnitId, which: Deadline) -> Option<u64> {
        self.of.get(&(unit, which)).map(|(_, at)| *at)
    }

    /// The next one of each clock.
    pub fn next(&self) -> (Option<u64>, Option<u64>) {
        (self.monotonic.first().map(|due| due.0), self.realtime.first().map(|due| due.0))
    }

    /// Takes out one that is due, the longest overdue first.
    pub fn take_due(&mut self, now: Moment) -> Option<(UnitId, Deadline)> {
        let due = |set: &BTreeSet<(u64, UnitId, Deadline)>, now| set.first().copied().filter(|due| due.0 <= now);
        let (_, unit, which) = due(&self.monotonic, now.monotonic).or_else(|| due(&self.realtime, now.realtime))?;
        self.disarm(unit, which);
        Some((unit, which))
    }

    /// Takes back all of a unit's.
    pub fn forget(&mut self, unit: UnitId) {
        use Deadline::*;
        for which in [State, Watchdog, Elapse, Calendar, Idle] {
            self.disarm(unit, which);
        }
    }

    /// All of a unit's.
    pub fn of_unit(&self, unit: UnitId) -> Vec<(Deadline, Clock, u64)> {
        use Deadline::*;
        let all = [State, Watchdog, Elapse, Calendar, Idle];
        all.into_iter()
            .filter_map(|which| self.of.get(&(unit, which)).map(|(clock, at)| (which, *clock, *at)))
            .collect()
    }

    /// All of them, for writing down: unit, what for, clock, when.
    pub fn all(&self) -> impl Iterator<Item = (UnitId, Deadline, Clock, u64)> + '_ {
        self.of.iter().map(|((unit, which), (clock, at))| (*unit, *which, *clock, *at))
    }

    fn set(&mut self, clock: Clock) -> &mut BTreeSet<(u64, UnitId, Deadline)> {
        match clock {
            Clock::Monotonic => &mut self.monotonic,
            Clock::Realtime => &mut self.realtime,
        }
    }
}
