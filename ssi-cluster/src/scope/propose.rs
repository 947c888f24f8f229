// SPDX-License-Identifier: GPL-2.0-or-later
//! What the coordinator proposes: the changes that bring the table to what is wanted.
//!
//! Every member could propose; correctness does not hang on who does. One member's proposals at a time save messages and
//! keep two placements from pulling at one instance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::agreed::{Agreed, Round};
use super::table::{Change, Ended, Ending, Hold, Stay, Table};
use crate::placement::{Assignment, Instance, Move, NodeFacts, UnitWish, place};
use crate::{NodeId, NodeState, View};

/// The takeover time of a unit that has none of its own, in milliseconds.
pub const DEFAULT_TAKEOVER_MS: u64 = 30_000;

/// For how long a node where an instance failed is given none of that unit, in milliseconds. OpenSSI's keepalive(1M) has
/// the same.
pub const DEFAULT_PROBATION_MS: u64 = 300_000;

/// How often an instance may fail within that time before it is left alone. OpenSSI's keepalive(1M) has the same.
pub const DEFAULT_ERROR_LIMIT: u32 = 10;

/// A unit that is to run in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Where it wants to be.
    pub wish: UnitWish,
    /// How long its node may have been silent before another one starts it, in milliseconds.
    pub takeover_ms: u64,
    /// For how long a node where it failed is given none of it, in milliseconds.
    pub probation_ms: u64,
    /// How often an instance may fail within that time before it is left alone until somebody starts it.
    pub error_limit: u32,
}

impl Wanted {
    /// With the times that a unit has that says nothing of them.
    #[must_use]
    pub fn new(wish: UnitWish) -> Wanted {
        Wanted {
            wish,
            takeover_ms: DEFAULT_TAKEOVER_MS,
            probation_ms: DEFAULT_PROBATION_MS,
            error_limit: DEFAULT_ERROR_LIMIT,
        }
    }

    /// The wish as it is now, with the nodes to shun.
    fn now(&self, table: &Table, wall_ms: u64) -> UnitWish {
        let mut wish = self.wish.clone();
        wish.shun.extend(self.failures(table, wall_ms).map(|ending| ending.node));
        wish
    }

    /// The failures that still count. Clocks of nodes that differ make them count for longer or shorter.
    fn failures<'a>(&'a self, table: &'a Table, wall_ms: u64) -> impl Iterator<Item = &'a Ending> + 'a {
        let failed = |e: &&Ending| e.ended == Ended::Failed && e.instance.unit == self.wish.name;
        let recent = move |e: &&Ending| wall_ms.abs_diff(e.at_ms) < self.probation_ms;
        table.endings().iter().filter(failed).filter(recent)
    }

    /// Why an instance is not to be started again, if it is not.
    #[must_use]
    pub fn rests(&self, table: &Table, instance: &Instance, wall_ms: u64) -> Option<Rest> {
        if table.endings().iter().any(|e| e.ended == Ended::Through && e.instance == *instance) {
            return Some(Rest::Through);
        }
        let count = self.failures(table, wall_ms).filter(|e| e.instance == *instance).count();
        (count >= self.error_limit.max(1) as usize).then_some(Rest::GivenUp)
    }
}

/// Why an instance that is wanted is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It has done what it was for.
    Through,
    /// It failed too often in too short a time.
    GivenUp,
}

/// The changes to propose now; none while nothing is certain, but to make it so.
///
/// `facts` are the states and loads of nodes. `wanted` are the units that are to run. `longest_ms` is the longest
/// takeover time of any unit that there ever was. `wall_ms` is the time of day, in milliseconds since 1970 UTC.
pub fn propose(
    agreed: &Agreed,
    facts: &BTreeMap<NodeId, NodeFacts>,
    wanted: &[Wanted],
    longest_ms: u64,
    now_ms: u64,
    wall_ms: u64,
) -> Vec<Change> {
    let Some(round) = agreed.round() else { return Vec::new() };
    if !round.certain {
        return if agreed.may_be_certain(longest_ms, now_ms) { vec![Change::Certain] } else { Vec::new() };
    }
    let table = agreed.table();
    let mut changes: Vec<Change> = doubles(table).collect();
    let mut busy: BTreeSet<&Instance> = BTreeSet::new();
    for hold in table.holds() {
        if !round.boots.contains_key(&hold.node) {
            // Where it goes is said when it may go; until then the placement may think of better.
            continue;
        }
        // A node that was out of sight for a moment keeps what it still runs while it comes up again.
        let coming = facts
            .get(&hold.node)
            .is_none_or(|facts| !matches!(facts.state, NodeState::Up | NodeState::Shutdown | NodeState::GoingDown));
        if coming || hold.stay.is_leaving() || table.holders(&hold.instance).len() > 1 {
            busy.insert(&hold.instance);
        }
    }
    let any_apart = wanted.iter().any(|wanted| !wanted.wish.apart.is_empty());
    for moved in moves(round, table, facts, wanted, wall_ms) {
        if busy.contains(&moved.instance) {
            continue;
        }
        let unit = wanted.iter().find(|wanted| wanted.wish.name == moved.instance.unit);
        let rests = unit.is_some_and(|unit| unit.rests(table, &moved.instance, wall_ms).is_some());
        if moved.from.is_none() && rests {
            continue;
        }
        let takeover_ms = unit.map_or(DEFAULT_TAKEOVER_MS, |unit| unit.takeover_ms);
        let changed = change_of(agreed, round, moved, takeover_ms, now_ms);
        changes.extend(
            changed.and_then(|change| if any_apart { kept_apart(change, table, wanted) } else { Some(change) }),
        );
    }
    // Nobody asks about the past of what is no longer wanted.
    let unwanted = |ending: &&Ending| !wanted.iter().any(|wanted| wanted.wish.name == ending.instance.unit);
    let forgotten: BTreeSet<&str> =
        table.endings().iter().filter(unwanted).map(|ending| ending.instance.unit.as_str()).collect();
    changes.extend(forgotten.into_iter().map(|unit| Change::Forget { unit: unit.to_owned() }));
    // What an absent node was to stop anyhow, and what is still there beside what others hold, goes when its time is over.
    let absent = table.holds().iter().filter(|hold| !round.boots.contains_key(&hold.node));
    for hold in absent.filter(|hold| agreed.may_take(hold.node, hold.takeover_ms, now_ms)) {
        let names_it = |change: &Change| match change {
            Change::Taken { instance, node, .. } => (instance, *node) == (&hold.instance, hold.node),
            _ => false,
        };
        if !changes.iter().any(names_it) && (hold.stay.is_leaving() || table.holders(&hold.instance).len() > 1) {
            changes.push(taken(hold, hold.stay.next()));
        }
    }
    changes
}

/// Where two nodes have one instance, which must not be, the later grants go.
fn doubles(table: &Table) -> impl Iterator<Item = Change> + '_ {
    table.holds().iter().filter(|hold| !hold.stay.is_leaving()).filter_map(|hold| {
        let staying = table.holders(&hold.instance).iter().filter(|other| !other.stay.is_leaving());
        let first = staying.min_by_key(|other| (other.grant, other.node))?;
        (first.node != hold.node).then(|| Change::Leave {
            instance: hold.instance.clone(),
            node: hold.node,
            grant: hold.grant,
            to: None,
        })
    })
}

fn moves(
    round: &Round,
    table: &Table,
    facts: &BTreeMap<NodeId, NodeFacts>,
    wanted: &[Wanted],
    wall_ms: u64,
) -> Vec<Move> {
    // Who has no daemon in the round, or none that reaches his unit manager, can be told nothing: for scope he is no member.
    let members = round.guarded.clone();
    let view = View { id: round.view.id, members, quorate: round.view.quorate };
    let Some(view) = view.quorate() else { return Vec::new() };
    let mut current = Assignment::new();
    for hold in table.holds() {
        let node = match hold.stay {
            Stay::Leaves(Some(to)) if facts.get(&to).is_some_and(|facts| facts.state == NodeState::Up) => to,
            _ => hold.node,
        };
        current.entry(hold.instance.clone()).or_insert(node);
    }
    let wishes: Vec<UnitWish> = wanted.iter().map(|wanted| wanted.now(table, wall_ms)).collect();
    place(view, facts, &wishes, &current).moves
}

fn change_of(agreed: &Agreed, round: &Round, moved: Move, takeover_ms: u64, now_ms: u64) -> Option<Change> {
    let holders = agreed.table().holders(&moved.instance);
    let Some(hold) = holders.first() else {
        let to = moved.to?;
        return Some(Change::Grant { instance: moved.instance, to, takeover_ms });
    };
    if !round.boots.contains_key(&hold.node) {
        return agreed.may_take(hold.node, hold.takeover_ms, now_ms).then(|| taken(hold, moved.to));
    }
    Some(Change::Leave { instance: moved.instance, node: hold.node, grant: hold.grant, to: moved.to })
}

/// What is to run apart from another unit waits until that has ended where it is to go.
fn kept_apart(mut change: Change, table: &Table, wanted: &[Wanted]) -> Option<Change> {
    let (instance, to) = match &change {
        Change::Grant { instance, to, .. } => (instance, Some(*to)),
        Change::Leave { instance, to, .. } | Change::Taken { instance, to, .. } => (instance, *to),
        _ => return Some(change),
    };
    let Some(to) = to else { return Some(change) };
    let apart_of = |unit: &str| wanted.iter().find(|wanted| wanted.wish.name == unit).map(|wanted| &wanted.wish.apart);
    let own = apart_of(&instance.unit);
    let is_apart = |other: &str| {
        other != instance.unit
            && (own.is_some_and(|own| own.contains(other))
                || apart_of(other).is_some_and(|theirs| theirs.contains(&instance.unit)))
    };
    let is_there = |hold: &Hold| hold.node == to || hold.stay.next() == Some(to);
    if !table.holds().iter().any(|hold| is_there(hold) && is_apart(&hold.instance.unit)) {
        return Some(change);
    }
    match &mut change {
        // It ends where it is, and gets a node when one is free: two that change places would wait for each other.
        Change::Leave { to, .. } | Change::Taken { to, .. } => {
            *to = None;
            Some(change)
        }
        _ => None,
    }
}

fn taken(hold: &Hold, to: Option<NodeId>) -> Change {
    Change::Taken { instance: hold.instance.clone(), node: hold.node, grant: hold.grant, to }
}
