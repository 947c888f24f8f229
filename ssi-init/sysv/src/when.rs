// SPDX-License-Identifier: GPL-2.0-or-later
//! shutdown's time: `now`, `+m` (or just `m`) minutes from now, `hh:mm` on the clock, today or else tomorrow.

use jiff::civil::Time;
use jiff::{ToSpan, Zoned};

/// When to go down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// At this time.
    At(Zoned),
}

/// What is no time of shutdown's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither form.
    #[error("\"{0}\" is not a time: write now, +MINUTES or HH:MM")]
    Form(String),
    /// So far away that no calendar has it.
    #[error("\"{0}\" is too far away")]
    TooFar(String),
}

impl When {
    /// Reads `text`, said at `now` in the local time zone.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn read(text: &str, now: &Zoned) -> Result<When, TimeError> {
        if text == "now" {
            return Ok(When::Now);
        }
        let form = || TimeError::Form(text.to_owned());
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
            true => digits.parse::<i64>().map_err(|_| TimeError::TooFar(text.to_owned())),
            false => Err(form()),
        };
        let Some((hour, minute)) = text.split_once(':') else {
            let minutes = number(text.strip_prefix('+').unwrap_or(text))?;
            if minutes == 0 {
                return Ok(When::Now);
            }
            let too_far = || TimeError::TooFar(text.to_owned());
            // A span holds some 20,000 years of minutes; beyond, it would panic.
            let span = jiff::Span::new().try_minutes(minutes).map_err(|_| too_far())?;
            return now.checked_add(span).map(When::At).map_err(|_| too_far());
        };
        let part = |digits: &str| i8::try_from(number(digits)?).map_err(|_| form());
        let clock = Time::new(part(hour)?, part(minute)?, 0, 0).map_err(|_| form())?;
        let too_far = |_| TimeError::TooFar(text.to_owned());
        let today = now.date().to_datetime(clock).to_zoned(now.time_zone().clone()).map_err(too_far)?;
        if today > *now {
            return Ok(When::At(today));
        }
        // By the calendar, not by 24 hours: the clocks may be changed in between.
        let tomorrow = now.date().checked_add(1.day()).map_err(too_far)?;
        tomorrow.to_datetime(clock).to_zoned(now.time_zone().clone()).map(When::At).map_err(too_far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str, now: &str) -> Result<String, TimeError> {
        match When::read(text, &now.parse().expect("a time"))? {
            When::Now => Ok("now".to_owned()),
            When::At(time) => Ok(time.to_string()),
        }
    }

    const NOON: &str = "2026-03-28T12:00:30+01:00[Europe/Berlin]";

    #[test]
    fn each_form() {
        assert_eq!(at("now", NOON).as_deref(), Ok("now"));
        assert_eq!(at("+0", NOON).as_deref(), Ok("now"));
        assert_eq!(at("+5", NOON).as_deref(), Ok("2026-03-28T12:05:30+01:00[Europe/Berlin]"));
        assert_eq!(at("5", NOON).as_deref(), Ok("2026-03-28T12:05:30+01:00[Europe/Berlin]"));
        assert_eq!(at("23:05", NOON).as_deref(), Ok("2026-03-28T23:05:00+01:00[Europe/Berlin]"));
    }

    #[test]
    fn a_time_gone_by_is_tomorrows_even_when_the_clocks_change() {
        assert_eq!(at("12:00", NOON).as_deref(), Ok("2026-03-29T12:00:00+02:00[Europe/Berlin]"));
        assert_eq!(at("7:30", NOON).as_deref(), Ok("2026-03-29T07:30:00+02:00[Europe/Berlin]"));
    }

    #[test]
    fn what_is_no_time() {
        for text in
            ["", "+", "-5", "+-5", "++5", "24:00", "12:60", "12:", ":30", "12:00:00", "soon", "+5m", " 5", "1:x"]
        {
            assert!(matches!(at(text, NOON), Err(TimeError::Form(_))), "{text}");
        }
        for text in ["+99999999999", "+99999999999999999999999", "9223372036854775807"] {
            assert!(matches!(at(text, NOON), Err(TimeError::TooFar(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC*|[+0-9:]{0,24}") {
            if let Ok(When::At(time)) = When::read(&text, &NOON.parse().expect("a time")) {
                prop_assert!(time > NOON.parse::<Zoned>().expect("a time"));
            }
        }
    }
}
