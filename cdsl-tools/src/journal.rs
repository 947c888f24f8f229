// SPDX-License-Identifier: GPL-2.0-or-later
//! What a command is about to change, written down before it does: `/cluster/.cdsl/journal`. A command that is cut off
//! leaves it there, and the next one, on whichever node, finishes or undoes each change by looking at where it stands.
//!
//! One line a change, tab between fields, paths escaped; the first line names the batch. Only one command changes a tree
//! at a time ([`crate::lock`]), so there is at most one journal.

use std::ffi::OsStr;
use std::io::Write as _;

use crate::inventory::{Entry, Reader, head, write_entry};
use crate::layout::state_directory;
use crate::path::TreePath;
use crate::store;
use crate::tree::{Root, TreeError};

/// What is being done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It becomes a CDSL.
    Create,
    /// It becomes a plain file again.
    Remove,
    /// A value of its variable gets its own copy.
    Own,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub act: Act,
    /// The CDSL as the inventory has it, or will have it.
    pub entry: Entry,
    /// Where the content goes to or comes from: the place that is exchanged with the path.
    pub home: TreePath,
    /// Copies and links that are made for it and were not there before.
    pub made: Vec<TreePath>,
}

/// A batch of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Names the batch, in names of temporary files and in the attic.
    pub id: String,
    /// The changes.
    pub changes: Vec<Change>,
}

fn path() -> TreePath {
    state_directory().join(OsStr::new("journal"))
}

/// Names something of change `number` of a batch that is only there while it is worked on.
pub fn temporary(id: &str, number: usize) -> String {
    format!(".cdsl-{id}-{number}")
}

impl Journal {
    /// Writes it down, onto the disk.
    ///
    /// # Errors
    /// Nothing was begun then.
    pub fn write(&self, root: &Root) -> Result<(), TreeError> {
        store::replace(root, &path(), 0o600, |out| write!(out, "{}", self.text()))
    }

    fn text(&self) -> String {
        let mut text = format!("# Changes that are under way; cdsl finishes or undoes them. batch {}\n", self.id);
        text.push_str(&head());
        for change in &self.changes {
            let act = match change.act {
                Act::Create => "create",
                Act::Remove => "remove",
                Act::Own => "own",
            };
            text.push_str(&write_entry(&change.entry));
            text.push_str(&format!("# act {act}\n# home {}\n", escape(&change.home)));
            for made in &change.made {
                text.push_str(&format!("# made {}\n", escape(made)));
            }
        }
        text
    }

    /// The journal that a command left, if one was cut off.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged: it is written as a whole, so that is not this program's doing.
    pub fn read(root: &Root) -> Result<Option<Self>, TreeError> {
        let lines = store::lines(root, &path())?;
        let Some(first) = lines.first() else { return Ok(None) };
        let damaged = |what: &str| {
            TreeError::new(
                "read the journal of a command that was cut off",
                root.shown(&path()),
                std::io::Error::other(what.to_owned()),
            )
        };
        let id = first
            .rsplit_once("batch ")
            .map(|(_, id)| id.trim().to_owned())
            .ok_or_else(|| damaged("it names no batch"))?;
        let text = lines.join("\n") + "\n";
        let entries: Vec<Entry> = Reader::new(root.shown(&path()), text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(&error.to_string()))?;
        let mut changes = Vec::new();
        let mut notes: Vec<Vec<(&str, &str)>> = Vec::new();
        for line in &lines[1..] {
            if line == "[[cdsl]]" {
                notes.push(Vec::new());
            } else if let (Some(note), Some(last)) =
                (line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')), notes.last_mut())
            {
                last.push(note);
            }
        }
        for (entry, notes) in entries.into_iter().zip(notes) {
            let value = |name: &str| notes.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            let act = match value("act") {
                Some("create") => Act::Create,
                Some("remove") => Act::Remove,
                Some("own") => Act::Own,
                _ => return Err(damaged("a change in it has no act")),
            };
            let place = |text: &str| unescape(text).ok_or_else(|| damaged("a path in it is none"));
            let home = place(value("home").ok_or_else(|| damaged("a change in it has no home"))?)?;
            let made = notes
                .iter()
                .filter(|(key, _)| *key == "made")
                .map(|(_, path)| place(path))
                .collect::<Result<_, _>>()?;
            changes.push(Change { act, entry, home, made });
        }
        Ok(Some(Self { id, changes }))
    }

    /// All is done: it is not needed any more.
    ///
    /// # Errors
    /// What the system said; the next command finds that all is done and removes it.
    pub fn remove(root: &Root) -> Result<(), TreeError> {
        store::remove(root, &path())
    }
}

fn escape(path: &TreePath) -> String {
    path.as_bytes()
        .iter()
        .map(|byte| {
            if byte.is_ascii_graphic() && *byte != b'%' {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn unescape(text: &str) -> Option<TreePath> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    TreePath::parse(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Kind, Mode};
    use crate::layout::Variable;

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), None);
        let path = TreePath::parse(b"/etc/a b\n# made /x\n[[cdsl]]\n%41").unwrap();
        let entry = Entry {
            path: path.clone(),
            var: Variable::nodenum(),
            mode: Mode::Each,
            kind: Kind::File,
            uid: 1,
            gid: 2,
            perm: 0o644,
            made: "2026-11-23T10:00:00Z".parse().unwrap(),
            origin: "command".to_owned(),
            kept: false,
        };
        let change = Change { act: Act::Own, entry, home: path.clone(), made: vec![path.clone(), path] };
        let journal = Journal { id: "12-ab".to_owned(), changes: vec![change.clone(), change] };
        journal.write(&root).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), Some(journal));
        Journal::remove(&root).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), None);
    }
}
