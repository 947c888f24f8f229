// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether something keeps this machine's clock right: the kernel's `STA_UNSYNC` flag, see `adjtimex(2)`.
#![allow(unsafe_code)] // adjtimex(2) is not in rustix or nix.

use nix::libc;

/// Whether the kernel takes its clock to be synchronised.
///
/// # Errors
/// What the system said.
pub fn synchronised() -> Result<bool, std::io::Error> {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: `timex` is a live and properly aligned struct timex. All zero is a value of it, and modes == 0 asks to
    // read only, so the call needs no privilege and changes nothing.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    if state == -1 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: initialised to zero above and then filled in by the kernel.
    let timex = unsafe { timex.assume_init() };
    Ok(timex.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        // Either answer is right; a refusal is one only where a sandbox forbids the call.
        match super::synchronised() {
            Ok(_) => {}
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied),
        }
    }
}
