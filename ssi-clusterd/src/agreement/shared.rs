// SPDX-License-Identifier: GPL-2.0-or-later
//! What all members hold alike: node states, the transition log, and the progress of nodeup and nodedown work.
//!
//! It changes only by what is delivered in the engine's order, and each change is a function of what is held and of the
//! message alone, so members that hold the same before hold the same after. A message that does not fit what is held
//! (a late duplicate, a proposal overtaken by another) changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use ssi_cluster::{NodeId, NodeState, Transition, View, ViewId};

use super::message::{Assign, Drain, Move, ScriptBegan, ScriptEnded, ServiceWish};
use super::services::{self, Deed, Service};

/// How many transitions are kept. A node that comes up and goes down again makes five.
pub const LOG_KEPT: usize = 1024;

/// How many finished works are kept for people to look at.
pub const WORKS_KEPT: usize = 16;

/// How much of a script's output is kept, in bytes from its end.
pub const OUTPUT_KEPT: usize = 400;

/// How long the cause of a transition may be, in bytes.
pub const CAUSE_KEPT: usize = 160;

/// What all members hold alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// The agreed view.
    pub view: View,
    /// The last quorate view that this was held in. Of two that differ, the one with the higher lineage counts.
    pub lineage: ViewId,
    /// How many changes led here.
    pub revision: u64,
    /// What is known of each node that ever came up.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// The newest transitions, oldest first, without a gap.
    pub log: VecDeque<Transition>,
    /// The number of the newest transition ever, 0 before the first.
    pub last_id: u64,
    /// Work for transitions, by the transition's number.
    pub works: BTreeMap<u64, Work>,
    /// The units of the cluster, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// Nodes that are given no instances.
    #[serde(default)]
    pub drained: BTreeSet<NodeId>,
    /// The longest takeover time that any of them ever had, in milliseconds.
    #[serde(default)]
    pub longest_takeover_ms: u64,
}

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its state.
    pub state: NodeState,
    /// Since when: milliseconds since 1970 UTC.
    pub since_ms: u64,
    /// Which boot of the machine came up last.
    pub incarnation: String,
}

/// Which folder of scripts a work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkKind {
    /// `nodeup.d`, between COMINGUP and UP.
    NodeUp,
    /// `nodedown.d`, between UCLEANUP and DOWN.
    NodeDown,
}

impl WorkKind {
    /// Its name, as in the folder's.
    pub fn name(self) -> &'static str {
        match self {
            WorkKind::NodeUp => "nodeup",
            WorkKind::NodeDown => "nodedown",
        }
    }
}

/// The scripts that one transition asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Which folder.
    pub kind: WorkKind,
    /// The node that came or went.
    pub node: NodeId,
    /// Who runs the scripts.
    pub runner: Option<NodeId>,
    /// Those that were started, in that order.
    pub scripts: Vec<ScriptRun>,
    /// Whether nothing is left to be done.
    pub done: bool,
}

/// One script of a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRun {
    /// Its file name.
    pub script: String,
    /// Who ran it.
    pub runner: NodeId,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Its exit status; 128 + n for signal n.
    pub status: Option<i32>,
    /// The last of what it printed.
    pub output: String,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With status 0.
    Done,
    /// With another status or by a signal, or it could not be started.
    Failed,
    /// It was ended because it took too long.
    TimedOut,
    /// Its runner was lost; another runs it anew.
    Lost,
}

impl Outcome {
    /// Its name over D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed-out",
            Outcome::Lost => "lost",
        }
    }
}

impl Shared {
    /// The state of a node; one that never came up is NEVERUP.
    pub fn state_of(&self, node: NodeId) -> NodeState {
        self.nodes.get(&node).map_or(NodeState::NeverUp, |r| r.state)
    }

    /// The init node, if the view has quorum and a member is UP.
    pub fn init_node(&self) -> Option<NodeId> {
        self.view.quorate().and_then(|v| v.init_node(|n| self.state_of(n)))
    }

    /// The work that is not done for a node's present state.
    pub fn open_work(&self, node: NodeId) -> Option<(u64, &Work)> {
        self.works.iter().rev().find(|(_, w)| w.node == node && !w.done).map(|(&id, w)| (id, w))
    }

    /// The transitions after `since`, oldest first, and the number of the oldest kept (1 when none ever was).
    pub fn transitions_after(&self, since: u64) -> (u64, impl Iterator<Item = &Transition>) {
        let first = self.log.front().map_or(self.last_id.saturating_add(1), |t| t.id);
        (first, self.log.iter().filter(move |t| t.id > since))
    }

    /// A fingerprint of all of it.
    pub fn digest(&self) -> String {
        // Maps are ordered and there are no floating-point numbers in it: the same content is the same text.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(text).iter().take(12).map(|b| format!("{b:02x}")).collect()
    }

    /// Takes on the view that an exchange of hellos led to.
    pub fn enter(&mut self, view: View) {
        if view.quorate {
            self.lineage = view.id;
        }
        self.view = view;
        self.revision = self.revision.saturating_add(1);
    }

    /// Carries out a move; gives the transition it made, or `None` if it does not fit what is held.
    pub fn apply_move(&mut self, proposed: &Move) -> Option<Transition> {
        if proposed.view != self.view.id || !self.view.quorate || self.state_of(proposed.node) != proposed.from {
            return None;
        }
        let to = proposed.from.moved_to(proposed.to).ok()?;
        let id = self.last_id.saturating_add(1);
        let transition = Transition {
            id,
            at_ms: proposed.at_ms,
            view: self.view.id,
            node: proposed.node,
            from: proposed.from,
            to,
            cause: head(&proposed.cause, CAUSE_KEPT).to_owned(),
        };
        let record = self.nodes.entry(proposed.node).or_insert_with(|| NodeRecord {
            state: to,
            since_ms: proposed.at_ms,
            incarnation: String::new(),
        });
        record.state = to;
        record.since_ms = proposed.at_ms;
        if let Some(incarnation) = &proposed.incarnation {
            record.incarnation.clone_from(incarnation);
        }
        self.last_id = id;
        self.revision = self.revision.saturating_add(1);
        self.log.push_back(transition.clone());
        while self.log.len() > LOG_KEPT {
            self.log.pop_front();
        }
        // What was still to be done for the state it left is void; a new state may ask for new work.
        for work in self.works.values_mut().filter(|w| w.node == proposed.node) {
            work.done = true;
        }
        let kind = match to {
            NodeState::ComingUp => Some(WorkKind::NodeUp),
            NodeState::UCleanup => Some(WorkKind::NodeDown),
            _ => None,
        };
        if let Some(kind) = kind {
            let work = Work { kind, node: proposed.node, runner: None, scripts: Vec::new(), done: false };
            self.works.insert(id, work);
        }
        let finished: Vec<u64> = self.works.iter().filter(|(_, w)| w.done).map(|(&id, _)| id).collect();
        for id in finished.iter().take(finished.len().saturating_sub(WORKS_KEPT)) {
            self.works.remove(id);
        }
        Some(transition)
    }

    /// Gives a work to the sender; says whether it did.
    pub fn apply_assign(&mut self, sender: NodeId, assign: &Assign) -> bool {
        if assign.view != self.view.id || !self.view.quorate {
            return false;
        }
        let Some(work) = self.works.get_mut(&assign.transition) else { return false };
        if work.done || work.runner != assign.instead_of || work.runner == Some(sender) {
            return false;
        }
        for run in work.scripts.iter_mut().filter(|s| s.outcome.is_none()) {
            run.outcome = Some(Outcome::Lost);
        }
        work.runner = Some(sender);
        self.revision = self.revision.saturating_add(1);
        true
    }

    /// Notes that a script was started; only its work's runner can say so.
    pub fn apply_began(&mut self, sender: NodeId, began: &ScriptBegan) -> bool {
        let Some(work) = self.running_work(sender, began.transition) else { return false };
        let known = work.scripts.iter().any(|s| s.script == began.script && s.outcome != Some(Outcome::Lost));
        if known {
            return false;
        }
        work.scripts.push(ScriptRun {
            script: began.script.clone(),
            runner: sender,
            outcome: None,
            status: None,
            output: String::new(),
        });
        self.revision = self.revision.saturating_add(1);
        true
    }

    /// Notes that a script came to its end; only its work's runner can say so, and only once.
    pub fn apply_ended(&mut self, sender: NodeId, ended: &ScriptEnded) -> bool {
        let Some(work) = self.running_work(sender, ended.transition) else { return false };
        let Some(run) = work.scripts.iter_mut().find(|s| s.script == ended.script && s.outcome.is_none()) else {
            return false;
        };
        run.outcome = Some(ended.outcome);
        run.status = Some(ended.status);
        // What a script that did its work printed is in its runner's log; a failure is for everyone to see.
        if ended.outcome != Outcome::Done {
            run.output = tail(&ended.output).to_owned();
        }
        self.revision = self.revision.saturating_add(1);
        true
    }

    /// Notes that a work is done; only its runner can say so.
    pub fn apply_work_done(&mut self, sender: NodeId, transition: u64) -> bool {
        let Some(work) = self.running_work(sender, transition) else { return false };
        work.done = true;
        self.revision = self.revision.saturating_add(1);
        true
    }

    /// Something is to become of a unit of the cluster; whether it counts, and whether something changed.
    pub fn apply_service(&mut self, wish: &ServiceWish) -> (bool, bool) {
        if wish.view != self.view.id || !self.view.quorate {
            return (false, false);
        }
        if let Deed::Define { wanted, .. } = &wish.deed {
            self.longest_takeover_ms = self.longest_takeover_ms.max(wanted.takeover_ms);
        }
        let changed = services::apply(&mut self.services, &wish.unit, &wish.deed);
        if changed {
            self.revision = self.revision.saturating_add(1);
        }
        (true, changed)
    }

    /// A node is to be given no instances, or again; whether something changed.
    pub fn apply_drain(&mut self, drain: &Drain) -> bool {
        if drain.view != self.view.id || !self.view.quorate {
            return false;
        }
        let changed = if drain.on { self.drained.insert(drain.node) } else { self.drained.remove(&drain.node) };
        if changed {
            self.revision = self.revision.saturating_add(1);
        }
        changed
    }

    /// The same without what is only for people to read, for the rare case that it does not fit into a message.
    pub fn lean(&self) -> Shared {
        let mut lean = self.clone();
        lean.works.retain(|_, w| !w.done);
        for run in lean.works.values_mut().flat_map(|w| &mut w.scripts) {
            run.output.clear();
        }
        lean
    }

    fn running_work(&mut self, sender: NodeId, transition: u64) -> Option<&mut Work> {
        self.works.get_mut(&transition).filter(|w| !w.done && w.runner == Some(sender))
    }
}

impl Work {
    /// The scripts that came to an end of their own and are not to be run again.
    pub fn ended_scripts(&self) -> impl Iterator<Item = &str> {
        self.scripts.iter().filter(|s| s.outcome.is_some_and(|o| o != Outcome::Lost)).map(|s| s.script.as_str())
    }
}

/// The end of a text, cut at a character, at most [`OUTPUT_KEPT`] bytes.
pub fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(OUTPUT_KEPT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The front of a text, cut at a character, at most `most` bytes.
pub fn head(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
