// SPDX-License-Identifier: GPL-2.0-or-later
//! Why a log could not be read or written.

use std::io;

use thiserror::Error;

use super::{BATCH_MAX, KEY_MAX, VALUE_MAX, layout::VERSION};

/// What went wrong with a log.
#[derive(Debug, Error)]
pub enum LogError {
    /// No memory file.
    #[error("making a memory file for the manager's log: {0}")]
    Make(#[source] io::Error),
    /// The file's size could not be asked or set.
    #[error("looking at the size of the manager's log: {0}")]
    Size(#[source] io::Error),
    /// Reading failed.
    #[error("reading the manager's log at byte {at}: {source}")]
    Read {
        /// Where.
        at: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Writing failed: no memory, as a rule. The batch is not in the file; what it holds waits for the next commit.
    #[error("writing {size} bytes to the manager's log at byte {at}: {source}; the changes wait for the next commit")]
    Write {
        /// Where.
        at: u64,
        /// How much was to be written.
        size: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file does not begin as a log.
    #[error("the file of {0} bytes that should be the manager's log does not begin as one")]
    NotALog(u64),
    /// The log is of another format.
    #[error(
        "the manager's log is of format {0}, this program knows {VERSION}: start the manager that wrote it, or let go of \
         the state"
    )]
    Version(u32),
    /// The checksum is right, and yet there is something that this program does not write.
    #[error("the batch at byte {0} of the manager's log is whole, but holds what this program does not know")]
    Unknown(u64),
    /// A key that is none.
    #[error("{0:?} is no key: 1 to {KEY_MAX} bytes, none of them a control character")]
    Key(String),
    /// A value of more than [`VALUE_MAX`] bytes.
    #[error("the value of {key} has {size} bytes, more than {VALUE_MAX}")]
    TooLarge {
        /// Whose.
        key: String,
        /// How much it has.
        size: usize,
    },
    /// The changes since the last commit would be more than [`BATCH_MAX`] bytes.
    #[error("with {0} the changes since the last commit would be more than {BATCH_MAX} bytes: commit before")]
    BatchFull(String),
    /// What is read is not what was written.
    #[error("the value of {0} in the manager's log was changed by somebody else")]
    Changed(String),
    /// The log was compacted, and process 1 does not hold the new file yet.
    #[error("the manager's log was compacted before, and process 1 does not hold that file yet")]
    NotHeld,
}
