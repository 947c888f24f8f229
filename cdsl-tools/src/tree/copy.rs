// SPDX-License-Identifier: GPL-2.0-or-later
//! A copy that is like the original in all that can be told: content with its holes, owner, mode, times, extended
//! attributes with what is kept in them (ACLs, capabilities, security labels), hard links within a tree, links,
//! devices and named pipes.
//!
//! Content is shared where the file system can (`FICLONE`, `ioctl_ficlone(2)`), else copied inside the kernel
//! (`copy_file_range(2)`), hole by hole. No library is taken: those that copy trees leave out some of the above, and
//! none works below a descriptor.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens, ioctl_ficlone, lgetxattr, linkat, llistxattr,
    lsetxattr, mkdirat, mknodat, openat, readlinkat, seek, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::TreeError;
use super::place::Place;

/// How much is copied with one call.
const CHUNK: usize = 1 << 20;

/// What was copied, for progress and for the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, directories and all else.
    pub entries: u64,
    /// Bytes of content that were read.
    pub bytes: u64,
    /// Sockets that were left out: a socket belongs to the process that listens there, a copy would be nobody's.
    pub sockets: u64,
}

/// One copying.
struct Copying<'a> {
    done: Copied,
    /// Files with several names: where the first copy of each is.
    links: HashMap<(u64, u64), (OwnedFd, OsString)>,
    progress: &'a mut dyn FnMut(Copied),
}

/// Copies what is at one place to another, where nothing may be.
///
/// # Errors
/// The first thing that could not be copied; what was copied until then is left there.
pub fn copy(from: &Place, to: &Place, progress: &mut dyn FnMut(Copied)) -> Result<Copied, TreeError> {
    let mut copying = Copying { done: Copied::default(), links: HashMap::new(), progress };
    copying.entry(from, to)?;
    Ok(copying.done)
}

/// The names in a directory, without `.` and `..`.
///
/// # Errors
/// What the system said.
pub fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Gives a directory or file the owner, mode and extended attributes of another. Both are open, the first perhaps
/// `O_PATH`.
///
/// # Errors
/// What the system said.
pub fn copy_looks(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = fstat(from)?;
    // Attributes of an O_PATH descriptor are read by its name in /proc.
    let name = format!("/proc/self/fd/{}", from.as_raw_fd());
    own(to, &stat)?;
    copy_attributes(
        |list| rustix::fs::listxattr(&*name, list),
        |key, value| rustix::fs::getxattr(&*name, key, value),
        to,
    )?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(())
}

impl Copying<'_> {
    fn entry(&mut self, from: &Place, to: &Place) -> Result<(), TreeError> {
        let Some(stat) = from.look()? else {
            return Err(TreeError::new("copy", from.shown.clone(), Errno::NOENT));
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            self.done.sockets += 1;
            return Ok(());
        }
        let key = (stat.st_dev, stat.st_ino);
        let several = stat.st_nlink > 1 && kind != FileType::Directory;
        if several && let Some((directory, name)) = self.links.get(&key) {
            linkat(directory, name, &to.directory, &to.name, AtFlags::empty())
                .map_err(|error| TreeError::new("give another name to the copy", to.shown.clone(), error))?;
            self.count(0);
            return Ok(());
        }
        match kind {
            FileType::Directory => self.directory(from, to, &stat)?,
            FileType::RegularFile => self.file(from, to, &stat)?,
            FileType::Symlink => link(from, to, &stat)?,
            _ => node(from, to, &stat)?,
        }
        if several {
            let directory = to
                .directory
                .try_clone()
                .map_err(|error| TreeError::new("keep open the directory of", to.shown.clone(), error))?;
            self.links.insert(key, (directory, to.name.clone()));
        }
        self.count(0);
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        if bytes == 0 {
            self.done.entries += 1;
        }
        self.done.bytes += bytes;
        (self.progress)(self.done);
    }

    fn directory(&mut self, from: &Place, to: &Place, stat: &Stat) -> Result<(), TreeError> {
        let failed = |error: io::Error| TreeError::new("copy the directory", from.shown.clone(), error);
        let made = |error: io::Error| TreeError::new("make the directory", to.shown.clone(), error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = openat(&from.directory, &from.name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        // Nobody else looks in before it has its own mode.
        mkdirat(&to.directory, &to.name, Mode::RWXU).map_err(|error| made(error.into()))?;
        let target = openat(&to.directory, &to.name, flags, Mode::empty()).map_err(|error| made(error.into()))?;
        for name in names(&source).map_err(failed)? {
            let below = |directory: &OwnedFd, up: &str| -> io::Result<Place> {
                let shown = format!("{up}/{}", crate::path::shown(name.as_bytes()));
                Ok(Place { directory: directory.try_clone()?, name: name.clone(), shown })
            };
            let (inner, copy) =
                (below(&source, &from.shown).map_err(failed)?, below(&target, &to.shown).map_err(made)?);
            match self.entry(&inner, &copy) {
                // A service that is at work in there may take something away meanwhile; then it is not there any more.
                Err(error) if super::root::is_absent(&error.error) && inner.look()?.is_none() => {}
                other => other?,
            }
        }
        looks(&source, &target, stat).map_err(made)
    }

    fn file(&mut self, from: &Place, to: &Place, stat: &Stat) -> Result<(), TreeError> {
        let failed = |error: Errno| TreeError::new("read", from.shown.clone(), error);
        let made = |error: io::Error| TreeError::new("write", to.shown.clone(), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let source = openat(&from.directory, &from.name, flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target =
            openat(&to.directory, &to.name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| made(error.into()))?;
        if ioctl_ficlone(&target, &source).is_err() {
            self.content(&source, &target).map_err(made)?;
        }
        looks(&source, &target, stat).map_err(made)
    }

    /// Copies the data and leaves the holes out.
    fn content(&mut self, source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
        let size = u64::try_from(fstat(source)?.st_size).unwrap_or(0);
        let mut at = 0;
        while at < size {
            let (start, end) = match seek(source, SeekFrom::Data(at)) {
                Ok(start) => (start, seek(source, SeekFrom::Hole(start))?),
                // Only a hole is left.
                Err(Errno::NXIO) => break,
                // This file system does not tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
                Err(error) => return Err(error.into()),
            };
            self.stretch(source, target, start, end)?;
            at = end.max(start + 1);
        }
        Ok(ftruncate(target, size)?)
    }

    fn stretch(&mut self, source: &OwnedFd, target: &OwnedFd, start: u64, end: u64) -> io::Result<()> {
        let (mut from, mut to) = (start, start);
        while from < end {
            let length = usize::try_from(end - from).unwrap_or(CHUNK).min(CHUNK);
            match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length) {
                // It became shorter meanwhile.
                Ok(0) => return Ok(()),
                Ok(copied) => self.count(copied as u64),
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::IO) => {
                    return self.by_hand(source, target, from, end);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn by_hand(&mut self, source: &OwnedFd, target: &OwnedFd, start: u64, end: u64) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let read = match rustix::io::pread(source, &mut buffer[..length], at) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut written = 0;
            while written < read {
                match rustix::io::pwrite(target, &buffer[written..read], at + written as u64) {
                    Ok(0) => return Err(Errno::IO.into()),
                    Ok(count) => written += count,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            at += read as u64;
            self.count(read as u64);
        }
        Ok(())
    }
}

/// Owner, attributes, mode and times, in the order in which one does not take back another: a change of owner clears
/// set-user-id bits and capabilities, and each of them changes the time.
fn looks(source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
    own(target, stat)?;
    copy_attributes(|list| flistxattr(source, list), |key, value| fgetxattr(source, key, value), target)?;
    fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(futimens(target, &times(stat))?)
}

fn own(target: &impl AsFd, stat: &Stat) -> io::Result<()> {
    Ok(fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime as _, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec),
    }
}

/// Copies what the target's file system takes. One that knows no attributes of a kind cannot keep them.
fn copy_attributes(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
    to: &OwnedFd,
) -> io::Result<()> {
    for (key, value) in attributes(list, get)? {
        match fsetxattr(to, &*key, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// All extended attributes: name and value. Of a file system without, none.
pub(crate) fn attributes(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let keys = match grow(&list) {
        Ok(keys) => keys,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for key in keys.split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
        match grow(|value| get(key, value)) {
            Ok(value) => found.push((key.to_vec(), value)),
            // It was taken away meanwhile, or is not for us to read.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Reads something whose length is not known (`listxattr(2)`, `getxattr(2)`).
fn grow(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // An attribute has 64 KiB at most, and so have their names (`include/uapi/linux/limits.h`).
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

/// The name by which calls reach a place that cannot be opened: a link, a device.
fn proc_name(place: &Place) -> OsString {
    let mut name = format!("/proc/self/fd/{}/", place.directory.as_raw_fd()).into_bytes();
    name.extend_from_slice(place.name.as_bytes());
    OsString::from_vec(name)
}

fn link(from: &Place, to: &Place, stat: &Stat) -> Result<(), TreeError> {
    let failed = |error: Errno| TreeError::new("copy the link", from.shown.clone(), error);
    let text = readlinkat(&from.directory, &from.name, Vec::new()).map_err(failed)?;
    symlinkat(text, &to.directory, &to.name).map_err(failed)?;
    outside(from, to, stat).map_err(|error| TreeError::new("copy the link", from.shown.clone(), error))
}

fn node(from: &Place, to: &Place, stat: &Stat) -> Result<(), TreeError> {
    let failed = |error: Errno| TreeError::new("copy the device or pipe", from.shown.clone(), error);
    let kind = FileType::from_raw_mode(stat.st_mode);
    mknodat(&to.directory, &to.name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev).map_err(failed)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::chmodat(&to.directory, &to.name, mode, AtFlags::empty()).map_err(failed)?;
    outside(from, to, stat).map_err(|error| TreeError::new("copy the device or pipe", from.shown.clone(), error))
}

/// What [`looks`] does, for what is not opened.
fn outside(from: &Place, to: &Place, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(&to.directory, &to.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let (source, target) = (proc_name(from), proc_name(to));
    for (key, value) in attributes(|list| llistxattr(&source, list), |key, value| lgetxattr(&source, key, value))? {
        match lsetxattr(&target, &*key, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(utimensat(&to.directory, &to.name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives a copy the owner and mode that an inventory's record or another copy has.
///
/// # Errors
/// What the system said.
pub fn set_owner_and_mode(at: &Place, uid: u32, gid: u32, perm: Option<u32>) -> io::Result<()> {
    chownat(&at.directory, &at.name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    if let Some(perm) = perm {
        rustix::fs::chmodat(&at.directory, &at.name, Mode::from_raw_mode(perm), AtFlags::empty())?;
    }
    Ok(())
}
