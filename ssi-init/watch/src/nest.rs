// SPDX-License-Identifier: GPL-2.0-or-later
//! An epoll(7) inside the manager's own: several descriptors that are waited for as one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::error::{Result, Tried};

/// How much is taken in one turn: what is left is told again.
pub(crate) const AT_ONCE: usize = 256;

/// Descriptors by numbers of the caller's.
#[derive(Debug)]
pub(crate) struct Nest {
    epoll: OwnedFd,
}

impl Nest {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).tried(|| "cannot make a descriptor of epoll(7)".into())?;
        Ok(Self { epoll })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, number: u64, flags: EventFlags) -> std::result::Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(number), flags)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // Who closed it elsewhere has removed it as well.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// The numbers of what is ready now.
    pub(crate) fn ready(&self) -> Vec<u64> {
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Nothing but a signal can come between with a descriptor and a buffer of our own.
        while let Err(Errno::INTR) = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&now)) {
        }
        events.iter().map(|event| event.data.u64()).collect()
    }
}
