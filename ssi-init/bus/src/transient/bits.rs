// SPDX-License-Identifier: GPL-2.0-or-later
//! Sets and choices that are numbers on the bus and words in files.

use ssi_unit::config::sandbox::{CAPABILITIES, NamespaceKind, SecureBit};

use crate::properties::sandbox::namespace_bit;

/// `CPUSchedulingPolicy=`: sched(7).
pub(super) const CPU_POLICIES: &[(i64, &str)] = &[(0, "other"), (1, "fifo"), (2, "rr"), (3, "batch"), (5, "idle")];
/// `IOSchedulingClass=`: ioprio_set(2).
pub(super) const IO_CLASSES: &[(i64, &str)] = &[(0, "none"), (1, "realtime"), (2, "best-effort"), (3, "idle")];
/// `NUMAPolicy=`: set_mempolicy(2); -1 is none.
pub(super) const NUMA_POLICIES: &[(i64, &str)] =
    &[(-1, ""), (0, "default"), (1, "preferred"), (2, "bind"), (3, "interleave"), (4, "local")];
/// `SocketProtocol=`: `IPPROTO_SCTP`, `IPPROTO_UDPLITE`.
pub(super) const SOCKET_PROTOCOLS: &[(i64, &str)] = &[(132, "sctp"), (136, "udplite")];
/// `MountFlags=`: `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` of mount(2).
pub(super) const PROPAGATIONS: &[(i64, &str)] =
    &[(0, ""), (1 << 18, "private"), (1 << 19, "slave"), (1 << 20, "shared")];

/// The word for a number.
pub(super) fn choice(words: &[(i64, &str)], number: i64) -> Option<String> {
    words.iter().find(|(known, _)| *known == number).map(|(_, word)| (*word).to_owned())
}

/// The numbers of the bits that are set, bytes with the lowest bits first.
pub(super) fn places(bytes: &[u8]) -> String {
    let set = (0..bytes.len() * 8).filter(|place| bytes[place / 8] & (1 << (place % 8)) != 0);
    set.map(|place| place.to_string()).collect::<Vec<_>>().join(" ")
}

/// Capabilities by name; all that there are, in words that stand for those still to come, too.
pub(super) fn capabilities(bits: u64) -> String {
    let had: Vec<&str> =
        CAPABILITIES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
    if had.len() == CAPABILITIES.len() { "~".to_owned() } else { had.join(" ") }
}

/// Kinds of namespaces; all of them is no restriction.
pub(super) fn namespaces(bits: u64) -> String {
    let all = NamespaceKind::ALL.iter().map(|kind| namespace_bit(*kind)).sum::<u64>();
    // Who does not know that there are namespaces of clocks leaves them out of all.
    if bits | namespace_bit(NamespaceKind::Time) | !all == u64::MAX {
        return "no".to_owned();
    }
    let kinds = NamespaceKind::ALL.iter().filter(|kind| bits & namespace_bit(**kind) != 0);
    let words: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
    if words.is_empty() { "yes".to_owned() } else { words.join(" ") }
}

/// Bits of securebits: capabilities(7). `None`: there is one that has no name.
pub(super) fn secure_bits(bits: i64) -> Option<String> {
    use SecureBit::*;
    let all = [Noroot, NorootLocked, NoSetuidFixup, NoSetuidFixupLocked, KeepCaps, KeepCapsLocked];
    let named = all.iter().fold(0, |named, bit| named | i64::from(bit.bit()));
    let set = all.iter().filter(|bit| bits & i64::from(bit.bit()) != 0);
    (bits & !named == 0).then(|| set.map(|bit| bit.as_str()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_words() {
        assert_eq!(places(&[0b101, 1]), "0 2 8");
        assert_eq!((capabilities(0).as_str(), capabilities(u64::MAX).as_str()), ("", "~"));
        assert_eq!(capabilities(1 | 1 << 21), "cap_chown cap_sys_admin");
        assert_eq!((namespaces(0).as_str(), namespaces(u64::MAX).as_str()), ("yes", "no"));
        assert_eq!(namespaces(0x7e02_0000), "no");
        assert_eq!(namespaces(0x0002_0000), "mnt");
        assert_eq!(secure_bits(0x11).unwrap(), "keep-caps noroot".split(' ').rev().collect::<Vec<_>>().join(" "));
        assert_eq!((secure_bits(0).as_deref(), secure_bits(0x40)), (Some(""), None));
        assert_eq!((choice(CPU_POLICIES, 5).as_deref(), choice(CPU_POLICIES, 4)), (Some("idle"), None));
    }
}
