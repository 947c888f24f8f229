// SPDX-License-Identifier: GPL-2.0-or-later
//! From a call to the function that answers it: which object, which interface, may the client, do the arguments fit.
//!
//! What does not fit is refused in the words of sd-bus(3): programs and people compare them.

use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_unit::name::UnitName;

use crate::clients::Clients;
use crate::host::Host;
use crate::interface::{Access, Method};
use crate::paths::{self, Object};
use crate::reply::{Answer, Call, names};
use crate::transport::system::BUS;
use crate::{cluster, inspection, introspect, job, log_control, manager, standard, unit_methods};

/// What methods work on.
pub(crate) struct Scene<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) clients: &'a mut Clients,
}

/// Answers one call.
pub(crate) fn answer(scene: &mut Scene<'_>, call: &Call) -> Answer {
    let header = call.message.header();
    let path = header.path().map(|path| path.as_str()).unwrap_or_default();
    let interface = header.interface().map(|interface| interface.as_str());
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    // A ping is for the process, whatever path it names.
    if interface == Some(standard::PEER) {
        return standard::peer(scene, call, member);
    }
    if interface == Some(BUS) {
        return standard::bus(call, member);
    }
    if interface == Some(inspection::INTERFACE) {
        return inspection::call(scene, call, member);
    }
    if interface == Some(ssi_cluster::scope::manager::INTERFACE) {
        return cluster::call(scene, call, member);
    }
    let object = object(scene, call, path)?;
    let tables = introspect::method_tables(scene.core, object);
    let found = tables
        .iter()
        .filter(|(name, _)| interface.is_none_or(|wanted| wanted == *name))
        .find_map(|(name, methods)| methods.iter().find(|method| method.name == member).map(|method| (*name, method)));
    let Some((interface, method)) = found else { return Err(unknown_method(member, interface)) };
    check(call, interface, method)?;
    match interface {
        standard::INTROSPECTABLE => standard::introspect(scene, call, path, object),
        standard::PROPERTIES => standard::properties(scene, call, object, member),
        manager::INTERFACE => manager::call(scene, call, member),
        job::INTERFACE => job::call(scene, call, object, member),
        log_control::INTERFACE => Err(unknown_method(member, Some(interface))),
        _ => match object {
            Object::Unit(id) => unit_methods::call(scene, call, id, member),
            _ => Err(unknown_method(member, Some(interface))),
        },
    }
}

pub(crate) fn unknown_method(member: &str, interface: Option<&str>) -> CommandError {
    let text = format!("Unknown method {member} or interface {}.", interface.unwrap_or("(none)"));
    CommandError::new(names::UNKNOWN_METHOD, text)
}

/// Whether the client may, and whether it gave what the method takes.
fn check(call: &Call, interface: &str, method: &Method) -> Result<(), CommandError> {
    if !call.is_root() {
        match method.access {
            Access::Everybody => {}
            // What systemd says where no polkit is that could be asked.
            Access::Change => return Err(CommandError::new(names::ACCESS_DENIED, "Permission denied")),
            Access::Privileged => {
                let text = format!("Access to {interface}.{}() not permitted.", method.name);
                return Err(CommandError::new(names::ACCESS_DENIED, text));
            }
        }
    }
    let given = call.message.body().signature().to_string_no_parens();
    let wanted = method.signature();
    if given != wanted {
        let text = format!("Invalid arguments '{given}' to call {interface}.{}(), expecting '{wanted}'.", method.name);
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    }
    Ok(())
}

/// What stands at a path. A unit that is named there is loaded if it was not.
fn object(scene: &mut Scene<'_>, call: &Call, path: &str) -> Result<Object, CommandError> {
    let unknown = || CommandError::new(names::UNKNOWN_OBJECT, format!("Unknown object '{path}'."));
    match path {
        paths::MANAGER => return Ok(Object::Manager),
        paths::LOG_CONTROL => return Ok(Object::LogControl),
        "/" | "/org" | "/org/freedesktop" | paths::UNITS | paths::JOBS => return Ok(Object::Folder),
        _ => {}
    }
    let (folder, last) = path.rsplit_once('/').ok_or_else(unknown)?;
    match folder {
        paths::UNITS if last == "self" => manager::units::of_client(scene.core, call).map(Object::Unit),
        paths::UNITS => {
            let text = paths::unescape(last).ok_or_else(unknown)?;
            if let Some(id) = manager::units::of_invocation(scene.core, &text) {
                return Ok(Object::Unit(id));
            }
            let name = UnitName::new(&text).map_err(|_| unknown())?;
            if name.is_template() {
                return Err(unknown());
            }
            Ok(Object::Unit(scene.core.load(&name)))
        }
        paths::JOBS => {
            let number = last.parse().map_err(|_| unknown())?;
            let job = ssi_manager::job::JobId(number);
            scene.core.queue.get(job).map(|job| Object::Job(job.id)).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}
