// SPDX-License-Identifier: GPL-2.0-or-later
//! What a program that goes on with this core after another one has to know of it.

use std::collections::BTreeSet;

use ssi_unit::config::service::ServiceType;
use ssi_unit::name::UnitType;

use super::Core;
use super::entry::Entry;
use super::state::ServiceState;
use super::system::{FdKey, Pid};
use crate::graph::UnitId;

impl Core {
    /// Lists the folders of unit files again: generators wrote some.
    pub fn refresh_files(&mut self) {
        self.enter(&Entry::RefreshFiles);
        self.loader.refresh();
        self.leave();
    }

    /// The processes whose end is some unit's business.
    pub fn watched_processes(&self) -> impl Iterator<Item = Pid> + '_ {
        self.watched.keys().copied()
    }

    /// The control groups of units.
    pub fn groups_in_use(&self) -> impl Iterator<Item = &str> + '_ {
        self.groups.keys().map(String::as_str)
    }

    /// The descriptors that units have.
    pub fn descriptors_in_use(&self) -> BTreeSet<FdKey> {
        let mut keys = BTreeSet::new();
        for unit in self.table.iter() {
            let kind = &unit.runtime.kind;
            match unit.unit_type() {
                UnitType::Service => {
                    let service = kind.service();
                    keys.extend(service.stored.iter().map(|(key, _)| key.clone()).chain(service.connection.clone()));
                }
                UnitType::Socket => keys.extend(super::socket::descriptors(unit)),
                UnitType::Automount => keys.extend(kind.automount().key.clone()),
                _ => {}
            }
        }
        keys
    }

    /// The processes of services that wait to hear that the program runs ([`super::Event::Executed`]).
    pub fn processes_not_yet_executed(&self) -> Vec<(UnitId, Pid)> {
        let waits = |unit: &&super::unit::Unit| {
            unit.unit_type() == UnitType::Service
                && unit.config.service().is_some_and(|service| service.service_type == ServiceType::Exec)
                && unit.runtime.kind.service().state == ServiceState::Start
        };
        let main = |unit: &super::unit::Unit| Some((unit.id, unit.runtime.kind.service().main?));
        self.table.iter().filter(waits).filter_map(main).collect()
    }
}
