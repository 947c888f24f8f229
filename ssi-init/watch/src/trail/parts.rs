// SPDX-License-Identifier: GPL-2.0-or-later
//! The parts of a path: names, and patterns that names fit.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This name.
    Name(OsString),
    /// Names that fit this pattern.
    Pattern(String),
    /// Any name: from a brace on, whose alternatives may differ in length, the directories are all watched.
    Any,
    /// `..`
    Up,
}

impl Part {
    /// Whether a name fits.
    pub(super) fn fits(&self, name: &[u8]) -> bool {
        match self {
            Part::Name(wanted) => wanted.as_bytes() == name,
            // A dot at the start has to be asked for, glob(7).
            Part::Pattern(pattern) => {
                (pattern.starts_with('.') || !name.starts_with(b"."))
                    && ssi_unit::condition::matches_pattern(pattern, &String::from_utf8_lossy(name))
            }
            Part::Any => true,
            Part::Up => false,
        }
    }
}

/// Takes a path apart, patterns and all.
pub(super) fn parts(path: &Path) -> Vec<Part> {
    let mut braces = false;
    let pieces = path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|piece| !matches!(*piece, [] | [b'.']));
    pieces
        .map(|piece| {
            braces |= piece.contains(&b'{');
            match std::str::from_utf8(piece) {
                _ if braces => Part::Any,
                Ok(pattern) if pattern.contains(['*', '?', '[', '\\']) => Part::Pattern(pattern.to_owned()),
                _ => plain(piece),
            }
        })
        .collect()
}

/// Takes apart where a link leads: there are no patterns in that.
pub(super) fn plain_parts(path: &[u8]) -> Vec<Part> {
    path.split(|byte| *byte == b'/').filter(|piece| !matches!(*piece, [] | [b'.'])).map(plain).collect()
}

fn plain(piece: &[u8]) -> Part {
    if piece == b".." { Part::Up } else { Part::Name(OsStr::from_bytes(piece).to_owned()) }
}
