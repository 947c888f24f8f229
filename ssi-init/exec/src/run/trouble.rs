// SPDX-License-Identifier: GPL-2.0-or-later
//! From an errno to a failed step.

use crate::report::Failure;
use crate::step::Step;
use rustix::io::Errno;

/// Ends a step with what was tried, on what, and what the system said.
pub(super) trait At<T> {
    /// `detail` says on what.
    fn at(self, step: Step, detail: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step, detail: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| failure(step, Some(errno), detail()))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: Step, detail: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => failure(step, Some(errno), detail()),
            None => failure(step, None, format!("{}: {error}", detail())),
        })
    }
}

/// A failure of `step`.
pub(super) fn failure(step: Step, errno: Option<Errno>, detail: String) -> Failure {
    let message = match errno {
        Some(errno) if detail.is_empty() => plain(errno),
        Some(errno) => format!("{detail}: {}", plain(errno)),
        None => detail,
    };
    Failure { step, errno: errno.map(Errno::raw_os_error), message }
}

/// The system's words for an errno, without the number that the standard library adds.
pub(super) fn plain(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
