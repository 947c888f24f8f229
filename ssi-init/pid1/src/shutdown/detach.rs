// SPDX-License-Identifier: GPL-2.0-or-later
//! Letting go of swap, mounts, loops, arrays and device mapper devices.
//!
//! They lie on one another in any order (a file system on a loop on a file of another file system on an encrypted
//! disk), so all kinds are tried in turn, again as long as something could be let go. What then is left is made
//! read-only, so that it is clean on disk, and cut off from the tree.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use super::limited;
use super::mounts::{Mounted, in_order, unescape};
use crate::say::say;
use crate::sys::{device, power};

/// More rounds than anything can be stacked.
const ROUNDS: u32 = 64;

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Lets go of everything that can be; each call may take `limit`.
pub(crate) fn all(limit: Duration) {
    let mut detaching = Detaching { limit, hung: HashSet::new(), below: None };
    detaching.rounds();
    detaching.leave_clean();
}

struct Detaching {
    limit: Duration,
    /// What did not come back in time is not tried again.
    hung: HashSet<PathBuf>,
    /// Only what is mounted here: for tests.
    below: Option<PathBuf>,
}

impl Detaching {
    fn rounds(&mut self) {
        for _ in 0..ROUNDS {
            let mut some = self.swaps();
            some |= self.mounts();
            some |= self.loops();
            some |= self.arrays();
            some |= self.mapped();
            if !some {
                return;
            }
        }
    }

    fn mounted(&self) -> Vec<Mounted> {
        let mut mounts = in_order(&fs::read("/proc/self/mountinfo").unwrap_or_default());
        if let Some(below) = &self.below {
            mounts.retain(|mount| mount.place.starts_with(below));
        }
        mounts
    }

    /// Calls with the limit; takes note of what hangs. Could it be done?
    fn attempt(&mut self, what: &str, path: &Path, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if self.hung.contains(path) {
            return Err(Errno::ETIMEDOUT);
        }
        let done = limited::run(self.limit, call);
        if done == Err(Errno::ETIMEDOUT) {
            say!(Error, "{what} {}: not done in {} ms; going on without", path.display(), self.limit.as_millis());
            self.hung.insert(path.into());
        }
        done
    }

    fn mounts(&mut self) -> bool {
        let mut some = false;
        for mount in self.mounted() {
            // A server that is gone is not asked to agree.
            let flags = if mount.is_network() { UnmountFlags::FORCE } else { UnmountFlags::empty() };
            let flags = flags | UnmountFlags::NOFOLLOW;
            some |= self.attempt("unmounting", &mount.place, || unmount(&mount.place, flags).map_err(errno)).is_ok();
        }
        some
    }

    fn swaps(&mut self) -> bool {
        if self.below.is_some() {
            return false;
        }
        let text = fs::read("/proc/swaps").unwrap_or_default();
        let mut some = false;
        for line in text.split(|b| *b == b'\n').skip(1) {
            let name = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
            let Ok(path) = CString::new(unescape(name)) else { continue };
            if path.is_empty() {
                continue;
            }
            let shown = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).to_owned();
            some |= self.attempt("swapoff of", &shown, || power::swapoff(&path)).is_ok();
        }
        some
    }

    fn block_devices(&self, prefix: &str, with: &str) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let marker = entry.path().join(with);
                (name.starts_with(prefix) && marker.exists()).then_some((name, marker))
            })
            .collect()
    }

    fn loops(&mut self) -> bool {
        let mut some = false;
        for (name, backing) in self.block_devices("loop", "loop/backing_file") {
            if let Some(below) = &self.below {
                let file = fs::read(&backing).unwrap_or_default();
                if !file.starts_with(below.as_os_str().as_bytes()) {
                    continue;
                }
            }
            let path = Path::new("/dev").join(name);
            let detach = || {
                let device = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
                device::detach_loop(device.as_fd())
            };
            let detached = self.attempt("detaching", &path, detach);
            // One that is still in use is let go by the kernel with its last user, and says so by being there still.
            some |= detached.is_ok() && !backing.exists();
        }
        some
    }

    fn arrays(&mut self) -> bool {
        if self.below.is_some() {
            return false;
        }
        let mut some = false;
        for (_, state) in self.block_devices("md", "md/array_state") {
            if fs::read(&state).is_ok_and(|text| text.starts_with(b"clear")) {
                continue;
            }
            let clear =
                || fs::write(&state, "clear").map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(nix::libc::EIO)));
            some |= self.attempt("stopping the array of", &state, clear).is_ok();
        }
        some
    }

    fn mapped(&mut self) -> bool {
        if self.below.is_some() {
            return false;
        }
        let mut some = false;
        for (device, name) in self.block_devices("dm-", "dm/name") {
            let Ok(mut name) = fs::read(&name) else { continue };
            while name.last() == Some(&b'\n') {
                name.pop();
            }
            let remove = || {
                let control =
                    open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
                device::remove_dm(control.as_fd(), &name)
            };
            some |= self.attempt("removing", Path::new(&device), remove).is_ok();
        }
        some
    }

    /// Makes what is left read-only and cuts it off; the root stays in its place.
    fn leave_clean(&mut self) {
        let left = self.mounted();
        for mount in &left {
            if self.hung.contains(&mount.place) {
                continue;
            }
            say!(Warning, "{} is still in use: making it read-only", mount.place.display());
            if !mount.read_only && !mount.is_network() {
                self.read_only(&mount.place);
            }
        }
        for mount in &left {
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            // Cutting off waits for nobody, so what hung before may go now.
            let _ = limited::run(self.limit, || unmount(&mount.place, flags).map_err(errno));
        }
        if !left.is_empty() {
            self.rounds();
        }
        if self.below.is_none() {
            self.read_only(Path::new("/"));
        }
    }

    fn read_only(&mut self, place: &Path) {
        let done =
            self.attempt("making read-only", place, || mount_remount(place, MountFlags::RDONLY, "").map_err(errno));
        match done {
            Ok(()) | Err(Errno::ETIMEDOUT) => {}
            Err(error) => say!(Error, "making {} read-only: {}", place.display(), error.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork;
    use rustix::mount::{MountPropagationFlags, mount, mount_bind, mount_change};

    /// In a child with mounts of its own, since what is unmounted would be the machine's. Needs root.
    fn in_own_namespace(scene: impl FnOnce()) {
        let child = fork(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            scene();
            0
        })
        .unwrap();
        let ended = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
    }

    fn tmpfs(place: &Path) {
        fs::create_dir_all(place).unwrap();
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), c"").unwrap();
    }

    fn detaching(below: &Path) -> Detaching {
        Detaching { limit: Duration::from_secs(10), hung: HashSet::new(), below: Some(below.into()) }
    }

    #[test]
    fn everything_that_lies_on_one_another_goes() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        in_own_namespace(|| {
            tmpfs(&top);
            tmpfs(&top.join("a b"));
            tmpfs(&top.join("a b/c"));
            tmpfs(&top.join("a b/c"));
            fs::create_dir(top.join("bound")).unwrap();
            mount_bind(top.join("a b/c"), top.join("bound")).unwrap();
            assert_eq!(detaching(&top).mounted().len(), 5);
            let mut detaching = detaching(&top);
            detaching.rounds();
            assert_eq!(detaching.mounted(), []);
        });
    }

    #[test]
    fn what_is_in_use_is_made_read_only_and_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        in_own_namespace(|| {
            tmpfs(&top);
            tmpfs(&top.join("busy"));
            fs::write(top.join("busy/file"), "x").unwrap();
            let reader = fs::File::open(top.join("busy/file")).unwrap();
            let busy = open(top.join("busy"), OFlags::DIRECTORY, Mode::empty()).unwrap();
            let mut detaching = detaching(&top);
            detaching.rounds();
            assert_eq!(detaching.mounted().len(), 2, "it is in use");
            detaching.leave_clean();
            assert_eq!(detaching.mounted(), []);
            let write = rustix::fs::openat(&busy, "new", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
            assert_eq!(write.unwrap_err(), rustix::io::Errno::ROFS);
            drop(reader);
        });
    }
}
