// SPDX-License-Identifier: GPL-2.0-or-later
//! The agreement's part in the cluster's scope: it carries rounds and messages to [`Agreed`], proposes as coordinator,
//! and says what this node's guard is to know.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::engine::Configuration;
use ssi_cluster::placement::{Assignment, Instance, NodeFacts, UnitWish, place};
use ssi_cluster::scope::propose::{DEFAULT_TAKEOVER_MS, propose};
use ssi_cluster::scope::{Agreed, Change, Limits, Memory, Message, Order, Part, Round, Run, Spent, Wanted};
use ssi_cluster::{NodeId, NodeState, View};

use super::services::{Deed, Service, Want};
use super::shared::{NodeRecord, Shared};

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

/// Whether two changes are about one hold, so that only one of them is to be proposed.
fn is_about_one_hold(one: &Change, other: &Change) -> bool {
    match (one, other) {
        (Change::Leave { instance, node, .. }, Change::Leave { instance: i, node: n, .. }) => {
            (instance, node) == (i, n)
        }
        _ => false,
    }
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
    /// Units whose past is of no account any more.
    forget: BTreeSet<String>,
    /// Instances that somebody wants elsewhere.
    moving: BTreeMap<Instance, Option<NodeId>>,
}

impl Scoping {
    pub(super) fn new(own: NodeId, life: u64, now_ms: u64) -> Scoping {
        Scoping {
            own,
            agreed: Agreed::new(own, life, now_ms, Memory::default()),
            voters: BTreeSet::new(),
            ring: None,
            said: None,
            ordered: BTreeSet::new(),
            told: Orders::default(),
            made: Vec::new(),
            pulsed_ms: None,
            loads: BTreeMap::new(),
            forget: BTreeSet::new(),
            moving: BTreeMap::new(),
        }
    }

    /// Takes what an earlier daemon of this boot left; before anything else happens.
    pub(super) fn recall(&mut self, life: u64, now_ms: u64, memory: Memory) {
        self.agreed = Agreed::new(self.own, life, now_ms, memory);
    }

    /// A machine is known to have ended with this boot.
    pub(super) fn note_ended(&mut self, node: NodeId, boot: String) {
        self.agreed.note_ended(node, boot);
    }

    /// Of two nodes the other one left in order: it was on its way down, held nothing, and is given nothing in that state. Its
    /// machine need not be known to be off for this one to go on.
    pub(super) fn note_left(&mut self, shared: &Shared, here: &BTreeSet<NodeId>) {
        if self.voters.len() != 2 || self.agreed.certain().is_none() {
            return;
        }
        for node in self.voters.iter().copied().filter(|node| !here.contains(node)) {
            let Some(record) = shared.nodes.get(&node).filter(|r| r.state == NodeState::GoingDown) else { continue };
            let holds = self.agreed.table().holds().iter().any(|hold| hold.node == node);
            let seen = self.agreed.boot_of(node) == Some(record.incarnation.as_str());
            if seen && !holds {
                self.agreed.note_ended(node, record.incarnation.clone());
            }
        }
    }

    /// The absent nodes that would better be turned off, with the boot they were last seen in: they hold something that others
    /// could have then, or their end would let this node go on.
    pub(super) fn to_fence(&self, shared: &Shared) -> BTreeMap<NodeId, String> {
        let mut wanted = BTreeMap::new();
        let Some(round) = self.agreed.round().filter(|round| round.view.quorate) else { return wanted };
        let needed = round.guarded.contains(&self.own) && shared.services.values().any(|s| s.want == Want::On);
        for node in self.voters.iter().copied().filter(|node| !round.view.members.contains(node)) {
            let record = shared.nodes.get(&node).map(|record| record.incarnation.as_str());
            let Some(boot) = self.agreed.boot_of(node).or(record) else { continue };
            let holds = self.agreed.table().holds().iter().any(|hold| hold.node == node);
            // Of two, either has the other turned off, so that the one that is first wins, and not the one that needs it.
            let lets_go_on = self.voters.len() == 2 && needed;
            let known = self.agreed.memory().ended.get(&node).is_some_and(|ended| ended == boot);
            if (holds || lets_go_on) && !known {
                wanted.insert(node, boot.to_owned());
            }
        }
        wanted
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

    /// Something is to become of a unit, for all members alike; what of it is the coordinator's to propose is noted.
    pub(super) fn on_deed(&mut self, unit: &str, deed: &Deed) {
        match deed {
            Deed::Start | Deed::Restart => {
                self.forget.insert(unit.to_owned());
            }
            Deed::Move { index, to } => {
                self.moving.insert(Instance::new(unit, index.unwrap_or(0)), *to);
            }
            Deed::Forget | Deed::Stop => self.moving.retain(|instance, _| instance.unit != unit),
            Deed::Define { .. } | Deed::Pull | Deed::Pin(_) => {}
        }
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
            .chain(shared.services.values().map(|service| service.wanted.takeover_ms))
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
            let facts = self.facts(shared);
            let on = |service: &&Service| service.want == Want::On;
            let wanted: Vec<Wanted> = shared.services.values().filter(on).map(|s| s.wanted.clone()).collect();
            let longest = shared.longest_takeover_ms.max(DEFAULT_TAKEOVER_MS);
            changes.extend(self.asked_for(&facts, &wanted));
            let proposed = propose(&self.agreed, &facts, &wanted, longest, now_ms, wall_ms);
            let asked = |change: &Change| changes.iter().any(|other| is_about_one_hold(change, other));
            let proposed: Vec<Change> = proposed.into_iter().filter(|change| !asked(change)).collect();
            changes.extend(proposed);
        } else {
            self.forget.clear();
            self.moving.clear();
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

    /// What counts of each node for the placement. One that is drained counts as one that is on its way down.
    pub(super) fn facts(&self, shared: &Shared) -> BTreeMap<NodeId, NodeFacts> {
        let fact = |(node, record): (&NodeId, &NodeRecord)| {
            let load = self.loads.get(node).copied().unwrap_or_default();
            let drained = record.state == NodeState::Up && shared.drained.contains(node);
            let state = if drained { NodeState::Shutdown } else { record.state };
            (*node, NodeFacts { state, load })
        };
        shared.nodes.iter().map(fact).collect()
    }

    /// The changes that somebody asked for by name.
    fn asked_for(&mut self, facts: &BTreeMap<NodeId, NodeFacts>, wanted: &[Wanted]) -> Vec<Change> {
        let Some(round) = self.agreed.certain() else { return Vec::new() };
        let table = self.agreed.table();
        let known = |unit: &String| table.endings().iter().any(|ending| ending.instance.unit == *unit);
        let mut changes: Vec<Change> =
            std::mem::take(&mut self.forget).into_iter().filter(known).map(|unit| Change::Forget { unit }).collect();
        let view = View { id: round.view.id, members: round.guarded.clone(), quorate: round.view.quorate };
        for (instance, to) in std::mem::take(&mut self.moving) {
            let [hold] = table.holders(&instance) else { continue };
            if hold.stay.is_leaving() || !round.boots.contains_key(&hold.node) {
                continue;
            }
            let Some(unit) = wanted.iter().find(|wanted| wanted.wish.name == instance.unit) else { continue };
            // Where it would go if it could not be where it is.
            let mut wish = unit.wish.clone();
            wish.avoid.push(hold.node);
            if let Some(to) = to {
                wish.nodes = vec![to];
            }
            let others = wanted.iter().map(|other| &other.wish).filter(|other| other.name != instance.unit);
            let wishes: Vec<UnitWish> = others.cloned().chain([wish]).collect();
            let current: Assignment = table.holds().iter().map(|other| (other.instance.clone(), other.node)).collect();
            let Some(quorate) = view.quorate() else { continue };
            let placed = place(quorate, facts, &wishes, &current);
            if let Some(to) = placed.assignment.get(&instance).filter(|to| **to != hold.node) {
                let (node, grant) = (hold.node, hold.grant);
                changes.push(Change::Leave { instance, node, grant, to: Some(*to) });
            }
        }
        changes
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
