// SPDX-License-Identifier: GPL-2.0-or-later
//! When a calendar expression elapses next.
//!
//! The search goes from the largest part to the smallest over wall-clock times, and only a time that is found is
//! looked up in the time zone. A time that the clock skips in spring does not elapse that day; one that it shows
//! twice in autumn elapses once, the first time, unless the search begins between the two.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::calendar::{CalendarSpec, Chain, Component, SECOND, YEARS, Zone};

/// Time of day as microseconds of a minute, minute and hour.
type Clock = (i64, i64, i64);

impl CalendarSpec {
    /// The first time after `after` at which the expression elapses, or `None` when there is none until 2199.
    ///
    /// `local` is the machine's time zone. An expression whose own zone is no longer in the database is read in UTC.
    #[must_use]
    pub fn next_elapse(&self, after: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        let zone = match &self.zone {
            Zone::Local | Zone::LocalOnly { .. } => local.clone(),
            Zone::Utc => TimeZone::UTC,
            Zone::Named(name) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
        };
        // Whole microseconds, like every clock of the manager.
        let after = Timestamp::from_microsecond(after.as_microsecond()).ok()?;
        let mut from = zone.to_datetime(after.checked_add(1.microsecond()).ok()?);
        loop {
            let found = self.next_civil(from)?;
            match self.instant(found, after, &zone) {
                Found::At(instant) => return Some(instant),
                Found::Skipped { resume } if resume > found => from = resume,
                _ => from = found.checked_add(1.microsecond()).ok()?,
            }
        }
    }

    /// What a wall-clock time is in the zone.
    fn instant(&self, civil: DateTime, after: Timestamp, zone: &TimeZone) -> Found {
        let offsets = match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
            AmbiguousOffset::Gap { before, .. } => {
                // The clock jumps over this time: go on where it lands.
                let landed =
                    before.to_timestamp(civil).ok().and_then(|instant| instant.checked_add(1.nanosecond()).ok());
                let transition = landed.and_then(|instant| zone.preceding(instant).next());
                let resume = transition.map_or(civil, |transition| zone.to_datetime(transition.timestamp()));
                return Found::Skipped { resume };
            }
        };
        let wanted = match &self.zone {
            Zone::LocalOnly { daylight_saving, .. } => Some(*daylight_saving),
            _ => None,
        };
        let in_force =
            |instant: &Timestamp| wanted.is_none_or(|wanted| zone.to_offset_info(*instant).dst().is_dst() == wanted);
        let instants = offsets.into_iter().flatten().filter_map(|offset| offset.to_timestamp(civil).ok());
        match instants.filter(|instant| *instant > after && in_force(instant)).min() {
            Some(instant) => Found::At(instant),
            None => Found::Past,
        }
    }

    /// The first wall-clock time at or after `from` that fits.
    fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        let begin = from.time();
        let micros = i64::from(begin.second()) * SECOND + i64::from(begin.subsec_nanosecond()) / 1_000;
        let clock = (micros, i64::from(begin.minute()), i64::from(begin.hour()));
        let mut date = self.next_date(from.date())?;
        let midnight = (0, 0, 0);
        loop {
            let earliest = if date == from.date() { clock } else { midnight };
            if let Some(time) = self.next_clock(earliest) {
                return Some(date.to_datetime(time));
            }
            date = self.next_date(date.tomorrow().ok()?)?;
        }
    }

    fn next_clock(&self, (micros, minute, hour): Clock) -> Option<Time> {
        let mut hour_from = hour;
        loop {
            let found_hour = at_or_after(&self.hours, hour_from, 23)?;
            let mut minute_from = if found_hour == hour { minute } else { 0 };
            while let Some(found_minute) = at_or_after(&self.minutes, minute_from, 59) {
                let same = found_hour == hour && found_minute == minute;
                let found = at_or_after(&self.seconds, if same { micros } else { 0 }, 60 * SECOND - 1);
                if let Some(found) = found {
                    let nanosecond = i32::try_from(found % SECOND * 1_000).ok()?;
                    let second = i8::try_from(found / SECOND).ok()?;
                    let (hour, minute) = (i8::try_from(found_hour).ok()?, i8::try_from(found_minute).ok()?);
                    return Time::new(hour, minute, second, nanosecond).ok();
                }
                minute_from = found_minute + 1;
            }
            hour_from = found_hour + 1;
        }
    }

    fn next_date(&self, from: Date) -> Option<Date> {
        let mut year_from = i64::from(from.year()).max(YEARS.0);
        loop {
            let year = at_or_after(&self.years, year_from, YEARS.1)?;
            let year_number = i16::try_from(year).ok()?;
            let same_year = year == i64::from(from.year());
            let mut month_from = if same_year { i64::from(from.month()) } else { 1 };
            while let Some(month) = at_or_after(&self.months, month_from, 12) {
                let first = Date::new(year_number, i8::try_from(month).ok()?, 1).ok()?;
                let same_month = same_year && month == i64::from(from.month());
                if let Some(date) = self.day_of_month(first, if same_month { i64::from(from.day()) } else { 1 }) {
                    return Some(date);
                }
                month_from = month + 1;
            }
            year_from = year + 1;
        }
    }

    fn day_of_month(&self, first: Date, mut from: i64) -> Option<Date> {
        let length = i64::from(first.days_in_month());
        let reversed: Chain;
        let days = if self.from_end {
            let list = self.days.as_ref()?;
            reversed = Some(list.iter().map(|component| count_from_end(*component, length)).collect());
            &reversed
        } else {
            &self.days
        };
        loop {
            let day = at_or_after(days, from, length)?;
            let date = Date::new(first.year(), first.month(), i8::try_from(day).ok()?).ok()?;
            let bit = match date.weekday() {
                Weekday::Monday => 1,
                Weekday::Tuesday => 1 << 1,
                Weekday::Wednesday => 1 << 2,
                Weekday::Thursday => 1 << 3,
                Weekday::Friday => 1 << 4,
                Weekday::Saturday => 1 << 5,
                Weekday::Sunday => 1 << 6,
            };
            if self.weekdays.is_none_or(|days| days & bit != 0) {
                return Some(date);
            }
            from = day + 1;
        }
    }
}

enum Found {
    At(Timestamp),
    Skipped { resume: DateTime },
    Past,
}

/// Turns "third last to last" into days of a month of this length. Steps go forward all the same.
fn count_from_end(component: Component, length: i64) -> Component {
    let day = |back: i64| length + 1 - back;
    match component.stop {
        Some(stop) => Component { start: day(stop), stop: Some(day(component.start)), ..component },
        None => Component { start: day(component.start), ..component },
    }
}

/// The smallest value a chain has at or after `from`, up to `limit`.
fn at_or_after(chain: &Chain, from: i64, limit: i64) -> Option<i64> {
    let Some(chain) = chain else { return (from <= limit).then_some(from) };
    chain
        .iter()
        .filter_map(|component| {
            if component.start >= from {
                return Some(component.start);
            }
            if component.step == 0 {
                return None;
            }
            let steps = (from - component.start + component.step - 1) / component.step;
            let value = component.start + steps * component.step;
            component.stop.is_none_or(|stop| value <= stop).then_some(value)
        })
        .min()
        .filter(|value| *value <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let spec = CalendarSpec::parse(text, &zone).unwrap();
        let found = spec.next_elapse(after.parse().unwrap(), &zone);
        found.map_or("never".to_owned(), |found| found.to_string())
    }

    #[test]
    fn plain_times() {
        let now = "2026-08-05T10:20:30.5Z";
        assert_eq!(next("hourly", now, "UTC"), "2026-08-05T11:00:00Z");
        assert_eq!(next("*:0/10", now, "UTC"), "2026-08-05T10:30:00Z");
        assert_eq!(next("*:*:*", now, "UTC"), "2026-08-05T10:20:31Z");
        assert_eq!(next("*:*:0/0.3", now, "UTC"), "2026-08-05T10:20:30.6Z");
        assert_eq!(next("Sun *-*-1..7 1:00", now, "UTC"), "2026-09-06T01:00:00Z");
        assert_eq!(next("*-02~1", now, "UTC"), "2027-02-28T00:00:00Z");
        assert_eq!(next("*-02-29", now, "UTC"), "2028-02-29T00:00:00Z");
        assert_eq!(next("2020-01-01", now, "UTC"), "never");
        assert_eq!(next("*-02-30", now, "UTC"), "never");
        assert_eq!(next("daily", "2026-08-05T00:00:00Z", "UTC"), "2026-08-06T00:00:00Z");
    }

    #[test]
    fn a_time_the_clock_skips_does_not_elapse() {
        // Berlin, 29 March 2026: 02:00 is 03:00.
        assert_eq!(next("*-*-* 02:30", "2026-03-28T12:00:00Z", "Europe/Berlin"), "2026-03-30T00:30:00Z");
        assert_eq!(next("*:0/30", "2026-03-29T00:40:00Z", "Europe/Berlin"), "2026-03-29T01:00:00Z");
    }

    #[test]
    fn a_time_the_clock_shows_twice_elapses_the_first_time() {
        // Berlin, 25 October 2026: 03:00 is 02:00.
        assert_eq!(next("*-*-* 02:30", "2026-10-24T12:00:00Z", "Europe/Berlin"), "2026-10-25T00:30:00Z");
        assert_eq!(next("*-*-* 02:30", "2026-10-25T00:30:00Z", "Europe/Berlin"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn zones_by_name() {
        let now = "2026-08-05T10:20:30Z";
        assert_eq!(next("12:00 Asia/Tokyo", now, "Europe/Berlin"), "2026-08-06T03:00:00Z");
        assert_eq!(next("12:00 utc", now, "Europe/Berlin"), "2026-08-05T12:00:00Z");
        assert_eq!(next("12:00", now, "Europe/Berlin"), "2026-08-06T10:00:00Z");
        assert_eq!(next("12:00 CET", now, "Europe/Berlin"), "2026-10-25T11:00:00Z");
    }

    /// Whether an expression with full minutes fits a time, by looking at nothing but the text.
    fn fits(values: &[Vec<i64>; 4], weekdays: u8, time: DateTime) -> bool {
        let part = |index: usize, value: i8| {
            let list = &values[index];
            list.is_empty() || list.contains(&i64::from(value))
        };
        let weekday = time.weekday().to_monday_zero_offset();
        part(0, time.month())
            && part(1, time.day())
            && part(2, time.hour())
            && part(3, time.minute())
            && (weekdays == 0 || weekdays & (1 << weekday) != 0)
    }

    use proptest::prelude::*;

    /// A list of values as text, each single, ranged or stepped, and as the values it stands for.
    fn part(low: i64, high: i64) -> impl Strategy<Value = (String, Vec<i64>)> {
        let single = (low..=high).prop_map(|value| (value.to_string(), vec![value]));
        let range = (low..high).prop_flat_map(move |from| {
            (Just(from), from + 1..=high).prop_map(|(from, to)| (format!("{from}..{to}"), (from..=to).collect()))
        });
        let step = (low..high, 1..=(high - low) / 2)
            .prop_filter("has a second value", move |(from, step)| from + step <= high);
        let step = step.prop_map(move |(from, step)| {
            let values = (from..=high).step_by(usize::try_from(step).unwrap()).collect();
            (format!("{from}/{step}"), values)
        });
        let one = prop_oneof![single, range, step];
        prop_oneof![
            Just(("*".to_owned(), Vec::new())),
            proptest::collection::vec(one, 1..3).prop_map(|list| {
                let text: Vec<&str> = list.iter().map(|(text, _)| text.as_str()).collect();
                (text.join(","), list.iter().flat_map(|(_, values)| values.clone()).collect())
            })
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Steps that go past the end of a day or month are where systemd 252 leaves times out; here none is.
        #[test]
        fn a_walk_from_minute_to_minute_finds_the_same_time(
            month in part(1, 12), day in part(1, 31), hour in part(0, 23), minute in part(0, 59),
            weekdays in 0u8..0x7f, start in 0i64..500_000_000,
        ) {
            let days: Vec<&str> = (0..7).filter(|day| weekdays & (1 << day) != 0).map(|day| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][day]).collect();
            let days = if days.is_empty() { String::new() } else { format!("{} ", days.join(",")) };
            let text = format!("{days}*-{}-{} {}:{}", month.0, day.0, hour.0, minute.0);
            let spec = CalendarSpec::parse(&text, &TimeZone::UTC).unwrap();
            let after = Timestamp::from_second(1_500_000_000 + start).unwrap();
            let found = spec.next_elapse(after, &TimeZone::UTC);
            let values = [month.1, day.1, hour.1, minute.1];
            // Sixty days are looked at; what comes later has to be later for the walk as well.
            let first = (after.as_second() / 60 + 1) * 60;
            let walk = (first..first + 60 * 86_400).step_by(60).map(|second| Timestamp::from_second(second).unwrap());
            let walked = walk.into_iter().find(|time| fits(&values, weekdays, TimeZone::UTC.to_datetime(*time)));
            match walked {
                Some(time) => prop_assert_eq!(found, Some(time), "{}", text),
                None => prop_assert!(found.is_none_or(|time| time.as_second() >= first + 60 * 86_400), "{}", text),
            }
        }
    }
}
