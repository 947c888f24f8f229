// SPDX-License-Identifier: GPL-2.0-or-later
//! The instances of one unit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::company::Rules;
use super::rendezvous::{instance_hash, weight};
use super::{Cluster, Failback, Instances, MAX_INSTANCES, Outcome, Reason, UnitWish, WhyNot};
use crate::NodeId;

/// What becomes of each instance that runs (index and node) or is wanted.
pub(super) fn place(
    cluster: &mut Cluster<'_>,
    wish: &UnitWish,
    rules: &Rules,
    running: &BTreeMap<u32, NodeId>,
) -> BTreeMap<u32, Outcome> {
    match wish.instances {
        Instances::All => one_on_each(cluster, wish, rules, running),
        Instances::Count(count) => {
            let mut unit = Unit { cluster, wish, rules, occupied: BTreeSet::new() };
            unit.counted(count.min(MAX_INSTANCES), running)
        }
    }
}

/// Why an instance on this node must go, as far as that does not depend on other instances.
fn reason_to_go(cluster: &Cluster<'_>, wish: &UnitWish, rules: &Rules, node: NodeId) -> Option<Reason> {
    if let Some(reason) = cluster.gone(node) {
        return Some(reason);
    }
    if wish.pin.is_some_and(|pin| pin != node) {
        return Some(Reason::Pinned);
    }
    if !wish.may_run_on(node) {
        return Some(Reason::Forbidden);
    }
    if rules.never.contains(&node) {
        return Some(Reason::Apart);
    }
    (!rules.allow(node)).then_some(Reason::With)
}

/// The nodes that may be given an instance, each with how much it is liked, from 0 down. Empty `nodes` likes all alike.
fn candidates(cluster: &Cluster<'_>, wish: &UnitWish, rules: &Rules) -> Vec<(usize, NodeId)> {
    let avoid: BTreeSet<NodeId> = wish.avoid.iter().chain(&wish.shun).copied().collect();
    let may = |node: &NodeId| {
        cluster.is_able(*node) && !avoid.contains(node) && wish.pin.is_none_or(|pin| pin == *node) && rules.allow(*node)
    };
    if wish.nodes.is_empty() {
        return cluster.able.keys().copied().filter(may).map(|node| (0, node)).collect();
    }
    let mut seen = BTreeSet::new();
    let listed = wish.nodes.iter().copied().enumerate();
    listed.filter(|(_, node)| may(node) && seen.insert(*node)).collect()
}

/// [`Instances::All`]: an instance belongs to the node whose number it has.
fn one_on_each(
    cluster: &mut Cluster<'_>,
    wish: &UnitWish,
    rules: &Rules,
    running: &BTreeMap<u32, NodeId>,
) -> BTreeMap<u32, Outcome> {
    let mut outcomes: BTreeMap<u32, Outcome> = running
        .iter()
        .map(|(index, node)| {
            (*index, Outcome::stops(reason_to_go(cluster, wish, rules, *node).unwrap_or(Reason::NoLongerWanted)))
        })
        .collect();
    for (_, node) in candidates(cluster, wish, rules) {
        let reason = match running.get(&node.get()) {
            Some(from) => reason_to_go(cluster, wish, rules, *from).unwrap_or(Reason::Forbidden),
            None => Reason::Started,
        };
        if running.get(&node.get()) != Some(&node) {
            cluster.give(node);
        }
        outcomes.insert(node.get(), Outcome::runs(node, reason));
    }
    outcomes
}

/// A unit with so many instances while they are placed.
struct Unit<'c, 'v, 'w> {
    cluster: &'c mut Cluster<'v>,
    wish: &'w UnitWish,
    rules: &'w Rules,
    /// The nodes that have an instance; kept for `spread` alone.
    occupied: BTreeSet<NodeId>,
}

impl Unit<'_, '_, '_> {
    fn counted(&mut self, count: u32, running: &BTreeMap<u32, NodeId>) -> BTreeMap<u32, Outcome> {
        let mut outcomes = BTreeMap::new();
        let mut staying = BTreeMap::new();
        let mut homeless = Vec::new();
        for (&index, &node) in running {
            if index >= count {
                outcomes.insert(index, Outcome::stops(Reason::NoLongerWanted));
            } else if let Some(reason) = reason_to_go(self.cluster, self.wish, self.rules, node) {
                homeless.push((index, reason));
            } else if self.wish.spread && !self.occupied.insert(node) {
                homeless.push((index, Reason::Spread));
            } else {
                staying.insert(index, node);
                outcomes.insert(index, Outcome::runs(node, Reason::Started));
            }
        }
        homeless.extend((0..count).filter(|index| !running.contains_key(index)).map(|index| (index, Reason::Started)));
        homeless.sort_unstable_by_key(|(index, _)| *index);

        let goes_back = match self.wish.failback {
            Failback::No => false,
            Failback::Yes | Failback::WhenIdle => !self.wish.least_loaded && !staying.is_empty(),
        };
        // Most passes change nothing for most units, and then the candidates need not be gathered.
        if homeless.is_empty() && !goes_back {
            return outcomes;
        }
        let candidates = candidates(self.cluster, self.wish, self.rules);
        let mut none_left = false;
        for (index, reason) in homeless {
            let chosen = if none_left { None } else { self.choose(index, &candidates) };
            none_left = chosen.is_none();
            let outcome = match chosen {
                Some(node) => {
                    self.cluster.give(node);
                    self.occupied.insert(node);
                    Outcome::runs(node, reason)
                }
                None => Outcome { to: None, reason, why_not: Some(self.why_not(&candidates)) },
            };
            outcomes.insert(index, outcome);
        }
        if goes_back {
            self.go_back(&staying, &candidates, &mut outcomes);
        }
        outcomes
    }

    /// The best node for an instance.
    fn choose(&self, index: u32, candidates: &[(usize, NodeId)]) -> Option<NodeId> {
        let hash = instance_hash(&self.wish.name, index);
        let free = candidates.iter().filter(|(_, node)| !self.wish.spread || !self.occupied.contains(node));
        let best = free.min_by_key(|(liked, node)| {
            let order = if self.wish.least_loaded {
                self.cluster.able.get(node).map_or(u64::MAX, |told| told.with_given)
            } else {
                *liked as u64
            };
            (self.rules.rather_not.contains(node), order, Reverse(weight(hash, *node)), *node)
        });
        best.map(|(_, node)| *node)
    }

    /// Instances that have not lost their node go to one the unit likes better, if one is free.
    ///
    /// The one on the least liked node goes first. It gets the best node that is free, so what it leaves is better for
    /// nobody, and a second pass would find nothing to do.
    fn go_back(
        &mut self,
        staying: &BTreeMap<u32, NodeId>,
        candidates: &[(usize, NodeId)],
        outcomes: &mut BTreeMap<u32, Outcome>,
    ) {
        let liked: BTreeMap<NodeId, usize> = candidates.iter().map(|(liked, node)| (*node, *liked)).collect();
        let mut by_liking: Vec<(usize, u32, NodeId)> =
            staying.iter().filter_map(|(index, node)| Some((*liked.get(node)?, *index, *node))).collect();
        by_liking.sort_unstable_by_key(|(liked, index, _)| (Reverse(*liked), *index));
        for (now, index, node) in by_liking {
            if self.wish.failback == Failback::WhenIdle && !self.cluster.is_idle(node) {
                continue;
            }
            let Some(better) = self.choose(index, candidates) else { return };
            if liked.get(&better).is_some_and(|then| *then < now) {
                self.occupied.remove(&node);
                self.occupied.insert(better);
                self.cluster.give(better);
                outcomes.insert(index, Outcome::runs(better, Reason::Failback));
            }
        }
    }

    fn why_not(&self, candidates: &[(usize, NodeId)]) -> WhyNot {
        let without_the_others = self::candidates(self.cluster, self.wish, &Rules::default());
        match self.wish.pin {
            _ if !candidates.is_empty() => WhyNot::NotEnoughNodes,
            _ if !without_the_others.is_empty() => {
                let with =
                    |(_, node): &(usize, NodeId)| self.rules.only.as_ref().is_none_or(|only| only.contains(node));
                if without_the_others.iter().any(with) { WhyNot::NotApart } else { WhyNot::NotWith }
            }
            Some(pin) if !self.wish.may_run_on(pin) => WhyNot::PinnedToForbidden(pin),
            Some(pin) if self.cluster.is_able(pin) => WhyNot::Shunned,
            Some(pin) => WhyNot::PinnedNodeNotUp(pin),
            None if self.cluster.able.is_empty() => WhyNot::NobodyUp,
            None if self.cluster.able.keys().any(|node| self.wish.may_run_on(*node)) => WhyNot::Shunned,
            None => WhyNot::NoAllowedNodeUp,
        }
    }
}
