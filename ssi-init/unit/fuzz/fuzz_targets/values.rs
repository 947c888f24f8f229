// SPDX-License-Identifier: GPL-2.0-or-later
//! Any text as each of the values that have readers of their own.
//!
//! `cargo +nightly fuzz run values`, from `ssi-init/unit/`.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use ssi_unit::name::UnitName;
use ssi_unit::specifier::{Host, Specifiers};
use ssi_unit::time::{CalendarSpec, format_span, parse_seconds};
use ssi_unit::words::{Rules, split};

fuzz_target!(|bytes: &[u8]| {
    for rules in [Rules::PLAIN, Rules::NAMES, Rules::QUOTED, Rules::C, Rules::VARIABLE, Rules::COLONS] {
        let _ = split(bytes, rules);
    }
    let _ = ssi_unit::environment::parse_file(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (host, Ok(name)) = (Host::default(), UnitName::new("a-b@c-d.service")) else { return };
    let specifiers = Specifiers::of(&host, &name);
    let _ = (specifiers.text(text), specifiers.name(text), specifiers.path(text));
    let _ = ssi_unit::exec_line::parse(text, &specifiers);
    if let Ok(span) = parse_seconds(text) {
        let _ = format_span(span, std::time::Duration::from_micros(1));
    }
    if let Ok(spec) = CalendarSpec::parse(text, &TimeZone::UTC) {
        let _ = spec.next_elapse(jiff::Timestamp::UNIX_EPOCH, &TimeZone::UTC);
    }
});
