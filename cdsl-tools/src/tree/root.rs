// SPDX-License-Identifier: GPL-2.0-or-later
//! A root directory: `/`, or another tree that is worked on as if it were (`--root`).
//!
//! Paths that a user names are followed as the root's own programs would follow them (`RESOLVE_IN_ROOT`), then written
//! down without links; from there on no link at all is followed on the way (`RESOLVE_NO_SYMLINKS`). `openat2(2)`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fchmod, mkdirat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::TreeError;
use super::place::Place;
use crate::path::{TreePath, shown};

/// How often a name that changed under a lookup is looked up again (`EAGAIN`, `openat2(2)`).
const TRIES: usize = 100;

/// The name of a directory that does not look as it is to yet.
const MAKING: &str = ".cdsl-directory";

/// A root directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    directory: PathBuf,
}

impl Root {
    /// Opens it.
    ///
    /// # Errors
    /// When it is no directory, or may not be opened.
    pub fn open(directory: &Path) -> Result<Self, TreeError> {
        let fail = |error: io::Error| TreeError::new("open the root", shown(directory.as_os_str().as_bytes()), error);
        let real = directory.canonicalize().map_err(fail)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &real, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        Ok(Self { fd, directory: real })
    }

    /// Its descriptor (`O_PATH`).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it is for this process, without links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is this machine's own.
    pub fn is_machine(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// A path in it, for people: with the root in front.
    pub fn shown(&self, path: &TreePath) -> String {
        if self.is_machine() {
            path.to_string()
        } else {
            format!("{}{path}", shown(self.directory.as_os_str().as_bytes()))
        }
    }

    /// Opens what a user names, following links as the root's own programs would.
    ///
    /// # Errors
    /// What `openat2(2)` said.
    pub fn lookup(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        self.open_with(path.relative(), flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens what is there by exactly that path: a link anywhere in it, the last part included, is an error.
    ///
    /// # Errors
    /// What `openat2(2)` said.
    pub fn open_below(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        self.open_with(path.relative(), flags, resolve)
    }

    fn open_with(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        for _ in 0..TRIES {
            match openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// A name in its directory, the directory opened without following a link.
    ///
    /// # Errors
    /// When the directory is not there, or a link is on the way.
    pub fn place(&self, path: &TreePath) -> io::Result<Place> {
        let parent = path.parent().ok_or(Errno::INVAL)?;
        let directory = self.open_below(&parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Place { directory, name: path.name().to_owned(), shown: self.shown(path) })
    }

    /// The same; directories on the way that are missing are made, with owner and mode of `like`'s where those are
    /// there: a copy's directories look like the original's.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn make_place(&self, path: &TreePath, like: Option<&TreePath>) -> Result<Place, TreeError> {
        match self.place(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(|error| TreeError::new("open the directory of", self.shown(path), error)),
        }
        let parent = path.parent().unwrap_or_else(TreePath::root);
        self.make_directory(&parent, like.and_then(TreePath::parent).as_ref())?;
        self.place(path).map_err(|error| TreeError::new("open the directory of", self.shown(path), error))
    }

    /// Makes a directory with those above it, where they are missing. Those that are like no other are for everybody to
    /// go through, whatever the umask of who runs the command: programs of all users read their files there.
    ///
    /// # Errors
    /// When one cannot be made, or something else is in the way.
    pub fn make_directory(&self, path: &TreePath, like: Option<&TreePath>) -> Result<(), TreeError> {
        if path.is_root() || self.open_below(path, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or_else(TreePath::root);
        let like_parent = like.and_then(TreePath::parent);
        self.make_directory(&parent, like_parent.as_ref())?;
        let fail = |error: io::Error| TreeError::new("make the directory", self.shown(path), error);
        let place = self.place(path).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Some(like) = like.filter(|like| !like.is_root())
            && let Ok(original) = self.lookup(like, OFlags::PATH | OFlags::DIRECTORY)
        {
            // A cut must not leave one that looks otherwise: it has its name only when it has its looks.
            let making = place.sibling(MAKING)?;
            making.remove_directory()?;
            mkdirat(&making.directory, &making.name, Mode::RWXU).map_err(|error| fail(error.into()))?;
            let made = openat(&making.directory, &making.name, flags, Mode::empty());
            let made = made.map_err(|error| fail(error.into()))?;
            super::copy::copy_looks(&original, &made).map_err(fail)?;
            return making.move_to(&place);
        }
        // Several nodes may do this at once, at boot.
        match mkdirat(&place.directory, &place.name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(fail(error.into())),
        }
        let made = openat(&place.directory, &place.name, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        if rustix::fs::fstat(&made).map_err(|error| fail(error.into()))?.st_mode & 0o777 == 0o755 {
            return Ok(());
        }
        fchmod(&made, Mode::from_raw_mode(0o755)).map_err(|error| fail(error.into()))
    }

    /// Removes what [`Root::make_directory`] had begun above this place when it was cut off.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove_half_made(&self, path: &TreePath) -> Result<(), TreeError> {
        let mut at = path.parent();
        while let Some(directory) = at {
            if let Ok(place) = self.place(&directory.join(OsStr::new(MAKING))) {
                place.remove_directory()?;
            }
            at = directory.parent();
        }
        Ok(())
    }

    /// Makes a directory that only root may look into.
    ///
    /// # Errors
    /// As [`Root::make_directory`].
    pub fn make_private_directory(&self, path: &TreePath) -> Result<(), TreeError> {
        self.make_directory(path, None)?;
        let fail = |error: io::Error| TreeError::new("make for root alone", self.shown(path), error);
        let made = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(fail)?;
        fchmod(&made, Mode::RWXU).map_err(|error| fail(error.into()))
    }

    /// What is at exactly that path; a link is looked at and not followed.
    ///
    /// # Errors
    /// What the system said.
    pub fn lstat(&self, path: &TreePath) -> io::Result<Stat> {
        if path.is_root() {
            return Ok(rustix::fs::fstat(&self.fd)?);
        }
        let parent = path.parent().ok_or(Errno::INVAL)?;
        let directory = self.open_below(&parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(statat(directory, path.name(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether anything is at exactly that path.
    ///
    /// # Errors
    /// What the system said, but for what says that nothing is there.
    pub fn exists(&self, path: &TreePath) -> io::Result<bool> {
        match self.lstat(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The text of the link at exactly that path; `None` when something else or nothing is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn readlink(&self, path: &TreePath) -> io::Result<Option<Vec<u8>>> {
        let Some(parent) = path.parent() else { return Ok(None) };
        let directory = match self.open_below(&parent, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => directory,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match readlinkat(directory, path.name(), Vec::new()) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The path by which what a user names is there without links on the way to it; whether the last part is a link is
    /// not looked at.
    ///
    /// # Errors
    /// When its directory is not there, or outside of the root by now.
    pub fn canonical(&self, path: &TreePath) -> io::Result<TreePath> {
        let Some(parent) = path.parent() else { return Ok(path.clone()) };
        let directory = self.lookup(&parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(self.path_of(directory.as_fd())?.join(path.name()))
    }

    /// Where an open directory is in this root.
    ///
    /// # Errors
    /// When it is not in it, or was removed.
    pub fn path_of(&self, directory: BorrowedFd<'_>) -> io::Result<TreePath> {
        use std::os::fd::AsRawFd as _;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let real: OsString = OsString::from_vec(rustix::fs::readlink(link, Vec::new())?.into_bytes());
        let below = Path::new(&real).strip_prefix(&self.directory).map_err(|_| Errno::XDEV)?;
        let text = [b"/".as_slice(), below.as_os_str().as_bytes()].concat();
        TreePath::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// Has everything of the file system that `path`'s directory is on written to the disk (`syncfs(2)`).
    ///
    /// # Errors
    /// What the system said: something was not written.
    pub fn sync(&self, path: &TreePath) -> Result<(), TreeError> {
        let fail = |error: io::Error| {
            TreeError::new("write to the disk what is on the file system of", self.shown(path), error)
        };
        let mut at = path.clone();
        loop {
            match self.open_below(&at, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(directory) => return rustix::fs::syncfs(directory).map_err(|error| fail(error.into())),
                Err(error) => match at.parent() {
                    Some(parent) => at = parent,
                    None => return Err(fail(error)),
                },
            }
        }
    }

    /// Removes the directories above a copy that hold nothing any more, up to its holder, which stays. `path` is the
    /// CDSL's own path, which the copy's ends with.
    pub fn prune(&self, copy: &TreePath, path: &TreePath) {
        let mut at = copy.parent();
        for _ in 1..path.parts().count() {
            let Some(directory) = at else { return };
            let Ok(place) = self.place(&directory) else { return };
            // One that holds something stays, and with it those above it.
            if rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            at = directory.parent();
        }
    }

    /// Opens a file for reading, by exactly that path; `None` when it is not there.
    ///
    /// # Errors
    /// What the system said.
    pub fn read_file(&self, path: &TreePath) -> io::Result<Option<File>> {
        match self.open_below(path, OFlags::RDONLY) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the system said that nothing is there: a part is missing, or is no directory.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::NOTDIR))
}
