// SPDX-License-Identifier: GPL-2.0-or-later
//! `LoadCredential=` and `SetCredential=`: files that only the unit's user reads, in a directory of their own.
//!
//! The directory is /run/credentials/UNIT, a memory file system that is mounted read-only once it is filled, so
//! secrets reach no disk. The manager unmounts and removes it when the unit stops. Where nothing may be mounted, as in a container, it is a plain directory below /run.

use super::journal::read_socket;
use super::trouble::{At, failure};
use crate::plan::{CredentialSource, ExecPlan};
use crate::report::Failure;
use crate::step::Step;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The most that one credential may hold, and all of them together, in bytes. systemd.exec(5).
const LARGEST: usize = 1024 * 1024;
const PLACE: &str = "/run/credentials";

/// Makes and fills the directory; gives its path when the unit has credentials.
pub(super) fn set_up(plan: &ExecPlan, uid: Option<u32>, gid: Option<u32>) -> Result<Option<String>, Failure> {
    if plan.credentials.entries.is_empty() {
        return Ok(None);
    }
    let step = Step::Credentials;
    let path = format!("{PLACE}/{}", plan.unit);
    if is_mounted(&path) {
        // An earlier process of this activation has filled it; all of them see the same.
        return Ok(Some(path));
    }
    let contents = gather(plan)?;
    let make = |path: &str, mode| match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        done => done,
    };
    make("/run", 0o755).and_then(|()| make(PLACE, 0o755)).at(step, || PLACE.to_owned())?;
    make(&path, 0o700).at(step, || path.clone())?;

    let owner = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    let in_memory = detached();
    let directory = match &in_memory {
        Ok(mount) => mount,
        Err(_) => {
            &rustix::fs::open(&*path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(step, || path.clone())?
        }
    };
    for (name, bytes) in &contents {
        fill(directory, name, bytes, owner).at(step, || format!("{path}/{name}"))?;
    }
    let seal = || -> Result<(), Errno> {
        // What fsmount gives is a place only; owner and mode want an open directory.
        let open = rustix::fs::openat(directory, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fchown(&open, owner.0, owner.1)?;
        rustix::fs::fchmod(&open, Mode::from_raw_mode(0o500))
    };
    seal().at(step, || path.clone())?;
    if let Ok(mount) = &in_memory {
        let place = || -> Result<(), Errno> {
            rustix::mount::move_mount(mount, "", CWD, &*path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            let text = std::ffi::CString::new(path.as_bytes()).map_err(|_| Errno::INVAL)?;
            super::sys::set_mount_attributes(&text, nix::libc::MOUNT_ATTR_RDONLY, 0, false)
        };
        place().at(step, || path.clone())?;
    }
    Ok(Some(path))
}

/// Whether something is mounted there: it is then another device than what it lies in.
fn is_mounted(path: &str) -> bool {
    match (rustix::fs::stat(path), rustix::fs::stat(PLACE)) {
        (Ok(own), Ok(outer)) => own.st_dev != outer.st_dev,
        _ => false,
    }
}

/// A memory file system that is nowhere yet.
fn detached() -> Result<OwnedFd, Errno> {
    // ramfs is never swapped out; a container may have only tmpfs.
    let of = |kind| rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map(|context| (context, kind));
    let (context, kind) = of("ramfs").or_else(|_| of("tmpfs"))?;
    // What findmnt(8) shows as its source.
    rustix::mount::fsconfig_set_string(&context, "source", kind)?;
    rustix::mount::fsconfig_set_string(&context, "mode", "0700")?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn fill(directory: &OwnedFd, name: &str, bytes: &[u8], owner: (Option<Uid>, Option<Gid>)) -> Result<(), Errno> {
    // A directory that an earlier process of the unit left holds the old ones.
    match rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(&file, rest) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::fchown(&file, owner.0, owner.1)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o400))
}

/// Names and contents, the first source of a name winning.
fn gather(plan: &ExecPlan) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let step = Step::Credentials;
    let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
    let mut total = 0;
    for (name, source) in &plan.credentials.entries {
        let found = match source {
            CredentialSource::Bytes(bytes) => vec![(name.clone(), bytes.clone())],
            CredentialSource::Path(path) => load(name, path).at(step, || format!("{name} from {path}"))?,
            CredentialSource::Store(from) => {
                let present = plan.credentials.stores.iter().map(|store| format!("{store}/{from}"));
                match present.into_iter().find(|path| Path::new(path).is_file()) {
                    Some(path) => load(name, &path).at(step, || format!("{name} from {path}"))?,
                    // A credential that nobody provided is no error: units ask on the off-chance.
                    None => Vec::new(),
                }
            }
        };
        for (name, bytes) in found {
            if name.is_empty() || name.contains('/') || name == "." || name == ".." {
                return Err(failure(step, Some(Errno::INVAL), format!("{name:?} is no name of a credential")));
            }
            if contents.iter().any(|(known, _)| *known == name) {
                continue;
            }
            total += bytes.len() + name.len();
            if total > LARGEST {
                return Err(failure(step, Some(Errno::TOOBIG), format!("{name}: more than {LARGEST} bytes in all")));
            }
            contents.push((name, bytes));
        }
    }
    Ok(contents)
}

/// A file, a socket, or every file of a directory.
fn load(name: &str, path: &str) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    use std::os::unix::fs::FileTypeExt;
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let kind = std::fs::metadata(path).map_err(errno)?.file_type();
    if kind.is_socket() {
        return Ok(vec![(name.to_owned(), read_socket(path, LARGEST)?)]);
    }
    if !kind.is_dir() {
        return Ok(vec![(name.to_owned(), read_file(path)?)]);
    }
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(path).map_err(errno)?.collect::<Result<_, _>>().map_err(errno)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (file, kind) = (entry.file_name(), entry.file_type().map_err(errno)?);
        let (Some(file), true) = (file.to_str(), kind.is_file()) else { continue };
        found.push((format!("{name}_{file}"), read_file(&format!("{path}/{file}"))?));
    }
    Ok(found)
}

fn read_file(path: &str) -> Result<Vec<u8>, Errno> {
    use std::io::Read;
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(errno)?;
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(errno)?;
    if bytes.len() > LARGEST { Err(Errno::TOOBIG) } else { Ok(bytes) }
}
