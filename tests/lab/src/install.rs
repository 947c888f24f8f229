// SPDX-License-Identifier: GPL-2.0-or-later
//! The project's files on their way into the nodes: a tree on the host, which namespace nodes get as
//! a layer under their own and guests get as an archive on a drive.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::spec::Install;

/// The size of the drive, the same for every run: a restored guest knows the size of the saved one.
pub(crate) const DRIVE_BYTES: u64 = 2 << 30;

/// The place of `to` below the tree's root, with `/bin` and its like led to `/usr/bin`, where
/// distributions have them since they merged the two.
fn place(to: &Path) -> PathBuf {
    let mut parts = to.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut place = PathBuf::new();
    if let Some(first) = parts.next() {
        if ["bin", "sbin", "lib", "lib64"].iter().any(|merged| first == *merged) {
            place.push("usr");
        }
        place.push(first);
    }
    place.extend(parts);
    place
}

/// Lays all files out under `tree`, as they are to lie under a node's root.
pub(crate) fn lay_out(installs: &[Install], tree: &Path) -> Result<()> {
    fs::create_dir_all(tree).with_context(|| format!("making {}", tree.display()))?;
    for install in installs {
        let place = place(&install.to);
        let mut directory = PathBuf::new();
        for part in place.parent().into_iter().flat_map(Path::components) {
            directory.push(part);
            let here = tree.join(&directory);
            if !here.exists() {
                fs::create_dir(&here).with_context(|| format!("making {}", here.display()))?;
                // The upper layer's permissions hide the lower one's.
                if let Ok(below) = fs::metadata(Path::new("/").join(&directory)) {
                    fs::set_permissions(&here, below.permissions())?;
                }
            }
        }
        let target = tree.join(&place);
        if install.from.is_dir() {
            fs::create_dir_all(&target)?;
            let source = format!("{}/.", install.from.display());
            run("cp", ["-a", "--no-preserve=ownership", &source, &target.to_string_lossy()])?;
        } else {
            fs::copy(&install.from, &target)
                .with_context(|| format!("copying {} to {}", install.from.display(), target.display()))?;
            fs::set_permissions(&target, Permissions::from_mode(install.mode))?;
        }
    }
    Ok(())
}

/// Makes the drive from a laid-out tree.
pub(crate) fn write_drive(tree: &Path, drive: &Path) -> Result<()> {
    // Without entries for directories, unpacking follows the links a root has for some of them.
    let list = tempfile::NamedTempFile::new()?;
    let names = run(
        "find",
        [tree.as_os_str(), "!".as_ref(), "-type".as_ref(), "d".as_ref(), "-printf".as_ref(), "./%P\\0".as_ref()],
    )?;
    fs::write(list.path(), names)?;
    let arguments = ["--create", "--null", "--no-recursion", "--owner=0", "--group=0", "--file"];
    let rest = ["--directory".as_ref(), tree.as_os_str(), "--files-from".as_ref(), list.path().as_os_str()];
    run("tar", arguments.iter().map(std::ffi::OsStr::new).chain([drive.as_os_str()]).chain(rest))?;
    let length = fs::metadata(drive)?.len();
    anyhow::ensure!(
        length <= DRIVE_BYTES,
        "the files to be installed take {length} bytes; the drive has {DRIVE_BYTES}"
    );
    fs::OpenOptions::new()
        .write(true)
        .open(drive)
        .and_then(|file| file.set_len(DRIVE_BYTES))
        .with_context(|| format!("giving {} its size", drive.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_directories_are_followed() {
        assert_eq!(place(Path::new("/sbin/init")), Path::new("usr/sbin/init"));
        assert_eq!(place(Path::new("/usr/bin/x")), Path::new("usr/bin/x"));
        assert_eq!(place(Path::new("/etc/../etc/x")), Path::new("etc/etc/x"));
        assert_eq!(place(Path::new("/opt/bin/x")), Path::new("opt/bin/x"));
    }

    #[test]
    fn a_tree_has_the_modes_asked_for() -> Result<()> {
        let here = tempfile::tempdir()?;
        let from = here.path().join("f");
        fs::write(&from, "x")?;
        let tree = here.path().join("tree");
        lay_out(&[Install { from, to: "/sbin/f".into(), mode: 0o750 }], &tree)?;
        assert_eq!(fs::metadata(tree.join("usr/sbin/f"))?.permissions().mode() & 0o7777, 0o750);
        Ok(())
    }
}
