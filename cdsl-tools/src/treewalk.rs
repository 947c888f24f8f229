// SPDX-License-Identifier: GPL-2.0-or-later
//! A walk over a tree in the order of [`TreePath`], one directory's names in memory at a time. File systems that the
//! kernel makes are not gone into.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::ops::kernels_own;
use crate::path::TreePath;
use crate::tree::copy::{DEPTH_USUAL, more_descriptors};
use crate::tree::{Root, TreeError};

/// Something that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where.
    pub path: TreePath,
    /// What kind of thing.
    pub kind: FileType,
}

struct Level {
    directory: OwnedFd,
    path: TreePath,
    device: u64,
    /// Names that are still to come, the last first.
    names: Vec<(OsString, FileType)>,
}

/// The walk. A directory comes before what is in it.
pub struct TreeWalk<'a> {
    root: &'a Root,
    levels: Vec<Level>,
    /// The directory to be gone into next, unless it is skipped.
    into: Option<TreePath>,
}

impl<'a> TreeWalk<'a> {
    /// Over what is below a directory, which itself is not told. One that is not there has nothing below it.
    pub fn below(root: &'a Root, directory: &TreePath) -> Self {
        Self { root, levels: Vec::new(), into: Some(directory.clone()) }
    }

    /// Does not go into the directory that was told last.
    pub fn pass_over(&mut self) {
        self.into = None;
    }

    /// What is known of the thing that was told last.
    ///
    /// # Errors
    /// What the system said; that it is gone among it.
    pub fn stat(&self, found: &Found) -> Result<Stat, TreeError> {
        let fail = |error: Errno| TreeError::new("look at", self.root.shown(&found.path), error);
        let level = self.levels.last().ok_or_else(|| fail(Errno::NOENT))?;
        statat(&level.directory, found.path.name(), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
    }

    /// The directory that holds what was told last.
    pub fn directory(&self) -> Option<&OwnedFd> {
        self.levels.last().map(|level| &level.directory)
    }

    /// The text of the link that was told last.
    ///
    /// # Errors
    /// What the system said.
    pub fn link(&self, found: &Found) -> Result<Vec<u8>, TreeError> {
        let fail = |error: Errno| TreeError::new("read the link", self.root.shown(&found.path), error);
        let level = self.levels.last().ok_or_else(|| fail(Errno::NOENT))?;
        Ok(readlinkat(&level.directory, found.path.name(), Vec::new()).map_err(fail)?.into_bytes())
    }

    fn enter(&mut self, path: TreePath) -> Result<(), TreeError> {
        let fail = |error: Errno| TreeError::new("read the directory", self.root.shown(&path), error);
        if self.levels.len() == DEPTH_USUAL {
            more_descriptors();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match self.levels.last() {
            Some(level) => openat(&level.directory, path.name(), flags, Mode::empty()),
            None => {
                self.root.open_below(&path, flags).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
        };
        let directory = match opened {
            Ok(directory) => directory,
            // It went away meanwhile, or never was there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        let device = fstat(&directory).map_err(fail)?.st_dev;
        if self.levels.last().is_none_or(|level| level.device != device) {
            let magic = fstatfs(&directory).map_err(fail)?.f_type as u64;
            if kernels_own(magic).is_some() {
                return Ok(());
            }
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsStr::from_bytes(name).to_owned();
            let kind = match entry.file_type() {
                // Some file systems do not tell with the name.
                FileType::Unknown => match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                kind => kind,
            };
            names.push((name, kind));
        }
        names.sort_unstable_by(|a, b| b.0.as_bytes().cmp(a.0.as_bytes()));
        self.levels.push(Level { directory, path, device, names });
        Ok(())
    }
}

impl Iterator for TreeWalk<'_> {
    type Item = Result<Found, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(path) = self.into.take()
            && let Err(error) = self.enter(path)
        {
            return Some(Err(error));
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some((name, kind)) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            if kind == FileType::Directory {
                self.into = Some(path.clone());
            }
            return Some(Ok(Found { path, kind }));
        }
    }
}
