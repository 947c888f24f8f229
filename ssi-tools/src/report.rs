// SPDX-License-Identifier: GPL-2.0-or-later
//! What `--json` writes. Programs rely on these names: add to them, never change or drop one. What is not known is
//! `null`.

use serde::Serialize;

use ssi_cluster::Transition;
use ssi_cluster::client::{NodeStatus, ScriptStatus};

use crate::daemon::Picture;
use crate::figures;

/// `ssi status --json`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The view's number.
    pub view: u64,
    /// The view's members.
    pub members: Vec<u32>,
    /// Whether the view has quorum.
    pub quorate: bool,
    /// Whether this node is in step with the other members.
    pub synced: bool,
    /// The engine's name.
    pub engine: String,
    /// `connected`, or why not.
    pub engine_state: String,
    /// This node's number.
    pub this_node: u32,
    /// The init node.
    pub init_node: Option<u32>,
    /// The newest transition; 0 before the first.
    pub last_transition: u64,
    /// The version of this node's daemon.
    pub version: String,
    /// The nodes of cluster.toml.
    pub nodes: Vec<Node>,
}

/// One node.
#[derive(Debug, Serialize)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its addresses, a link each.
    pub addresses: Vec<String>,
    /// Its state.
    pub state: String,
    /// Since when, RFC 3339 in UTC; `null` if it never moved.
    pub since: Option<String>,
    /// Whether the engine sees it.
    pub member: bool,
    /// Whether its daemon is connected to the engine.
    pub attached: bool,
    /// Whether it is the init node.
    pub init_node: bool,
    /// Whether it is the one that was asked.
    pub this_node: bool,
    /// Load in thousandths of one runnable task on one CPU of 1 GHz.
    pub load: Option<u64>,
    /// CPUs online.
    pub cpus: Option<u32>,
    /// Their speeds' sum in MHz.
    pub mhz: Option<u32>,
    /// Memory in all, KiB.
    pub memory_kib: Option<u64>,
    /// Memory available, KiB.
    pub available_kib: Option<u64>,
    /// Seconds since it booted.
    pub uptime_s: Option<u64>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// Whether its cluster.toml is the same as this node's.
    pub same_config: Option<bool>,
}

impl Node {
    /// A node of the picture.
    pub fn of(n: &NodeStatus, picture: &Picture) -> Self {
        Node {
            number: n.id,
            name: n.name.clone(),
            addresses: n.addresses.clone(),
            state: n.state.clone(),
            since: (n.since_ms > 0).then(|| figures::time(n.since_ms, true)),
            member: n.member,
            attached: n.attached,
            init_node: n.init_node,
            this_node: n.id == picture.own,
            load: n.load,
            cpus: n.cpus,
            mhz: n.mhz,
            memory_kib: n.memory_kib,
            available_kib: n.available_kib,
            uptime_s: n.uptime_s,
            version: n.version.clone(),
            same_config: n.same_config,
        }
    }

    /// All nodes of the picture.
    pub fn all(picture: &Picture) -> Vec<Self> {
        picture.nodes.iter().map(|n| Node::of(n, picture)).collect()
    }
}

impl From<&Picture> for Status {
    fn from(p: &Picture) -> Self {
        Status {
            cluster: p.cluster.clone(),
            view: p.view,
            members: p.members.clone(),
            quorate: p.quorate,
            synced: p.synced,
            engine: p.engine.clone(),
            engine_state: p.engine_state.clone(),
            this_node: p.own,
            init_node: (p.init_node != 0).then_some(p.init_node),
            last_transition: p.last_transition,
            version: p.version.clone(),
            nodes: Node::all(p),
        }
    }
}

/// A line of `ssi log --json`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LogLine {
    /// A node moved.
    Transition {
        /// The transition's number.
        id: u64,
        /// When, RFC 3339 in UTC.
        at: String,
        /// The view it was agreed in.
        view: u64,
        /// The node.
        node: u32,
        /// The state it left.
        from: String,
        /// The state it went to.
        to: String,
        /// Why.
        cause: String,
    },
    /// These are no longer kept.
    NoLongerKept {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// What was told from this number on is void; what counts instead follows.
    Rewritten {
        /// The number.
        from: u64,
    },
}

impl From<&Transition> for LogLine {
    fn from(t: &Transition) -> Self {
        LogLine::Transition {
            id: t.id,
            at: figures::time(t.at_ms, true),
            view: t.view.0,
            node: t.node.get(),
            from: t.from.name().into(),
            to: t.to.name().into(),
            cause: t.cause.clone(),
        }
    }
}

/// One script of `ssi log --scripts --json`.
#[derive(Debug, Serialize)]
pub struct Script {
    /// The transition it was run for.
    pub transition: u64,
    /// `nodeup` or `nodedown`.
    pub kind: String,
    /// The node that came or went.
    pub node: u32,
    /// Its file name.
    pub script: String,
    /// The node that ran it.
    pub runner: u32,
    /// `running`, `done`, `failed`, `timed-out` or `lost`.
    pub outcome: String,
    /// Its exit status; 128 + n for signal n.
    pub status: Option<i32>,
    /// The last lines it printed.
    pub output: Option<String>,
}

impl From<&ScriptStatus> for Script {
    fn from(s: &ScriptStatus) -> Self {
        Script {
            transition: s.transition,
            kind: s.kind.clone(),
            node: s.node,
            script: s.script.clone(),
            runner: s.runner,
            outcome: s.outcome.clone(),
            status: s.status,
            output: s.output.clone(),
        }
    }
}
