// SPDX-License-Identifier: GPL-2.0-or-later
//! A unit's properties with what is not in the manager's memory: whether it is enabled, and the figures the kernel keeps
//! of its control group.

use std::collections::BTreeMap;

use ssi_manager::core::Core;
use ssi_manager::core::unit::Unit;
use ssi_manager::graph::UnitId;
use ssi_unit::config::exec::{Resource, ResourceLimit};
use zbus::zvariant::OwnedValue;

use crate::host::Host;
use crate::manager::files::Opened;
use crate::outdated::is_outdated;
use crate::properties::{self, Figures, Inherited, inherited};

/// The edge, asked through the host.
struct OfHost<'a>(&'a dyn Host);

impl Figures for OfHost<'_> {
    fn of_group(&self, group: &str) -> BTreeMap<&'static str, u64> {
        self.0.figures(group)
    }

    fn root_group(&self) -> String {
        self.0.facts().control_group
    }

    fn unit_file_state(&self, unit: &Unit) -> Option<&'static str> {
        unit.fragment.as_ref()?;
        let opened = Opened::new(self.0.unit_files());
        Some(opened.installer(false, false).state(unit.name.as_str()).ok()?.as_str())
    }

    fn unit_file_preset(&self, unit: &Unit) -> Option<&'static str> {
        unit.fragment.as_ref()?;
        let opened = Opened::new(self.0.unit_files());
        let enables = opened.installer(false, false).preset_enables(unit.name.as_str());
        Some(if enables { "enabled" } else { "disabled" })
    }

    fn needs_daemon_reload(&self, unit: &Unit) -> bool {
        is_outdated(unit, &self.0.unit_files().folders.search)
    }

    fn physical_memory(&self) -> Option<u64> {
        inherited::physical_memory()
    }

    fn most_tasks(&self) -> Option<u64> {
        inherited::most_tasks()
    }

    fn inherited_limit(&self, resource: Resource) -> ResourceLimit {
        inherited::limit(resource)
    }

    fn inherited(&self) -> Inherited {
        inherited::inherited()
    }
}

/// The value of a property.
pub(crate) fn get(core: &Core, host: &dyn Host, id: UnitId, interface: &str, name: &str) -> Option<OwnedValue> {
    properties::get(core, id, interface, name, &OfHost(host))
}

/// All properties of an interface.
pub(crate) fn all(core: &Core, host: &dyn Host, id: UnitId, interface: &str) -> Vec<(&'static str, OwnedValue)> {
    properties::all(core, id, interface, &OfHost(host))
}
