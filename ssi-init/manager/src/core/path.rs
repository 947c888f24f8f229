// SPDX-License-Identifier: GPL-2.0-or-later
//! Path units: something comes to be in the file system, and their unit is started (systemd.path(5)).
//!
//! ```text
//!           start, and it is not so yet         it comes to be so
//!   dead ───────────────────────────▶ waiting ────────────────────▶ running ──▶ start of the unit
//!    │                                 ▲   │   the unit is up by itself  ▲ │
//!    │                                 │   └─────────────────────────────┤ │ the unit is down
//!    │                                 └────────── it is not so ─────────┼─┤
//!    └──────────── it is so already, or the unit is up ─────────────────▶│ └ it is so still: once more
//!   failed ◀── the unit was started too often, or a watch is not possible
//! ```
//!
//! Nothing is watched while the unit is up: what the unit itself does there is no reason to start it again.
//!
//! What is a state (`PathExists=`, `PathExistsGlob=`, `DirectoryNotEmpty=`) is looked at whenever something may have
//! changed; what is an event (`PathChanged=`, `PathModified=`) counts when the edge tells of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssi_unit::config::path::{PathEvent, PathWatch};

use super::state::PathState;
use super::system::Priority;
use super::unit::RateLimit;
use super::{Core, Deadline, usec};
use crate::graph::UnitId;
use crate::job::{JobMode, Reply, Request, Wish};

/// `TriggerLimitIntervalSec=` and `TriggerLimitBurst=`, where they are not told.
const INTERVAL: Duration = Duration::from_secs(2);
const BURST: u32 = 200;

/// What went wrong with a path unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathResult {
    /// Nothing did.
    #[default]
    Success,
    /// It could not be watched, or the unit could not be started.
    Resources,
    /// It was started too often.
    StartLimitHit,
    /// Its unit was started too often.
    UnitStartLimitHit,
    /// What it waits for came too often.
    TriggerLimitHit,
}

impl PathResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::StartLimitHit => "start-limit-hit",
            Self::UnitStartLimitHit => "unit-start-limit-hit",
            Self::TriggerLimitHit => "trigger-limit-hit",
        }
    }
}

/// What is going on with a path unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathRuntime {
    /// Where in the drawing it is.
    pub state: PathState,
    /// What went wrong first since the last start.
    pub result: PathResult,
    /// How often it has had its unit started, against `TriggerLimitBurst=`.
    pub triggers: RateLimit,
}

macro_rules! path {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.path()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut PathRuntime {
    core.unit_mut(id).runtime.kind.path_mut()
}

fn watches(core: &Core, id: UnitId) -> Vec<PathWatch> {
    core.unit(id).config.path().map(|config| config.watches.clone()).unwrap_or_default()
}

fn triggered(core: &Core, id: UnitId) -> Option<UnitId> {
    core.triggered_units(id).into_iter().next()
}

fn is_up(state: PathState) -> bool {
    matches!(state, PathState::Waiting | PathState::Running)
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    if is_up(path!(core, id).state) {
        return Reply::Already;
    }
    if !core.triggered_units(id).into_iter().any(|unit| core.unit(unit).is_loaded()) {
        core.log(Priority::Error, id, "cannot start: the unit it is to start is not there");
        return Reply::Failed;
    }
    core.new_invocation(id);
    runtime(core, id).result = PathResult::Success;
    make_directories(core, id);
    enter_waiting(core, id);
    Reply::Underway
}

/// Stops it. The unit it has started stays.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    if is_up(path!(core, id).state) {
        enter_dead(core, id, PathResult::Success);
    }
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if path!(core, id).state == PathState::Failed {
        set_state(core, id, PathState::Dead);
    }
    runtime(core, id).result = PathResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, PathResult::StartLimitHit);
}

/// A new manager takes it up. What is a state is looked at: it may have come while there was none.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    let on_its_way = triggered(core, id).is_some_and(|unit| core.queue.job_of(unit).is_some());
    match path!(core, id).state {
        PathState::Waiting => enter_waiting(core, id),
        PathState::Running if !on_its_way => enter_waiting(core, id),
        PathState::Running | PathState::Dead | PathState::Failed => {}
    }
}

/// Its files were read again: they may name other paths.
pub(super) fn reloaded(core: &mut Core, id: UnitId) {
    resume(core, id);
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// What it waits for has happened. Where that was told before the watch ended, it comes too late.
pub(super) fn changed(core: &mut Core, id: UnitId) {
    if path!(core, id).state == PathState::Waiting {
        enter_running(core, id);
    }
}

/// The unit it starts, or a job of that, changed.
pub(super) fn triggered_changed(core: &mut Core, id: UnitId, other: UnitId) {
    let state = path!(core, id).state;
    let unit = core.unit(other);
    // Where its files are gone that shows when it is to be started.
    if unit.load.is_none() || !is_up(state) {
        return;
    }
    if unit.runtime.start_limit_hit {
        enter_dead(core, id, PathResult::UnitStartLimitHit);
        return;
    }
    // What it is on the way to will be told when it is there.
    if core.queue.job_of(other).is_some() {
        return;
    }
    let is_down = unit.active().is_inactive_or_failed();
    if (state == PathState::Running) == is_down {
        enter_waiting(core, id);
    }
}

/// It has none.
pub(super) fn deadline(_: &mut Core, _: UnitId, _: Deadline) {}

// ---- states ------------------------------------------------------------------------------------------------------

fn set_state(core: &mut Core, id: UnitId, state: PathState) {
    if state != PathState::Waiting {
        let name = core.unit(id).name.clone();
        core.sys.unwatch_paths(&name);
    }
    let old = std::mem::replace(&mut runtime(core, id).state, state);
    core.state_changed(id, old.active(), state.active(), false);
}

fn enter_dead(core: &mut Core, id: UnitId, result: PathResult) {
    let runtime = runtime(core, id);
    if runtime.result == PathResult::Success {
        runtime.result = result;
    }
    let failed = runtime.result;
    if failed == PathResult::Success {
        set_state(core, id, PathState::Dead);
    } else {
        core.log(Priority::Warning, id, &format!("failed: {}", failed.word()));
        set_state(core, id, PathState::Failed);
    }
}

/// The directories in which something is to happen are made, if `MakeDirectory=` asks for it. What of it does not work
/// shows when they are watched.
fn make_directories(core: &mut Core, id: UnitId) {
    let unit = core.unit(id);
    let Some(config) = unit.config.path().filter(|config| config.make_directory) else { return };
    let mode = config.directory_mode;
    let in_it = |watch: &&PathWatch| !matches!(watch.event, PathEvent::Exists | PathEvent::ExistsGlob);
    let paths: Vec<String> = config.watches.iter().filter(in_it).map(|watch| watch.path.clone()).collect();
    for path in paths {
        const ENOTEMPTY: i32 = 39;
        match core.sys.make_directory(&path, mode) {
            // It is there, and not empty: what more could one want.
            Err(error) if error.errno != ENOTEMPTY => core.log(Priority::Warning, id, &error.to_string()),
            _ => {}
        }
    }
}

/// Watches what it names; if that cannot be, it is at its end.
fn watch(core: &mut Core, id: UnitId) -> bool {
    let (name, watches) = (core.unit(id).name.clone(), watches(core, id));
    match core.sys.watch_paths(&name, &watches) {
        Ok(()) => true,
        Err(error) => {
            core.log(Priority::Error, id, &error.to_string());
            enter_dead(core, id, PathResult::Resources);
            false
        }
    }
}

fn holds(core: &Core, id: UnitId) -> bool {
    watches(core, id).iter().any(|watch| core.sys.path_holds(watch))
}

fn enter_waiting(core: &mut Core, id: UnitId) {
    if triggered(core, id).is_some_and(|unit| !core.unit(unit).active().is_inactive_or_failed()) {
        set_state(core, id, PathState::Running);
        return;
    }
    // Looked at once more when it is watched: nothing can come in between that is not noticed.
    if !holds(core, id) {
        if !watch(core, id) {
            return;
        }
        if !holds(core, id) {
            set_state(core, id, PathState::Waiting);
            return;
        }
    }
    enter_running(core, id);
}

fn enter_running(core: &mut Core, id: UnitId) {
    // Who goes down does not bring up its unit once more.
    if core.has_stop_job(id) {
        return;
    }
    let now = core.now().monotonic;
    let unit = core.unit_mut(id);
    let Some(config) = unit.config.path() else { return };
    let interval = usec(config.trigger_limit_interval.unwrap_or(INTERVAL));
    let burst = config.trigger_limit_burst.unwrap_or(BURST);
    if !unit.runtime.kind.path_mut().triggers.allows(now, Some(interval), burst) {
        core.log(Priority::Warning, id, "what it waits for comes too often in too short a time; it is stopped");
        enter_dead(core, id, PathResult::TriggerLimitHit);
        return;
    }
    let Some(unit) = triggered(core, id) else {
        core.log(Priority::Error, id, "the unit it is to start is not there any more");
        enter_dead(core, id, PathResult::Resources);
        return;
    };
    let wish = Wish { unit, request: Request::Start, mode: JobMode::Replace, manual: false };
    match core.wish(wish) {
        Ok(_) => set_state(core, id, PathState::Running),
        Err(error) => {
            core.log(Priority::Warning, id, &format!("cannot have its unit started: {error}"));
            enter_dead(core, id, PathResult::Resources);
        }
    }
}
