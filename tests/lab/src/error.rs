// SPDX-License-Identifier: GPL-2.0-or-later
//! What the library's callers may have to tell people.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::spec::NodeNumber;

/// A step of the lab that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab asked for cannot be.
    #[error("this lab cannot be built: {message}")]
    Spec {
        /// What cannot be.
        message: String,
    },
    /// Programs the lab needs could not be installed.
    #[error("the lab's programs could not be installed: {message}")]
    Setup {
        /// What was tried and what came of it.
        message: String,
    },
    /// One of the lab's own programs is not where it should be.
    #[error(
        "the program '{program}' was found neither in $SSI_LAB_BIN nor beside '{beside}': build it with `cargo build -p ssi-lab`, or set SSI_LAB_BIN to its directory"
    )]
    Program {
        /// The program's name.
        program: &'static str,
        /// The directory that was searched.
        beside: PathBuf,
    },
    /// A file or process of the owner's side failed.
    #[error("{doing}: {error}")]
    System {
        /// What was being done, and on what.
        doing: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The keeper could not bring the lab up.
    #[error("lab '{lab}' did not come up: {message}")]
    Start {
        /// The lab.
        lab: String,
        /// What the keeper said.
        message: String,
    },
    /// There is no lab of that name.
    #[error("there is no lab '{lab}': start it with `ssi-lab up --name {lab}`")]
    NoLab {
        /// The name asked for.
        lab: String,
    },
    /// The lab has no such node.
    #[error("the lab has no node {number}: its nodes are 1 to {nodes}")]
    NoNode {
        /// The number asked for.
        number: NodeNumber,
        /// How many there are.
        nodes: u32,
    },
    /// The keeper or an agent could not do it.
    #[error("{doing}: {message}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// The answer.
        message: String,
    },
    /// No answer in time: the node is frozen, hung or cut off from its keeper.
    #[error("{doing}: no answer within {} s", after.as_secs_f32())]
    Silent {
        /// What was asked for.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// An answer that does not belong to the question.
    #[error("{doing}: an answer that the protocol does not know here ({answer})")]
    Protocol {
        /// What was asked for.
        doing: String,
        /// What came.
        answer: String,
    },
    /// A program in a node was to succeed and did not.
    #[error("'{program}' on {node} ended with {exit}: {stderr}")]
    Unsuccessful {
        /// The node.
        node: String,
        /// The program and its arguments.
        program: String,
        /// How it ended.
        exit: String,
        /// The end of what it said.
        stderr: String,
    },
}

impl Error {
    /// An [`Error::System`].
    pub(crate) fn system(doing: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::System { doing: doing.into(), error: error.into() }
    }
}
