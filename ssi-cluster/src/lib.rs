// SPDX-License-Identifier: GPL-2.0-or-later
//! What every part of the cluster shares: who a node is, what a view is, which states a node passes through, what
//! `cluster.toml` says, and how to ask `ssi-clusterd`.
//!
//! Nearly all of it is pure: text or events in, values out. Only [`identity`] looks at the machine and only
//! [`client`] talks.
//!
//! Start at [`state`] for the life of a node, at [`view`] for membership, at [`scope`] for who runs what and why never
//! twice, at [`client`] to use it.

pub mod client;
pub mod config;
pub mod context;
pub mod corosync;
pub mod engine;
pub mod fence;
pub mod identity;
pub mod load;
pub mod node;
pub mod placement;
pub mod scope;
pub mod state;
pub mod transition;
pub mod view;

pub use config::{Config, ConfigErrors, EngineKind, MacAddr, NodeConfig};
pub use context::Context;
pub use identity::{IdentityError, own_node};
pub use node::{BadNodeId, NodeId};
pub use state::{ForbiddenMove, NodeState};
pub use transition::Transition;
pub use view::{QuorateView, View, ViewId};

/// Where the cluster's configuration is; the same file on every node (DESIGN §4).
pub const CLUSTER_TOML: &str = "/etc/ssi/cluster.toml";

/// Where run-time state is kept; gone with a reboot.
pub const RUN_DIR: &str = "/run/ssi";

/// `ssi-clusterd`'s socket for its peers on this machine.
pub const CLUSTERD_SOCKET: &str = "/run/ssi/clusterd.sock";
