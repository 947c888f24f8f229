// SPDX-License-Identifier: GPL-2.0-or-later
//! `RuntimeDirectory=`, `StateDirectory=`, `CacheDirectory=`, `LogsDirectory=`, `ConfigurationDirectory=`.
//!
//! With a dynamic user the directory lives below `private/`, which only root may enter, and a symlink stands in
//! its place: so a number that is used again later opens nothing. A unit that changes from one kind of user to the
//! other takes its directory along, in both directions.

use super::trouble::At;
use crate::plan::{DirectoryKind, DirectorySet, ExecPlan, ManagedDirectory};
use crate::report::Failure;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether a set lies below `private/`.
fn is_private(plan: &ExecPlan, set: &DirectorySet) -> bool {
    plan.identity.dynamic.is_some()
        && match set.kind {
            DirectoryKind::Configuration => false,
            DirectoryKind::Runtime => set.preserve,
            DirectoryKind::State | DirectoryKind::Cache | DirectoryKind::Logs => true,
        }
}

fn place(plan: &ExecPlan, kind: DirectoryKind) -> PathBuf {
    match &plan.directories.prefix {
        None => PathBuf::from(kind.place()),
        Some(prefix) => Path::new(prefix).join(kind.place().trim_start_matches('/')),
    }
}

/// The variables that name the directories.
pub(super) fn variables(plan: &ExecPlan) -> Vec<(&'static str, String)> {
    let sets = plan.directories.sets.iter().filter(|set| !set.entries.is_empty());
    sets.map(|set| {
        let mut place = place(plan, set.kind);
        if is_private(plan, set) {
            place.push("private");
        }
        let paths = set.entries.iter().map(|entry| place.join(&entry.path).display().to_string());
        (set.kind.variable(), paths.collect::<Vec<_>>().join(":"))
    })
    .collect()
}

/// The paths that the program may write whatever else is read-only.
pub(super) fn writable_paths(plan: &ExecPlan) -> Vec<String> {
    let sets = plan.directories.sets.iter().filter(|set| set.kind != DirectoryKind::Configuration);
    sets.flat_map(|set| {
        let mut place = place(plan, set.kind);
        if is_private(plan, set) {
            place.push("private");
        }
        set.entries.iter().map(move |entry| place.join(&entry.path).display().to_string())
    })
    .collect()
}

/// Makes them all.
pub(super) fn make(plan: &ExecPlan, uid: u32, gid: u32, warn: &mut dyn FnMut(String)) -> Result<(), Failure> {
    for set in &plan.directories.sets {
        let base = place(plan, set.kind);
        for entry in &set.entries {
            make_one(plan, set, &base, entry, uid, gid, warn)
                .at(set.kind.step(), || base.join(&entry.path).display().to_string())?;
        }
        for entry in &set.entries {
            for link in &entry.symlinks {
                let link = base.join(link);
                make_parents(&link)
                    .and_then(|()| point(&base.join(&entry.path), &link))
                    .at(set.kind.step(), || link.display().to_string())?;
            }
        }
    }
    Ok(())
}

fn make_one(
    plan: &ExecPlan,
    set: &DirectorySet,
    base: &Path,
    entry: &ManagedDirectory,
    uid: u32,
    gid: u32,
    warn: &mut dyn FnMut(String),
) -> Result<(), Errno> {
    let public = base.join(&entry.path);
    make_parents(&public)?;
    let hidden = base.join("private").join(&entry.path);
    let directory = if is_private(plan, set) {
        make_guarded(&base.join("private"))?;
        make_parents(&hidden)?;
        let is_directory = rustix::fs::lstat(&public).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        if is_directory && rustix::fs::lstat(&hidden).is_err_and(|errno| errno == Errno::NOENT) {
            rustix::fs::rename(&public, &hidden)?;
        } else {
            make_directory(&hidden, set.mode)?;
        }
        point(&hidden, &public)?;
        &hidden
    } else {
        if set.kind != DirectoryKind::Configuration
            && let Ok(target) = std::fs::canonicalize(&public)
            && rustix::fs::readlink(&public, Vec::new()).is_ok()
            && std::fs::canonicalize(&hidden).is_ok_and(|hidden| hidden == target)
        {
            rustix::fs::unlink(&public)?;
            rustix::fs::rename(&hidden, &public)?;
        }
        if !make_directory(&public, set.mode)? && set.kind == DirectoryKind::Configuration {
            // Configuration that is there belongs to the administrator; only a surprise is told.
            let mode = rustix::fs::stat(&public)?.st_mode & 0o7777;
            if mode != set.mode & 0o7777 {
                warn(format!("{} has mode {mode:o}, the unit says {:o}", public.display(), set.mode));
            }
            return Ok(());
        }
        &public
    };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty())?;
    if rustix::fs::fstat(&fd)?.st_mode & 0o7777 != set.mode & 0o7777 {
        rustix::fs::fchmod(&fd, Mode::from_raw_mode((set.mode & 0o7777) as _))?;
    }
    let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
    let mask = if plan.identity.dynamic.is_some() { 0o1777 } else { 0o7777 };
    let top = rustix::fs::fstat(&fd)?;
    // The top tells for the whole tree: walking a mail store at each start would take minutes.
    if top.st_uid == uid && top.st_gid == gid && top.st_mode & 0o7777 & !mask == 0 {
        return Ok(());
    }
    hand_over_tree(fd, owner, mask)
}

/// Gives a whole tree to a user, without following a symlink anywhere in it. One open directory a level.
fn hand_over_tree(directory: OwnedFd, owner: (Uid, Gid), mask: u32) -> Result<(), Errno> {
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory, name, flags | OFlags::DIRECTORY, Mode::empty()) {
            Ok(below) => hand_over_tree(below, owner, mask)?,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let file = rustix::fs::openat(&directory, name, flags | OFlags::PATH, Mode::empty())?;
                hand_over(&file, owner, mask)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    // Last, so that a start that is cut off here begins anew next time: the top tells for the whole tree.
    hand_over(&directory, owner, mask)
}

fn hand_over(fd: &OwnedFd, (uid, gid): (Uid, Gid), mask: u32) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let mode = stat.st_mode & 0o7777;
    rustix::fs::chownat(fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    // chown takes set-user-id bits off by itself where it may; what stays must be what was, under the mask.
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if !is_link && rustix::fs::fstat(fd)?.st_mode & 0o7777 != mode & mask {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        rustix::fs::chmod(path, Mode::from_raw_mode((mode & mask) as _))?;
    }
    Ok(())
}

/// Makes a directory with exactly this mode; tells whether it is new.
fn make_directory(path: &Path, mode: u32) -> Result<bool, Errno> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode((mode & 0o7777) as _)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) if path.is_dir() => Ok(false),
        Err(Errno::EXIST) => Err(Errno::NOTDIR),
        Err(errno) => Err(errno),
    }
}

/// The directories above a path.
pub(super) fn make_parents(path: &Path) -> Result<(), Errno> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    match rustix::fs::mkdir(parent, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            make_parents(parent)?;
            match rustix::fs::mkdir(parent, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => Ok(()),
                done => done,
            }
        }
        // A read-only parent that is there is good enough.
        Err(errno) if parent.is_dir() => {
            let _ = errno;
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

/// `private/`: root's, and closed.
fn make_guarded(path: &Path) -> Result<(), Errno> {
    make_parents(path)?;
    make_directory(path, 0o700)?;
    let stat = rustix::fs::lstat(path)?;
    if stat.st_uid != 0 || stat.st_mode & 0o077 != 0 {
        rustix::fs::chown(path, Some(Uid::ROOT), Some(Gid::ROOT))?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o700))?;
    }
    Ok(())
}

/// A relative symlink at `link` to `target`; one that is there is replaced when it points elsewhere.
fn point(target: &Path, link: &Path) -> Result<(), Errno> {
    let relative = relative_to(link.parent().unwrap_or(Path::new("/")), target);
    match rustix::fs::symlinkat(&relative, CWD, link) {
        Err(Errno::EXIST) => {
            let present = rustix::fs::readlink(link, Vec::new()).map_err(|_| Errno::EXIST)?;
            if present.as_bytes() == std::os::unix::ffi::OsStrExt::as_bytes(relative.as_os_str()) {
                return Ok(());
            }
            rustix::fs::unlink(link)?;
            rustix::fs::symlinkat(&relative, CWD, link)
        }
        done => done,
    }
}

fn relative_to(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut path = PathBuf::new();
    path.extend(std::iter::repeat_n("..", from.len() - common));
    path.extend(to.iter().skip(common));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links() {
        assert_eq!(relative_to(Path::new("/var/lib"), Path::new("/var/lib/private/a/b")), Path::new("private/a/b"));
        assert_eq!(relative_to(Path::new("/var/lib/x"), Path::new("/var/lib/a")), Path::new("../a"));
    }
}
