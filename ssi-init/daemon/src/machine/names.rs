// SPDX-License-Identifier: GPL-2.0-or-later
//! Users and groups by their names, from passwd(5) and group(5).
//!
//! No other source of names is asked: a lookup may need the network, or a service that this manager is yet to start, and
//! it must not wait for either.

use std::path::Path;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user's number and that of its group, by its name or its number.
pub(super) fn user(name: &str) -> Option<(u32, u32)> {
    user_in(Path::new(PASSWD), name)
}

/// A group's number, by its name or its number.
pub(super) fn group(name: &str) -> Option<u32> {
    group_in(Path::new(GROUP), name)
}

fn field(line: &str, place: usize) -> Option<&str> {
    line.split(':').nth(place)
}

fn user_in(file: &Path, name: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let number: Option<u32> = name.parse().ok();
    let is = |line: &&str| {
        field(line, 0) == Some(name) || (number.is_some() && field(line, 2).and_then(|id| id.parse().ok()) == number)
    };
    let found =
        text.lines().find(is).and_then(|line| Some((field(line, 2)?.parse().ok()?, field(line, 3)?.parse().ok()?)));
    found.or(number.map(|number| (number, number)))
}

fn group_in(file: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find(|line| field(line, 0) == Some(name)).and_then(|line| field(line, 2)?.parse().ok());
    found.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("passwd");
        std::fs::write(&file, "root:x:0:0::/:/bin/sh\nwww:x:33:34::/:/bin/sh\nbroken:x\n").unwrap();
        assert_eq!(user_in(&file, "www"), Some((33, 34)));
        assert_eq!(user_in(&file, "33"), Some((33, 34)));
        assert_eq!(user_in(&file, "77"), Some((77, 77)));
        assert_eq!((user_in(&file, "broken"), user_in(&file, "nobody")), (None, None));
        assert_eq!((group_in(&file, "www"), group_in(&file, "5")), (Some(33), Some(5)));
    }
}
