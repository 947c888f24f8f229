// SPDX-License-Identifier: GPL-2.0-or-later
//! Where things go that a command takes away and nobody asked to delete: `/cluster/.cdsl/attic/DATE-NUMBER/` with the
//! path they had below it. Nothing here is ever removed by a command.

use std::ffi::OsStr;

use jiff::Timestamp;
use rustix::io::Errno;

use super::root::Root;
use super::{TreeError, copy};
use crate::layout::state_directory;
use crate::path::TreePath;

/// `/cluster/.cdsl/attic`
fn attic() -> TreePath {
    state_directory().join(OsStr::new("attic"))
}

/// One command's part of it.
#[derive(Debug)]
pub struct Attic {
    directory: TreePath,
    made: bool,
    /// What was put there: where it was, and where it is.
    pub put: Vec<(TreePath, TreePath)>,
}

impl Attic {
    /// The part of a command with this number, that runs now.
    pub fn new(id: &str) -> Self {
        let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let directory = attic().join(OsStr::new(&format!("{date}-{id}")));
        Self { directory, made: false, put: Vec::new() }
    }

    /// Where it is.
    pub fn directory(&self) -> &TreePath {
        &self.directory
    }

    /// Moves what is at a path there. Nothing at the path is nothing to do.
    ///
    /// # Errors
    /// When it could be neither moved nor copied; it is then still where it was.
    pub fn put(&mut self, root: &Root, path: &TreePath) -> Result<Option<TreePath>, TreeError> {
        match root.exists(path) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(TreeError::new("look at", root.shown(path), error)),
        }
        if !self.made {
            // What was kept from others by a directory above it is kept from them here too.
            root.make_private_directory(&attic())?;
            root.make_directory(&self.directory, None)?;
            self.made = true;
        }
        let mut there = path.below(&self.directory);
        let mut number = 1;
        while root.exists(&there).unwrap_or(false) {
            number += 1;
            there = path.below(&self.directory.join(OsStr::new(&number.to_string())));
        }
        let from =
            root.place(path).map_err(|error| TreeError::new("open the directory of", root.shown(path), error))?;
        let to = root.make_place(&there, None)?;
        match from.move_to(&to) {
            Ok(()) => {}
            Err(error) if error.error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
                copy::copy(&from, &to, &mut |_| {})?;
                root.sync(&there)?;
                from.remove_all()?;
            }
            Err(error) => return Err(error),
        }
        to.sync()?;
        self.put.push((path.clone(), there.clone()));
        Ok(Some(there))
    }
}
