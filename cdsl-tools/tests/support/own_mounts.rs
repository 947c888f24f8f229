// SPDX-License-Identifier: GPL-2.0-or-later
//! Mounts that nobody else sees.

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

/// Runs in a thread that has left the machine's mounts; so do the programs that it starts. The mounts go with it.
pub(crate) fn with_own_mounts(act: impl FnOnce() + Send) {
    let ended = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("this test is for root");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            act();
        });
        thread.join()
    });
    if let Err(panicked) = ended {
        std::panic::resume_unwind(panicked);
    }
}
