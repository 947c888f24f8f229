// SPDX-License-Identifier: GPL-2.0-or-later
//! One line of the transition log: a node went from one state to another.

use serde::{Deserialize, Serialize};

use crate::{NodeId, NodeState, ViewId};

/// A move of one node that the cluster agreed on. Every member has the same list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its number: the one before it plus 1, without a gap.
    pub id: u64,
    /// When the member that proposed it saw the reason: milliseconds since 1970-01-01 00:00 UTC, by its clock.
    pub at_ms: u64,
    /// The view it was agreed in.
    pub view: ViewId,
    /// The node that moved.
    pub node: NodeId,
    /// The state it left.
    pub from: NodeState,
    /// The state it is in since.
    pub to: NodeState,
    /// Why, in a few words for people.
    pub cause: String,
}
