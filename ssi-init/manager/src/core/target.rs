// SPDX-License-Identifier: GPL-2.0-or-later
//! A target: a place in the order of things that others are arranged around. It has nothing of its own to do.

use serde::{Deserialize, Serialize};

use super::Core;
use super::state::TargetState;
use crate::graph::UnitId;
use crate::job::Reply;

/// What is going on with a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetRuntime {
    /// Whether it is reached.
    pub state: TargetState,
}

pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    core.new_invocation(id);
    set_state(core, id, TargetState::Active);
    Reply::Underway
}

pub(super) fn stop(core: &mut Core, id: UnitId) {
    set_state(core, id, TargetState::Dead);
}

fn set_state(core: &mut Core, id: UnitId, state: TargetState) {
    let old = std::mem::replace(&mut core.unit_mut(id).runtime.kind.target_mut().state, state);
    core.state_changed(id, old.active(), state.active(), false);
}
