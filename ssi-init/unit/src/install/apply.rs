// SPDX-License-Identifier: GPL-2.0-or-later
//! Making the changes that were worked out.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Change;

/// A change that could not be made; those before it are.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A link.
    #[error("cannot link {path} to {target}: {error}", path = path.display(), target = target.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A removal.
    #[error("cannot remove {path}: {error}", path = path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Makes the changes to the system below `root`, in order. A link replaces another one at once, so that nobody ever
/// sees the name missing.
///
/// # Errors
/// [`ApplyError`] at the first change that fails.
pub fn apply(changes: &[Change], root: &Path) -> Result<(), ApplyError> {
    let place = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Link { path, target } => {
                let made = make_link(&place(path), target);
                made.map_err(|error| ApplyError::Link { path: place(path), target: target.clone(), error })?;
            }
            // The next change puts a link there, which replaces this one.
            Change::Unlink(path) if matches!(changes.get(index + 1), Some(Change::Link { path: next, .. }) if next == path) =>
                {}
            Change::Unlink(path) => {
                let path = place(path);
                removed(std::fs::remove_file(&path))
                    .map_err(|error| ApplyError::Remove { path: path.clone(), error })?;
                // Fails where a folder is not empty, and that is all right. Only folders of links go, never their parent.
                if let Some(folder) = path.parent().filter(|folder| is_dependency_folder(folder)) {
                    let _ = std::fs::remove_dir(folder);
                }
            }
            Change::RemoveFolder(path) => {
                let path = place(path);
                removed(std::fs::remove_dir_all(&path)).map_err(|error| ApplyError::Remove { path, error })?;
            }
        }
    }
    Ok(())
}

fn is_dependency_folder(folder: &Path) -> bool {
    folder.extension().is_some_and(|extension| ["wants", "requires", "upholds"].iter().any(|word| extension == *word))
}

fn removed(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn make_link(path: &Path, target: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
    std::fs::create_dir_all(folder)?;
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut name = std::ffi::OsString::from(".#");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}", std::process::id()));
            let beside = folder.join(name);
            removed(std::fs::remove_file(&beside))?;
            symlink(target, &beside)?;
            std::fs::rename(&beside, path)
        }
        made => made,
    }
}
