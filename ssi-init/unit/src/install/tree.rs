// SPDX-License-Identifier: GPL-2.0-or-later
//! A tree of files with links made and removed that are not made and removed yet.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{DirEntry, FileFacts, FileKind, Files};

/// The files of a system as they will be.
pub(super) struct Overlay<'a> {
    below: &'a dyn Files,
    /// By path without links above it: the text of a new link, or `None` for what is gone.
    changed: BTreeMap<PathBuf, Option<PathBuf>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(below: &'a dyn Files) -> Overlay<'a> {
        Overlay { below, changed: BTreeMap::new() }
    }

    /// Where the path's folder really is.
    fn place(&self, path: &Path) -> PathBuf {
        self.resolve(path, true, true).unwrap_or_else(|_| path.to_owned())
    }

    pub(super) fn make_link(&mut self, path: &Path, target: &Path) {
        let place = self.place(path);
        self.changed.insert(place, Some(target.to_owned()));
    }

    pub(super) fn remove(&mut self, path: &Path) {
        let place = self.place(path);
        self.changed.insert(place, None);
    }

    fn is_gone(&self, place: &Path) -> bool {
        place.ancestors().any(|path| self.changed.get(path) == Some(&None))
    }

    /// The text of a link; `Ok(None)` for what is there and no link.
    pub(super) fn link_text(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let place = self.resolve(path, true, false)?;
        match self.read_link(&place) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl Files for Overlay<'_> {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let place = self.resolve(directory, false, false)?;
        let mine = self.changed.iter().filter(|(path, link)| link.is_some() && path.parent() == Some(&place));
        let mine: Vec<DirEntry> = mine
            .filter_map(|(path, _)| {
                path.file_name().map(|name| DirEntry { name: name.to_owned(), kind: FileKind::Link })
            })
            .collect();
        if self.is_gone(&place) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut entries = match self.below.list(&place) {
            Ok(entries) => entries,
            Err(_) if !mine.is_empty() => Vec::new(),
            Err(error) => return Err(error),
        };
        entries.retain(|entry| !self.changed.contains_key(&place.join(&entry.name)));
        entries.extend(mine);
        // The order in which a directory gives its names is chance; this one is the same each time.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let place = self.resolve(file, false, false)?;
        if self.is_gone(&place) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.below.read(&place)
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        match self.changed.get(link) {
            Some(Some(target)) => Ok(target.clone()),
            None if !self.is_gone(link) => {
                let found = self.below.read_link(link);
                let missing = found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
                // A folder that only a new link needs is as good as there.
                if missing
                    && self
                        .changed
                        .iter()
                        .any(|(path, target)| target.is_some() && path != link && path.starts_with(link))
                {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                found
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let place = self.resolve(path, false, false)?;
        if self.is_gone(&place) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.below.facts(&place)
    }
}
