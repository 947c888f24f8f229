// SPDX-License-Identifier: GPL-2.0-or-later
//! Booted clusters, saved once and restored for each run.
//!
//! All guests are stopped before the first is saved, and their disks are frozen with them: a run
//! writes on top of the frozen disks, never into them. Nothing of a lab is in a snapshot but its
//! shape, so labs of other names use it too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::spec::NodeNumber;

use super::{VmHost, VmNode, cache};

/// How many snapshots are kept besides those in use; each takes some 200 MB a node.
const KEPT: usize = 2;

/// A saved cluster, locked against removal while this value lives.
#[derive(Debug)]
pub(crate) struct Snapshot {
    directory: PathBuf,
    _lock: File,
}

/// A node's disk in a snapshot's directory.
pub(crate) fn disk(directory: &Path, node: NodeNumber) -> PathBuf {
    directory.join(format!("node{node}.qcow2"))
}

fn state(directory: &Path, node: NodeNumber) -> PathBuf {
    directory.join(format!("node{node}.state"))
}

impl Snapshot {
    /// The snapshot that fits the host's plan; `make` boots and saves it into a directory when there
    /// is none.
    pub(crate) fn ensure(host: &VmHost, make: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let above = cache::directory().join("snapshots");
        let directory = above.join(host.snapshot_key()?);
        cache::ensure(&directory, |part| {
            fs::create_dir_all(part).with_context(|| format!("making {}", part.display()))?;
            make(part)
        })?;
        let lock = File::create(directory.join("lock")).context("making the snapshot's lock")?;
        flock(&lock, FlockOperation::LockShared).context("locking the snapshot")?;
        // The time of its last use.
        lock.set_modified(SystemTime::now()).context("noting the snapshot's use")?;
        prune(&above, &directory);
        Ok(Self { directory, _lock: lock })
    }

    /// A node's frozen disk.
    pub(crate) fn disk(&self, node: NodeNumber) -> PathBuf {
        disk(&self.directory, node)
    }

    /// Restores a guest that waits for its state; it stays stopped.
    pub(crate) fn restore(&self, guest: &mut VmNode, node: NodeNumber) -> Result<()> {
        guest.monitor.restore(&state(&self.directory, node)).context("restoring the guest's state")
    }
}

/// Saves stopped guests.
pub(crate) fn save(directory: &Path, guest: &mut VmNode, node: NodeNumber) -> Result<()> {
    guest.monitor.save(&state(directory, node)).context("saving the guest's state")
}

/// Removes the snapshots used longest ago that nobody uses.
fn prune(above: &Path, own: &Path) {
    let used = |path: &Path| {
        fs::metadata(path.join("lock")).and_then(|lock| lock.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut others: Vec<_> = entries.filter(|path| path != own && path.join("lock").exists()).collect();
    others.sort_by_key(|path| std::cmp::Reverse(used(path)));
    for path in others.into_iter().skip(KEPT) {
        let lock = File::open(path.join("lock"));
        if lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}
