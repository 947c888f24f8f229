// SPDX-License-Identifier: GPL-2.0-or-later
//! The agreement's part in the cluster's scope: it carries rounds and messages to [`Agreed`], proposes as coordinator,
//! and says what this node's guard is to know.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::engine::Configuration;
use ssi_cluster::placement::NodeFacts;
use ssi_cluster::scope::propose::{DEFAULT_TAKEOVER_MS, propose};
use ssi_cluster::scope::{Agreed, Change, Limits, Message, Order, Part, Round, Run, Spent, Wanted};
use ssi_cluster::{NodeId, View};

use super::shared::Shared;

/// After how long a change that had no effect is proposed again, in milliseconds.
const PROPOSE_AGAIN_MS: u64 = 2_000;

/// How many pulses there are in the time after which a node without a lease stops what it holds.
const PULSES_A_LEASE: u64 = 5;

/// The shortest and the longest time between two pulses, in milliseconds. The shortest is what the daemon's tick allows.
const PULSE_MS: (u64, u64) = (250, 2_000);

/// The shortest takeover time, in milliseconds: a lease takes two pulses, and some may be late.
pub const SHORTEST_TAKEOVER_MS: u64 = 3_750;

/// What a guard runs, and which of its grants are used up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSaid {
    /// What it runs.
    pub runs: Vec<Run>,
    /// What it has ended.
    pub spent: Vec<Spent>,
}

/// What a guard is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// When its lease counts from, on the clock that goes on while the machine is suspended, in milliseconds.
    pub lease_ms: Option<u64>,
    /// All that this node holds; `None` while nothing is agreed: it goes by what it knew.
    pub orders: Option<Vec<Order>>,
}

fn same_proposal(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::Released { instance, grant, .. }, Change::Released { instance: other, grant: others, .. }) => {
            (instance, grant) == (other, others)
        }
        _ => a == b,
    }
}

/// See the head of this module.
pub(super) struct Scoping {
    own: NodeId,
    agreed: Agreed,
    voters: BTreeSet<NodeId>,
    /// The membership that is exchanged about, or agreed on.
    ring: Option<((u32, u64), BTreeSet<NodeId>)>,
    said: Option<GuardSaid>,
    /// What the guard may have begun since it last said what it runs.
    ordered: BTreeSet<Run>,
    told: Orders,
    made: Vec<(Change, u64)>,
    pulsed_ms: Option<u64>,
    loads: BTreeMap<NodeId, u64>,
}

impl Scoping {
    pub(super) fn new(own: NodeId, life: u64, now_ms: u64) -> Scoping {
        Scoping {
            own,
            agreed: Agreed::new(own, life, now_ms),
            voters: BTreeSet::new(),
            ring: None,
            said: None,
            ordered: BTreeSet::new(),
            told: Orders::default(),
            made: Vec::new(),
            pulsed_ms: None,
            loads: BTreeMap::new(),
        }
    }

    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(super) fn set_voters(&mut self, configured: &BTreeSet<NodeId>) {
        if self.voters != *configured {
            self.voters.clone_from(configured);
        }
    }

    pub(super) fn load(&mut self, node: NodeId, load: u64) {
        self.loads.insert(node, load);
    }

    /// What a hello says.
    pub(super) fn part(&self, boot: &str, now_ms: u64) -> Part {
        let runs = self.said.as_ref().map(|said| {
            let spent = |run: &&Run| said.spent.iter().any(|s| s.instance == run.instance && s.grant == run.grant);
            let ordered = self.ordered.iter().filter(|run| !spent(run));
            let all: BTreeSet<&Run> = said.runs.iter().chain(ordered).collect();
            all.into_iter().cloned().collect()
        });
        self.agreed.part(boot, runs, &self.voters, now_ms)
    }

    /// The engine's membership, or who is attached, changed: that is at one point of the order for everyone.
    pub(super) fn on_configuration(&mut self, sees: &Configuration) {
        let ring = (sees.ring, sees.attached.clone());
        if self.ring.as_ref() != Some(&ring) {
            self.ring = Some(ring);
            self.end();
        }
    }

    pub(super) fn on_unreachable(&mut self) {
        self.ring = None;
        self.end();
    }

    fn end(&mut self) {
        self.agreed.end_round();
        self.made.clear();
    }

    /// An exchange is complete.
    pub(super) fn on_exchange(&mut self, ring: u64, view: View, parts: &BTreeMap<NodeId, Part>, now_ms: u64) {
        self.made.clear();
        self.agreed.begin_round(ring, view, parts, &self.voters, now_ms);
    }

    /// Whether the table changed.
    pub(super) fn on_message(&mut self, from: NodeId, message: &Message, now_ms: u64) -> bool {
        self.agreed.deliver(from, message, &self.voters, now_ms)
    }

    /// Whether it is the guard's first word in this daemon's life: the others have to be told that there is one.
    pub(super) fn on_guard(&mut self, said: GuardSaid) -> bool {
        let known = |run: &Run| said.runs.iter().any(|r| r.instance == run.instance && r.grant >= run.grant);
        // What it says it runs, it has begun; what it was told since may still be on the way.
        self.ordered.retain(|run| !known(run));
        self.said.replace(said).is_none()
    }

    /// Whether the others do not know yet that there is a guard here: its first word came too late for the exchange.
    pub(super) fn is_overlooked(&self) -> bool {
        let missing = |round: &Round| !round.guarded.contains(&self.own);
        self.said.is_some() && self.agreed.round().is_some_and(missing)
    }

    /// What to send now.
    pub(super) fn say(&mut self, shared: &Shared, is_coordinator: bool, now_ms: u64, wall_ms: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        let holds = self.agreed.table().holds();
        if self.agreed.round().is_none() || (shared.services.is_empty() && holds.is_empty()) {
            return messages;
        }
        let shortest = holds
            .iter()
            .map(|hold| hold.takeover_ms)
            .chain(shared.services.values().map(|wanted| wanted.takeover_ms))
            .min()
            .unwrap_or(DEFAULT_TAKEOVER_MS);
        let every = (Limits::of(shortest).stop / PULSES_A_LEASE).clamp(PULSE_MS.0, PULSE_MS.1);
        if self.pulsed_ms.is_none_or(|at| now_ms.saturating_sub(at) >= every) {
            self.pulsed_ms = Some(now_ms);
            messages.push(self.agreed.pulse(now_ms));
        }
        let Some(round) = self.agreed.round().map(|round| round.id) else { return messages };
        let mut changes = self.released(wall_ms);
        if is_coordinator {
            let states = shared.nodes.iter().map(|(node, record)| (*node, record.state));
            let load = |node: &NodeId| self.loads.get(node).copied().unwrap_or_default();
            let facts = states.map(|(node, state)| (node, NodeFacts { state, load: load(&node) })).collect();
            let wanted: Vec<Wanted> = shared.services.values().cloned().collect();
            let longest = shared.longest_takeover_ms.max(DEFAULT_TAKEOVER_MS);
            changes.extend(propose(&self.agreed, &facts, &wanted, longest, now_ms, wall_ms));
        }
        self.made.retain(|(_, at)| now_ms.saturating_sub(*at) < PROPOSE_AGAIN_MS);
        for change in changes {
            if !self.made.iter().any(|(made, _)| same_proposal(made, &change)) {
                self.made.push((change.clone(), now_ms));
                messages.push(Message::Change { round, change });
            }
        }
        messages
    }

    /// What this node's guard has ended and the table still has.
    fn released(&self, wall_ms: u64) -> Vec<Change> {
        if self.agreed.certain().is_none() {
            return Vec::new();
        }
        let spent = self.said.iter().flat_map(|said| &said.spent);
        let in_table = spent.filter(|s| self.agreed.table().hold(&s.instance, self.own, s.grant).is_some());
        in_table
            .map(|s| Change::Released { instance: s.instance.clone(), grant: s.grant, ended: s.ended, at_ms: wall_ms })
            .collect()
    }

    /// What the guard is to know, if that is not what it was told last.
    pub(super) fn orders(&mut self, now_ms: u64) -> Option<Orders> {
        // Before it has said what it runs, it is told nothing: it might be told to stop what the others do not know of.
        self.said.as_ref()?;
        let orders =
            Orders { lease_ms: self.agreed.lease_ms(&self.voters, now_ms), orders: self.agreed.orders(&self.voters) };
        if orders == self.told {
            return None;
        }
        if let Some(list) = &orders.orders {
            let held = |run: &Run| list.iter().any(|order| order.run == *run);
            self.ordered.retain(held);
            self.ordered.extend(list.iter().filter(|order| order.may_start).map(|order| order.run.clone()));
        }
        self.told = orders.clone();
        Some(orders)
    }
}
