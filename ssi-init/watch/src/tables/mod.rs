// SPDX-License-Identifier: GPL-2.0-or-later
//! The kernel's tables of mounts and of swap areas, whole, each time that they change.
//!
//! The kernel tells of a change by `POLLPRI` on the open table (proc_pid_mountinfo(5)), and takes every look at that for
//! having told. A look through several epolls, one inside the other, is several looks, of which only the first sees
//! anything. `POLLIN` on the other hand always is there: waited for with `EPOLLET` it is told once for each change, and
//! until then stays (fs/eventpoll.c: an item goes on the list of what is ready when it is woken, and leaves the list when
//! it is told). That is why what looks like a mistake here is none.

mod escape;
pub mod mountinfo;
pub mod swaps;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use ssi_manager::core::Event;
use ssi_manager::core::mount::Mounted;
use ssi_manager::core::swap::InUse;

use crate::error::{Result, Tried, WatchError};
use crate::nest::Nest;
use crate::trail::{Interest, Trails};

/// The table of mounts of this process.
pub const MOUNTINFO: &str = "/proc/self/mountinfo";
/// What mount(8) notes beside it.
pub const UTAB: &str = "/run/mount/utab";
/// The table of swap areas.
pub const SWAPS: &str = "/proc/swaps";

const TABLE: u64 = 0;
const NOTES: u64 = 1;

/// How often a table that changes while it is read is read anew before what was read is taken.
const READS_MAX: usize = 5;

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).tried(|| format!("cannot open {}", path.display()))
}

/// Reads a table that the kernel writes piece by piece, as of one moment.
fn read(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    let mut table = Vec::new();
    for _ in 0..READS_MAX {
        table.clear();
        // Newly opened: what the kernel tells of changes counts from then on.
        let mut file = std::fs::File::from(open(path)?);
        std::io::Read::read_to_end(&mut file, &mut table).tried(what)?;
        let mut look = [PollFd::new(&file, PollFlags::PRI)];
        match poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(1..) if look[0].revents().contains(PollFlags::PRI) => {}
            Ok(_) | Err(Errno::INTR) => break,
            Err(error) => return Err(error).tried(what),
        }
    }
    Ok(table)
}

/// The table of mounts.
#[derive(Debug)]
pub struct Mounts {
    nest: Nest,
    table: PathBuf,
    utab: PathBuf,
    // Held open: it is what is waited for.
    _held: OwnedFd,
    notes: Trails,
    last: Option<Vec<Mounted>>,
    troubles: Vec<WatchError>,
}

impl Mounts {
    /// Watches the table at this path ([`MOUNTINFO`]), and the notes at that ([`UTAB`]). The first event is the table as it
    /// is now.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn new(table: &Path, utab: &Path) -> Result<Self> {
        let nest = Nest::new()?;
        let held = open(table)?;
        let what = || format!("cannot wait for changes of {}", table.display());
        nest.add(held.as_fd(), TABLE, EventFlags::IN | EventFlags::ET).tried(what)?;
        let mut notes = Trails::new()?;
        notes.watch(0, utab, Interest::Changed)?;
        nest.add(notes.fd(), NOTES, EventFlags::IN).tried(what)?;
        let (table, utab) = (table.to_owned(), utab.to_owned());
        Ok(Self { nest, table, utab, _held: held, notes, last: None, troubles: Vec::new() })
    }

    /// Readable when the table changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.nest.fd()
    }

    /// The table as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self) -> Result<Vec<Mounted>> {
        let (mut entries, wrong) = mountinfo::parse(&read(&self.table)?);
        let wrong = wrong.into_iter().map(|text| WatchError::found(text, Errno::ILSEQ));
        self.troubles.extend(wrong);
        match std::fs::read(&self.utab) {
            Ok(utab) => mountinfo::add_noted(&mut entries, &utab),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.troubles.push(WatchError::new(format!("cannot read {}", self.utab.display()), error)),
        }
        Ok(entries.into_iter().map(|entry| entry.mounted).collect())
    }

    /// The table, if it is another one than when it was last told.
    pub fn events(&mut self) -> Vec<Event> {
        if self.nest.ready().contains(&NOTES) {
            self.notes.events();
        }
        match self.read() {
            Ok(table) if self.last.as_ref() != Some(&table) => {
                self.last = Some(table.clone());
                vec![Event::Mounts(table)]
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                self.troubles.push(error);
                Vec::new()
            }
        }
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        let mut troubles = std::mem::take(&mut self.troubles);
        troubles.extend(self.notes.troubles());
        troubles
    }
}

/// The table of swap areas.
#[derive(Debug)]
pub struct Swaps {
    nest: Nest,
    table: PathBuf,
    _held: OwnedFd,
    last: Option<Vec<InUse>>,
    troubles: Vec<WatchError>,
}

impl Swaps {
    /// Watches the table at this path ([`SWAPS`]). The first event is the table as it is now.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has no swap; else the step that failed.
    pub fn new(table: &Path) -> Result<Self> {
        let nest = Nest::new()?;
        let held = open(table)?;
        let what = || format!("cannot wait for changes of {}", table.display());
        nest.add(held.as_fd(), TABLE, EventFlags::IN | EventFlags::ET).tried(what)?;
        Ok(Self { nest, table: table.to_owned(), _held: held, last: None, troubles: Vec::new() })
    }

    /// Readable when the table changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.nest.fd()
    }

    /// The table as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self) -> Result<Vec<InUse>> {
        let (areas, wrong) = swaps::parse(&read(&self.table)?);
        self.troubles.extend(wrong.into_iter().map(|text| WatchError::found(text, Errno::ILSEQ)));
        Ok(areas)
    }

    /// The table, if it is another one than when it was last told.
    pub fn events(&mut self) -> Vec<Event> {
        self.nest.ready();
        match self.read() {
            Ok(table) if self.last.as_ref() != Some(&table) => {
                self.last = Some(table.clone());
                vec![Event::Swaps(table)]
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                self.troubles.push(error);
                Vec::new()
            }
        }
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        std::mem::take(&mut self.troubles)
    }
}
