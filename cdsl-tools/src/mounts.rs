// SPDX-License-Identifier: GPL-2.0-or-later
//! The mounts that make a node's CDSLs its own: on each context directory, the directory of this node's value.
//!
//! Process 1 does this at boot before anything reads a node-specific file; so nothing here needs a daemon, a thread or
//! a command line. Doing it twice changes nothing.

use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind, move_mount, open_tree, unmount};
use ssi_cluster::Context;

use crate::layout::Variable;
use crate::path::TreePath;
use crate::tree::{Root, TreeError};
use crate::walk::contexts;

/// What was done about one context directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was mounted.
    Mounted,
    /// Another node's was there, and was replaced.
    Replaced,
    /// It was there already.
    Nothing,
}

/// One context directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The variable.
    pub variable: Variable,
    /// The context directory.
    pub at: TreePath,
    /// What is mounted there.
    pub from: TreePath,
    /// What was done for that.
    pub done: Done,
}

/// Mounts this context's directories: that of `{nodenum}` always, those of other variables where CDSLs go by them.
/// Directories that are missing are made.
///
/// # Errors
/// The first that could not be mounted.
pub fn activate(root: &Root, context: &Context) -> Result<Vec<Mounted>, TreeError> {
    let mut mounted = Vec::new();
    for (variable, at, from) in contexts(context) {
        let used = variable == Variable::nodenum() || root.exists(&at).unwrap_or(false);
        if !used {
            continue;
        }
        let done = mount_one(root, &at, &from)?;
        mounted.push(Mounted { variable, at, from, done });
    }
    Ok(mounted)
}

fn mount_one(root: &Root, at: &TreePath, from: &TreePath) -> Result<Done, TreeError> {
    let failed = |error: std::io::Error| TreeError::new("mount this node's directory on", root.shown(at), error);
    // A tree that is mounted read-only has them from an earlier boot.
    if !root.exists(from).unwrap_or(false) {
        root.make_directory(from, None)?;
    }
    if !root.exists(at).unwrap_or(false) {
        root.make_directory(at, None)?;
    }
    let mut done = Done::Mounted;
    // Several may lie on each other; every one that is not ours goes.
    for _ in 0..64 {
        if same(root, at, from).map_err(failed)? {
            return Ok(if done == Done::Mounted { Done::Nothing } else { done });
        }
        if !is_mount(root, at).map_err(failed)? {
            break;
        }
        take_off(root, at)?;
        done = Done::Replaced;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let source = root.open_below(from, flags).map_err(failed)?;
    let target = root.open_below(at, flags).map_err(failed)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(&source, "", clone) {
        Ok(tree) => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(tree.as_fd(), "", target.as_fd(), "", flags).map_err(|error| failed(error.into()))?;
        }
        // Kernels before 5.2, and sandboxes that know only the old call.
        Err(Errno::NOSYS | Errno::PERM) => {
            use std::os::fd::AsRawFd as _;
            let name = |fd: &std::os::fd::OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
            mount_bind(name(&source), name(&target)).map_err(|error| failed(error.into()))?;
        }
        Err(error) => return Err(failed(error.into())),
    }
    // What was there before the mount is open in `target`; the name tells what programs will see.
    if same(root, at, from).map_err(failed)? {
        Ok(done)
    } else {
        Err(failed(std::io::Error::other("the mount was made, and is not seen there")))
    }
}

/// Takes the mounts of this context's directories away; which they were.
///
/// # Errors
/// The first that could not be taken away.
pub fn deactivate(root: &Root, context: &Context) -> Result<Vec<TreePath>, TreeError> {
    let mut gone = Vec::new();
    for (_, at, _) in contexts(context) {
        let failed = |error: std::io::Error| TreeError::new("look at", root.shown(&at), error);
        if !root.exists(&at).map_err(failed)? {
            continue;
        }
        let mut any = false;
        while is_mount(root, &at).map_err(failed)? {
            take_off(root, &at)?;
            any = true;
        }
        if any {
            gone.push(at);
        }
    }
    Ok(gone)
}

fn take_off(root: &Root, at: &TreePath) -> Result<(), TreeError> {
    // Lazily: a program that has a file there open keeps it, and the next one sees what is mounted then.
    unmount(root.directory().join(at.relative()), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|error| TreeError::new("unmount", root.shown(at), error))
}

/// Whether the two names lead to one directory.
fn same(root: &Root, a: &TreePath, b: &TreePath) -> std::io::Result<bool> {
    let identity = |path: &TreePath| -> std::io::Result<(u64, u64)> {
        let open = root.open_below(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(open)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    Ok(identity(a)? == identity(b)?)
}

fn is_mount(root: &Root, at: &TreePath) -> std::io::Result<bool> {
    let open = root.open_below(at, OFlags::PATH | OFlags::DIRECTORY)?;
    let found = rustix::fs::statx(&open, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    // Before 5.8 the kernel did not tell: then what is there is taken for no mount, and another one comes on top.
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Leaves the mounts of all others, so that what is mounted from here on is seen by this process and its children alone.
///
/// # Errors
/// What the kernel said; it is allowed to root only.
pub fn leave_others() -> Result<(), TreeError> {
    let failed = |error: std::io::Error| TreeError::new("leave", "the mounts of the other processes", error);
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|error| failed(error.into()))?;
    let flags = rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(|error| failed(error.into()))
}
