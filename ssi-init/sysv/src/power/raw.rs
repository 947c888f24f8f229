// SPDX-License-Identifier: GPL-2.0-or-later
//! Two calls that neither rustix nor nix has: a real-time signal to a process, and reboot(2) with a word.
#![allow(unsafe_code)]

use nix::libc;
use std::ffi::CStr;
use std::io;

/// Sends SIGRTMIN+`number` to a process.
pub(super) fn send_real_time(process: i32, number: i32) -> io::Result<()> {
    // SAFETY: kill(2) takes two numbers and touches no memory of ours.
    match unsafe { libc::kill(process, libc::SIGRTMIN() + number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// reboot(2) with LINUX_REBOOT_CMD_RESTART2, which the C library's function has no place for.
pub(super) fn restart_with(argument: &CStr) -> io::Result<()> {
    // SAFETY: three numbers and a string that ends in NUL and lives through the call, which only reads it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
