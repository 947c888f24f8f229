// SPDX-License-Identifier: GPL-2.0-or-later
//! A mount: what its unit asks for on one side, what the kernel's table says on the other (systemd.mount(5)).
//!
//! ```text
//!            start              in the table               mount(8) ended
//!   dead ──────────▶ mounting ◀─────────────▶ mounting-done ──────────────▶ mounted ◀──▶ remounting ─▶ …-sigterm ─▶ …-sigkill
//!    ▲ ▲                │ not in the table when mount(8) ended                │ │ stop
//!    │ └─── failed ◀────┘                                                     │ ▼
//!    │                                                                        │ unmounting ─▶ …-sigterm ─▶ …-sigkill
//!    └── no longer in the table ◀─────────────────────────────────────────────┴─────┘
//! ```
//!
//! The table has the last word: after every command the unit is `mounted` if its place is there and `dead` (or
//! `failed`) if not, whatever the command said. Mounts that nobody asked for get units as well, so that what needs their
//! paths waits for them and they are unmounted in their turn.
//!
//! `table.rs` reads the table, `command.rs` says what is run, `tool.rs` runs it.

mod command;
mod table;
pub(super) mod tool;

use serde::{Deserialize, Serialize};
use ssi_unit::config::KindConfig;
use ssi_unit::config::exec::{InputSource, OutputTarget};
use ssi_unit::implicit::{MountParameters, is_perpetual};
use ssi_unit::load::LoadState;

use super::kill::{KillStep, signal_processes};
use super::service::Ran;
use super::state::MountState;
use super::system::{Exit, Pid, Priority};
use super::unit::Unit;
use super::{Core, Deadline};
use crate::graph::UnitId;
use crate::job::Reply;
use command::{MOUNT, UMOUNT, prepare_place, run};
pub use command::{MountCommand, command_line};
pub use table::Mounted;
pub(super) use table::{accept_as_loaded, load_for_table, relate, table_read};
pub use tool::ToolResult;

/// Mounts may lie on top of one another at one place; so many are taken off before it is given up.
const MOST_UNMOUNTS: u32 = 32;

/// What is going on with a mount unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountRuntime {
    /// Where in the drawing it is.
    pub state: MountState,
    /// What went wrong first since the last start.
    pub result: ToolResult,
    /// What went wrong in the last reload.
    pub reload_result: ToolResult,
    /// What the kernel's table has.
    pub in_kernel: Option<Mounted>,
    /// The process of the command that runs.
    pub control: Option<Pid>,
    /// Which command that is.
    pub command: Option<MountCommand>,
    /// How each command was last run.
    pub ran: Vec<(MountCommand, Ran)>,
    /// How often it was unmounted and something was still there.
    pub retries: u32,
}

macro_rules! mount {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.mount()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut MountRuntime {
    core.unit_mut(id).runtime.kind.mount_mut()
}

/// Where it is mounted.
pub fn place(unit: &Unit) -> Option<String> {
    let told = unit.config.mount().and_then(|mount| mount.mount_point.clone());
    told.or_else(|| unit.name.to_path().ok())
}

/// Whether something is mounted there. The root always is.
fn is_mounted(unit: &Unit) -> bool {
    unit.runtime.kind.mount().in_kernel.is_some() || is_perpetual(&unit.name)
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    use MountState::*;
    match mount!(core, id).state {
        Unmounting | UnmountingSigterm | UnmountingSigkill => return Reply::NotYet,
        Mounting | MountingDone => return Reply::Underway,
        Mounted | Remounting | RemountingSigterm | RemountingSigkill => return Reply::Already,
        Dead | Failed => {}
    }
    begin_cycle(core, id);
    enter_mounting(core, id);
    Reply::Underway
}

/// Stops it.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    use MountState::*;
    match mount!(core, id).state {
        Unmounting | UnmountingSigterm | UnmountingSigkill | Dead | Failed => {}
        Mounting | MountingDone | Remounting => enter_signal(core, id, UnmountingSigterm, ToolResult::Success),
        // The signal was sent already.
        RemountingSigterm => set_state(core, id, UnmountingSigterm),
        RemountingSigkill => set_state(core, id, UnmountingSigkill),
        Mounted => enter_unmounting(core, id),
    }
}

/// Mounts it anew with the options its file has now. It is mounted.
pub(super) fn reload(core: &mut Core, id: UnitId) {
    enter_remounting(core, id);
}

/// Every mount can be remounted.
pub(super) fn can_reload(_: &Unit) -> bool {
    true
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if mount!(core, id).state == MountState::Failed {
        set_state(core, id, MountState::Dead);
    }
    let runtime = runtime(core, id);
    runtime.result = ToolResult::Success;
    runtime.reload_result = ToolResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, ToolResult::StartLimitHit);
}

/// Its files were read; what they leave open is decided.
pub(super) fn complete(core: &mut Core, id: UnitId) {
    let (place, root) = (place(core.unit(id)), is_perpetual(&core.unit(id).name));
    let unit = core.table.get_mut(id);
    let config = std::rc::Rc::make_mut(&mut unit.config);
    if config.unit.description.is_none() {
        config.unit.description = if root { Some("Root Mount".to_owned()) } else { place };
    }
    if let KindConfig::Mount(mount) = &mut config.kind {
        if root {
            // The journal's socket lies on it.
            mount.exec.standard_output = OutputTarget::Null;
            mount.exec.standard_input = InputSource::Null;
        } else if unit.fragment.is_some() && mount.what.is_none() {
            unit.load = Some(LoadState::BadSetting);
            unit.load_error = Some(format!("{}: there is no What=, so there is nothing to mount", unit.name));
        }
    }
    table::bind_to_devices(core, id);
}

/// What the kernel's table has for it.
pub(super) fn in_kernel(unit: &Unit) -> Option<MountParameters> {
    unit.runtime.kind.mount().in_kernel.as_ref().map(|mounted| MountParameters {
        what: Some(mounted.what.clone()),
        options: Some(mounted.options.clone()),
        fs_type: Some(mounted.kind.clone()),
    })
}

/// The root of all file systems is there before anything else is.
pub(super) fn always_there(core: &mut Core, id: UnitId) {
    set_state(core, id, MountState::Mounted);
}

/// A new manager takes it up as it was left; the table is read again soon.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    match mount!(core, id).control {
        Some(pid) => core.watch(pid, id),
        None if core.unit(id).active().is_inactive_or_failed() => core.drop_group(id),
        None => {}
    }
}

/// The command that runs.
pub(super) fn control_process(unit: &Unit) -> Option<Pid> {
    unit.runtime.kind.mount().control
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// Its command ended. The edge has the kernel's table read before it tells of the end of a process, so that what the
/// command did is known here.
pub(super) fn exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    use MountState::*;
    if mount!(core, id).control != Some(pid) {
        return;
    }
    core.unwatch(pid);
    let mut result = ToolResult::of(exit);
    let state = mount!(core, id).state;
    let remounting = matches!(state, Remounting | RemountingSigterm | RemountingSigkill);
    let runtime = runtime(core, id);
    runtime.control = None;
    if remounting {
        runtime.reload_result.note(result);
    } else {
        runtime.result.note(result);
    }
    let what = match runtime.command.take() {
        Some(which) => {
            let mut ran = std::mem::take(&mut runtime.ran);
            tool::ended(core, &mut ran, &which, exit);
            core.unit_mut(id).runtime.kind.mount_mut().ran = ran;
            if which == MountCommand::Unmount { UMOUNT } else { MOUNT }
        }
        None => MOUNT,
    };
    core.log_exit(id, what, pid, exit, result == ToolResult::Success);
    match state {
        Mounting => {
            if result == ToolResult::Success {
                core.log(Priority::Warning, id, "mount(8) says that it is mounted, and it is not");
                result = ToolResult::Protocol;
            }
            enter_dead(core, id, result);
        }
        MountingDone => enter_mounted(core, id, result),
        Remounting | RemountingSigterm | RemountingSigkill => enter_dead_or_mounted(core, id, ToolResult::Success),
        Unmounting if result == ToolResult::Success && is_mounted(core.unit(id)) => {
            let retries = mount!(core, id).retries;
            if retries < MOST_UNMOUNTS {
                // There was another mount below it.
                core.unit_mut(id).runtime.kind.mount_mut().retries = retries + 1;
                enter_unmounting(core, id);
            } else {
                let text = format!("something is mounted there still after {retries} times; it is given up");
                core.log(Priority::Warning, id, &text);
                enter_mounted(core, id, result);
            }
        }
        Unmounting | UnmountingSigterm | UnmountingSigkill => enter_dead_or_mounted(core, id, result),
        Dead | Mounted | Failed => {}
    }
    core.touch(id);
}

/// Its command takes too long.
pub(super) fn deadline(core: &mut Core, id: UnitId, _: Deadline) {
    use MountState::*;
    let timeout = ToolResult::Timeout;
    let kills = core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill);
    let state = mount!(core, id).state;
    if matches!(state, Remounting | RemountingSigterm | RemountingSigkill) {
        runtime(core, id).reload_result.note(timeout);
    }
    match state {
        Mounting | MountingDone => {
            core.log(Priority::Warning, id, "mounting takes too long; it is ended");
            enter_signal(core, id, UnmountingSigterm, timeout);
        }
        Remounting => {
            core.log(Priority::Warning, id, "remounting takes too long; it is ended");
            enter_signal(core, id, RemountingSigterm, ToolResult::Success);
        }
        RemountingSigterm if kills => {
            core.log(Priority::Warning, id, "remounting did not end in time; it is killed");
            enter_signal(core, id, RemountingSigkill, ToolResult::Success);
        }
        RemountingSigterm | RemountingSigkill => {
            core.log(Priority::Warning, id, "has a process that remounts and does not end; it is left");
            enter_dead_or_mounted(core, id, ToolResult::Success);
        }
        Unmounting => {
            core.log(Priority::Warning, id, "unmounting takes too long; it is ended");
            enter_signal(core, id, UnmountingSigterm, timeout);
        }
        UnmountingSigterm if kills => {
            core.log(Priority::Warning, id, "its process did not end in time; it is killed");
            enter_signal(core, id, UnmountingSigkill, timeout);
        }
        UnmountingSigterm | UnmountingSigkill => {
            core.log(Priority::Warning, id, "has a process that does not end; it is left");
            enter_dead_or_mounted(core, id, timeout);
        }
        Dead | Mounted | Failed => {}
    }
}

// ---- states ------------------------------------------------------------------------------------------------------

/// Takes on a new fine state, with what goes with it, and tells everybody.
fn set_state(core: &mut Core, id: UnitId, state: MountState) {
    use MountState::*;
    if matches!(state, Dead | Mounted | Failed) {
        core.disarm(id, Deadline::State);
        forget_control(core, id);
        runtime(core, id).command = None;
    }
    let runtime = runtime(core, id);
    let old = std::mem::replace(&mut runtime.state, state);
    let reload_failed = runtime.reload_result != ToolResult::Success;
    core.state_changed(id, old.active(), state.active(), reload_failed);
}

fn forget_control(core: &mut Core, id: UnitId) {
    if let Some(pid) = runtime(core, id).control.take() {
        core.unwatch(pid);
    }
}

/// A new run of it begins; what went wrong in the one before is forgotten.
fn begin_cycle(core: &mut Core, id: UnitId) {
    core.new_invocation(id);
    let runtime = runtime(core, id);
    runtime.result = ToolResult::Success;
    runtime.reload_result = ToolResult::Success;
    runtime.ran.clear();
}

fn enter_dead(core: &mut Core, id: UnitId, result: ToolResult) {
    let runtime = runtime(core, id);
    runtime.result.note(result);
    let failed = runtime.result;
    if failed != ToolResult::Success {
        core.log(Priority::Warning, id, &format!("failed: {}", failed.word()));
    }
    set_state(core, id, if failed == ToolResult::Success { MountState::Dead } else { MountState::Failed });
    core.remove_runtime_directories(id, false);
    core.drop_group(id);
    // What the table had for it is no longer true.
    relate(core, id);
}

fn enter_mounted(core: &mut Core, id: UnitId, result: ToolResult) {
    runtime(core, id).result.note(result);
    set_state(core, id, MountState::Mounted);
}

/// It is what the kernel says it is.
fn enter_dead_or_mounted(core: &mut Core, id: UnitId, result: ToolResult) {
    if is_mounted(core.unit(id)) {
        enter_mounted(core, id, result);
    } else {
        enter_dead(core, id, result);
    }
}

fn enter_signal(core: &mut Core, id: UnitId, state: MountState, result: ToolResult) {
    use MountState::*;
    runtime(core, id).result.note(result);
    let step = match state {
        RemountingSigterm => KillStep::TerminateForRestart,
        UnmountingSigterm => KillStep::Terminate,
        _ => KillStep::Kill,
    };
    let control = mount!(core, id).control;
    let kills = core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill);
    match signal_processes(core, id, step, None, control, false) {
        Ok(true) => {
            let limit = core.unit(id).config.mount().and_then(|mount| mount.timeout);
            tool::arm(core, id, limit);
            set_state(core, id, state);
        }
        Ok(false) => match state {
            RemountingSigterm if kills => enter_signal(core, id, RemountingSigkill, ToolResult::Success),
            UnmountingSigterm if kills => enter_signal(core, id, UnmountingSigkill, ToolResult::Success),
            RemountingSigterm | RemountingSigkill => enter_mounted(core, id, ToolResult::Success),
            _ => enter_dead_or_mounted(core, id, ToolResult::Success),
        },
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot end its process: {text}"));
            enter_dead_or_mounted(core, id, ToolResult::Resources);
        }
    }
}

fn enter_mounting(core: &mut Core, id: UnitId) {
    if let Err(text) = prepare_place(core, id).and_then(|()| run(core, id, MountCommand::Mount)) {
        core.log(Priority::Warning, id, &format!("cannot be mounted: {text}"));
        enter_dead_or_mounted(core, id, ToolResult::Resources);
        return;
    }
    set_state(core, id, MountState::Mounting);
}

fn enter_unmounting(core: &mut Core, id: UnitId) {
    use MountState::*;
    if !matches!(mount!(core, id).state, Unmounting | UnmountingSigterm | UnmountingSigkill) {
        runtime(core, id).retries = 0;
    }
    if let Err(text) = run(core, id, MountCommand::Unmount) {
        core.log(Priority::Warning, id, &format!("cannot be unmounted: {text}"));
        enter_dead_or_mounted(core, id, ToolResult::Resources);
        return;
    }
    set_state(core, id, Unmounting);
}

fn enter_remounting(core: &mut Core, id: UnitId) {
    runtime(core, id).reload_result = ToolResult::Success;
    if let Err(text) = run(core, id, MountCommand::Remount) {
        core.log(Priority::Warning, id, &format!("cannot be remounted: {text}"));
        runtime(core, id).reload_result.note(ToolResult::Resources);
        enter_dead_or_mounted(core, id, ToolResult::Success);
        return;
    }
    set_state(core, id, MountState::Remounting);
}
