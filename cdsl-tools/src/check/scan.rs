// SPDX-License-Identifier: GPL-2.0-or-later
//! A tree on a disk as the stream that [`compare`](super::compare) goes through.
//!
//! What is kept in memory are the names of the directories on the way to where the walk is: as much as the largest
//! directories hold, however large the tree is.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use indicatif::ProgressBar;
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;

use super::compare::{Item, Looks, Walk, What};
use crate::inventory::Kind;
use crate::layout;
use crate::path::TreePath;
use crate::tree::copy::attributes;
use crate::tree::root::is_absent;
use crate::tree::{Root, TreeError};
use crate::treewalk::{Found, TreeWalk};

/// File systems that hold no files of a distribution: made by the kernel, or by a program that may not answer, or a
/// view of what is elsewhere in the tree already (`include/uapi/linux/magic.h`).
const PASSED_OVER: [u64; 19] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0102_1994, // tmpfs and devtmpfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
    0x1cd1,      // devpts
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x1980_0202, // mqueue
    0x9584_58f6, // hugetlbfs
    0x6265_6570, // configfs
    0x0187,      // autofs
    0x6573_5546, // fuse
    0x794c_7630, // overlay: layers of containers
];

/// Attributes that differ between copies by their nature: checksums of content and inode.
const NOT_COMPARED: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// A walk through a tree, as a stream.
pub struct Scan<'a> {
    root: &'a Root,
    /// The directory whose tree it is: `/`, or one below /cluster.
    base: TreePath,
    walk: TreeWalk<'a>,
    /// What it is at: by the path it is a copy of, and as the walk has it.
    current: Option<(Item, Found)>,
    /// The directory that is gone into next, or was last.
    entering: TreePath,
    /// The file systems that were met, and whether they are gone into.
    devices: HashMap<u64, bool>,
    progress: ProgressBar,
    unread: Unread,
}

/// Directories that this user may not read.
pub type Unread = Rc<RefCell<Vec<TreePath>>>;

impl<'a> Scan<'a> {
    /// A walk through the tree of this directory; one that is not there has nothing in it. Of the root, /cluster is left
    /// out. Directories that may not be read are told to `unread`.
    pub fn new(root: &'a Root, base: TreePath, progress: ProgressBar, unread: Unread) -> Self {
        let walk = TreeWalk::below(root, &base);
        Self { root, entering: base.clone(), base, walk, current: None, devices: HashMap::new(), progress, unread }
    }

    /// Goes on to the next thing; `false` at the end.
    fn advance(&mut self) -> Result<bool, TreeError> {
        let cluster = layout::cluster();
        loop {
            let found = match self.walk.next() {
                None => return Ok(false),
                Some(Ok(found)) => found,
                Some(Err(error)) if error.error.kind() == io::ErrorKind::PermissionDenied => {
                    self.unread.borrow_mut().push(self.entering.clone());
                    continue;
                }
                Some(Err(error)) => return Err(error),
            };
            self.progress.inc(1);
            if self.base.is_root() && found.path == cluster {
                self.walk.pass_over();
                continue;
            }
            let what = match found.kind {
                FileType::Symlink => match self.walk.link(&found) {
                    Ok(text) => What::Link(text),
                    // Taken away, or something else by now.
                    Err(error) if is_gone(&error.error) => continue,
                    Err(error) => return Err(error),
                },
                kind => What::Thing(kind_of(kind)),
            };
            let Some(path) = found.path.strip(&self.base) else { continue };
            self.current = Some((Item { path, what }, found));
            return Ok(true);
        }
    }

    /// Whether the file system of a directory holds files that are of interest.
    fn is_of_interest(&mut self, found: &Found) -> Result<bool, TreeError> {
        let device = match self.walk.stat(found) {
            Ok(stat) => stat.st_dev,
            Err(error) if is_gone(&error.error) => return Ok(false),
            Err(error) => return Err(error),
        };
        if let Some(known) = self.devices.get(&device) {
            return Ok(*known);
        }
        let fail = |error: io::Error| TreeError::new("look at the file system of", self.root.shown(&found.path), error);
        let of_interest = match self.root.open_below(&found.path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(open) => {
                let magic = rustix::fs::fstatfs(open).map_err(|error| fail(error.into()))?.f_type as u64;
                // A root that is itself on such a file system is all there is.
                let own = self.root.lstat(&TreePath::root()).map_err(fail)?.st_dev == device;
                own || !PASSED_OVER.contains(&magic)
            }
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unread.borrow_mut().push(found.path.clone());
                return Ok(false);
            }
            Err(error) => return Err(fail(error)),
        };
        self.devices.insert(device, of_interest);
        Ok(of_interest)
    }
}

fn kind_of(kind: FileType) -> Option<Kind> {
    match kind {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::CharacterDevice | FileType::BlockDevice => Some(Kind::Device),
        FileType::Fifo => Some(Kind::Fifo),
        _ => None,
    }
}

/// Whether somebody took it away, or put something else there, since its name was read.
fn is_gone(error: &io::Error) -> bool {
    is_absent(error) || matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::LOOP))
}

impl Walk for Scan<'_> {
    type Error = TreeError;

    fn peek(&mut self) -> Result<Option<&Item>, TreeError> {
        if self.current.is_none() && !self.advance()? {
            return Ok(None);
        }
        Ok(self.current.as_ref().map(|(item, _)| item))
    }

    fn skip(&mut self) {
        self.walk.pass_over();
        self.current = None;
    }

    fn enter(&mut self) -> Result<(), TreeError> {
        let Some((_, found)) = self.current.take() else { return Ok(()) };
        // The walk goes into a directory unless it is told otherwise.
        if !self.is_of_interest(&found)? {
            self.walk.pass_over();
        }
        self.entering = found.path;
        Ok(())
    }

    fn looks(&mut self) -> Result<Option<Looks>, TreeError> {
        let (Some((_, found)), Some(directory)) = (&self.current, self.walk.directory()) else { return Ok(None) };
        looks_of(directory, found.path.name())
            .map_err(|error| TreeError::new("read the attributes of", self.root.shown(&found.path), error))
    }
}

/// What something in a directory looks like from outside; `None` where it is not there.
///
/// # Errors
/// What the system said.
pub fn looks_of(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Looks>> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // There is no call that reads attributes below a descriptor without following a link, but by this name.
    let place = format!("/proc/self/fd/{}/", directory.as_raw_fd());
    let place = CString::new([place.as_bytes(), name.as_bytes()].concat())?;
    let found =
        attributes(|list| rustix::fs::llistxattr(&place, list), |key, value| rustix::fs::lgetxattr(&place, key, value));
    let found = match found {
        Ok(found) => found,
        Err(error) if is_absent(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let kept = found.into_iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_slice()));
    let attributes: BTreeMap<String, Vec<u8>> =
        kept.map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value)).collect();
    Ok(Some(Looks { uid: stat.st_uid, gid: stat.st_gid, perm: stat.st_mode & 0o7777, attributes }))
}
