// SPDX-License-Identifier: GPL-2.0-or-later
//! The interfaces of the D-Bus specification itself that every object has: Peer, Introspectable, Properties; and, at the
//! manager's own socket, as much of the bus's own as lets a client in that takes whatever it connects to for a bus
//! (`busctl --address=unix:path=/run/systemd/private`).

use std::collections::HashMap;

use ssi_manager::core::commands::{CommandError, errors};
use zbus::zvariant::{OwnedValue, Value};

use crate::dispatch::{Scene, unknown_method};
use crate::interface::{Method, Property};
use crate::paths::Object;
use crate::reply::{Answer, Call, names};
use crate::transport::system::BUS;
use crate::transport::{Client, PeerId};
use crate::{introspect, job, log_control, manager, unit_view};

pub(crate) const PEER: &str = "org.freedesktop.DBus.Peer";
pub(crate) const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Methods of [`PEER`].
pub(crate) const PEER_METHODS: &[Method] =
    &[Method::everybody("Ping", &[], &[]), Method::everybody("GetMachineId", &[], &[("machine_uuid", "s")])];
/// Methods of [`INTROSPECTABLE`].
pub(crate) const INTROSPECTABLE_METHODS: &[Method] = &[Method::everybody("Introspect", &[], &[("xml_data", "s")])];
/// Methods of [`PROPERTIES`]. Who may set what is a matter of the property.
pub(crate) const PROPERTIES_METHODS: &[Method] = &[
    Method::everybody("Get", &[("interface_name", "s"), ("property_name", "s")], &[("value", "v")]),
    Method::everybody("GetAll", &[("interface_name", "s")], &[("props", "a{sv}")]),
    Method::everybody("Set", &[("interface_name", "s"), ("property_name", "s"), ("value", "v")], &[]),
];

/// A call to [`PEER`].
pub(crate) fn peer(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    match member {
        "Ping" => call.done(),
        "GetMachineId" => match scene.host.unit_files().machine.machine_id {
            Some(id) => call.answer(&id),
            None => Err(CommandError::new(errors::FAILED, "this machine has no id; see machine-id(5)")),
        },
        _ => Err(unknown_method(member, Some(PEER))),
    }
}

/// A call of a peer to a bus that is not there: it gets a name, and hears all signals whether it asked or not.
pub(crate) fn bus(call: &Call, member: &str) -> Answer {
    match (&call.client, member) {
        (Client::Peer(PeerId(number)), "Hello") => call.answer(&format!(":0.{number}")),
        (Client::Peer(_), "AddMatch" | "RemoveMatch") => call.done(),
        _ => Err(unknown_method(member, Some(BUS))),
    }
}

/// A call to [`INTROSPECTABLE`].
pub(crate) fn introspect(scene: &mut Scene<'_>, call: &Call, path: &str, object: Object) -> Answer {
    call.answer(&introspect::document(scene.core, path, object))
}

/// A call to [`PROPERTIES`].
pub(crate) fn properties(scene: &mut Scene<'_>, call: &Call, object: Object, member: &str) -> Answer {
    match member {
        "Get" => {
            let (interface, name): (String, String) = call.body()?;
            let value = get(scene, object, &interface, &name).ok_or_else(unknown_property)?;
            call.answer(&Value::from(value))
        }
        "GetAll" => {
            let interface: String = call.body()?;
            let mut all = Vec::new();
            let mut known = interface.is_empty() || [PEER, INTROSPECTABLE, PROPERTIES].contains(&interface.as_str());
            for own in introspect::property_interfaces(scene.core, object) {
                // No name stands for all of them: systemctl(1) asks like that.
                if interface.is_empty() || interface == own {
                    known = true;
                    all.extend(get_all(scene, object, own));
                }
            }
            if !known {
                let text = format!("Unknown interface '{interface}'.");
                return Err(CommandError::new(names::UNKNOWN_INTERFACE, text));
            }
            call.answer(&Dictionary(all))
        }
        "Set" => {
            let (interface, name, value): (String, String, OwnedValue) = call.body()?;
            set(scene, call, object, &interface, &name, &value)
        }
        _ => Err(unknown_method(member, Some(PROPERTIES))),
    }
}

/// Names and values in an order that is kept: people read them as `systemctl show` lists them.
struct Dictionary(Vec<(&'static str, OwnedValue)>);

impl zbus::zvariant::Type for Dictionary {
    const SIGNATURE: &'static zbus::zvariant::Signature =
        <HashMap<&str, Value<'static>> as zbus::zvariant::Type>::SIGNATURE;
}

impl serde::Serialize for Dictionary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn unknown_property() -> CommandError {
    CommandError::new(names::UNKNOWN_PROPERTY, "Unknown property or interface.")
}

fn get(scene: &Scene<'_>, object: Object, interface: &str, name: &str) -> Option<OwnedValue> {
    match (object, interface) {
        (Object::Manager, manager::INTERFACE) => manager::properties::get(scene, name),
        (Object::Job(id), job::INTERFACE) => job::get(scene.core, id, name),
        (Object::LogControl, log_control::INTERFACE) => log_control::get(scene, name),
        (Object::Unit(id), _) => unit_view::get(scene.core, scene.host, id, interface, name),
        _ => None,
    }
}

fn get_all(scene: &Scene<'_>, object: Object, interface: &str) -> Vec<(&'static str, OwnedValue)> {
    match object {
        Object::Unit(id) => unit_view::all(scene.core, scene.host, id, interface),
        Object::Manager => manager::properties::all(scene),
        _ => {
            let names = table(object).iter().map(|property| property.name);
            names.filter_map(|name| Some((name, get(scene, object, interface, name)?))).collect()
        }
    }
}

fn table(object: Object) -> &'static [Property] {
    match object {
        Object::Manager => manager::properties::PROPERTIES,
        Object::Job(_) => job::PROPERTIES,
        Object::LogControl => log_control::PROPERTIES,
        Object::Unit(_) | Object::Folder => &[],
    }
}

fn set(scene: &mut Scene<'_>, call: &Call, object: Object, interface: &str, name: &str, value: &OwnedValue) -> Answer {
    if get(scene, object, interface, name).is_none() {
        return Err(unknown_property());
    }
    let Some(property) = table(object).iter().find(|property| property.name == name && property.writable) else {
        let text = format!("Property '{name}' is not writable.");
        return Err(CommandError::new(names::PROPERTY_READ_ONLY, text));
    };
    if !call.is_root() {
        let text = format!("Access to {interface}.{name} not permitted.");
        return Err(CommandError::new(names::ACCESS_DENIED, text));
    }
    if value.value_signature().to_string() != property.signature {
        let text = format!(
            "Incorrect parameters for property '{name}', expected '{}', got '{}'.",
            property.signature,
            value.value_signature()
        );
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    }
    manager::properties::set(scene, name, value)?;
    call.done()
}
