// SPDX-License-Identifier: GPL-2.0-or-later
//! Lengths of time: `5min 20s`, `1.5h`, `infinity`.

use std::time::Duration;

/// Words for units of time, in microseconds; the first that fits at a place is taken, so longer ones come first.
///
/// A month is 30.44 days and a year 365.25, systemd.time(7).
const UNITS: [(&str, u64); 30] = [
    ("seconds", SECOND),
    ("second", SECOND),
    ("sec", SECOND),
    ("s", SECOND),
    ("minutes", MINUTE),
    ("minute", MINUTE),
    ("min", MINUTE),
    ("months", MONTH),
    ("month", MONTH),
    ("M", MONTH),
    ("msec", 1_000),
    ("ms", 1_000),
    ("m", MINUTE),
    ("hours", HOUR),
    ("hour", HOUR),
    ("hr", HOUR),
    ("h", HOUR),
    ("days", DAY),
    ("day", DAY),
    ("d", DAY),
    ("weeks", WEEK),
    ("week", WEEK),
    ("w", WEEK),
    ("years", YEAR),
    ("year", YEAR),
    ("y", YEAR),
    ("usec", 1),
    ("us", 1),
    ("\u{3bc}s", 1),
    ("\u{b5}s", 1),
];

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 31_557_600 * SECOND;

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Nothing there.
    #[error("a length of time is needed, such as \"5min 20s\"")]
    Empty,
    /// Not a number where one has to be, or a unit that is none.
    #[error("\"{0}\" is not a length of time; write one like \"5min 20s\", \"1.5h\" or \"infinity\"")]
    Syntax(String),
    /// Negative, or longer than 584,000 years.
    #[error("\"{0}\" is out of range for a length of time")]
    Range(String),
}

/// Reads a length of time; a number without a unit counts seconds.
///
/// # Errors
/// [`SpanError`]
pub fn parse_seconds(text: &str) -> Result<Option<Duration>, SpanError> {
    parse_span(text, Duration::from_secs(1))
}

/// Reads a length of time; a number without a unit counts `default_unit`s. `None` is `infinity`.
///
/// ```
/// use std::time::Duration;
/// let one = Duration::from_secs(1);
/// assert_eq!(ssi_unit::time::parse_span("1min 2.5s", one).unwrap(), Some(Duration::from_millis(62_500)));
/// assert_eq!(ssi_unit::time::parse_span("infinity", one).unwrap(), None);
/// assert!(ssi_unit::time::parse_span("soon", one).is_err());
/// ```
///
/// # Errors
/// [`SpanError`]
pub fn parse_span(text: &str, default_unit: Duration) -> Result<Option<Duration>, SpanError> {
    let default_unit = u64::try_from(default_unit.as_micros()).unwrap_or(u64::MAX).max(1);
    let syntax = || SpanError::Syntax(text.to_owned());
    let range = || SpanError::Range(text.to_owned());
    let mut rest = skip_blanks(text);
    if rest.is_empty() {
        return Err(SpanError::Empty);
    }
    if let Some(after) = rest.strip_prefix("infinity") {
        return if skip_blanks(after).is_empty() { Ok(None) } else { Err(syntax()) };
    }
    let mut sum = 0u64;
    while !rest.is_empty() {
        if rest.starts_with('-') {
            return Err(range());
        }
        let (whole, after) = digits(rest.strip_prefix('+').unwrap_or(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) if !(rest.starts_with('+') && whole.is_empty()) => digits(after),
            _ if whole.is_empty() => return Err(syntax()),
            _ => ("", after),
        };
        if fraction.is_empty() && rest.len() > after.len() && rest[..rest.len() - after.len()].ends_with('.') {
            return Err(syntax());
        }
        let spaced = skip_blanks(after);
        let unit = UNITS.iter().find_map(|(word, micros)| Some((*micros, spaced.strip_prefix(word)?)));
        // "12a" and "1.2.3" are wrong, "12 .3" is two numbers.
        let (unit, next) = match unit {
            Some(found) => found,
            None if spaced.len() == after.len() && !after.is_empty() => return Err(syntax()),
            None => (default_unit, spaced),
        };
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| range())? };
        let whole = u64::try_from(whole).map_err(|_| range())?;
        // u64::MAX is infinity to systemd, so it and what would come near it is refused.
        let mut add = |micros: Option<u64>| -> Result<(), SpanError> {
            sum = micros.and_then(|micros| sum.checked_add(micros)).filter(|sum| *sum != u64::MAX).ok_or_else(range)?;
            Ok(())
        };
        if whole >= u64::MAX / unit {
            return Err(range());
        }
        add(whole.checked_mul(unit))?;
        let mut worth = unit / 10;
        for digit in fraction.bytes() {
            add(u64::from(digit - b'0').checked_mul(worth))?;
            worth /= 10;
        }
        rest = skip_blanks(next);
    }
    Ok(Some(Duration::from_micros(sum)))
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A length of time as systemd writes it, such as `1h 2min 3.500s`; what is below `accuracy` is left out.
///
/// The result can be read back by [`parse_seconds`].
#[must_use]
pub fn format_span(span: Option<Duration>, accuracy: Duration) -> String {
    const STEPS: [(&str, u64); 9] = [
        ("y", YEAR),
        ("month", MONTH),
        ("w", WEEK),
        ("d", DAY),
        ("h", HOUR),
        ("min", MINUTE),
        ("s", SECOND),
        ("ms", 1_000),
        ("us", 1),
    ];
    let Some(span) = span else { return "infinity".to_owned() };
    let accuracy = u64::try_from(accuracy.as_micros()).unwrap_or(u64::MAX);
    let mut left = u64::try_from(span.as_micros()).unwrap_or(u64::MAX - 1);
    if left == 0 {
        return "0".to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    for (suffix, step) in STEPS {
        if left == 0 || (left < accuracy && !parts.is_empty()) {
            break;
        }
        if left < step {
            continue;
        }
        let (count, remainder) = (left / step, left % step);
        // Below a minute the rest goes behind a dot, with as many places as the accuracy leaves.
        let places = step.ilog10().saturating_sub(accuracy.max(1).ilog10());
        if left < MINUTE && remainder > 0 && places > 0 {
            let shown = remainder / 10u64.pow(accuracy.max(1).ilog10());
            parts.push(format!("{count}.{shown:0width$}{suffix}", width = places as usize));
            break;
        }
        parts.push(format!("{count}{suffix}"));
        left = remainder;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(text: &str) -> Result<Option<u64>, SpanError> {
        Ok(parse_seconds(text)?.map(|span| u64::try_from(span.as_micros()).unwrap()))
    }

    #[test]
    fn the_manuals_examples() {
        assert_eq!(micros("2 h"), Ok(Some(2 * HOUR)));
        assert_eq!(micros("48hr"), Ok(Some(48 * HOUR)));
        assert_eq!(micros("1y 12month"), Ok(Some(YEAR + 12 * MONTH)));
        assert_eq!(micros("55s500ms"), Ok(Some(55_500_000)));
        assert_eq!(micros("300ms20s 5day"), Ok(Some(20_300_000 + 5 * DAY)));
    }

    #[test]
    fn numbers_and_units() {
        assert_eq!(micros("50"), Ok(Some(50 * SECOND)));
        assert_eq!(micros(" .5 "), Ok(Some(SECOND / 2)));
        assert_eq!(micros("12.34 .56"), Ok(Some(12_900_000)));
        assert_eq!(micros("+5"), Ok(Some(5 * SECOND)));
        assert_eq!(micros("1M 1m"), Ok(Some(MONTH + MINUTE)));
        assert_eq!(micros("3µs 4μs"), Ok(Some(7)));
        assert_eq!(micros("infinity "), Ok(None));
        assert_eq!(parse_span("3", Duration::from_millis(1)).unwrap(), Some(Duration::from_millis(3)));
        for bad in ["12.34.56", "3.", "3.sec", "3. 1", "x", "1x", "1 x", "s", "infinity 1", "+.5", "+-1", "0.+1"] {
            assert!(matches!(micros(bad), Err(SpanError::Syntax(_))), "{bad}");
        }
        for bad in ["-1", "1 -1", "-0", "99999999999999999999", "584555y"] {
            assert!(matches!(micros(bad), Err(SpanError::Range(_))), "{bad}");
        }
        assert_eq!(micros(" "), Err(SpanError::Empty));
    }

    #[test]
    fn written_as_systemd_writes_it() {
        let written =
            |micros, accuracy| format_span(Some(Duration::from_micros(micros)), Duration::from_micros(accuracy));
        assert_eq!(written(0, 1), "0");
        assert_eq!(written(HOUR + 1_500, 1), "1h 1.500ms");
        assert_eq!(written(1_234_567, 1), "1.234567s");
        assert_eq!(written(1_234_567, 1_000), "1.234s");
        assert_eq!(written(61 * SECOND + 1, SECOND), "1min 1s");
        assert_eq!(format_span(None, Duration::ZERO), "infinity");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in 0..u64::MAX / 2) {
            let span = Some(Duration::from_micros(micros));
            prop_assert_eq!(parse_seconds(&format_span(span, Duration::from_micros(1))), Ok(span));
        }

        #[test]
        fn no_text_upsets_it(text in any::<String>()) {
            let _ = parse_seconds(&text);
        }
    }
}
