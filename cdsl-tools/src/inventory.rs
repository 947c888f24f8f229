// SPDX-License-Identifier: GPL-2.0-or-later
//! The inventory: which CDSLs were made, when, and from what. Pure; the file itself is in `store.rs`.
//!
//! ```toml
//! version = 1
//!
//! [[cdsl]]
//! path = "/etc/hostname"
//! var = "nodenum"
//! mode = "each"
//! kind = "file"
//! owner = "0:0"
//! perm = "0644"
//! made = "2026-11-23T10:00:00Z"
//! origin = "command"
//! ```
//!
//! It is TOML that a person can read and mend, and it is read a table at a time: a line that is exactly `[[cdsl]]`
//! begins one. So a hundred thousand entries take no more memory than one. The order is that of [`TreePath`]; a file
//! that a person left in another order is read just the same, and written in order again.

use std::io::{self, BufRead};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::{Variable, good_value};
use crate::path::TreePath;

/// The version of the format that this code reads and writes.
pub const VERSION: u32 = 1;

/// The line that begins an entry.
const BEGIN: &str = "[[cdsl]]";
/// An entry is shorter: a path of 4095 bytes is three times as long when each is escaped.
const ENTRY_MAX: usize = 64 * 1024;

/// Whose content a CDSL has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every node has its own.
    Each,
    /// One value of the variable has it, for the others there is nothing.
    Only(String),
    /// All share the template's, until one is given its own.
    Default,
}

/// What was made a CDSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory with what is in it.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device node.
    Device,
    /// A named pipe.
    Fifo,
}

/// One CDSL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the link is.
    pub path: TreePath,
    /// By what it goes.
    pub var: Variable,
    /// Whose content it has.
    pub mode: Mode,
    /// What it was.
    pub kind: Kind,
    /// The owner it had.
    pub uid: u32,
    /// The group it had.
    pub gid: u32,
    /// The permission bits it had.
    pub perm: u32,
    /// When it was made.
    pub made: Timestamp,
    /// `command`, or the name of the list that asked for it.
    pub origin: String,
    /// It is a CDSL no more; the nodes' copies are kept until they are purged.
    pub kept: bool,
}

/// What is wrong with an inventory, and where.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It could not be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is of a version this program does not know.
    #[error("{file} has version {found}, and this program knows {VERSION}: use the program that wrote it")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// A mistake in it.
    #[error("{file}:{line}: {what}. Mend it, or make the inventory anew with `cdsl check --rebuild`")]
    Mistake {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
}

/// An entry as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_escaped: Option<String>,
    var: String,
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<String>,
    kind: Kind,
    owner: String,
    perm: String,
    made: String,
    origin: String,
    #[serde(default, skip_serializing_if = "is_false")]
    kept: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The first lines of a file.
pub fn head() -> String {
    format!(
        "# Context-dependent symbolic links of this tree, made by cdsl(1). It may be mended by hand;\n\
         # `cdsl check` compares it with the tree, `cdsl check --rebuild` makes it anew from there.\n\
         version = {VERSION}\n"
    )
}

/// The lines of an entry.
pub fn write_entry(entry: &Entry) -> String {
    let bytes = entry.path.as_bytes();
    let plain = std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned);
    let written = Written {
        path_escaped: plain.is_none().then(|| escape(bytes)),
        path: plain,
        var: entry.var.as_str().to_owned(),
        mode: match entry.mode {
            Mode::Each => "each",
            Mode::Only(_) => "only",
            Mode::Default => "default",
        }
        .to_owned(),
        only: if let Mode::Only(value) = &entry.mode { Some(value.clone()) } else { None },
        kind: entry.kind,
        owner: format!("{}:{}", entry.uid, entry.gid),
        perm: format!("{:04o}", entry.perm),
        made: entry.made.to_string(),
        origin: entry.origin.clone(),
        kept: entry.kept,
    };
    // Strings, numbers and times always have a form in TOML.
    let table = toml::to_string(&written).unwrap_or_default();
    format!("\n{BEGIN}\n{table}")
}

/// `%` and two digits for what cannot stand in a TOML string on one line.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'%' => text.push_str("%25"),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

impl Written {
    fn into_entry(self) -> Result<Entry, String> {
        let bytes = match (self.path, self.path_escaped) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(escaped)) => {
                unescape(&escaped).ok_or_else(|| format!("path_escaped = {escaped:?} has a % without two digits"))?
            }
            _ => return Err("an entry has either path or path_escaped".to_owned()),
        };
        let path = TreePath::parse(&bytes).map_err(|error| error.to_string())?;
        let var = Variable::parse(&self.var).map_err(|error| error.to_string())?;
        let mode = match (self.mode.as_str(), self.only) {
            ("each", None) => Mode::Each,
            ("default", None) => Mode::Default,
            ("only", Some(value)) if good_value(&value) => Mode::Only(value),
            ("only", _) => return Err("mode = \"only\" needs the value whose it is: only = \"3\"".to_owned()),
            ("each" | "default", Some(_)) => return Err("only = goes with mode = \"only\"".to_owned()),
            (other, _) => return Err(format!("mode = {other:?} is none of \"each\", \"only\", \"default\"")),
        };
        let owner = self.owner.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        let (uid, gid) = owner.ok_or_else(|| format!("owner = {:?} is no uid:gid", self.owner))?;
        let perm = u32::from_str_radix(&self.perm, 8).ok().filter(|perm| *perm <= 0o7777);
        let perm = perm.ok_or_else(|| format!("perm = {:?} is no octal mode", self.perm))?;
        let made = self.made.parse().map_err(|error| format!("made = {:?} is no time: {error}", self.made))?;
        Ok(Entry { path, var, mode, kind: self.kind, uid, gid, perm, made, origin: self.origin, kept: self.kept })
    }
}

/// Reads the entries of a file, one at a time, in the file's order.
pub struct Reader<R> {
    file: String,
    lines: R,
    line: usize,
    /// Whether the head was read; the line that ended it was the first entry's beginning.
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// `file` is its name for messages.
    pub fn new(file: String, lines: R) -> Self {
        Self { file, lines, line: 0, begun: false, ended: false }
    }

    fn mistake(&self, line: usize, what: impl Into<String>) -> InventoryError {
        InventoryError::Mistake { file: self.file.clone(), line, what: what.into() }
    }

    /// The text up to the next beginning of an entry or the end of the file, and the line it starts at.
    fn block(&mut self) -> Result<(usize, String), InventoryError> {
        let start = self.line + 1;
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(ENTRY_MAX).unwrap_or(u64::MAX);
            let mut limited = io::Read::take(&mut self.lines, limit);
            let read = limited.read_until(b'\n', &mut line);
            let read = read.map_err(|error| InventoryError::Read { file: self.file.clone(), error })?;
            if read == 0 {
                self.ended = true;
                return Ok((start, text));
            }
            self.line += 1;
            let line = String::from_utf8(line).map_err(|_| self.mistake(self.line, "this line is no UTF-8"))?;
            if line.trim_end() == BEGIN {
                return Ok((start, text));
            }
            text.push_str(&line);
            if text.len() > ENTRY_MAX {
                return Err(self.mistake(start, "what begins here is longer than any entry"));
            }
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, start: usize, text: &str) -> Result<T, InventoryError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
            self.mistake(start + before, error.message().to_owned())
        })
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, InventoryError> {
        if !self.begun {
            self.begun = true;
            let (start, text) = self.block()?;
            let head: Head = self.parse(start, &text)?;
            if head.version != VERSION {
                return Err(InventoryError::Version { file: self.file.clone(), found: head.version });
            }
        }
        if self.ended {
            return Ok(None);
        }
        let (start, text) = self.block()?;
        let written: Written = self.parse(start, &text)?;
        written.into_entry().map(Some).map_err(|what| self.mistake(start, what))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, InventoryError>;

    /// After a mistake there is nothing more: what would follow may belong to what went before.
    fn next(&mut self) -> Option<Self::Item> {
        if self.begun && self.ended {
            return None;
        }
        let entry = self.next_entry().transpose();
        if !matches!(entry, Some(Ok(_))) {
            self.begun = true;
            self.ended = true;
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &[u8], mode: Mode) -> Entry {
        Entry {
            path: TreePath::parse(path).unwrap(),
            var: Variable::nodenum(),
            mode,
            kind: Kind::File,
            uid: 0,
            gid: 106,
            perm: 0o4755,
            made: "2026-11-23T10:00:00Z".parse().unwrap(),
            origin: "command".to_owned(),
            kept: false,
        }
    }

    fn read(text: &str) -> Result<Vec<Entry>, InventoryError> {
        Reader::new("inventory.toml".to_owned(), text.as_bytes()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut kept = entry(b"/etc/a b", Mode::Only("3".to_owned()));
        kept.kept = true;
        let entries = [
            entry(b"/etc/x", Mode::Each),
            kept,
            entry(b"/etc/\xff\n%41[[cdsl]]\"", Mode::Default),
            entry(b"/[[cdsl]]", Mode::Each),
        ];
        let text = entries.iter().fold(head(), |text, entry| text + &write_entry(entry));
        assert_eq!(read(&text).unwrap(), entries);
        assert_eq!(read(&head()).unwrap(), []);
    }

    #[test]
    fn mistakes_are_told_by_line() {
        let good = write_entry(&entry(b"/etc/x", Mode::Each));
        for (text, line, word) in [
            (head() + &good.replace("\"each\"", "\"every\""), 6, "every"),
            (head() + &good.replace("var", "vra"), 7, "vra"),
            (head() + &good + "\n[[cdsl]]\nnonsense\n", 16, ""),
            ("versoin = 1\n".to_owned(), 1, "versoin"),
            (head() + &good.replace("/etc/x", "etc/x"), 6, "etc/x"),
        ] {
            match read(&text) {
                Err(InventoryError::Mistake { line: found, what, .. }) => {
                    assert!(what.contains(word), "{what}");
                    assert_eq!(found, line, "{what}\n{text}");
                }
                other => panic!("{other:?}\n{text}"),
            }
        }
        assert!(matches!(read("version = 7\n"), Err(InventoryError::Version { found: 7, .. })));
    }

    proptest! {
        #[test]
        fn any_path_survives(bytes in proptest::collection::vec(1u8..=255, 1..60)) {
            let mut path = b"/".to_vec();
            path.extend(bytes);
            let Ok(path) = TreePath::parse(&path) else { return Ok(()) };
            let written = Entry { path, ..entry(b"/x", Mode::Each) };
            prop_assert_eq!(read(&(head() + &write_entry(&written))).unwrap(), vec![written]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(?s)(version = 1\n)?.{0,200}") {
            let _ = read(&text);
        }
    }
}
