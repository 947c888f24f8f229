// SPDX-License-Identifier: GPL-2.0-or-later
//! Devices: they come and go by themselves, and units follow what udev and the kernel's tables say (systemd.device(5)).
//!
//! ```text
//!   dead ──in the table of mounts or swaps──▶ tentative ──udev has it, and it is ready──▶ plugged
//!    ▲                                           │                                          │
//!    └───────────── nobody sees it ◀─────────────┘        udev has lost it, or not ready ◀──┘
//! ```
//!
//! One device has many units: one named for its place in sysfs, one for its node, one for each link below `/dev`, one for
//! each `SYSTEMD_ALIAS=`. All but the first follow the first. A link may be claimed by several devices (two disks with one
//! label); it is there for as long as one of them is.
//!
//! Once a device was seen by udev and is lost to it, it is gone even if it is mounted still: the mount is of something
//! that is not there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ssi_unit::config::unit::JobMode;
use ssi_unit::dependency::{Dependency, Origins};
use ssi_unit::name::{UnitName, UnitType};

use super::state::DeviceState;
use super::system::{Feature, Priority};
use super::unit::Unit;
use super::{Core, swap};
use crate::graph::UnitId;
use crate::job::{Request, Wish};

/// Who has seen a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// udev, and it is ready.
    pub udev: bool,
    /// The table of mounts.
    pub mounts: bool,
    /// The table of swap areas.
    pub swaps: bool,
}

impl Found {
    fn by_anybody(self) -> bool {
        self != Self::default()
    }
}

/// A table of the kernel that names devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Of mounts.
    Mounts,
    /// Of swap areas.
    Swaps,
}

/// What is going on with a device unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceRuntime {
    /// Whether it is there.
    pub state: DeviceState,
    /// Who has seen it.
    pub found: Found,
    /// The path it is named for.
    pub path: Option<String>,
    /// Devices, by their places in sysfs, that say they are this one; the last one that said so is.
    pub claimed_by: Vec<String>,
    /// Units that are to come up with it, as udev last said.
    pub wants: Vec<UnitName>,
    /// Mounts of it go when it goes (`SYSTEMD_MOUNT_DEVICE_BOUND=`).
    pub binds_mounts: bool,
    /// What it is, for people.
    pub description: Option<String>,
}

/// What udev told of a device that has the tag `systemd`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceChange {
    /// Its place in sysfs: `/sys/devices/…`.
    pub syspath: String,
    /// Where it was before, if it moved (`DEVPATH_OLD`).
    pub moved_from: Option<String>,
    /// Its node below `/dev`.
    pub devnode: Option<String>,
    /// Links to that node (`DEVLINKS`).
    pub links: Vec<String>,
    /// Other names that it asks for (`SYSTEMD_ALIAS`).
    pub aliases: Vec<String>,
    /// It can be used: it has the tag now, is not being renamed, and `SYSTEMD_READY` is not 0.
    pub ready: bool,
    /// Units that are to come up with it (`SYSTEMD_WANTS`); a template gets the place in sysfs as its instance.
    pub wants: Vec<String>,
    /// Model and label (`ID_MODEL_FROM_DATABASE` or `ID_MODEL`; `ID_FS_LABEL`, `ID_PART_ENTRY_NAME` or
    /// `ID_PART_ENTRY_NUMBER`).
    pub description: Option<String>,
    /// `SYSTEMD_MOUNT_DEVICE_BOUND`
    pub binds_mounts: bool,
    /// It was there before, and something about it changed (udev's action is neither `add` nor `move` nor `remove`):
    /// units that hang on it reload.
    pub altered: bool,
    /// It was unplugged.
    pub gone: bool,
}

macro_rules! device {
    ($core:expr, $id:expr) => {
        $core.unit($id).runtime.kind.device()
    };
}

fn runtime(core: &mut Core, id: UnitId) -> &mut DeviceRuntime {
    core.unit_mut(id).runtime.kind.device_mut()
}

fn main_unit(syspath: &str) -> Option<UnitName> {
    UnitName::from_path(syspath, UnitType::Device).ok()
}

impl DeviceRuntime {
    /// Its place in sysfs, once udev has told.
    pub fn syspath(&self) -> Option<&str> {
        self.claimed_by.last().map(String::as_str)
    }

    /// Other units of the same device.
    pub fn followers(&self, table: &super::table::Table, id: UnitId) -> Vec<UnitId> {
        let Some(syspath) = self.syspath() else { return Vec::new() };
        units_of(table, syspath).filter(|other| *other != id).collect()
    }
}

fn units_of<'a>(table: &'a super::table::Table, syspath: &'a str) -> impl Iterator<Item = UnitId> + 'a {
    let is = move |unit: &&Unit| unit.runtime.kind.device().syspath() == Some(syspath);
    table.iter().filter(is).map(|unit| unit.id)
}

/// The unit named for the device's place in sysfs, if this is another one of the device's. What is named for another place
/// there, as `SYSTEMD_ALIAS=` does for network devices, follows nobody: systemctl(1) shows it beside the first.
pub(super) fn following(core: &Core, id: UnitId) -> Option<UnitId> {
    let unit = core.unit(id);
    if unit.name.as_str().starts_with("sys-") {
        return None;
    }
    let main = main_unit(unit.runtime.kind.device().syspath()?)?;
    core.table.find(&main).filter(|main| *main != id)
}

/// All paths below `/dev` that lead to the device a path leads to, as far as udev has told; not the path itself.
pub(super) fn other_nodes(core: &Core, path: &str) -> Vec<String> {
    let unit = UnitName::from_path(path, UnitType::Device).ok().and_then(|name| core.table.find(&name));
    let Some(syspath) = unit.and_then(|id| device!(core, id).syspath()) else { return Vec::new() };
    units_of(&core.table, syspath)
        .filter_map(|id| device!(core, id).path.clone())
        .filter(|other| other.starts_with("/dev/") && other != path)
        .collect()
}

/// Its files were read: it is called what udev calls it.
pub(super) fn complete(core: &mut Core, id: UnitId) {
    let runtime = device!(core, id);
    let told = runtime.description.clone().or_else(|| runtime.path.clone().filter(|_| !runtime.claimed_by.is_empty()));
    let unit = core.table.get_mut(id);
    let words = match &unit.config.unit.description {
        None => told.or_else(|| unit.name.to_path().ok()),
        // What udev says goes before what a file says.
        Some(_) => told,
    };
    if words.is_some() && unit.config.unit.description != words {
        std::rc::Rc::make_mut(&mut unit.config).unit.description = words;
    }
}

/// udev has told of a device.
pub(super) fn changed(core: &mut Core, change: DeviceChange) {
    if let Some(old) = &change.moved_from {
        release(core, old, true);
    }
    if change.gone || !change.ready {
        // What is not ready may still be mounted; what is unplugged cannot be.
        release(core, &change.syspath, change.gone);
        return;
    }
    let Some(main) = set_up(core, &change, &change.syspath) else { return };
    add_wants(core, main, &change);
    let mut ready = vec![main];
    for path in names(core, &change) {
        ready.extend(set_up(core, &change, &path));
    }
    // Links and aliases that it had and has no longer.
    let claimed: Vec<UnitId> = claimants(core, &change.syspath);
    for id in claimed.into_iter().filter(|id| !ready.contains(id)) {
        give_up_claim(core, id, &change.syspath, false);
    }
    core.load_pending();
    for id in &ready {
        complete(core, *id);
        core.touch(*id);
        if change.altered && device!(core, *id).state != DeviceState::Dead {
            core.propagate_reload(*id);
        }
    }
    for id in ready {
        let found = Found { udev: true, ..device!(core, id).found };
        set_found(core, id, found);
    }
    swap::device_changed(core, change.devnode.as_deref());
}

/// Looks for devices that went while nobody listened: those there are now are `syspaths`, and have been told of.
pub fn enumerated(core: &mut Core, syspaths: &BTreeSet<String>) {
    let known: BTreeSet<String> = core
        .table
        .iter()
        .flat_map(|unit| unit.runtime.kind.device().claimed_by.iter())
        .filter(|syspath| !syspaths.contains(*syspath))
        .cloned()
        .collect();
    for syspath in known {
        release(core, &syspath, true);
    }
    core.settle();
}

/// The names of a device beside its place in sysfs.
fn names(core: &mut Core, change: &DeviceChange) -> Vec<String> {
    let mut names: Vec<String> = change.devnode.iter().cloned().collect();
    // These are numbers, which are another device's tomorrow.
    let lasting = |link: &&String| !link.starts_with("/dev/block/") && !link.starts_with("/dev/char/");
    names.extend(change.links.iter().filter(lasting).cloned());
    for alias in &change.aliases {
        let safe = alias.starts_with('/') && !alias.split('/').any(|part| matches!(part, "." | ".."));
        if safe {
            names.push(alias.clone());
        } else {
            let text =
                format!("the alias {alias} of the device {} is no absolute path; it is passed over", change.syspath);
            core.sys.log(Priority::Warning, None, &text);
        }
    }
    names
}

/// The unit of one name of a device.
fn set_up(core: &mut Core, change: &DeviceChange, path: &str) -> Option<UnitId> {
    let name = match UnitName::from_path(path, UnitType::Device) {
        Ok(name) => name,
        Err(error) => {
            core.sys.log(Priority::Warning, None, &format!("the device {path} is passed over: {error}"));
            return None;
        }
    };
    let id = core.named(&name);
    let before: Vec<UnitId> = core.graph.with(id, ssi_unit::dependency::Atoms::REFERENCES).collect();
    core.to_forget.extend(before);
    core.graph.take_back(id, Origins::UDEV);
    let runtime = runtime(core, id);
    runtime.path.get_or_insert_with(|| path.to_owned());
    runtime.claimed_by.retain(|claimant| *claimant != change.syspath);
    runtime.claimed_by.push(change.syspath.clone());
    runtime.description = change.description.clone();
    runtime.binds_mounts = change.binds_mounts;
    if change.binds_mounts {
        bind_mounts(core, id);
    }
    Some(id)
}

/// Mounts that require it are bound to it from now on.
fn bind_mounts(core: &mut Core, id: UnitId) {
    let mounts: Vec<UnitId> = core
        .graph
        .edges(id, Dependency::RequiredBy)
        .iter()
        .map(|edge| edge.to)
        .filter(|other| core.unit(*other).unit_type() == UnitType::Mount)
        .collect();
    for mount in mounts {
        core.graph.depend(mount, Dependency::BindsTo, id, Origins::UDEV);
    }
}

/// The unit that `SYSTEMD_WANTS` means by a word.
fn wanted(word: &str, syspath: &str) -> Result<UnitName, String> {
    let name = UnitName::new(word).or_else(|error| match word.contains(['.', '/']) {
        true => Err(error),
        false => UnitName::new(&format!("{word}.service")),
    });
    let name = name.map_err(|error| error.to_string())?;
    if !name.is_template() {
        return Ok(name);
    }
    let instance = ssi_unit::name::escape_path(syspath).map_err(|error| error.to_string())?;
    name.instantiate(&instance).map_err(|error| error.to_string())
}

/// What is to come up with a device is wanted by its unit.
fn add_wants(core: &mut Core, id: UnitId, change: &DeviceChange) {
    let mut wants = Vec::new();
    for word in &change.wants {
        match wanted(word, &change.syspath) {
            Ok(name) => {
                core.depend(id, Dependency::Wants, &name, Origins::UDEV);
                wants.push(name);
            }
            Err(error) => core.log(Priority::Warning, id, &format!("cannot want {word}: {error}")),
        }
    }
    let before = std::mem::replace(&mut runtime(core, id).wants, wants.clone());
    if device!(core, id).state == DeviceState::Dead {
        // They start when it is plugged.
        return;
    }
    // udev's rules may have come later than the device, as after the initial RAM disk: what is new is started now.
    for name in wants {
        let unit = core.load(&name);
        if before.contains(&name) && core.unit(unit).active().is_active_or_reloading() {
            continue;
        }
        let wish = Wish { unit, request: Request::Start, mode: JobMode::Fail, manual: false };
        if let Err(error) = core.wish(wish) {
            let known = core.unit(unit).is_loaded();
            let priority = if known { Priority::Warning } else { Priority::Debug };
            core.log(priority, id, &format!("cannot start {name}, which udev wants: {error}"));
        }
    }
}

fn claimants(core: &Core, syspath: &str) -> Vec<UnitId> {
    let claims = |unit: &&Unit| unit.runtime.kind.device().claimed_by.iter().any(|claimant| claimant == syspath);
    core.table.iter().filter(claims).map(|unit| unit.id).collect()
}

/// A device is none of its names any more.
fn release(core: &mut Core, syspath: &str, unplugged: bool) {
    for id in claimants(core, syspath) {
        give_up_claim(core, id, syspath, unplugged);
    }
}

/// A device is not what a unit is named for; another one may be.
fn give_up_claim(core: &mut Core, id: UnitId, syspath: &str, unplugged: bool) {
    let runtime = runtime(core, id);
    runtime.claimed_by.retain(|claimant| claimant != syspath);
    if !runtime.claimed_by.is_empty() {
        core.touch(id);
        return;
    }
    let found = if unplugged { Found::default() } else { Found { udev: false, ..runtime.found } };
    set_found(core, id, found);
}

/// A table of the kernel names a device, or does so no longer.
pub(super) fn found_in_table(core: &mut Core, node: &str, source: Source, there: bool) {
    let is_node = node.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty());
    if !is_node || !core.sys.supports(Feature::Devices) {
        return;
    }
    let Ok(name) = UnitName::from_path(node, UnitType::Device) else { return };
    let id = match core.table.find(&name) {
        Some(id) => id,
        None if there => core.named(&name),
        None => return,
    };
    runtime(core, id).path.get_or_insert_with(|| node.to_owned());
    let mut found = device!(core, id).found;
    match source {
        Source::Mounts => found.mounts = there,
        Source::Swaps => found.swaps = there,
    }
    set_found(core, id, found);
}

fn set_found(core: &mut Core, id: UnitId, found: Found) {
    let before = std::mem::replace(&mut runtime(core, id).found, found);
    if before == found {
        return;
    }
    if !before.by_anybody() {
        core.new_invocation(id);
    }
    let state = if found.udev {
        DeviceState::Plugged
    } else if found.by_anybody() && !before.udev {
        DeviceState::Tentative
    } else {
        DeviceState::Dead
    };
    set_state(core, id, state);
}

fn set_state(core: &mut Core, id: UnitId, state: DeviceState) {
    let runtime = runtime(core, id);
    let old = std::mem::replace(&mut runtime.state, state);
    if state == DeviceState::Dead {
        runtime.claimed_by.clear();
    }
    core.state_changed(id, old.active(), state.active(), false);
}
