// SPDX-License-Identifier: GPL-2.0-or-later
//! Mounts that nobody else sees, and trees that are only removed when nothing is mounted in them any more.

use std::fs;
use std::ops::Deref;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::support::Tree;

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

/// The lines of this thread's mountinfo that are of mounts below a directory.
pub(crate) fn mounts_below(directory: &Path) -> Vec<String> {
    let all = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let below = format!("{}/", directory.display());
    let is_below = |line: &&str| line.split(' ').nth(4).is_some_and(|place| place.starts_with(&below));
    all.lines().filter(is_below).map(str::to_owned).collect()
}

/// A tree for mounts: they come off before it is removed. What removes a tree goes into what is mounted there.
pub(crate) struct MountTree(Option<Tree>);

impl MountTree {
    pub(crate) fn new(nodes: u32) -> Self {
        Self(Some(Tree::new(nodes)))
    }
}

impl Deref for MountTree {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for MountTree {
    fn drop(&mut self) {
        let Some(tree) = self.0.take() else { return };
        // The last one first: it may lie on others, or in them.
        for line in mounts_below(tree.root()).iter().rev() {
            let place = line.split(' ').nth(4).unwrap_or_default();
            let _ = unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        if !mounts_below(tree.root()).is_empty() {
            eprintln!("{} is left where it is: something is mounted in it", tree.root().display());
            std::mem::forget(tree);
        }
    }
}
