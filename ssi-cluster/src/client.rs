// SPDX-License-Identifier: GPL-2.0-or-later
//! Asking `ssi-clusterd`: the D-Bus interface `org.openssi.Cluster1`, seen from its users.
//!
//! The daemon serves it at its own socket, [`crate::CLUSTERD_SOCKET`], where no message bus is needed, and on the
//! system bus under the name [`BUS_NAME`]. [`connect`] takes the socket.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zbus::zvariant::{DeserializeDict, SerializeDict, Type};

use crate::{NodeId, NodeState, Transition, ViewId};

/// The daemon's name on the system bus.
pub const BUS_NAME: &str = "org.openssi.Cluster1";

/// The path of the object that carries the interface.
pub const OBJECT_PATH: &str = "/org/openssi/Cluster1";

/// One node as the daemon tells of it. A field that is not known is absent from the dictionary.
#[derive(Clone, Debug, Default, PartialEq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "a{sv}")]
pub struct NodeStatus {
    /// Its number.
    pub id: u32,
    /// Its name in cluster.toml.
    pub name: String,
    /// Its addresses in cluster.toml.
    pub addresses: Vec<String>,
    /// The name of its [`NodeState`].
    pub state: String,
    /// Since when it is in that state: milliseconds since 1970 UTC; 0 when it never moved.
    pub since_ms: u64,
    /// Whether the engine sees it now.
    pub member: bool,
    /// Whether its daemon is connected to the engine now.
    pub attached: bool,
    /// Whether it is the init node.
    pub init_node: bool,
    /// Its exported load, in thousandths of one runnable task on one reference CPU (1 GHz).
    pub load: Option<u64>,
    /// CPUs online.
    pub cpus: Option<u32>,
    /// The summed speed of its CPUs in MHz.
    pub mhz: Option<u32>,
    /// Memory in all, in KiB.
    pub memory_kib: Option<u64>,
    /// Memory available, in KiB.
    pub available_kib: Option<u64>,
    /// Seconds since it booted, at its last report.
    pub uptime_s: Option<u64>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// Whether its cluster.toml is the same as this node's.
    pub same_config: Option<bool>,
}

impl NodeStatus {
    /// Its state, if this side knows the name.
    pub fn node_state(&self) -> Option<NodeState> {
        self.state.parse().ok()
    }
}

/// How one node is turned off, and the last that is known of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceStatus {
    /// The node.
    pub node: u32,
    /// Its agent in cluster.toml, if it has one.
    pub agent: Option<String>,
    /// What the agent is told.
    pub action: Option<String>,
    /// `running`, `done`, `failed` or `confirmed`; `None`: nothing was done that is known of.
    pub outcome: Option<String>,
    /// Which node did it.
    pub by: Option<u32>,
    /// When: milliseconds since 1970 UTC.
    pub at_ms: Option<u64>,
    /// What went wrong.
    pub detail: Option<String>,
}

/// A transition as it goes over D-Bus: `(tttusss)`: id, milliseconds since 1970 UTC, view, node, from, to, cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct TransitionWire(pub u64, pub u64, pub u64, pub u32, pub String, pub String, pub String);

impl From<&Transition> for TransitionWire {
    fn from(t: &Transition) -> Self {
        Self(t.id, t.at_ms, t.view.0, t.node.get(), t.from.name().into(), t.to.name().into(), t.cause.clone())
    }
}

impl TryFrom<TransitionWire> for Transition {
    type Error = String;

    fn try_from(w: TransitionWire) -> Result<Self, String> {
        Ok(Transition {
            id: w.0,
            at_ms: w.1,
            view: ViewId(w.2),
            node: NodeId::try_from(w.3).map_err(|e| e.to_string())?,
            from: w.4.parse().map_err(|e: crate::state::BadNodeState| e.to_string())?,
            to: w.5.parse().map_err(|e: crate::state::BadNodeState| e.to_string())?,
            cause: w.6,
        })
    }
}

/// A script of `nodeup.d` or `nodedown.d` that was run, or is running, for one transition.
#[derive(Clone, Debug, Default, PartialEq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "a{sv}")]
pub struct ScriptStatus {
    /// The transition it was run for.
    pub transition: u64,
    /// `nodeup` or `nodedown`.
    pub kind: String,
    /// The node that came or went.
    pub node: u32,
    /// The script's file name.
    pub script: String,
    /// The node that ran it.
    pub runner: u32,
    /// `running`, `done`, `failed`, `timed-out` or `lost` (its runner died, another runs it anew).
    pub outcome: String,
    /// Its exit status; 128 + n for signal n; absent while it runs.
    pub status: Option<i32>,
    /// The last lines it printed.
    pub output: Option<String>,
}

/// A unit of the cluster as the daemon tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceStatus {
    /// Its name.
    pub unit: String,
    /// For people.
    pub description: String,
    /// `on`, `off` (somebody stopped it) or `undecided` (nobody asked for it).
    pub want: String,
    /// How many there are to be; `None`: one on each node.
    pub count: Option<u32>,
    /// The node it is pinned to.
    pub pin: Option<u32>,
    /// The nodes it may run on, the preferred ones first; empty: any.
    pub nodes: Vec<u32>,
    /// The nodes it never runs on.
    pub avoid: Vec<u32>,
    /// The units that it runs with, and on no other nodes.
    pub with: Vec<String>,
    /// The units that it does not run on one node with.
    pub apart: Vec<String>,
    /// Its takeover time in milliseconds.
    pub takeover_ms: u64,
    /// Nodes where it failed, and when: milliseconds since 1970 UTC.
    pub failures: Vec<(u32, u64)>,
    /// Its instances: those that some node has, and those that are wanted.
    pub instances: Vec<InstanceStatus>,
}

/// An instance of a unit of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStatus {
    /// Its number, from 0; of a unit that runs on all nodes, the node's.
    pub index: u32,
    /// The unit's name on its node.
    pub unit: String,
    /// `running`, `starting`, `stopping`, `lost` (its node is), `waiting` (for a node), `done` or `failed` (too often).
    pub state: String,
    /// Its node.
    pub node: Option<u32>,
    /// Where it goes once it is stopped.
    pub to: Option<u32>,
    /// Its node has no watchdog: should that node hang, the instance may run twice.
    #[serde(default)]
    pub unwatched: bool,
}

/// What came of an order to all unit managers on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesStatus {
    /// The node.
    pub node: u32,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

// The proxy macro writes public items that carry no documentation of their own; the trait's methods carry it.
#[allow(missing_docs)]
mod proxy {
    use super::{NodeStatus, ScriptStatus, TransitionWire};

    /// `org.openssi.Cluster1`. Times are milliseconds since 1970 UTC; node 0 stands for none.
    #[zbus::proxy(
        interface = "org.openssi.Cluster1",
        default_service = "org.openssi.Cluster1",
        default_path = "/org/openssi/Cluster1"
    )]
    pub trait Cluster1 {
        /// The cluster's name.
        #[zbus(property)]
        fn cluster_name(&self) -> zbus::Result<String>;
        /// This node's number.
        #[zbus(property)]
        fn node_number(&self) -> zbus::Result<u32>;
        /// This node's name.
        #[zbus(property)]
        fn node_name(&self) -> zbus::Result<String>;
        /// The engine: `corosync` or `solo`.
        #[zbus(property)]
        fn engine(&self) -> zbus::Result<String>;
        /// `connected`, or why the engine cannot be reached.
        #[zbus(property)]
        fn engine_state(&self) -> zbus::Result<String>;
        /// The view's number.
        #[zbus(property)]
        fn view(&self) -> zbus::Result<u64>;
        /// The view's members.
        #[zbus(property)]
        fn members(&self) -> zbus::Result<Vec<u32>>;
        /// Whether the view has quorum.
        #[zbus(property)]
        fn quorate(&self) -> zbus::Result<bool>;
        /// Whether this node is up to date with the other members.
        #[zbus(property)]
        fn synced(&self) -> zbus::Result<bool>;
        /// The init node, or 0.
        #[zbus(property)]
        fn init_node(&self) -> zbus::Result<u32>;
        /// The number of the newest transition, or 0.
        #[zbus(property)]
        fn last_transition(&self) -> zbus::Result<u64>;
        /// The daemon's version.
        #[zbus(property)]
        fn version(&self) -> zbus::Result<String>;

        /// All configured nodes.
        fn list_nodes(&self) -> zbus::Result<Vec<NodeStatus>>;
        /// The transitions after `since`, oldest first, at most 1,000, and the number of the oldest one still kept.
        /// When that is over `since + 1`, those between are no longer kept.
        fn transitions(&self, since: u64) -> zbus::Result<(u64, Vec<TransitionWire>)>;
        /// The scripts of recent nodeup and nodedown work, oldest first.
        fn scripts(&self) -> zbus::Result<Vec<ScriptStatus>>;
        /// The units of the cluster: JSON, a list of [`ServiceStatus`](super::ServiceStatus).
        fn services(&self) -> zbus::Result<String>;
        /// Why a unit of the cluster is where it is, in sentences.
        fn explain_service(&self, unit: &str) -> zbus::Result<Vec<String>>;
        /// Has something done with a unit of the cluster: `start`, `stop`, `restart`, `move` (to `node`, or 0 for where
        /// it likes best; of the instance of that number, or -1 for the first), `pin` (to `node`), `unpin`. Answered
        /// once it is on its way to all. Privileged.
        fn service_deed(&self, unit: &str, deed: &str, node: u32, instance: i64) -> zbus::Result<()>;
        /// Has a node be given no units of the cluster, and what it has moved off, or ends that. Privileged.
        fn drain_node(&self, node: u32, on: bool) -> zbus::Result<()>;
        /// What is known of fence agents, as JSON: a list of [`FenceStatus`].
        fn fences(&self) -> zbus::Result<String>;
        /// Has a node turned off by its fence agent, and answers when that is done.
        fn fence_node(&self, node: u32) -> zbus::Result<()>;
        /// Tells that an administrator has seen that a node is off.
        fn confirm_node_off(&self, node: u32) -> zbus::Result<()>;
        /// Has the unit managers of all members `reload` their unit files, or `enable` or `disable` a unit; answers when it
        /// is done, with a list of [`FilesStatus`](super::FilesStatus) as JSON. Privileged.
        fn unit_files(&self, deed: &str, unit: &str) -> zbus::Result<String>;
        /// Has a node stop its services and turn itself off (or reboot). Privileged.
        fn shutdown_node(&self, node: u32, reboot: bool) -> zbus::Result<()>;
        /// Gives all members a new cluster.toml. `base` is the SHA-256, in hex, of the one it was made from; it is
        /// refused when that is not the one in force, when the new text is wrong, or without quorum. Privileged.
        fn replace_config(&self, base: &str, text: &str) -> zbus::Result<()>;
        /// Reads cluster.toml again. Privileged.
        fn reload(&self) -> zbus::Result<()>;
        /// The daemon's figures as OpenMetrics text.
        fn metrics(&self) -> zbus::Result<String>;

        /// The view changed.
        #[zbus(signal)]
        fn membership_changed(&self, view: u64, members: Vec<u32>, quorate: bool) -> zbus::Result<()>;
        /// A node moved.
        #[zbus(signal)]
        fn node_moved(&self, transition: TransitionWire) -> zbus::Result<()>;
        /// Something about the units of the cluster changed.
        #[zbus(signal)]
        fn services_changed(&self) -> zbus::Result<()>;
        /// This node had been cut off: its log from `from` on was replaced by the one the quorum agreed on. Read it again
        /// from there.
        #[zbus(signal)]
        fn log_rewritten(&self, from: u64) -> zbus::Result<()>;
    }
}
pub use proxy::*;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing listens at the socket.
    #[error("ssi-clusterd does not answer at {socket}: {source}. Is it running? Try: systemctl status ssi-clusterd")]
    Socket {
        /// The socket's path.
        socket: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something listens but does not speak D-Bus with us.
    #[error("ssi-clusterd at {socket} does not speak D-Bus: {source}")]
    Handshake {
        /// The socket's path.
        socket: String,
        /// What went wrong.
        source: zbus::Error,
    },
}

/// Connects to the daemon's own socket; no message bus is needed.
///
/// # Errors
/// [`ConnectError`] with the socket's path and what the system said.
pub async fn connect(socket: &Path) -> Result<Cluster1Proxy<'static>, ConnectError> {
    let shown = || socket.display().to_string();
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|source| ConnectError::Socket { socket: shown(), source })?;
    let handshake = |source| ConnectError::Handshake { socket: shown(), source };
    let connection = zbus::connection::Builder::unix_stream(stream).p2p().build().await.map_err(handshake)?;
    // Without a bus nobody tells of property changes reliably to a short-lived caller: ask each time.
    Cluster1Proxy::builder(&connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .map_err(handshake)
}
