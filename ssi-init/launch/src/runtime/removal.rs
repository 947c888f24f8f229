// SPDX-License-Identifier: GPL-2.0-or-later
//! Removing a tree that others have written to, without leaving it: no symlink is followed and no mount is entered, so
//! what a service has bound into its directory is not lost with the directory.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, openat, statx, unlinkat,
};
use rustix::io::Errno;

/// Deeper than anybody builds on purpose: one descriptor is held for each level.
const DEEPEST: usize = 256;

/// Removes a file, a link, or a directory with all that is in it. What is mounted below stays, and so do the
/// directories that lead to it.
///
/// # Errors
/// The first thing that could not be removed; all that can be is removed.
pub(super) fn remove_tree(path: &Path) -> Result<(), Errno> {
    match open_directory(CWD, path) {
        Ok(directory) => {
            let emptied = empty(directory, DEEPEST);
            let removed = rustix::fs::rmdir(path);
            emptied.and(removed)
        }
        Err(Errno::NOTDIR | Errno::LOOP) => rustix::fs::unlink(path),
        Err(errno) => Err(errno),
    }
}

fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a file system begins here. The kernel tells since 5.8; before, only a change of the device shows it.
pub(super) fn is_mount_root(stat: &Statx) -> bool {
    stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}

fn empty(directory: OwnedFd, depth: usize) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let look = |name: &CStr| {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        statx(&directory, name, flags, StatxFlags::TYPE | StatxFlags::INO)
    };
    let own = look(c".")?;
    let mut result = Ok(());
    let mut note = |done: Result<(), Errno>| {
        if let Err(errno) = done
            && errno != Errno::NOENT
            && result.is_ok()
        {
            result = Err(errno);
        }
    };
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match look(name) {
            Ok(stat) => stat,
            Err(errno) => {
                note(Err(errno));
                continue;
            }
        };
        if !FileType::from_raw_mode(stat.stx_mode.into()).is_dir() {
            note(unlinkat(&directory, name, AtFlags::empty()));
            continue;
        }
        let same_device = (own.stx_dev_major, own.stx_dev_minor) == (stat.stx_dev_major, stat.stx_dev_minor);
        if is_mount_root(&stat) || !same_device {
            note(Err(Errno::BUSY));
            continue;
        }
        note(open_directory(&directory, name).and_then(|inner| empty(inner, depth)));
        note(unlinkat(&directory, name, AtFlags::REMOVEDIR));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_what_they_point_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, kept) = (folder.path().join("gone"), folder.path().join("kept"));
        std::fs::create_dir_all(inner.join("a/b")).unwrap();
        std::fs::write(inner.join("a/file"), "x").unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, inner.join("a/link")).unwrap();
        std::os::unix::fs::symlink(&kept, folder.path().join("link")).unwrap();
        remove_tree(&inner).unwrap();
        remove_tree(&folder.path().join("link")).unwrap();
        assert!(!inner.exists() && kept.join("file").exists() && !folder.path().join("link").is_symlink());
        assert_eq!(remove_tree(&inner), Err(Errno::NOENT));
    }

    #[test]
    fn what_is_mounted_below_is_not_emptied() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("what_is_mounted_below_is_not_emptied: skipped, it needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (gone, kept) = (folder.path().join("gone"), folder.path().join("kept"));
        std::fs::create_dir_all(gone.join("bound")).unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "x").unwrap();
        // A bind mount of the same file system: the device alone would not tell.
        rustix::mount::mount_bind(&kept, gone.join("bound")).unwrap();
        std::fs::write(gone.join("file"), "x").unwrap();
        let removed = remove_tree(&gone);
        let seen = (gone.join("file").exists(), kept.join("file").exists());
        rustix::mount::unmount(gone.join("bound"), rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(removed, Err(Errno::BUSY));
        assert_eq!(seen, (false, true));
        remove_tree(&gone).unwrap();
    }
}
