// SPDX-License-Identifier: GPL-2.0-or-later
//! Which groups have become empty, and in which the kernel killed for want of memory.
//!
//! The kernel writes both into files of the group (`cgroup.events`, `memory.events`) and tells inotify(7) of each
//! change. Watching is by group; one descriptor serves all of them.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::CgroupError;

/// Something happened to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// No process is left in it and below it.
    Empty(String),
    /// The kernel killed a process in it or below it for want of memory.
    OutOfMemory(String),
}

/// Watches groups. [`AsFd`] is for poll(2): readable when there is something to [`Watch::read`].
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    root: PathBuf,
    groups: BTreeMap<String, Watched>,
    by_number: BTreeMap<i32, (String, File)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Events,
    Memory,
}

#[derive(Debug, Default)]
struct Watched {
    numbers: Vec<i32>,
    /// How often the kernel had killed when we looked last.
    kills: u64,
}

impl Watch {
    /// A watch of groups below `root`.
    ///
    /// # Errors
    /// When there is no inotify instance to be had (fs.inotify.max_user_instances).
    pub fn new(root: &Path) -> Result<Watch, CgroupError> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| CgroupError {
            attempt: "watch groups below",
            path: root.to_owned(),
            errno,
        })?;
        Ok(Watch { inotify, root: root.to_owned(), groups: BTreeMap::new(), by_number: BTreeMap::new() })
    }

    /// Watches a group, from now on: one that is empty already is not told of.
    ///
    /// # Errors
    /// When it is not there, or there are too many watches (fs.inotify.max_user_watches).
    pub fn add(&mut self, group: &str) -> Result<(), CgroupError> {
        let name = group.trim_matches('/');
        if self.groups.contains_key(name) {
            return Ok(());
        }
        let directory = self.root.join(name);
        let mut watched = Watched { kills: kills(&directory), ..Watched::default() };
        for (file, kind) in [("cgroup.events", File::Events), ("memory.events", File::Memory)] {
            let path = directory.join(file);
            match inotify::add_watch(&self.inotify, &path, WatchFlags::MODIFY) {
                Ok(number) => {
                    watched.numbers.push(number);
                    self.by_number.insert(number, (name.to_owned(), kind));
                }
                // Where the memory controller is not handed down.
                Err(Errno::NOENT) if kind == File::Memory => {}
                Err(errno) => return Err(CgroupError { attempt: "watch", path, errno }),
            }
        }
        self.groups.insert(name.to_owned(), watched);
        Ok(())
    }

    /// Stops watching a group.
    pub fn remove(&mut self, group: &str) {
        let Some(watched) = self.groups.remove(group.trim_matches('/')) else { return };
        for number in watched.numbers {
            self.by_number.remove(&number);
            // The kernel ends the watch of a group that is gone by itself.
            let _ = inotify::remove_watch(&self.inotify, number);
        }
    }

    /// The groups that have become empty since the last read, without their leading `/`.
    pub fn read(&mut self) -> Vec<String> {
        let empty = |event| match event {
            GroupEvent::Empty(group) => Some(group),
            GroupEvent::OutOfMemory(_) => None,
        };
        self.events().into_iter().filter_map(empty).collect()
    }

    /// All that happened since the last read, each group once: first those that are out of memory, as it may be why
    /// others are empty.
    pub fn events(&mut self) -> Vec<GroupEvent> {
        let mut touched: Vec<(String, File)> = Vec::new();
        let mut overflow = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => overflow = true,
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    // The group was removed, and the number may be given to another one.
                    if let Some((group, File::Events)) = self.by_number.remove(&event.wd()) {
                        self.groups.remove(&group);
                    }
                }
                Ok(event) => {
                    if let Some(known) = self.by_number.get(&event.wd()).filter(|known| !touched.contains(known)) {
                        touched.push(known.clone());
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if overflow {
            // Something was lost: look at all of them.
            touched = self.by_number.values().cloned().collect();
        }
        let mut found = Vec::new();
        for (group, file) in &touched {
            if *file == File::Memory
                && let Some(watched) = self.groups.get_mut(group)
            {
                let now = kills(&self.root.join(group));
                if now > watched.kills {
                    found.push(GroupEvent::OutOfMemory(group.clone()));
                }
                watched.kills = now;
            }
        }
        for (group, file) in touched {
            if file == File::Events && !super::populated(&self.root.join(&group)) {
                found.push(GroupEvent::Empty(group));
            }
        }
        found
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn kills(directory: &Path) -> u64 {
    super::keyed(&directory.join("memory.events"), "oom_kill").unwrap_or(0)
}
