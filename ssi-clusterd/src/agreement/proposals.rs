// SPDX-License-Identifier: GPL-2.0-or-later
//! What the coordinator proposes: the moves and the work that what is held asks for.
//!
//! Every member could propose; that only the coordinator does saves messages, and correctness does not hang on it: a
//! move counts only from the state it names, and work only if nobody else took it meanwhile. The coordinator is the
//! init node while its daemon takes part, else the lowest-numbered UP member that does, else (the cluster has just
//! started, nobody is UP) the lowest-numbered that does.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::{NodeId, NodeState};

use super::message::{Assign, Message, Move};
use super::shared::Shared;

/// After how long a proposal that had no effect is made again, in milliseconds.
const PROPOSE_AGAIN_MS: u64 = 2_000;

/// How long beyond a script's own limit a runner whose daemon is away is waited for, in milliseconds.
const RUNNER_GRACE_MS: u64 = 15_000;

/// Makes the proposals of one member.
pub struct Proposer {
    own: NodeId,
    script_timeout_ms: u64,
    /// What was proposed and when, so that one reason makes one message.
    made: Vec<(Message, u64)>,
    /// Since when the runner of a work is a member without a daemon.
    away_since: BTreeMap<u64, u64>,
}

impl Proposer {
    /// For the member `own`; a script is ended after `script_timeout_ms`.
    pub fn new(own: NodeId, script_timeout_ms: u64) -> Self {
        Self { own, script_timeout_ms, made: Vec::new(), away_since: BTreeMap::new() }
    }

    /// Forgets what was proposed: in a new round it may have to be proposed again.
    pub fn forget(&mut self) {
        self.made.clear();
    }

    /// The member whose task it is to propose.
    pub fn coordinator(shared: &Shared, attached: &BTreeMap<NodeId, &str>) -> Option<NodeId> {
        let up = attached.keys().find(|n| shared.state_of(**n) == NodeState::Up);
        up.or_else(|| attached.keys().next()).copied()
    }

    /// What to send now. `attached` are the members whose daemons take part, with the boot each of them is in.
    pub fn propose(
        &mut self,
        shared: &Shared,
        attached: &BTreeMap<NodeId, &str>,
        configured: &BTreeSet<NodeId>,
        now_ms: u64,
        wall_ms: u64,
    ) -> Vec<Message> {
        if Self::coordinator(shared, attached) != Some(self.own) {
            self.away_since.clear();
            return Vec::new();
        }
        let mut wanted = moves(shared, attached, configured, wall_ms);
        wanted.extend(self.assignments(shared, attached, now_ms));
        self.made.retain(|(_, at)| now_ms.saturating_sub(*at) < PROPOSE_AGAIN_MS);
        let fresh: Vec<Message> =
            wanted.into_iter().filter(|m| !self.made.iter().any(|(old, _)| same_proposal(old, m))).collect();
        self.made.extend(fresh.iter().map(|m| (m.clone(), now_ms)));
        fresh
    }

    /// Work without a runner, or whose runner is lost, is taken by the coordinator. A runner that is a member and only
    /// its daemon is away is waited for: its script goes on meanwhile, and must not run twice.
    fn assignments(&mut self, shared: &Shared, attached: &BTreeMap<NodeId, &str>, now_ms: u64) -> Vec<Message> {
        let patience = self.script_timeout_ms + RUNNER_GRACE_MS;
        let mut wanted = Vec::new();
        self.away_since.retain(|t, _| shared.works.get(t).is_some_and(|w| !w.done));
        for (&transition, work) in shared.works.iter().filter(|(_, w)| !w.done) {
            let free = match work.runner {
                None => true,
                Some(runner) if !shared.view.members.contains(&runner) => true,
                Some(runner) if !attached.contains_key(&runner) => {
                    let since = *self.away_since.entry(transition).or_insert(now_ms);
                    now_ms.saturating_sub(since) > patience
                }
                Some(_) => {
                    self.away_since.remove(&transition);
                    false
                }
            };
            if free && work.runner != Some(self.own) {
                wanted.push(Message::Assign(Assign { view: shared.view.id, transition, instead_of: work.runner }));
            }
        }
        wanted
    }
}

fn same_proposal(a: &Message, b: &Message) -> bool {
    match (a, b) {
        (Message::Move(a), Message::Move(b)) => (a.view, a.node, a.from, a.to) == (b.view, b.node, b.from, b.to),
        _ => a == b,
    }
}

/// The moves that what is held asks for.
fn moves(
    shared: &Shared,
    attached: &BTreeMap<NodeId, &str>,
    configured: &BTreeSet<NodeId>,
    wall_ms: u64,
) -> Vec<Message> {
    let nodes: BTreeSet<NodeId> = shared.nodes.keys().chain(attached.keys()).copied().collect();
    let mut wanted = Vec::new();
    for node in nodes {
        let state = shared.state_of(node);
        let Some((to, cause, incarnation)) = next(shared, attached, configured, node, state) else { continue };
        wanted.push(Message::Move(Move {
            view: shared.view.id,
            node,
            from: state,
            to,
            cause: cause.to_owned(),
            at_ms: wall_ms,
            incarnation,
            reboot: false,
        }));
    }
    wanted
}

/// The move that one node should make now, and why.
fn next(
    shared: &Shared,
    attached: &BTreeMap<NodeId, &str>,
    configured: &BTreeSet<NodeId>,
    node: NodeId,
    state: NodeState,
) -> Option<(NodeState, &'static str, Option<String>)> {
    let member = shared.view.members.contains(&node);
    let boot = attached.get(&node).copied();
    let work_done = shared.open_work(node).is_none();
    match state {
        NodeState::NeverUp | NodeState::Down => {
            let boot = boot.filter(|_| member && configured.contains(&node))?;
            Some((NodeState::ComingUp, "joined", Some(boot.to_owned())))
        }
        NodeState::KCleanup => Some((NodeState::UCleanup, "engine let go of it", None)),
        NodeState::UCleanup => work_done.then_some((NodeState::Down, "nodedown work done", None)),
        present if !member => {
            let cause = match present {
                NodeState::GoingDown => "left in order",
                NodeState::Shutdown => "left while shutting down",
                NodeState::ComingUp => "lost while coming up",
                _ => "lost: no longer a member",
            };
            Some((NodeState::KCleanup, cause, None))
        }
        _ if boot.is_some_and(|b| shared.nodes.get(&node).is_some_and(|r| r.incarnation != b)) => {
            Some((NodeState::KCleanup, "lost: it was started anew", None))
        }
        NodeState::ComingUp => work_done.then_some((NodeState::Up, "nodeup work done", None)),
        NodeState::Up | NodeState::Shutdown | NodeState::GoingDown => None,
    }
}
