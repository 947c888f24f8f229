// SPDX-License-Identifier: GPL-2.0-or-later
//! The mounts that make a node's CDSLs its own: on each context directory, the directory of this node's value.
//!
//! ```text
//!   /cluster/node{nodenum}  ◀── bind mount ──  /cluster/node3        on node 3
//!   /cluster/role/{role}    ◀── bind mount ──  /cluster/role/web     on a node whose role is web
//! ```
//!
//! Process 1 has this done at boot before anything reads a node-specific file; so nothing here needs a daemon, a thread
//! or a command line. Doing it twice changes nothing. Everything is reached by descriptors (`open_tree(2)`,
//! `move_mount(2)`), so that no link that appears meanwhile leads a mount out of the root.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind_recursive, mount_change, move_mount,
    open_tree, unmount,
};
use ssi_cluster::Context;

use crate::layout::{Variable, context_directory, good_value};
use crate::path::TreePath;
use crate::tree::{Root, TreeError};
use crate::walk::{ContextDirectory, contexts};

/// So many mounts may lie on each other on a context directory before something is wrong.
const STACKED_MAX: usize = 64;

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

/// A context directory as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The variable.
    pub variable: Variable,
    /// The context directory.
    pub at: TreePath,
    /// What belongs there.
    pub from: TreePath,
    /// Whether that is what programs find there.
    pub right: bool,
}

/// Mounts this context's directories: that of `{nodenum}` always, those of other variables where CDSLs go by them.
/// Directories that are missing are made.
///
/// # Errors
/// The first that could not be mounted: others before it are.
pub fn activate(root: &Root, context: &Context) -> Result<Vec<Mounted>, TreeError> {
    fit(root, context)?;
    let mut mounted = Vec::new();
    for ContextDirectory { variable, at, from, .. } in contexts(context) {
        if variable == Variable::nodenum() || exists(root, &at)? {
            let done = mount_one(root, &at, &from)?;
            mounted.push(Mounted { variable, at, from, done });
        }
    }
    Ok(mounted)
}

/// Takes the mounts of this context's directories away; which they were. A program that has a file there open keeps it.
///
/// # Errors
/// The first that could not be taken away.
pub fn deactivate(root: &Root, context: &Context) -> Result<Vec<TreePath>, TreeError> {
    let mut gone = Vec::new();
    for ContextDirectory { at, .. } in contexts(context) {
        if exists(root, &at)? && take_all_off(root, &at)? {
            gone.push(at);
        }
    }
    Ok(gone)
}

/// The context directories that there are, and whether the right one is mounted on each.
///
/// # Errors
/// The first that could not be looked at.
pub fn look(root: &Root, context: &Context) -> Result<Vec<Seen>, TreeError> {
    let mut all = Vec::new();
    for ContextDirectory { variable, at, from, .. } in contexts(context) {
        if exists(root, &at)? {
            let right = exists(root, &from)? && same(root, &at, &from).map_err(|error| failed(root, &at, error))?;
            all.push(Seen { variable, at, from, right });
        }
    }
    Ok(all)
}

/// Leaves the mounts of all others, so that what is mounted from here on is seen by this process and its children alone.
/// What others mount later is still seen.
///
/// # Errors
/// What the kernel said; it is allowed to root only.
pub fn leave_others() -> Result<(), TreeError> {
    let failed = |error: std::io::Error| TreeError::new("leave", "the mounts of the other processes", error);
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|error| failed(error.into()))?;
    match apart() {
        // "/" is no mount: this runs in a chroot(2).
        Err(Errno::INVAL) => in_whole_namespace(apart).map_err(failed),
        other => other.map_err(|error| failed(error.into())),
    }
}

/// What is mounted here from now on does not reach the others; what they mount reaches here.
fn apart() -> Result<(), Errno> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

/// Does this with the root of the mount namespace for its root. Entering a mount namespace, be it one's own, makes its
/// root the process's (`setns(2)`).
fn in_whole_namespace(act: fn() -> Result<(), Errno>) -> std::io::Result<()> {
    let directory = |path: &str| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
    };
    let (root, here) = (directory("/")?, directory(".")?);
    let namespace = std::fs::File::open("/proc/thread-self/ns/mnt")?;
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNS)?;
    let done = act();
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")?;
    rustix::process::fchdir(here)?;
    Ok(done?)
}

/// Whether each variable that CDSLs go by has a value that can be a directory's name. One that has not would leave its
/// context directory empty, and every program without its file.
fn fit(root: &Root, context: &Context) -> Result<(), TreeError> {
    for (name, value) in context.vars().filter(|(_, value)| !good_value(value)) {
        // A name that no CDSL can go by has no directory.
        let Ok(variable) = Variable::parse(name) else { continue };
        let at = context_directory(&variable);
        if exists(root, &at)? {
            let why = format!("{{{variable}}} is {value:?} on this node, which cannot be the name of a directory");
            return Err(failed(root, &at, std::io::Error::other(why)));
        }
    }
    Ok(())
}

fn mount_one(root: &Root, at: &TreePath, from: &TreePath) -> Result<Done, TreeError> {
    let failed = |error: std::io::Error| failed(root, at, error);
    // On a root that is read-only they are there from an earlier boot.
    root.make_directory(from, None)?;
    root.make_directory(at, None)?;
    if same(root, at, from).map_err(failed)? {
        return Ok(Done::Nothing);
    }
    let done = if take_all_off(root, at)? { Done::Replaced } else { Done::Mounted };
    let source = open(root, from).map_err(failed)?;
    let target = open(root, at).map_err(failed)?;
    // With what is mounted below it: a node may have its own /var on a disk of its own, at /cluster/node3/var.
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    match open_tree(&source, "", clone) {
        Ok(tree) => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(tree.as_fd(), "", target.as_fd(), "", flags).map_err(|error| failed(error.into()))?;
        }
        // Kernels before 5.2, and sandboxes that know only the old call.
        Err(Errno::NOSYS | Errno::PERM) => {
            mount_bind_recursive(by_name(&source), by_name(&target)).map_err(|error| failed(error.into()))?;
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

/// Takes off all that is mounted on it; whether anything was.
fn take_all_off(root: &Root, at: &TreePath) -> Result<bool, TreeError> {
    let failed = |error: std::io::Error| TreeError::new("unmount", root.shown(at), error);
    for count in 0..STACKED_MAX {
        let mounted = open(root, at).map_err(failed)?;
        if !is_mount_root(&mounted).map_err(failed)? {
            return Ok(count > 0);
        }
        // Lazily: a program that has a file there open keeps it, and the next one sees what is mounted then.
        unmount(by_name(&mounted), UnmountFlags::DETACH).map_err(|error| failed(error.into()))?;
    }
    Err(failed(std::io::Error::other(format!("more than {STACKED_MAX} mounts lie on each other there"))))
}

/// A name by which the older calls, that take no descriptor, reach what is open.
fn by_name(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn open(root: &Root, directory: &TreePath) -> std::io::Result<OwnedFd> {
    root.open_below(directory, OFlags::PATH | OFlags::DIRECTORY)
}

/// Whether the two names lead to one directory.
fn same(root: &Root, a: &TreePath, b: &TreePath) -> std::io::Result<bool> {
    let identity = |path: &TreePath| -> std::io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(open(root, path)?)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    Ok(identity(a)? == identity(b)?)
}

/// Whether what is open is the topmost directory of a mount.
fn is_mount_root(open: &OwnedFd) -> std::io::Result<bool> {
    let found = rustix::fs::statx(open, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    // Before 5.8 the kernel did not tell: then what is there is taken for no mount, and another one comes on top.
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn exists(root: &Root, at: &TreePath) -> Result<bool, TreeError> {
    root.exists(at).map_err(|error| TreeError::new("look at", root.shown(at), error))
}

fn failed(root: &Root, at: &TreePath, error: std::io::Error) -> TreeError {
    TreeError::new("mount this node's directory on", root.shown(at), error)
}
