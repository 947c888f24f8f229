// SPDX-License-Identifier: GPL-2.0-or-later
//! Files in and out of a node, and its disk full and not full.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use crate::protocol::{Message, Outcome, PIECE};

use super::{Call, Event};

/// The file that takes a file system's free space.
const FILLER: &str = ".ssi-lab-fill";

/// Writes a file from the call's input; readers see the old file or the new one, and it is there after a loss of power.
pub(super) fn put(call: &Call, path: &Path, mode: u32) -> Result<Outcome, String> {
    let say = |error: std::io::Error| format!("{} could not be written: {error}", path.display());
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(directory).map_err(say)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(say)?;
    loop {
        match call.events.recv() {
            Ok(Event::Said(Message::Input, bytes)) => file.write_all(&bytes).map_err(say)?,
            Ok(Event::Said(Message::InputEnd, _)) => break,
            Ok(Event::Said(..)) => {}
            Ok(Event::Cancelled | Event::Ended(_)) | Err(_) => return Err("cancelled".to_owned()),
        }
    }
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(say)?;
    file.as_file().sync_all().map_err(say)?;
    file.persist(path).map_err(|error| say(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(say)?;
    Ok(Outcome::Nothing)
}

/// Sends a file.
pub(super) fn get(call: &Call, path: &Path) -> Result<Outcome, String> {
    let say = |error: std::io::Error| format!("{} could not be read: {error}", path.display());
    let mut file = File::open(path).map_err(say)?;
    loop {
        let mut piece = vec![0; PIECE];
        let n = file.read(&mut piece).map_err(say)?;
        if n == 0 {
            return Ok(Outcome::Nothing);
        }
        piece.truncate(n);
        call.say(Message::Output, piece).map_err(|error| error.to_string())?;
    }
}

/// Takes all free space of the file system that holds `directory`.
pub(super) fn fill(directory: &Path) -> Result<Outcome, String> {
    let path: PathBuf = directory.join(FILLER);
    let say = |error: Errno| format!("{} could not be filled: {error}", directory.display());
    let mut file = File::create(&path).map_err(|error| format!("{} could not be made: {error}", path.display()))?;
    let mut length = 0;
    let mut step = fstatvfs(&file).map(|space| space.f_bavail * space.f_frsize).map_err(say)?.max(1);
    // Halves: what the file system calls free is more than it gives in one go.
    while step > 0 {
        match fallocate(&file, FallocateFlags::empty(), length, step) {
            Ok(()) => length += step,
            Err(Errno::NOSPC) => step /= 2,
            Err(error) => return Err(say(error)),
        }
    }
    // Root's reserve, and what block rounding left.
    while file.write(&[0; 4096]).is_ok_and(|n| n > 0) {}
    Ok(Outcome::Nothing)
}

/// Gives it back.
pub(super) fn unfill(directory: &Path) -> Result<Outcome, String> {
    let path = directory.join(FILLER);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} could not be removed: {error}", path.display()))
        }
        _ => Ok(Outcome::Nothing),
    }
}
