// SPDX-License-Identifier: GPL-2.0-or-later
//! The agreed list of members.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, NodeState};

/// The number of a view. It only rises, on every node and over restarts; of two views with one number at most one
/// has quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ViewId(pub u64);

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who is a member now, and whether they are enough to act for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// The members the engine sees.
    pub members: BTreeSet<NodeId>,
    /// Whether the members are a quorum.
    pub quorate: bool,
}

impl View {
    /// This view as one that may act for the cluster, if it has quorum.
    pub fn quorate(&self) -> Option<QuorateView<'_>> {
        self.quorate.then_some(QuorateView(self))
    }
}

/// A view that has quorum: the only kind that work for the whole cluster can be derived from.
#[derive(Clone, Copy, Debug)]
pub struct QuorateView<'a>(&'a View);

impl<'a> QuorateView<'a> {
    /// The view itself.
    pub fn view(self) -> &'a View {
        self.0
    }

    /// The init node: the lowest-numbered member that is UP, if any is.
    pub fn init_node(self, state_of: impl Fn(NodeId) -> NodeState) -> Option<NodeId> {
        self.0.members.iter().copied().find(|&n| state_of(n) == NodeState::Up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u32) -> NodeId {
        NodeId::new(n).unwrap()
    }

    #[test]
    fn the_init_node_is_the_lowest_up_member_of_a_quorate_view() {
        let mut view = View { id: ViewId(4), members: [node(2), node(3)].into(), quorate: true };
        let state = |n: NodeId| {
            if n == node(2) { NodeState::ComingUp } else { NodeState::Up }
        };
        assert_eq!(view.quorate().and_then(|v| v.init_node(state)), Some(node(3)));
        // Node 1 is UP by this rule, but no member: it is passed over.
        assert_eq!(view.quorate().and_then(|v| v.init_node(|_| NodeState::Up)), Some(node(2)));
        assert_eq!(view.quorate().and_then(|v| v.init_node(|_| NodeState::ComingUp)), None);
        view.quorate = false;
        assert!(view.quorate().is_none());
    }
}
