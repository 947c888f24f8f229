// SPDX-License-Identifier: GPL-2.0-or-later
//! What one member knows of the table and of who heard whom: rounds and messages in, orders and the lease out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::table::{Change, Hold, Stay, Table};
use super::{GrantId, Limits, RoundId};
use crate::placement::Instance;
use crate::{NodeId, View, ViewId};

/// How many pulses that were sent are remembered until somebody says that he heard them. One that is still not heard
/// when so many others were sent is of no use for a lease.
const PULSES_KEPT: usize = 64;

/// Names a pulse: the daemon's life, a number no other life has, and the pulse's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Differs at each start of the daemon.
    pub life: u64,
    /// From 1 up.
    pub number: u64,
}

/// What every daemon says again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pulse {
    /// This pulse.
    pub stamp: Stamp,
    /// The newest pulse heard of each.
    pub heard: BTreeMap<NodeId, Stamp>,
    /// The round the sender is in.
    pub round: Option<RoundId>,
    /// The sender's table has so many changes.
    pub knows: u64,
}

/// What the daemons tell each other about the cluster's scope, in the engine's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// See [`Pulse`].
    Pulse(Pulse),
    /// See [`Change`].
    Change {
        /// The round it was proposed in; it counts in no other.
        round: RoundId,
        /// The change.
        change: Change,
    },
}

/// What a node's guard runs, or may have begun to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub instance: Instance,
    /// Under which grant.
    pub grant: GrantId,
    /// The view that the grant was made in.
    pub view: ViewId,
    /// Its takeover time, in milliseconds.
    pub takeover_ms: u64,
}

/// What a member's hello says about the cluster's scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// The boot its machine is in.
    pub boot: String,
    /// The last round it was in.
    pub last_round: RoundId,
    /// Whether its table is remembered without a gap since a certain round.
    pub remembers: bool,
    /// Its table.
    pub table: Table,
    /// What it runs; `None` while its unit manager has not said.
    pub runs: Option<Vec<Run>>,
    /// How long ago it last heard each of the others, in milliseconds; whom it never heard, since its own start.
    pub silent_ms: BTreeMap<NodeId, u64>,
    /// Machines it knows to have ended, with the boot that has: a fence agent turned them off.
    #[serde(default)]
    pub ended: BTreeMap<NodeId, String>,
}

/// What a daemon remembers over its own start, for as long as its machine is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Memory {
    /// This machine was in a round with all the others since it started.
    pub met_all: bool,
    /// See [`Part::ended`].
    pub ended: BTreeMap<NodeId, String>,
    /// The boot that each was last seen in.
    pub boots: BTreeMap<NodeId, String>,
}

/// See the words in [`super`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Round {
    /// Its name.
    pub id: RoundId,
    /// The view, with quorum or not.
    pub view: View,
    /// Who takes part, and the boot each is in.
    pub boots: BTreeMap<NodeId, String>,
    /// Who of them has a unit manager that can be given something.
    pub guarded: BTreeSet<NodeId>,
    /// Whether the table has all that anybody may hold.
    pub certain: bool,
    /// Before which moment of this member's clock each absent voter was last heard by anybody in the round.
    pub heard_before_ms: BTreeMap<NodeId, i64>,
    /// With two voters: the other one, if it is known to have ended. It counts as if it agreed to everything.
    pub stands_in: BTreeSet<NodeId>,
}

/// What the guard is told of one of its holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Which instance, under which grant.
    pub run: Run,
    /// A majority knows of it: it may be started. What runs already runs on without.
    pub may_start: bool,
    /// It is to be stopped, or never to be started.
    pub leave: bool,
    /// If it does not run by now, it must not be started under this grant any more.
    pub only_if_running: bool,
}

/// One member's part in the agreement about scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agreed {
    own: NodeId,
    life: u64,
    started_ms: u64,
    table: Table,
    remembers: bool,
    last_round: RoundId,
    round: Option<Round>,
    /// What the table will be if this round becomes certain.
    merged: Option<Table>,
    /// The pulses sent in this life and not heard by a majority yet, with their times.
    sent: VecDeque<(u64, u64)>,
    last_number: u64,
    /// The newest pulse heard of each, and when.
    heard: BTreeMap<NodeId, (Stamp, u64)>,
    /// The newest of this life's pulses that each says he heard.
    heard_by: BTreeMap<NodeId, u64>,
    /// What each told in this round of its table.
    known_by: BTreeMap<NodeId, u64>,
    lease_ms: Option<u64>,
    memory: Memory,
}

impl Agreed {
    /// A member that has just started. `life` differs at each start; `now_ms` is a clock that goes on while the machine
    /// is suspended; `memory` is what an earlier daemon of this machine's boot left.
    #[must_use]
    pub fn new(own: NodeId, life: u64, now_ms: u64, memory: Memory) -> Agreed {
        Agreed {
            own,
            life,
            started_ms: now_ms,
            table: Table::default(),
            remembers: false,
            last_round: RoundId::default(),
            round: None,
            merged: None,
            sent: VecDeque::new(),
            last_number: 0,
            heard: BTreeMap::new(),
            heard_by: BTreeMap::new(),
            known_by: BTreeMap::new(),
            lease_ms: None,
            memory,
        }
    }

    /// What to keep for the next daemon of this boot.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The boot that a node was last seen in.
    #[must_use]
    pub fn boot_of(&self, node: NodeId) -> Option<&str> {
        self.memory.boots.get(&node).map(String::as_str)
    }

    /// A machine is known to have ended, with what it ran in this boot: a fence agent said so, or an administrator. It counts
    /// from the next exchange on.
    pub fn note_ended(&mut self, node: NodeId, boot: String) {
        if node != self.own {
            self.memory.ended.insert(node, boot);
        }
    }

    /// The table; of use only while [`Agreed::certain`].
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The round, while there is one.
    #[must_use]
    pub fn round(&self) -> Option<&Round> {
        self.round.as_ref()
    }

    /// The round, if changes can be made in it.
    #[must_use]
    pub fn certain(&self) -> Option<&Round> {
        self.round.as_ref().filter(|round| round.certain)
    }

    /// What to say in a hello. `runs` is what the guard runs and what it was told that it may start.
    #[must_use]
    pub fn part(&self, boot: &str, runs: Option<Vec<Run>>, voters: &BTreeSet<NodeId>, now_ms: u64) -> Part {
        let silent = |node: &NodeId| {
            let since = self.heard.get(node).map_or(self.started_ms, |(_, at)| *at);
            (*node, now_ms.saturating_sub(since))
        };
        Part {
            boot: boot.to_owned(),
            last_round: self.last_round,
            remembers: self.remembers,
            table: self.table.clone(),
            runs,
            silent_ms: voters.iter().filter(|node| **node != self.own).map(silent).collect(),
            ended: self.memory.ended.clone(),
        }
    }

    /// The engine has another configuration: nothing is agreed until the next exchange is complete.
    pub fn end_round(&mut self) {
        self.round = None;
        self.merged = None;
        self.known_by.clear();
    }

    /// An exchange is complete. `ring` is the engine's number of the membership, `view` what they agree on, `parts` are the
    /// hellos' parts of all who take part.
    pub fn begin_round(
        &mut self,
        ring: u64,
        view: View,
        parts: &BTreeMap<NodeId, Part>,
        voters: &BTreeSet<NodeId>,
        now_ms: u64,
    ) {
        self.end_round();
        let grants = parts.values().flat_map(|part| part.runs.iter().flatten()).map(|run| run.grant.round);
        let before = parts.values().map(|part| part.last_round).chain(grants).filter(|id| id.ring == ring).max();
        let id = RoundId { ring, round: before.map_or(1, |id| id.round.saturating_add(1)) };
        self.last_round = id;
        let boots: BTreeMap<NodeId, String> = parts.iter().map(|(node, part)| (*node, part.boot.clone())).collect();
        self.memory.met_all |= voters.iter().all(|voter| boots.contains_key(voter));
        self.memory.boots.extend(boots.iter().map(|(node, boot)| (*node, boot.clone())));
        // Who is here has not ended; if it is in another boot, nothing of the one that ended is left to speak of.
        self.memory.ended.retain(|node, _| !boots.contains_key(node));
        let ended: BTreeSet<(NodeId, &str)> = parts
            .values()
            .flat_map(|part| &part.ended)
            .filter(|(node, boot)| boots.get(node) != Some(boot))
            .map(|(node, boot)| (*node, boot.as_str()))
            .collect();
        // In a larger cluster the engine wants a majority anyhow, and one's own word on who has ended may be old.
        let two = voters.len() == 2;
        let stands_in: BTreeSet<NodeId> =
            self.memory.ended.keys().copied().filter(|node| two && voters.contains(node)).collect();
        let told = |voter: &NodeId| parts.get(voter).is_some_and(|part| part.runs.is_some());
        let all_told = voters.iter().all(|voter| told(voter) || stands_in.contains(voter));
        // The engine may count two halves of a cluster of two as a quorum each; here they are not.
        let quorate =
            view.quorate && is_quorum(voters, |voter| boots.contains_key(&voter) || stands_in.contains(&voter));
        let remembers = |voter: NodeId| parts.get(&voter).is_some_and(|part| part.remembers);
        let complete = is_quorum(voters, |voter| remembers(voter) || stands_in.contains(&voter));
        // Of two, the first may go on alone, but not begin alone: the second may have had it turned off and go on itself.
        let may_begin = !two || self.memory.met_all || !stands_in.is_empty();
        let quorate = quorate && may_begin;
        let certain = quorate && (complete || all_told);
        let guarded = parts.iter().filter(|(_, part)| part.runs.is_some()).map(|(node, _)| *node).collect();
        let runs = parts.iter().flat_map(|(node, part)| {
            part.runs.iter().flatten().map(|run| Hold {
                instance: run.instance.clone(),
                node: *node,
                boot: part.boot.clone(),
                grant: run.grant,
                view: run.view,
                takeover_ms: run.takeover_ms,
                stay: Stay::Stays,
                reported: true,
            })
        });
        let remembered = parts.values().filter(|part| part.remembers).map(|part| &part.table);
        let merged = Table::merged(id, complete, remembered, &boots, &ended, runs);
        let absent = voters.iter().filter(|voter| !parts.contains_key(voter));
        let heard_before_ms = absent.map(|node| {
            let silent = parts.values().filter_map(|part| part.silent_ms.get(node)).min().copied().unwrap_or(0);
            let clamp = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
            (*node, clamp(now_ms).saturating_sub(clamp(silent)))
        });
        let heard_before_ms = heard_before_ms.collect();
        self.round = Some(Round { id, view, boots, guarded, certain, heard_before_ms, stands_in });
        if certain {
            self.table = merged;
            self.remembers = true;
        } else if quorate {
            self.merged = Some(merged);
        }
    }

    /// Takes a message in; whether the table changed.
    pub fn deliver(&mut self, from: NodeId, message: &Message, voters: &BTreeSet<NodeId>, now_ms: u64) -> bool {
        match message {
            Message::Pulse(pulse) => {
                self.hear(from, pulse, voters, now_ms);
                false
            }
            Message::Change { round, change } => {
                let Some(here) = self.round.as_mut().filter(|here| here.id == *round) else { return false };
                if *change == Change::Certain {
                    let Some(merged) = self.merged.take() else { return false };
                    here.certain = true;
                    self.table = merged;
                    self.remembers = true;
                    return true;
                }
                here.certain && self.table.apply(from, here.view.id, &here.boots, change)
            }
        }
    }

    fn hear(&mut self, from: NodeId, pulse: &Pulse, voters: &BTreeSet<NodeId>, now_ms: u64) {
        self.heard.insert(from, (pulse.stamp, now_ms));
        if let Some(stamp) = pulse.heard.get(&self.own).filter(|stamp| stamp.life == self.life) {
            let newest = self.heard_by.entry(from).or_default();
            *newest = stamp.number.max(*newest);
        }
        if self.round.as_ref().is_some_and(|round| Some(round.id) == pulse.round) {
            self.known_by.insert(from, pulse.knows);
        }
        // Oneself one always hears; what counts is how many others do.
        while let Some((number, at)) = self.sent.front().copied() {
            let heard = |v: NodeId| v == self.own || self.heard_by.get(&v).is_some_and(|n| *n >= number);
            if !is_quorum(voters, |voter| heard(voter) || self.stands_in(voter)) {
                break;
            }
            self.sent.pop_front();
            self.lease_ms = self.lease_ms.max(Some(at));
        }
    }

    /// Says a pulse.
    pub fn pulse(&mut self, now_ms: u64) -> Message {
        self.last_number += 1;
        self.sent.push_back((self.last_number, now_ms));
        if self.sent.len() > PULSES_KEPT {
            self.sent.pop_front();
        }
        Message::Pulse(Pulse {
            stamp: Stamp { life: self.life, number: self.last_number },
            heard: self.heard.iter().filter(|(n, _)| **n != self.own).map(|(n, (stamp, _))| (*n, *stamp)).collect(),
            round: self.round.as_ref().map(|round| round.id),
            knows: if self.certain().is_some() { self.table.change } else { 0 },
        })
    }

    /// When the newest pulse was sent that a majority is known to have heard. With one voter, that is now.
    #[must_use]
    pub fn lease_ms(&self, voters: &BTreeSet<NodeId>, now_ms: u64) -> Option<u64> {
        if voters.len() == 1 && voters.contains(&self.own) {
            return Some(now_ms);
        }
        self.lease_ms
    }

    /// Whether a majority is known to have a table with this change in it.
    #[must_use]
    pub fn majority_knows(&self, change: u64, voters: &BTreeSet<NodeId>) -> bool {
        let knows =
            |voter: NodeId| voter == self.own || self.known_by.get(&voter).is_some_and(|knows| *knows >= change);
        self.certain().is_some() && is_quorum(voters, |voter| knows(voter) || self.stands_in(voter))
    }

    fn stands_in(&self, voter: NodeId) -> bool {
        self.round.as_ref().is_some_and(|round| round.stands_in.contains(&voter))
    }

    /// What this node's guard is to know; `None` while nothing is agreed, and then it goes by what it knew.
    #[must_use]
    pub fn orders(&self, voters: &BTreeSet<NodeId>) -> Option<Vec<Order>> {
        self.certain()?;
        let mine = self.table.holds().iter().filter(|hold| hold.node == self.own);
        let order = |hold: &Hold| Order {
            run: Run {
                instance: hold.instance.clone(),
                grant: hold.grant,
                view: hold.view,
                takeover_ms: hold.takeover_ms,
            },
            may_start: !hold.stay.is_leaving() && !hold.reported && self.majority_knows(hold.grant.change, voters),
            leave: hold.stay.is_leaving(),
            only_if_running: hold.reported,
        };
        Some(mine.map(order).collect())
    }

    /// Whether others may have what an absent node held with this takeover time.
    #[must_use]
    pub fn may_take(&self, node: NodeId, takeover_ms: u64, now_ms: u64) -> bool {
        let Some(heard) = self.round.as_ref().and_then(|round| round.heard_before_ms.get(&node)) else { return false };
        let limit = i64::try_from(Limits::of(takeover_ms).takeover).unwrap_or(i64::MAX);
        i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_sub(*heard) >= limit
    }

    /// Whether an uncertain round may be called certain: `longest_ms` is the longest takeover time of any unit.
    #[must_use]
    pub fn may_be_certain(&self, longest_ms: u64, now_ms: u64) -> bool {
        self.merged.is_some()
            && self
                .round
                .as_ref()
                .is_some_and(|round| round.heard_before_ms.keys().all(|node| self.may_take(*node, longest_ms, now_ms)))
    }
}

/// Whether the voters that are counted are a quorum: more than half of all, or half of them with the first one among
/// them. Of two quorums, one voter is in both.
#[must_use]
pub fn is_quorum(voters: &BTreeSet<NodeId>, counts: impl Fn(NodeId) -> bool) -> bool {
    let counted = voters.iter().filter(|voter| counts(**voter)).count();
    let first = voters.first().is_some_and(|first| counts(*first));
    counted * 2 > voters.len() || (first && counted * 2 == voters.len())
}
