// SPDX-License-Identifier: GPL-2.0-or-later
//! Signals by their number.
//!
//! Unsafe, because `KillSignal=SIGRTMIN+3` and its like have no name in the libraries' types, which take no number
//! that they do not know. The call itself has no way to harm this process's memory.
#![allow(unsafe_code)]

use nix::libc;
use rustix::io::Errno;

/// kill(2) on one process; `Ok(false)`: it is gone. A number that is no process (0, or beyond what the kernel gives)
/// counts as gone: to kill(2) it would mean a whole group of processes.
///
/// # Errors
/// As kill(2).
pub fn send(pid: u32, signal: i32) -> Result<bool, Errno> {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) else { return Ok(false) };
    // SAFETY: kill(2) takes two numbers and no pointer.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(true);
    }
    match Errno::from_raw_os_error(nix::errno::Errno::last_raw()) {
        Errno::SRCH => Ok(false),
        errno => Err(errno),
    }
}
