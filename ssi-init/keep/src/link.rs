// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager's way to process 1; or, without one, to what this process can do of that itself.
//!
//! ```text
//!   Link::find ─┬─ descriptor 3 is a link ──> Process1     descriptors, log and zombies are kept by process 1
//!               └─ it is not ──────────────> Standalone    in this process, which is the subreaper of its children
//! ```
//!
//! The two differ in two things only: with process 1 the units' processes are to be its children
//! ([`Link::units_are_siblings`]), and what is kept outlives this process.
//!
//! The descriptor ([`AsFd`]) is to be waited for by [`Link::interest`], and [`Link::next_deadline`] says until when.
//! Whenever it is ready, and after anything was asked for: [`Link::receive`] until it gives nothing.
//!
//! # What counts as said
//!
//! Process 1 reads all that was sent to it, even of a manager that has died. So what was sent counts. While the socket
//! is full, messages wait in this process, in order, and are lost with it: [`Link::is_flushed`] tells. Nothing is
//! acknowledged out of order, so what waits is as if it had not been decided yet.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub use ssi_pid1::protocol::{BadMessage, Counters, Exit, Greeting, How, Name, Refusal, Signal, Why};

mod error;
mod outbox;
mod process1;
mod standalone;

pub use error::LinkError;
pub use outbox::WAITING_MAX;
pub use process1::Process1;
pub use standalone::Standalone;

/// What comes over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A child is dead. It stays a zombie, and the next exit is not told, until [`Link::ack`].
    Exit(Exit),
    /// A signal was sent to process 1.
    Signal(Signal),
    /// Process 1 has answered a ping.
    Pong(Counters),
    /// Process 1 has the snapshot that it was sent last.
    SnapshotHeld,
    /// Process 1 did not take the snapshot that it was sent last; it has the former one still.
    SnapshotRefused(Refusal),
    /// Something else was not done.
    Refused(Refusal),
    /// Process 1 said something that this program does not understand.
    Unreadable(BadMessage),
}

/// What a manager is given when it says hello.
#[derive(Debug, Default)]
pub struct Handover {
    /// What is to be known of process 1.
    pub greeting: Greeting,
    /// The kept descriptors by their names; close-on-exec.
    pub kept: BTreeMap<Vec<u8>, OwnedFd>,
    /// Names whose descriptor this process could not take (`RLIMIT_NOFILE`). Process 1 has them still.
    pub lost: Vec<Vec<u8>>,
    /// The file of the log, if there is one.
    pub snapshot: Option<OwnedFd>,
}

/// What to wait for on the link's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until something is to be read. Always.
    pub read: bool,
    /// Until something can be written: there are messages that wait.
    pub write: bool,
}

/// Who ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Process 1 does, and ends this process too.
    Process1,
    /// There is none: this process is to end itself, with this status.
    Itself(u8),
}

/// The way to process 1, or what stands for it.
#[derive(Debug)]
pub enum Link {
    /// There is a process 1 behind descriptor 3.
    Process1(Process1),
    /// There is none.
    Standalone(Standalone),
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process1(link) => link.as_fd(),
            Self::Standalone(link) => link.as_fd(),
        }
    }
}

impl Link {
    /// The link to process 1 where descriptor 3 is one; else standalone. To be called once, while there is one thread
    /// and nothing else was opened.
    ///
    /// # Errors
    /// [`LinkError::Pid1`] where there is one that cannot be used; those of [`Standalone::new`].
    pub fn find() -> Result<Self, LinkError> {
        match Process1::inherited() {
            Ok(link) => Ok(Self::Process1(link)),
            Err(LinkError::Pid1(ssi_pid1::link::LinkError::NotInherited(_))) => Standalone::new().map(Self::Standalone),
            Err(error) => Err(error),
        }
    }

    /// Says hello, and waits for all that is kept. What process 1 tells beside that comes from [`Link::receive`] later.
    ///
    /// # Errors
    /// [`LinkError::Silent`] after `timeout`; [`LinkError::Greeting`]; [`LinkError::SnapshotLost`]; [`LinkError::Gone`];
    /// [`LinkError::Pid1`].
    pub fn hello(&mut self, timeout: Duration) -> Result<Handover, LinkError> {
        match self {
            Self::Process1(link) => link.hello(timeout),
            Self::Standalone(link) => Ok(link.hello()),
        }
    }

    /// Sends what waits, and gives the next event; `None`: there is none now.
    ///
    /// # Errors
    /// [`LinkError::Gone`]: process 1 has let go of this manager, which is to end; [`LinkError::Pid1`].
    pub fn receive(&mut self) -> Result<Option<Event>, LinkError> {
        match self {
            Self::Process1(link) => link.receive(),
            Self::Standalone(link) => link.receive(),
        }
    }

    /// What to wait for.
    pub fn interest(&self) -> Interest {
        match self {
            Self::Process1(link) => link.interest(),
            Self::Standalone(_) => Interest { read: true, write: false },
        }
    }

    /// When [`Link::tick`] is to be called at the latest; `None`: never.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Process1(link) => link.next_deadline(),
            Self::Standalone(_) => None,
        }
    }

    /// Sends what waits, and a ping where one is due: after a quarter of the silence that process 1 bears. It is to be
    /// called by the manager's own loop, so that it says that this one lives.
    ///
    /// # Errors
    /// [`LinkError::Gone`]; [`LinkError::Pid1`].
    pub fn tick(&mut self, now: Instant) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.tick(now),
            Self::Standalone(_) => Ok(()),
        }
    }

    /// Was all that was asked for sent?
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Process1(link) => link.is_flushed(),
            Self::Standalone(_) => true,
        }
    }

    /// Keeps a descriptor under a name; it stays the caller's too. One of that name from before is closed.
    ///
    /// # Errors
    /// [`LinkError::Full`]: as many messages wait as can; once [`Link::interest`] has no `write` any more, again.
    /// [`LinkError::Duplicate`]; [`LinkError::Gone`]; [`LinkError::Pid1`].
    pub fn keep(&mut self, name: Name<'_>, fd: BorrowedFd<'_>) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.keep(name, fd),
            Self::Standalone(link) => link.keep(name, fd),
        }
    }

    /// Forgets a kept descriptor.
    ///
    /// # Errors
    /// As [`Link::keep`].
    pub fn forget(&mut self, name: Name<'_>) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.forget(name),
            Self::Standalone(link) => {
                link.forget(name);
                Ok(())
            }
        }
    }

    /// Makes this file the snapshot. Answered by [`Event::SnapshotHeld`] or [`Event::SnapshotRefused`].
    ///
    /// # Errors
    /// As [`Link::keep`], but never [`LinkError::Full`].
    pub fn snapshot(&mut self, file: BorrowedFd<'_>) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.snapshot(file),
            Self::Standalone(link) => link.snapshot(file),
        }
    }

    /// Acknowledges an exit: what follows from it is committed. The zombie is reaped, and the next exit is told.
    ///
    /// # Errors
    /// [`LinkError::Gone`]; [`LinkError::Pid1`].
    pub fn ack(&mut self, seq: u64) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.ack(seq),
            Self::Standalone(link) => {
                link.ack(seq);
                Ok(())
            }
        }
    }

    /// All units are down: the machine is to be ended. `argument`, at most 255 bytes, is for reboot(2).
    ///
    /// # Errors
    /// [`LinkError::Argument`]; else as [`Link::ack`].
    pub fn shutdown(&mut self, how: How, status: u8, argument: Option<&[u8]>) -> Result<EndedBy, LinkError> {
        match self {
            Self::Process1(link) => link.shutdown(how, status, argument).map(|()| EndedBy::Process1),
            Self::Standalone(_) => Ok(EndedBy::Itself(status)),
        }
    }

    /// Process 1 is to execute itself anew. Without one nothing is to be done.
    ///
    /// # Errors
    /// As [`Link::ack`].
    pub fn reexec(&mut self) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.reexec(),
            Self::Standalone(_) => Ok(()),
        }
    }

    /// Process 1 is to keep the hardware watchdog: to reset the machine after `timeout` without petting (zero: disarm, or
    /// with `None` as the boot's settings have it),
    /// and to pet it `pet_for` from now on (`None`: for as long as it lives). Refused without a process 1.
    ///
    /// # Errors
    /// As [`Link::ack`].
    pub fn watchdog(&mut self, timeout: Duration, pet_for: Option<Duration>) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.watchdog(timeout, pet_for),
            Self::Standalone(link) => {
                link.refuse_watchdog();
                Ok(())
            }
        }
    }

    /// Are the units' processes to be this process's siblings (`CLONE_PARENT`, clone(2)), and not its children?
    pub fn units_are_siblings(&self) -> bool {
        matches!(self, Self::Process1(_))
    }

    /// Lets the link through an exec by which the manager is replaced; all that waits is sent before. It closes on exec
    /// again with [`Link::exec_failed`].
    ///
    /// # Errors
    /// [`LinkError::Silent`] if not all could be sent within `timeout`; [`LinkError::KeptHere`] without a process 1:
    /// what is kept would be lost. [`LinkError::Gone`]; [`LinkError::Pid1`].
    pub fn before_exec(&mut self, timeout: Duration) -> Result<(), LinkError> {
        match self {
            Self::Process1(link) => link.before_exec(timeout),
            Self::Standalone(_) => Err(LinkError::KeptHere),
        }
    }

    /// The exec did not happen.
    pub fn exec_failed(&mut self) {
        if let Self::Process1(link) = self {
            link.exec_failed();
        }
    }
}
