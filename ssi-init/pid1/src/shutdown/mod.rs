// SPDX-License-Identifier: GPL-2.0-or-later
//! The last steps: when the manager has stopped all units, or without it.
//!
//! ```text
//!   a child, which may hang                                process 1, which may not
//!   ───────────────────────                                ─────────────────────────
//!   SIGTERM to all, wait, SIGKILL   (processes)            reaps, pets the watchdog
//!   swapoff, unmount, loops, md, device mapper, until      waits, at most Settings::shutdown in all
//!     nothing changes any more      (detach)
//!   /usr/lib/systemd/system-shutdown/*
//!   the initramfs in place of the root, if it asks for it
//!   sync                                            ────>  reboot(2), or the initramfs's /shutdown
//! ```
//!
//! Each system call of the child's that can wait for a disk or a server is made by a child of its own, with a time
//! limit (`limited`): a server that is gone costs that time and not the shutdown.
//!
//! In a container only processes are ended: mounts go with its namespace.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use rustix::fs::{Access, CWD, OFlags, accessat};
use ssi_pid1::protocol::How;

use crate::console;
use crate::say::say;
use crate::settings::Settings;
use crate::sys::{Moment, power, process};

mod detach;
mod executables;
mod initramfs;
mod limited;
mod mounts;
mod processes;

/// The status of the child when the root is the initramfs's now.
pub(crate) const BACK_TO_INITRAMFS: i32 = 2;

/// The argument for reboot(2): 255 bytes at most, ended by a NUL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument([u8; 256]);

impl Default for Argument {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Argument {
    /// Reads it from the file that came with the message.
    pub(crate) fn read(file: Option<OwnedFd>) -> Self {
        let mut argument = Self::default();
        if let Some(file) = file {
            // Not past the last byte: it stays NUL. A file that cannot be read is no argument.
            let room = argument.0.len() - 1;
            let _ = rustix::io::pread(&file, &mut argument.0[..room], 0);
        }
        argument
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok().filter(|text| !text.is_empty())
    }
}

/// For messages: how a child ended, by its `si_code`.
pub(crate) fn way_of(code: i32) -> &'static str {
    match code {
        libc::CLD_EXITED => "exit status",
        libc::CLD_DUMPED => "core dump, signal",
        _ => "signal",
    }
}

/// Starts the child that ends and unmounts.
///
/// # Errors
/// fork(2)'s.
pub(crate) fn start(settings: &Settings, how: How, container: bool) -> Result<Pid, Errno> {
    process::fork(|| {
        process::plain_signals();
        end_all(settings, how, container)
    })
}

fn end_all(settings: &Settings, how: How, container: bool) -> i32 {
    let _ = nix::unistd::setsid();
    // If something below hangs for good, at least what is written now is on disk.
    sync(settings.umount);
    processes::end(settings.term);
    let mut status = 0;
    if !container {
        detach::all(settings.umount);
    }
    executables::run(executables::DIRECTORY.as_ref(), how.word(), settings.umount);
    if !container && accessat(CWD, initramfs::SHUTDOWN, Access::EXEC_OK, rustix::fs::AtFlags::empty()).is_ok() {
        match initramfs::enter(initramfs::ROOT.as_ref()) {
            Ok(()) => status = BACK_TO_INITRAMFS,
            Err(what) => say!(Error, "returning to the initramfs: {what}"),
        }
    }
    sync(settings.umount);
    status
}

fn sync(limit: Duration) {
    let done = limited::run(limit, || {
        rustix::fs::sync();
        Ok(())
    });
    if let Err(error) = done {
        say!(Error, "writing what is not on disk yet: {}", error.desc());
    }
}

/// Becomes the initramfs's `/shutdown`, which unmounts what was the root and ends the machine. Returns if that failed.
pub(crate) fn become_initramfs(how: How) {
    if let Ok(console) = console::open_console(OFlags::empty()) {
        for number in 0..=2 {
            // What it writes is then not seen; it runs as well.
            let _ = process::place(console.as_fd(), number);
        }
    }
    let argument = match how {
        How::Halt => c"halt",
        How::PowerOff | How::Exit => c"poweroff",
        How::Reboot => c"reboot",
        How::Kexec => c"kexec",
    };
    let _ = std::env::set_current_dir("/");
    let error = process::execute(c"/shutdown", argument);
    say!(Error, "executing the initramfs's /shutdown: {}; ending the machine from here", error.desc());
}

/// Ends the machine, or the container.
pub(crate) fn finish(how: How, status: u8, argument: &Argument, container: bool) -> ! {
    if container && how == How::Exit {
        std::process::exit(status.into());
    }
    let error = power::end(how, argument.as_c_str());
    if container {
        // Without the right to end its namespace that way, process 1 ends it by ending itself.
        std::process::exit(status.into());
    }
    say!(Emergency, "the machine cannot be ended ({}: {}); it can be switched off now", how.word(), error.desc());
    power::end(How::Halt, None);
    loop {
        let _ = rustix::thread::nanosleep(&rustix::event::Timespec { tv_sec: 3600, tv_nsec: 0 });
    }
}

/// Reboots without stopping anything: written data is given some seconds to reach the disk.
pub(crate) fn finish_at_once(settings: &Settings, container: bool) -> ! {
    if let Ok(child) = process::fork(|| {
        rustix::fs::sync();
        0
    }) {
        let latest = Moment::now() + settings.umount.min(Duration::from_secs(5));
        while process::reap(process::Whom::One(child)).is_none() && Moment::now() < latest {
            let _ = rustix::thread::nanosleep(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 });
        }
    }
    finish(How::Reboot, 0, &Argument::default(), container)
}
