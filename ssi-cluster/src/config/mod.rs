// SPDX-License-Identifier: GPL-2.0-or-later
//! `cluster.toml`: which nodes the cluster has, how they talk to each other, and what differs between them.
//!
//! The file is the same on every node. It is read whole or refused whole; a file that is refused tells all of its
//! mistakes at once, each with its place and what would be right, so that it is mended in one go:
//!
//! ```text
//! /etc/ssi/cluster.toml:9:11: two nodes cannot have one address: '192.0.2.11'; node 1 has it at line 5, give this node its own
//! ```
//!
//! ```text
//! bytes ─▶ UTF-8? ─▶ TOML with places (crate toml) ─▶ fields.rs, read.rs: key by key ─▶ across.rs: node against node ─▶ Config
//!              └──────────────┴──────────────────────────────┴───── mistake.rs: ConfigErrors ◀──┘
//! ```
//!
//! The file is walked by hand rather than derived with serde, which stops at the first mistake and knows nothing of
//! two nodes that contradict each other.
//!
//! Start at [`Config::parse`] and the types below; `values.rs` says what each single value may be.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NodeId;

mod across;
mod fence;
mod fields;
mod mac;
mod mistake;
mod read;
mod values;

pub use mac::{BadMacAddr, MacAddr};
pub use mistake::{ConfigError, ConfigErrors};

/// The longest `cluster.toml` that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The most addresses a node may have: one for each link, and corosync has at most eight (`corosync.conf(5)`).
pub const MAX_LINKS: usize = 8;

/// The variables that every node has in its context, without being told.
pub const BUILT_IN_VARIABLES: [&str; 5] = ["clustername", "machine", "nodename", "nodenum", "sysname"];

/// What `cluster.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster's name: 1 to 32 letters, digits, `-` and `_`.
    pub name: String,
    /// How the nodes know of each other.
    pub membership: Membership,
    /// The work that is done when a node comes or goes.
    pub nodework: NodeWork,
    /// How machines are turned off.
    pub fence: FenceTimes,
    /// The nodes, at least one.
    pub nodes: BTreeMap<NodeId, NodeConfig>,
}

/// What tells the nodes who is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// corosync, for more than one machine.
    Corosync,
    /// One machine that is always its own quorum.
    Solo,
}

/// A text that names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a membership engine; there are corosync, and solo for a single machine")]
pub struct BadEngineKind(String);

impl EngineKind {
    /// Its name in `cluster.toml`.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Corosync => "corosync",
            EngineKind::Solo => "solo",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = BadEngineKind;

    fn from_str(text: &str) -> Result<Self, BadEngineKind> {
        let kinds = [EngineKind::Corosync, EngineKind::Solo];
        let found = kinds.into_iter().find(|k| k.name() == text);
        found.ok_or_else(|| BadEngineKind(text.chars().take(40).collect()))
    }
}

/// `[membership]`: how the nodes know of each other. What is `None` is chosen by
/// [`crate::corosync::conf::timings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Who tells the nodes who is a member.
    pub engine: EngineKind,
    /// Milliseconds without a token until a node counts as lost (`totem.token` in `corosync.conf(5)`), 100 to 60,000.
    pub token_ms: Option<u32>,
    /// Milliseconds added to that for each node beyond the second (`totem.token_coefficient`), 0 to 10,000.
    pub token_coefficient_ms: Option<u32>,
    /// UDP port of the first link; each further link has the next one.
    pub port: u16,
    /// Size of the packets on the wire in bytes (`totem.knet_mtu`), 576 to 65,535; found out by corosync where not given.
    pub mtu: Option<u16>,
}

impl Membership {
    /// The port where none is given: corosync's own.
    pub const DEFAULT_PORT: u16 = 5405;
}

/// `[nodework]`: the scripts of `nodeup.d` and `nodedown.d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWork {
    /// Seconds that one script may take, 1 to 3,600.
    pub timeout_s: u32,
}

impl NodeWork {
    /// The seconds where none are given.
    pub const DEFAULT_TIMEOUT_S: u32 = 60;
}

/// `[fence]`: how fence agents are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceTimes {
    /// Seconds that one run of an agent may take, 1 to 600.
    pub timeout_s: u32,
    /// Seconds that the second of two nodes waits before it has the first turned off, 0 to 600: when they lose sight of
    /// each other and both live, the first is to win. Longer than its agent takes.
    pub delay_s: u32,
}

impl FenceTimes {
    /// The seconds where none are given.
    pub const DEFAULT: FenceTimes = FenceTimes { timeout_s: 60, delay_s: 15 };
}

/// `[node.fence]`: how others turn a machine off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceDevice {
    /// The agent: a program of the fence-agents packages by its name, such as `fence_ipmilan`, or a path.
    pub agent: String,
    /// What the agent is told to do when the machine is to end: `off` or `reboot`.
    pub action: String,
    /// What else it is told, by the names that its own manual page gives.
    pub options: BTreeMap<String, String>,
}

/// `[[node]]`: one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its number.
    pub id: NodeId,
    /// Its host name.
    pub name: String,
    /// Its addresses, one for each link and in the order of the links; only with the engine solo there may be none.
    pub addresses: Vec<IpAddr>,
    /// Addresses of its network cards, by which it knows itself.
    pub mac: Vec<MacAddr>,
    /// Its `/etc/machine-id`, 32 lower-case hexadecimal digits, by which it knows itself.
    pub machine_id: Option<String>,
    /// Its firmware's UUID in lower case (`/sys/class/dmi/id/product_uuid`), by which it knows itself.
    pub product_uuid: Option<String>,
    /// The site's own variables and what they are on this node, `{variables}` in them not yet filled in
    /// (see [`Context::of`](crate::context::Context::of)).
    pub context: BTreeMap<String, String>,
    /// The summed speed of its CPUs in MHz, where the one that the kernel tells is not to be believed.
    pub speed_mhz: Option<u32>,
    /// How others turn it off; `None`: they cannot.
    pub fence: Option<FenceDevice>,
}

/// Why `cluster.toml` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("cannot read the cluster's configuration {file}: {source}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read and is wrong; the text is one line a mistake.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
}

impl Config {
    /// What these bytes say; `file` is only named in messages.
    ///
    /// # Errors
    /// Every mistake that was found, at least one.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Config, ConfigErrors> {
        read::config(file, bytes)
    }

    /// What this file says.
    ///
    /// # Errors
    /// [`LoadError::Read`] with what the system said, or [`LoadError::Wrong`] with every mistake in the file.
    pub fn load(file: &Path) -> Result<Config, LoadError> {
        let failed = |source| LoadError::Read { file: file.to_owned(), source };
        let mut bytes = Vec::new();
        // One byte more than is allowed tells a file that is too long, without reading all of a file without end.
        let reader = std::fs::File::open(file).map_err(failed)?;
        reader.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Self::parse(file, &bytes)?)
    }

    /// The node with this number.
    pub fn node(&self, id: NodeId) -> Option<&NodeConfig> {
        self.nodes.get(&id)
    }

    /// The node with this name; host names do not tell upper from lower case.
    pub fn node_by_name(&self, name: &str) -> Option<&NodeConfig> {
        self.nodes.values().find(|n| n.name.eq_ignore_ascii_case(name))
    }
}
