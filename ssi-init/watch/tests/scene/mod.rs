// SPDX-License-Identifier: GPL-2.0-or-later
//! What several scenes need.
#![allow(dead_code, reason = "each scene uses a part of it")]

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssi_unit::config::SocketConfig;
use ssi_unit::config::manager::ManagerDefaults;
use ssi_unit::config::socket::Listen;
use ssi_unit::name::UnitName;

pub(crate) fn unit(name: &str) -> UnitName {
    UnitName::new(name).unwrap()
}

pub(crate) fn config(listen: Vec<Listen>) -> SocketConfig {
    SocketConfig { listen, ..SocketConfig::new(&ManagerDefaults::default()) }
}

/// Whether there is something to read, within two seconds.
pub(crate) fn readable(fd: BorrowedFd<'_>) -> bool {
    wait(fd, 2_000)
}

/// Whether there is something to read now.
pub(crate) fn readable_now(fd: BorrowedFd<'_>) -> bool {
    wait(fd, 0)
}

fn wait(fd: BorrowedFd<'_>, milliseconds: i64) -> bool {
    let mut look = [PollFd::new(&fd, PollFlags::IN)];
    let time = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    poll(&mut look, Some(&time)).unwrap() == 1
}

/// Runs a scene in a mount namespace of its own, where nothing that it mounts is seen outside. Without the right to make
/// one the scene is left out, and says so.
pub(crate) fn apart(scene: impl FnOnce() + Send + 'static) {
    // The group of who started this may have no number in this PID namespace.
    if nix::unistd::getpgrp().as_raw() == 0 {
        let _ = nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0));
    }
    let thread = std::thread::spawn(move || {
        use nix::sched::{CloneFlags, unshare};
        if let Err(error) = unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS) {
            println!("left out: no mount namespace can be made here: {error}");
            return;
        }
        let flags = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", flags).unwrap();
        scene();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
