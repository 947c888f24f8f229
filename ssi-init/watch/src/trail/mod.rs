// SPDX-License-Identifier: GPL-2.0-or-later
//! Trails: a path, and every place on the way to it, watched with inotify(7).
//!
//! inotify watches inodes, not paths. That something appears at a path, is moved away from it, or that a link on the way
//! leads elsewhere shows at the directories and links on the way. So a trail holds watches on all of them, and is walked
//! anew whenever one of them tells of a change:
//!
//! ```text
//!   /run/a/b       /          moved or gone?
//!                  /run       moved or gone?     while `a` is missing: does something of that name appear?
//!                  /run/a     the same, for `b`
//!                  /run/a/b   itself: what the trail is for
//! ```
//!
//! A link on the way is watched as itself, and the walk goes on where it leads. A part that is a pattern has its directory
//! watched for names that fit, and each of those is walked. A directory is told about its entries only while one is
//! missing, so a trail below a busy `/tmp` costs nothing.
//!
//! All trails of one [`Trails`] share one descriptor (there are 128 to a user), so an inode may be watched for several.

mod parts;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::{Result, Tried, WatchError};
use parts::Part;

/// What about the thing at the end of a trail is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// That it is there, or no longer.
    Presence,
    /// As presence, and that entries come to a directory.
    Entries,
    /// That a file was closed by who wrote to it, or that a directory's entries changed.
    Changed,
    /// As changed, and each write.
    Modified,
}

impl Interest {
    fn flags(self) -> WatchFlags {
        let presence = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
        let entries = presence | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let changed = entries | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        match self {
            Interest::Presence => presence,
            Interest::Entries => entries,
            Interest::Changed => changed,
            Interest::Modified => changed | WatchFlags::MODIFY,
        }
    }
}

/// Something happened on a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The trail, by the caller's number.
    pub trail: u64,
    /// To the thing itself, or the link that stands there for it; not merely to a place on the way.
    pub itself: bool,
}

/// Why an inode is watched for a trail.
#[derive(Clone, Debug, Default)]
struct Hold {
    /// Of which events the trail wants to hear.
    flags: WatchFlags,
    /// It is the thing at the end.
    itself: bool,
    /// What is waited for below it, if it is a place on the way.
    awaited: Vec<Part>,
}

/// A watched inode.
#[derive(Debug, Default)]
struct Watched {
    holds: BTreeMap<u64, Hold>,
    /// Of which events the kernel tells.
    told: WatchFlags,
}

/// A trail.
#[derive(Debug)]
struct Trail {
    path: PathBuf,
    parts: Vec<Part>,
    interest: Interest,
    watches: BTreeSet<i32>,
}

/// The most inodes one trail may hold: a pattern could fit half a disk.
const WATCHES_MAX: usize = 4096;

/// Trails that share a descriptor.
#[derive(Debug)]
pub struct Trails {
    inotify: OwnedFd,
    watched: BTreeMap<i32, Watched>,
    trails: BTreeMap<u64, Trail>,
    troubles: Vec<WatchError>,
}

/// Events that change what a trail is made of, wherever they come from.
const STRUCTURE: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::ATTRIB)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::IGNORED);

impl Trails {
    /// None yet.
    ///
    /// # Errors
    /// inotify_init1(2).
    pub fn new() -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .tried(|| "cannot make a descriptor of inotify(7)".into())?;
        Ok(Self { inotify, watched: BTreeMap::new(), trails: BTreeMap::new(), troubles: Vec::new() })
    }

    /// Readable when something happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches an absolute path. A trail of that number is replaced.
    ///
    /// # Errors
    /// When the kernel watches no more (`ENOSPC`: see `/proc/sys/fs/inotify/max_user_watches`); nothing is watched then.
    /// That there is nothing at the path, or on the way, is no error.
    pub fn watch(&mut self, number: u64, path: &Path, interest: Interest) -> Result<()> {
        self.watch_parts(number, path, parts::plain_parts(path.as_os_str().as_bytes()), interest)
    }

    /// Watches whatever fits a pattern of glob(7), which may have braces.
    ///
    /// # Errors
    /// As [`Trails::watch`].
    pub fn watch_pattern(&mut self, number: u64, pattern: &Path, interest: Interest) -> Result<()> {
        self.watch_parts(number, pattern, parts::parts(pattern), interest)
    }

    fn watch_parts(&mut self, number: u64, path: &Path, parts: Vec<Part>, interest: Interest) -> Result<()> {
        let watches = self.trails.remove(&number).map(|old| old.watches).unwrap_or_default();
        self.trails.insert(number, Trail { path: path.to_owned(), parts, interest, watches });
        let done = self.walk(number);
        if done.is_err() {
            self.unwatch(number);
        }
        done
    }

    /// Watches it no more.
    pub fn unwatch(&mut self, number: u64) {
        if let Some(trail) = self.trails.remove(&number) {
            for wd in trail.watches {
                self.let_go(wd, number);
            }
        }
    }

    fn let_go(&mut self, wd: i32, number: u64) {
        let Some(watched) = self.watched.get_mut(&wd) else { return };
        watched.holds.remove(&number);
        if watched.holds.is_empty() {
            self.watched.remove(&wd);
            // Of an inode that is gone the kernel has removed it already.
            let _ = inotify::remove_watch(&self.inotify, wd);
        }
    }

    /// What happened since, once for each trail; the trails are watched further, as they are now.
    pub fn events(&mut self) -> Vec<Step> {
        // Trail, whether to itself, and whether it has to be walked anew.
        let mut touched: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        let mut room = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut room);
        loop {
            match reader.next() {
                Ok(event) => {
                    take(&self.watched, &self.trails, &event, &mut touched);
                    if event.events().contains(ReadFlags::IGNORED) {
                        self.watched.remove(&event.wd());
                    }
                }
                Err(Errno::INTR) => continue,
                Err(_) => break,
            }
            // One read is enough: the rest is told again.
            if reader.is_buffer_empty() {
                break;
            }
        }
        for (trail, (_, anew)) in &touched {
            if *anew && let Err(error) = self.walk(*trail) {
                self.troubles.push(error);
            }
        }
        touched.into_iter().map(|(trail, (itself, _))| Step { trail, itself }).collect()
    }

    /// What went wrong since when trails were walked anew. They are watched as far as they could be.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        std::mem::take(&mut self.troubles)
    }
}

/// Finds out which trails an event is for.
fn take(
    watched: &BTreeMap<i32, Watched>,
    trails: &BTreeMap<u64, Trail>,
    event: &inotify::Event<'_>,
    touched: &mut BTreeMap<u64, (bool, bool)>,
) {
    let flags = event.events();
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        // Anything may have happened to any of them.
        touched.extend(trails.keys().map(|trail| (*trail, (true, true))));
        return;
    }
    let Some(inode) = watched.get(&event.wd()) else { return };
    let always = flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT);
    for (trail, hold) in &inode.holds {
        let wanted = always || flags.bits() & hold.flags.bits() != 0;
        // An event with a name is one of an entry of the directory.
        let fits = match event.file_name() {
            Some(name) if !hold.itself => hold.awaited.iter().any(|part| part.fits(name.to_bytes())),
            _ => true,
        };
        if wanted && fits {
            let about = touched.entry(*trail).or_default();
            about.0 |= hold.itself;
            about.1 |= !hold.itself || flags.intersects(STRUCTURE);
        }
    }
}

#[cfg(test)]
mod tests;
