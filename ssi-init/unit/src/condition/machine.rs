// SPDX-License-Identifier: GPL-2.0-or-later
//! What conditions can ask a machine, and the answers of the one this runs on.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxAttributes, StatxFlags};

use crate::specifier::Host;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, where links are not followed.
    Link,
    /// A block device.
    Block,
    /// A socket, a pipe, a character device.
    Other,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Time of last change: seconds since the epoch, and nanoseconds.
    pub changed: (i64, i64),
    /// Number of the device it lies on; of a block device, its own.
    pub device: u64,
}

/// As whom the manager runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Real and effective user.
    pub users: [u32; 2],
    /// Real, effective and supplementary groups.
    pub groups: Vec<u32>,
}

/// A machine that conditions look at. Paths are absolute.
pub trait Machine {
    /// A whole file, links followed.
    ///
    /// # Errors
    /// As read(2).
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// What a path is; with `follow`, what its link leads to.
    ///
    /// # Errors
    /// As stat(2).
    fn look(&self, path: &str, follow: bool) -> io::Result<FileStatus>;
    /// The names in a directory, `.` and `..` apart.
    ///
    /// # Errors
    /// As readdir(3).
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Whether something is mounted on the path.
    ///
    /// # Errors
    /// As statx(2).
    fn is_mount_point(&self, path: &str) -> io::Result<bool>;
    /// Whether the path's file system is mounted read-only.
    ///
    /// # Errors
    /// As statvfs(3).
    fn is_read_only(&self, path: &str) -> io::Result<bool>;
    /// Names, ids and release of the machine.
    fn host(&self) -> &Host;
    /// As whom the manager runs.
    fn user(&self) -> User;
    /// Whether the manager is the first process of the machine or of its container.
    fn is_first_process(&self) -> bool;
    /// How many processors this process may run on.
    fn processors(&self) -> u64;
    /// Memory in bytes.
    fn memory(&self) -> u64;
    /// A variable of the manager's environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// What the hypervisor says of itself through the processor, 12 characters.
    fn hypervisor_signature(&self) -> Option<String>;
    /// Whether the kernel's audit can be talked to.
    fn has_audit(&self) -> bool;
}

/// The machine this process runs on.
#[derive(Clone, Debug)]
pub struct ThisMachine {
    host: Host,
}

impl ThisMachine {
    /// A view of this machine; `host` may be read once and used for many.
    #[must_use]
    pub fn new(host: Host) -> ThisMachine {
        ThisMachine { host }
    }
}

impl Machine for ThisMachine {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn look(&self, path: &str, follow: bool) -> io::Result<FileStatus> {
        let found = if follow { std::fs::metadata(path)? } else { std::fs::symlink_metadata(path)? };
        let kind = match found.file_type() {
            file if file.is_file() => FileKind::Regular,
            directory if directory.is_dir() => FileKind::Directory,
            link if link.is_symlink() => FileKind::Link,
            block if block.is_block_device() => FileKind::Block,
            _ => FileKind::Other,
        };
        Ok(FileStatus {
            kind,
            mode: found.mode() & 0o7777,
            size: found.size(),
            changed: (found.mtime(), found.mtime_nsec()),
            device: if kind == FileKind::Block { found.rdev() } else { found.dev() },
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn is_mount_point(&self, path: &str) -> io::Result<bool> {
        let found = rustix::fs::statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE)?;
        Ok(path == "/" || found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    fn is_read_only(&self, path: &str) -> io::Result<bool> {
        Ok(rustix::fs::statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    fn host(&self) -> &Host {
        &self.host
    }

    fn user(&self) -> User {
        use rustix::process;
        let mut groups: Vec<u32> =
            process::getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()).collect();
        groups.extend([process::getgid().as_raw(), process::getegid().as_raw()]);
        User { users: [process::getuid().as_raw(), process::geteuid().as_raw()], groups }
    }

    fn is_first_process(&self) -> bool {
        std::process::id() == 1
    }

    fn processors(&self) -> u64 {
        rustix::thread::sched_getaffinity(None).map_or(1, |set| u64::from(set.count()))
    }

    fn memory(&self) -> u64 {
        let info = rustix::system::sysinfo();
        info.totalram.saturating_mul(u64::from(info.mem_unit))
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    #[cfg(target_arch = "x86_64")]
    fn hypervisor_signature(&self) -> Option<String> {
        use std::arch::x86_64::__cpuid;
        // Leaf 1, ECX, bit 31: a hypervisor is there; leaf 0x40000000 says which.
        if __cpuid(1).ecx & 1 << 31 == 0 {
            return None;
        }
        let leaf = __cpuid(0x4000_0000);
        let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn hypervisor_signature(&self) -> Option<String> {
        None
    }

    fn has_audit(&self) -> bool {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::AUDIT)).is_ok()
    }
}
