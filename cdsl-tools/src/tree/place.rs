// SPDX-License-Identifier: GPL-2.0-or-later
//! A name in an open directory: what system calls of the `…at` family take, and the single steps that are done with it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, OFlags, RenameFlags, Stat, linkat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::TreeError;

/// A name in a directory, whatever is there or is not.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub directory: OwnedFd,
    /// The name in it.
    pub name: OsString,
    /// The whole path, for people.
    pub shown: String,
}

impl Place {
    /// Another name in the same directory.
    ///
    /// # Errors
    /// When no further descriptor can be had.
    pub fn sibling(&self, name: impl Into<OsString>) -> Result<Place, TreeError> {
        let name = name.into();
        let directory = self.directory.try_clone().map_err(|error| self.failed("open the directory of", error))?;
        let up = self.shown.rfind('/').map_or("", |slash| &self.shown[..slash]);
        let shown = format!("{up}/{}", crate::path::shown(name.as_bytes()));
        Ok(Place { directory, name, shown })
    }

    fn failed(&self, act: &'static str, error: impl Into<io::Error>) -> TreeError {
        TreeError::new(act, self.shown.clone(), error)
    }

    /// What is there; a link is not followed. `None` when nothing is.
    ///
    /// # Errors
    /// What the system said.
    pub fn look(&self) -> Result<Option<Stat>, TreeError> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", error)),
        }
    }

    /// Makes a symbolic link there; one must not be there yet.
    ///
    /// # Errors
    /// What the system said.
    pub fn make_link(&self, text: &[u8]) -> Result<(), TreeError> {
        symlinkat(text, &self.directory, &self.name).map_err(|error| self.failed("make the link", error))
    }

    /// Exchanges what is here with what is there, in one step. `Ok(false)` when the file system cannot do that, or the
    /// two are on different ones.
    ///
    /// # Errors
    /// What else the system said.
    pub fn exchange(&self, other: &Place) -> Result<bool, TreeError> {
        match renameat_with(&self.directory, &self.name, &other.directory, &other.name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => Ok(false),
            Err(error) => Err(self.failed("exchange with its link", error)),
        }
    }

    /// Moves what is here to there, where nothing may be.
    ///
    /// # Errors
    /// What the system said; something at the other end among it.
    pub fn move_to(&self, other: &Place) -> Result<(), TreeError> {
        match renameat_with(&self.directory, &self.name, &other.directory, &other.name, RenameFlags::NOREPLACE) {
            // Not every file system can tell in one step that nothing is there; the lock keeps our own commands away.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if other.look()?.is_some() {
                    return Err(self.failed("move", Errno::EXIST));
                }
                self.replace(other)
            }
            other => other.map_err(|error| self.failed("move", error)),
        }
    }

    /// Moves what is here to there, in place of what is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn replace(&self, other: &Place) -> Result<(), TreeError> {
        renameat(&self.directory, &self.name, &other.directory, &other.name).map_err(|error| self.failed("move", error))
    }

    /// A second name for the file here, there.
    ///
    /// # Errors
    /// What the system said.
    pub fn hard_link(&self, other: &Place) -> Result<(), TreeError> {
        linkat(&self.directory, &self.name, &other.directory, &other.name, AtFlags::empty())
            .map_err(|error| self.failed("give another name to", error))
    }

    /// Removes a name that is no directory's; nothing there is no error.
    ///
    /// # Errors
    /// What the system said.
    pub fn unlink(&self) -> Result<(), TreeError> {
        match unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", error)),
        }
    }

    /// Removes an empty directory; nothing there is no error.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove_directory(&self) -> Result<(), TreeError> {
        match unlinkat(&self.directory, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", error)),
        }
    }

    /// Removes what is here with all that is in it; nothing there is no error.
    ///
    /// # Errors
    /// The first thing that could not be removed.
    pub fn remove_all(&self) -> Result<(), TreeError> {
        super::copy::more_descriptors();
        self.remove_inner()
    }

    fn remove_inner(&self) -> Result<(), TreeError> {
        let Some(stat) = self.look()? else { return Ok(()) };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
            return self.unlink();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = openat(&self.directory, &self.name, flags, rustix::fs::Mode::empty())
            .map_err(|error| self.failed("open", error))?;
        // Read to the end first: what is removed meanwhile may make the reading skip something.
        for name in super::copy::names(&inside).map_err(|error| self.failed("read", error))? {
            let directory = inside.try_clone().map_err(|error| self.failed("open", error))?;
            let shown = format!("{}/{}", self.shown, crate::path::shown(name.as_bytes()));
            Place { directory, name, shown }.remove_inner()?;
        }
        match unlinkat(&self.directory, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", error)),
        }
    }

    /// Has the directory's names written to the disk.
    ///
    /// # Errors
    /// What the system said: a name may not be there after a power cut.
    pub fn sync(&self) -> Result<(), TreeError> {
        rustix::fs::fsync(&self.directory).map_err(|error| self.failed("write to the disk the directory of", error))
    }
}
