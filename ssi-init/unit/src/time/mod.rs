// SPDX-License-Identifier: GPL-2.0-or-later
//! Times in unit files: lengths of time ([`parse_span`]) and points of the calendar ([`CalendarSpec`]).
//!
//! Both follow systemd.time(7) and are held against `systemd-analyze timespan` and `systemd-analyze calendar`.
//! Instants and time zones are jiff's; the syntax is nobody's but systemd's, so it is read here.

mod calendar;
mod calendar_text;
mod elapse;
mod span;

pub use calendar::{CalendarError, CalendarSpec};
pub use span::{SpanError, format_span, parse_seconds, parse_span};
