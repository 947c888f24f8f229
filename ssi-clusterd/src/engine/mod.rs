// SPDX-License-Identifier: GPL-2.0-or-later
//! The membership engine, as everything above it sees it.
//!
//! An engine tells of configurations (who is a member, who is attached, whether they are a quorum) and of messages,
//! in one order that all attached members share: what was ordered after a configuration is delivered after it, to all
//! of them. It takes messages to send, a wish to leave, and a wish to put a node out. Nothing else of an engine shows.
//!
//! To add one: a folder or file here that turns its world into [`FromEngine`] and back, and a line in the conformance
//! suite (`tests/engine_conformance.rs`), which says what every engine must hold to.

use tokio::sync::mpsc;

use ssi_cluster::engine::{FromEngine, ToEngine};

pub mod corosync;
pub mod solo;

/// How many events or commands may wait between the daemon and its engine. When the daemon is slow, the engine's own
/// flow control has to act, not this machine's memory.
pub const QUEUE: usize = 1024;

/// A running engine: what it tells, and where to tell it. It stops when the command side is dropped.
pub struct Link {
    /// What the engine tells, in its order.
    pub events: mpsc::Receiver<FromEngine>,
    /// What the engine is to do.
    pub commands: mpsc::Sender<ToEngine>,
}

/// An engine that can be started.
pub trait Engine {
    /// Its name in cluster.toml.
    fn name(&self) -> &'static str;

    /// Starts it on the current tokio runtime. It never gives up by itself: while its world cannot be reached it tells
    /// [`FromEngine::Unreachable`] and tries again.
    fn start(self: Box<Self>) -> Link;
}
