// SPDX-License-Identifier: GPL-2.0-or-later
//! The drive with the project's files, unpacked into a guest.
//!
//! The drive is a plain tar archive on a raw disk of fixed size. It is never mounted, so a snapshot
//! saved with one drive may be restored with another, and a guest's early user space reads it too.

use std::process::Command;

/// The drive's serial number, by which the guest finds it whatever its letter.
pub(crate) const SERIAL: &str = "ssi-lab-install";

/// Unpacks the drive over the root.
pub(super) fn from_drive() -> Result<(), String> {
    let device = find_drive()?;
    // What was read from the drive before the snapshot was saved is of another drive.
    run("blockdev", &["--flushbufs", &device])?;
    // Programs that run must not be written into: tar is to unlink first.
    run("tar", &["-x", "-f", &device, "-C", "/", "--keep-directory-symlink", "--no-same-owner", "-p", "--unlink-first"])
}

/// The drive's device, by its serial number in sysfs.
fn find_drive() -> Result<String, String> {
    let blocks = std::fs::read_dir("/sys/block").map_err(|error| format!("/sys/block could not be read: {error}"))?;
    for block in blocks.flatten() {
        let serial = std::fs::read_to_string(block.path().join("serial")).unwrap_or_default();
        if serial.trim() == SERIAL {
            return Ok(format!("/dev/{}", block.file_name().to_string_lossy()));
        }
    }
    Err(format!("no drive with the serial number {SERIAL} is attached"))
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
}
