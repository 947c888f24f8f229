// SPDX-License-Identifier: GPL-2.0-or-later
//! The eight states of a node, and the moves between them.
//!
//! ```text
//!            join               nodeup work done
//!  NEVERUP ───────▶ COMINGUP ───────────────────▶ UP ◀──────▶ SHUTDOWN
//!                     ▲  │                        │ │            │
//!            join     │  │ lost              lost │ └─▶ GOINGDOWN ◀┘
//!  DOWN ──────────────┘  ▼                        ▼         │ lost
//!    ▲               KCLEANUP ◀─────────────────────────────┘
//!    │ nodedown work     │
//!    │ done              ▼
//!    └────────────── UCLEANUP
//! ```
//!
//! The names and the moves are OpenSSI's (`clusternode_setinfo(3ssi)`): the kernel's clean-up (`KCLEANUP`) comes
//! before the user level's (`UCLEANUP`), and only a node that is cleaned up can join again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the cluster agrees a node to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NodeState {
    /// Configured, and not seen since the cluster was made.
    NeverUp,
    /// A member; the work for its coming up (`nodeup.d`) is not done yet.
    ComingUp,
    /// A member that may be given work.
    Up,
    /// A member that was asked to go: its services are being stopped; this can still be called off.
    Shutdown,
    /// A member that has stopped its services and is about to leave.
    GoingDown,
    /// Lost: what the kernel and the engine held for it is being taken back.
    KCleanup,
    /// Lost: the work for its going down (`nodedown.d`) is not done yet.
    UCleanup,
    /// Gone and cleaned up after.
    Down,
}

/// A move between states that the model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node cannot go from {from} to {to}")]
pub struct ForbiddenMove {
    /// The state it is in.
    pub from: NodeState,
    /// The state it cannot go to from there.
    pub to: NodeState,
}

/// A text that names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a node state; the states are NEVERUP, COMINGUP, UP, SHUTDOWN, GOINGDOWN, KCLEANUP, UCLEANUP and DOWN"
)]
pub struct BadNodeState(String);

impl NodeState {
    /// All of them, in the order a node passes through them.
    pub const ALL: [NodeState; 8] = [
        NodeState::NeverUp,
        NodeState::ComingUp,
        NodeState::Up,
        NodeState::Shutdown,
        NodeState::GoingDown,
        NodeState::KCleanup,
        NodeState::UCleanup,
        NodeState::Down,
    ];

    /// The state's name as OpenSSI writes it.
    pub fn name(self) -> &'static str {
        match self {
            NodeState::NeverUp => "NEVERUP",
            NodeState::ComingUp => "COMINGUP",
            NodeState::Up => "UP",
            NodeState::Shutdown => "SHUTDOWN",
            NodeState::GoingDown => "GOINGDOWN",
            NodeState::KCleanup => "KCLEANUP",
            NodeState::UCleanup => "UCLEANUP",
            NodeState::Down => "DOWN",
        }
    }

    /// Whether a node in this state is taken to be a member: losing it starts the clean-up.
    pub fn is_present(self) -> bool {
        matches!(self, NodeState::ComingUp | NodeState::Up | NodeState::Shutdown | NodeState::GoingDown)
    }

    /// Whether a node may go from this state to that one.
    pub fn may_become(self, to: NodeState) -> bool {
        use NodeState::*;
        matches!(
            (self, to),
            (NeverUp | Down, ComingUp)
                | (ComingUp, Up)
                | (Up, Shutdown | GoingDown)
                | (Shutdown, Up | GoingDown)
                | (ComingUp | Up | Shutdown | GoingDown, KCleanup)
                | (KCleanup, UCleanup)
                | (UCleanup, Down)
        )
    }

    /// The state after the move.
    ///
    /// # Errors
    /// [`ForbiddenMove`] when the model does not have it; nothing changes then.
    pub fn moved_to(self, to: NodeState) -> Result<NodeState, ForbiddenMove> {
        if self.may_become(to) { Ok(to) } else { Err(ForbiddenMove { from: self, to }) }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for NodeState {
    type Err = BadNodeState;

    fn from_str(text: &str) -> Result<Self, BadNodeState> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| BadNodeState(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `clusternode_setinfo(3ssi)` and of the join and clean-up moves, written out once more by hand.
    const MOVES: [(&str, &str); 13] = [
        ("NEVERUP", "COMINGUP"),
        ("DOWN", "COMINGUP"),
        ("COMINGUP", "UP"),
        ("UP", "SHUTDOWN"),
        ("UP", "GOINGDOWN"),
        ("SHUTDOWN", "UP"),
        ("SHUTDOWN", "GOINGDOWN"),
        ("COMINGUP", "KCLEANUP"),
        ("UP", "KCLEANUP"),
        ("SHUTDOWN", "KCLEANUP"),
        ("GOINGDOWN", "KCLEANUP"),
        ("KCLEANUP", "UCLEANUP"),
        ("UCLEANUP", "DOWN"),
    ];

    #[test]
    fn exactly_these_moves_are_allowed() {
        for from in NodeState::ALL {
            for to in NodeState::ALL {
                let wanted = MOVES.contains(&(from.name(), to.name()));
                assert_eq!(from.moved_to(to).is_ok(), wanted, "{from} to {to}");
            }
        }
    }

    #[test]
    fn every_name_reads_back() {
        for state in NodeState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert!("up".parse::<NodeState>().is_err());
    }

    #[test]
    fn a_present_node_is_one_whose_loss_starts_the_clean_up() {
        for state in NodeState::ALL {
            assert_eq!(state.is_present(), state.may_become(NodeState::KCleanup), "{state}");
        }
    }
}
