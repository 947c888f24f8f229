// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.openssi.Cluster1`, served at the daemon's own socket and on the system bus.
//!
//! Nothing here decides: properties and lists are read from a [`Board`] that the daemon's loop keeps up to date, and what
//! changes anything is handed to that loop as a [`Request`]. Each listener has a task and a bounded queue of its own, so
//! one that does not read its signals is dropped and holds up nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use tokio::sync::{broadcast, mpsc, oneshot};

use ssi_cluster::client::{FilesStatus, NodeStatus, ScriptStatus};
use ssi_cluster::config::Config;
use ssi_cluster::{NodeId, Transition, View};

use crate::agreement::message::FilesDeed;
use crate::agreement::services::Deed;
use crate::agreement::shared::Shared;
use crate::sampler::Report;

mod interface;
pub mod metrics;
mod peers;
mod polkit;
pub mod services;
mod system;

pub use interface::{Cluster1, MethodError};
pub use peers::serve_socket;
pub use system::serve_system_bus;

/// How many signals may wait for one listener.
pub const SIGNALS_QUEUED: usize = 512;

/// What the daemon's loop shows to those who ask.
#[derive(Clone, Debug)]
pub struct Standing {
    /// cluster.toml as it is in force.
    pub config: Arc<Config>,
    /// Its fingerprint.
    pub config_digest: String,
    /// This node.
    pub own: NodeId,
    /// `connected`, or why the engine cannot be reached.
    pub engine_state: String,
    /// The view as far as this node can vouch for it.
    pub view: View,
    /// Whether this node holds what the others hold.
    pub in_step: bool,
    /// The members whose daemons take part.
    pub attached: std::collections::BTreeSet<NodeId>,
    /// What is agreed.
    pub shared: Arc<Shared>,
    /// The newest report of each member.
    pub loads: BTreeMap<NodeId, Report>,
    /// Who has which unit of the cluster.
    pub scope: Arc<services::ScopeBoard>,
}

/// The [`Standing`] for many readers and one writer.
pub type Board = Arc<RwLock<Standing>>;

/// Something that was heard and is to be passed on.
#[derive(Clone, Debug)]
pub enum Signal {
    /// The view or this node's standing in it changed.
    Membership(View),
    /// A node moved.
    Moved(Transition),
    /// The log from this number on is not what it was.
    LogRewritten(u64),
    /// Something about the units of the cluster changed.
    Services,
}

/// Something that only the daemon's loop can do; all of them are privileged.
#[derive(Debug)]
pub enum Ask {
    /// Have a node turn itself off, or start again.
    ShutdownNode(u32, bool),
    /// Give everyone a new cluster.toml.
    ReplaceConfig {
        /// Fingerprint of the text it replaces.
        base: String,
        /// The new text.
        text: String,
    },
    /// Read cluster.toml again.
    Reload,
    /// Something is to become of a unit of the cluster.
    Deed {
        /// The unit.
        unit: String,
        /// What.
        deed: Deed,
    },
    /// A node is to be given no instances, or again.
    Drain(u32, bool),
    /// All unit managers are to do something with their unit files; what came of it on each node goes to `results`.
    Files {
        /// What.
        deed: FilesDeed,
        /// What went wrong on each node, if something did.
        results: oneshot::Sender<Vec<FilesStatus>>,
    },
    /// A node is to be turned off by its fence agent.
    Fence(u32),
    /// An administrator has seen that a node is off.
    ConfirmOff(u32),
}

/// An [`Ask`] and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Takes the answer.
    pub answer: oneshot::Sender<Result<(), MethodError>>,
}

/// What each connection's object needs.
#[derive(Clone)]
pub struct Desk {
    /// Read by all.
    pub board: Board,
    /// To the daemon's loop.
    pub requests: mpsc::Sender<Request>,
    /// From the daemon's loop.
    pub signals: broadcast::Sender<Signal>,
}

impl Standing {
    /// All configured nodes, and those that are not in cluster.toml and came up once and are not DOWN.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let gone = |n: &NodeId| self.shared.state_of(*n) != ssi_cluster::NodeState::Down;
        let mut ids: std::collections::BTreeSet<NodeId> = self.config.nodes.keys().copied().collect();
        ids.extend(self.shared.nodes.keys().copied().filter(gone));
        let init = self.init_node();
        ids.into_iter().map(|id| self.node(id, init)).collect()
    }

    /// The init node as far as this node can vouch for it.
    pub fn init_node(&self) -> Option<NodeId> {
        self.view.quorate().and_then(|v| v.init_node(|n| self.shared.state_of(n)))
    }

    fn node(&self, id: NodeId, init: Option<NodeId>) -> NodeStatus {
        let configured = self.config.node(id);
        let member = self.view.members.contains(&id);
        // What a node told before it went says nothing of it now.
        let report = self.loads.get(&id).filter(|_| member);
        NodeStatus {
            id: id.get(),
            name: configured.map_or_else(|| format!("({id}: not in cluster.toml)"), |n| n.name.clone()),
            addresses: configured.map(|n| n.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            state: self.shared.state_of(id).name().to_owned(),
            since_ms: self.shared.nodes.get(&id).map_or(0, |r| r.since_ms),
            member,
            attached: self.attached.contains(&id),
            init_node: init == Some(id),
            load: report.map(|r| r.load),
            cpus: report.map(|r| r.cpus),
            mhz: report.map(|r| r.mhz),
            memory_kib: report.map(|r| r.memory_kib),
            available_kib: report.map(|r| r.available_kib),
            uptime_s: report.map(|r| r.uptime_s),
            version: report.map(|r| r.version.clone()),
            same_config: report.map(|r| r.config == self.config_digest),
        }
    }

    /// The scripts of the works that are kept.
    pub fn scripts(&self) -> Vec<ScriptStatus> {
        let mut all = Vec::new();
        for (&transition, work) in &self.shared.works {
            for run in &work.scripts {
                all.push(ScriptStatus {
                    transition,
                    kind: work.kind.name().to_owned(),
                    node: work.node.get(),
                    script: run.script.clone(),
                    runner: run.runner.get(),
                    outcome: run.outcome.map_or("running", |o| o.name()).to_owned(),
                    status: run.status,
                    output: Some(run.output.clone()).filter(|o| !o.is_empty()),
                });
            }
        }
        all
    }
}
