// SPDX-License-Identifier: GPL-2.0-or-later
//! What of a unit is shown to clients and has no other way out of here.

use std::borrow::Cow;

use ssi_unit::name::UnitType;

use super::Core;
use super::kinds::KindRuntime;
use super::system::Moment;
use super::unit::Unit;
use crate::graph::UnitId;

impl Unit {
    /// What to call it in front of people: as [`Unit::description`], and a slice without one by its path.
    pub fn title(&self) -> Cow<'_, str> {
        let told = self.config.unit.description.as_deref();
        match (told, self.name.as_str(), self.unit_type()) {
            (Some(told), ..) => told.into(),
            (None, "-.slice", _) => "Root Slice".into(),
            (None, "system.slice", _) => "System Slice".into(),
            (None, "init.scope", _) => "System and Service Manager".into(),
            (None, "-.mount", _) => "Root Mount".into(),
            (None, _, UnitType::Slice) => match self.name.to_path() {
                Ok(path) => format!("Slice {path}").into(),
                Err(_) => self.name.as_str().into(),
            },
            (None, name, _) => name.into(),
        }
    }
}

impl Core {
    /// What to call a unit in front of people: of one that the cluster places, with where it runs.
    pub fn title_of(&self, id: UnitId) -> Cow<'_, str> {
        let title = self.unit(id).title();
        match self.cluster_place(id) {
            Some(place) => format!("{title} [cluster: {place}]").into(),
            None => title,
        }
    }

    /// When a timer last elapsed.
    pub fn last_trigger(&self, id: UnitId) -> Moment {
        self.unit(id).runtime.kind.timer().last_trigger
    }

    /// The word for what went wrong first since a timer or path unit was last started.
    pub fn result_of(&self, id: UnitId) -> &'static str {
        match &self.unit(id).runtime.kind {
            KindRuntime::Timer(timer) => timer.result.word(),
            KindRuntime::Path(path) => path.result.word(),
            _ => "success",
        }
    }
}
