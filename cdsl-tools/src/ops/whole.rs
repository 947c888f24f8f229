// SPDX-License-Identifier: GPL-2.0-or-later
//! Links whose text is relative, when what they are in moves below `/cluster`.
//!
//! `/etc/localtime -> ../usr/share/zoneinfo/UTC` would lead to `/cluster/node3/usr/share/…` once it is read through a
//! CDSL, and so would a link in a directory that leads out of it. Before anything else is done, such a link gets the
//! whole path for its text: it leads to the same place then, from where it is and from where it will be, so a cut in
//! between changes nothing for anybody.

use rustix::fs::FileType;

use super::OpError;
use crate::inventory::Kind;
use crate::path::TreePath;
use crate::tree::{Place, Root, TreeError};
use crate::treewalk::TreeWalk;

/// A link and the text it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Where it is.
    pub at: TreePath,
    /// Its text, beginning at the root.
    pub text: Vec<u8>,
}

/// The links that need it, at `path` or below it; `path` is without links on its way.
///
/// # Errors
/// What could not be read.
pub(super) fn find(root: &Root, path: &TreePath, kind: Kind) -> Result<Vec<Whole>, OpError> {
    let mut found = Vec::new();
    let mut look = |at: &TreePath| -> Result<(), OpError> {
        let text = root.readlink(at).map_err(|error| TreeError::new("read the link", root.shown(at), error))?;
        if let Some(text) = text.and_then(|text| whole(at, path, &text)) {
            found.push(Whole { at: at.clone(), text });
        }
        Ok(())
    };
    match kind {
        Kind::Symlink => look(path)?,
        Kind::Directory => {
            for inside in TreeWalk::below(root, path) {
                let inside = inside?;
                if inside.kind == FileType::Symlink {
                    look(&inside.path)?;
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// The whole path for the text of a link at `at`, if it leads out of `top`, which moves.
fn whole(at: &TreePath, top: &TreePath, text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || text.starts_with(b"/") {
        return None;
    }
    // How many directories of `top`'s are above the link; one that moves itself has none, and every text leads out.
    let inside = at.strip(top)?.parts().count();
    let mut level = i64::try_from(inside).ok()? - 1;
    let mut leads_out = level < 0;
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => level -= 1,
            _ => level += 1,
        }
        leads_out |= level < 0;
    }
    if !leads_out {
        return None;
    }
    // The directories above the link are none of them links, so that those at its beginning can be gone up by name.
    // Further on, a part may be a link, and what is above it is elsewhere.
    let mut base = at.parent()?;
    let mut rest = text;
    loop {
        let (part, after) = match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => (&rest[..slash], &rest[slash + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        match part {
            b".." => base = base.parent().unwrap_or_else(TreePath::root),
            b"" | b"." if !rest.is_empty() => {}
            _ => break,
        }
        rest = after;
    }
    let mut path = base.as_bytes().to_vec();
    if !rest.is_empty() {
        if !base.is_root() {
            path.push(b'/');
        }
        path.extend_from_slice(rest);
    }
    Some(path)
}

/// Gives a link its text, in one step; all else about it, and the times of its directory, stay. `beside` is a free name
/// on the same file system.
///
/// # Errors
/// What could not be done; the link is as it was then.
pub(super) fn set(root: &Root, link: &Whole, beside: &Place) -> Result<(), TreeError> {
    let at =
        root.place(&link.at).map_err(|error| TreeError::new("open the directory of", root.shown(&link.at), error))?;
    crate::tree::copy::copy_link(&at, &link.text, beside)?;
    let directory = rustix::fs::fstat(&at.directory);
    beside.replace(&at)?;
    if let Ok(before) = directory {
        crate::tree::copy::set_times(&at.directory, &before)
            .map_err(|error| TreeError::new("set the times of the directory of", at.shown.clone(), error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn told(at: &str, top: &str, text: &str) -> Option<String> {
        whole(&path(at), &path(top), text.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_link_that_moves_itself() {
        let one = |text| told("/etc/localtime", "/etc/localtime", text);
        assert_eq!(one("../usr/share/zoneinfo/UTC").as_deref(), Some("/usr/share/zoneinfo/UTC"));
        assert_eq!(one("other").as_deref(), Some("/etc/other"));
        assert_eq!(one("./a/../b").as_deref(), Some("/etc/a/../b"));
        assert_eq!(one("../../../x/").as_deref(), Some("/x/"));
        assert_eq!(one("..").as_deref(), Some("/"));
        assert_eq!(one("/run/x"), None);
    }

    #[test]
    fn links_in_a_directory_that_moves() {
        let one = |text| told("/var/log/app/link", "/var/log", text);
        assert_eq!(one("file"), None);
        assert_eq!(one("../other/file"), None);
        assert_eq!(one("../../lib/x").as_deref(), Some("/var/lib/x"));
        assert_eq!(one("../../log/x").as_deref(), Some("/var/log/x"));
        // Whether `a` is a link is not known: the way back from there is left to the kernel.
        assert_eq!(one("a/../../../lib").as_deref(), Some("/var/log/app/a/../../../lib"));
        assert_eq!(told("/var/log/README", "/var/log", "../../usr/share/doc/R").as_deref(), Some("/usr/share/doc/R"));
    }
}
