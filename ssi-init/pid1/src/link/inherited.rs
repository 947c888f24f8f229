// SPDX-License-Identifier: GPL-2.0-or-later
//! Taking the descriptor that process 1 left at a fixed number.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::SocketType;

use crate::LINK_FD;

/// Descriptor [`LINK_FD`], if it is a sequential packet socket.
pub(super) fn link() -> Result<OwnedFd, Errno> {
    // SAFETY: the number is only asked about; where no such descriptor is open, the calls below fail with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(LINK_FD) };
    if rustix::net::sockopt::socket_type(fd)? != SocketType::SEQPACKET {
        return Err(Errno::PROTOTYPE);
    }
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as the calls above have shown, and by the contract with process 1 it is the manager's own:
    // nothing else in the process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(LINK_FD) })
}
