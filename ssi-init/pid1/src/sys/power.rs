// SPDX-License-Identifier: GPL-2.0-or-later
//! The last calls: swapoff(2) and reboot(2).
#![allow(unsafe_code)]

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc;
use ssi_pid1::protocol::How;

/// Stops paging to this file or device.
pub(crate) fn swapoff(path: &CStr) -> Result<(), Errno> {
    // SAFETY: a string that ends with NUL.
    Errno::result(unsafe { libc::swapoff(path.as_ptr()) }).map(|_| ())
}

/// Ctrl-Alt-Del sends SIGINT to process 1 instead of rebooting at once.
pub(crate) fn ctrl_alt_del_to_init() -> Result<(), Errno> {
    // SAFETY: takes a number; this one changes only what Ctrl-Alt-Del does.
    Errno::result(unsafe { libc::reboot(libc::RB_DISABLE_CAD) }).map(|_| ())
}

/// Ends the machine, or the pid namespace that this is process 1 of (its parent then sees SIGHUP for reboot, SIGINT for
/// halt and poweroff). Nothing is written to disk first: sync before. Returns only if it failed.
pub(crate) fn end(how: How, argument: Option<&CStr>) -> Errno {
    let command = match how {
        How::Halt => libc::RB_HALT_SYSTEM,
        How::PowerOff | How::Exit => libc::RB_POWER_OFF,
        How::Reboot => libc::RB_AUTOBOOT,
        How::Kexec => {
            // SAFETY: takes a number. Returns if no kernel was loaded.
            unsafe { libc::reboot(libc::RB_KEXEC) };
            libc::RB_AUTOBOOT
        }
    };
    if let (How::Reboot, Some(argument)) = (how, argument) {
        // SAFETY: reboot(2) with RESTART2 reads a string that ends with NUL through its fourth argument.
        unsafe {
            libc::syscall(
                libc::SYS_reboot,
                libc::LINUX_REBOOT_MAGIC1,
                libc::LINUX_REBOOT_MAGIC2,
                libc::LINUX_REBOOT_CMD_RESTART2,
                argument.as_ptr(),
            )
        };
        // A pid namespace takes no argument: the plain one below is for it.
    }
    // SAFETY: takes a number.
    unsafe { libc::reboot(command) };
    Errno::last()
}
