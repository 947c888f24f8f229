// SPDX-License-Identifier: GPL-2.0-or-later
//! A path inside a root, by its bytes: what the kernel takes for a path and no more.
//!
//! File names are bytes without a meaning (`path_resolution(7)`): blanks, line ends, what is no UTF-8 and braces are
//! all allowed. Nothing here looks at a file system.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// The longest path the kernel takes, with its NUL (`PATH_MAX`, `include/uapi/linux/limits.h`).
const PATH_MAX: usize = 4096;

/// Why something is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("{0} does not begin with /: give the whole path, as the root's own programs would")]
    Relative(String),
    /// There is a NUL in it.
    #[error("{0} has a NUL byte in it, which no path can have")]
    Nul(String),
    /// A part of it is `..`.
    #[error("{0} has .. in it: give the path without detours")]
    Parent(String),
    /// It is too long.
    #[error("a path of {0} bytes is longer than the kernel takes (4095)")]
    Long(usize),
}

/// An absolute path inside a root, normalised: no `.`, no `..`, no empty part, no slash at the end. The order is that
/// of the bytes of its parts, so that a directory comes right before what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root itself.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Takes bytes for a path.
    ///
    /// # Errors
    /// What is wrong with them; `.` and slashes beyond one are not.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let shown = || shown(bytes);
        if bytes.len() >= PATH_MAX {
            return Err(PathError::Long(bytes.len()));
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul(shown()));
        }
        if bytes.first() != Some(&b'/') {
            return Err(PathError::Relative(shown()));
        }
        let mut path = Vec::with_capacity(bytes.len());
        for part in bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                return Err(PathError::Parent(shown()));
            }
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(Self(path))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the path it is for the root's own programs.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Without the slash at its beginning, for system calls that begin at the root's descriptor; `.` for the root.
    pub fn relative(&self) -> &Path {
        match &self.0[1..] {
            [] => Path::new("."),
            below => Path::new(OsStr::from_bytes(below)),
        }
    }

    /// Its parts.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The directory it is in; the root is in none.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..slash.max(1)].to_vec()))
    }

    /// Its last part; the root has none, and gives an empty one.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.parts().next_back().unwrap_or_default())
    }

    /// Something in this directory. What is no single name is taken as bytes: slashes in it make parts.
    #[must_use]
    pub fn join(&self, name: &OsStr) -> TreePath {
        let mut path = self.0.clone();
        if !self.is_root() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        Self(path)
    }

    /// This path as seen from below `base`: `/cluster/node1` and `/etc/x` give `/cluster/node1/etc/x`.
    #[must_use]
    pub fn below(&self, base: &TreePath) -> TreePath {
        if self.is_root() {
            return base.clone();
        }
        let mut path = if base.is_root() { Vec::new() } else { base.0.clone() };
        path.extend_from_slice(&self.0);
        Self(path)
    }

    /// Whether it is `other`, or below it.
    pub fn starts_with(&self, other: &TreePath) -> bool {
        self.strip(other).is_some()
    }

    /// The rest below `other`, as a path of its own; `None` when it is not below it.
    pub fn strip(&self, other: &TreePath) -> Option<TreePath> {
        if other.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(other.0.as_slice())? {
            [] => Some(Self::root()),
            rest @ [b'/', ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// As a string of the system.
    pub fn to_os_string(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(other.parts())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes for people, without a loss: control bytes, backslashes and what is no UTF-8 become `\xNN`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || character.is_control() {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn detours_are_taken_out_or_refused() {
        assert_eq!(path("//etc/./ssi///x/").as_bytes(), b"/etc/ssi/x");
        assert_eq!(path("/.").as_bytes(), b"/");
        assert!(matches!(TreePath::parse(b"/a/../b"), Err(PathError::Parent(_))));
        assert!(matches!(TreePath::parse(b"a"), Err(PathError::Relative(_))));
        assert!(matches!(TreePath::parse(b""), Err(PathError::Relative(_))));
        assert!(matches!(TreePath::parse(b"/a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(TreePath::parse(&[b'/'; 4096]), Err(PathError::Long(4096))));
    }

    #[test]
    fn parts_and_wholes() {
        let file = path("/etc/ssi/x");
        assert_eq!((file.parent(), file.name()), (Some(path("/etc/ssi")), OsStr::new("x")));
        assert_eq!((path("/etc").parent(), path("/").parent()), (Some(path("/")), None));
        assert_eq!((file.relative(), path("/").relative()), (Path::new("etc/ssi/x"), Path::new(".")));
        assert_eq!(file.below(&path("/cluster/node1")), path("/cluster/node1/etc/ssi/x"));
        assert!(file.starts_with(&path("/etc")) && file.starts_with(&file) && file.starts_with(&path("/")));
        assert!(!path("/etcetera").starts_with(&path("/etc")));
        assert_eq!(file.strip(&path("/etc")), Some(path("/ssi/x")));
    }

    #[test]
    fn a_directory_comes_right_before_what_is_in_it() {
        let mut paths = [path("/a-b"), path("/a/c"), path("/a"), path("/a/b/c"), path("/a.b")];
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned()).collect();
        assert_eq!(sorted, ["/a", "/a/b/c", "/a/c", "/a-b", "/a.b"]);
    }

    #[test]
    fn names_are_shown_without_a_loss() {
        assert_eq!(shown(b"/a b\n\\\xff{x}\xc3\xa9"), "/a b\\x0a\\x5c\\xff{x}\u{e9}");
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_parsed_again_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = TreePath::parse(&bytes) {
                prop_assert_eq!(TreePath::parse(path.as_bytes()).unwrap(), path.clone());
                if let Some(parent) = path.parent() {
                    prop_assert_eq!(parent.join(path.name()), path);
                }
            }
        }
    }
}
