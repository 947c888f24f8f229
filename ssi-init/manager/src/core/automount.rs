// SPDX-License-Identifier: GPL-2.0-or-later
//! An automount: the kernel's autofs lies at the place, and who looks there waits until its mount is up
//! (systemd.automount(5), the kernel's `Documentation/filesystems/autofs.rst`).
//!
//! ```text
//!   dead ──start──▶ waiting ──somebody looks, or it is mounted──▶ running
//!                      ▲                                             │
//!                      └──── not mounted any more, or never was ◀────┘
//! ```
//!
//! The kernel gives out a token for each thing it waits for. A token to mount is answered when the mount is up or has
//! failed; a token to expire when it is down, or has stayed up. A token without an answer is a process that hangs, so
//! every way out of here gives one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ssi_unit::config::unit::JobMode;
use ssi_unit::name::UnitType;

use super::state::{AutomountState, MountState};
use super::system::{Clock, FdKey, Pid, Priority};
use super::{Core, Deadline, usec};
use crate::graph::UnitId;
use crate::job::{Reply, Request, Wish};

/// `errno(3)`
const ENODEV: i32 = 19;
const EHOSTDOWN: i32 = 112;

/// Idle mounts are looked for that often while they may last: three times in `TimeoutIdleSec=`, once a second at most.
const LOOKS: u64 = 3;
const SECOND: u64 = 1_000_000;

/// What the kernel asks for at an automount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Somebody looks there: mount it, and answer with the token (`autofs_ptype_missing_direct`).
    Mount {
        /// Names what the kernel waits for.
        token: u32,
        /// Who looks.
        by: Option<Pid>,
    },
    /// It was not used for a while: unmount it, and answer with the token (`autofs_ptype_expire_direct`).
    Expire {
        /// Names what the kernel waits for.
        token: u32,
    },
    /// The kernel has closed the pipe: somebody has unmounted the autofs.
    Unmounted,
    /// The pipe holds what cannot be read: why.
    Broken(String),
}

/// Why an automount is no longer up, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AutomountResult {
    /// All went as it should.
    #[default]
    Success,
    /// The kernel refused, or the mount could not be asked for.
    Resources,
    /// It was started too often.
    StartLimitHit,
    /// Its mount was started too often.
    MountStartLimitHit,
    /// Somebody has unmounted its autofs.
    Unmounted,
}

impl AutomountResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::StartLimitHit => "start-limit-hit",
            Self::MountStartLimitHit => "mount-start-limit-hit",
            Self::Unmounted => "unmounted",
        }
    }
}

/// What is going on with an automount unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AutomountRuntime {
    /// Where in the drawing it is.
    pub state: AutomountState,
    /// What went wrong first since the last start.
    pub result: AutomountResult,
    /// The autofs, while it is mounted.
    pub key: Option<FdKey>,
    /// What the kernel waits for to be mounted.
    pub tokens: BTreeSet<u32>,
    /// What the kernel waits for to be unmounted.
    pub expire_tokens: BTreeSet<u32>,
}

macro_rules! automount {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.automount()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut AutomountRuntime {
    core.unit_mut(id).runtime.kind.automount_mut()
}

/// The place, the mode of directories made for it, and the mount that belongs there.
fn place(core: &Core, id: UnitId) -> Option<(String, u32)> {
    let unit = core.unit(id);
    let config = unit.config.automount()?;
    let place = config.mount_point.clone().or_else(|| unit.name.to_path().ok())?;
    Some((place, config.directory_mode))
}

fn mount_of(core: &Core, id: UnitId) -> Option<UnitId> {
    let units = core.triggered_units(id);
    units.into_iter().find(|unit| core.unit(*unit).unit_type() == UnitType::Mount)
}

// ---- what is asked of it -----------------------------------------------------------------------------------------

/// Starts it. Conditions, assertions and the start limit were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    if !matches!(automount!(core, id).state, AutomountState::Dead | AutomountState::Failed) {
        return Reply::Already;
    }
    let Some(mount) = mount_of(core, id).filter(|mount| core.unit(*mount).is_loaded()) else {
        core.log(Priority::Error, id, "cannot start: there is no mount unit for it");
        return Reply::Failed;
    };
    if core.unit(mount).runtime.kind.mount().in_kernel.is_some() {
        core.log(Priority::Error, id, "cannot start: something is mounted there already");
        return Reply::Failed;
    }
    core.new_invocation(id);
    runtime(core, id).result = AutomountResult::Success;
    enter_waiting(core, id);
    Reply::Underway
}

/// Stops it. What is mounted there stays.
pub(super) fn stop(core: &mut Core, id: UnitId) {
    if matches!(automount!(core, id).state, AutomountState::Waiting | AutomountState::Running) {
        enter_dead(core, id, AutomountResult::Success);
    }
}

/// Forgets a failure.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    if automount!(core, id).state == AutomountState::Failed {
        set_state(core, id, AutomountState::Dead);
    }
    runtime(core, id).result = AutomountResult::Success;
}

/// It was to be started, and had been too often already.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    enter_dead(core, id, AutomountResult::StartLimitHit);
}

/// A new manager takes it up: it listens again at the autofs that is mounted still.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    if matches!(automount!(core, id).state, AutomountState::Waiting | AutomountState::Running)
        && let Err(text) = open(core, id)
    {
        core.log(Priority::Error, id, &format!("cannot listen at its autofs again: {text}"));
        enter_dead(core, id, AutomountResult::Resources);
    }
}

// ---- what comes in -----------------------------------------------------------------------------------------------

/// The kernel asks for something.
pub(super) fn asked(core: &mut Core, id: UnitId, ask: &Ask) {
    if automount!(core, id).key.is_none() {
        return;
    }
    match ask {
        Ask::Mount { token, by } => {
            let who = by.map_or_else(String::new, |pid| format!(" by process {pid}"));
            core.log(Priority::Info, id, &format!("is to be mounted: it is looked at{who}"));
            runtime(core, id).tokens.insert(*token);
            enter_running(core, id);
        }
        Ask::Expire { token } => {
            core.log(Priority::Debug, id, "was not used for a while and is to be unmounted");
            core.disarm(id, Deadline::Idle);
            runtime(core, id).expire_tokens.insert(*token);
            if let Err(text) = ask_mount(core, id, Request::Stop) {
                core.log(Priority::Warning, id, &format!("cannot have it unmounted: {text}"));
                enter_dead(core, id, AutomountResult::Resources);
            }
        }
        Ask::Unmounted => {
            core.log(Priority::Error, id, "its autofs was unmounted by somebody else");
            enter_dead(core, id, AutomountResult::Unmounted);
        }
        Ask::Broken(why) => {
            core.log(Priority::Error, id, &format!("cannot hear what the kernel asks for: {why}"));
            enter_dead(core, id, AutomountResult::Resources);
        }
    }
}

/// Its mount, or a job of it, changed.
pub(super) fn triggered_changed(core: &mut Core, id: UnitId, other: UnitId) {
    use MountState::*;
    let mount = core.unit(other);
    if !mount.is_loaded()
        || mount.unit_type() != UnitType::Mount
        || !matches!(automount!(core, id).state, AutomountState::Waiting | AutomountState::Running)
    {
        return;
    }
    if mount.runtime.start_limit_hit {
        enter_dead(core, id, AutomountResult::MountStartLimitHit);
        return;
    }
    let state = mount.runtime.kind.mount().state;
    // What it is on the way to will be told when it is there.
    if core.queue.job_of(other).is_some() {
        return;
    }
    if matches!(state, Mounted | Remounting) {
        answer(core, id, 0);
        arm_expiry(core, id);
        set_state(core, id, AutomountState::Running);
    }
    match state {
        // It was to be unmounted, and is not.
        Mounting | MountingDone | Mounted | Remounting | RemountingSigterm | RemountingSigkill | UnmountingSigterm
        | UnmountingSigkill | Failed => answer_expire(core, id, -ENODEV),
        Dead => answer_expire(core, id, 0),
        Unmounting => {}
    }
    if matches!(
        state,
        Dead | Unmounting | RemountingSigterm | RemountingSigkill | UnmountingSigterm | UnmountingSigkill | Failed
    ) {
        // Those who wait are let go; the next one who looks may have more luck.
        answer(core, id, -ENODEV);
        set_state(core, id, AutomountState::Waiting);
    }
}

/// It is looked again whether the mount is out of use.
pub(super) fn deadline(core: &mut Core, id: UnitId, which: Deadline) {
    if which != Deadline::Idle || automount!(core, id).state != AutomountState::Running {
        return;
    }
    let Some(key) = automount!(core, id).key.clone() else { return };
    if let Err(error) = core.sys.autofs_expire(&key) {
        core.log(Priority::Warning, id, &error.to_string());
    }
    arm_expiry(core, id);
}

fn arm_expiry(core: &mut Core, id: UnitId) {
    let idle = core.unit(id).config.automount().and_then(|config| config.timeout_idle).map(usec);
    let Some(idle) = idle.filter(|idle| *idle > 0) else { return };
    let at = core.now().monotonic.saturating_add((idle / LOOKS).max(SECOND));
    core.arm(id, Deadline::Idle, Clock::Monotonic, at);
}

// ---- tokens ------------------------------------------------------------------------------------------------------

/// Lets those go who wait for it to be mounted.
fn answer(core: &mut Core, id: UnitId, status: i32) {
    let tokens = std::mem::take(&mut runtime(core, id).tokens);
    send(core, id, tokens, status);
}

/// Lets those go who wait for it to be unmounted.
fn answer_expire(core: &mut Core, id: UnitId, status: i32) {
    let tokens = std::mem::take(&mut runtime(core, id).expire_tokens);
    send(core, id, tokens, status);
}

fn send(core: &mut Core, id: UnitId, tokens: BTreeSet<u32>, status: i32) {
    let Some(key) = automount!(core, id).key.clone() else { return };
    if tokens.is_empty() {
        return;
    }
    let tokens: Vec<u32> = tokens.into_iter().collect();
    if let Err(error) = core.sys.autofs_answer(&key, &tokens, status) {
        core.log(Priority::Warning, id, &error.to_string());
    }
}

// ---- states ------------------------------------------------------------------------------------------------------

fn set_state(core: &mut Core, id: UnitId, state: AutomountState) {
    if state != AutomountState::Running {
        core.disarm(id, Deadline::Idle);
    }
    if matches!(state, AutomountState::Dead | AutomountState::Failed) {
        // Who waits still would do so for ever.
        answer(core, id, -EHOSTDOWN);
        answer_expire(core, id, -EHOSTDOWN);
        if let Some(key) = runtime(core, id).key.take() {
            core.sys.autofs_close(&key);
        }
    }
    let old = std::mem::replace(&mut runtime(core, id).state, state);
    core.state_changed(id, old.active(), state.active(), false);
}

fn enter_dead(core: &mut Core, id: UnitId, result: AutomountResult) {
    let runtime = runtime(core, id);
    if runtime.result == AutomountResult::Success {
        runtime.result = result;
    }
    let failed = runtime.result;
    if failed == AutomountResult::Success {
        set_state(core, id, AutomountState::Dead);
    } else {
        core.log(Priority::Warning, id, &format!("failed: {}", failed.word()));
        set_state(core, id, AutomountState::Failed);
    }
}

fn open(core: &mut Core, id: UnitId) -> Result<(), String> {
    const ELOOP: i32 = 40;
    const ENOTEMPTY: i32 = 39;
    let (place, mode) = place(core, id).ok_or("its name is too long to tell the place, and there is no Where=")?;
    let key = FdKey(format!("autofs {}", core.unit(id).name));
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let automount = config.automount().ok_or("it is no automount")?;
    let kept = automount!(core, id).key.is_some();
    if !kept {
        match core.sys.make_directory(&place, mode) {
            Err(error) if error.errno == ELOOP => return Err(error.to_string()),
            Err(error) if error.errno == ENOTEMPTY => {
                core.log(Priority::Notice, id, "the directory it lies on holds something, which is hidden by it");
            }
            Err(error) => core.log(Priority::Debug, id, &error.to_string()),
            Ok(()) => {}
        }
    }
    let name = core.unit(id).name.clone();
    let idle = automount.timeout_idle.map(usec).filter(|idle| *idle > 0);
    core.sys
        .autofs_open(&name, &place, &key, automount.extra_options.as_deref(), idle)
        .map_err(|error| error.to_string())?;
    runtime(core, id).key = Some(key);
    Ok(())
}

fn enter_waiting(core: &mut Core, id: UnitId) {
    let runtime = runtime(core, id);
    runtime.tokens.clear();
    runtime.expire_tokens.clear();
    match open(core, id) {
        Ok(()) => set_state(core, id, AutomountState::Waiting),
        Err(text) => {
            core.log(Priority::Error, id, &format!("cannot set up autofs: {text}"));
            enter_dead(core, id, AutomountResult::Resources);
        }
    }
}

fn ask_mount(core: &mut Core, id: UnitId, request: Request) -> Result<(), String> {
    let unit = mount_of(core, id).ok_or("its mount unit is gone")?;
    let wish = Wish { unit, request, mode: JobMode::Replace, manual: false };
    core.wish(wish).map(|_| ()).map_err(|error| error.to_string())
}

fn enter_running(core: &mut Core, id: UnitId) {
    if !core.unit(id).is_loaded() {
        core.log(Priority::Error, id, "is not mounted: its file cannot be used any more");
        enter_dead(core, id, AutomountResult::Resources);
        return;
    }
    // Who goes down does not bring up its mount once more.
    if core.has_stop_job(id) || core.has_restart_job(id) {
        answer(core, id, -EHOSTDOWN);
        answer_expire(core, id, -EHOSTDOWN);
        return;
    }
    let mounted = mount_of(core, id).is_some_and(|mount| {
        let mount = core.unit(mount).runtime.kind.mount();
        mount.in_kernel.is_some() && mount.state == MountState::Mounted
    });
    if mounted {
        core.log(Priority::Info, id, "is mounted already");
        answer(core, id, 0);
        return;
    }
    match ask_mount(core, id, Request::Start) {
        Ok(()) => set_state(core, id, AutomountState::Running),
        Err(text) => {
            core.log(Priority::Warning, id, &format!("cannot have it mounted: {text}"));
            enter_dead(core, id, AutomountResult::Resources);
        }
    }
}
