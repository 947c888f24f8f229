// SPDX-License-Identifier: GPL-2.0-or-later
//! The directories that stand in for /tmp and /var/tmp with `PrivateTmp=`. systemd.exec(5).
//!
//! The manager makes them once for a unit and removes them when it stops, since all of the unit's processes (and
//! units that join its namespace) see the same ones. Their names are those that systemd gives, which tmpfiles.d
//! knows to leave alone: `systemd-private-BOOT-UNIT-RANDOM`, closed, with an open `tmp` inside.

use crate::plan::Protection;
use rustix::fs::{Mode, chmod, mkdir};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Path, PathBuf};

/// The two directories of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateTmp {
    tmp: PathBuf,
    var_tmp: PathBuf,
}

/// Why they could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {path}: {errno}")]
pub struct PrivateTmpError {
    /// "make" or "remove".
    pub attempt: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// What the system said.
    pub errno: Errno,
}

impl PrivateTmp {
    /// Makes both, below `root` (`/`, but for tests).
    ///
    /// # Errors
    /// When one cannot be made; the other is removed again then.
    pub fn make(root: &Path, boot_id: &str, unit: &str) -> Result<PrivateTmp, PrivateTmpError> {
        let tmp = make_one(&root.join("tmp"), boot_id, unit)?;
        match make_one(&root.join("var/tmp"), boot_id, unit) {
            Ok(var_tmp) => Ok(PrivateTmp { tmp, var_tmp }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&tmp);
                Err(error)
            }
        }
    }

    /// As read back from a manager's state.
    pub fn from_paths(tmp: PathBuf, var_tmp: PathBuf) -> PrivateTmp {
        PrivateTmp { tmp, var_tmp }
    }

    /// The two paths, for a manager's state.
    pub fn paths(&self) -> (&Path, &Path) {
        (&self.tmp, &self.var_tmp)
    }

    /// For the plan.
    pub fn protection(&self) -> Protection {
        let inner = |path: &Path| path.join("tmp").display().to_string();
        Protection::PrivateTmp { tmp: inner(&self.tmp), var_tmp: inner(&self.var_tmp) }
    }

    /// Removes both with all that is in them. May take long; what is already gone is fine.
    ///
    /// # Errors
    /// When something cannot be removed. Both are tried.
    pub fn remove(&self) -> Result<(), PrivateTmpError> {
        let remove = |path: &Path| match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Err(PrivateTmpError { attempt: "remove", path: path.to_owned(), errno })
            }
            _ => Ok(()),
        };
        let first = remove(&self.tmp);
        remove(&self.var_tmp).and(first)
    }
}

fn make_one(place: &Path, boot_id: &str, unit: &str) -> Result<PathBuf, PrivateTmpError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |errno| PrivateTmpError { attempt: "make", path, errno }
    };
    loop {
        let mut random = [0u8; 6];
        // Six bytes come whole or not at all.
        getrandom(&mut random, GetRandomFlags::empty()).map_err(fail(place))?;
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let suffix: String = random
            .iter()
            .filter_map(|byte| letters.get(usize::from(*byte) % letters.len()))
            .map(|b| *b as char)
            .collect();
        let path = place.join(format!("systemd-private-{boot_id}-{unit}-{suffix}"));
        match mkdir(&path, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => continue,
            done => done.map_err(fail(&path))?,
        }
        let inner = path.join("tmp");
        mkdir(&inner, Mode::from_raw_mode(0o777)).map_err(fail(&inner))?;
        // Past the umask.
        chmod(&inner, Mode::from_raw_mode(0o1777)).map_err(fail(&inner))?;
        return Ok(path);
    }
}
