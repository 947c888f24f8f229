// SPDX-License-Identifier: GPL-2.0-or-later
//! One command at a time changes a tree, from whichever node it is run.
//!
//! An open-file-description lock on `/cluster/.cdsl/lock` (`fcntl(2)`, `F_OFD_SETLK`): the kernel takes it back when the
//! process is gone, however it went, and an NFS client asks the server for it, so that it holds between nodes. The file's
//! content says who has it, for those who wait.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{Mode, OFlags, openat};

use crate::layout::state_directory;
use crate::tree::{Root, TreeError};

/// How often the lock is tried while another command has it.
const AGAIN: Duration = Duration::from_millis(50);
/// Nobody's name is longer.
const NAME_MAX: u64 = 512;

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other command changes this tree. `waiting` is told once whom it waits for.
    ///
    /// # Errors
    /// When the lock cannot be had at all: the tree is read-only, or its file system has no locks.
    pub fn take(root: &Root, waiting: &mut dyn FnMut(&str)) -> Result<Self, TreeError> {
        root.make_directory(&state_directory(), None)?;
        let path = state_directory().join(OsStr::new("lock"));
        let fail = |error: std::io::Error| TreeError::new("lock the tree with", root.shown(&path), error);
        let place = root.place(&path).map_err(fail)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(
            openat(&place.directory, &place.name, flags, Mode::from_raw_mode(0o600)).map_err(|e| fail(e.into()))?,
        );
        let mut told = false;
        while !try_lock(&file).map_err(fail)? {
            if !told {
                let mut holder = String::new();
                let _ = file.rewind();
                let _ = std::io::Read::take(&mut file, NAME_MAX).read_to_string(&mut holder);
                waiting(holder.trim());
                told = true;
            }
            std::thread::sleep(AGAIN);
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // For people only: not being able to write it is no reason not to work.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = writeln!(file, "process {} on {host}", std::process::id());
        Ok(Self { _file: file })
    }
}

/// Whether the lock is ours now.
fn try_lock(file: &File) -> std::io::Result<bool> {
    let lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as _,
        l_whence: nix::libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
