// SPDX-License-Identifier: GPL-2.0-or-later
//! Booted clusters, saved once and restored for each run.
//!
//! All guests are stopped before the first is saved, and their disks are frozen with them: a run
//! writes on top of the frozen disks, never into them. Nothing of a lab is in a snapshot but its
//! shape, so labs of other names use it too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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
        let lock = cache::hold(&directory, KEPT)?;
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
