// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.freedesktop.systemd1.Job`: a job, at a path of its own for as long as there is it.

use ssi_manager::core::Core;
use ssi_manager::job::JobId;
use zbus::zvariant::{OwnedValue, Str, Value};

use crate::dispatch::{Scene, unknown_method};
use crate::interface::{Emits, Method, Property};
use crate::manager::jobs;
use crate::paths::{self, Object};
use crate::reply::{Answer, Call};

pub(crate) const INTERFACE: &str = "org.freedesktop.systemd1.Job";

/// Its methods. Whoever asked for a job may take it back, which [`jobs::cancel`] looks at.
pub(crate) const METHODS: &[Method] = &[
    Method::everybody("Cancel", &[], &[]),
    Method::everybody("GetAfter", &[], &[("jobs", "a(usssoo)")]),
    Method::everybody("GetBefore", &[], &[("jobs", "a(usssoo)")]),
];

/// Its properties.
pub(crate) const PROPERTIES: &[Property] = &[
    Property::new("Id", "u", Emits::Const),
    Property::new("Unit", "(so)", Emits::Const),
    Property::new("JobType", "s", Emits::Const),
    Property::new("State", "s", Emits::Change),
    Property::new("ActivationDetails", "a(ss)", Emits::Const),
];

/// Answers a call.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, object: Object, member: &str) -> Answer {
    let Object::Job(id) = object else { return Err(unknown_method(member, Some(INTERFACE))) };
    match member {
        "Cancel" => jobs::cancel(scene, call, id),
        "GetAfter" => call.answer(&jobs::neighbours(scene.core, id, true)?),
        "GetBefore" => call.answer(&jobs::neighbours(scene.core, id, false)?),
        _ => Err(unknown_method(member, Some(INTERFACE))),
    }
}

/// The value of a property.
pub(crate) fn get(core: &Core, id: JobId, name: &str) -> Option<OwnedValue> {
    let job = core.queue.get(id)?;
    let value = match name {
        "Id" => return Some(OwnedValue::from(job.id.0)),
        "JobType" => return Some(OwnedValue::from(Str::from_static(job.kind.word()))),
        "State" => return Some(OwnedValue::from(Str::from_static(job.state.word()))),
        "Unit" => {
            let name = &core.unit(job.unit).name;
            Value::from((name.as_str(), paths::of_unit(name)))
        }
        // Which event of a timer or a path unit led to it: they are not kept.
        "ActivationDetails" => Value::from(Vec::<(String, String)>::new()),
        _ => return None,
    };
    OwnedValue::try_from(value).ok()
}
