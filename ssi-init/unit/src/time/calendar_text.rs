// SPDX-License-Identifier: GPL-2.0-or-later
//! Calendar expressions as text: reading, and writing in the normal form.

use std::fmt;

use jiff::tz::TimeZone;

use super::calendar::{CalendarSpec, Chain, Component, LIST_MAX, SECOND, WEEKDAYS, Zone, any_second, at};

/// A number that no part can hold.
pub(super) struct OutOfRange;

/// Result of a rule: `None` when the text does not fit.
pub(super) type Read<T> = Option<Result<T, OutOfRange>>;

/// Goes on with the value, or gives up for one of the two reasons.
macro_rules! get {
    ($read:expr) => {
        match $read? {
            Ok(value) => value,
            Err(range) => return Some(Err(range)),
        }
    };
}

/// Reads all but words such as `daily`, and the time zone.
pub(super) fn read_expression(text: &str, spec: &mut CalendarSpec) -> Read<()> {
    Reader { rest: text.as_bytes() }.expression(spec)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.advance(1);
        }
    }

    fn expression(&mut self, spec: &mut CalendarSpec) -> Read<()> {
        spec.weekdays = self.weekdays()?;
        if self.peek() == Some(b'@') {
            get!(self.since_epoch(spec));
        } else {
            get!(self.date(spec));
            get!(self.time(spec));
        }
        self.rest.is_empty().then_some(Ok(()))
    }

    /// Reads `Mon,Wed..Fri`; the outer `None` is an error, the inner one that there are none.
    fn weekdays(&mut self) -> Option<Option<u8>> {
        let mut days = 0u8;
        let mut from = None;
        loop {
            let Some((day, length)) = self.weekday() else {
                return (days == 0).then_some(None);
            };
            if !matches!(self.rest.get(length), None | Some(b'-' | b'.' | b',' | b' ')) {
                return None;
            }
            self.advance(length);
            let first = from.unwrap_or(day);
            if first > day {
                return None;
            }
            days |= (first..=day).fold(0, |bits, day| bits | 1 << day);
            match (self.rest, from) {
                ([] | [b' ', ..], _) => break,
                ([b'.', b'.', ..], None) => {
                    self.advance(2);
                    from = Some(day);
                }
                ([b'-', ..], None) => {
                    self.advance(1);
                    from = Some(day);
                }
                ([b',', ..], _) => {
                    self.advance(1);
                    from = None;
                }
                _ => return None,
            }
            // A comma may trail, a range may not stay open.
            if matches!(self.peek(), None | Some(b' ')) {
                if from.is_some() {
                    return None;
                }
                break;
            }
        }
        self.skip_spaces();
        Some(Some(days))
    }

    fn weekday(&self) -> Option<(u8, usize)> {
        (0u8..).zip(WEEKDAYS).find_map(|(day, (long, short))| {
            let starts =
                |name: &str| self.rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes()));
            [long, short].into_iter().find(|name| starts(name)).map(|name| (day, name.len()))
        })
    }

    /// Reads `@SECONDS`: one moment, in UTC.
    fn since_epoch(&mut self, spec: &mut CalendarSpec) -> Read<()> {
        self.advance(1);
        // What strtoul(3) lets pass before a number.
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0b) {
            self.advance(1);
        }
        let negative = self.peek() == Some(b'-');
        if matches!(self.peek(), Some(b'+' | b'-')) {
            self.advance(1);
        }
        let seconds = get!(self.number());
        let moment = match jiff::Timestamp::from_second(seconds) {
            Ok(moment) if !negative || seconds == 0 => moment.to_zoned(TimeZone::UTC),
            _ => return Some(Err(OutOfRange)),
        };
        spec.years = at(&[i64::from(moment.year())]);
        spec.months = at(&[i64::from(moment.month())]);
        spec.days = at(&[i64::from(moment.day())]);
        spec.hours = at(&[i64::from(moment.hour())]);
        spec.minutes = at(&[i64::from(moment.minute())]);
        spec.seconds = at(&[i64::from(moment.second()) * SECOND]);
        spec.zone = Zone::Utc;
        Some(Ok(()))
    }

    /// Reads `year-month-day` or `month-day`; leaves a text alone that turns out to be a time.
    fn date(&mut self, spec: &mut CalendarSpec) -> Read<()> {
        if self.rest.is_empty() {
            return Some(Ok(()));
        }
        let begin = self.rest;
        let first = get!(self.chain(false));
        if matches!(self.peek(), None | Some(b':')) {
            self.rest = begin;
            return Some(Ok(()));
        }
        let mut from_end = self.date_separator()?;
        let second = get!(self.chain(false));
        if matches!(self.peek(), None | Some(b' ')) {
            (spec.months, spec.days) = (first, second);
        } else {
            if from_end {
                return None;
            }
            from_end = self.date_separator()?;
            let third = get!(self.chain(false));
            if !matches!(self.peek(), None | Some(b' ')) {
                return None;
            }
            (spec.years, spec.months, spec.days) = (first, second, third);
        }
        spec.from_end = from_end;
        self.skip_spaces();
        Some(Ok(()))
    }

    /// Reads `-` or `~`; says whether it was the latter.
    fn date_separator(&mut self) -> Option<bool> {
        let separator = self.peek().filter(|byte| matches!(byte, b'-' | b'~'))?;
        self.advance(1);
        Some(separator == b'~')
    }

    /// Reads `hour:minute[:second]`; nothing at all is midnight.
    fn time(&mut self, spec: &mut CalendarSpec) -> Read<()> {
        if self.rest.is_empty() {
            return Some(Ok(()));
        }
        spec.hours = get!(self.chain(false));
        (self.peek() == Some(b':')).then(|| self.advance(1))?;
        spec.minutes = get!(self.chain(false));
        if self.rest.is_empty() {
            return Some(Ok(()));
        }
        (self.peek() == Some(b':')).then(|| self.advance(1))?;
        spec.seconds = get!(self.chain(true));
        Some(Ok(()))
    }

    fn chain(&mut self, seconds: bool) -> Read<Chain> {
        if self.peek() == Some(b'*') {
            self.advance(1);
            return Some(Ok(if seconds { any_second() } else { None }));
        }
        let mut list = Vec::new();
        loop {
            list.push(get!(self.component(seconds)));
            if list.len() > LIST_MAX {
                return Some(Err(OutOfRange));
            }
            if self.peek() != Some(b',') {
                return Some(Ok(Some(list)));
            }
            self.advance(1);
        }
    }

    fn component(&mut self, seconds: bool) -> Read<Component> {
        let start = get!(self.value(seconds));
        let mut component = Component::single(start);
        if self.rest.starts_with(b"..") {
            self.advance(2);
            component.stop = Some(get!(self.value(seconds)));
            component.step = if seconds { SECOND } else { 1 };
        }
        if self.peek() == Some(b'/') {
            self.advance(1);
            component.step = get!(self.value(seconds));
            if component.step == 0 {
                return Some(Err(OutOfRange));
            }
        } else if seconds && component.stop.is_some_and(|stop| start + component.step > stop) {
            // The default step is a second, so a range below one would be no range.
            return None;
        }
        matches!(self.peek(), None | Some(b' ' | b',' | b'-' | b'~' | b':')).then_some(Ok(component))
    }

    fn value(&mut self, seconds: bool) -> Read<i64> {
        let mut value = get!(self.number());
        if seconds {
            value = match value.checked_mul(SECOND) {
                Some(value) => value,
                None => return Some(Err(OutOfRange)),
            };
            // One dot is a decimal point, two are a range.
            if self.peek() == Some(b'.') && self.rest.get(1) != Some(&b'.') {
                self.advance(1);
                value += self.fraction()?;
            }
        }
        if value > i64::from(i32::MAX) {
            return Some(Err(OutOfRange));
        }
        Some(Ok(value))
    }

    fn number(&mut self) -> Read<i64> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(self.rest.get(..digits)?).ok().filter(|text| !text.is_empty())?;
        self.advance(digits);
        Some(text.parse().map_err(|_| OutOfRange))
    }

    /// Reads the digits behind a decimal point as microseconds; a seventh one rounds.
    fn fraction(&mut self) -> Option<i64> {
        let mut micros = 0;
        for place in 0..6 {
            let digit = self.peek().filter(u8::is_ascii_digit).map(|byte| i64::from(byte - b'0'));
            if place == 0 {
                digit?;
            }
            micros = micros * 10 + digit.unwrap_or(0);
            self.advance(usize::from(digit.is_some()));
        }
        micros += i64::from(matches!(self.peek(), Some(b'5'..=b'9')));
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.advance(1);
        }
        Some(micros)
    }
}

impl fmt::Display for CalendarSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(days) = self.weekdays {
            write_weekdays(f, days)?;
            f.write_str(" ")?;
        }
        write_chain(f, 4, &self.years, 1)?;
        f.write_str("-")?;
        write_chain(f, 2, &self.months, 1)?;
        f.write_str(if self.from_end { "~" } else { "-" })?;
        write_chain(f, 2, &self.days, 1)?;
        f.write_str(" ")?;
        write_chain(f, 2, &self.hours, 1)?;
        f.write_str(":")?;
        write_chain(f, 2, &self.minutes, 1)?;
        f.write_str(":")?;
        write_chain(f, 2, &self.seconds, SECOND)?;
        match &self.zone {
            Zone::Local => Ok(()),
            Zone::Utc => f.write_str(" UTC"),
            Zone::Named(name) | Zone::LocalOnly { shown: name, .. } => write!(f, " {name}"),
        }
    }
}

/// Two days in a row are listed, three and more are a range.
fn write_weekdays(f: &mut fmt::Formatter<'_>, days: u8) -> fmt::Result {
    let mut separator = "";
    let mut day = 0;
    while day < WEEKDAYS.len() {
        let run = (day..WEEKDAYS.len()).take_while(|day| days & (1 << day) != 0).count();
        if run > 0 {
            write!(f, "{separator}{}", WEEKDAYS[day].1)?;
            separator = ",";
        }
        if run > 1 {
            write!(f, "{}{}", if run > 2 { ".." } else { "," }, WEEKDAYS[day + run - 1].1)?;
        }
        day += run.max(1);
    }
    Ok(())
}

fn write_chain(f: &mut fmt::Formatter<'_>, width: usize, chain: &Chain, unit: i64) -> fmt::Result {
    let any = |component: &Component| {
        unit == SECOND && component.start == 0 && component.stop.is_none() && component.step == SECOND
    };
    let Some(list) = chain.as_ref().filter(|list| !list.iter().any(any)) else { return f.write_str("*") };
    let fraction = |f: &mut fmt::Formatter<'_>, value: i64| match value % unit {
        0 => Ok(()),
        micros => write!(f, ".{micros:06}"),
    };
    for (index, component) in list.iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write!(f, "{:0width$}", component.start / unit)?;
        fraction(f, component.start)?;
        let stop = component.stop.unwrap_or(0);
        if stop > 0 {
            write!(f, "..{:0width$}", stop / unit)?;
            fraction(f, stop)?;
        }
        if component.step > 0 && !(stop > 0 && component.step == unit) {
            write!(f, "/{}", component.step / unit)?;
        }
        fraction(f, component.step)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> Option<String> {
        CalendarSpec::parse(text, &TimeZone::UTC).ok().map(|spec| spec.to_string())
    }

    #[test]
    fn the_manuals_examples() {
        let table = [
            ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
            ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
            ("Wed *-1", "Wed *-*-01 00:00:00"),
            ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
            ("10-15", "*-10-15 00:00:00"),
            ("Fri,Sun 2012-*-* 17:00", "Fri,Sun 2012-*-* 17:00:00"),
            ("mon,tue *~3/2,1 12:00", "Mon,Tue *-*~01,03/2 12:00:00"),
            ("*:20/15", "*-*-* *:20/15:00"),
            ("08:05:40", "*-*-* 08:05:40"),
            ("2003-03-05 05:40 UTC", "2003-03-05 05:40:00 UTC"),
            ("05:40:23.4200004/3.1700005", "*-*-* 05:40:23.420000/3.170001"),
            ("00..05:1/5:0,30", "*-*-* 00..05:01/5:00,30"),
            ("*-*~01 23:00 Asia/Tokyo", "*-*~01 23:00:00 Asia/Tokyo"),
            ("@1395716396", "2014-03-25 02:59:56 UTC"),
        ];
        for (text, form) in table {
            assert_eq!(normal(text).as_deref(), Some(form), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "test",
            "7",
            "121212:1:2",
            "2000-03-05.23 00:00:00",
            "Mon..",
            "Tue..Mon",
            "*-*-32",
            "25:00",
            "*:60",
            "1..1.5:0",
            "*~1-2",
            "*:*:1/0",
        ] {
            assert_eq!(normal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(text in "((Mon|Fri|sun)(..|,)? )?([0-9*,./]{1,7}[-~]){0,2}[0-9*,./]{0,7} ?[0-9*,./]{1,6}:[0-9*,./]{1,6}(:[0-9*,./]{1,8})?") {
            if let Some(form) = normal(&text) {
                prop_assert_eq!(normal(&form), Some(form));
            }
        }

        #[test]
        fn no_text_upsets_it(text in any::<String>()) {
            let _ = normal(&text);
        }
    }
}
