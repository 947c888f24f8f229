// SPDX-License-Identifier: GPL-2.0-or-later
//! Who runs what: the nodes for the instances of all cluster-scoped units.
//!
//! Every member computes this for itself from what all agree on (the view, the states, the wishes, the assignment so
//! far) and must come to the same answer; nothing else goes in, no clock and no chance, and the order of lists does not
//! count except where it means something (`nodes`).
//!
//! # The words
//! *Unit*: a service of the cluster. *Instance*: one running copy of it, with an index. *Wish*: what a unit's `[X-SSI]`
//! section says about where it wants to be. *Able*: a member of the quorate view in state UP; only such a node runs
//! anything. *Allowed* for a unit: in `nodes` if that is not empty, and not in `avoid`.
//!
//! # The rules
//! An instance that runs stays where it is, unless there is a [`Reason`] for it to go:
//!
//! 1. its node is not able any more ([`Reason::NodeLost`], [`Reason::NodeLeaving`]),
//! 2. the unit is pinned to another node, or may no longer run on this one, or is to be spread and a lower instance is
//!    there already ([`Reason::Pinned`], [`Reason::Forbidden`], [`Reason::Spread`]),
//! 3. what it is to run with is elsewhere, or what it is to run apart from is on its node ([`Reason::With`],
//!    [`Reason::Apart`]),
//! 4. a node that the unit prefers has become free and its `failback` lets it go there ([`Reason::Failback`]),
//! 5. nobody wants it any more ([`Reason::NoLongerWanted`]).
//!
//! An instance that needs a node gets, among the able and allowed ones,
//!
//! 0. none that it shuns for now: what is there stays, and nothing comes,
//! 1. with `spread`, only one without another instance of the unit; where none is left, it stays without a node,
//! 2. rather one without what is to run apart from it,
//! 3. the first in `nodes`; with `least_loaded`, `nodes` says only who may,
//! 4. with `least_loaded`, the one with the least load, each instance given in this pass counted as [`INSTANCE_LOAD`],
//! 5. the one with the highest weight for it (see `rendezvous.rs`).
//!
//! What others are to run with or apart from is placed before them and does not heed where they may be (see `company.rs`).
//!
//! So a lost node moves what it ran and nothing else, and placing again moves nothing.
//!
//! # An example
//! ```
//! use ssi_cluster::placement::{Instance, Instances, NodeFacts, Reason, UnitWish, place};
//! use ssi_cluster::{NodeId, NodeState, View, ViewId};
//!
//! let node = |n| NodeId::new(n).ok_or("no number");
//! let (one, two, three) = (node(1)?, node(2)?, node(3)?);
//! let up = NodeFacts { state: NodeState::Up, load: 0 };
//! let nodes = [(one, up), (two, up), (three, up)].into();
//! let db = UnitWish { nodes: vec![one, two], ..UnitWish::new("db.service", Instances::Count(1)) };
//! let wishes = [db, UnitWish::new("node-exporter.service", Instances::All)];
//!
//! let all = View { id: ViewId(1), members: [one, two, three].into(), quorate: true };
//! let placed = place(all.quorate().ok_or("no quorum")?, &nodes, &wishes, &Default::default());
//! assert_eq!(placed.assignment[&Instance::new("db.service", 0)], one);
//! assert_eq!(placed.assignment.len(), 4);
//!
//! // Node 1 is lost: the database moves to its next choice, and nothing else does.
//! let rest = View { id: ViewId(2), members: [two, three].into(), quorate: true };
//! let again = place(rest.quorate().ok_or("no quorum")?, &nodes, &wishes, &placed.assignment);
//! assert_eq!(again.moves[0].instance, Instance::new("db.service", 0));
//! assert_eq!((again.moves[0].from, again.moves[0].to), (Some(one), Some(two)));
//! assert_eq!(again.moves[0].reason, Reason::NodeLost);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use self::company::Company;
use crate::{NodeId, NodeState, QuorateView};

mod company;
mod rendezvous;
mod unit;

/// What an instance that has just been given to a node counts there, until it shows in the node's own load: one runnable
/// task on one reference CPU (see [`crate::load`]).
pub const INSTANCE_LOAD: u64 = 1000;

/// A node whose exported load is at most this counts as idle for [`Failback::WhenIdle`]: a tenth of a task.
pub const IDLE_LOAD: u64 = 100;

/// The most instances of one unit; a wish for more is a wish for so many.
pub const MAX_INSTANCES: u32 = 10_000;

/// How many instances of a unit there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Instances {
    /// So many in the cluster, with the indices from 0 up.
    Count(u32),
    /// One on each able and allowed node; its index is the node's number.
    All,
}

/// Whether an instance goes back to a node that it prefers, when that node is there again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failback {
    /// It stays where it is.
    #[default]
    No,
    /// At once.
    Yes,
    /// As soon as the node that it is on is idle: its load is [`IDLE_LOAD`] or less, so that the instance has nothing to do
    /// that would be interrupted.
    WhenIdle,
}

/// Where a unit wants to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitWish {
    /// The unit's name.
    pub name: String,
    /// How many of it.
    pub instances: Instances,
    /// The nodes it may run on, the one it likes best first; empty: any.
    pub nodes: Vec<NodeId>,
    /// The nodes it must not run on.
    pub avoid: Vec<NodeId>,
    /// The nodes that are given no instance now; what runs there stays. It failed there, say.
    #[serde(default)]
    pub shun: Vec<NodeId>,
    /// Whether it goes back to a node it likes better.
    pub failback: Failback,
    /// Never two instances on one node; those that are left over get none.
    pub spread: bool,
    /// It runs on this node or nowhere. A pin to a node that is not allowed leaves it without one: ask
    /// [`may_run_on`](Self::may_run_on) before accepting a pin.
    pub pin: Option<NodeId>,
    /// Among the nodes it may run on, the least loaded one rather than the first.
    pub least_loaded: bool,
    /// Only on nodes where each of these units has an instance, by name.
    #[serde(default)]
    pub with: BTreeSet<String>,
    /// Only on nodes where none of these units has one, by name.
    #[serde(default)]
    pub apart: BTreeSet<String>,
}

impl UnitWish {
    /// A wish for this many instances anywhere.
    pub fn new(name: impl Into<String>, instances: Instances) -> Self {
        Self {
            name: name.into(),
            instances,
            nodes: Vec::new(),
            avoid: Vec::new(),
            shun: Vec::new(),
            failback: Failback::No,
            spread: false,
            pin: None,
            least_loaded: false,
            with: BTreeSet::new(),
            apart: BTreeSet::new(),
        }
    }

    /// Whether the unit's own lists allow this node.
    pub fn may_run_on(&self, node: NodeId) -> bool {
        (self.nodes.is_empty() || self.nodes.contains(&node)) && !self.avoid.contains(&node)
    }
}

/// One running copy of a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The unit's name.
    pub unit: String,
    /// Which copy: from 0 up; the node's number for [`Instances::All`].
    pub index: u32,
}

impl Instance {
    /// This copy of this unit.
    pub fn new(unit: impl Into<String>, index: u32) -> Self {
        Self { unit: unit.into(), index }
    }
}

impl fmt::Display for Instance {
    /// `db.service#0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.unit, self.index)
    }
}

/// Who runs what.
pub type Assignment = BTreeMap<Instance, NodeId>;

/// What counts of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its state.
    pub state: NodeState,
    /// Its exported load as all members know it (see [`crate::load`]).
    pub load: u64,
}

/// Why an instance starts, moves or stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// It is wanted and had no node.
    Started,
    /// Its node is no longer a member, or was lost and is only coming up again.
    NodeLost,
    /// Its node was asked to go.
    NodeLeaving,
    /// The unit is pinned to another node.
    Pinned,
    /// The unit may no longer run on its node.
    Forbidden,
    /// The unit is to be spread, and a lower instance is on its node.
    Spread,
    /// What it is to run with is on another node.
    With,
    /// What it is to run apart from is on its node.
    Apart,
    /// A node that the unit likes better has room.
    Failback,
    /// There is no wish for it any more.
    NoLongerWanted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reason::Started => "it is wanted and had no node",
            Reason::NodeLost => "its node was lost",
            Reason::NodeLeaving => "its node is leaving",
            Reason::Pinned => "it is pinned to another node",
            Reason::Forbidden => "it may no longer run on its node",
            Reason::Spread => "its node has another instance and they are to be spread",
            Reason::With => "what it is to run with is elsewhere",
            Reason::Apart => "what it is to run apart from is on its node",
            Reason::Failback => "a node it prefers is there again",
            Reason::NoLongerWanted => "it is no longer wanted",
        })
    }
}

/// An instance gets, changes or loses its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which.
    pub instance: Instance,
    /// Where it was; `None` when it starts.
    pub from: Option<NodeId>,
    /// Where it goes; `None` when it stops.
    pub to: Option<NodeId>,
    /// Why.
    pub reason: Reason,
}

/// Why an instance that is wanted has no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WhyNot {
    /// No member is UP.
    NobodyUp,
    /// None of the nodes it may run on is UP.
    NoAllowedNodeUp,
    /// The node it is pinned to is not UP.
    PinnedNodeNotUp(NodeId),
    /// The node it is pinned to is one that it must not run on.
    PinnedToForbidden(NodeId),
    /// It failed not long ago on every node it could be on.
    Shunned,
    /// It is to be spread, and every node it could be on has another instance.
    NotEnoughNodes,
    /// No node that it could be on has all that it is to run with.
    NotWith,
    /// Each node that it could be on has something that it is to run apart from.
    NotApart,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNot::NobodyUp => f.write_str("no node is UP"),
            WhyNot::NoAllowedNodeUp => f.write_str("none of the nodes it may run on is UP"),
            WhyNot::PinnedNodeNotUp(node) => write!(f, "it is pinned to node {node}, which is not UP"),
            WhyNot::PinnedToForbidden(node) => write!(f, "it is pinned to node {node}, which Nodes= or Avoid= forbids"),
            WhyNot::Shunned => f.write_str("it failed not long ago on every node it could run on"),
            WhyNot::NotEnoughNodes => {
                f.write_str("every node it could run on has an instance, and they are to be spread")
            }
            WhyNot::NotWith => f.write_str("no node it could run on has what With= names"),
            WhyNot::NotApart => f.write_str("each node it could run on has something that Apart= names"),
        }
    }
}

/// Who runs what from now on, and what changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Who runs what.
    pub assignment: Assignment,
    /// What changes, by instance; each at most once.
    pub moves: Vec<Move>,
    /// What is wanted and has no node, by instance.
    pub unplaced: BTreeMap<Instance, WhyNot>,
}

/// Gives every wanted instance a node, and moves none without a reason.
///
/// Of two wishes for one unit, the lesser in the order of [`UnitWish`] counts.
pub fn place(
    view: QuorateView<'_>,
    nodes: &BTreeMap<NodeId, NodeFacts>,
    wishes: &[UnitWish],
    current: &Assignment,
) -> Placement {
    let mut by_name: BTreeMap<&str, &UnitWish> = BTreeMap::new();
    for wish in wishes {
        by_name.entry(&wish.name).and_modify(|w| *w = (*w).min(wish)).or_insert(wish);
    }
    let mut running: BTreeMap<&str, BTreeMap<u32, NodeId>> = BTreeMap::new();
    for (instance, node) in current {
        running.entry(&instance.unit).or_default().insert(instance.index, *node);
    }
    let mut cluster = Cluster::new(view, nodes);
    let mut placement = Placement::default();
    let units: BTreeSet<&str> = by_name.keys().chain(running.keys()).copied().collect();
    let mut company = Company::new(&by_name, &running);
    for unit in company.order(units) {
        let running = running.remove(unit).unwrap_or_default();
        let outcomes = match by_name.get(unit) {
            Some(wish) => unit::place(&mut cluster, wish, &company.rules(wish), &running),
            None => running.keys().map(|index| (*index, Outcome::stops(Reason::NoLongerWanted))).collect(),
        };
        company.placed(unit, outcomes.values().filter_map(|outcome| outcome.to));
        for (index, outcome) in outcomes {
            placement.record(Instance::new(unit, index), running.get(&index).copied(), outcome);
        }
    }
    if company.is_any() {
        // They were not placed in the order of their names.
        placement.moves.sort_by(|one, other| one.instance.cmp(&other.instance));
    }
    placement
}

impl Placement {
    fn record(&mut self, instance: Instance, from: Option<NodeId>, outcome: Outcome) {
        let Outcome { to, reason, why_not } = outcome;
        if from != to {
            self.moves.push(Move { instance: instance.clone(), from, to, reason });
        }
        match (to, why_not) {
            (Some(node), _) => {
                self.assignment.insert(instance, node);
            }
            (None, Some(why_not)) => {
                self.unplaced.insert(instance, why_not);
            }
            (None, None) => {}
        }
    }
}

/// What becomes of one instance. The reason counts only if that is a change.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    to: Option<NodeId>,
    reason: Reason,
    why_not: Option<WhyNot>,
}

impl Outcome {
    fn runs(to: NodeId, reason: Reason) -> Self {
        Self { to: Some(to), reason, why_not: None }
    }

    fn stops(reason: Reason) -> Self {
        Self { to: None, reason, why_not: None }
    }
}

/// The nodes as they are, and what this pass has given them so far.
struct Cluster<'a> {
    view: QuorateView<'a>,
    nodes: &'a BTreeMap<NodeId, NodeFacts>,
    /// The able nodes by number: the load they told, and with what was given to them since.
    able: BTreeMap<NodeId, Told>,
}

/// A node's load as it told it, and with what this pass has given it.
#[derive(Clone, Copy)]
struct Told {
    load: u64,
    with_given: u64,
}

impl<'a> Cluster<'a> {
    fn new(view: QuorateView<'a>, nodes: &'a BTreeMap<NodeId, NodeFacts>) -> Self {
        let facts = view.view().members.iter().filter_map(|member| Some((*member, nodes.get(member)?)));
        let up = facts.filter(|(_, facts)| facts.state == NodeState::Up);
        let able = up.map(|(node, facts)| (node, Told { load: facts.load, with_given: facts.load })).collect();
        Self { view, nodes, able }
    }

    fn is_able(&self, node: NodeId) -> bool {
        self.able.contains_key(&node)
    }

    /// Why this node cannot go on running what it ran, if it cannot.
    fn gone(&self, node: NodeId) -> Option<Reason> {
        if self.is_able(node) {
            return None;
        }
        let state = self.nodes.get(&node).map(|facts| facts.state);
        let leaving = matches!(state, Some(NodeState::Shutdown | NodeState::GoingDown));
        let member = self.view.view().members.contains(&node);
        Some(if member && leaving { Reason::NodeLeaving } else { Reason::NodeLost })
    }

    /// Counts an instance on the node that was just given it.
    fn give(&mut self, node: NodeId) {
        if let Some(told) = self.able.get_mut(&node) {
            told.with_given = told.with_given.saturating_add(INSTANCE_LOAD);
        }
    }

    fn is_idle(&self, node: NodeId) -> bool {
        self.able.get(&node).is_some_and(|told| told.load <= IDLE_LOAD)
    }
}
