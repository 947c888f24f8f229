// SPDX-License-Identifier: GPL-2.0-or-later
//! The kernel's own file systems, where and how systemd(1) mounts them, so that units find what they expect. What is
//! mounted already (by the initramfs, or by who made the container) is left as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::Mode;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::say::say;

struct Mount {
    place: &'static str,
    kind: &'static str,
    flags: MountFlags,
    options: &'static str,
    need: Need,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without.
    Must,
    /// The same on a machine. In a container it is for who made it to say which devices there are.
    Devices,
    /// Used where there is one.
    May,
    /// The same, and not in a container: it is the kernel's owner's.
    Machine,
}

const SECURE: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);
const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const fn at(place: &'static str, kind: &'static str, flags: MountFlags, options: &'static str, need: Need) -> Mount {
    Mount { place, kind, flags, options, need }
}

/// In the order of mounting.
const MOUNTS: [Mount; 12] = [
    at("/proc", "proc", SECURE, "", Need::Must),
    at("/sys", "sysfs", SECURE, "", Need::Must),
    at("/dev", "devtmpfs", MountFlags::NOSUID, "mode=755,size=4m,nr_inodes=1m", Need::Devices),
    at("/sys/kernel/security", "securityfs", SECURE, "", Need::Machine),
    at("/dev/shm", "tmpfs", NO_DEVICES.union(MountFlags::STRICTATIME), "mode=1777", Need::Must),
    at("/dev/pts", "devpts", MountFlags::NOSUID.union(MountFlags::NOEXEC), "mode=620,gid=5", Need::May),
    at("/run", "tmpfs", NO_DEVICES.union(MountFlags::STRICTATIME), "mode=755,size=20%,nr_inodes=800k", Need::Must),
    at("/sys/fs/cgroup", "cgroup2", SECURE, "nsdelegate,memory_recursiveprot", Need::Must),
    at("/sys/fs/pstore", "pstore", SECURE, "", Need::Machine),
    at("/sys/firmware/efi/efivars", "efivarfs", SECURE, "", Need::Machine),
    at("/sys/fs/bpf", "bpf", SECURE, "mode=700", Need::Machine),
    at("/sys/kernel/config", "configfs", SECURE, "", Need::Machine),
];

/// Directories that must be there before units run; `/run/systemd/system` is how a program knows that units are
/// understood here (sd_booted(3)).
const DIRECTORIES: [(&str, u32); 5] = [
    ("/run/systemd", 0o755),
    ("/run/systemd/system", 0o755),
    ("/run/systemd/units", 0o755),
    ("/run/lock", 0o1777),
    ("/run/ssi", 0o755),
];

/// Debian keeps locks in a file system of their own, so that no user can fill `/run` with them (`systemd` of Debian,
/// "make /run/lock tmpfs an API fs"). Elsewhere it is a directory.
const DEBIAN_LOCKS: Mount = at("/run/lock", "tmpfs", SECURE, "mode=1777,size=5242880", Need::May);

/// Names that programs expect in `/dev` and the kernel does not make.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
];

/// `/proc` and `/dev`, if they are not there.
pub(crate) fn first() {
    for place in ["/proc", "/dev"] {
        let there = if place == "/proc" { Path::new("/proc/self") } else { Path::new("/dev/null") };
        if !there.exists()
            && let Some(mount) = MOUNTS.iter().find(|mount| mount.place == place)
        {
            // Without it there is nothing to say it with; it is tried, and told, again when booting.
            let _ = mount.make();
        }
    }
}

/// Mounts all of it. The error is a sentence for the administrator.
pub(crate) fn api(container: bool) -> Result<(), String> {
    let mut failed = vec![];
    for mount in &MOUNTS {
        let wanted = !container || !matches!(mount.need, Need::Machine | Need::Devices);
        if !wanted || is_mounted(mount.place) {
            continue;
        }
        if let Err(error) = mount.make() {
            match mount.need {
                Need::Must if container => say!(Warning, "mounting {} on {}: {error}", mount.kind, mount.place),
                Need::Must | Need::Devices => {
                    failed.push(format!("mounting {} on {}: {error}", mount.kind, mount.place))
                }
                // Not in this kernel, or not on this hardware.
                Need::May | Need::Machine => {}
            }
        }
    }
    if !container {
        // Mounts made later are seen in the namespaces of services.
        let change = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        if let Err(error) = mount_change("/", change) {
            say!(Warning, "making the mounts shared: {}", std::io::Error::from(error));
        }
    }
    for (path, mode) in DIRECTORIES {
        if let Err(error) =
            fs::create_dir_all(path).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        {
            failed.push(format!("making the directory {path}: {error}"));
        }
    }
    if is_debian() && !is_mounted(DEBIAN_LOCKS.place) {
        // Where it cannot be, the directory made above serves.
        if let Err(error) = DEBIAN_LOCKS.make() {
            say!(Note, "mounting {} on {}: {error}", DEBIAN_LOCKS.kind, DEBIAN_LOCKS.place);
        }
    }
    for (target, link) in LINKS {
        // Made by the kernel's owner, or by the initramfs, already.
        let _ = symlink(target, link);
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{}. Does the kernel have these file systems, and the root these directories?", failed.join("; ")))
    }
}

impl Mount {
    fn make(&self) -> std::io::Result<()> {
        let made = self.mount(self.options);
        // An older kernel does not know every option of the newer.
        let plain = if self.kind == "cgroup2" { "nsdelegate" } else { "" };
        let made = made.or_else(|_| self.mount(plain)).or_else(|_| self.mount(""));
        made.map_err(Into::into)
    }

    fn mount(&self, options: &str) -> rustix::io::Result<()> {
        // The kernel has made the directories of sysfs; of the others the root may lack one, and be read-only.
        let _ = rustix::fs::mkdir(self.place, Mode::from_raw_mode(0o755));
        let options = std::ffi::CString::new(options).unwrap_or_default();
        mount(self.kind, self.place, self.kind, self.flags, options.as_c_str())
    }
}

/// Whether os-release(5) says that this is Debian or made from it.
fn is_debian() -> bool {
    let read = |path| fs::read_to_string(path).ok();
    read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).is_some_and(|text| of_debian(&text))
}

fn of_debian(os_release: &str) -> bool {
    let named = |line: &str| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")).map(str::to_owned);
    os_release
        .lines()
        .filter_map(|line| named(line.trim()))
        .any(|value| value.trim_matches(['"', '\'']).split(' ').any(|word| word == "debian"))
}

/// Is there a file system of its own at this place? Its device number is another than its parent directory's.
fn is_mounted(place: &str) -> bool {
    let (Ok(own), Ok(parent)) = (rustix::fs::stat(place), rustix::fs::stat(format!("{place}/.."))) else {
        return false;
    };
    own.st_dev != parent.st_dev
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_told_from_others() {
        assert!(of_debian("NAME=x\nID=debian\n"));
        assert!(of_debian("ID=ubuntu\nID_LIKE=\"debian\"\n"));
        assert!(of_debian("ID='mint'\nID_LIKE='ubuntu debian'\n"));
        assert!(!of_debian("ID=fedora\nID_LIKE=debianish\nNAME=debian\nBUILD_ID=debian\n"));
        assert!(!of_debian(""));
    }
}
