// SPDX-License-Identifier: GPL-2.0-or-later
//! A unit as the manager holds it: what its files say, and what is going on with it.
//!
//! What is going on, [`Runtime`], is all that must outlive this process: it is written down whenever it changes, and
//! the next manager goes on from it. What the files say is read again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use ssi_unit::condition::Evaluation;
use ssi_unit::config::{ManagerDefaults, UnitConfig};
use ssi_unit::implicit::MountsFor;
use ssi_unit::load::LoadState;
use ssi_unit::name::{UnitName, UnitType};

use super::kinds::KindRuntime;
use super::state::ActiveState;
use super::system::Moment;
use crate::graph::UnitId;

/// When a unit last changed from one coarse state to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Any change.
    pub state_change: Moment,
    /// Left inactive or failed.
    pub inactive_exit: Moment,
    /// Became active.
    pub active_enter: Moment,
    /// Left active.
    pub active_exit: Moment,
    /// Became inactive or failed.
    pub inactive_enter: Moment,
    /// Its conditions were looked at.
    pub condition: Moment,
    /// Its assertions were looked at.
    pub assertion: Moment,
}

/// Counts what may happen only so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Since when is counted, in monotonic microseconds; `None`: not yet.
    begin: Option<u64>,
    /// How often it happened since then.
    count: u32,
}

impl RateLimit {
    /// Counts one more, and says whether that is still within `burst` in `interval` microseconds. An interval or a
    /// burst of nothing is no limit; `None` is an interval without end.
    pub fn allows(&mut self, now: u64, interval: Option<u64>, burst: u32) -> bool {
        if interval == Some(0) || burst == 0 {
            return true;
        }
        let expired = match (self.begin, interval) {
            (None, _) => true,
            (Some(begin), Some(interval)) => now.saturating_sub(begin) > interval,
            (Some(_), None) => false,
        };
        if expired {
            *self = Self { begin: Some(now), count: 1 };
            return true;
        }
        self.count = self.count.saturating_add(1);
        self.count <= burst
    }

    /// Whether the next one would still be within the limit; counts nothing.
    pub fn would_allow(&self, now: u64, interval: Option<u64>, burst: u32) -> bool {
        self.clone().allows(now, interval, burst)
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// All about a unit that is not in its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    /// What its type is about.
    pub kind: KindRuntime,
    /// When it changed.
    pub times: Times,
    /// Whether its conditions held, when they were last looked at.
    pub conditions_hold: bool,
    /// Whether its assertions held, when they were last looked at.
    pub assertions_hold: bool,
    /// Names this run of the unit, from its start to the next.
    pub invocation: u128,
    /// Its starts, against `StartLimitBurst=`.
    pub starts: RateLimit,
    /// Whether the last start was refused for that.
    pub start_limit_hit: bool,
    /// The path of its control group below the root of the hierarchy, once it has one.
    pub cgroup: Option<String>,
    /// Made over D-Bus; its file is in `/run/systemd/transient`.
    pub transient: bool,
    /// Whether something was changed in its files since they were read.
    pub needs_reload: bool,
    /// `needs-restart`, `needs-reload`: what package scripts set and `--marked` looks for.
    pub markers: BTreeSet<String>,
    /// Clients that hold it (`Ref()`), by their names on the bus.
    pub held_by: BTreeSet<String>,
}

impl Runtime {
    /// Of a unit nothing has happened to.
    pub fn new(kind: UnitType) -> Self {
        Self {
            kind: KindRuntime::new(kind),
            times: Times::default(),
            conditions_hold: false,
            assertions_hold: false,
            invocation: 0,
            starts: RateLimit::default(),
            start_limit_hit: false,
            cgroup: None,
            transient: false,
            needs_reload: false,
            markers: BTreeSet::new(),
            held_by: BTreeSet::new(),
        }
    }
}

/// A unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its place in the table and in the graph.
    pub id: UnitId,
    /// Its name.
    pub name: UnitName,
    /// Other names for it.
    pub aliases: BTreeSet<UnitName>,
    /// How its files were read; `None`: not yet.
    pub load: Option<LoadState>,
    /// Why not.
    pub load_error: Option<String>,
    /// The file, if there is one.
    pub fragment: Option<PathBuf>,
    /// When the file was last changed.
    pub fragment_modified: Option<SystemTime>,
    /// Files that add to it, in their order.
    pub dropins: Vec<PathBuf>,
    /// When the one changed last was.
    pub dropins_modified: Option<SystemTime>,
    /// What the files say.
    pub config: Rc<UnitConfig>,
    /// Whether `DefaultDependencies=` holds.
    pub default_dependencies: bool,
    /// Paths whose mounts it needs.
    pub mounts_for: Vec<MountsFor>,
    /// What came of its conditions when they were last looked at, then of its assertions.
    pub evaluations: [Option<Evaluation>; 2],
    /// How often it was started or stopped because of how it stands to others.
    pub upkeep: RateLimit,
    /// How often units were started because it failed, or ended well.
    pub followers: RateLimit,
    /// What is going on.
    pub runtime: Runtime,
}

impl Unit {
    /// One that is named and not read yet.
    pub fn stub(id: UnitId, name: UnitName) -> Self {
        let kind = name.unit_type();
        Self {
            id,
            aliases: BTreeSet::new(),
            load: None,
            load_error: None,
            fragment: None,
            fragment_modified: None,
            dropins: Vec::new(),
            dropins_modified: None,
            config: Rc::new(UnitConfig::new(kind, &ManagerDefaults::default())),
            default_dependencies: false,
            mounts_for: Vec::new(),
            evaluations: [None, None],
            upkeep: RateLimit::default(),
            followers: RateLimit::default(),
            runtime: Runtime::new(kind),
            name,
        }
    }

    /// What stands for a unit where there is none.
    pub(super) fn nothing() -> Self {
        Self::stub(UnitId(u32::MAX), super::load::known("nothing.target"))
    }

    /// Whether it can be used as it is.
    pub fn is_loaded(&self) -> bool {
        self.load == Some(LoadState::Loaded)
    }

    /// Its coarse state.
    pub fn active(&self) -> ActiveState {
        self.runtime.kind.active()
    }

    /// The word for its fine state.
    pub fn sub_state(&self) -> &'static str {
        self.runtime.kind.sub_state()
    }

    /// What type of unit it is.
    pub fn unit_type(&self) -> UnitType {
        self.name.unit_type()
    }

    /// What to call it in front of people.
    pub fn description(&self) -> &str {
        self.config.unit.description.as_deref().unwrap_or_else(|| self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_ten_seconds_and_not_six() {
        let mut limit = RateLimit::default();
        let (interval, burst) = (Some(10_000_000), 5);
        assert!((0..5).all(|second| limit.allows(second * 1_000_000, interval, burst)));
        assert!(!limit.would_allow(5_000_000, interval, burst));
        assert!(!limit.allows(5_000_000, interval, burst));
        assert!(limit.allows(10_000_001, interval, burst), "the ten seconds are over");
    }

    #[test]
    fn nothing_is_no_limit_and_for_ever_is_for_ever() {
        let mut limit = RateLimit::default();
        assert!((0..100).all(|_| limit.allows(0, Some(0), 1)));
        assert!((0..100).all(|_| limit.allows(0, Some(1), 0)));
        assert!(limit.allows(0, None, 1) && !limit.allows(u64::MAX, None, 1));
    }
}
