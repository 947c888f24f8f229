// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager as a whole: who hears of it, its environment, reading files again, its end and the machine's.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;
use ssi_manager::core::commands::{CommandError, errors};
use zbus::zvariant::Fd;

use crate::dispatch::{Scene, unknown_method};
use crate::host::{End, Setting};
use crate::reply::{Answer, Call, names};
use crate::signals;
use crate::transport::Client;

/// The methods about the manager as a whole.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    match member {
        "Subscribe" | "Unsubscribe" => return subscribe(scene, call, member == "Subscribe"),
        "ResetFailed" => scene.core.reset_all_failed(),
        "SetShowStatus" => scene.host.set(Setting::ShowStatus(call.body()?))?,
        "Dump" => return call.answer(&scene.host.dump(scene.core, &[])),
        "DumpUnitsMatchingPatterns" => {
            let patterns: Vec<String> = call.body()?;
            return call.answer(&scene.host.dump(scene.core, &patterns));
        }
        "DumpByFileDescriptor" => return by_descriptor(scene, call, &[]),
        "DumpUnitsMatchingPatternsByFileDescriptor" => {
            let patterns: Vec<String> = call.body()?;
            return by_descriptor(scene, call, &patterns);
        }
        "Reload" => {
            signals::reloading(scene.clients, true);
            let outcome = scene.host.reload(scene.core);
            signals::reloading(scene.clients, false);
            outcome?;
        }
        "Reexecute" => {
            scene.host.reexecute(scene.core)?;
            // The end of the connection is the answer.
            return Ok(None);
        }
        "Exit" => scene.host.end(scene.core, End::Exit)?,
        "Reboot" => scene.host.end(scene.core, End::Reboot)?,
        "PowerOff" => scene.host.end(scene.core, End::PowerOff)?,
        "Halt" => scene.host.end(scene.core, End::Halt)?,
        "KExec" => scene.host.end(scene.core, End::Kexec)?,
        "SwitchRoot" => {
            let (root, init): (String, String) = call.body()?;
            if !root.starts_with('/') || (!init.is_empty() && !init.starts_with('/')) {
                let text = "Switch root and init paths must be absolute.";
                return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
            }
            scene.host.switch_root(scene.core, &root, &init)?;
        }
        "SetEnvironment" => environment(scene, &[], &call.body::<Vec<String>>()?)?,
        "UnsetEnvironment" => environment(scene, &call.body::<Vec<String>>()?, &[])?,
        "UnsetAndSetEnvironment" => {
            let (unset, set): (Vec<String>, Vec<String>) = call.body()?;
            environment(scene, &unset, &set)?;
        }
        "SetExitCode" => scene.host.set_exit_code(call.body()?)?,
        "LookupDynamicUserByName" => {
            let name: String = call.body()?;
            let found = scene.host.dynamic_users().into_iter().find(|(_, known)| *known == name);
            let uid = found.map(|(uid, _)| uid).ok_or_else(|| no_dynamic_user(&name))?;
            return call.answer(&uid);
        }
        "LookupDynamicUserByUID" => {
            let uid: u32 = call.body()?;
            let found = scene.host.dynamic_users().into_iter().find(|(known, _)| *known == uid);
            let name = found.map(|(_, name)| name).ok_or_else(|| no_dynamic_user(&uid.to_string()))?;
            return call.answer(&name);
        }
        "GetDynamicUsers" => return call.answer(&scene.host.dynamic_users()),
        _ => return Err(unknown_method(member, Some(super::INTERFACE))),
    }
    call.done()
}

fn no_dynamic_user(which: &str) -> CommandError {
    CommandError::new(names::NO_SUCH_DYNAMIC_USER, format!("Dynamic user {which} does not exist."))
}

fn subscribe(scene: &mut Scene<'_>, call: &Call, on: bool) -> Answer {
    // A client without a bus between hears everything anyway.
    if let Client::Bus(name) = &call.client {
        if on && !scene.clients.subscribe(name) {
            return Err(CommandError::new(names::ALREADY_SUBSCRIBED, "Client is already subscribed."));
        }
        if !on && !scene.clients.unsubscribe(name) {
            return Err(CommandError::new(names::NOT_SUBSCRIBED, "Client is not subscribed."));
        }
    }
    call.done()
}

/// Whether a text may be the name of a variable.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text is an assignment of a value that programs can be given.
fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, value)| {
        is_variable(name) && value.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n'))
    })
}

fn environment(scene: &mut Scene<'_>, unset: &[String], set: &[String]) -> Result<(), CommandError> {
    let invalid = |text| Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    if !set.iter().all(|text| is_assignment(text)) {
        return invalid("Invalid environment assignments");
    }
    if !unset.iter().all(|text| is_variable(text) || is_assignment(text)) {
        return invalid("Invalid environment variable names or assignments");
    }
    scene.host.set_environment(unset, set)
}

/// A dump in a file in memory: it may be longer than a message.
fn by_descriptor(scene: &mut Scene<'_>, call: &Call, patterns: &[String]) -> Answer {
    let failed = |error: std::io::Error| {
        CommandError::new(errors::FAILED, format!("the dump cannot be put into a file in memory: {error}"))
    };
    let text = scene.host.dump(scene.core, patterns);
    let fd = rustix::fs::memfd_create("dump", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text.as_bytes()).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(failed)?;
    call.answer(&Fd::from(OwnedFd::from(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_set() {
        for good in ["A=", "LANG=C.UTF-8", "_x9=a b\tc"] {
            assert!(is_assignment(good), "{good}");
        }
        for bad in ["", "=", "A", "9A=b", "A B=c", "A=\u{1}"] {
            assert!(!is_assignment(bad), "{bad}");
        }
    }
}
