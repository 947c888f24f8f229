// SPDX-License-Identifier: GPL-2.0-or-later
//! Down without the manager: a signal to process 1, or the kernel's reboot(2).

mod raw;

use crate::action::Action;
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Whether process 1 is one that knows systemd's signals: sd_booted(3).
pub fn process_1_knows_signals() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Asks process 1 to kill, unmount and go down; it comes back at once.
///
/// # Errors
/// What kill(2) says.
pub fn ask_process_1(action: Action) -> io::Result<()> {
    raw::send_real_time(1, action.signal())
}

/// Has the kernel go down now. Nothing is stopped or unmounted; with `sync`, what was written is on the disks. Comes back
/// only if it fails, or in a process namespace, whose process 1 the kernel kills instead.
///
/// # Errors
/// What reboot(2) says.
pub fn now(action: Action, sync: bool) -> io::Result<()> {
    if sync {
        rustix::fs::sync();
    }
    Ok(rustix::system::reboot(action.kernel_command())?)
}

/// Reboots like [`now`], and gives the firmware or the boot loader a word (LINUX_REBOOT_CMD_RESTART2).
///
/// # Errors
/// What reboot(2) says; a NUL in the word.
pub fn reboot_with(argument: &str, sync: bool) -> io::Result<()> {
    let argument = CString::new(argument)?;
    if sync {
        rustix::fs::sync();
    }
    raw::restart_with(&argument)
}
