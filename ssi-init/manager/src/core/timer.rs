// SPDX-License-Identifier: GPL-2.0-or-later
//! Timer units: a time comes, and their unit is started (systemd.timer(5)).
//!
//! ```text
//!          start             it is time
//!   dead ────────▶ waiting ─────────────▶ running ──▶ start of the unit
//!                    ▲  │ no time will come │
//!                    │  └─▶ elapsed, or dead│ the unit is down
//!                    └──────────────────────┘
//!   failed ◀── the unit could not be started
//! ```
//!
//! All of its times are reckoned anew whenever it begins to wait, when its unit comes up or goes down, and when the
//! clock was set: there is one [`Deadline::Elapse`] for those that count from a moment and one [`Deadline::Calendar`]
//! for those of the calendar, and the earlier one counts. `AccuracySec=` allows to be late, which this never makes use
//! of: there is one wait for all, and it costs nothing to be exact.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use ssi_unit::config::timer::{TimerBase, TimerTrigger};
use ssi_unit::config::{TimerConfig, UnitConfig};
use ssi_unit::time::CalendarSpec;

use super::state::{ActiveState, TimerState};
use super::system::{Clock, Moment, Priority};
use super::{Core, Deadline, usec};
use crate::graph::UnitId;
use crate::job::{JobMode, Reply, Request, Wish};

/// What went wrong with a timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimerResult {
    /// Nothing did.
    #[default]
    Success,
    /// Its unit could not be started.
    Resources,
    /// It was started too often.
    StartLimitHit,
}

impl TimerResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::StartLimitHit => "start-limit-hit",
        }
    }
}

/// What is going on with a timer unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimerRuntime {
    /// Where in the drawing it is.
    pub state: TimerState,
    /// What went wrong first since the last start.
    pub result: TimerResult,
    /// When it last was time; of a time before the last start only the time of day is known, from its stamp.
    pub last_trigger: Moment,
    /// From when on times of the calendar count as long as it never was time: its start, or, where the clock was set
    /// back behind that, what it showed then. Microseconds of the day.
    #[serde(default)]
    pub since: u64,
    /// Those of `OnActiveSec=`, `OnBootSec=` and `OnStartupSec=` that were there and do not come again, by their place
    /// in the file.
    pub used: BTreeSet<usize>,
}

macro_rules! timer {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.timer()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut TimerRuntime {
    core.unit_mut(id).runtime.kind.timer_mut()
}

fn config(config: &UnitConfig) -> Option<&TimerConfig> {
    config.timer()
}

fn triggered(core: &Core, id: UnitId) -> Option<UnitId> {
    core.triggered_units(id).into_iter().next()
}

fn counts_from_start(base: TimerBase) -> bool {
    matches!(base, TimerBase::Active | TimerBase::Boot | TimerBase::Startup)
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    if !matches!(timer!(core, id).state, TimerState::Dead | TimerState::Failed) {
        return Reply::Already;
    }
    if !triggered(core, id).is_some_and(|unit| core.unit(unit).is_loaded()) {
        core.log(Priority::Error, id, "cannot start: the unit it is to start is not there");
        return Reply::Failed;
    }
    core.new_invocation(id);
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let Some(timer) = config.timer() else { return Reply::Invalid };
    let stamp = if timer.persistent { last_by_stamp(core, id) } else { 0 };
    let now = core.now().realtime;
    // The boot does not come again with the timer's start.
    let from_now =
        |place: &usize| matches!(timer.triggers.get(*place), Some(TimerTrigger::After(TimerBase::Active, _)));
    let runtime = runtime(core, id);
    runtime.result = TimerResult::Success;
    runtime.used.retain(|place| !from_now(place));
    runtime.last_trigger = Moment { realtime: stamp, monotonic: 0 };
    runtime.since = now;
    if timer.wake_system {
        core.log(Priority::Notice, id, "WakeSystem= is not done: a machine that sleeps is not woken for it");
    }
    enter_waiting(core, id);
    Reply::Underway
}

/// When it last was time, by the stamp that outlives the machine's being off; 0 for never. One that has none gets it
/// now: what comes before its first start was not missed.
fn last_by_stamp(core: &mut Core, id: UnitId) -> u64 {
    let (name, now) = (core.unit(id).name.clone(), core.now().realtime);
    match core.sys.stamp(&name) {
        Some(stamp) if stamp <= now => stamp,
        Some(_) => {
            core.log(Priority::Warning, id, "its stamp says that it was time in the future; that does not count");
            0
        }
        None => {
            core.sys.set_stamp(&name, now);
            0
        }
    }
}

/// Stops it. The unit it has started stays.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    if !matches!(timer!(core, id).state, TimerState::Dead | TimerState::Failed) {
        enter_dead(core, id, TimerResult::Success);
    }
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if timer!(core, id).state == TimerState::Failed {
        set_state(core, id, TimerState::Dead);
    }
    runtime(core, id).result = TimerResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, TimerResult::StartLimitHit);
}

/// A new manager takes it up. The clock may have been set while there was none, and the end of the one before may have
/// come between the note that it was time and that of the job.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    match timer!(core, id).state {
        TimerState::Waiting => enter_waiting(core, id),
        TimerState::Running => match at_rest(core, id) {
            Some(since) if since.monotonic < timer!(core, id).last_trigger.monotonic => enter_running(core, id),
            Some(_) => enter_waiting(core, id),
            None => {}
        },
        TimerState::Dead | TimerState::Elapsed | TimerState::Failed => {}
    }
}

/// When its unit last left its rest, if it is at rest and nothing is to be done with it.
fn at_rest(core: &Core, id: UnitId) -> Option<Moment> {
    let unit = triggered(core, id)?;
    let rests = core.unit(unit).active().is_inactive_or_failed() && core.queue.job_of(unit).is_none();
    rests.then(|| core.unit(unit).runtime.times.inactive_exit)
}

/// Its files were read again.
pub(super) fn reloaded(core: &mut Core, id: UnitId) {
    // What was used up is known by its place, which may be another one now; what has passed is found so again.
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let (Some(timer), true) = (self::config(&config), core.unit(id).is_loaded()) else { return };
    let any = !std::mem::take(&mut runtime(core, id).used).is_empty();
    if any {
        let now = core.now();
        let (last, waited_for) = (timer!(core, id).last_trigger.monotonic, core.deadline_of(id, Deadline::Elapse));
        let longest = timer.randomized_delay.unwrap_or(std::time::Duration::MAX);
        let is_over = |at: u64| {
            let is_delayed = waited_for.is_some_and(|due| (at..=at.saturating_add(usec(longest))).contains(&due));
            at <= last || (at < now.monotonic && !is_delayed)
        };
        let has_passed = |trigger: &TimerTrigger| match trigger {
            TimerTrigger::After(base, Some(span)) if counts_from_start(*base) => {
                moment_of(core, id, *base, now).is_some_and(|from| is_over(from.saturating_add(usec(*span))))
            }
            TimerTrigger::After(..) | TimerTrigger::Calendar(_) => false,
        };
        let passed = timer.triggers.iter().enumerate().filter(|(_, trigger)| has_passed(trigger));
        let passed: BTreeSet<usize> = passed.map(|(place, _)| place).collect();
        runtime(core, id).used = passed;
    }
    let state = timer!(core, id).state;
    // It may be another unit that it starts now.
    if state == TimerState::Waiting || (state == TimerState::Running && at_rest(core, id).is_some()) {
        enter_waiting(core, id);
    }
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// It is time.
pub(super) fn deadline(core: &mut Core, id: UnitId, _: Deadline) {
    if timer!(core, id).state == TimerState::Waiting {
        enter_running(core, id);
    }
}

/// The unit it starts, or a job of that, changed.
pub(super) fn triggered_changed(core: &mut Core, id: UnitId, other: UnitId) {
    let unit = core.unit(other);
    // Its files are being read. Where they are gone that shows when it is time.
    if unit.load.is_none() {
        return;
    }
    match timer!(core, id).state {
        // What counts from the unit's start or end may be another time now.
        TimerState::Waiting | TimerState::Elapsed => enter_waiting(core, id),
        TimerState::Running if unit.active().is_inactive_or_failed() => enter_waiting(core, id),
        TimerState::Running | TimerState::Dead | TimerState::Failed => {}
    }
}

fn waiting(core: &Core) -> Vec<UnitId> {
    let waits = |unit: &&super::unit::Unit| unit.runtime.kind.timer().state == TimerState::Waiting;
    core.table.iter().filter(waits).map(|unit| unit.id).collect()
}

/// The clock of the day was set.
pub(super) fn clock_set(core: &mut Core) {
    for id in waiting(core) {
        // What one of them has done may have ended another's wait.
        if timer!(core, id).state != TimerState::Waiting {
            continue;
        }
        if core.unit(id).config.timer().is_some_and(|timer| timer.on_clock_change) {
            core.log(Priority::Debug, id, "the clock was set");
            enter_running(core, id);
        } else {
            enter_waiting(core, id);
        }
    }
}

/// The machine is in another time zone.
pub(super) fn time_zone_changed(core: &mut Core) {
    for id in waiting(core) {
        if timer!(core, id).state != TimerState::Waiting {
            continue;
        }
        if core.unit(id).config.timer().is_some_and(|timer| timer.on_timezone_change) {
            core.log(Priority::Debug, id, "the time zone was changed");
            enter_running(core, id);
        } else {
            enter_waiting(core, id);
        }
    }
}

// ---- when --------------------------------------------------------------------------------------------------------

/// Times that will come, in microseconds of each clock.
#[derive(Default)]
struct Next {
    monotonic: Option<u64>,
    realtime: Option<u64>,
    /// It counts from what its unit does, and so may come to wait again.
    by_unit: bool,
    /// Places in the file of what does not come again.
    used: Vec<usize>,
}

fn earlier(one: Option<u64>, other: u64) -> Option<u64> {
    Some(one.map_or(other, |one| one.min(other)))
}

fn next(core: &Core, id: UnitId, timer: &TimerConfig) -> Next {
    let now = core.now();
    let zone = std::cell::OnceCell::new();
    let mut next = Next::default();
    for (place, trigger) in timer.triggers.iter().enumerate() {
        if timer!(core, id).used.contains(&place) {
            continue;
        }
        match trigger {
            TimerTrigger::Calendar(spec) => {
                let zone = zone.get_or_init(|| core.sys.time_zone());
                if let Some(at) = by_calendar(core, id, spec, zone, now) {
                    next.realtime = earlier(next.realtime, at);
                }
            }
            TimerTrigger::After(base, span) => {
                next.by_unit |= !counts_from_start(*base);
                let (Some(from), Some(span)) = (moment_of(core, id, *base, now), *span) else { continue };
                let at = from.saturating_add(usec(span));
                if counts_from_start(*base) && has_elapsed(core, id, at, now) {
                    next.used.push(place);
                    continue;
                }
                next.monotonic = earlier(next.monotonic, at);
            }
        }
    }
    next
}

/// Whether what does not come again was there: it was time since, or before this was so much as waited for. What was
/// waited for and is not done yet, or only after its random delay, is not over.
fn has_elapsed(core: &Core, id: UnitId, at: u64, now: Moment) -> bool {
    let last = timer!(core, id).last_trigger;
    let is_waited_for = core.deadline_of(id, Deadline::Elapse).is_some();
    (last.monotonic > 0 && at <= last.monotonic) || (last.is_set() && at < now.monotonic && !is_waited_for)
}

/// The next time of the calendar, from when it last was time; one that was missed while nobody waited is due at once.
fn by_calendar(core: &Core, id: UnitId, spec: &CalendarSpec, zone: &TimeZone, now: Moment) -> Option<u64> {
    let TimerRuntime { last_trigger: last, since, .. } = timer!(core, id);
    let since = if last.is_set() { last.realtime } else { *since };
    let after = Timestamp::from_microsecond(i64::try_from(since).ok()?).ok()?;
    let at = u64::try_from(spec.next_elapse(after, zone)?.as_microsecond()).ok()?;
    // A time before the system came up counts as that moment, so that what was missed by many machines that were off
    // together is spread by `RandomizedDelaySec=` too. What the clock said then may have been wrong; by how long ago it
    // is, it is right.
    let started = now.realtime.saturating_sub(now.monotonic.saturating_sub(core.started.monotonic));
    Some(at.max(started))
}

/// The moment that spans are counted from, if there was one yet.
fn moment_of(core: &Core, id: UnitId, base: TimerBase, now: Moment) -> Option<u64> {
    let last = timer!(core, id).last_trigger.monotonic;
    // One that cannot start, or is up already, has no new moment of its own; it is not tried again before the span is
    // over all the same.
    let of_unit = |what: fn(&super::unit::Times) -> Moment| {
        let unit = triggered(core, id)?;
        Some(what(&core.unit(unit).runtime.times).monotonic.max(last)).filter(|moment| *moment > 0)
    };
    match base {
        TimerBase::Active if core.unit(id).active() == ActiveState::Active => {
            Some(core.unit(id).runtime.times.inactive_exit.monotonic)
        }
        TimerBase::Active => Some(now.monotonic),
        // A container's boot is not the machine's.
        TimerBase::Boot if !core.surroundings.container => Some(0),
        TimerBase::Boot | TimerBase::Startup => Some(core.started.monotonic),
        TimerBase::UnitActive => of_unit(|times| times.inactive_exit),
        TimerBase::UnitInactive => of_unit(|times| times.inactive_enter),
    }
}

/// The clock was set back, now or while it did not wait: what is to come once more is waited for. Not so by less than
/// the time by which it may be late: that is no other time, but the same one seen on a better clock.
fn rewind(core: &mut Core, id: UnitId, timer: &TimerConfig) {
    let now = core.now().realtime;
    let tolerated = timer.accuracy.map_or(u64::MAX, usec);
    let runtime = runtime(core, id);
    if runtime.last_trigger.realtime > now.saturating_add(tolerated) {
        runtime.last_trigger.realtime = now;
    }
    runtime.since = runtime.since.min(now);
}

/// A time, and the random delay after it. One that was chosen for this time already is kept.
fn delayed(core: &mut Core, id: UnitId, timer: &TimerConfig, which: Deadline, at: u64) -> u64 {
    let longest = timer.randomized_delay.unwrap_or(std::time::Duration::MAX);
    let limit = at.saturating_add(usec(longest));
    let chosen = core.deadline_of(id, which).filter(|chosen| (at..=limit).contains(chosen));
    if let Some(chosen) = chosen.filter(|_| !timer.fixed_random_delay) {
        return chosen;
    }
    let delay = match (usec(longest), timer.fixed_random_delay) {
        (0, _) => 0,
        (span, true) => core.sys.fixed_number(&core.unit(id).name.clone()) % span,
        (_, false) => core.random_below(longest),
    };
    at.saturating_add(delay)
}

// ---- states ------------------------------------------------------------------------------------------------------

fn set_state(core: &mut Core, id: UnitId, state: TimerState) {
    if state != TimerState::Waiting {
        core.disarm(id, Deadline::Elapse);
        core.disarm(id, Deadline::Calendar);
    }
    let old = std::mem::replace(&mut runtime(core, id).state, state);
    core.state_changed(id, old.active(), state.active(), false);
}

fn enter_dead(core: &mut Core, id: UnitId, result: TimerResult) {
    let runtime = runtime(core, id);
    if runtime.result == TimerResult::Success {
        runtime.result = result;
    }
    let failed = runtime.result;
    if failed == TimerResult::Success {
        set_state(core, id, TimerState::Dead);
    } else {
        core.log(Priority::Warning, id, &format!("failed: {}", failed.word()));
        set_state(core, id, TimerState::Failed);
    }
}

fn enter_waiting(core: &mut Core, id: UnitId) {
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let Some(timer) = self::config(&config) else { return };
    rewind(core, id, timer);
    let next = next(core, id, timer);
    runtime(core, id).used.extend(&next.used);
    let by_event = timer.on_clock_change || timer.on_timezone_change;
    if next.monotonic.is_none() && next.realtime.is_none() && !by_event {
        core.log(Priority::Debug, id, "no time will come for it");
        if timer.remain_after_elapse || next.by_unit {
            set_state(core, id, TimerState::Elapsed);
        } else {
            enter_dead(core, id, TimerResult::Success);
        }
        return;
    }
    for (which, clock, at) in
        [(Deadline::Elapse, Clock::Monotonic, next.monotonic), (Deadline::Calendar, Clock::Realtime, next.realtime)]
    {
        match at {
            Some(at) => {
                let at = delayed(core, id, timer, which, at);
                core.arm(id, which, clock, at);
            }
            None => core.disarm(id, which),
        }
    }
    set_state(core, id, TimerState::Waiting);
}

fn enter_running(core: &mut Core, id: UnitId) {
    // Who goes down does not bring up its unit once more.
    if core.has_stop_job(id) {
        return;
    }
    let Some(unit) = triggered(core, id) else {
        core.log(Priority::Error, id, "the unit it is to start is not there any more");
        enter_dead(core, id, TimerResult::Resources);
        return;
    };
    let wish = Wish { unit, request: Request::Start, mode: JobMode::Replace, manual: false };
    if let Err(error) = core.wish(wish) {
        core.log(Priority::Warning, id, &format!("cannot have its unit started: {error}"));
        enter_dead(core, id, TimerResult::Resources);
        return;
    }
    let now = core.now();
    runtime(core, id).last_trigger = now;
    let unit = core.unit(id);
    if unit.config.timer().is_some_and(|timer| timer.persistent) {
        let name = unit.name.clone();
        core.sys.set_stamp(&name, now.realtime);
    }
    set_state(core, id, TimerState::Running);
}
