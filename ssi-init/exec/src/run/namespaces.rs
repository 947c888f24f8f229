// SPDX-License-Identifier: GPL-2.0-or-later
//! Network, IPC, UTS, mount and user namespaces. namespaces(7).
//!
//! The mount namespace is made with the mount API of Linux 5.2: what is to be bound somewhere is first cut loose as
//! a tree of its own (open_tree), then the root is changed if one was asked for, then the trees are put in place
//! (move_mount). So nothing needs a scratch directory, and a source is still reached when something else is
//! mounted over it, or when it is outside the new root.

use super::identity::Resolved;
use super::mounts::{self, Entry, Put};
use super::slots::Slots;
use super::sys;
use super::trouble::At;
use crate::plan::{ExecPlan, MountPropagation, NamespaceShare, Protection};
use crate::report::Failure;
use crate::step::Step;
use nix::libc;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Namespaces that exist already and are joined by path, opened while the paths are still those of the machine.
pub(super) struct Joins {
    network: Option<OwnedFd>,
    ipc: Option<OwnedFd>,
}

/// Whether the plan gets a mount namespace of its own.
pub(super) fn needs_mounts(plan: &ExecPlan) -> bool {
    mounts::needed(plan)
}

/// Opens what `NetworkNamespacePath=` and `IPCNamespacePath=` name.
pub(super) fn open_paths(plan: &ExecPlan) -> Result<Joins, Failure> {
    let mut joins = Joins { network: None, ipc: None };
    if !plan.sandboxed() {
        return Ok(joins);
    }
    let open = |path: &String, step| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .at(step, || path.clone())
    };
    for protection in &plan.protections {
        match protection {
            Protection::NetworkNamespacePath(path) => joins.network = Some(open(path, Step::Network)?),
            Protection::IpcNamespacePath(path) => joins.ipc = Some(open(path, Step::Namespace)?),
            _ => {}
        }
    }
    Ok(joins)
}

/// Everything that root sets up before the user is taken on.
pub(super) fn enter(plan: &ExecPlan, joins: Joins, slots: &Slots, credentials: Option<&str>) -> Result<(), Failure> {
    if let Some(fd) = &joins.network {
        sys::enter_namespace(fd, libc::CLONE_NEWNET).at(Step::Network, || "the namespace named".into())?;
    }
    if let Some(fd) = &joins.ipc {
        sys::enter_namespace(fd, libc::CLONE_NEWIPC).at(Step::Namespace, || "the IPC namespace named".into())?;
    }
    for protection in &plan.protections {
        match protection {
            Protection::PrivateNetwork(share) => {
                let make = || {
                    sys::unshare(libc::CLONE_NEWNET)?;
                    sys::loopback_up()
                };
                in_shared(*share, slots, libc::CLONE_NEWNET, "/proc/self/ns/net", make)
                    .at(Step::Network, || "a private network".into())?;
            }
            Protection::PrivateIpc(share) => {
                let make = || sys::unshare(libc::CLONE_NEWIPC);
                in_shared(*share, slots, libc::CLONE_NEWIPC, "/proc/self/ns/ipc", make)
                    .at(Step::Namespace, || "a private IPC namespace".into())?;
            }
            _ => {}
        }
    }
    if mounts::needed(plan) {
        set_up_mounts(plan, credentials)?;
    }
    if plan.protections.contains(&Protection::ProtectHostname) {
        sys::unshare(libc::CLONE_NEWUTS).at(Step::Namespace, || "a host name of its own".into())?;
    }
    Ok(())
}

/// Makes a namespace, or enters the one that an earlier process of the unit left in the share.
fn in_shared(
    share: Option<NamespaceShare>,
    slots: &Slots,
    kind: libc::c_int,
    own: &str,
    make: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let Some(share) = share else { return make() };
    let end = |slot| slots.get(slot).map_err(|_| Errno::BADF);
    let (take, put) = (end(share.take)?, end(share.put)?);
    // Two processes of a unit may start at once; the lock goes when this process runs its program or ends.
    rustix::fs::fcntl_lock(take, FlockOperation::LockExclusive)?;
    let namespace = match receive(take)? {
        Some(namespace) => {
            sys::enter_namespace(&namespace, kind)?;
            namespace
        }
        None => {
            make()?;
            rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?
        }
    };
    send(put, &namespace)?;
    rustix::fs::fcntl_lock(take, FlockOperation::Unlock)
}

fn receive(socket: impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    match recvmsg(&socket, &mut buffers, &mut ancillary, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC) {
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
        Ok(_) => {}
    }
    let mut messages = ancillary.drain();
    Ok(messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

fn send(socket: impl AsFd, fd: &OwnedFd) -> Result<(), Errno> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&socket, &[std::io::IoSlice::new(b"n")], &mut ancillary, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        .map(drop)
}

/// A tree cut loose, ready for its place.
struct Prepared {
    entry: Entry,
    tree: Option<Tree>,
}

fn set_up_mounts(plan: &ExecPlan, credentials: Option<&str>) -> Result<(), Failure> {
    let step = Step::Namespace;
    sys::unshare(libc::CLONE_NEWNS).at(step, || "a mount namespace".into())?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).at(step, || "parting the mounts from the machine's".into())?;

    let proc_directory = rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at(step, || "/proc".into())?;
    let mut prepared = Vec::new();
    for entry in mounts::entries(plan, credentials) {
        let at = entry.path.clone();
        if let Some(tree) = cut_loose(&entry, plan.root_directory.as_deref()).at(step, || at.display().to_string())? {
            prepared.push(Prepared { entry, tree });
        }
    }
    if let Some(root) = &plan.root_directory {
        change_root(root).at(step, || root.clone())?;
    }

    // Symlinks are followed now, in the root where the paths hold; two entries may turn out to be one.
    let mut found = Vec::with_capacity(prepared.len());
    for Prepared { mut entry, tree } in prepared {
        match resolve(&entry, tree.as_ref()).at(step, || entry.path.display().to_string())? {
            Some(path) => {
                entry.path = path;
                found.push(Prepared { entry, tree });
            }
            None => continue,
        }
    }
    let settled = mounts::settle(found.iter().map(|prepared| prepared.entry.clone()).collect());
    for entry in &settled {
        let tree = found
            .iter_mut()
            .find(|prepared| prepared.entry.path == entry.path && prepared.entry.put == entry.put)
            .and_then(|prepared| prepared.tree.take());
        match put(entry, tree) {
            // An entry above it has brought something in which it is not.
            Err(Errno::NOENT) if entry.missing_ok => {}
            done => done.at(step, || entry.path.display().to_string())?,
        }
    }

    let mountinfo = read_at(&proc_directory, "self/mountinfo").at(step, || "/proc/self/mountinfo".into())?;
    let points = mounts::mount_points(&mountinfo);
    for (path, read_only, no_exec) in mounts::attributes(&settled, &points) {
        let set =
            if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 } | if no_exec { libc::MOUNT_ATTR_NOEXEC } else { 0 };
        match path_text(path).and_then(|text| sys::set_mount_attributes(&text, set, 0, false)) {
            // A mount that another lies over, or that went away.
            Err(Errno::NOENT | Errno::INVAL) if path != Path::new("/") => {}
            done => done.at(step, || path.display().to_string())?,
        }
    }
    let propagation = match mounts::propagation(plan) {
        MountPropagation::Shared => MountPropagationFlags::SHARED,
        MountPropagation::Slave => MountPropagationFlags::DOWNSTREAM,
        MountPropagation::Private => MountPropagationFlags::PRIVATE,
    };
    rustix::mount::mount_change("/", propagation | MountPropagationFlags::REC)
        .at(step, || "the mounts' propagation".into())
}

/// A mount that is not yet anywhere, and those that belong below it. These follow when it has its place: before Linux 6.15
/// nothing can be mounted on what is nowhere.
struct Tree {
    top: OwnedFd,
    below: Vec<(&'static str, OwnedFd)>,
}

impl From<OwnedFd> for Tree {
    fn from(top: OwnedFd) -> Self {
        Self { top, below: Vec::new() }
    }
}

/// Opens what an entry brings along. `None` when it may be missing and is.
fn cut_loose(entry: &Entry, root: Option<&str>) -> Result<Option<Option<Tree>>, Errno> {
    let tree = match &entry.put {
        Put::Bind { source, recursive } => {
            let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            if *recursive {
                flags |= OpenTreeFlags::AT_RECURSIVE;
            }
            match rustix::mount::open_tree(CWD, source, flags) {
                Err(Errno::NOENT) if entry.missing_ok => return Ok(None),
                done => Some(done?.into()),
            }
        }
        Put::Devices => Some(small_dev()?),
        // The machine's node has to be reached before the root changes.
        Put::Closed if root.is_some() => {
            let inside = Path::new(root.unwrap_or("/")).join(entry.path.strip_prefix("/").unwrap_or(&entry.path));
            match rustix::fs::lstat(&inside) {
                Err(Errno::NOENT | Errno::NOTDIR) if entry.missing_ok => return Ok(None),
                Err(errno) => return Err(errno),
                Ok(stat) => Some(closed_node(FileType::from_raw_mode(stat.st_mode))?.into()),
            }
        }
        _ => None,
    };
    Ok(Some(tree))
}

/// Where an entry's path leads, made when it is for something new. `None` when it may be missing and is.
fn resolve(entry: &Entry, tree: Option<&Tree>) -> Result<Option<PathBuf>, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    match std::fs::canonicalize(&entry.path).map_err(errno) {
        Ok(path) => Ok(Some(path)),
        Err(Errno::NOENT) => {
            match (&entry.put, tree) {
                (Put::Bind { .. }, Some(tree)) => make_place(&tree.top, &entry.path)?,
                (Put::Empty(_), _) if !entry.missing_ok => std::fs::create_dir_all(&entry.path).map_err(errno)?,
                _ if entry.missing_ok => return Ok(None),
                _ => return Err(Errno::NOENT),
            }
            std::fs::canonicalize(&entry.path).map(Some).map_err(errno)
        }
        Err(Errno::NOTDIR) if entry.missing_ok => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn put(entry: &Entry, tree: Option<Tree>) -> Result<(), Errno> {
    let path = &entry.path;
    // What is wholly replaced is let go, so that it cannot come to light again. Where it is no mount, or a container
    // must keep it, it is covered.
    let replace = |tree: &OwnedFd| {
        if path != Path::new("/") {
            let _ = rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        attach(tree, path)
    };
    match (&entry.put, tree) {
        (Put::Same, _) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            if path == Path::new("/") {
                // The root is a mount already, and one put over it would not be seen.
                return Ok(());
            }
            attach(&rustix::mount::open_tree(CWD, path, flags)?, path)
        }
        (Put::Devices, Some(tree)) => {
            replace(&tree.top)?;
            tree.below.iter().try_for_each(|(name, below)| attach(below, &path.join(name)))
        }
        (Put::Bind { .. }, Some(tree)) => match attach(&tree.top, path) {
            // The place was there, and now lies below an empty file system that was put over it.
            Err(Errno::NOENT) => {
                make_place(&tree.top, path)?;
                attach(&tree.top, path)
            }
            done => done,
        },
        (Put::Bind { .. } | Put::Devices, None) => Err(Errno::NOENT),
        (Put::Closed, Some(tree)) => attach(&tree.top, path),
        (Put::Closed, None) => {
            let stat = rustix::fs::lstat(path)?;
            attach(&closed_node(FileType::from_raw_mode(stat.st_mode))?, path)
        }
        (Put::Proc(options), _) => {
            match new_file_system("proc", options, MountAttrFlags::MOUNT_ATTR_NOEXEC) {
                // A container whose own /proc is partly covered may not mount another: what is there stays.
                Err(Errno::PERM) => Ok(()),
                done => replace(&done?),
            }
        }
        (Put::MessageQueues, _) => replace(&new_file_system("mqueue", "", MountAttrFlags::MOUNT_ATTR_NOEXEC)?),
        (Put::Empty(options), _) => replace(&new_file_system("tmpfs", options, MountAttrFlags::empty())?),
    }
}

/// Something to mount on, of the kind of what is mounted.
fn make_place(tree: &OwnedFd, path: &Path) -> Result<(), Errno> {
    super::directories::make_parents(path)?;
    if FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir() {
        return rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn attach(tree: &OwnedFd, path: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A file system of its own, not yet anywhere. No set-user-id programs and no devices in it, unless told.
fn new_file_system(kind: &str, options: &str, more: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | more;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "nosuid" => attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "suid" => attributes -= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "dev" => attributes -= MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "exec" => attributes -= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
            "strictatime" => attributes |= MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            "nodiratime" => attributes |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "relatime" => {}
            _ => match option.split_once('=') {
                Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value)?,
                None => rustix::mount::fsconfig_set_flag(&context, option)?,
            },
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A /dev with the nodes that every program may have, and the machine's terminals and shared memory.
fn small_dev() -> Result<Tree, Errno> {
    let mut below = Vec::new();
    let attributes = MountAttrFlags::MOUNT_ATTR_STRICTATIME | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = new_file_system("tmpfs", "dev,mode=0755,size=4m,nr_inodes=64k", attributes)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::fs::mkdirat(&dev, "char", Mode::from_raw_mode(0o755))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let from = format!("/dev/{name}");
        let stat = match rustix::fs::stat(&*from) {
            Err(Errno::NOENT) => continue,
            done => done?,
        };
        let mode = Mode::from_raw_mode((stat.st_mode & 0o777) as _);
        match rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, stat.st_rdev) {
            Ok(()) => rustix::fs::chmodat(&dev, name, mode, rustix::fs::AtFlags::empty())?,
            // In a container that may make no nodes: the machine's, bound.
            Err(Errno::PERM) => {
                rustix::fs::openat(&dev, name, OFlags::CREATE | OFlags::CLOEXEC, mode)?;
                let node = rustix::mount::open_tree(CWD, &*from, clone)?;
                below.push((name, node));
            }
            Err(errno) => return Err(errno),
        }
        // As udev keeps them, for programs that know a device by its numbers.
        let numbers = format!("char/{}:{}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        rustix::fs::symlinkat(format!("../{name}"), &dev, numbers)?;
    }
    for name in ["pts", "shm", "mqueue", "hugepages"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
        let tree = match rustix::mount::open_tree(CWD, format!("/dev/{name}"), clone) {
            Err(Errno::NOENT) => continue,
            done => done?,
        };
        below.push((name, tree));
    }
    for (target, name) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
        ("/run/systemd/journal/dev-log", "log"),
    ] {
        if name != "core" || rustix::fs::access(target, rustix::fs::Access::EXISTS).is_ok() {
            rustix::fs::symlinkat(target, &dev, name)?;
        }
    }
    Ok(Tree { top: dev, below })
}

/// Something of the same kind that nobody may open. A directory is an empty file system; for the rest there are
/// nodes in /run/systemd/inaccessible, which are made when they are not there.
fn closed_node(kind: FileType) -> Result<OwnedFd, Errno> {
    if kind == FileType::Directory {
        return new_file_system("tmpfs", "mode=000,nr_inodes=1", MountAttrFlags::MOUNT_ATTR_NOEXEC);
    }
    let (name, kind) = match kind {
        FileType::CharacterDevice => ("chr", FileType::CharacterDevice),
        FileType::BlockDevice => ("blk", FileType::BlockDevice),
        FileType::Fifo => ("fifo", FileType::Fifo),
        FileType::Socket => ("sock", FileType::Socket),
        _ => ("reg", FileType::RegularFile),
    };
    let place = "/run/systemd/inaccessible";
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    for name in [name, "reg"] {
        let path = format!("{place}/{name}");
        match rustix::mount::open_tree(CWD, &*path, flags) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        let _ = std::fs::create_dir_all(place);
        let kind = if name == "reg" { FileType::RegularFile } else { kind };
        match rustix::fs::mknodat(CWD, &*path, kind, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EXIST) => return rustix::mount::open_tree(CWD, &*path, flags),
            Err(_) => {}
        }
    }
    Err(Errno::NOENT)
}

/// `RootDirectory=` with mounts: the directory becomes the namespace's root, and the old one is let go.
fn change_root(root: &str) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, root, flags)?;
    attach(&tree, Path::new(root))?;
    rustix::process::fchdir(&tree)?;
    sys::pivot_root_stacked()?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// `PrivateUsers=`: a user namespace in which root and the program's user are themselves, and all others nobody.
pub(super) fn enter_user(plan: &ExecPlan, who: &Resolved) -> Result<(), Failure> {
    if !plan.protections.contains(&Protection::PrivateUsers) {
        return Ok(());
    }
    let map = |id: Option<u32>| match id {
        Some(id) if id != 0 => format!("0 0 1\n{id} {id} 1\n"),
        _ => "0 0 1\n".to_owned(),
    };
    let (users, groups) = (map(who.uid), map(who.gid));
    let attempt = || -> Result<(), Errno> {
        // Who is outside must write the maps: only there are the rights over the parent's users.
        let process = rustix::process::getpid().as_raw_nonzero();
        let (ready, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let writer = sys::fork_and(|| {
            let mut byte = [0u8];
            if rustix::io::read(&ready, &mut byte) != Ok(1) {
                return 1;
            }
            let write = |file: &str, text: &str| std::fs::write(format!("/proc/{process}/{file}"), text).is_ok();
            u8::from(!(write("gid_map", &groups) && write("uid_map", &users)))
        })?;
        let entered = sys::unshare(libc::CLONE_NEWUSER);
        if entered.is_ok() {
            rustix::io::write(&go, b"g")?;
        }
        drop(go);
        let status = rustix::process::waitpid(Some(writer), rustix::process::WaitOptions::empty())?;
        entered?;
        match status.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(()),
            _ => Err(Errno::PERM),
        }
    };
    attempt().at(Step::User, || "a user namespace".into())
}

fn read_at(directory: &OwnedFd, path: &str) -> Result<String, Errno> {
    let fd = rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn path_text(path: &Path) -> Result<CString, Errno> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}
