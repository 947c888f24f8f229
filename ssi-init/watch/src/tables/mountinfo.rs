// SPDX-License-Identifier: GPL-2.0-or-later
//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), and what mount(8) notes beside it in `/run/mount/utab`.
//!
//! ```text
//!   36 35 98:0 /root /place rw,noatime master:1 - ext3 /dev/sda1 rw,errors=continue
//!   id    │    │     │      │          optional   │    │         options of the file system
//!         │    │     place  options    fields     type what
//!         device root
//! ```

use ssi_manager::core::mount::Mounted;

use super::escape::text;

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What a unit follows.
    pub mounted: Mounted,
    /// Which part of the file system is mounted.
    pub root: String,
    /// Number of the device: major and minor.
    pub device: (u32, u32),
}

/// Reads the table; gives what could be read of it, and what is wrong with the rest.
pub fn parse(table: &[u8]) -> (Vec<Entry>, Vec<String>) {
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for line in table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match entry(line) {
            Some(entry) => entries.push(entry),
            None => wrong.push(format!(
                "a line of the table of mounts is not understood, or names what is no UTF-8: {}",
                String::from_utf8_lossy(line)
            )),
        }
    }
    (entries, wrong)
}

fn entry(line: &[u8]) -> Option<Entry> {
    // An empty field, such as what is mounted where nothing was told, leaves two blanks in a row.
    let mut fields = line.split(|byte| *byte == b' ');
    let (_id, _parent) = (fields.next()?, fields.next()?);
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = text(fields.next()?)?;
    let place = text(fields.next()?)?;
    let own = text(fields.next()?)?;
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = text(fields.next()?)?;
    let what = text(fields.next()?)?;
    let shared = text(fields.next().unwrap_or_default())?;
    Some(Entry { mounted: Mounted { what, place, options: join(&own, &shared), kind }, root, device })
}

/// The options of a mount and of its file system as one list, as libmount tells them: it is read-only when either is.
fn join(own: &str, shared: &str) -> String {
    let all = || own.split(',').chain(shared.split(','));
    let access = if all().any(|option| option == "ro") { "ro" } else { "rw" };
    let mut joined = access.to_owned();
    for option in all().filter(|option| !matches!(*option, "" | "ro" | "rw")) {
        joined.push(',');
        joined.push_str(option);
    }
    joined
}

/// A line of utab: options that only user space knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    what: Option<String>,
    place: String,
    root: Option<String>,
    options: String,
}

/// Adds the options that mount(8) noted.
pub fn add_noted(entries: &mut [Entry], utab: &[u8]) {
    let mut taken = vec![false; entries.len()];
    for note in utab.split(|byte| *byte == b'\n').filter_map(note) {
        let fits = |entry: &Entry| {
            entry.mounted.place == note.place
                && note.root.as_ref().is_none_or(|root| *root == entry.root)
                && note.what.as_ref().is_none_or(|what| *what == entry.mounted.what)
        };
        // Of several mounts at one place the last one is on top.
        let found = entries.iter_mut().zip(&mut taken).rev().find(|(entry, taken)| !**taken && fits(entry));
        if let Some((entry, taken)) = found {
            *taken = true;
            entry.mounted.options.push(',');
            entry.mounted.options.push_str(&note.options);
        }
    }
}

fn note(line: &[u8]) -> Option<Note> {
    let mut note = Note::default();
    for field in line.split(|byte| *byte == b' ') {
        let Some(equals) = field.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = field.split_at(equals);
        let value = text(value.get(1..).unwrap_or_default())?;
        match name {
            b"SRC" => note.what = Some(value),
            b"TARGET" => note.place = value,
            b"ROOT" => note.root = Some(value),
            b"OPTS" => note.options = value,
            _ => {}
        }
    }
    (!note.place.is_empty() && !note.options.is_empty()).then_some(note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[u8] = br"22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
36 35 98:0 /mnt1 /mnt\0402 ro,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue
40 35 0:44 / /empty rw - tmpfs  rw,size=4k
41 35 0:45 / /old rw - nfs4 host:/x rw,vers=4.2
what is this
";

    #[test]
    fn lines_of_a_kernel() {
        let (entries, wrong) = parse(TABLE);
        let shown: Vec<_> = entries
            .iter()
            .map(|Entry { mounted, root, device }| {
                let Mounted { what, place, options, kind } = mounted;
                format!("{what}|{place}|{options}|{kind}|{root}|{}:{}", device.0, device.1)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "proc|/proc|rw,relatime|proc|/|0:21",
                "/dev/root|/mnt 2|ro,noatime,errors=continue|ext3|/mnt1|98:0",
                "|/empty|rw,size=4k|tmpfs|/|0:44",
                "host:/x|/old|rw,vers=4.2|nfs4|/|0:45",
            ]
        );
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn what_user_space_noted_is_added_where_it_belongs() {
        let (mut entries, _) = parse(TABLE);
        let utab = br"SRC=host:/x TARGET=/old ROOT=/ OPTS=_netdev,x-a=\040b
SRC=/dev/other TARGET=/mnt\0402 ROOT=/mnt1 OPTS=nofail
ATTRS=1 TARGET=/proc OPTS=
";
        add_noted(&mut entries, utab);
        let options: Vec<_> = entries.iter().map(|entry| entry.mounted.options.as_str()).collect();
        assert_eq!(options[3], "rw,vers=4.2,_netdev,x-a= b");
        assert_eq!((options[0], options[1]), ("rw,relatime", "ro,noatime,errors=continue"));
    }

    #[test]
    fn the_table_of_this_machine() {
        let table = std::fs::read("/proc/self/mountinfo").unwrap();
        let (entries, wrong) = parse(&table);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(entries.len(), table.iter().filter(|byte| **byte == b'\n').count());
        assert!(entries.iter().any(|entry| entry.mounted.place == "/proc" && entry.mounted.kind == "proc"));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(table in proptest::collection::vec(any::<u8>(), 0..200),
                             utab in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut entries, _) = parse(&table);
            add_noted(&mut entries, &utab);
        }

        #[test]
        fn nothing_like_a_table_upsets_it(table in "([0-9]{1,11} ?|[:/ -]|\\\\[0-8]{0,4}|[a-z,]{0,4}|\n){0,60}",
                                          utab in "((SRC|TARGET|ROOT|OPTS)?=?|[ \n/a\\\\0-9]){0,60}") {
            let (mut entries, _) = parse(table.as_bytes());
            add_noted(&mut entries, utab.as_bytes());
        }

        #[test]
        fn a_line_says_what_was_put_in(place in "/[a-z /\\\\\t]{0,20}", what in "[a-z /:]{0,20}", optional in "(shared:[0-9] ){0,3}") {
            let escape = |text: &str| -> String {
                text.chars().map(|c| if " \t\\".contains(c) { format!("\\{:03o}", c as u32) } else { c.into() }).collect()
            };
            let line = format!("1 2 3:4 / {} rw {optional}- ext4 {} rw\n", escape(&place), escape(&what));
            let (entries, wrong) = parse(line.as_bytes());
            prop_assert!(wrong.is_empty());
            prop_assert_eq!((&entries[0].mounted.place, &entries[0].mounted.what), (&place, &what));
        }
    }
}
