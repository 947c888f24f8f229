// SPDX-License-Identifier: GPL-2.0-or-later
//! What went wrong: what was tried, on what, and what the system said.

use std::io;

use rustix::io::Errno;
use ssi_manager::core::system::SystemError;

/// Something the kernel refused, or that is not as it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct WatchError {
    /// What was tried, and on what.
    pub what: String,
    /// What the system said.
    pub source: io::Error,
}

impl WatchError {
    /// From an error of the system.
    pub fn new(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { what: what.into(), source: source.into() }
    }

    /// From a finding of our own, with the number that stands for it.
    pub(crate) fn found(what: impl Into<String>, errno: Errno) -> Self {
        Self::new(what, errno)
    }

    /// Its number (`errno(3)`), where it has one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<WatchError> for SystemError {
    fn from(error: WatchError) -> Self {
        SystemError::new(error.what, &error.source)
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, WatchError>;

/// Puts the sentence to a refusal.
pub(crate) trait Tried<T> {
    /// `what` was tried.
    fn tried(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Tried<T> for std::result::Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| WatchError::new(what(), error))
    }
}
