// SPDX-License-Identifier: GPL-2.0-or-later
//! A system call with a time limit: made by a child, which is left to itself when it does not come back. A process that
//! waits for a disk or a server cannot be killed; it can be left.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::sys::{Moment, process};

/// Runs `call` in a child.
///
/// # Errors
/// What `call` gave; [`Errno::ETIMEDOUT`] if it took longer than `limit`; fork(2)'s.
pub(crate) fn run(limit: Duration, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let child = process::fork(|| call().map_or_else(|errno| errno as i32, |()| 0))?;
    let latest = Moment::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => return Err(Errno::from_raw(errno)),
            Ok(WaitStatus::Signaled(..)) => return Err(Errno::EINTR),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        if Moment::now() >= latest {
            let _ = kill(child, Signal::SIGKILL);
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_after_its_time() {
        let begun = Moment::now();
        let hung = run(Duration::from_millis(100), || {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        });
        assert_eq!(hung, Err(Errno::ETIMEDOUT));
        assert!(Moment::now().since(begun) < Duration::from_secs(5));
        assert_eq!(run(Duration::from_secs(9), || Err(Errno::EBUSY)), Err(Errno::EBUSY));
        assert_eq!(run(Duration::from_secs(9), || Ok(())), Ok(()));
    }
}
