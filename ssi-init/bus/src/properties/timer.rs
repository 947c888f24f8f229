// SPDX-License-Identifier: GPL-2.0-or-later
//! A timer: systemd.timer(5).

use std::sync::LazyLock;

use ssi_manager::core::Deadline;
use ssi_unit::config::timer::{TimerBase, TimerTrigger};
use ssi_unit::config::{ManagerDefaults, TimerConfig};
use ssi_unit::dependency::Dependency;
use zbus::zvariant::Value;

use super::value::{text, usec};
use super::{Property, View, fixed, invalidated, told};

fn config<'a>(v: &View<'a>) -> &'a TimerConfig {
    static NONE: LazyLock<TimerConfig> = LazyLock::new(|| TimerConfig::new(&ManagerDefaults::default()));
    v.unit.config.timer().unwrap_or(&NONE)
}

/// The unit that is triggered.
pub(super) fn triggered(v: &View<'_>) -> String {
    let edge = v.core.graph.edges(v.id, Dependency::Triggers).first();
    edge.map(|edge| v.core.unit(edge.to).name.to_string()).unwrap_or_default()
}

fn base(base: TimerBase) -> &'static str {
    match base {
        TimerBase::Active => "OnActiveUSec",
        TimerBase::Boot => "OnBootUSec",
        TimerBase::Startup => "OnStartupUSec",
        TimerBase::UnitActive => "OnUnitActiveUSec",
        TimerBase::UnitInactive => "OnUnitInactiveUSec",
    }
}

/// `(stt)`: from what is counted, how long, and when that is.
fn spans(v: &View<'_>) -> Value<'static> {
    let due = v.core.deadline_of(v.id, Deadline::Elapse).unwrap_or(0);
    // The one that was read last stands first there.
    let rows = config(v).triggers.iter().rev().filter_map(|trigger| match trigger {
        TimerTrigger::After(from, span) => Some((base(*from), usec(*span), due)),
        TimerTrigger::Calendar(_) => None,
    });
    Value::from(rows.collect::<Vec<_>>())
}

/// `(sst)`: the word for it, when by the calendar, and when that is next.
fn calendars(v: &View<'_>) -> Value<'static> {
    let due = v.core.deadline_of(v.id, Deadline::Calendar).unwrap_or(0);
    let rows = config(v).triggers.iter().rev().filter_map(|trigger| match trigger {
        TimerTrigger::Calendar(spec) => Some(("OnCalendar", spec.to_string(), due)),
        TimerTrigger::After(..) => None,
    });
    Value::from(rows.collect::<Vec<_>>())
}

pub(super) const TABLE: &[Property] = &[
    fixed("Unit", "s", |v| text(&triggered(v))),
    invalidated("TimersMonotonic", "a(stt)", spans),
    invalidated("TimersCalendar", "a(sst)", calendars),
    fixed("OnClockChange", "b", |v| config(v).on_clock_change.into()),
    fixed("OnTimezoneChange", "b", |v| config(v).on_timezone_change.into()),
    told("NextElapseUSecRealtime", "t", |v| v.core.deadline_of(v.id, Deadline::Calendar).unwrap_or(u64::MAX).into()),
    told("NextElapseUSecMonotonic", "t", |v| v.core.deadline_of(v.id, Deadline::Elapse).unwrap_or(u64::MAX).into()),
    told("LastTriggerUSec", "t", |v| v.core.last_trigger(v.id).realtime.into()),
    told("LastTriggerUSecMonotonic", "t", |v| v.core.last_trigger(v.id).monotonic.into()),
    told("Result", "s", |v| text(v.core.result_of(v.id))),
    fixed("AccuracyUSec", "t", |v| usec(config(v).accuracy).into()),
    fixed("RandomizedDelayUSec", "t", |v| usec(config(v).randomized_delay).into()),
    fixed("FixedRandomDelay", "b", |v| config(v).fixed_random_delay.into()),
    fixed("Persistent", "b", |v| config(v).persistent.into()),
    fixed("WakeSystem", "b", |v| config(v).wake_system.into()),
    fixed("RemainAfterElapse", "b", |v| config(v).remain_after_elapse.into()),
];
