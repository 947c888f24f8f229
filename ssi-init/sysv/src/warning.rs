// SPDX-License-Identifier: GPL-2.0-or-later
//! When users are warned of a shutdown to come, and when no more of them are let in.

use std::time::Duration;

/// For the last minutes before a shutdown nobody may log in: shutdown(8), pam_nologin(8).
pub const NO_LOGIN: Duration = Duration::from_secs(5 * 60);

/// How long before the shutdown the next warning is due when `left` remains: every minute of the last ten, every quarter
/// of the last hour, every half hour of the last three, every hour before that. `None` once nothing but the shutdown is
/// left.
pub fn next(left: Duration) -> Option<Duration> {
    let minute = |minutes: u64| Duration::from_secs(minutes * 60);
    let step = if left > minute(180) {
        minute(60)
    } else if left > minute(60) {
        minute(30)
    } else if left > minute(15) {
        minute(15)
    } else if left > minute(10) {
        minute(10)
    } else {
        minute(1)
    };
    // The largest multiple of the step that is less than what is left.
    let steps = left.as_nanos().checked_sub(1)? / step.as_nanos();
    let before = Duration::from_nanos_u128(steps * step.as_nanos());
    (!before.is_zero()).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes_from(start: u64) -> Vec<u64> {
        let mut left = Duration::from_secs(start * 60);
        let mut warned = Vec::new();
        while let Some(before) = next(left) {
            assert!(before < left);
            warned.push(before.as_secs() / 60);
            left = before;
        }
        warned
    }

    #[test]
    fn warnings_come_closer_together() {
        assert_eq!(minutes_from(5), [4, 3, 2, 1]);
        assert_eq!(minutes_from(61), [60, 45, 30, 15, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(minutes_from(250)[..7], [240, 180, 150, 120, 90, 60, 45]);
        assert_eq!(minutes_from(1), []);
        assert_eq!(minutes_from(0), []);
    }

    #[test]
    fn the_moment_of_no_login_is_one_of_them() {
        for start in 6..400 {
            assert!(minutes_from(start).contains(&(NO_LOGIN.as_secs() / 60)), "{start}");
        }
    }
}
