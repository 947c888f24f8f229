// SPDX-License-Identifier: GPL-2.0-or-later
//! Has lost machines turned off by their fence agents, so that what they ran can run elsewhere before its takeover time
//! is over. An agent that fails shortens nothing: then that time is waited for, as without agents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use ssi_cluster::config::FenceDevice;
use ssi_cluster::{NodeId, NodeState};

use super::{Daemon, wall_ms};
use crate::agreement::Event;
use crate::agreement::message::{FenceNote, FenceOutcome, Message};
use crate::bus::MethodError;
use crate::fence_run::{self, Job};

/// How long a node has to be out of sight: a membership engine that is only started anew is back by then.
const OUT_OF_SIGHT: Duration = Duration::from_secs(3);

/// After a failure the agent is run again, after twice the time each time.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Within what time the engine notices that a machine was turned off.
const NOTICED: Duration = Duration::from_secs(60);

/// What came of a run.
pub(super) struct Ran {
    node: NodeId,
    boot: Option<String>,
    agent: String,
    result: Result<(), String>,
}

/// A node that is to be turned off.
struct Target {
    /// When its agent is to be run next, and how long is waited after another failure.
    due: Instant,
    wait: Duration,
}

/// What the daemon keeps about it.
pub(super) struct Fencing {
    ran: mpsc::Sender<Ran>,
    targets: BTreeMap<NodeId, Target>,
    running: BTreeSet<NodeId>,
    /// Who asked for it and waits.
    asked: BTreeMap<NodeId, Vec<oneshot::Sender<Result<(), MethodError>>>>,
    /// The last that is known of each node, from whoever did it.
    pub(super) notes: BTreeMap<NodeId, FenceNote>,
    without: BTreeSet<NodeId>,
    /// Whom somebody had turned off while it was a member: it counts once the engine has noticed.
    done: BTreeMap<NodeId, (String, Instant)>,
}

impl Fencing {
    /// What comes of runs goes to the other end of `ran`.
    pub(super) fn new(ran: mpsc::Sender<Ran>) -> Fencing {
        Fencing {
            ran,
            targets: BTreeMap::new(),
            running: BTreeSet::new(),
            asked: BTreeMap::new(),
            notes: BTreeMap::new(),
            without: BTreeSet::new(),
            done: BTreeMap::new(),
        }
    }
}

impl Daemon {
    /// Time passed.
    pub(super) fn tend_fencing(&mut self) {
        let wanted = self.agreement.to_fence();
        self.fencing.targets.retain(|node, _| wanted.contains_key(node));
        self.fencing.without.retain(|node| wanted.contains_key(node));
        let config = Arc::clone(&self.loaded.config);
        // Of two that lose sight of each other, the first is to win.
        let second = config.nodes.len() == 2 && config.nodes.keys().next() != Some(&self.own);
        let extra = if second { Duration::from_secs(config.fence.delay_s.into()) } else { Duration::ZERO };
        self.fencing.done.retain(|_, (_, at)| at.elapsed() < NOTICED);
        for (node, boot) in wanted {
            if self.fencing.done.get(&node).is_some_and(|(done, _)| *done == boot) {
                self.feed(Event::Ended { node, boot });
                continue;
            }
            let Some(device) = config.node(node).and_then(|node| node.fence.clone()) else {
                if self.fencing.without.insert(node) {
                    tracing::info!(
                        "node {node} is lost and has no fence agent in cluster.toml: what it ran is waited for (TakeoverSec=)"
                    );
                }
                continue;
            };
            let fresh = Target { due: Instant::now() + OUT_OF_SIGHT + extra, wait: AGAIN.0 };
            let target = self.fencing.targets.entry(node).or_insert(fresh);
            if target.due <= Instant::now() && !self.fencing.running.contains(&node) {
                self.run_agent(node, Some(boot), device);
            }
        }
    }

    fn run_agent(&mut self, node: NodeId, boot: Option<String>, device: FenceDevice) {
        tracing::warn!("node {node} is being turned off: {} with the fence agent {}", device.action, device.agent);
        self.fencing.running.insert(node);
        self.note_fence(node, device.agent.clone(), FenceOutcome::Running, String::new());
        let job = Job {
            config: self.paths.config.clone(),
            folder: self.paths.run.join("fence"),
            node,
            number: wall_ms(),
            limit: Duration::from_secs(self.loaded.config.fence.timeout_s.into()),
        };
        let ran = self.fencing.ran.clone();
        tokio::spawn(async move {
            let result = fence_run::run(&job).await;
            let _ = ran.send(Ran { node, boot, agent: device.agent, result }).await;
        });
    }

    /// An agent has ended.
    pub(super) fn on_fenced(&mut self, ran: Ran) {
        let Ran { node, boot, agent, result } = ran;
        self.fencing.running.remove(&node);
        for asked in self.fencing.asked.remove(&node).unwrap_or_default() {
            let _ = asked.send(result.clone().map_err(MethodError::Refused));
        }
        match result {
            Ok(()) => {
                tracing::warn!("node {node} was turned off by the fence agent {agent}");
                self.note_fence(node, agent, FenceOutcome::Done, String::new());
                if let Some(boot) = boot {
                    self.fencing.done.insert(node, (boot.clone(), Instant::now()));
                    self.feed(Event::Ended { node, boot });
                }
            }
            Err(e) => {
                let wait = self.fencing.targets.get_mut(&node).map(|target| {
                    target.due = Instant::now() + target.wait;
                    let wait = target.wait;
                    target.wait = (wait * 2).min(AGAIN.1);
                    wait
                });
                let again =
                    wait.map_or_else(String::new, |wait| format!("; it is tried again in {} s", wait.as_secs()));
                tracing::error!("node {node} could not be turned off: {e}{again}");
                self.note_fence(node, agent, FenceOutcome::Failed, e);
            }
        }
    }

    fn note_fence(&mut self, node: NodeId, agent: String, outcome: FenceOutcome, detail: String) {
        let note = FenceNote { node, by: self.own, agent, outcome, detail, at_ms: wall_ms() };
        self.feed(Event::Tell(Message::Fence(note)));
    }

    /// Somebody tells of an agent's run.
    pub(super) fn on_fence_note(&mut self, note: FenceNote) {
        self.fencing.notes.insert(note.node, note);
        self.show_scope();
    }

    /// The members changed: who came has not heard what was done here.
    pub(super) fn tell_fences_again(&mut self) {
        let own = self.own;
        let notes: Vec<FenceNote> = self.fencing.notes.values().filter(|note| note.by == own).cloned().collect();
        if self.agreement.in_step() {
            for note in notes {
                self.feed(Event::Tell(Message::Fence(note)));
            }
        }
    }

    /// Somebody wants a node turned off, whatever it runs.
    pub(super) fn ask_fence(&mut self, number: u32, answer: oneshot::Sender<Result<(), MethodError>>) {
        let refuse = |text: String| MethodError::Refused(text);
        let found = NodeId::new(number).and_then(|node| self.loaded.config.node(node));
        let device = match found {
            None => Err(refuse(format!("there is no node {number} in cluster.toml"))),
            Some(node) if node.id == self.own => Err(refuse(
                "a node does not turn itself off like this: ask another one, or 'reboot --force' here".into(),
            )),
            Some(node) => match &node.fence {
                None => Err(refuse(format!("node {number} has no [node.fence] in cluster.toml"))),
                Some(device) => Ok((node.id, device.clone())),
            },
        };
        match device {
            Err(e) => drop(answer.send(Err(e))),
            Ok((node, device)) => {
                self.fencing.asked.entry(node).or_default().push(answer);
                if !self.fencing.running.contains(&node) {
                    let boot = self.agreement.boot_of(node);
                    self.run_agent(node, boot, device);
                }
            }
        }
    }

    /// Somebody has seen that a node is off.
    pub(super) fn confirm_off(&mut self, number: u32) -> Result<(), MethodError> {
        let refuse = |text: String| Err(MethodError::Refused(text));
        let Some(node) = NodeId::new(number).filter(|node| self.loaded.config.node(*node).is_some()) else {
            return refuse(format!("there is no node {number} in cluster.toml"));
        };
        if self.agreement.view().members.contains(&node) {
            return refuse(format!("node {node} is a member now: it is not off"));
        }
        let Some(boot) = self.agreement.boot_of(node) else {
            return refuse(format!("node {node} was never seen by this node: nothing of it is waited for"));
        };
        let state = self.agreement.shared().state_of(node);
        tracing::warn!("somebody confirms that node {node} is off (it was {state})", state = NodeState::name(state));
        self.note_fence(node, "somebody".into(), FenceOutcome::Confirmed, String::new());
        self.feed(Event::Ended { node, boot });
        Ok(())
    }
}
