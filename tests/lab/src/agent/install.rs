// SPDX-License-Identifier: GPL-2.0-or-later
//! The drive with the project's files, unpacked into a guest.
//!
//! The drive is a plain tar archive on a raw disk of fixed size. It is never mounted, so a snapshot
//! saved with one drive may be restored with another, and a guest's early user space reads it too.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::protocol::Exit;

use super::children::Children;

/// The drive's serial number, by which the guest finds it whatever its letter.
pub(crate) const SERIAL: &str = "ssi-lab-install";

/// Unpacks the drive over the root.
pub(super) fn from_drive(children: &Children) -> Result<(), String> {
    let device = find_drive()?;
    // What was read from the drive before the snapshot was saved is of another drive.
    run(children, "blockdev", &["--flushbufs", &device])?;
    // Programs that run must not be written into: tar is to unlink first.
    let unpack = ["--keep-directory-symlink", "--no-same-owner", "-p", "--unlink-first"];
    let words: Vec<_> = ["-x", "-f", &device, "-C", "/"].into_iter().chain(unpack).collect();
    run(children, "tar", &words)?;
    // A node that is killed keeps what it was given.
    rustix::fs::sync();
    Ok(())
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

/// Runs a program to its end; the one thread that reaps tells of it.
/// Runs a tool to its end. Not by the standard library's waiting: the reaper would be first.
fn run(children: &Children, program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (sender, end) = channel();
    let started = children
        .spawn(&mut command, move |exit| sender.send(exit).unwrap_or_default())
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    let mut said = String::new();
    if let Some(mut stderr) = started.child.stderr {
        // What cannot be read is not told; the status counts.
        let _ = stderr.read_to_string(&mut said);
    }
    match end.recv() {
        Ok(Exit::Code(0)) => Ok(()),
        _ => Err(format!("{program} {}: {}", arguments.join(" "), said.trim())),
    }
}
