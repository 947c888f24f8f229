// SPDX-License-Identifier: GPL-2.0-or-later
//! A slice: a control group that others' are in, with limits for all of them together.

use serde::{Deserialize, Serialize};

use super::Core;
use super::state::SliceState;
use super::system::Priority;
use crate::graph::UnitId;
use crate::job::Reply;

/// What is going on with a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceRuntime {
    /// Whether its control group is there.
    pub state: SliceState,
}

pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    core.new_invocation(id);
    if let Err(error) = core.realize_group(id) {
        core.log(Priority::Error, id, &error.to_string());
        return Reply::Failed;
    }
    set_state(core, id, SliceState::Active);
    Reply::Underway
}

pub(super) fn stop(core: &mut Core, id: UnitId) {
    core.drop_group(id);
    set_state(core, id, SliceState::Dead);
}

/// The root of the slices, and the one of the system, are up from the beginning.
pub(super) fn always_there(core: &mut Core, id: UnitId) {
    if let Err(error) = core.realize_group(id) {
        core.log(Priority::Error, id, &error.to_string());
    }
    set_state(core, id, SliceState::Active);
}

fn set_state(core: &mut Core, id: UnitId, state: SliceState) {
    let old = std::mem::replace(&mut core.unit_mut(id).runtime.kind.slice_mut().state, state);
    core.state_changed(id, old.active(), state.active(), false);
}
