// SPDX-License-Identifier: GPL-2.0-or-later
//! The host's name: `systemd.hostname=` on the command line, else `/etc/hostname`, else what it is already (hostname(5)).

use super::{Machine, first_line};
use crate::say::say;
use crate::settings::value_of;

/// Sets it.
pub(crate) fn set_host_name(machine: &Machine) {
    let said = value_of(&machine.words, "systemd.hostname").map(|name| String::from_utf8_lossy(name).into_owned());
    let chosen = said.filter(|name| is_host_name(name)).or_else(|| first_line("/etc/hostname"));
    let current = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = match chosen {
        Some(name) if is_host_name(&name) => name,
        Some(name) => {
            say!(Warning, "the host name {name:?} is none: letters, digits, '-' and '.', at most 64");
            return;
        }
        // The kernel's own word for "no name".
        None if current.is_empty() || current == "(none)" => "localhost".to_owned(),
        None => return,
    };
    if name == current {
        return;
    }
    if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
        say!(Warning, "setting the host name {name}: {}", std::io::Error::from(error));
    }
}

/// What sethostname(2) and hostname(5) take.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 64 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::is_host_name;

    #[test]
    fn host_names_are_told_from_other_text() {
        for good in ["a", "node1", "node-1.example.org", &"x".repeat(64)] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
