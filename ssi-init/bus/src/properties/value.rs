// SPDX-License-Identifier: GPL-2.0-or-later
//! How things stand in values on the bus.

use std::time::Duration;

use ssi_manager::core::system::{Exit, Moment};
use ssi_unit::config::cgroup::CpuSet;
use zbus::zvariant::Value;

/// A text.
pub(super) fn text(text: &str) -> Value<'static> {
    Value::from(text.to_owned())
}

/// A text, empty where there is none.
pub(super) fn maybe(text: Option<&str>) -> Value<'static> {
    self::text(text.unwrap_or_default())
}

/// Microseconds; [`u64::MAX`] for what has no end.
pub(super) fn usec(span: Option<Duration>) -> u64 {
    span.and_then(|span| u64::try_from(span.as_micros()).ok()).unwrap_or(u64::MAX)
}

/// A set of numbers as bits, the lowest first, in whole words of the kernel.
pub(super) fn bits(set: &CpuSet) -> Vec<u8> {
    let Some((_, last)) = set.ranges.last() else { return Vec::new() };
    // Numbers beyond what a unit file takes do not come; a set of that many is cut rather than filling the memory.
    let last = (*last).min(1 << 16);
    let mut bytes = vec![0; (last as usize / 64 + 1) * 8];
    for number in set.ranges.iter().flat_map(|(first, end)| *first..=(*end).min(last)) {
        bytes[number as usize / 8] |= 1 << (number % 8);
    }
    bytes
}

/// How a process ended, as waitid(2) tells: `si_code` and `si_status`.
pub(super) fn ended(exit: Option<Exit>) -> (i32, i32) {
    match exit {
        None => (0, 0),
        Some(Exit::Code(code)) => (1, i32::from(code)),
        Some(Exit::Signal(signal)) => (2, signal),
        Some(Exit::Dumped(signal)) => (3, signal),
    }
}

/// The time of day.
pub(super) fn realtime(moment: Moment) -> Value<'static> {
    Value::from(moment.realtime)
}

/// The clock that does not jump.
pub(super) fn monotonic(moment: Moment) -> Value<'static> {
    Value::from(moment.monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bits_in_whole_words() {
        let mut set = CpuSet::default();
        assert!(bits(&set).is_empty());
        set.add(1, 2);
        set.add(9, 9);
        assert_eq!(bits(&set), [6, 2, 0, 0, 0, 0, 0, 0]);
        set.add(64, 64);
        assert_eq!((bits(&set).len(), bits(&set)[8]), (16, 1));
    }
}
