// SPDX-License-Identifier: GPL-2.0-or-later
//! `/etc/machine-id` (machine-id(5)): read, made if it is missing, and where `/etc` cannot be written, one for this boot
//! laid over it. Also whether this is the first boot of this `/etc` (`ConditionFirstBoot=`).
//!
//! ```text
//!   the file          writable /etc                              read-only /etc
//!   an id             used                                       used
//!   "uninitialized"   an id for this boot laid over it; first boot; systemd-machine-id-commit writes it later
//!   missing           "uninitialized" is written, then the same  an id laid over it, if there is a file to lay it over
//!   empty             an id is written                           an id laid over it
//! ```

use std::fmt::Write as _;
use std::fs;

use rustix::mount::{MountFlags, mount_bind, mount_remount};

use super::{Machine, first_line};
use crate::say::say;
use crate::settings::value_of;

const FILE: &str = "/etc/machine-id";
const TRANSIENT: &str = "/run/machine-id";
const FIRST_BOOT: &str = "/run/systemd/first-boot";

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    Id(String),
    Uninitialized,
    Missing,
    Empty,
}

/// Sees to it that there is an id. Is this the first boot?
pub(crate) fn set_up(machine: &Machine) -> bool {
    let says = match fs::read_to_string(FILE) {
        Ok(text) => understand(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Says::Missing,
        Err(error) => {
            say!(Warning, "reading {FILE}: {error}");
            Says::Empty
        }
    };
    let first = match value_of(&machine.words, "systemd.condition-first-boot") {
        Some(b"0" | b"no" | b"false" | b"off") => false,
        Some(_) => true,
        None => matches!(says, Says::Uninitialized | Says::Missing),
    };
    if let Err(what) = settle(&says, machine) {
        say!(Warning, "{what}; programs that need the machine's id will fail");
    }
    if first && let Err(error) = fs::write(FIRST_BOOT, "") {
        say!(Warning, "writing {FIRST_BOOT}: {error}");
    }
    first
}

fn settle(says: &Says, machine: &Machine) -> Result<(), String> {
    if let Says::Id(_) = says {
        return Ok(());
    }
    let id = an_id(machine).map_err(|error| format!("making a machine id: {error}"))?;
    match says {
        Says::Missing => {
            let written = fs::write(FILE, "uninitialized\n");
            written.map_err(|error| format!("{FILE} is missing and cannot be written: {error}"))?;
            lay_over(&id)
        }
        Says::Empty if fs::write(FILE, &id).is_ok() => Ok(()),
        Says::Empty | Says::Uninitialized | Says::Id(_) => lay_over(&id),
    }
}

fn lay_over(id: &str) -> Result<(), String> {
    fs::write(TRANSIENT, id).map_err(|error| format!("writing {TRANSIENT}: {error}"))?;
    let laid = mount_bind(TRANSIENT, FILE).and_then(|()| {
        mount_remount(FILE, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")
    });
    laid.map_err(|error| format!("laying {TRANSIENT} over {FILE}: {}", std::io::Error::from(error)))
}

fn understand(text: &str) -> Says {
    match text.trim() {
        "" => Says::Empty,
        "uninitialized" => Says::Uninitialized,
        id => canonical(id).map_or(Says::Empty, Says::Id),
    }
}

/// 32 hexadecimal digits, not all zero, as the file has them; UUIDs with their dashes too.
fn canonical(id: &str) -> Option<String> {
    let digits: String = id.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let good = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && digits.bytes().any(|b| b != b'0');
    good.then_some(digits)
}

/// An id from who should know it, as systemd-machine-id-setup(1) asks: command line, container manager, D-Bus, virtual
/// machine; else by chance.
fn an_id(machine: &Machine) -> std::io::Result<String> {
    let said = value_of(&machine.words, "systemd.machine_id").and_then(|id| canonical(&String::from_utf8_lossy(id)));
    let known = said
        .or_else(|| std::env::var("container_uuid").ok().and_then(|id| canonical(&id)))
        .or_else(|| first_line("/var/lib/dbus/machine-id").and_then(|id| canonical(&id)))
        .or_else(|| if machine.container { None } else { virtual_machine() });
    let id = match known {
        Some(id) => id,
        None => by_chance()?,
    };
    Ok(format!("{id}\n"))
}

/// The id that the virtual machine's owner gave it. Only of those whose owners give each its own.
fn virtual_machine() -> Option<String> {
    let known = matches!(first_line("/sys/class/dmi/id/sys_vendor")?.as_str(), "QEMU" | "Amazon EC2");
    if !known || !on_hypervisor() {
        return None;
    }
    canonical(&first_line("/sys/class/dmi/id/product_uuid")?)
}

fn on_hypervisor() -> bool {
    fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|text| text.lines().any(|l| l.starts_with("flags") && l.contains(" hypervisor")))
}

/// A random UUID (RFC 9562, version 4).
fn by_chance() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // Early in boot the kernel may have no entropy yet; an id has to be its own, not secret.
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::INSECURE).or_else(|_| {
            rustix::rand::getrandom(bytes.get_mut(filled..).unwrap_or_default(), rustix::rand::GetRandomFlags::empty())
        })?;
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::new();
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says() {
        let id = "0123456789abcdef0123456789ABCDEF";
        assert_eq!(understand(&format!("{id}\n")), Says::Id(id.to_ascii_lowercase()));
        assert_eq!(understand("uninitialized\n"), Says::Uninitialized);
        for empty in ["", "\n", "short", &"0".repeat(32), &format!("{id}0"), &"g".repeat(32)] {
            assert_eq!(understand(empty), Says::Empty, "{empty:?}");
        }
        let uuid = canonical("01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(uuid.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn the_command_line_knows_best_and_chance_is_of_version_4() {
        let machine = Machine {
            container: true,
            words: vec![b"systemd.machine_id=ffffffffffffffffffffffffffffffff".to_vec()],
            arguments: vec![],
        };
        assert_eq!(an_id(&machine).unwrap(), format!("{}\n", "f".repeat(32)));
        let (one, two) = (by_chance().unwrap(), by_chance().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.len(), one.as_bytes()[12]), (32, b'4'));
        assert!(matches!(one.as_bytes()[16], b'8' | b'9' | b'a' | b'b'));
    }
}
