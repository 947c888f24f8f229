// SPDX-License-Identifier: GPL-2.0-or-later
//! One epoll(7) descriptor for all that the manager waits for beside its clients on the bus.
//!
//! It is level-triggered: who does not read all that is there is called again.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor is waited for on behalf of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Process 1.
    Link,
    /// Control groups.
    Groups,
    /// The notification socket.
    Notify,
    /// Ports of socket units.
    Ports,
    /// Paths of path units, and PID files.
    Paths,
    /// The table of mounts.
    Mounts,
    /// The table of swap areas.
    Swaps,
    /// udev.
    Devices,
    /// autofs.
    Autofs,
    /// The clock of the day, and the time zone.
    Clock,
    /// What a starting process tells.
    Report(u32),
    /// The other end of what a service has stored.
    Stored(u32),
}

impl Source {
    const ALL: [Source; 10] = [
        Source::Link,
        Source::Groups,
        Source::Notify,
        Source::Ports,
        Source::Paths,
        Source::Mounts,
        Source::Swaps,
        Source::Devices,
        Source::Autofs,
        Source::Clock,
    ];

    fn number(self) -> u64 {
        match self {
            Source::Report(pid) => (1 << 32) | u64::from(pid),
            Source::Stored(number) => (2 << 32) | u64::from(number),
            other => Self::ALL.iter().position(|one| *one == other).unwrap_or(0) as u64,
        }
    }

    fn of(number: u64) -> Option<Source> {
        match number >> 32 {
            1 => return Some(Source::Report(number as u32)),
            2 => return Some(Source::Stored(number as u32)),
            _ => {}
        }
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// How many sources are looked at in one turn.
const AT_ONCE: usize = 64;

/// The descriptor, and what it waits for.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    writes: BTreeMap<Source, bool>,
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl std::os::fd::AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Poller {
    /// One that waits for nothing.
    ///
    /// # Errors
    /// epoll_create1(2).
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, writes: BTreeMap::new() })
    }

    /// Waits for something to read, or with `write` for room to write as well.
    ///
    /// # Errors
    /// epoll_ctl(2).
    pub(crate) fn set(&mut self, source: Source, fd: BorrowedFd<'_>, write: bool) -> Result<(), Errno> {
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, write);
        let data = EventData::new_u64(source.number());
        match self.writes.insert(source, write) {
            None => epoll::add(&self.epoll, fd, data, flags),
            Some(before) if before == write => Ok(()),
            Some(_) => epoll::modify(&self.epoll, fd, data, flags),
        }
    }

    /// Waits for the other end to go away, and for nothing else.
    ///
    /// # Errors
    /// epoll_ctl(2): EPERM for what has no other end, as files.
    pub(crate) fn set_hang_up(&mut self, source: Source, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(source.number()), EventFlags::empty())?;
        self.writes.insert(source, false);
        Ok(())
    }

    /// Waits no more.
    pub(crate) fn remove(&mut self, source: Source, fd: BorrowedFd<'_>) {
        if self.writes.remove(&source).is_some() {
            // It is not there if it was closed already, which removes it as well.
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// What is ready now; nothing: wait.
    pub(crate) fn ready(&self) -> Vec<Source> {
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Err(Errno::INTR) = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&now)) {
        }
        events.iter().filter_map(|event| Source::of(event.data.u64())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_told_from_the_others() {
        let all = Source::ALL.into_iter().chain([Source::Report(0), Source::Report(7), Source::Report(u32::MAX)]);
        let all = all.chain([Source::Stored(0), Source::Stored(7), Source::Stored(u32::MAX)]);
        for source in all {
            assert_eq!(Source::of(source.number()), Some(source));
        }
        assert_eq!(Source::of(99), None);
    }

    #[test]
    fn what_is_not_read_is_told_again() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.set(Source::Notify, read.as_fd(), false).unwrap();
        assert!(poller.ready().is_empty());
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(poller.ready(), [Source::Notify]);
        assert_eq!(poller.ready(), [Source::Notify]);
        poller.remove(Source::Notify, read.as_fd());
        assert!(poller.ready().is_empty());
    }
}
