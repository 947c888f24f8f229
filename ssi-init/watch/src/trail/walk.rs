// SPDX-License-Identifier: GPL-2.0-or-later
//! Walks a trail: holds every inode on the way, and lets go of those that are no longer on it.
//!
//! A watch is set before it is looked what the thing is, and where something is missing its directory is watched before it
//! is looked for once more: so nothing happens unseen between the look and the watch.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;

use super::parts::{Part, plain_parts};
use super::{Hold, Trails, WATCHES_MAX};
use crate::error::{Result, Tried, WatchError};

/// Links that are followed on one way, as path_resolution(7) has it.
const LINKS_MAX: u32 = 40;

/// A place on the way.
const WAY: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);
/// A directory in which the next place is missing.
const AWAITS: WatchFlags = WAY.union(WatchFlags::CREATE).union(WatchFlags::MOVED_TO).union(WatchFlags::ATTRIB);

/// A walk: what is held so far, and by which path.
struct Walk<'a> {
    trails: &'a mut Trails,
    /// Of the thing itself.
    wanted: WatchFlags,
    holds: BTreeMap<i32, (Hold, PathBuf)>,
    /// The kernel's refusal to watch more.
    refused: Option<WatchError>,
}

impl Trails {
    /// Walks a trail, from the root.
    ///
    /// # Errors
    /// When the kernel watches no more.
    pub(super) fn walk(&mut self, number: u64) -> Result<()> {
        let Some(trail) = self.trails.get(&number) else { return Ok(()) };
        let (parts, wanted, path) = (trail.parts.clone(), trail.interest.flags(), trail.path.clone());
        let mut walk = Walk { trails: self, wanted, holds: BTreeMap::new(), refused: None };
        walk.hold(Path::new("/"), WAY, false, None);
        walk.follow(PathBuf::from("/"), &parts, 0);
        let Walk { holds, refused, .. } = walk;
        let watches = holds.keys().copied().collect();
        let before = self.trails.get_mut(&number).map(|trail| std::mem::replace(&mut trail.watches, watches));
        for wd in before.unwrap_or_default() {
            if !holds.contains_key(&wd) {
                self.let_go(wd, number);
            }
        }
        for (wd, (hold, path)) in holds {
            self.watched.entry(wd).or_default().holds.insert(number, hold);
            self.narrow(wd, &path);
        }
        match refused {
            None => Ok(()),
            Some(error) => {
                Err(WatchError { what: format!("cannot watch {}: {}", path.display(), error.what), ..error })
            }
        }
    }

    /// Has the kernel tell of no more than somebody wants to hear.
    fn narrow(&mut self, wd: i32, path: &Path) {
        let Some(watched) = self.watched.get_mut(&wd) else { return };
        let wanted = watched.holds.values().fold(WatchFlags::empty(), |all, hold| all | hold.flags);
        if wanted == watched.told {
            return;
        }
        match inotify::add_watch(&self.inotify, path, wanted | WatchFlags::DONT_FOLLOW) {
            Ok(same) if same == wd => watched.told = wanted,
            // Another thing is there by now, and of that a watch that is held tells, or has told.
            Ok(other) if !self.watched.contains_key(&other) => {
                let _ = inotify::remove_watch(&self.inotify, other);
            }
            // More is told than anybody wants to hear: that is sorted out later.
            _ => {}
        }
    }
}

impl Walk<'_> {
    /// Holds what is at this path, a link as itself; `None` when there is nothing.
    fn hold(&mut self, path: &Path, flags: WatchFlags, itself: bool, awaited: Option<&Part>) -> Option<i32> {
        if self.holds.len() >= WATCHES_MAX {
            self.refuse(Errno::MFILE, path);
            return None;
        }
        let add = flags | WatchFlags::DONT_FOLLOW | WatchFlags::MASK_ADD;
        match inotify::add_watch(&self.trails.inotify, path, add) {
            Ok(wd) => {
                self.trails.watched.entry(wd).or_default().told |= flags;
                let (hold, _) = self.holds.entry(wd).or_insert_with(|| (Hold::default(), path.to_owned()));
                hold.flags |= flags;
                hold.itself |= itself;
                hold.awaited.extend(awaited.cloned());
                Some(wd)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => None,
            Err(error) => {
                self.refuse(error, path);
                None
            }
        }
    }

    fn refuse(&mut self, errno: Errno, path: &Path) {
        if self.refused.is_none() {
            self.refused = Err::<(), _>(errno).tried(|| format!("inotify_add_watch(2) of {}", path.display())).err();
        }
    }

    /// Goes on from a directory that is held, and whose path has no links in it.
    fn follow(&mut self, at: PathBuf, rest: &[Part], links: u32) {
        let Some((part, after)) = rest.split_first() else {
            self.hold(&at, self.wanted, true, None);
            return;
        };
        match part {
            Part::Up => {
                let up = at.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
                self.hold(&up, WAY, false, None);
                self.follow(up, after, links);
            }
            Part::Name(name) => {
                let there = at.join(name);
                if !self.enter(&there, after, links) {
                    self.hold(&at, AWAITS, false, Some(part));
                    self.enter(&there, after, links);
                }
            }
            Part::Pattern(_) | Part::Any => {
                // More may come at any time.
                self.hold(&at, AWAITS, false, Some(part));
                let names = std::fs::read_dir(&at).into_iter().flatten().filter_map(std::result::Result::ok);
                for name in names.map(|entry| entry.file_name()) {
                    if part.fits(name.as_bytes()) && self.refused.is_none() {
                        self.enter(&at.join(name), after, links);
                    }
                }
            }
        }
    }

    /// Holds what is at this path and goes on from there; false when there is nothing.
    fn enter(&mut self, there: &Path, after: &[Part], links: u32) -> bool {
        let last = after.is_empty();
        let flags = if last { self.wanted } else { WAY };
        if self.hold(there, flags, last, None).is_none() {
            return false;
        }
        match rustix::fs::readlink(there, Vec::new()) {
            Ok(target) => {
                // A link that leads in a circle leads nowhere; it is held, should it be replaced.
                if links < LINKS_MAX {
                    self.lead(there, target.as_bytes(), after, links + 1);
                }
                true
            }
            // No link.
            Err(Errno::INVAL) => {
                if !last {
                    self.follow(there.to_owned(), after, links);
                }
                true
            }
            // It went between the two calls.
            Err(_) => false,
        }
    }

    /// Goes on where a link leads.
    fn lead(&mut self, link: &Path, target: &[u8], after: &[Part], links: u32) {
        let mut rest = plain_parts(target);
        rest.extend_from_slice(after);
        let from = match target.first() {
            Some(b'/') => PathBuf::from("/"),
            _ => link.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned),
        };
        self.follow(from, &rest, links);
    }
}
