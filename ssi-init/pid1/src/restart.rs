// SPDX-License-Identifier: GPL-2.0-or-later
//! When the manager is started again after it died. Pure.
//!
//! ```text
//!   quick deaths in a row    1     2      3      4     …
//!   pause before the next    0   100 ms 200 ms 400 ms  …  at most Settings::restart_max
//! ```
//!
//! A manager that lived for [`LONG_LIFE`] was well: what came before does not count any more.

use std::time::Duration;

use crate::sys::Moment;

/// How long a manager has to live for its death to count as the first.
const LONG_LIFE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The deaths so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deaths {
    quick: u32,
}

impl Deaths {
    /// Takes note of a death and gives the pause before the next start.
    pub(crate) fn died(&mut self, born: Moment, now: Moment, longest: Duration) -> Duration {
        if now.since(born) >= LONG_LIFE {
            self.quick = 0;
        }
        self.quick = self.quick.saturating_add(1);
        match self.quick {
            1 => Duration::ZERO,
            n => FIRST_PAUSE.saturating_mul(1 << (n - 2).min(16)).min(longest),
        }
    }

    /// Has a manager lived for long?
    pub(crate) fn is_well(born: Moment, now: Moment) -> bool {
        now.since(born) >= LONG_LIFE
    }

    /// How many managers died quickly, one after the other.
    pub(crate) fn quick(self) -> u32 {
        self.quick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_a_long_life_forgets() {
        let longest = Duration::from_secs(5);
        let mut deaths = Deaths::default();
        let mut now = Moment::from_millis(1000);
        let mut pauses = vec![];
        for _ in 0..40 {
            let born = now;
            now = now + Duration::from_millis(10);
            pauses.push(deaths.died(born, now, longest).as_millis());
        }
        assert_eq!(pauses[..9], [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(pauses[9..].iter().all(|p| *p == 5000));
        assert_eq!(deaths.quick(), 40);
        let born = now;
        now = now + Duration::from_secs(11);
        assert_eq!(deaths.died(born, now, longest), Duration::ZERO);
        assert_eq!(deaths.quick(), 1);
        assert_eq!(deaths.died(now, now, Duration::ZERO), Duration::ZERO, "the longest pause holds");
    }
}
