// SPDX-License-Identifier: GPL-2.0-or-later
//! Figures as people read them: memory, load, time spans, points in time; and back.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What stands where nothing is known.
pub const UNKNOWN: &str = "-";

/// An amount of memory, given in KiB, with a unit: three digits that count.
pub fn memory(kib: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut amount, mut unit) = (kib as f64, 0);
    // 999.95 would be shown as 1000.0.
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{kib} KiB") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

/// A load, given in thousandths.
pub fn load(thousandths: u64) -> String {
    format!("{}.{:02}", thousandths / 1000, thousandths % 1000 / 10)
}

/// A span of time in its two largest units.
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d {hours}h"),
        3600.. => format!("{hours}h {minutes}m"),
        60.. => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

/// A point in time, given in milliseconds since 1970 UTC, as RFC 3339 has it: in UTC, or by the machine's own zone.
pub fn time(at_ms: u64, utc: bool) -> String {
    let Some(at) = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
        return format!("{at_ms} ms after 1970");
    };
    if utc {
        format!("{at:.3}")
    } else {
        at.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
    }
}

/// A span of time as users write it: `30`, `30s`, `1m 30s`, `500ms`; a bare number is seconds.
///
/// # Errors
/// A sentence that says how to write it.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a span of time; write for example 30s, 2m, or 1h 30m");
    let trimmed = text.trim();
    if let Ok(seconds) = trimmed.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let span: SignedDuration = trimmed.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_has_a_fitting_unit() {
        for (kib, text) in [
            (0, "0 KiB"),
            (999, "999 KiB"),
            (1000, "1.0 MiB"),
            (1536, "1.5 MiB"),
            (1024 * 1024, "1.0 GiB"),
            (16 * 1024 * 1024 - 200, "16.0 GiB"),
            (u64::MAX, "16777216.0 PiB"),
        ] {
            assert_eq!(memory(kib), text);
        }
    }

    #[test]
    fn spans_show_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_660, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(load(1234), "1.23");
        assert_eq!(load(9), "0.00");
    }

    #[test]
    fn spans_are_read_as_users_write_them() {
        for (text, ms) in [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1h 30m", 5_400_000)] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "soon", "-5s", "5 parsecs"] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(time(0, true), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123, true), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX, true), "18446744073709551615 ms after 1970");
    }

    proptest! {
        #[test]
        fn no_figure_makes_it_fall_over(n in any::<u64>()) {
            prop_assert!(!memory(n).is_empty() && !load(n).is_empty() && !span(n).is_empty());
            prop_assert!(!time(n, true).is_empty() && !time(n, false).is_empty());
        }
    }
}
