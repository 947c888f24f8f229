// SPDX-License-Identifier: GPL-2.0-or-later
//! Points of the calendar: `Mon..Fri *-*-* 08:00`, `*:0/10`, `monthly`.
//!
//! ```text
//!   Mon,Wed..Fri  2026-1..6-*~1  08:00/15:30.5  Europe/Berlin
//!   weekdays      date           time           time zone
//! ```
//!
//! Each part of date and time is a list of single values, ranges `a..b` and repetitions `a/step`; `*` is any value.
//! `~` before the day counts from the month's end. This module knows what an
//! expression is, `calendar_text.rs` reads and writes it, and `elapse.rs` finds the next time.
//! systemd.time(7), "Calendar Events".

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::calendar_text::{OutOfRange, read_expression};

/// The first year an expression may name, and the last in which one elapses.
pub(super) const YEARS: (i64, i64) = (1970, 2199);
/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// More values than this in one list are refused, as systemd does.
pub(super) const LIST_MAX: usize = 241;

/// Why a text is no calendar expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The text does not have the form.
    #[error("\"{0}\" is not a calendar expression; write one like \"Mon..Fri *-*-* 08:00\", \"*:0/10\" or \"daily\"")]
    Syntax(String),
    /// A number is not a year, month, day, hour, minute or second, or a range or step never comes to a second value.
    #[error("a number in \"{0}\" is out of range")]
    Range(String),
}

/// One value, range or repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Component {
    pub(super) start: i64,
    pub(super) stop: Option<i64>,
    /// 0: no repetition.
    pub(super) step: i64,
}

impl Component {
    pub(super) const fn single(value: i64) -> Component {
        Component { start: value, stop: None, step: 0 }
    }
}

/// The values one part can have, sorted; `None` for `*`.
pub(super) type Chain = Option<Vec<Component>>;

/// The zone an expression's times are in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Zone {
    /// The machine's.
    Local,
    /// The machine's, and only while its daylight saving time is (not) in force.
    LocalOnly { daylight_saving: bool, shown: String },
    /// `UTC`
    Utc,
    /// A zone of the time zone database.
    Named(String),
}

/// When a timer with `OnCalendar=` elapses.
///
/// Displayed in the normal form that `systemd-analyze calendar` shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CalendarSpec {
    /// One bit a day, Monday first; `None` for all.
    pub(super) weekdays: Option<u8>,
    pub(super) years: Chain,
    pub(super) months: Chain,
    pub(super) days: Chain,
    /// Days count from the month's end.
    pub(super) from_end: bool,
    pub(super) hours: Chain,
    pub(super) minutes: Chain,
    /// In microseconds; never `None`, see [`any_second`].
    pub(super) seconds: Chain,
    pub(super) zone: Zone,
}

/// `*` for seconds is every full second.
pub(super) fn any_second() -> Chain {
    Some(vec![Component { start: 0, stop: None, step: SECOND }])
}

pub(super) fn at(values: &[i64]) -> Chain {
    Some(values.iter().copied().map(Component::single).collect())
}

/// Names of the days, in small letters, and as they are written.
pub(super) const WEEKDAYS: [(&str, &str); 7] = [
    ("monday", "Mon"),
    ("tuesday", "Tue"),
    ("wednesday", "Wed"),
    ("thursday", "Thu"),
    ("friday", "Fri"),
    ("saturday", "Sat"),
    ("sunday", "Sun"),
];
const ALL_WEEKDAYS: u8 = 0x7f;

impl CalendarSpec {
    /// Reads an expression. `local` is the machine's zone: its own abbreviations (`CET`, `CEST`) may be named.
    ///
    /// ```
    /// use jiff::tz::TimeZone;
    /// use ssi_unit::time::CalendarSpec;
    /// let spec = CalendarSpec::parse("Mon *-*~7/1", &TimeZone::UTC).unwrap();
    /// assert_eq!(spec.to_string(), "Mon *-*~07/1 00:00:00");
    /// ```
    ///
    /// # Errors
    /// [`CalendarError`]
    pub fn parse(text: &str, local: &TimeZone) -> Result<CalendarSpec, CalendarError> {
        let syntax = || CalendarError::Syntax(text.to_owned());
        let (rest, zone) = take_zone(text, local);
        let mut spec = CalendarSpec {
            weekdays: None,
            years: None,
            months: None,
            days: None,
            from_end: false,
            hours: at(&[0]),
            minutes: at(&[0]),
            seconds: at(&[0]),
            zone,
        };
        match rest.to_ascii_lowercase().as_str() {
            "" => return Err(syntax()),
            "minutely" => (spec.hours, spec.minutes) = (None, None),
            "hourly" => spec.hours = None,
            "daily" => {}
            "weekly" => spec.weekdays = Some(1),
            "monthly" => spec.days = at(&[1]),
            "quarterly" => (spec.months, spec.days) = (at(&[1, 4, 7, 10]), at(&[1])),
            "biannually" | "bi-annually" | "semiannually" | "semi-annually" => {
                (spec.months, spec.days) = (at(&[1, 7]), at(&[1]));
            }
            "annually" | "yearly" | "anually" => (spec.months, spec.days) = (at(&[1]), at(&[1])),
            _ => {
                let read = read_expression(rest, &mut spec);
                read.ok_or_else(syntax)?.map_err(|OutOfRange| CalendarError::Range(text.to_owned()))?;
            }
        }
        spec.normalize();
        if spec.is_valid() { Ok(spec) } else { Err(CalendarError::Range(text.to_owned())) }
    }

    fn normalize(&mut self) {
        if self.zone == Zone::Named("UTC".to_owned()) {
            self.zone = Zone::Utc;
        }
        self.weekdays = self.weekdays.filter(|days| (1..ALL_WEEKDAYS).contains(days));
        self.from_end = self.from_end && self.days.is_some();
        for year in self.years.iter_mut().flatten() {
            year.start = full_year(year.start);
            year.stop = year.stop.map(full_year);
        }
        for chain in
            [&mut self.years, &mut self.months, &mut self.days, &mut self.hours, &mut self.minutes, &mut self.seconds]
        {
            let Some(chain) = chain else { continue };
            for component in chain.iter_mut() {
                if let Some(stop) = &mut component.stop
                    && *stop > component.start
                    && component.step > 0
                {
                    *stop -= (*stop - component.start) % component.step;
                }
                let once = component.stop.is_some_and(|stop| {
                    stop == component.start
                        || (stop > component.start && component.step > 0 && component.start + component.step > stop)
                });
                if once {
                    *component = Component::single(component.start);
                }
            }
            // `None` sorts before any stop, which is where systemd's -1 is.
            chain.sort_unstable();
            chain.dedup();
        }
    }

    fn is_valid(&self) -> bool {
        let valid = |chain: &Chain, from: i64, to: i64, from_end: bool| {
            // A day that counts from the end has to be in February too.
            let to = if from_end { to - 3 } else { to };
            chain.iter().flatten().all(|component| {
                let last = match component.stop {
                    Some(stop) if !(from..=to).contains(&stop) => return false,
                    Some(stop) => component.start + component.step <= stop,
                    None if from_end => component.start - component.step >= from,
                    None => component.start + component.step <= to,
                };
                (from..=to).contains(&component.start) && component.step <= to - from && last
            })
        };
        valid(&self.years, YEARS.0, YEARS.1, false)
            && valid(&self.months, 1, 12, false)
            && valid(&self.days, 1, 31, self.from_end)
            && valid(&self.hours, 0, 23, false)
            && valid(&self.minutes, 0, 59, false)
            && valid(&self.seconds, 0, 60 * SECOND - 1, false)
    }
}

/// `26` is 2026, `99` is 1999.
fn full_year(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

/// Cuts a time zone off the end.
fn take_zone<'a>(text: &'a str, local: &TimeZone) -> (&'a str, Zone) {
    let Some((before, word)) = text.rsplit_once(' ') else { return (text, Zone::Local) };
    if word.eq_ignore_ascii_case("UTC") {
        return (before, Zone::Utc);
    }
    for (shown, daylight_saving) in abbreviations(local) {
        if word.eq_ignore_ascii_case(&shown) {
            return (before, Zone::LocalOnly { daylight_saving, shown });
        }
    }
    // The database is a folder of files, so its names are exact; jiff would take any case.
    match TimeZone::get(word) {
        Ok(zone) if zone.iana_name() == Some(word) => (before, Zone::Named(word.to_owned())),
        _ => (text, Zone::Local),
    }
}

/// What the local zone calls itself, as tzset(3) finds it: the last used abbreviation without and with daylight
/// saving.
fn abbreviations(local: &TimeZone) -> Vec<(String, bool)> {
    let now = jiff::Timestamp::now();
    let mut found: Vec<(String, bool)> = Vec::new();
    let mut note = |at: jiff::Timestamp| {
        let info = local.to_offset_info(at);
        let daylight_saving = info.dst().is_dst();
        if found.iter().all(|(_, known)| *known != daylight_saving) {
            found.push((info.abbreviation().to_owned(), daylight_saving));
        }
    };
    note(now);
    for transition in local.following(now).take(2) {
        note(transition.timestamp());
    }
    for transition in local.preceding(now).take(4) {
        note(transition.timestamp());
    }
    found
}
