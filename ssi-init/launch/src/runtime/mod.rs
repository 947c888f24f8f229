// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit has as long as it runs, and what goes when it stops: private temporary directories, namespaces that its
//! processes share, a dynamic user, runtime directories, credentials, and what the journal is told of it.
//!
//! All but the shares of namespaces is found again on disk after a restart of the manager; the shares are descriptors
//! that [`crate::Launcher::kept`] gives for keeping.

mod dynamic_user;
mod journal;
mod removal;
mod shares;

pub(crate) use dynamic_user::DynamicUsers;
pub(crate) use journal::{forget, tell};
pub(crate) use shares::{Share, Shares};

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use ssi_exec::private_tmp::{PrivateTmp, PrivateTmpError};
use ssi_unit::config::ExecConfig;
use ssi_unit::config::exec::{DirectoryKind, RuntimePreserve};

use crate::plan::directory_kind;

/// Where the executor puts credentials.
const CREDENTIALS: &str = "/run/credentials";
/// How many characters `systemd-private-…` names end with.
const RANDOM: usize = 6;

/// The private temporary directories of a unit: those that are there, else new ones.
pub(crate) fn private_tmp(root: &Path, boot_id: &str, unit: &str) -> Result<PrivateTmp, PrivateTmpError> {
    let mut tmp = private_directories(&root.join("tmp"), boot_id, unit);
    let mut var_tmp = private_directories(&root.join("var/tmp"), boot_id, unit);
    if let (Some(one), Some(other)) = (tmp.pop(), var_tmp.pop())
        && one.join("tmp").is_dir()
        && other.join("tmp").is_dir()
    {
        return Ok(PrivateTmp::from_paths(one, other));
    }
    PrivateTmp::make(root, boot_id, unit)
}

/// Directories of that unit and boot in `place`. Everybody may write there, so only those that are ours count.
fn private_directories(place: &Path, boot_id: &str, unit: &str) -> Vec<PathBuf> {
    let start = format!("systemd-private-{boot_id}-{unit}-");
    let is_ours = |path: &Path| {
        rustix::fs::lstat(path).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode).is_dir()
                && stat.st_uid == rustix::process::geteuid().as_raw()
                && stat.st_mode & 0o077 == 0
        })
    };
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let random = name.to_str().and_then(|name| name.strip_prefix(&start));
            random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
        .map(|entry| entry.path())
        .filter(|path| is_ours(path))
        .collect();
    found.sort_unstable();
    found
}

/// Removes the private temporary directories of a unit.
pub(crate) fn remove_private_tmp(root: &Path, boot_id: &str, unit: &str, warn: &mut dyn FnMut(String)) {
    for place in ["tmp", "var/tmp"] {
        for path in private_directories(&root.join(place), boot_id, unit) {
            remove(&path, warn);
        }
    }
}

/// Removes the runtime directories of a unit as `RuntimeDirectoryPreserve=` has it. `restart`: it is to be started
/// again.
pub(crate) fn remove_runtime_directories(root: &Path, exec: &ExecConfig, restart: bool, warn: &mut dyn FnMut(String)) {
    match exec.runtime_directory_preserve {
        RuntimePreserve::Yes => return,
        RuntimePreserve::Restart if restart => return,
        RuntimePreserve::Restart | RuntimePreserve::No => {}
    }
    let place = root.join(directory_kind(DirectoryKind::Runtime).place().trim_start_matches('/'));
    for directory in exec.directories(DirectoryKind::Runtime) {
        remove(&place.join(&directory.path), warn);
        if exec.dynamic_user {
            remove(&place.join("private").join(&directory.path), warn);
        }
        for link in directory.symlinks.iter().map(|link| place.join(link)) {
            // Something else may have been put in its place.
            if rustix::fs::readlink(&link, Vec::new()).is_ok() {
                remove(&link, warn);
            }
        }
    }
}

/// Removes the credentials of a unit.
pub(crate) fn remove_credentials(unit: &str, warn: &mut dyn FnMut(String)) {
    let path = Path::new(CREDENTIALS).join(unit);
    // A process that still has a file open keeps only that.
    while is_mount(&path) {
        if let Err(errno) = unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            warn(format!("cannot unmount {}: {errno}", path.display()));
            return;
        }
    }
    remove(&path, warn);
}

fn is_mount(path: &Path) -> bool {
    let Ok(own) = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) else { return false };
    removal::is_mount_root(&own)
}

fn remove(path: &Path, warn: &mut dyn FnMut(String)) {
    match removal::remove_tree(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => warn(format!("cannot remove {}: {errno}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_warnings(text: String) {
        panic!("{text}");
    }

    #[test]
    fn private_directories_are_found_again_and_others_are_not_taken() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("tmp")).unwrap();
        std::fs::create_dir_all(root.path().join("var/tmp")).unwrap();
        // Anybody could have made this one: it is open.
        let planted = root.path().join("tmp/systemd-private-b-a.service-AAAAAA");
        std::fs::create_dir_all(planted.join("tmp")).unwrap();
        let other = root.path().join("tmp/systemd-private-b-a.service-x.service-BBBBBB");
        std::fs::create_dir_all(&other).unwrap();
        rustix::fs::chmod(&other, rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        let made = private_tmp(root.path(), "b", "a.service").unwrap();
        assert_ne!(made.paths().0, planted);
        assert_eq!(private_tmp(root.path(), "b", "a.service").unwrap(), made);
        remove_private_tmp(root.path(), "b", "a.service", &mut no_warnings);
        assert!(!made.paths().0.exists() && !made.paths().1.exists() && planted.exists() && other.exists());
    }
}
