// SPDX-License-Identifier: GPL-2.0-or-later
//! Why the link is of no use.

use std::time::Duration;

use rustix::io::Errno;
use ssi_pid1::protocol::BadMessage;
use thiserror::Error;

use super::outbox::WAITING_MAX;

/// What went wrong with the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The socket itself.
    #[error(transparent)]
    Pid1(#[from] ssi_pid1::link::LinkError),
    /// The other end is closed: process 1 has let go of this manager, and starts another.
    #[error("process 1 has closed its end of the link: this manager is to end, another follows it")]
    Gone,
    /// Nothing came, or could be sent, for so long.
    #[error("process 1 did not {what} within {} ms", .after.as_millis())]
    Silent {
        /// What it should have done.
        what: &'static str,
        /// For how long it was waited.
        after: Duration,
    },
    /// The greeting cannot be read.
    #[error("process 1 answers hello with what this program does not understand: {0}; are both of one version?")]
    Greeting(BadMessage),
    /// The snapshot was sent and did not arrive.
    #[error(
        "process 1 handed over the manager's log, but this process has as many files open as it may: raise RLIMIT_NOFILE \
         before hello"
    )]
    SnapshotLost,
    /// As many messages wait as can.
    #[error("{WAITING_MAX} messages wait for process 1 to read: try again when the link can be written to")]
    Full,
    /// A descriptor that has to wait with its message could not be duplicated.
    #[error("duplicating a descriptor for process 1: {0}")]
    Duplicate(Errno),
    /// The file with the argument for reboot(2) could not be made.
    #[error("writing the argument for reboot(2) for process 1: {0}")]
    Argument(Errno),
    /// Waiting failed.
    #[error("waiting for process 1: {0}")]
    Wait(Errno),
    /// A step of becoming the reaper of one's own children failed.
    #[error("without a process 1: {what}: {errno}")]
    Standalone {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        errno: Errno,
    },
    /// What is kept would be lost.
    #[error("without a process 1 the manager cannot execute itself anew: what it keeps would be lost")]
    KeptHere,
}
