// SPDX-License-Identifier: GPL-2.0-or-later
//! All units, by number and by name, and what the job engine asks of them.

use std::collections::HashMap;

use ssi_unit::load::LoadState;
use ssi_unit::name::{UnitName, UnitType};

use super::kinds;
use super::state::ActiveState;
use super::unit::Unit;
use crate::graph::UnitId;
use crate::job::UnitStates;

/// The units.
#[derive(Debug)]
pub struct Table {
    units: Vec<Option<Unit>>,
    names: HashMap<UnitName, UnitId>,
    /// What is shown where there is no unit, so that a number that is out of date cannot end the manager.
    nothing: Unit,
    count: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { units: Vec::new(), names: HashMap::new(), nothing: Unit::nothing(), count: 0 }
    }
}

impl Table {
    /// The unit of that number; an empty one where there is none.
    pub fn get(&self, id: UnitId) -> &Unit {
        self.units.get(id.index()).and_then(Option::as_ref).unwrap_or(&self.nothing)
    }

    /// As [`Table::get`], to be changed.
    pub fn get_mut(&mut self, id: UnitId) -> &mut Unit {
        match self.units.get_mut(id.index()).and_then(Option::as_mut) {
            Some(unit) => unit,
            None => {
                self.nothing = Unit::nothing();
                &mut self.nothing
            }
        }
    }

    /// Whether there is such a unit.
    pub fn contains(&self, id: UnitId) -> bool {
        self.units.get(id.index()).is_some_and(Option::is_some)
    }

    /// The unit of that name, one of its names.
    pub fn find(&self, name: &UnitName) -> Option<UnitId> {
        self.names.get(name).copied()
    }

    /// Puts a unit in its place, with its name.
    pub fn put(&mut self, unit: Unit) {
        let place = unit.id.index();
        if self.units.len() <= place {
            self.units.resize_with(place + 1, || None);
        }
        self.names.insert(unit.name.clone(), unit.id);
        self.count += usize::from(self.units[place].is_none());
        self.units[place] = Some(unit);
    }

    /// Gives a unit one more name.
    pub fn add_name(&mut self, id: UnitId, name: UnitName) {
        self.names.insert(name.clone(), id);
        let unit = self.get_mut(id);
        if unit.name != name {
            unit.aliases.insert(name);
        }
    }

    /// Takes a unit out, with all its names.
    pub fn take(&mut self, id: UnitId) -> Option<Unit> {
        let unit = self.units.get_mut(id.index())?.take()?;
        self.count -= 1;
        self.names.retain(|_, known| *known != id);
        Some(unit)
    }

    /// All units, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().flatten()
    }

    /// All names, also those that are only other ones.
    pub fn names(&self) -> impl Iterator<Item = (&UnitName, UnitId)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl UnitStates for Table {
    fn name(&self, unit: UnitId) -> &UnitName {
        &self.get(unit).name
    }

    fn active(&self, unit: UnitId) -> ActiveState {
        self.get(unit).active()
    }

    fn load(&self, unit: UnitId) -> Option<LoadState> {
        self.get(unit).load
    }

    fn can_start(&self, unit: UnitId) -> bool {
        kinds::can_start(self.get(unit))
    }

    fn can_stop(&self, unit: UnitId) -> bool {
        kinds::can_stop(self.get(unit))
    }

    fn can_reload(&self, unit: UnitId) -> bool {
        kinds::can_reload(self.get(unit))
    }

    fn is_perpetual(&self, unit: UnitId) -> bool {
        ssi_unit::implicit::is_perpetual(&self.get(unit).name)
    }

    fn allows_isolate(&self, unit: UnitId) -> bool {
        self.get(unit).config.unit.allow_isolate
    }

    fn ignores_isolate(&self, unit: UnitId) -> bool {
        self.get(unit).config.unit.ignore_on_isolate
    }

    fn refuses_manual_start(&self, unit: UnitId) -> bool {
        self.get(unit).config.unit.refuse_manual_start
    }

    fn refuses_manual_stop(&self, unit: UnitId) -> bool {
        self.get(unit).config.unit.refuse_manual_stop
    }

    fn job_timeout(&self, unit: UnitId) -> Option<u64> {
        self.get(unit).config.unit.job_timeout.map(super::usec)
    }

    fn job_running_timeout(&self, unit: UnitId) -> Option<u64> {
        self.get(unit).config.unit.job_running_timeout.map(super::usec)
    }

    fn stops_when_unneeded(&self, unit: UnitId) -> bool {
        self.get(unit).config.unit.stop_when_unneeded
    }

    fn will_restart(&self, unit: UnitId) -> bool {
        let unit = self.get(unit);
        unit.unit_type() == UnitType::Service && unit.runtime.kind.service().will_restart
    }

    fn followers(&self, unit: UnitId) -> Vec<UnitId> {
        let unit = self.get(unit);
        match unit.unit_type() {
            UnitType::Device => unit.runtime.kind.device().followers(self, unit.id),
            _ => Vec::new(),
        }
    }

    fn nice(&self, unit: UnitId) -> i32 {
        self.get(unit).config.exec().map_or(0, |exec| exec.nice.unwrap_or(0))
    }
}
