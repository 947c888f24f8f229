// SPDX-License-Identifier: GPL-2.0-or-later
//! How a command ends: the exit statuses that all of the project's programs share, and failures as sentences.

use std::process::ExitCode;

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done, or is so.
    Done = 0,
    /// It was tried and failed, or is not so.
    Failed = 1,
    /// It was asked for in a wrong way.
    WrongUse = 2,
    /// This machine is not a member now, or the members are not a quorum.
    NotAMember = 3,
    /// It was understood and refused: the caller may not, or the cluster's state forbids it.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do what it was asked. Its text is what the user reads.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something failed; the causes are told in one line.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
    /// Wrong use that only shows once the arguments are seen together or with the cluster.
    #[error("{0}")]
    WrongUse(String),
    /// No daemon, no engine, or no quorum.
    #[error("{0}")]
    NotAMember(String),
    /// Refused by the daemon or by a rule of this command.
    #[error("{0}")]
    Refused(String),
    /// Whoever read our output has closed it (`ssi log | head`): there is nothing left to do, and nothing to say.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

impl Failure {
    /// The exit status that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Failed(_) => Exit::Failed,
            Failure::WrongUse(_) => Exit::WrongUse,
            Failure::NotAMember(_) => Exit::NotAMember,
            Failure::Refused(_) => Exit::Refused,
            Failure::ReaderGone => Exit::Done,
        }
    }

    /// A plain failure with this sentence.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Failure::Failed(anyhow::Error::msg(sentence.into()))
    }
}

/// What a command gives back.
pub type Ending = Result<Exit, Failure>;
