// SPDX-License-Identifier: GPL-2.0-or-later
//! Swap space: what its unit asks for, and what the kernel uses (systemd.swap(5)).
//!
//! ```text
//!            start              in the table                  swapon(8) ended
//!   dead ──────────▶ activating ────────────▶ activating-done ───────────────▶ active
//!    ▲                   │ it failed                                             │ stop
//!    ├─── failed ◀───────┘                                                       ▼
//!    └── no longer in the table ◀─── deactivating ─▶ …-sigterm ─▶ …-sigkill ◀────┘
//! ```
//!
//! The kernel knows an area by one path, and units may be named for others that lead to the same device: each of them is
//! up while the area is in use. The unit with a file is the one that acts; the others wait for what it does.

use serde::{Deserialize, Serialize};
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::implicit::MountParameters;
use ssi_unit::name::{UnitName, UnitType};

use super::device::{self, Source};
use super::kill::{KillStep, signal_processes};
use super::mount::{ToolResult, tool};
use super::service::Ran;
use super::state::SwapState;
use super::system::{Exit, Pid, Priority};
use super::unit::Unit;
use super::{Core, Deadline, mount};
use crate::graph::UnitId;
use crate::job::Reply;

const SWAPON: &str = "/sbin/swapon";
const SWAPOFF: &str = "/sbin/swapoff";

/// Which command of a swap unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SwapCommand {
    /// `ExecActivate`
    Activate,
    /// `ExecDeactivate`
    Deactivate,
}

/// A line of the kernel's table of swap areas (`/proc/swaps`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// The device or file.
    pub what: String,
    /// Its priority.
    pub priority: i32,
}

/// What is going on with a swap unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwapRuntime {
    /// Where in the drawing it is.
    pub state: SwapState,
    /// What went wrong first since the last start.
    pub result: ToolResult,
    /// What the kernel's table has.
    pub in_kernel: Option<InUse>,
    /// The process of the command that runs.
    pub control: Option<Pid>,
    /// Which command that is.
    pub command: Option<SwapCommand>,
    /// How each command was last run.
    pub ran: Vec<(SwapCommand, Ran)>,
}

macro_rules! swap {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.swap()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut SwapRuntime {
    core.unit_mut(id).runtime.kind.swap_mut()
}

/// The device or file, as the unit names it.
pub fn what(unit: &Unit) -> Option<String> {
    let told = unit.config.swap().and_then(|swap| swap.what.clone());
    told.or_else(|| unit.name.to_path().ok())
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    use SwapState::*;
    match swap!(core, id).state {
        Deactivating | DeactivatingSigterm | DeactivatingSigkill => return Reply::NotYet,
        Activating => return Reply::Underway,
        ActivatingDone | Active => return Reply::Already,
        Dead | Failed => {}
    }
    begin_cycle(core, id);
    // The area may be in use under another name of its device, which swapon(8) would take for a mistake.
    if let Some(in_use) = in_use_by_another_name(core, id) {
        runtime(core, id).in_kernel = Some(in_use);
        mount::relate(core, id);
        enter_active(core, id, ToolResult::Success);
        return Reply::Underway;
    }
    enter_activating(core, id);
    Reply::Underway
}

/// Stops it.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    use SwapState::*;
    match swap!(core, id).state {
        Deactivating | DeactivatingSigterm | DeactivatingSigkill | Dead | Failed => {}
        Activating | ActivatingDone => enter_signal(core, id, DeactivatingSigterm, ToolResult::Success),
        Active => match leader(core, id) {
            Some(leader) => {
                set_state(core, id, Deactivating);
                stop(core, leader);
            }
            None => enter_deactivating(core, id),
        },
    }
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if swap!(core, id).state == SwapState::Failed {
        set_state(core, id, SwapState::Dead);
    }
    runtime(core, id).result = ToolResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, ToolResult::StartLimitHit);
}

/// Its files were read; what they leave open is decided.
pub(super) fn complete(core: &mut Core, id: UnitId) {
    let what = what(core.unit(id));
    let unit = core.table.get_mut(id);
    if unit.config.unit.description.is_none() {
        std::rc::Rc::make_mut(&mut unit.config).unit.description = what;
    }
}

/// What the kernel's table has for it.
pub(super) fn in_kernel(unit: &Unit) -> Option<MountParameters> {
    let in_use = unit.runtime.kind.swap().in_kernel.as_ref()?;
    Some(MountParameters { what: Some(in_use.what.clone()), ..MountParameters::default() })
}

/// A new manager takes it up as it was left; the table is read again soon.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    match swap!(core, id).control {
        Some(pid) => core.watch(pid, id),
        None if core.unit(id).active().is_inactive_or_failed() => core.drop_group(id),
        None => {}
    }
}

/// The command that runs.
pub(super) fn control_process(unit: &Unit) -> Option<Pid> {
    unit.runtime.kind.swap().control
}

// ---- one area, several names -------------------------------------------------------------------------------------

/// The paths that a path of the kernel's table goes by.
fn names_of(core: &Core, what: &str) -> Vec<String> {
    let others = device::other_nodes(core, what);
    let lasting = others.into_iter().filter(|path| !path.starts_with("/dev/block/"));
    std::iter::once(what.to_owned()).chain(lasting).collect()
}

fn units_of_area(core: &Core, what: &str) -> Vec<UnitId> {
    let is = |unit: &&Unit| unit.runtime.kind.swap().in_kernel.as_ref().is_some_and(|in_use| in_use.what == what);
    core.table.iter().filter(is).map(|unit| unit.id).collect()
}

/// The unit that acts for this one: one of the same area that has a file, or the one named as the kernel names it.
fn leader(core: &Core, id: UnitId) -> Option<UnitId> {
    let unit = core.unit(id);
    let area = swap!(core, id).in_kernel.as_ref().map(|in_use| in_use.what.as_str())?;
    if unit.fragment.is_some() {
        return None;
    }
    let units = units_of_area(core, area);
    let with_file = units.iter().find(|other| core.unit(**other).fragment.is_some());
    let by_kernel = || {
        let name = UnitName::from_path(area, UnitType::Swap).ok()?;
        core.table.find(&name).filter(|other| units.contains(other))
    };
    with_file.copied().or_else(by_kernel).filter(|other| *other != id)
}

fn in_use_by_another_name(core: &Core, id: UnitId) -> Option<InUse> {
    let own = what(core.unit(id))?;
    let names = names_of(core, &own);
    let areas = core.table.iter().filter_map(|unit| unit.runtime.kind.swap().in_kernel.as_ref());
    areas.into_iter().find(|in_use| names.contains(&in_use.what)).cloned()
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// Takes in the whole table.
pub(super) fn table_read(core: &mut Core, table: Vec<InUse>) {
    let mut present = std::collections::BTreeSet::new();
    let mut news = Vec::new();
    for in_use in &table {
        device::found_in_table(core, &in_use.what, Source::Swaps, true);
        for path in names_of(core, &in_use.what) {
            let Ok(name) = UnitName::from_path(&path, UnitType::Swap) else { continue };
            let id = match core.table.find(&name) {
                Some(id) => id,
                // Of the other names only those count that somebody uses.
                None if path == in_use.what => core.named(&name),
                None => continue,
            };
            if !present.insert(id) {
                let text = format!("{path} is in the table of swap areas more than once; the first one counts");
                core.log(Priority::Warning, id, &text);
                continue;
            }
            let before = runtime(core, id).in_kernel.replace(in_use.clone());
            if before.is_none() || swap!(core, id).state == SwapState::Activating {
                news.push(id);
                mount::load_for_table(core, id);
            } else if before.as_ref() != Some(in_use) {
                core.touch(id);
            }
        }
    }
    core.load_pending();
    for id in news {
        mount::accept_as_loaded(core, id);
        mount::relate(core, id);
        appeared(core, id);
    }
    let is_gone = |unit: &&Unit| unit.runtime.kind.swap().in_kernel.is_some() && !present.contains(&unit.id);
    let gone: Vec<UnitId> = core.table.iter().filter(is_gone).map(|unit| unit.id).collect();
    for id in gone {
        let was = runtime(core, id).in_kernel.take();
        vanished(core, id);
        for path in was.map(|in_use| in_use.what).into_iter().chain(what(core.unit(id))) {
            if table.iter().all(|in_use| in_use.what != path) {
                device::found_in_table(core, &path, Source::Swaps, false);
            }
        }
    }
}

/// udev has told what the names of a device are.
pub(super) fn device_changed(core: &mut Core, devnode: Option<&str>) {
    let Some(devnode) = devnode else { return };
    let names = names_of(core, devnode);
    let mut table: Vec<InUse> = Vec::new();
    for in_use in core.table.iter().filter_map(|unit| unit.runtime.kind.swap().in_kernel.as_ref()) {
        if !table.contains(in_use) {
            table.push(in_use.clone());
        }
    }
    // Units of these names may have been waiting for it to be known that they are up.
    if table.iter().any(|in_use| names.contains(&in_use.what)) {
        table_read(core, table);
    }
}

fn appeared(core: &mut Core, id: UnitId) {
    match swap!(core, id).state {
        SwapState::Dead | SwapState::Failed => {
            begin_cycle(core, id);
            enter_active(core, id, ToolResult::Success);
        }
        SwapState::Activating => set_state(core, id, SwapState::ActivatingDone),
        state => set_state(core, id, state),
    }
}

fn vanished(core: &mut Core, id: UnitId) {
    let waits = swap!(core, id).control.is_none();
    match swap!(core, id).state {
        SwapState::Active => enter_dead(core, id, ToolResult::Success),
        // Another unit of the area has ended it.
        SwapState::Deactivating if waits => enter_dead(core, id, ToolResult::Success),
        state => set_state(core, id, state),
    }
}

/// Its command ended. As with mounts, the table was read before.
pub(super) fn exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    use SwapState::*;
    if swap!(core, id).control != Some(pid) {
        return;
    }
    core.unwatch(pid);
    let result = ToolResult::of(exit);
    let state = swap!(core, id).state;
    let runtime = runtime(core, id);
    runtime.control = None;
    runtime.result.note(result);
    let program = match runtime.command.take() {
        Some(which) => {
            let mut ran = std::mem::take(&mut runtime.ran);
            tool::ended(core, &mut ran, &which, exit);
            core.unit_mut(id).runtime.kind.swap_mut().ran = ran;
            if which == SwapCommand::Deactivate { SWAPOFF } else { SWAPON }
        }
        None => SWAPON,
    };
    core.log_exit(id, program, pid, exit, result == ToolResult::Success);
    match state {
        Activating | ActivatingDone => {
            // The table may tell a moment later.
            if result == ToolResult::Success || swap!(core, id).in_kernel.is_some() {
                enter_active(core, id, result);
            } else {
                enter_dead(core, id, result);
            }
        }
        Deactivating | DeactivatingSigterm | DeactivatingSigkill => enter_dead_or_active(core, id, result),
        Dead | Active | Failed => {}
    }
    core.touch(id);
}

/// Its command takes too long.
pub(super) fn deadline(core: &mut Core, id: UnitId, _: Deadline) {
    use SwapState::*;
    let timeout = ToolResult::Timeout;
    match swap!(core, id).state {
        Activating | ActivatingDone => {
            core.log(Priority::Warning, id, "swapon(8) takes too long; it is ended");
            enter_signal(core, id, DeactivatingSigterm, timeout);
        }
        Deactivating => {
            core.log(Priority::Warning, id, "swapoff(8) takes too long; it is ended");
            enter_signal(core, id, DeactivatingSigterm, timeout);
        }
        DeactivatingSigterm if core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill) => {
            core.log(Priority::Warning, id, "its process did not end in time; it is killed");
            enter_signal(core, id, DeactivatingSigkill, timeout);
        }
        DeactivatingSigterm | DeactivatingSigkill => {
            core.log(Priority::Warning, id, "has a process that does not end; it is left");
            enter_dead_or_active(core, id, timeout);
        }
        Dead | Active | Failed => {}
    }
}

// ---- states ------------------------------------------------------------------------------------------------------

fn set_state(core: &mut Core, id: UnitId, state: SwapState) {
    use SwapState::*;
    if matches!(state, Dead | Active | Failed) {
        core.disarm(id, Deadline::State);
        forget_control(core, id);
        runtime(core, id).command = None;
    }
    let old = std::mem::replace(&mut runtime(core, id).state, state);
    core.state_changed(id, old.active(), state.active(), false);
}

fn forget_control(core: &mut Core, id: UnitId) {
    if let Some(pid) = runtime(core, id).control.take() {
        core.unwatch(pid);
    }
}

fn begin_cycle(core: &mut Core, id: UnitId) {
    core.new_invocation(id);
    let runtime = runtime(core, id);
    runtime.result = ToolResult::Success;
    runtime.ran.clear();
}

fn enter_dead(core: &mut Core, id: UnitId, result: ToolResult) {
    let runtime = runtime(core, id);
    runtime.result.note(result);
    let failed = runtime.result;
    if failed != ToolResult::Success {
        core.log(Priority::Warning, id, &format!("failed: {}", failed.word()));
    }
    set_state(core, id, if failed == ToolResult::Success { SwapState::Dead } else { SwapState::Failed });
    core.remove_runtime_directories(id, false);
    core.drop_group(id);
    mount::relate(core, id);
}

fn enter_active(core: &mut Core, id: UnitId, result: ToolResult) {
    runtime(core, id).result.note(result);
    set_state(core, id, SwapState::Active);
}

/// It is what the kernel says it is.
fn enter_dead_or_active(core: &mut Core, id: UnitId, result: ToolResult) {
    let Some(in_use) = swap!(core, id).in_kernel.clone() else { return enter_dead(core, id, result) };
    enter_active(core, id, result);
    // Those that waited for this one wait for nothing now.
    for other in units_of_area(core, &in_use.what) {
        if swap!(core, other).state == SwapState::Deactivating && swap!(core, other).control.is_none() {
            enter_active(core, other, ToolResult::Success);
        }
    }
}

fn enter_signal(core: &mut Core, id: UnitId, state: SwapState, result: ToolResult) {
    use SwapState::*;
    runtime(core, id).result.note(result);
    let step = if state == DeactivatingSigterm { KillStep::Terminate } else { KillStep::Kill };
    let control = swap!(core, id).control;
    match signal_processes(core, id, step, None, control, false) {
        Ok(true) => {
            let limit = core.unit(id).config.swap().and_then(|swap| swap.timeout);
            tool::arm(core, id, limit);
            set_state(core, id, state);
        }
        Ok(false)
            if state == DeactivatingSigterm && core.unit(id).config.kill().is_some_and(|kill| kill.send_sigkill) =>
        {
            enter_signal(core, id, DeactivatingSigkill, ToolResult::Success);
        }
        Ok(false) => enter_dead_or_active(core, id, ToolResult::Success),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot end its process: {text}"));
            enter_dead_or_active(core, id, ToolResult::Resources);
        }
    }
}

fn enter_activating(core: &mut Core, id: UnitId) {
    enter_command(core, id, SwapCommand::Activate, SwapState::Activating);
}

fn enter_deactivating(core: &mut Core, id: UnitId) {
    enter_command(core, id, SwapCommand::Deactivate, SwapState::Deactivating);
}

fn enter_command(core: &mut Core, id: UnitId, which: SwapCommand, state: SwapState) {
    if let Err(text) = run(core, id, which) {
        core.log(Priority::Warning, id, &format!("cannot run its command: {text}"));
        enter_dead_or_active(core, id, ToolResult::Resources);
        return;
    }
    set_state(core, id, state);
}

fn run(core: &mut Core, id: UnitId, which: SwapCommand) -> Result<(), String> {
    let command = command_line(core.unit(id), which)?;
    let swap = core.unit(id).config.swap();
    let limit = swap.and_then(|swap| swap.timeout);
    if which == SwapCommand::Activate
        && let Some(swap) = swap
        && swap.priority.is_some()
        && option_priority(swap.options.as_deref()).is_some()
    {
        core.log(Priority::Warning, id, "Priority= and pri= in Options= both tell a priority; pri= counts");
    }
    forget_control(core, id);
    let pid = tool::spawn(core, id, command, limit)?;
    let runtime = core.unit_mut(id).runtime.kind.swap_mut();
    runtime.control = Some(pid);
    runtime.command = Some(which);
    let mut ran = std::mem::take(&mut runtime.ran);
    tool::began(core, &mut ran, which, pid);
    core.unit_mut(id).runtime.kind.swap_mut().ran = ran;
    Ok(())
}

/// The priority that stands in the options.
fn option_priority(options: Option<&str>) -> Option<i32> {
    let mut options = options.unwrap_or_default().split(',');
    options.find_map(|option| option.strip_prefix("pri=")).and_then(|text| text.parse().ok())
}

/// The command that does it, as swapon(8) and swapoff(8) have it.
///
/// # Errors
/// That the unit does not tell what is to be swapped on.
pub fn command_line(unit: &Unit, which: SwapCommand) -> Result<ExecCommand, String> {
    let config = unit.config.swap().ok_or("it is no swap space")?;
    let what = what(unit).ok_or("its name is too long to tell the path, and there is no What=")?;
    if which == SwapCommand::Deactivate {
        return Ok(tool::command(SWAPOFF, [what.as_str()]));
    }
    let mut options = config.options.clone().unwrap_or_default();
    if let Some(priority) = config.priority.filter(|_| option_priority(config.options.as_deref()).is_none()) {
        if !options.is_empty() {
            options.push(',');
        }
        options.push_str(&format!("pri={priority}"));
    }
    let mut arguments = Vec::new();
    if !options.is_empty() {
        arguments.extend(["-o", options.as_str()]);
    }
    arguments.push(&what);
    Ok(tool::command(SWAPON, arguments))
}
