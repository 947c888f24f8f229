// SPDX-License-Identifier: GPL-2.0-or-later
//! Waiting for file descriptors, some of which belong to C libraries.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// `poll(2)`: what came for each of `wants`, after at most `timeout`; nothing came if a signal ended the wait.
pub(crate) fn poll(wants: &[(RawFd, PollFlags)], timeout: Option<Duration>) -> rustix::io::Result<Vec<PollFlags>> {
    let mut fds: Vec<PollFd<'_>> = wants
        .iter()
        .map(|(fd, flags)| {
            // SAFETY: the number is only handed to poll(2), which reports POLLNVAL for one that is not open and
            // touches no memory of its owner; the borrow ends with this function.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            PollFd::from_borrowed_fd(fd, *flags)
        })
        .collect();
    // Rounded up: a wait that ends a fraction of a millisecond early would be followed by turns that do nothing.
    let timeout = timeout.map(|t| t + Duration::from_millis(1)).map(|t| rustix::event::Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.iter().map(PollFd::revents).collect()),
        Err(Errno::INTR) => Ok(vec![PollFlags::empty(); wants.len()]),
        Err(errno) => Err(errno),
    }
}
