// SPDX-License-Identifier: GPL-2.0-or-later
//! Which distribution a root is: `os-release(5)`. Small enough to read here; the crates for it read the machine's own
//! file only, not that of another root.

use std::ffi::OsStr;
use std::io::Read as _;

use rustix::fs::OFlags;

use crate::path::TreePath;
use crate::tree::Root;
use crate::tree::root::is_absent;

/// Where it may be; the first that is there counts.
const FILES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// More is not read.
const MAX_FILE: u64 = 64 * 1024;

/// What of it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `ID_LIKE`: what it is derived from.
    pub like: Vec<String>,
    /// `VERSION_ID`, such as `12`; a release that is not out yet has none.
    pub version: Option<String>,
}

impl OsRelease {
    /// What a text says. Lines that are no assignment are passed over, as the shell's reading of the file would.
    pub fn parse(text: &str) -> Self {
        let mut found = Self { id: "linux".to_owned(), ..Self::default() };
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            let value = unquote(value);
            match key {
                "ID" => found.id = value,
                "ID_LIKE" => found.like = value.split_whitespace().map(str::to_owned).collect(),
                "VERSION_ID" => found.version = Some(value),
                _ => {}
            }
        }
        found
    }

    /// That of a root; a root without is none in particular.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> std::io::Result<Self> {
        for file in FILES {
            match root.lookup(&TreePath::root().join(OsStr::new(file)), OFlags::RDONLY) {
                Ok(open) => {
                    let mut bytes = Vec::new();
                    std::fs::File::from(open).take(MAX_FILE).read_to_end(&mut bytes)?;
                    return Ok(Self::parse(&String::from_utf8_lossy(&bytes)));
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::parse(""))
    }

    /// Whether it is, or is derived from, this one; of one of these versions, where some are given. A derived
    /// distribution numbers its versions on its own, so versions are those of the distribution itself only.
    pub fn is(&self, id: &str, versions: Option<&[String]>) -> bool {
        match versions {
            None => self.id == id || self.like.iter().any(|like| like == id),
            Some(versions) => self.id == id && versions.iter().any(|version| self.version.as_ref() == Some(version)),
        }
    }
}

/// A value without the quotes of the shell's language.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let Some(quote) = value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else {
        return value.to_owned();
    };
    let inner = value[1..].strip_suffix(quote).unwrap_or(&value[1..]);
    if quote == '\'' {
        return inner.to_owned();
    }
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn systems_are_told_apart() {
        let debian = OsRelease::parse("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert!(debian.is("debian", None) && debian.is("debian", Some(&["11".into(), "12".into()])));
        assert!(!debian.is("debian", Some(&["13".into()])) && !debian.is("fedora", None));
        let derived = OsRelease::parse("# a comment\nID='mint'\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=12\n");
        assert!(derived.is("debian", None) && !derived.is("debian", Some(&["12".into()])));
        assert_eq!(OsRelease::parse("nonsense\n=\n").id, "linux");
        assert_eq!(OsRelease::parse("ID=\"a\\\"b\"").id, "a\"b");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,80}", value in "['\"\\\\a]{0,6}") {
            let _ = OsRelease::parse(&text);
            let _ = OsRelease::parse(&format!("ID={value}"));
        }
    }
}
