// SPDX-License-Identifier: GPL-2.0-or-later
//! Which object has which interfaces, and the document that says so (D-Bus Specification, "Introspection Data Format").

use std::fmt::Write as _;

use ssi_manager::core::Core;

use crate::interface::{Access, Emits, Interface, Method, Property, Signal};
use crate::paths::{self, Object};
use crate::{job, log_control, manager, properties, standard, unit_methods};

const HEAD: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
                    \"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";
/// The annotation for what only root may do.
const PRIVILEGED: &str = "org.freedesktop.systemd1.Privileged";
const PROPERTIES_SIGNALS: &[Signal] = &[Signal {
    name: "PropertiesChanged",
    carries: &[("interface_name", "s"), ("changed_properties", "a{sv}"), ("invalidated_properties", "as")],
}];

/// An interface's name with its methods.
pub(crate) type MethodTable = (&'static str, &'static [Method]);

/// The interfaces of an object that have methods.
pub(crate) fn method_tables(core: &Core, object: Object) -> Vec<MethodTable> {
    let mut tables: Vec<MethodTable> = vec![
        (standard::INTROSPECTABLE, standard::INTROSPECTABLE_METHODS),
        (standard::PROPERTIES, standard::PROPERTIES_METHODS),
    ];
    match object {
        Object::Manager => tables.push((manager::INTERFACE, manager::METHODS)),
        Object::Job(_) => tables.push((job::INTERFACE, job::METHODS)),
        Object::Unit(id) => tables.extend(unit_methods::tables(core.unit(id).unit_type())),
        Object::LogControl | Object::Folder => {}
    }
    tables
}

/// The interfaces of an object that have properties, in the order in which people see them.
pub(crate) fn property_interfaces(core: &Core, object: Object) -> Vec<&'static str> {
    match object {
        Object::Manager => vec![manager::INTERFACE],
        Object::Job(_) => vec![job::INTERFACE],
        Object::LogControl => vec![log_control::INTERFACE],
        Object::Unit(id) => {
            let all = properties::interfaces(core.unit(id).unit_type());
            let own = all.iter().copied().filter(|name| *name != unit_methods::INTERFACE);
            own.chain([unit_methods::INTERFACE]).collect()
        }
        Object::Folder => Vec::new(),
    }
}

/// The properties of an interface of units.
pub(crate) fn unit_properties(interface: &str) -> Vec<Property> {
    properties::list(interface)
        .iter()
        .map(|property| Property::new(property.name, property.signature, property.emits))
        .collect()
}

fn interfaces(core: &Core, object: Object) -> Vec<Interface> {
    let mut interfaces = vec![Interface {
        name: standard::PEER,
        methods: standard::PEER_METHODS.iter().collect(),
        properties: Vec::new(),
        signals: &[],
    }];
    for (name, methods) in method_tables(core, object) {
        let (properties, signals): (Vec<Property>, &'static [Signal]) = match (object, name) {
            (_, standard::PROPERTIES) => (Vec::new(), PROPERTIES_SIGNALS),
            (Object::Manager, _) if name == manager::INTERFACE => {
                (manager::properties::PROPERTIES.to_vec(), manager::SIGNALS)
            }
            (Object::Job(_), _) if name == job::INTERFACE => (job::PROPERTIES.to_vec(), &[]),
            (Object::Unit(_), _) if name.starts_with("org.freedesktop.systemd1.") => {
                (unit_properties(name), unit_methods::signals(name))
            }
            _ => (Vec::new(), &[]),
        };
        interfaces.push(Interface { name, methods: methods.iter().collect(), properties, signals });
    }
    if object == Object::LogControl {
        let properties = log_control::PROPERTIES.to_vec();
        interfaces.push(Interface { name: log_control::INTERFACE, methods: Vec::new(), properties, signals: &[] });
    }
    interfaces
}

/// The names of what is right below a path.
fn children(core: &Core, path: &str, object: Object) -> Vec<String> {
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match (path, object) {
        ("/", _) => known(&["org"]),
        ("/org", _) => known(&["freedesktop"]),
        ("/org/freedesktop", _) => known(&["LogControl1", "systemd1"]),
        (paths::UNITS, _) => core.table.iter().map(|unit| paths::escape(unit.name.as_str())).collect(),
        (paths::JOBS, _) => core.queue.jobs().map(|job| job.id.to_string()).collect(),
        (_, Object::Manager) => known(&["job", "unit"]),
        _ => Vec::new(),
    }
}

/// The document of an object.
pub(crate) fn document(core: &Core, path: &str, object: Object) -> String {
    let mut text = String::from(HEAD);
    text.push_str("<node>\n");
    for interface in interfaces(core, object) {
        write_interface(&mut text, &interface);
    }
    for child in children(core, path, object) {
        // What stands in a path needs no escape here.
        let _ = writeln!(text, " <node name=\"{child}\"/>");
    }
    text.push_str("</node>\n");
    text
}

fn annotation(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "   <annotation name=\"{name}\" value=\"{value}\"/>");
}

fn write_interface(text: &mut String, interface: &Interface) {
    let _ = writeln!(text, " <interface name=\"{}\">", interface.name);
    for method in &interface.methods {
        let _ = writeln!(text, "  <method name=\"{}\">", method.name);
        for (list, direction) in [(method.takes, "in"), (method.gives, "out")] {
            for (name, signature) in list {
                let _ = writeln!(text, "   <arg type=\"{signature}\" name=\"{name}\" direction=\"{direction}\"/>");
            }
        }
        if method.silent {
            annotation(text, "org.freedesktop.DBus.Method.NoReply", "true");
        }
        if method.access == Access::Privileged {
            annotation(text, PRIVILEGED, "true");
        }
        text.push_str("  </method>\n");
    }
    for signal in interface.signals {
        let _ = writeln!(text, "  <signal name=\"{}\">", signal.name);
        for (name, signature) in signal.carries {
            let _ = writeln!(text, "   <arg type=\"{signature}\" name=\"{name}\"/>");
        }
        text.push_str("  </signal>\n");
    }
    for property in &interface.properties {
        let access = if property.writable { "readwrite" } else { "read" };
        let (name, signature) = (property.name, property.signature);
        let _ = writeln!(text, "  <property name=\"{name}\" type=\"{signature}\" access=\"{access}\">");
        if property.emits != Emits::Change {
            annotation(text, "org.freedesktop.DBus.Property.EmitsChangedSignal", property.emits.word());
        }
        if property.writable {
            annotation(text, PRIVILEGED, "true");
        }
        text.push_str("  </property>\n");
    }
    text.push_str(" </interface>\n");
}
