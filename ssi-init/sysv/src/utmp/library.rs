// SPDX-License-Identifier: GPL-2.0-or-later
//! utmp through the C library (getutxent(3)), which alone knows the records' layout on each architecture and shares one
//! lock with all who write them. Its functions have one position in one file, which is why they are behind one mutex.
#![allow(unsafe_code)]

use nix::libc;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where the records stay when what they tell of is over.
pub(super) const WTMP: &str = "/var/log/wtmp";

/// The library's position in its file.
static POSITION: Mutex<()> = Mutex::new(());

pub(super) fn empty() -> libc::utmpx {
    // SAFETY: a structure of numbers and arrays of numbers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// Whatever `wanted` makes of the records, in the order of the file.
pub(super) fn records<T>(mut wanted: impl FnMut(&libc::utmpx) -> Option<T>) -> Vec<T> {
    let _position = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    // SAFETY: no arguments; rewinds the library's own position.
    unsafe { libc::setutxent() };
    loop {
        // SAFETY: no arguments; gives null or the library's own record, which stays until the next call.
        let record = unsafe { libc::getutxent() };
        // SAFETY: as above; the reference is gone before the next call.
        let Some(record) = (unsafe { record.as_ref() }) else { break };
        found.extend(wanted(record));
    }
    // SAFETY: no arguments; closes the library's own file.
    unsafe { libc::endutxent() };
    found
}

/// The record of a process with the id of `wanted`, which is of a process' type.
pub(super) fn of_process(wanted: &libc::utmpx) -> Option<libc::utmpx> {
    let _position = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the record lives through the call, which only reads it; what comes back is null or the library's own
    // record, and is copied before the next call.
    unsafe {
        libc::setutxent();
        let found = libc::getutxid(wanted).as_ref().copied();
        libc::endutxent();
        found
    }
}

/// Puts a record in the place of that with its id, or at the end.
pub(super) fn put(record: &libc::utmpx) -> io::Result<()> {
    let _position = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the record lives through the calls, which copy it.
    let outcome = unsafe {
        libc::setutxent();
        let written = libc::pututxline(record);
        let outcome = if written.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) };
        libc::endutxent();
        outcome
    };
    unless_missing(outcome)
}

/// Adds a record's bytes to wtmp, or a file like it. The library's own function for it (updwtmpx) tells nobody whether it could.
pub(super) fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let outcome = OpenOptions::new().append(true).open(file).and_then(|mut file| {
        let end = file.metadata()?.len();
        // In one call, which no other writer's can come between.
        let written = file.write(bytes)?;
        if written < bytes.len() {
            // A part of a record would put all that follow out of step. Nobody else has written behind it: the disk is
            // full.
            file.set_len(end)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    });
    unless_missing(outcome)
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Has the library use another file than the machine's, from now on.
#[cfg(test)]
pub(super) fn use_file(file: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(file.as_os_str().as_bytes()).expect("no NUL");
    let _position = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the name lives through the call, which copies it.
    assert_eq!(unsafe { libc::utmpxname(name.as_ptr()) }, 0, "utmpxname: {}", io::Error::last_os_error());
}
