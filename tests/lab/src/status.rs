// SPDX-License-Identifier: GPL-2.0-or-later
//! What `ssi-lab status` shows.

use serde::{Deserialize, Serialize};

use crate::spec::{Kind, NodeNumber};

/// Whether a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// It runs and its agent answers or answered.
    Running,
    /// It is frozen.
    Frozen,
    /// It is off: never started, killed, or it powered off by itself.
    Off,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number; 0 is the client.
    pub number: NodeNumber,
    /// Its host name.
    pub name: String,
    /// Whether it runs.
    pub power: Power,
    /// Its addresses, one a network.
    pub addresses: Vec<String>,
    /// The process that is the node, seen from the host: PID 1's parent, or QEMU.
    pub pid: Option<i32>,
}

/// A lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The keeper's process number.
    pub keeper: i32,
    /// Where its sockets and logs are.
    pub directory: String,
    /// The client first, then the nodes.
    pub nodes: Vec<NodeStatus>,
}
