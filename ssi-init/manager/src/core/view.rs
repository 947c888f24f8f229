// SPDX-License-Identifier: GPL-2.0-or-later
//! What clients hold, and files that are read again for one unit alone: for those who serve clients.

use std::borrow::Cow;

use ssi_unit::dependency::Origins;
use ssi_unit::name::UnitName;

use super::entry::Entry;
use super::{Core, kinds};
use crate::graph::UnitId;

impl Core {
    /// Somebody does not want a unit forgotten (`RefUnit()` of org.freedesktop.systemd1(5)).
    pub fn hold_unit(&mut self, id: UnitId, holder: &str) {
        self.enter_unit(id, |unit| Entry::Hold { unit, holder: Cow::Owned(holder.to_owned()) });
        self.unit_mut(id).runtime.held_by.insert(holder.to_owned());
        self.leave();
    }

    /// Somebody does not care any more.
    pub fn release_unit(&mut self, id: UnitId, holder: &str) {
        if !self.table.contains(id) {
            return;
        }
        self.enter_unit(id, |unit| Entry::Release { unit, holder: Cow::Owned(holder.to_owned()) });
        if self.unit_mut(id).runtime.held_by.remove(holder) {
            self.to_forget.insert(id);
        }
        self.leave();
    }

    /// Somebody is gone, and holds nothing any more.
    pub fn release_all_units(&mut self, holder: &str) {
        self.enter(&Entry::ReleaseAll(Cow::Borrowed(holder)));
        let held: Vec<UnitId> =
            self.table.iter().filter(|unit| unit.runtime.held_by.contains(holder)).map(|unit| unit.id).collect();
        for id in held {
            self.release_unit(id, holder);
        }
        self.leave();
    }

    /// Who holds what.
    pub fn unit_holders(&self) -> Vec<(UnitId, String)> {
        let holders =
            |unit: &super::unit::Unit| unit.runtime.held_by.iter().map(|by| (unit.id, by.clone())).collect::<Vec<_>>();
        self.table.iter().flat_map(holders).collect()
    }

    /// The unit that this one is only another face of: a device known by several paths.
    pub fn unit_followed_by(&self, id: UnitId) -> Option<UnitId> {
        kinds::following(self, id)
    }

    /// Reads the files of one unit again, after something was put beside them; limits of its control group hold at once.
    /// The unit: another one, where its name turned out to be one of another's.
    pub fn reread_unit(&mut self, name: &UnitName) -> UnitId {
        self.enter(&Entry::Reread(Cow::Borrowed(name)));
        self.loader.refresh();
        let id = self.named(name);
        // What the kernel's tables and udev asked for does not come from files.
        let of_files = Origins::ALL.without(Origins::MOUNT_TABLE | Origins::SWAP_TABLE | Origins::UDEV);
        self.graph.take_back(id, of_files);
        let unit = self.table.get_mut(id);
        unit.load = None;
        unit.runtime.needs_reload = false;
        self.to_load.push_back(id);
        self.load_pending();
        let id = self.table.find(name).unwrap_or(id);
        kinds::reloaded(self, id);
        self.to_look_at.insert(id);
        self.to_forget.insert(id);
        self.leave();
        id
    }
}
