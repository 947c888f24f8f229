// SPDX-License-Identifier: GPL-2.0-or-later
//! The faults, as verbs, and what they mean for the frames between nodes. Pure: [`Cuts`] says who
//! may reach whom, and gives the nft rules; [`crate::network`] loads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::spec::NodeNumber;

/// Something done to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Power off at once, without a word to the node.
    Kill(NodeNumber),
    /// Boot a node that is off, from the disk it had; this kind of boot.
    Start(NodeNumber, Boot),
    /// Stop all processors of the node; it keeps its memory and its links.
    Freeze(NodeNumber),
    /// Let it run on.
    Thaw(NodeNumber),
    /// Nothing passes between these nodes and all others, the client too; links stay up.
    Cut(Vec<NodeNumber>),
    /// Nothing passes between two groups; whoever is in no group reaches all.
    CutGroups(Vec<Vec<NodeNumber>>),
    /// What is sent to this node is lost; what it sends arrives.
    Deaf(NodeNumber),
    /// What this node sends is lost; what is sent to it arrives.
    Mute(NodeNumber),
    /// All cuts, deafness, muteness and losses end, and all links come up.
    Heal,
    /// The node's link on this network (0 or 1) loses its carrier.
    LinkDown(NodeNumber, usize),
    /// The carrier comes back.
    LinkUp(NodeNumber, usize),
    /// The node's links get worse; an empty [`Slowness`] makes them good again.
    Slow(NodeNumber, Slowness),
}

/// How a node is booted, where it differs from the usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The program to be PID 1, with arguments; absent: what the lab was built with.
    #[serde(default)]
    pub init: Option<Vec<String>>,
    /// Words added to the kernel's command line (VM nodes).
    #[serde(default)]
    pub kernel_arguments: Vec<String>,
}

/// What makes a link bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowness {
    /// Milliseconds that each frame the node sends waits (VM nodes: netem is in the guest's kernel).
    #[serde(default)]
    pub delay_ms: Option<u32>,
    /// Milliseconds by which the wait varies.
    #[serde(default)]
    pub jitter_ms: Option<u32>,
    /// Per cent of the frames to and from the node that are lost.
    #[serde(default)]
    pub loss_percent: Option<u8>,
    /// Kilobits a second towards the node (namespace nodes), from it (VM nodes).
    #[serde(default)]
    pub rate_kbit: Option<u32>,
}

/// Who cannot reach whom, and who loses how much. Sender first, receiver second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts {
    blocked: BTreeSet<(NodeNumber, NodeNumber)>,
    loss: BTreeMap<NodeNumber, u8>,
}

impl Cuts {
    /// Cuts `nodes` off from all others among `everyone` (the client's 0 included); cut nodes do not
    /// reach each other either.
    pub fn cut(&mut self, nodes: &[NodeNumber], everyone: &[NodeNumber]) {
        for &node in nodes {
            self.deafen(node, everyone);
            self.mute(node, everyone);
        }
    }

    /// Splits into groups that do not reach each other.
    pub fn split(&mut self, groups: &[Vec<NodeNumber>]) {
        for (place, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(place + 1) {
                for (&a, &b) in group.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                    if a != b {
                        self.blocked.extend([(a, b), (b, a)]);
                    }
                }
            }
        }
    }

    /// Nothing sent by `everyone` reaches `node`.
    pub fn deafen(&mut self, node: NodeNumber, everyone: &[NodeNumber]) {
        self.blocked.extend(everyone.iter().filter(|&&other| other != node).map(|&other| (other, node)));
    }

    /// Nothing sent by `node` reaches `everyone`.
    pub fn mute(&mut self, node: NodeNumber, everyone: &[NodeNumber]) {
        self.blocked.extend(everyone.iter().filter(|&&other| other != node).map(|&other| (node, other)));
    }

    /// Sets how many per cent of a node's frames are lost; 0 ends it.
    pub fn lose(&mut self, node: NodeNumber, percent: u8) {
        if percent == 0 {
            self.loss.remove(&node);
        } else {
            self.loss.insert(node, percent.min(100));
        }
    }

    /// All is well again.
    pub fn heal(&mut self) {
        *self = Self::default();
    }

    /// Whether frames from the one node reach the other (losses apart).
    #[must_use]
    pub fn passes(&self, from: NodeNumber, to: NodeNumber) -> bool {
        !self.blocked.contains(&(from, to))
    }

    /// The whole rule set, to be loaded by `nft -f`, which replaces the former one in one step.
    #[must_use]
    pub fn rules(&self) -> String {
        let mut text = String::from(
            "add table bridge ssi_lab\ndelete table bridge ssi_lab\ntable bridge ssi_lab {\n chain forward {\n  type filter hook forward priority 0; policy accept;\n",
        );
        for (from, to) in &self.blocked {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  iifname \"n{from}e*\" oifname \"n{to}e*\" drop");
        }
        for (node, percent) in &self.loss {
            // nft refuses a comparison that is always true.
            let dice = if *percent >= 100 { String::new() } else { format!("numgen random mod 100 < {percent} ") };
            let _ = writeln!(text, "  iifname \"n{node}e*\" {dice}drop");
            let _ = writeln!(text, "  oifname \"n{node}e*\" {dice}drop");
        }
        text.push_str(" }\n}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_node_reaches_nobody_and_the_rest_is_untouched() {
        let mut cuts = Cuts::default();
        cuts.cut(&[2], &[0, 1, 2, 3]);
        for other in [0, 1, 3] {
            assert!(!cuts.passes(2, other) && !cuts.passes(other, 2));
        }
        assert!(cuts.passes(1, 3) && cuts.passes(0, 1));
        cuts.heal();
        assert!(cuts.passes(2, 1));
    }

    #[test]
    fn groups_leave_those_outside_alone() {
        let mut cuts = Cuts::default();
        cuts.split(&[vec![1, 2], vec![3]]);
        assert!(cuts.passes(1, 2) && cuts.passes(0, 3) && cuts.passes(3, 0));
        assert!(!cuts.passes(1, 3) && !cuts.passes(3, 2));
    }

    #[test]
    fn deaf_is_one_direction() {
        let mut cuts = Cuts::default();
        cuts.deafen(1, &[0, 1, 2]);
        assert!(!cuts.passes(2, 1) && cuts.passes(1, 2));
        assert!(cuts.rules().contains("iifname \"n2e*\" oifname \"n1e*\" drop\n"));
        assert!(!cuts.rules().contains("iifname \"n1e*\""));
    }

    #[test]
    fn loss_ends_with_zero() {
        let mut cuts = Cuts::default();
        cuts.lose(3, 30);
        assert!(cuts.rules().contains("numgen random mod 100 < 30 drop"));
        cuts.lose(3, 0);
        assert_eq!(cuts, Cuts::default());
    }
}
