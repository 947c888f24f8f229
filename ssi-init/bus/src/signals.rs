// SPDX-License-Identifier: GPL-2.0-or-later
//! What clients are told without having asked: units and jobs come and go, properties change.
//!
//! Those at the manager's own socket hear everything; the system bus hears it only while somebody there has subscribed,
//! or waits for the job or holds the unit it is about.

use std::collections::{BTreeSet, HashMap};

use ssi_manager::core::{Core, Outgoing};
use ssi_manager::graph::UnitId;
use ssi_manager::job::JobId;
use zbus::Message;
use zbus::export::serde::Serialize;
use zbus::zvariant::{DynamicType, OwnedValue};

use crate::clients::{Clients, To};
use crate::interface::Emits;
use crate::paths::{self, Object};
use crate::{introspect, job, manager, properties, standard};

/// Who listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audience {
    /// Somebody at the manager's own socket.
    pub(crate) peers: bool,
    /// The system bus is there.
    pub(crate) bus: bool,
}

fn emit<B: Serialize + DynamicType>(
    clients: &mut Clients,
    to: &[To],
    path: &str,
    interface: &str,
    name: &str,
    body: &B,
) {
    // Paths and names are made here and are well formed.
    if let Ok(message) = Message::signal(path, interface, name).and_then(|builder| builder.build(body)) {
        for to in to {
            clients.send(to.clone(), message.clone());
        }
    }
}

fn listeners(clients: &Clients, audience: Audience, job: Option<JobId>) -> Vec<To> {
    let mut to = Vec::new();
    if audience.peers {
        to.push(To::Peers);
    }
    if audience.bus && (!clients.subscribed.is_empty() || job.is_some_and(|job| clients.waited_for_on_bus(job))) {
        to.push(To::Bus);
    }
    to
}

/// Who hears of a unit: beside those who listen to all, clients on the bus that hold it, as `systemd-run --wait` does.
fn listeners_of(clients: &Clients, audience: Audience, core: &Core, id: UnitId) -> Vec<To> {
    let mut to = listeners(clients, audience, None);
    let held = || core.unit(id).runtime.held_by.iter().any(|holder| holder.starts_with(':'));
    if audience.bus && !to.contains(&To::Bus) && held() {
        to.push(To::Bus);
    }
    to
}

/// Reading files again begins, or is over.
pub(crate) fn reloading(clients: &mut Clients, active: bool) {
    let mut to = vec![To::Peers];
    if !clients.subscribed.is_empty() {
        to.push(To::Bus);
    }
    emit(clients, &to, paths::MANAGER, manager::INTERFACE, "Reloading", &active);
}

/// The boot is done; microseconds of its parts, and of all.
pub(crate) fn startup_finished(clients: &mut Clients, audience: Audience, parts: (u64, u64, u64, u64, u64, u64)) {
    let to = listeners(clients, audience, None);
    emit(clients, &to, paths::MANAGER, manager::INTERFACE, "StartupFinished", &parts);
}

/// Tells what happened in a turn, in its order; what changed about a unit is told once, before the unit is gone or a job
/// that it was about is over.
pub(crate) fn tell<'a>(
    clients: &mut Clients,
    audience: Audience,
    core: &Core,
    outgoing: impl Iterator<Item = &'a Outgoing>,
) {
    let mut changed: Vec<UnitId> = Vec::new();
    let mut changed_set: BTreeSet<UnitId> = BTreeSet::new();
    let mut jobs: BTreeSet<JobId> = BTreeSet::new();
    let mut after: Vec<&Outgoing> = Vec::new();
    for one in outgoing {
        match one {
            Outgoing::UnitNew(id) => unit_new(clients, audience, core, *id),
            Outgoing::UnitChanged(id) => {
                if changed_set.insert(*id) {
                    changed.push(*id);
                }
            }
            Outgoing::JobNew { job, unit } => job_new(clients, audience, core, *job, *unit),
            Outgoing::JobChanged { job } => {
                jobs.insert(*job);
            }
            Outgoing::JobRemoved { .. } | Outgoing::UnitRemoved { .. } => after.push(one),
            Outgoing::ClusterSays => crate::cluster::changed(clients),
            Outgoing::Action { .. } => {}
        }
    }
    for id in changed.into_iter().filter(|id| core.table.contains(*id)) {
        let to = listeners_of(clients, audience, core, id);
        if !to.is_empty() {
            unit_changed(clients, &to, core, id);
        }
    }
    for id in jobs {
        job_changed(clients, audience, core, id);
    }
    for one in after {
        match one {
            Outgoing::JobRemoved { job, unit, result } => {
                let to = listeners(clients, audience, Some(*job));
                let body = (job.0, paths::of_job(*job), unit.as_str(), result.word());
                emit(clients, &to, paths::MANAGER, manager::INTERFACE, "JobRemoved", &body);
                clients.job_over(*job);
            }
            Outgoing::UnitRemoved { name } => {
                let to = listeners(clients, audience, None);
                let body = (name.as_str(), paths::of_unit(name));
                emit(clients, &to, paths::MANAGER, manager::INTERFACE, "UnitRemoved", &body);
            }
            _ => {}
        }
    }
    if std::mem::take(&mut clients.files_changed) {
        let to = listeners(clients, audience, None);
        emit(clients, &to, paths::MANAGER, manager::INTERFACE, "UnitFilesChanged", &());
    }
}

fn unit_new(clients: &mut Clients, audience: Audience, core: &Core, id: UnitId) {
    // One that was found to be another's other name in the same turn has never been there for anybody.
    if !core.table.contains(id) {
        return;
    }
    let to = listeners_of(clients, audience, core, id);
    if to.is_empty() {
        return;
    }
    let name = &core.unit(id).name;
    emit(clients, &to, paths::MANAGER, manager::INTERFACE, "UnitNew", &(name.as_str(), paths::of_unit(name)));
}

fn job_new(clients: &mut Clients, audience: Audience, core: &Core, job: JobId, unit: UnitId) {
    let to = listeners(clients, audience, Some(job));
    if !to.is_empty() {
        let name = core.unit(unit).name.as_str();
        emit(clients, &to, paths::MANAGER, manager::INTERFACE, "JobNew", &(job.0, paths::of_job(job), name));
    }
}

/// The names of properties that a change of a unit is told with, values and invalidations apart.
type Emitted = (Vec<&'static str>, Vec<&'static str>);

/// Tells of a unit's properties: those of its type, then those that all units have.
fn unit_changed(clients: &mut Clients, to: &[To], core: &Core, id: UnitId) {
    let path = paths::of_unit(&core.unit(id).name);
    for interface in introspect::property_interfaces(core, Object::Unit(id)) {
        let (mut values, mut invalid): Emitted = (Vec::new(), Vec::new());
        for property in properties::list(interface) {
            match property.emits {
                Emits::Change => values.push(property.name),
                Emits::Invalidation => invalid.push(property.name),
                Emits::Const | Emits::Nothing => {}
            }
        }
        let value = |name| properties::get(core, id, interface, name, &properties::Unknown);
        let values: HashMap<&str, OwnedValue> =
            values.into_iter().filter_map(|name| Some((name, value(name)?))).collect();
        if !values.is_empty() || !invalid.is_empty() {
            emit(clients, to, path.as_str(), standard::PROPERTIES, "PropertiesChanged", &(interface, values, invalid));
        }
    }
}

fn job_changed(clients: &mut Clients, audience: Audience, core: &Core, id: JobId) {
    let to = listeners(clients, audience, Some(id));
    if to.is_empty() {
        return;
    }
    let names = job::PROPERTIES.iter().filter(|property| property.emits == Emits::Change).map(|property| property.name);
    let values: HashMap<&str, OwnedValue> = names.filter_map(|name| Some((name, job::get(core, id, name)?))).collect();
    // One that is over already is told of as that.
    if !values.is_empty() {
        let path = paths::of_job(id);
        let body = (job::INTERFACE, values, Vec::<&str>::new());
        emit(clients, &to, path.as_str(), standard::PROPERTIES, "PropertiesChanged", &body);
    }
}
