// SPDX-License-Identifier: GPL-2.0-or-later
//! A namespace node's root: the host's, below a layer of the node's own.
//!
//! ```text
//!   what the node writes  (tmpfs of limited size, kept from start to start)
//!   installed files       (one tree for all nodes)
//!   the host's /          (only read)
//! ```
//!
//! `/run`, `/tmp`, `/dev` are fresh at each start, as on a machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::NodePlan;

/// File systems of the host that hold parts of its root when mounted below it.
const DISKS: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs"];
/// What the node has its own of, so that nothing of the host's is wanted there.
const OWN: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/mnt"];

/// Lays out the root and makes it this process's and its namespace's.
pub(crate) fn enter(plan: &NodePlan) -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("parting the node's mounts from the host's")?;
    let root = &plan.root;
    lay_over(&[&plan.layer, Path::new("/")], &plan.disk, "", root)?;
    for (number, place) in disks_below_root()?.iter().enumerate() {
        let Ok(relative) = place.strip_prefix("/") else { continue };
        lay_over(&[place], &plan.disk, &format!("-{number}"), &root.join(relative))?;
    }
    fresh(root, "dev", "mode=755")?;
    devices(&root.join("dev"))?;
    fresh(root, "dev/shm", "mode=1777")?;
    fresh(root, "dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5")?;
    fresh(root, "dev/mqueue", "")?;
    let console = root.join("dev/console");
    fs::write(&console, "").context("making the node's console")?;
    bind(&plan.console, &console)?;
    fresh(root, "proc", "")?;
    fresh(root, "sys", "")?;
    fresh(root, "sys/fs/cgroup", "")?;
    fresh(root, "run", "mode=755,size=64m")?;
    fresh(root, "tmp", "mode=1777,size=256m")?;
    for directory in ["run/lock", "run/dbus", "run/lock/subsys"] {
        fs::create_dir_all(root.join(directory))?;
    }
    if let Some((from, to)) = &plan.shared {
        let place = root.join(to.strip_prefix("/").unwrap_or(to));
        fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
        bind(from, &place)?;
    }
    identity(plan, root)?;
    protect_host(root)?;
    std::env::set_current_dir(root).context("entering the node's root")?;
    // The old root goes on top of the new one (pivot_root(2), "pivot_root(".", ".")"), then away.
    rustix::process::pivot_root(".", ".").context("making it the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("leaving the host's root")?;
    std::env::set_current_dir("/").context("entering the root")
}

/// Mounts layers, highest first, under what the node writes.
fn lay_over(layers: &[&Path], disk: &Path, suffix: &str, place: &Path) -> Result<()> {
    let (upper, work) = (disk.join(format!("upper{suffix}")), disk.join(format!("work{suffix}")));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let layers: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), upper.display(), work.display());
    mount(Some("ssi-lab"), place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mounting an overlay ({options}) on {}", place.display()))
}

/// Where the host has parts of its root on disks of their own.
fn disks_below_root() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    Ok(disks_in(&mounts))
}

fn disks_in(mountinfo: &str) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(place), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let own = OWN.iter().any(|own| Path::new(place).starts_with(own));
        // A backslash begins an escaped blank, and overlay's options know no colon or comma.
        let plain = !place.contains(['\\', ':', ',']);
        if place != "/" && plain && !own && DISKS.contains(&kind) && Path::new(place).is_dir() {
            places.retain(|known| known != Path::new(place));
            places.push(place.into());
        }
    }
    places
}

/// Mounts a new file system that belongs to this node.
fn fresh(root: &Path, place: &str, options: &str) -> Result<()> {
    let kind = match place {
        "proc" => "proc",
        "sys" => "sysfs",
        "sys/fs/cgroup" => "cgroup2",
        "dev/pts" => "devpts",
        "dev/mqueue" => "mqueue",
        _ => "tmpfs",
    };
    let path = root.join(place);
    if !path.is_dir() {
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    let flags =
        if place == "dev" || place == "dev/pts" { MsFlags::MS_NOSUID } else { MsFlags::MS_NOSUID | MsFlags::MS_NODEV };
    let options = (!options.is_empty()).then_some(options);
    mount(Some(kind), &path, Some(kind), flags, options)
        .with_context(|| format!("mounting {kind} on {}", path.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none = None::<&str>;
    mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .with_context(|| format!("binding {} on {}", from.display(), to.display()))
}

/// The devices every program expects; numbers of Documentation/admin-guide/devices.txt.
fn devices(directory: &Path) -> Result<()> {
    let nodes = [
        ("null", 1, 3, 0o666),
        ("zero", 1, 5, 0o666),
        ("full", 1, 7, 0o666),
        ("random", 1, 8, 0o666),
        ("urandom", 1, 9, 0o666),
        ("kmsg", 1, 11, 0o600),
        ("tty", 5, 0, 0o666),
        ("fuse", 10, 229, 0o666),
        ("net/tun", 10, 200, 0o666),
    ];
    fs::create_dir(directory.join("net"))?;
    for (name, major, minor, mode) in nodes {
        let path = directory.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(mode), makedev(major, minor))
            .with_context(|| format!("making the device {}", path.display()))?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode))?;
    }
    let links =
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
    for (name, target) in links {
        symlink(target, directory.join(name)).with_context(|| format!("making the link {name} in /dev"))?;
    }
    Ok(())
}

/// Writes who the node is, at its first start: what it makes of that later is kept.
fn identity(plan: &NodePlan, root: &Path) -> Result<()> {
    let marker = plan.disk.join("identity-written");
    if marker.exists() {
        return Ok(());
    }
    let files = [
        ("etc/hostname", format!("{}\n", plan.host_name)),
        ("etc/hosts", plan.hosts.clone()),
        ("etc/machine-id", format!("{}\n", plan.machine_id)),
    ];
    for (place, content) in files {
        let path = root.join(place);
        // A link here would lead to a place of the host's.
        let _ = fs::remove_file(&path);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    fs::write(marker, "").context("noting that the node has its identity")
}

/// What is the kernel's and not a node's is read-only: a node that sets the host's `vm.swappiness` or
/// reboots by sysrq would be no node.
fn protect_host(root: &Path) -> Result<()> {
    let none = None::<&str>;
    // Binding copies the flags of what it binds, so what stays writable comes first and is carried along.
    for (place, writable) in
        [("proc/sys/net", true), ("proc/sys/kernel/hostname", true), ("proc/sys", false), ("proc/sysrq-trigger", false)]
    {
        let path = root.join(place);
        if !path.exists() {
            // Not every kernel is built with it.
            continue;
        }
        bind(&path, &path)?;
        if !writable {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, &path, none, flags, none).with_context(|| format!("making {} read-only", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_below_the_root_are_layered() {
        let mountinfo = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                         28 27 0:22 / /sys rw - sysfs sysfs rw\n\
                         29 27 254:1 / /usr rw shared:3 - ext4 /dev/vdb rw\n\
                         30 27 254:2 / /mnt rw - ext4 /dev/vdc rw\n\
                         31 27 0:40 / /var rw - tmpfs none rw\n";
        assert_eq!(disks_in(mountinfo), [Path::new("/usr")]);
    }
}
