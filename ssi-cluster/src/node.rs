// SPDX-License-Identifier: GPL-2.0-or-later
//! Which machine: the number that never changes.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a node, from 1 up. It is given once and never used for another machine.
///
/// The upper bound is [`NodeId::MAX`]; corosync allows 32 bits, but a number is also a directory name and a
/// column on the screen, and four digits are plenty for the clusters this is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct NodeId(NonZeroU32);

/// A number that cannot be a node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a node number: it must be a whole number from 1 to {max}", max = NodeId::MAX)]
pub struct BadNodeId {
    text: String,
}

impl NodeId {
    /// The largest node number.
    pub const MAX: u32 = 9999;

    /// The node with this number, if it can be one.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|n| n.get() <= Self::MAX).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for NodeId {
    type Err = BadNodeId;

    /// Digits only: no sign, no space, no leading zero, so that a number has one spelling.
    fn from_str(text: &str) -> Result<Self, BadNodeId> {
        let bad = || BadNodeId { text: text.chars().take(40).collect() };
        if text.is_empty() || text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        text.parse().ok().and_then(Self::new).ok_or_else(bad)
    }
}

impl TryFrom<u32> for NodeId {
    type Error = BadNodeId;

    fn try_from(number: u32) -> Result<Self, BadNodeId> {
        Self::new(number).ok_or_else(|| BadNodeId { text: number.to_string() })
    }
}

impl From<NodeId> for u32 {
    fn from(id: NodeId) -> u32 {
        id.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!("7".parse::<NodeId>().map(NodeId::get), Ok(7));
        for bad in ["", "0", "07", "+7", " 7", "7 ", "-1", "10000", "99999999999", "seven", "7\n"] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} was taken for a node number");
        }
    }
}
