// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the text: no length of time, or one that is the same when written and read again; no calendar expression,
//! or one whose normal form is its own and which elapses later than asked, each time later.
//!
//! `cargo +nightly fuzz run times`, from `ssi-init/unit/`.
#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use ssi_unit::time::{CalendarSpec, format_span, parse_seconds};

fuzz_target!(|text: &str| {
    if let Ok(span) = parse_seconds(text) {
        assert_eq!(parse_seconds(&format_span(span, Duration::from_micros(1))), Ok(span));
    }
    let Ok(spec) = CalendarSpec::parse(text, &TimeZone::UTC) else { return };
    let normal = spec.to_string();
    let again = CalendarSpec::parse(&normal, &TimeZone::UTC).map(|again| again.to_string());
    assert_eq!(again.as_deref(), Ok(normal.as_str()));
    let mut after = Timestamp::UNIX_EPOCH;
    for _ in 0..3 {
        let Some(next) = spec.next_elapse(after, &TimeZone::UTC) else { break };
        assert!(next > after, "{text:?} elapses at {next}, not after {after}");
        after = next;
    }
});
