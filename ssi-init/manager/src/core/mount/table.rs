// SPDX-License-Identifier: GPL-2.0-or-later
//! The kernel's table of mounts (`/proc/self/mountinfo`), and the units that follow it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use ssi_unit::dependency::{Atoms, Dependency, Origins};
use ssi_unit::implicit::{Relations, Subject, is_perpetual, relations};
use ssi_unit::load::LoadState;
use ssi_unit::name::{UnitName, UnitType};

use super::{begin_cycle, enter_dead, enter_mounted, set_state};
use crate::core::device::{self, Source};
use crate::core::state::MountState;
use crate::core::system::Priority;
use crate::core::{Core, kinds};
use crate::graph::UnitId;

/// A line of the kernel's table of mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// What is mounted.
    pub what: String,
    /// Where.
    pub place: String,
    /// Options, comma separated: the kernel's and those of user space.
    pub options: String,
    /// Type of file system.
    pub kind: String,
}

/// Whether a mount is none of ours: process 1 makes it for itself before there are units, and nothing is to depend on
/// it; or it is an autofs, which belongs to its automount.
fn is_passed_over(mounted: &Mounted) -> bool {
    const POINTS: [&str; 18] = [
        "/proc",
        "/sys",
        "/dev",
        "/dev/shm",
        "/dev/pts",
        "/run",
        // Debian's.
        "/run/lock",
        "/sys/kernel/security",
        "/sys/fs/smackfs",
        "/sys/fs/cgroup",
        "/sys/fs/pstore",
        "/sys/firmware/efi/efivars",
        "/sys/fs/bpf",
        "/sys/fs/selinux",
        "/dev/console",
        "/proc/kmsg",
        "/proc/sys",
        "/proc/sys/kernel/random/boot_id",
    ];
    let place = mounted.place.as_str();
    !place.starts_with('/')
        || POINTS.contains(&place)
        || place.starts_with("/sys/fs/cgroup/")
        || mounted.kind == "autofs"
}

/// Takes in the whole table: units come for mounts that are new, follow those that changed, and go with those that are
/// gone.
pub(in crate::core) fn table_read(core: &mut Core, table: Vec<Mounted>) {
    let around: BTreeSet<String> = table.iter().map(|mounted| mounted.what.clone()).collect();
    for what in &around {
        device::found_in_table(core, what, Source::Mounts, true);
    }
    // Of several mounts at one place the last one is on top.
    let mut there: BTreeMap<UnitName, Mounted> = BTreeMap::new();
    for mounted in table.into_iter().filter(|mounted| !is_passed_over(mounted)) {
        match UnitName::from_path(&mounted.place, UnitType::Mount) {
            Ok(name) => {
                there.insert(name, mounted);
            }
            Err(error) => {
                let text = format!("the mount at {} is passed over: {error}", mounted.place);
                core.sys.log(Priority::Debug, None, &text);
            }
        }
    }
    let mut news = BTreeSet::new();
    let mut present = BTreeSet::new();
    let mut left_devices = BTreeSet::new();
    for (name, mounted) in there {
        let id = core.named(&name);
        present.insert(id);
        let before = core.unit(id).runtime.kind.mount().in_kernel.clone();
        if before.as_ref() == Some(&mounted) {
            // A manager that was away while it was mounted still has that to find out.
            if core.unit(id).runtime.kind.mount().state == MountState::Mounting {
                news.insert(id);
            }
            continue;
        }
        left_devices.extend(before.map(|before| before.what));
        core.unit_mut(id).runtime.kind.mount_mut().in_kernel = Some(mounted);
        news.insert(id);
        load_for_table(core, id);
    }
    core.load_pending();
    for id in &news {
        accept_as_loaded(core, *id);
        relate(core, *id);
    }
    let mounts: Vec<UnitId> =
        core.table.iter().filter(|unit| unit.unit_type() == UnitType::Mount).map(|unit| unit.id).collect();
    for id in mounts {
        if news.contains(&id) {
            appeared(core, id);
        } else if !present.contains(&id) && !is_perpetual(&core.unit(id).name) {
            let gone = core.unit(id).runtime.kind.mount().in_kernel.is_some();
            if gone && let Some(mounted) = core.unit_mut(id).runtime.kind.mount_mut().in_kernel.take() {
                left_devices.insert(mounted.what);
            }
            vanished(core, id);
        }
    }
    for what in left_devices.difference(&around) {
        device::found_in_table(core, what, Source::Mounts, false);
    }
}

/// It is in the table, and was not, or otherwise.
fn appeared(core: &mut Core, id: UnitId) {
    match core.unit(id).runtime.kind.mount().state {
        MountState::Dead | MountState::Failed => {
            begin_cycle(core, id);
            enter_mounted(core, id, super::ToolResult::Success);
        }
        MountState::Mounting => set_state(core, id, MountState::MountingDone),
        // Its options are others; those who wait for that are told.
        state => set_state(core, id, state),
    }
}

/// It is not in the table.
fn vanished(core: &mut Core, id: UnitId) {
    match core.unit(id).runtime.kind.mount().state {
        MountState::Mounted => enter_dead(core, id, super::ToolResult::Success),
        // mount(8) took back what it did; its end will say why.
        MountState::MountingDone => set_state(core, id, MountState::Mounting),
        _ => {}
    }
}

/// Has the files of a unit looked for again, now that it needs none.
pub(in crate::core) fn load_for_table(core: &mut Core, id: UnitId) {
    if core.unit(id).load == Some(LoadState::NotFound) {
        core.table.get_mut(id).load = None;
        core.to_load.push_back(id);
    }
}

/// What is in the kernel is there, whatever is wrong with its file.
pub(in crate::core) fn accept_as_loaded(core: &mut Core, id: UnitId) {
    let unit = core.table.get_mut(id);
    if matches!(unit.load, Some(LoadState::NotFound | LoadState::BadSetting | LoadState::Error)) {
        unit.load = Some(LoadState::Loaded);
        unit.load_error = None;
    }
}

fn relations_now(core: &Core, id: UnitId) -> Relations {
    let unit = core.unit(id);
    let in_kernel = kinds::in_kernel(unit);
    let has_file = unit.fragment.is_some();
    relations(
        Subject { name: &unit.name, config: &unit.config, has_file, in_kernel: in_kernel.as_ref() },
        &core.surroundings,
    )
}

/// Looks for the edges of a mount, or a swap, anew: what the table has for it changed, and the table goes before its file.
pub(in crate::core) fn relate(core: &mut Core, id: UnitId) {
    if !core.unit(id).is_loaded() {
        return;
    }
    let stale = match core.unit(id).unit_type() {
        UnitType::Swap => Origins::SWAP_TABLE,
        _ => Origins::MOUNT_TABLE | Origins::MOUNT_FILE | Origins::UDEV,
    };
    // What only this unit named may be forgotten.
    let named: Vec<UnitId> = core.graph.with(id, Atoms::REFERENCES).collect();
    core.to_forget.extend(named);
    core.graph.take_back(id, stale);
    for edge in relations_now(core, id).edges {
        core.depend(id, edge.kind, &edge.to, edge.origins);
    }
    bind_to_devices(core, id);
}

/// A mount that requires a device which says so (`SYSTEMD_MOUNT_DEVICE_BOUND`) is bound to it.
pub(super) fn bind_to_devices(core: &mut Core, id: UnitId) {
    let required = relations_now(core, id).edges.into_iter().filter(|edge| edge.kind == Dependency::Requires);
    for edge in required {
        let binds = |device| core.unit(device).runtime.kind.device().binds_mounts;
        if core.table.find(&edge.to).is_some_and(binds) {
            core.depend(id, Dependency::BindsTo, &edge.to, Origins::UDEV);
        }
    }
}
