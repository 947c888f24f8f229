// SPDX-License-Identifier: GPL-2.0-or-later
//! What guests are made from and what is kept between runs, on disk.
//!
//! ```text
//!   /var/cache/ssi-lab/images/KEY/     root.raw vmlinuz modules/          Debian, untouched
//!                      boot/KEY.img                                       early user space
//!                      snapshots/KEY/  nodeN.qcow2 nodeN.state            booted and saved
//!                      runs/LAB/       nodeN.qcow2 drive.raw              of one lab, gone with it
//! ```
//!
//! A key is a hash of all that goes in. Things are made beside their place and renamed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// The lock in each thing that is kept.
const LOCK: &str = "lock";

/// The cache's directory.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os("SSI_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/ssi-lab"), PathBuf::from)
}

/// A lab's own disks.
pub(crate) fn run_directory(lab: &str) -> PathBuf {
    directory().join("runs").join(lab)
}

/// A node's disk there.
pub(crate) fn disk(lab: &str, node: crate::spec::NodeNumber) -> PathBuf {
    run_directory(lab).join(format!("node{node}.qcow2"))
}

/// A key of all these parts.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps parts apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes what is to lie at `place` unless it does, one maker at a time.
pub(crate) fn ensure(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let above = place.parent().context("the cache's root is not to be made")?;
    fs::create_dir_all(above).with_context(|| format!("making {}", above.display()))?;
    if place.exists() {
        return Ok(());
    }
    let lock = File::create(above.join(".lock")).with_context(|| format!("making the lock of {}", above.display()))?;
    flock(&lock, FlockOperation::LockExclusive).context("waiting for another lab that makes the same")?;
    if place.exists() {
        return Ok(());
    }
    let mut name = place.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(".part");
    let part = above.join(name);
    // Whoever made these was killed: with the lock, this is the only maker.
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|end| end == "part") {
            remove(&entry.path());
        }
    }
    make(&part).inspect_err(|_| remove(&part))?;
    fs::rename(&part, place).with_context(|| format!("moving {} into place", place.display()))
}

/// Keeps what lies at `place` from being removed while the file given back is open, and removes what
/// lies beside it, was used longest ago and is held by nobody, but for `kept` of them.
pub(crate) fn hold(place: &Path, kept: usize) -> Result<File> {
    let lock = File::create(place.join(LOCK)).with_context(|| format!("making the lock of {}", place.display()))?;
    flock(&lock, FlockOperation::LockShared).with_context(|| format!("locking {}", place.display()))?;
    // The time of its last use.
    lock.set_modified(SystemTime::now()).context("noting its use")?;
    let used = |path: &Path| {
        let lock = fs::metadata(path.join(LOCK)).and_then(|lock| lock.modified());
        lock.unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let beside = place.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let mut others: Vec<_> = beside.filter(|path| path != place && path.join(LOCK).exists()).collect();
    others.sort_by_key(|path| std::cmp::Reverse(used(path)));
    for path in others.into_iter().skip(kept) {
        let lock = File::open(path.join(LOCK));
        if lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            remove(&path);
        }
    }
    Ok(lock)
}

fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_parts_apart() {
        let of = |parts: &[&str]| key(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }

    #[test]
    fn what_is_held_stays_and_the_rest_goes() -> Result<()> {
        let here = tempfile::tempdir()?;
        let place = |name: &str| here.path().join(name);
        for name in ["a", "b", "c"] {
            fs::create_dir(place(name))?;
        }
        let held = hold(&place("a"), 9)?;
        drop(hold(&place("b"), 9)?);
        drop(hold(&place("c"), 0)?);
        assert!(place("a").exists() && !place("b").exists() && place("c").exists());
        drop(held);
        drop(hold(&place("c"), 0)?);
        assert!(!place("a").exists());
        Ok(())
    }

    #[test]
    fn what_failed_leaves_nothing_and_what_is_there_is_kept() -> Result<()> {
        let here = tempfile::tempdir()?;
        let place = here.path().join("x");
        assert!(
            ensure(&place, |part| {
                fs::write(part, "half")?;
                anyhow::bail!("no")
            })
            .is_err()
        );
        assert!(!place.exists() && !here.path().join("x.part").exists());
        ensure(&place, |part| Ok(fs::write(part, "1")?))?;
        ensure(&place, |_| anyhow::bail!("made twice"))?;
        assert_eq!(fs::read(&place)?, b"1");
        Ok(())
    }
}
