// SPDX-License-Identifier: GPL-2.0-or-later
//! A descriptor of ours in tokio's reactor.
//!
//! Unsafe, because tokio asks its caller to promise that the descriptor stays what it is for as long as it is waited for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for something to read at it.
///
/// # Errors
/// epoll_ctl(2).
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, moves in here, and nothing takes it out or closes it before the `AsyncFd` goes.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
