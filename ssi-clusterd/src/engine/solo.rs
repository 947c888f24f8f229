// SPDX-License-Identifier: GPL-2.0-or-later
//! The engine for one machine: it is the only member, always a quorum, and hears what it says.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use ssi_cluster::NodeId;
use ssi_cluster::engine::{Configuration, FromEngine, PROTOCOL, ToEngine};

use super::{Engine, Link, QUEUE};

/// One machine alone. There is nothing to reach, nothing to wait for and nobody to put out.
#[derive(Clone, Debug)]
pub struct Solo {
    /// This node.
    pub own: NodeId,
}

impl Engine for Solo {
    fn name(&self) -> &'static str {
        "solo"
    }

    fn start(self: Box<Self>) -> Link {
        let (event_end, events) = mpsc::channel(QUEUE);
        let (commands, command_end) = mpsc::channel(QUEUE);
        tokio::spawn(run(self.own, command_end, event_end));
        Link { events, commands }
    }
}

/// Ends when the commands end, at a leave, or when nobody listens any more.
async fn run(own: NodeId, mut commands: mpsc::Receiver<ToEngine>, events: mpsc::Sender<FromEngine>) {
    let alone = BTreeSet::from([own]);
    let configuration = Configuration { ring: (own.get(), 1), members: alone.clone(), attached: alone, quorate: true };
    for event in [FromEngine::Ready { protocol: PROTOCOL, own }, FromEngine::Configuration(configuration)] {
        if events.send(event).await.is_err() {
            return;
        }
    }
    loop {
        match commands.recv().await {
            Some(ToEngine::Send(payload)) => {
                if events.send(FromEngine::Message { from: own, payload }).await.is_err() {
                    return;
                }
            }
            Some(ToEngine::Fence { node, reason }) => {
                tracing::warn!("node {node} cannot be put out ({reason}): this cluster is one machine");
            }
            Some(ToEngine::Leave) | None => return,
        }
    }
}
