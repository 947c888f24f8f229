// SPDX-License-Identifier: GPL-2.0-or-later
//! Which disk a path of `IOReadBandwidthMax=` and its like means.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::{major, minor};

/// The number `MAJOR:MINOR` of the disk: of a block device itself, else of the file system that the path lies in. Of
/// a partition it is the whole disk, since the kernel limits those alone.
pub(super) fn number_of(path: &str) -> io::Result<String> {
    let meta = std::fs::metadata(path)?;
    let device = if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() };
    if major(device) == 0 {
        let why = "its file system is on no single disk; name the disk itself";
        return Err(io::Error::other(why));
    }
    let own = format!("{}:{}", major(device), minor(device));
    let node = format!("/sys/dev/block/{own}");
    if std::fs::metadata(format!("{node}/partition")).is_err() {
        return Ok(own);
    }
    let disk = std::fs::read_to_string(format!("{}/../dev", std::fs::canonicalize(node)?.display()))?;
    Ok(disk.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_partitions_and_what_is_on_no_disk() {
        assert!(number_of("/proc").unwrap_err().to_string().contains("no single disk"));
        assert_eq!(number_of("/nowhere").unwrap_err().kind(), io::ErrorKind::NotFound);
        // The kernel's own list says which numbers are whole disks.
        let Ok(list) = std::fs::read_dir("/sys/block") else { return };
        for disk in list.flatten() {
            let name = disk.file_name().into_string().unwrap();
            let Ok(number) = std::fs::read_to_string(disk.path().join("dev")) else { continue };
            let own = number_of(&format!("/dev/{name}"));
            assert!(own.is_err() || own.unwrap() == number.trim(), "{name}");
        }
    }
}
