// SPDX-License-Identifier: GPL-2.0-or-later
//! From the bytes of a unit file to its assignments: systemd.syntax(7).
//!
//! ```text
//!   [Service]                   a section
//!   # a comment, also with ;    skipped, even between the lines of one assignment
//!   ExecStart=/bin/echo \       a backslash at the end joins the next line, with a blank for the backslash
//!       hello
//! ```
//!
//! This step knows no setting. It trims, joins and cuts lines; which sections and keys there are, and what a value
//! means, is asked later. Quotes and escapes inside a value are not looked at: settings differ in what they take.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Warning, WarningKind};

mod lines;

/// Longest line, and longest assignment after joining its lines, in bytes.
pub const LINE_MAX: usize = 1024 * 1024;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1. Of an assignment over several lines, the last one.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The section it is in, without brackets.
    pub section: Arc<str>,
    /// What stands before the first `=`, trimmed.
    pub key: String,
    /// What stands behind it, trimmed; empty to reset a list.
    pub value: String,
    /// Where.
    pub at: Place,
}

/// What a unit file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitFile {
    /// The headers in order; a section may come more than once.
    pub sections: Vec<(Arc<str>, Place)>,
    /// The assignments in order.
    pub assignments: Vec<Assignment>,
    /// Lines that were skipped.
    pub warnings: Vec<Warning>,
    /// Where reading broke off; what stands before that place holds.
    pub error: Option<FileError>,
}

/// Why the rest of a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A line begins with `[` and is no section header.
    #[error("{0}: \"{1}\" is no section header")]
    SectionHeader(Place, String),
    /// A line is not UTF-8.
    #[error("{0}: the line is not UTF-8")]
    NotUtf8(Place),
    /// A line, or the lines of one assignment, are too long.
    #[error("{0}: the line is longer than {LINE_MAX} bytes")]
    TooLong(Place),
}

/// Reads a unit file. `path` is only remembered.
///
/// ```
/// let file = ssi_unit::file::parse(b"[Unit]\nAfter=a.service \\\n# not this\n  b.service\n", "x.service".as_ref());
/// assert_eq!(file.assignments[0].key, "After");
/// assert_eq!(file.assignments[0].value, "a.service    b.service");
/// ```
pub fn parse(text: &[u8], path: &Path) -> UnitFile {
    let path: Arc<Path> = path.into();
    let mut reader = Reader { file: UnitFile::default(), section: None };
    for (line, logical) in lines::LogicalLines::new(text) {
        let at = Place { file: path.clone(), line };
        let result = match logical {
            Ok(text) => reader.line(&text, at),
            Err(lines::TooLong) => Err(FileError::TooLong(at)),
        };
        if let Err(error) = result {
            reader.file.error = Some(error);
            break;
        }
    }
    reader.file
}

/// State while reading a file.
struct Reader {
    file: UnitFile,
    section: Option<Arc<str>>,
}

impl Reader {
    /// Takes one logical line.
    fn line(&mut self, line: &[u8], at: Place) -> Result<(), FileError> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(FileError::NotUtf8(at));
        };
        if line.starts_with('[') {
            let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let safe = |name: &&str| !name.chars().any(|c| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\'));
            let Some(name) = name.filter(safe) else {
                return Err(FileError::SectionHeader(at, line.to_owned()));
            };
            let name: Arc<str> = name.into();
            self.file.sections.push((name.clone(), at));
            self.section = Some(name);
            return Ok(());
        }
        let Some(section) = &self.section else {
            self.warn(at, "Assignment outside of any section, ignoring.".to_owned());
            return Ok(());
        };
        match line.split_once('=') {
            Some((key, value)) if !key.is_empty() => self.file.assignments.push(Assignment {
                section: section.clone(),
                key: key.trim_ascii().to_owned(),
                value: value.trim_ascii().to_owned(),
                at,
            }),
            Some(_) => self.warn(at, "Missing key name before '=', ignoring line.".to_owned()),
            None => self.warn(at, format!("Missing '=' in \"{line}\", ignoring line.")),
        }
        Ok(())
    }

    fn warn(&mut self, at: Place, text: String) {
        self.file.warnings.push(Warning { at: Some(at), kind: WarningKind::Syntax, text });
    }
}
