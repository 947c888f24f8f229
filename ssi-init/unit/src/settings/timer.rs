// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Timer]` and `[Path]`: systemd.timer(5), systemd.path(5).

use jiff::tz::TimeZone;

use super::{Outcome, Reader, Table};
use crate::config::path::{PathConfig, PathEvent, PathWatch};
use crate::config::timer::{TimerBase, TimerConfig, TimerTrigger};
use crate::name::UnitName;
use crate::time::CalendarSpec;

/// The keys of `[Timer]`.
pub(super) const TIMER: Table<TimerConfig> = &[
    ("OnCalendar", |timer, value, reader| {
        if value.is_empty() {
            timer.triggers.clear();
            return Ok(());
        }
        let text = reader.text(value)?;
        let spec = CalendarSpec::parse(&text, &TimeZone::system())
            .map_err(|error| format!("OnCalendar={text}: {error}, ignoring"))?;
        timer.triggers.push(TimerTrigger::Calendar(spec));
        Ok(())
    }),
    ("OnActiveSec", |timer, value, reader| after(timer, TimerBase::Active, value, reader)),
    ("OnBootSec", |timer, value, reader| after(timer, TimerBase::Boot, value, reader)),
    ("OnStartupSec", |timer, value, reader| after(timer, TimerBase::Startup, value, reader)),
    ("OnUnitActiveSec", |timer, value, reader| after(timer, TimerBase::UnitActive, value, reader)),
    ("OnUnitInactiveSec", |timer, value, reader| after(timer, TimerBase::UnitInactive, value, reader)),
    ("OnClockChange", |timer, value, reader| reader.set_bool(&mut timer.on_clock_change, value)),
    ("OnTimezoneChange", |timer, value, reader| reader.set_bool(&mut timer.on_timezone_change, value)),
    ("Persistent", |timer, value, reader| reader.set_bool(&mut timer.persistent, value)),
    ("WakeSystem", |timer, value, reader| reader.set_bool(&mut timer.wake_system, value)),
    ("RemainAfterElapse", |timer, value, reader| reader.set_bool(&mut timer.remain_after_elapse, value)),
    ("FixedRandomDelay", |timer, value, reader| reader.set_bool(&mut timer.fixed_random_delay, value)),
    ("AccuracySec", |timer, value, reader| reader.set_span(&mut timer.accuracy, value)),
    ("RandomizedDelaySec", |timer, value, reader| reader.set_span(&mut timer.randomized_delay, value)),
    ("Unit", |timer, value, reader| set_triggered(&mut timer.unit, value, reader)),
];

/// The keys of `[Path]`.
pub(super) const PATH: Table<PathConfig> = &[
    ("PathExists", |path, value, reader| watch(path, PathEvent::Exists, value, reader)),
    ("PathExistsGlob", |path, value, reader| watch(path, PathEvent::ExistsGlob, value, reader)),
    ("PathChanged", |path, value, reader| watch(path, PathEvent::Changed, value, reader)),
    ("PathModified", |path, value, reader| watch(path, PathEvent::Modified, value, reader)),
    ("DirectoryNotEmpty", |path, value, reader| watch(path, PathEvent::DirectoryNotEmpty, value, reader)),
    ("Unit", |path, value, reader| set_triggered(&mut path.unit, value, reader)),
    ("MakeDirectory", |path, value, reader| reader.set_bool(&mut path.make_directory, value)),
    ("DirectoryMode", |path, value, reader| reader.set_mode(&mut path.directory_mode, value)),
    ("TriggerLimitIntervalSec", |path, value, reader| reader.set_span(&mut path.trigger_limit_interval, value)),
    ("TriggerLimitBurst", |path, value, reader| {
        let mut burst = 0;
        reader.set_unsigned(&mut burst, value)?;
        path.trigger_limit_burst = Some(burst);
        Ok(())
    }),
];

/// A trigger of a monotonic timer; an empty value takes back all triggers, of whatever kind.
fn after(timer: &mut TimerConfig, base: TimerBase, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        timer.triggers.clear();
        return Ok(());
    }
    let text = reader.text(value)?;
    timer.triggers.push(TimerTrigger::After(base, reader.span(&text)?));
    Ok(())
}

/// A watched path; an empty value takes back all watches, of whatever kind.
fn watch(config: &mut PathConfig, event: PathEvent, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        config.watches.clear();
        return Ok(());
    }
    let path = reader.path(value)?;
    config.watches.push(PathWatch { event, path });
    Ok(())
}

/// What a timer or path unit starts. The first one told holds.
fn set_triggered(slot: &mut Option<UnitName>, value: &str, reader: &Reader<'_>) -> Outcome {
    if let Some(first) = slot {
        return Err(format!("Unit={value} comes after Unit={first}, and there can be but one, ignoring").into());
    }
    let name = reader.other_unit(value)?;
    if name == *reader.specifiers.name {
        return Err(format!("Unit={value} is this unit itself, ignoring").into());
    }
    *slot = Some(name);
    Ok(())
}
