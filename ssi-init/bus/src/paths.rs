// SPDX-License-Identifier: GPL-2.0-or-later
//! Object paths: `/org/freedesktop/systemd1/unit/ssh_2eservice`, `/org/freedesktop/systemd1/job/7`.
//!
//! What may not stand in a path's component is written as an underscore and two hexadecimal digits; so is a digit at the
//! begin, and nothing at all is a lone underscore (sd_bus_path_encode(3)).

use ssi_manager::graph::UnitId;
use ssi_manager::job::JobId;
use ssi_unit::name::UnitName;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

/// The manager.
pub(crate) const MANAGER: &str = "/org/freedesktop/systemd1";
/// Units are below it.
pub(crate) const UNITS: &str = "/org/freedesktop/systemd1/unit";
/// Jobs are below it.
pub(crate) const JOBS: &str = "/org/freedesktop/systemd1/job";
/// org.freedesktop.LogControl1(5).
pub(crate) const LOG_CONTROL: &str = "/org/freedesktop/LogControl1";

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// The manager.
    Manager,
    /// A unit.
    Unit(UnitId),
    /// A job.
    Job(JobId),
    /// What is logged, and where to.
    LogControl,
    /// Nothing, and something below it.
    Folder,
}

/// One component of a path that stands for any text.
pub(crate) fn escape(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for (place, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && place > 0) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("_{byte:02x}"));
        }
    }
    escaped
}

/// The text a component stands for. An underscore without two digits behind it stands for itself, as there.
pub(crate) fn unescape(component: &str) -> Option<String> {
    if component == "_" {
        return Some(String::new());
    }
    let bytes = component.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match (byte, digits.and_then(|digits| std::str::from_utf8(digits).ok())) {
            (b'_', Some(digits)) => {
                text.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            }
            _ => {
                text.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(text).ok()
}

/// A path made of what [`escape`] lets through.
fn owned(text: String) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(text).into()
}

/// A unit's path.
pub(crate) fn of_unit(name: &UnitName) -> OwnedObjectPath {
    owned(format!("{UNITS}/{}", escape(name.as_str())))
}

/// A job's path.
pub(crate) fn of_job(job: JobId) -> OwnedObjectPath {
    owned(format!("{JOBS}/{job}"))
}

/// Where there is nothing to point to.
pub(crate) fn root() -> OwnedObjectPath {
    owned("/".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_systemctl_shows_them() {
        for (name, path) in [
            ("ssh.service", "ssh_2eservice"),
            ("-.mount", "_2d_2emount"),
            ("getty@tty1.service", "getty_40tty1_2eservice"),
            ("3.target", "_33_2etarget"),
            ("a_b.slice", "a_5fb_2eslice"),
            ("", "_"),
        ] {
            assert_eq!(escape(name), path);
            assert_eq!(unescape(path).as_deref(), Some(name));
        }
    }

    proptest! {
        #[test]
        fn there_and_back(text in "\\PC{0,40}") {
            let escaped = escape(&text);
            let path = format!("{UNITS}/{escaped}");
            prop_assert!(ObjectPath::try_from(path.as_str()).is_ok());
            prop_assert_eq!(unescape(&escaped), Some(text));
        }

        #[test]
        fn nothing_is_too_odd(text in ".{0,40}") {
            let _ = unescape(&text);
        }
    }
}
