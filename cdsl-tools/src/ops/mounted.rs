// SPDX-License-Identifier: GPL-2.0-or-later
//! Where something is mounted in a root (`/proc/self/mountinfo`, `proc_pid_mountinfo(5)`).

use std::os::unix::ffi::OsStrExt as _;

use crate::path::TreePath;
use crate::tree::Root;

/// The mount points in a root.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<TreePath>);

impl Mounts {
    /// Those that the kernel tells. Without `/proc` there are none, and what cannot be moved for a mount on it the kernel
    /// itself refuses.
    pub(super) fn of(root: &Root) -> Self {
        let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let Ok(base) = TreePath::parse(root.directory().as_os_str().as_bytes()) else { return Self::default() };
        Self::read(&text, &base)
    }

    fn read(text: &[u8], base: &TreePath) -> Self {
        let point = |line: &[u8]| {
            let field = line.split(|byte| *byte == b' ').nth(4)?;
            TreePath::parse(&unescape(field)).ok()?.strip(base)
        };
        Self(text.split(|byte| *byte == b'\n').filter_map(point).collect())
    }

    /// The first that is at this path or below it.
    pub(super) fn at_or_below(&self, path: &TreePath) -> Option<&TreePath> {
        self.0.iter().find(|point| point.starts_with(path))
    }
}

/// A blank, a tab, a line end and a backslash are written with three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_path_in_the_root() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:5 / /srv/tree/a\\040b/c rw - tmpfs t rw\n31 22 0:6 / /srv/trees rw - tmpfs t rw\n";
        let base = TreePath::parse(b"/srv/tree").unwrap();
        let mounts = Mounts::read(text, &base);
        let at = |text: &str| mounts.at_or_below(&TreePath::parse(text.as_bytes()).unwrap()).map(TreePath::to_string);
        assert_eq!(at("/a b").as_deref(), Some("/a b/c"));
        assert_eq!(at("/a b/c").as_deref(), Some("/a b/c"));
        assert_eq!(at("/a"), None);
        assert_eq!(at("/srv"), None);
    }
}
