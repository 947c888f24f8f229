// SPDX-License-Identifier: GPL-2.0-or-later
//! Messages on their way to process 1: sent at once, or in order once the socket takes more.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use ssi_pid1::link::{Link as Socket, LinkError as SocketError};
use ssi_pid1::protocol::{Frame, ToPid1};

use super::LinkError;

/// How many messages with descriptors to keep or to forget can wait. Each takes some 300 bytes and, if it has one, a
/// descriptor. Other messages are few by their nature, and always find room.
pub const WAITING_MAX: usize = 8192;

/// How long to wait where the system gives no sign when it takes more.
const PAUSE: Duration = Duration::from_millis(20);

struct Waiting {
    frame: Frame,
    fd: Option<OwnedFd>,
}

/// Messages that wait.
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    sent: Instant,
    /// No memory, or too many descriptors on their way: nothing tells when that is over.
    pause: Option<Instant>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbox({} wait)", self.waiting.len())
    }
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), sent: now, pause: None }
    }

    /// When the last message was sent.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// Until when nothing is to be tried; `None`: the socket tells.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.pause.filter(|_| !self.waiting.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Is there no room for another descriptor?
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Sends a message, or lets it wait behind the others.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        message: &ToPid1<'_>,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError> {
        let frame = message.encode();
        self.flush(socket)?;
        if self.waiting.is_empty() && self.try_one(socket, &frame, fd)? {
            return Ok(());
        }
        let fd = fd.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 4)).transpose().map_err(LinkError::Duplicate)?;
        self.waiting.push_back(Waiting { frame, fd });
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self, socket: &Socket) -> Result<(), LinkError> {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        while let Some(first) = self.waiting.pop_front() {
            match self.try_one(socket, &first.frame, first.fd.as_ref().map(AsFd::as_fd)) {
                Ok(true) => {}
                other => {
                    self.waiting.push_front(first);
                    return other.map(|_| ());
                }
            }
        }
        Ok(())
    }

    /// Was it sent?
    fn try_one(&mut self, socket: &Socket, frame: &Frame, fd: Option<BorrowedFd<'_>>) -> Result<bool, LinkError> {
        self.pause = None;
        match socket.send(frame, fd) {
            Ok(()) => {
                self.sent = Instant::now();
                Ok(true)
            }
            Err(error) if error.would_block() => Ok(false),
            // unix(7): more descriptors on their way than RLIMIT_NOFILE, until process 1 reads; no memory in the kernel.
            Err(error) if matches!(error.errno(), Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                self.pause = Some(Instant::now() + PAUSE);
                Ok(false)
            }
            Err(SocketError::Send(Errno::PIPE | Errno::CONNRESET)) => Err(LinkError::Gone),
            Err(error) => Err(error.into()),
        }
    }
}
