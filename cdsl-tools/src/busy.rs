// SPDX-License-Identifier: GPL-2.0-or-later
//! Who has a file or directory open: `/proc/PID/fd`, `cwd`, `root` and `exe` (`proc(5)`), as far as may be read.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use crate::path::TreePath;
use crate::tree::Root;

/// More need not be named.
const NAMED: usize = 5;

/// The processes that have this file, or something in this directory, open: name and number of the first few.
pub fn users(root: &Root, path: &TreePath, stat: &Stat) -> Vec<String> {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let place = root.directory().join(path.relative());
    let uses = |link: &Path| {
        let Ok(target) = fs::read_link(link) else { return false };
        if directory {
            return target.starts_with(&place);
        }
        target.as_os_str().as_bytes().starts_with(b"/")
            && fs::metadata(link).is_ok_and(|open| open.dev() == stat.st_dev && open.ino() == stat.st_ino)
    };
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let number = process.file_name();
        if !number.as_bytes().iter().all(u8::is_ascii_digit)
            || number.as_bytes() == std::process::id().to_string().as_bytes()
        {
            continue;
        }
        let at = process.path();
        let mut links = vec![at.join("cwd"), at.join("root"), at.join("exe")];
        if let Ok(open) = fs::read_dir(at.join("fd")) {
            links.extend(open.flatten().map(|entry| entry.path()));
        }
        if links.iter().any(|link| uses(link)) {
            let name = fs::read_to_string(at.join("comm")).unwrap_or_default();
            found.push(format!("{} (process {})", name.trim(), number.to_string_lossy()));
            if found.len() == NAMED {
                found.push("others".to_owned());
                break;
            }
        }
    }
    found
}
