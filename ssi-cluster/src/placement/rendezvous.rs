// SPDX-License-Identifier: GPL-2.0-or-later
//! Which node an instance falls to when nothing else tells: rendezvous hashing (Thaler and Ravishankar, 1998).
//!
//! Every node has a weight for every instance, and the highest wins. So each node gets its share, and when one goes only
//! what it had falls to others.
//!
//! All members must come to one answer, in every version of this program that may run beside another one during an
//! upgrade: the weights are part of the protocol and must not change. That is why the functions are written out here:
//! neither the standard library's hasher nor a crate's promises the same result for ever.

use crate::NodeId;

/// The instance's half of the weight: FNV-1a, 64 bits (RFC 9923), of the unit's name, a NUL and the index, low byte first.
pub(super) fn instance_hash(unit: &str, index: u32) -> u64 {
    let bytes = unit.bytes().chain([0]).chain(index.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The weight of a node for an instance.
///
/// FNV alone lets neighbouring numbers win in turns, so the number is mixed in by the finaliser of SplitMix64 (Steele,
/// Lea and Flood, 2014), every bit of which depends on every bit that goes in.
pub(super) fn weight(instance_hash: u64, node: NodeId) -> u64 {
    let mixed = instance_hash.wrapping_add(u64::from(node.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u32) -> NodeId {
        NodeId::new(n).unwrap()
    }

    #[test]
    fn the_weights_are_what_they_always_were() {
        // Computed apart from this program; see the head of this file for why they must stay.
        assert_eq!(instance_hash("", 0), 0xe4bc_4fd9_252b_e94f);
        assert_eq!(instance_hash("db.service", 0), 0x34e3_467f_4454_2dee);
        assert_eq!(weight(instance_hash("db.service", 0), node(1)), 0xa964_1717_d25f_ea08);
    }

    #[test]
    fn every_node_gets_its_share_whatever_the_units_are_called() {
        for prefix in ["a", "unit-", "db@", ""] {
            let mut shares = [0u32; 10];
            for unit in 0..5000 {
                let hash = instance_hash(&format!("{prefix}{unit}.service"), 0);
                let best = (1..=10).max_by_key(|n| weight(hash, node(*n))).unwrap();
                shares[best as usize - 1] += 1;
            }
            assert!(shares.iter().all(|share| (400..=600).contains(share)), "{prefix}: {shares:?}");
        }
    }
}
