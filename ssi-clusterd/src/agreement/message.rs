// SPDX-License-Identifier: GPL-2.0-or-later
//! What the daemons tell each other, in the engine's order.
//!
//! JSON, so that a newer daemon's message with a field more is still read by an older one during an upgrade, and so that
//! a person can read a capture. A kind that is not known is skipped (and counted), never an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use ssi_cluster::engine::Configuration;
use ssi_cluster::scope::manager::RunState;
use ssi_cluster::scope::{self, Part};
use ssi_cluster::{NodeId, NodeState, View, ViewId};

use super::services::Deed;
use super::shared::{Outcome, Shared};
use crate::sampler::Report;

/// The largest message, in bytes; a longer one is not sent. Over three times a full [`Shared`].
pub const MAX_MESSAGE: usize = 900 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Sent by every daemon after each configuration: what I see, and what I hold.
    Hello(Box<Hello>),
    /// What those who are behind are to hold from the point where the exchange of hellos was complete.
    State(Box<State>),
    /// A node is to move.
    Move(Move),
    /// The sender does, or takes over, the work for a transition.
    Assign(Assign),
    /// A script was started by the work's runner.
    ScriptBegan(ScriptBegan),
    /// A script came to its end.
    ScriptEnded(ScriptEnded),
    /// All scripts of the work came to their ends.
    WorkDone {
        /// The work's transition.
        transition: u64,
    },
    /// What is to become of a unit of the cluster.
    Service(Box<ServiceWish>),
    /// A node is to be given no instances, or again.
    Drain(Drain),
    /// What the sender's machine runs of the cluster's units; not part of what is agreed.
    Running(BTreeMap<String, RunState>),
    /// Who holds which instance of such a unit.
    Scope(scope::Message),
    /// What came of turning a node off; not part of what is agreed.
    Fence(FenceNote),
    /// All unit managers are to do something with their unit files; not part of what is agreed.
    Files(FilesOrder),
    /// What came of it on the sender's node; not part of what is agreed.
    FilesDone(FilesDone),
    /// What the sender's machine is doing; not part of what is agreed.
    Load(Report),
    /// A new cluster.toml for all, made from the one with the fingerprint `base`.
    Config {
        /// SHA-256, in hex, of the text it replaces.
        base: String,
        /// The new text.
        text: String,
    },
}

/// See [`Message::Hello`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// What the sender's engine told it last.
    pub sees: Configuration,
    /// Whether the sender asks for the exchange to start over.
    #[serde(default)]
    pub again: bool,
    /// How many exchanges the sender saw completed in the configuration it sees.
    pub completed: u64,
    /// Whether the sender takes in what is delivered: it does not while it waits for the others' hellos or for state.
    pub in_step: bool,
    /// Tells this hello from the sender's others.
    pub nonce: u64,
    /// Tells this boot of the sender's machine from its others.
    pub incarnation: String,
    /// The view the sender agreed to last.
    pub view: View,
    /// The last quorate view in which the sender was in step.
    pub lineage: ViewId,
    /// How many changes led to what the sender holds.
    pub revision: u64,
    /// Fingerprint of what the sender holds.
    pub digest: String,
    /// What it knows of the cluster's scope; a daemon of before that had none says nothing.
    #[serde(default)]
    pub scope: Option<Part>,
}

/// See [`Message::State`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The exchange this answers: the nonce of each member's hello.
    pub exchange: BTreeMap<NodeId, u64>,
    /// What it holds.
    pub shared: Shared,
}

/// See [`Message::Move`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The view it was proposed in; it counts in no other.
    pub view: ViewId,
    /// The node that is to move.
    pub node: NodeId,
    /// The state it must be in for this to count.
    pub from: NodeState,
    /// The state it is to be in.
    pub to: NodeState,
    /// For people.
    pub cause: String,
    /// The proposer's clock, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// When it comes up: the boot of the machine this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// When it goes to SHUTDOWN: whether the machine is to start again.
    #[serde(default)]
    pub reboot: bool,
}

/// See [`Message::Assign`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// The view it was proposed in; it counts in no other.
    pub view: ViewId,
    /// The work's transition.
    pub transition: u64,
    /// Who had it, as the sender knows: it counts only if that is still so.
    pub instead_of: Option<NodeId>,
}

/// See [`Message::ScriptBegan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptBegan {
    /// The work's transition.
    pub transition: u64,
    /// The script's file name.
    pub script: String,
}

/// See [`Message::ScriptEnded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEnded {
    /// The work's transition.
    pub transition: u64,
    /// The script's file name.
    pub script: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its exit status; 128 + n for signal n.
    pub status: i32,
    /// The last of what it printed.
    pub output: String,
}

/// See [`Message::Service`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWish {
    /// The view it was said in; it counts in no other.
    pub view: ViewId,
    /// The unit.
    pub unit: String,
    /// What.
    pub deed: Deed,
}

/// See [`Message::Drain`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The view it was said in; it counts in no other.
    pub view: ViewId,
    /// The node.
    pub node: NodeId,
    /// Whether it is to be given none.
    pub on: bool,
}

/// See [`Message::Fence`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceNote {
    /// Who is or was to be turned off.
    pub node: NodeId,
    /// Whose daemon did it.
    pub by: NodeId,
    /// The agent.
    pub agent: String,
    /// How far it is.
    pub outcome: FenceOutcome,
    /// What went wrong.
    pub detail: String,
    /// When, by that node's clock: milliseconds since 1970 UTC.
    pub at_ms: u64,
}

/// How far an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceOutcome {
    /// It runs.
    Running,
    /// It said that the machine was turned off.
    Done,
    /// It did not.
    Failed,
    /// There was none: an administrator said that the machine is off.
    Confirmed,
}

impl FenceOutcome {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FenceOutcome::Running => "running",
            FenceOutcome::Done => "done",
            FenceOutcome::Failed => "failed",
            FenceOutcome::Confirmed => "confirmed",
        }
    }
}

/// See [`Message::Files`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesOrder {
    /// Tells it from the sender's others.
    pub number: u64,
    /// What is to be done.
    pub deed: FilesDeed,
}

/// What unit managers are to do with their unit files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilesDeed {
    /// Read them again.
    Reload,
    /// Have this unit start at boot, as its `[Install]` section says.
    Enable(String),
    /// Not any more.
    Disable(String),
}

/// See [`Message::FilesDone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesDone {
    /// Whose order it was.
    pub by: NodeId,
    /// Which of them.
    pub number: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// Reads a message; `None` for what this version does not understand.
pub fn read(payload: &[u8]) -> Option<Message> {
    serde_json::from_slice(payload).ok()
}

/// The bytes of a message; `None` if it is too long to be sent.
///
/// A state that is too long goes without the texts that are only for people.
pub fn write(message: &Message) -> Option<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() <= MAX_MESSAGE;
    let bytes = serde_json::to_vec(message).ok()?;
    match message {
        Message::State(state) if !fits(&bytes) => {
            let lean =
                Message::State(Box::new(State { exchange: state.exchange.clone(), shared: state.shared.lean() }));
            serde_json::to_vec(&lean).ok().filter(fits)
        }
        _ => Some(bytes).filter(fits),
    }
}
