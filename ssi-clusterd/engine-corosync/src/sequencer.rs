// SPDX-License-Identifier: GPL-2.0-or-later
//! Which configuration holds at which place of the order: the decision, from events, without corosync.
//!
//! Corosync tells in two streams that are not ordered with each other:
//!
//! ```text
//!   cpg      Group {1,2,3}   Message   Message   Group {1,2} NodeDown   Ring 8 {1,2}   Message
//!   quorum   Ring 4 quorate                                       Ring 8 quorate
//!                                                             └── may come before or after ──┘
//! ```
//!
//! cpg's stream has the order that all members share, and the rings in it, but not the quorum; so a ring of cpg, and
//! everything behind it, is held until quorum has spoken of that ring, or of a newer one: then this one has passed
//! without ever being known to be quorate.
//!
//! What was seen of corosync 3.1.7 with three nodes, each killed, cut off, healed, left and joined, under messages:
//!
//! * When nodes are lost, cpg tells one `Group` without all the lost ones (reason NodeDown), then the `Ring`. When nodes
//!   come, it tells one `Group` with all that came (NodeUp), then the `Ring`. Nothing is between the two, and no
//!   message of the new ring before the `Ring`: one function of corosync tells both (exec/cpg.c, cpg_sync_activate). So
//!   a `Group` with such a reason is not told by itself but with its ring, and a lost node leaves members and attached
//!   in one configuration. A ring in which nobody of the group came or went has no `Group`.
//! * A process that comes or goes by itself is a `Group` alone (Join, Leave, ProcDown), at its place among messages.
//! * Quorum tells each ring 0.2 to 6 ms after cpg did, and before the first message of that ring; and it tells again
//!   when it changes within a ring. A process may still see quorum first, for it hears the two at two descriptors.
//! * The ring at which a process begins is told by quorum alone ([`Sequencer::settle`]).

use std::collections::{BTreeSet, VecDeque};

use ssi_cluster::NodeId;
use ssi_cluster::engine::{Configuration, FromEngine};

/// How many events, and how many bytes of messages, may wait behind a ring whose quorum is not known yet.
const HELD_EVENTS: usize = 4096;
const HELD_BYTES: usize = 16 << 20;
/// How many rings quorum may be ahead; older ones of those are forgotten, and count as passed.
const QUORUMS: usize = 64;

/// Corosync's name of a membership. The sequence only rises on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) representative: u32,
    pub(crate) seq: u64,
}

/// What corosync tells, node numbers as it knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Quorum: whether this ring has it.
    Quorum { ring: Ring, quorate: bool, members: Vec<u32> },
    /// cpg: who is in the group, one entry a process. `with_ring`: nodes came or went, and the ring follows.
    Group { present: Vec<u32>, with_ring: bool },
    /// cpg: from here on, this ring.
    Ring { ring: Ring, members: Vec<u32> },
    /// cpg: a message to the group.
    Message { from: u32, payload: Vec<u8> },
}

#[derive(Debug)]
struct Quorum {
    ring: Ring,
    quorate: bool,
    members: BTreeSet<NodeId>,
}

/// Puts the two streams into one.
#[derive(Debug)]
pub(crate) struct Sequencer {
    own: NodeId,
    /// What quorum said of the current ring and of newer ones, the last word on each.
    quorums: VecDeque<Quorum>,
    /// cpg's stream from the first event that cannot be told yet.
    held: VecDeque<Heard>,
    held_bytes: usize,
    /// Where cpg's stream is: its ring and the members.
    place: Option<(Ring, BTreeSet<NodeId>)>,
    group: BTreeSet<NodeId>,
    group_untold: bool,
    joined: bool,
    told: Option<Configuration>,
    due: VecDeque<FromEngine>,
}

impl Sequencer {
    pub(crate) fn new(own: NodeId) -> Self {
        Self {
            own,
            quorums: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            place: None,
            group: BTreeSet::new(),
            group_untold: false,
            joined: false,
            told: None,
            due: VecDeque::new(),
        }
    }

    /// Takes in an event; each stream's in its order.
    pub(crate) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Quorum { ring, quorate, members } => {
                self.hear_quorum(Quorum { ring, quorate, members: valid(&members) })
            }
            heard => {
                if let Heard::Group { present, .. } = &heard {
                    self.joined |= present.contains(&self.own.get());
                    warn_of_doubles(present);
                }
                self.held_bytes += bytes(&heard);
                self.held.push_back(heard);
            }
        }
        self.advance();
    }

    fn hear_quorum(&mut self, said: Quorum) {
        // Before its first membership corosync speaks of a ring 0.
        if said.ring.seq == 0 {
            return;
        }
        self.quorums.retain(|q| q.ring != said.ring);
        let newer = self.quorums.iter().position(|q| q.ring.seq > said.ring.seq).unwrap_or(self.quorums.len());
        self.quorums.insert(newer, said);
        if self.quorums.len() > QUORUMS {
            // The front is the current ring's: what is told of now.
            self.quorums.remove(1);
        }
        // Only the quorum changed. The place is right: what is held begins with another ring, or is nothing.
        if self.told.is_some() && !self.group_untold {
            self.tell();
        }
    }

    /// What is due, in order.
    pub(crate) fn next(&mut self) -> Option<FromEngine> {
        self.due.pop_front()
    }

    /// Whether more of cpg's stream may come in.
    pub(crate) fn has_room(&self) -> bool {
        self.held.len() < HELD_EVENTS && self.held_bytes < HELD_BYTES
    }

    /// Whether a ring waits for its quorum.
    pub(crate) fn waits_for_quorum(&self) -> bool {
        self.place.is_some() && !self.held.is_empty()
    }

    /// Whether [`Sequencer::settle`] is to be called: this node is in the group, at a ring that is not known.
    pub(crate) fn wants_base(&self) -> bool {
        self.joined && self.place.is_none()
    }

    /// Fixes the ring at which cpg's stream begins: the last that quorum told before the first ring in the stream.
    ///
    /// To be called when quorum has been asked after this node's join came, and cpg has been heard to its end after the
    /// answer. Without any ring in the stream it began where quorum is now. With one, it began at an older ring,
    /// of which quorum was heard before cpg was even connected.
    pub(crate) fn settle(&mut self) {
        let first = self.held.iter().find_map(|h| if let Heard::Ring { ring, .. } = h { Some(ring.seq) } else { None });
        let base = self.quorums.iter().rev().find(|q| first.is_none_or(|seq| q.ring.seq < seq));
        if let Some(base) = base {
            self.enter(base.ring, base.members.clone());
            self.advance();
        }
    }

    fn enter(&mut self, ring: Ring, members: BTreeSet<NodeId>) {
        self.quorums.retain(|q| q.ring == ring || q.ring.seq > ring.seq);
        self.place = Some((ring, members));
    }

    fn advance(&mut self) {
        while self.place.is_some() {
            if let Some(Heard::Ring { ring, .. }) = self.held.front()
                && !self.quorums.iter().any(|q| q.ring.seq >= ring.seq)
            {
                return;
            }
            let Some(heard) = self.held.pop_front() else { return };
            self.held_bytes -= bytes(&heard);
            match heard {
                Heard::Group { present, with_ring } => {
                    self.group = valid(&present);
                    self.group_untold = with_ring;
                    if !with_ring {
                        self.tell();
                    }
                }
                Heard::Ring { ring, members } => {
                    self.group_untold = false;
                    self.enter(ring, valid(&members));
                    self.tell();
                }
                Heard::Message { from, payload } => self.tell_message(from, payload),
                // Never held.
                Heard::Quorum { .. } => {}
            }
        }
    }

    fn tell_message(&mut self, from: u32, payload: Vec<u8>) {
        let Some(from) = NodeId::new(from) else {
            eprintln!("a message of {} bytes from node {from} is dropped: no node has that number", payload.len());
            return;
        };
        if std::mem::take(&mut self.group_untold) {
            self.tell();
        }
        // The group's messages begin with this node's own join.
        if self.told.is_some() {
            self.due.push_back(FromEngine::Message { from, payload });
        }
    }

    /// Tells the configuration at this place, if it is another than the last.
    fn tell(&mut self) {
        let Some((ring, members)) = &self.place else { return };
        if !self.group.contains(&self.own) {
            return;
        }
        let now = Configuration {
            ring: (ring.representative, ring.seq),
            members: members.clone(),
            attached: self.group.intersection(members).copied().collect(),
            quorate: self.quorums.iter().any(|q| q.ring == *ring && q.quorate),
        };
        if self.told.as_ref() != Some(&now) {
            self.told = Some(now.clone());
            self.due.push_back(FromEngine::Configuration(now));
        }
    }
}

fn bytes(heard: &Heard) -> usize {
    if let Heard::Message { payload, .. } = heard { payload.len() } else { 0 }
}

/// Corosync takes any 32 bits for a node's number; one that cannot be a node's is none of this cluster.
fn valid(numbers: &[u32]) -> BTreeSet<NodeId> {
    let known = |n: &u32| {
        let node = NodeId::new(*n);
        if node.is_none() {
            eprintln!("corosync's node {n} is left out: a node's number is from 1 to {}", NodeId::MAX);
        }
        node
    };
    numbers.iter().filter_map(known).collect()
}

fn warn_of_doubles(present: &[u32]) {
    let mut seen = BTreeSet::new();
    for node in present.iter().filter(|n| !seen.insert(**n)) {
        eprintln!("node {node} is in the group twice: two ssi-clusterd run there, and one of them must be stopped");
    }
}

#[cfg(test)]
mod tests;
