// SPDX-License-Identifier: GPL-2.0-or-later
//! The system calls that have no safe form elsewhere. All `unsafe` of the program is below here.

pub(crate) mod counted;
pub(crate) mod crash;
pub(crate) mod device;
pub(crate) mod power;
pub(crate) mod process;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of `CLOCK_MONOTONIC`: it does not jump, and stands still while the machine sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
        Self(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
    }

    /// So many ms after the clock's zero.
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock's zero.
    pub(crate) const fn millis(self) -> u64 {
        self.0
    }

    /// How long it is from `earlier` until this; zero if it is not later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}
