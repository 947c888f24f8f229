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
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens, ioctl_ficlone, lgetxattr,
    linkat, llistxattr, lsetxattr, mkdirat, mknodat, openat, openat2, readlinkat, seek, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// A directory is not gone into deeper: two descriptors stay open for each level above.
const DEPTH_MAX: usize = 1000;
/// From this depth on, the usual limit of descriptors may not do.
pub(crate) const DEPTH_USUAL: usize = 100;

/// The attributes by which a directory gives its ACL to what is made in it (`acl(5)`).
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// A name while a tree is copied. Its path is only put together for messages and for hard links.
struct At<'a> {
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
    /// The directory it is in, but for the top.
    above: Option<&'a At<'a>>,
    top: &'a Place,
}

impl<'a> At<'a> {
    fn top(place: &'a Place) -> Self {
        Self { directory: place.directory.as_fd(), name: &place.name, above: None, top: place }
    }

    fn shown(&self) -> String {
        match self.above {
            Some(above) => format!("{}/{}", above.shown(), crate::path::shown(self.name.as_bytes())),
            None => self.top.shown.clone(),
        }
    }

    /// As a path from the directory that the top is in.
    fn below(&self) -> PathBuf {
        match self.above {
            Some(above) => above.below().join(self.name),
            None => PathBuf::from(self.name),
        }
    }

    fn depth(&self) -> usize {
        self.above.map_or(0, |above| above.depth() + 1)
    }

    fn look(&self) -> Result<Option<Stat>, TreeError> {
        match statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(TreeError::new("look at", self.shown(), error)),
        }
    }

    /// The name by which calls reach what cannot be opened: a link, a device.
    fn proc_name(&self) -> OsString {
        let mut name = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        name.extend_from_slice(self.name.as_bytes());
        OsString::from_vec(name)
    }
}

/// The first copy of a file with several names.
struct First {
    below: PathBuf,
    /// How many names may still come.
    left: u64,
}

/// One copying.
struct Copying<'a> {
    done: Copied,
    /// Files with several names, as long as not all of them were seen.
    links: HashMap<(u64, u64), First>,
    /// What is made at the target gets an ACL from its directory, which the original need not have.
    inherits: bool,
    /// Content can be shared between these file systems, as far as is known.
    shares: bool,
    progress: &'a mut dyn FnMut(Copied),
}

/// Copies what is at one place to another, where nothing may be.
///
/// # Errors
/// The first thing that could not be copied; what was copied until then is left there.
pub fn copy(from: &Place, to: &Place, progress: &mut dyn FnMut(Copied)) -> Result<Copied, TreeError> {
    let inherits = rustix::fs::fgetxattr(&to.directory, ACLS[1], &mut [0u8; 0][..]).is_ok();
    let mut copying = Copying { done: Copied::default(), links: HashMap::new(), inherits, shares: true, progress };
    copying.entry(&At::top(from), &At::top(to))?;
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
    without_acls(to)?;
    copy_attributes(
        |list| rustix::fs::listxattr(&*name, list),
        |key, value| rustix::fs::getxattr(&*name, key, value),
        to,
    )?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(())
}

impl Copying<'_> {
    fn entry(&mut self, from: &At<'_>, to: &At<'_>) -> Result<(), TreeError> {
        let Some(stat) = from.look()? else {
            return Err(TreeError::new("copy", from.shown(), Errno::NOENT));
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            self.done.sockets += 1;
            return Ok(());
        }
        let key = (stat.st_dev, stat.st_ino);
        let several = stat.st_nlink > 1 && kind != FileType::Directory;
        if several && self.another_name(key, to)? {
            self.count(0);
            return Ok(());
        }
        let copied = match kind {
            FileType::Directory => self.directory(from, to, &stat).map(|()| stat)?,
            FileType::RegularFile => self.file(from, to)?,
            FileType::Symlink => link(from, to, &stat).map(|()| stat)?,
            _ => self.node(from, to, &stat).map(|()| stat)?,
        };
        if several && (copied.st_dev, copied.st_ino) == key {
            self.links.insert(key, First { below: to.below(), left: stat.st_nlink - 1 });
        }
        self.count(0);
        Ok(())
    }

    /// Gives the first copy of a file another name; whether there is one.
    fn another_name(&mut self, key: (u64, u64), to: &At<'_>) -> Result<bool, TreeError> {
        let Some(first) = self.links.get_mut(&key) else { return Ok(false) };
        let failed = |error: Errno| TreeError::new("give another name to the copy", to.shown(), error);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = first.below.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or_else(|| Path::new("."));
        let directory = openat2(&to.top.directory, above, flags, Mode::empty(), resolve).map_err(failed)?;
        let name = first.below.file_name().unwrap_or_default();
        linkat(&directory, name, to.directory, to.name, AtFlags::empty()).map_err(failed)?;
        first.left = first.left.saturating_sub(1);
        if first.left == 0 {
            self.links.remove(&key);
        }
        Ok(true)
    }

    fn count(&mut self, bytes: u64) {
        if bytes == 0 {
            self.done.entries += 1;
        }
        self.done.bytes += bytes;
        (self.progress)(self.done);
    }

    fn directory(&mut self, from: &At<'_>, to: &At<'_>, stat: &Stat) -> Result<(), TreeError> {
        let failed = |error: io::Error| TreeError::new("copy the directory", from.shown(), error);
        let made = |error: io::Error| TreeError::new("make the directory", to.shown(), error);
        match from.depth() {
            DEPTH_USUAL => more_descriptors(),
            DEPTH_MAX => {
                let what = format!("directories in directories more than {DEPTH_MAX} deep are not copied");
                return Err(failed(io::Error::other(what)));
            }
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = openat(from.directory, from.name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        // Nobody else looks in before it has its own mode.
        mkdirat(to.directory, to.name, Mode::RWXU).map_err(|error| made(error.into()))?;
        let target = openat(to.directory, to.name, flags, Mode::empty()).map_err(|error| made(error.into()))?;
        self.disinherit(&target).map_err(made)?;
        for name in names(&source).map_err(failed)? {
            let inner = At { directory: source.as_fd(), name: &name, above: Some(from), top: from.top };
            let copy = At { directory: target.as_fd(), name: &name, above: Some(to), top: to.top };
            match self.entry(&inner, &copy) {
                // A service that is at work in there may take something away meanwhile; then it is not there any more.
                Err(error) if super::root::is_absent(&error.error) && inner.look()?.is_none() => {}
                other => other?,
            }
        }
        looks(&source, &target, stat).map_err(made)
    }

    /// Gives what was looked at once it was open: the name may lead to another file by then.
    fn file(&mut self, from: &At<'_>, to: &At<'_>) -> Result<Stat, TreeError> {
        let failed = |error: io::Error| TreeError::new("read", from.shown(), error);
        let made = |error: io::Error| TreeError::new("write", to.shown(), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let source = openat(from.directory, from.name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = fstat(&source).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(io::Error::other("it was replaced by something else while it was copied")));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target =
            openat(to.directory, to.name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| made(error.into()))?;
        self.disinherit(&target).map_err(made)?;
        if !self.share(&source, &target) {
            self.content(&source, &target, &stat).map_err(made)?;
        }
        looks(&source, &target, &stat).map_err(made)?;
        Ok(stat)
    }

    fn node(&mut self, from: &At<'_>, to: &At<'_>, stat: &Stat) -> Result<(), TreeError> {
        let failed = |error: Errno| TreeError::new("copy the device or pipe", from.shown(), error);
        let kind = FileType::from_raw_mode(stat.st_mode);
        mknodat(to.directory, to.name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev).map_err(failed)?;
        if self.inherits {
            gone(rustix::fs::lremovexattr(to.proc_name(), ACLS[0])).map_err(failed)?;
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(to.directory, to.name, mode, AtFlags::empty()).map_err(failed)?;
        outside(from, to, stat).map_err(|error| TreeError::new("copy the device or pipe", from.shown(), error))
    }

    /// Takes away the ACL that a new file or directory has from the one it was made in.
    fn disinherit(&self, made: &OwnedFd) -> io::Result<()> {
        if self.inherits { without_acls(made) } else { Ok(()) }
    }

    /// Lets the copy share the original's content, where the file system can do that.
    fn share(&mut self, source: &OwnedFd, target: &OwnedFd) -> bool {
        if !self.shares {
            return false;
        }
        match ioctl_ficlone(target, source) {
            Ok(()) => true,
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV) => {
                self.shares = false;
                false
            }
            Err(_) => false,
        }
    }

    /// Copies the data and leaves the holes out.
    fn content(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // In units of 512 bytes, whatever the block size is (inode(7)).
        if u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) >= size {
            return self.stretch(source, target, 0, size);
        }
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

/// Has the process's limit of descriptors raised as far as it may be (`getrlimit(2)`). Where it may not, opening says so.
pub(crate) fn more_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Leaves a file or directory with the owner's, group's and others' permissions alone.
fn without_acls(at: &OwnedFd) -> io::Result<()> {
    for name in ACLS {
        gone(rustix::fs::fremovexattr(at, name))?;
    }
    Ok(())
}

/// An attribute that was not there is gone too.
fn gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        other => other,
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

fn link(from: &At<'_>, to: &At<'_>, stat: &Stat) -> Result<(), TreeError> {
    let failed = |error: Errno| TreeError::new("copy the link", from.shown(), error);
    let text = readlinkat(from.directory, from.name, Vec::new()).map_err(failed)?;
    link_with(from, to, stat, text.as_bytes())
}

/// Makes a link like another, with a text of its own.
///
/// # Errors
/// What could not be done.
pub fn copy_link(from: &Place, text: &[u8], to: &Place) -> Result<(), TreeError> {
    let (from, to) = (At::top(from), At::top(to));
    let Some(stat) = from.look()? else { return Err(TreeError::new("copy the link", from.shown(), Errno::NOENT)) };
    link_with(&from, &to, &stat, text)
}

/// Gives a file or directory that is open the times that another had.
///
/// # Errors
/// What the system said.
pub fn set_times(of: &OwnedFd, stat: &Stat) -> io::Result<()> {
    Ok(futimens(of, &times(stat))?)
}

fn link_with(from: &At<'_>, to: &At<'_>, stat: &Stat, text: &[u8]) -> Result<(), TreeError> {
    symlinkat(text, to.directory, to.name).map_err(|error| TreeError::new("make the link", to.shown(), error))?;
    outside(from, to, stat).map_err(|error| TreeError::new("copy the link", from.shown(), error))
}

/// What [`looks`] does, for what is not opened.
fn outside(from: &At<'_>, to: &At<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(to.directory, to.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let (source, target) = (from.proc_name(), to.proc_name());
    for (key, value) in attributes(|list| llistxattr(&source, list), |key, value| lgetxattr(&source, key, value))? {
        match lsetxattr(&target, &*key, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(utimensat(to.directory, to.name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
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
