// SPDX-License-Identifier: GPL-2.0-or-later
//! Back into the initramfs: where one has left itself in `/run/initramfs` with an executable `shutdown`, it wants to end
//! the machine itself, after it has unmounted what was the root (bootup(7); dracut does this for a root on device mapper,
//! iSCSI or NFS). The old root is then at `/oldroot`.

use std::fs;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_bind_recursive, mount_change};

/// Where it is.
pub(crate) const ROOT: &str = "/run/initramfs";
/// What says that it wants to.
pub(crate) const SHUTDOWN: &str = "/run/initramfs/shutdown";

/// Makes it the root, for process 1 too: pivot_root(2) moves every process whose root was the old one. The error is a
/// sentence.
pub(crate) fn enter(root: &Path) -> Result<(), String> {
    let step = |what: String, done: rustix::io::Result<()>| {
        done.map_err(|error| format!("{what}: {}", std::io::Error::from(error)))
    };
    let shown = root.display();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("making the mounts private".into(), mount_change("/", private))?;
    // pivot_root wants a mount.
    step(format!("binding {shown} to itself"), mount_bind(root, root))?;
    for place in ["proc", "sys", "dev", "run", "oldroot"] {
        fs::create_dir_all(root.join(place)).map_err(|error| format!("making {shown}/{place}: {error}"))?;
    }
    for place in ["proc", "sys", "dev"] {
        step(format!("binding /{place}"), mount_bind_recursive(format!("/{place}"), root.join(place)))?;
    }
    // Not what is below it: that is this root.
    step("binding /run".into(), mount_bind("/run", root.join("run")))?;
    std::env::set_current_dir(root).map_err(|error| format!("entering {shown}: {error}"))?;
    step(format!("making {shown} the root"), rustix::process::pivot_root(".", "oldroot"))?;
    step("entering the new root".into(), rustix::process::chroot("."))?;
    std::env::set_current_dir("/").map_err(|error| format!("entering the new root: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork;
    use rustix::mount::{MountFlags, mount};

    /// In a child with mounts of its own, and with a root of its own. Needs root.
    #[test]
    fn the_initramfs_becomes_the_root_and_the_old_one_can_be_unmounted() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let child = fork(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount("tmpfs", &top, "tmpfs", MountFlags::empty(), c"").unwrap();
            for place in ["proc", "sys", "dev", "run", "old"] {
                fs::create_dir(top.join(place)).unwrap();
            }
            fs::write(top.join("the-root"), "").unwrap();
            std::env::set_current_dir(&top).unwrap();
            rustix::process::pivot_root(".", "old").unwrap();
            rustix::process::chroot(".").unwrap();
            mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), c"").unwrap();
            fs::create_dir("/run/initramfs").unwrap();
            fs::write(SHUTDOWN, "").unwrap();

            enter(ROOT.as_ref()).unwrap();
            assert!(Path::new("/shutdown").exists() && Path::new("/oldroot/the-root").exists());
            assert!(Path::new("/run/initramfs/shutdown").exists(), "/run is the same");
            rustix::mount::unmount("/oldroot", rustix::mount::UnmountFlags::DETACH).unwrap();
            assert!(!Path::new("/oldroot/the-root").exists());
            0
        })
        .unwrap();
        let ended = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
    }
}
