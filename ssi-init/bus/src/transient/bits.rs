// SPDX-License-Identifier: GPL-2.0-or-later
//! Sets and choices that are numbers on the bus and words in files.

use ssi_unit::config::sandbox::{CAPABILITIES, NamespaceKind, SecureBit};

use crate::properties::sandbox::namespace_bit;

/// `LogLevelMax=`, `SyslogLevel=` by their numbers: syslog(3).
pub(super) const LOG_LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// `SyslogFacility=`, by their numbers shifted right by 3: syslog(3).
pub(super) const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "12", "13",
    "14", "15", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// `CPUSchedulingPolicy=`: sched(7); there is no 4.
pub(super) const CPU_POLICIES: [&str; 6] = ["other", "fifo", "rr", "batch", "", "idle"];
/// `IOSchedulingClass=`: ioprio_set(2).
pub(super) const IO_CLASSES: [&str; 4] = ["none", "realtime", "best-effort", "idle"];
/// `NUMAPolicy=`: set_mempolicy(2).
pub(super) const NUMA_POLICIES: [&str; 5] = ["default", "preferred", "bind", "interleave", "local"];

/// The word for a number.
pub(super) fn choice(words: &[&str], number: i64) -> Option<String> {
    let word = words.get(usize::try_from(number).ok()?)?;
    (!word.is_empty()).then(|| (*word).to_owned())
}

/// The numbers of the bits that are set, bytes with the lowest bits first.
pub(super) fn places(bytes: &[u8]) -> String {
    let set = (0..bytes.len() * 8).filter(|place| bytes[place / 8] & (1 << (place % 8)) != 0);
    set.map(|place| place.to_string()).collect::<Vec<_>>().join(" ")
}

/// Capabilities by name.
pub(super) fn capabilities(bits: u64) -> String {
    let had = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    had.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// Kinds of namespaces; all of them is no restriction.
pub(super) fn namespaces(bits: u64) -> String {
    if bits == u64::MAX {
        return "no".to_owned();
    }
    let kinds = NamespaceKind::ALL.iter().filter(|kind| bits & namespace_bit(**kind) != 0);
    let words: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
    if words.is_empty() { "yes".to_owned() } else { words.join(" ") }
}

/// Bits of securebits: capabilities(7).
pub(super) fn secure_bits(bits: i64) -> String {
    use SecureBit::*;
    let all = [
        (0x01, Noroot),
        (0x02, NorootLocked),
        (0x04, NoSetuidFixup),
        (0x08, NoSetuidFixupLocked),
        (0x10, KeepCaps),
        (0x20, KeepCapsLocked),
    ];
    let set = all.iter().filter(|(bit, _)| bits & bit != 0);
    set.map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ")
}
