// SPDX-License-Identifier: GPL-2.0-or-later
//! A node's cgroup: what freezes it and kills it as a whole.
//!
//! ```text
//!   /sys/fs/cgroup/ssi-lab-NAME/nodeN/       frozen and killed here; the launcher
//!                                    root/   the node's own root: PID 1 and all it starts
//! ```
//!
//! A guest's QEMU is in `nodeN` too, so that one word kills the whole lab.
//!
//! Only cgroup v2's core is used, which is there without any controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The child that is the node's own root.
pub(crate) const ROOT: &str = "root";

/// A node's cgroup.
pub(crate) struct Cgroup(PathBuf);

/// Where cgroup v2 is mounted on this host.
pub(crate) fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    mounts
        .lines()
        .find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let place = left.split(' ').nth(4)?;
            right.starts_with("cgroup2 ").then(|| PathBuf::from(place))
        })
        .context(
            "this host has no cgroup2 file system: mount one, for example with `mount -t cgroup2 none /sys/fs/cgroup`",
        )
}

/// The cgroup above all nodes of a lab.
pub(crate) fn of_lab(lab: &str) -> Result<PathBuf> {
    Ok(mount_point()?.join(format!("ssi-lab-{lab}")))
}

impl Cgroup {
    /// Makes a node's cgroup. Nothing is left of the tree that it had before it was turned off, as on a machine that
    /// boots: beside what a reader might take for the new boot's, kernels from 6.15 or so kill whatever is born by
    /// CLONE_INTO_CGROUP into a group that was not killed as often as that of the parent (`kill_seq`).
    pub(crate) fn new(lab: &str, node: &str) -> Result<Self> {
        let path = of_lab(lab)?.join(node);
        let deadline = Instant::now() + Duration::from_secs(5);
        while path.join(ROOT).exists() && Instant::now() < deadline {
            remove(&path.join(ROOT));
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::create_dir_all(path.join(ROOT)).with_context(|| format!("making the cgroup {}", path.display()))?;
        let cgroup = Self(path);
        cgroup.freeze(false)?;
        Ok(cgroup)
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes a process of the host in.
    pub(crate) fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("putting a process into a cgroup")
    }

    /// Kills all that is in it.
    pub(crate) fn kill(&self) -> Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1").context("killing a cgroup")
    }

    /// Freezes or thaws, and waits until the kernel says so.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let word = if frozen { "1" } else { "0" };
        fs::write(self.0.join("cgroup.freeze"), word)
            .with_context(|| format!("writing {word} to cgroup.freeze of {}", self.0.display()))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let line = format!("frozen {word}");
        while !fs::read_to_string(self.0.join("cgroup.events"))?.lines().any(|l| l == line) {
            if Instant::now() > deadline {
                bail!("{} did not become '{line}' within 5 s", self.0.display());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until nobody is left in it, but not for ever.
    pub(crate) fn wait_empty(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            match fs::read_to_string(self.0.join("cgroup.events")) {
                Ok(events) if events.contains("populated 1") => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}

/// Kills all that runs for a lab, whoever waits for it.
pub(crate) fn kill_lab(lab: &str) {
    if let Ok(path) = of_lab(lab) {
        // Kernels before 5.14 have no such file; there the keeper's own end does it.
        let _ = fs::write(path.join("cgroup.kill"), "1");
    }
}

/// Removes a tree of empty cgroups; what does not exist is fine.
pub(crate) fn remove(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path());
    }
    // What still has processes stays, and the next sweep takes it.
    let _ = fs::remove_dir(path);
}
