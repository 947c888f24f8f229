// SPDX-License-Identifier: GPL-2.0-or-later
//! What acts on the tree: every call goes through a descriptor of the root, so that no link that somebody puts in the
//! way at the wrong moment leads out of it.

pub mod attic;
pub mod copy;
pub mod place;
pub mod root;

pub use attic::Attic;
pub use place::Place;
pub use root::Root;

/// What could not be done, on what, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {on}: {error}")]
pub struct TreeError {
    /// What was tried.
    pub act: &'static str,
    /// On what, with the root in front.
    pub on: String,
    /// What the system said.
    pub error: std::io::Error,
}

impl TreeError {
    /// From an error of the system.
    pub fn new(act: &'static str, on: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        Self { act, on: on.into(), error: error.into() }
    }
}
