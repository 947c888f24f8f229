// SPDX-License-Identifier: GPL-2.0-or-later
//! The links that disabling, unmasking and reverting remove.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::discover::{Context, Depth, Lost, Mode};
use super::{Change, InstallError, Notice, Stopped, Work};
use crate::files::{FileKind, Files};
use crate::name::UnitName;

/// Names and paths all links to which go.
type Marked = BTreeSet<PathBuf>;

impl Work<'_> {
    pub(super) fn disable(&mut self, units: &[&str]) -> Result<(), Stopped> {
        let mut context = Context::default();
        for unit in units {
            match UnitName::new(unit) {
                Ok(name) => context.add(name, None, false),
                Err(_) => return self.fail(InstallError::BadName((*unit).to_owned())),
            };
        }
        let marked = self.mark(&mut context);
        self.remove_marked(marked);
        if self.outcome.errors.is_empty() { Ok(()) } else { Err(Stopped) }
    }

    /// Finds out which names are meant. A unit whose file is gone is meant all the same: its links are to go.
    pub(super) fn mark(&mut self, context: &mut Context) -> Marked {
        let mut marked = Marked::new();
        while let Some(at) = context.next() {
            let found = self.traverse(context, at, Depth::FULL);
            let info = context.info(at);
            match found {
                Err(Lost::Dangling) => self.outcome.notices.push(Notice::Dangling(info.shown())),
                Err(Lost::NotFound) if info.auxiliary => {}
                Err(lost) => self.outcome.notices.push(Notice::Unusable(lost.told(&info.shown()))),
                Ok(_) if info.mode == Some(Mode::Masked) => {
                    self.outcome.notices.push(Notice::Masked(info.shown()));
                    continue;
                }
                Ok(_) if info.mode != Some(Mode::Regular) => continue,
                Ok(_) => {}
            }
            marked.insert(PathBuf::from(context.info(at).name.as_str()));
        }
        marked
    }

    /// Removes links to what is marked, and links to those, until there are no more.
    pub(super) fn remove_marked(&mut self, marked: Marked) {
        let folder = self.installer.config_folder().to_owned();
        self.remove_marked_in(&folder, marked);
    }

    fn remove_marked_in(&mut self, folder: &Path, mut marked: Marked) {
        while !marked.is_empty() && self.sweep(folder, &mut marked) {}
    }

    fn sweep(&mut self, folder: &Path, marked: &mut Marked) -> bool {
        let mut more = false;
        for entry in self.tree.list(folder).unwrap_or_default() {
            let path = folder.join(&entry.name);
            match entry.kind {
                FileKind::Directory => more |= self.sweep(&path, marked),
                FileKind::Link => {
                    let name = entry.name.to_string_lossy();
                    let Ok(name) = UnitName::new(&name) else { continue };
                    let template = name.template();
                    let by_name =
                        std::iter::once(&name).chain(&template).any(|name| marked.contains(Path::new(name.as_str())));
                    if by_name || self.leads_to_marked(&path, marked) {
                        self.tree.remove(&path);
                        self.outcome.changes.push(Change::Unlink(path.clone()));
                        more |= marked.insert(path);
                    }
                }
                _ => {}
            }
        }
        more
    }

    fn leads_to_marked(&mut self, link: &Path, marked: &Marked) -> bool {
        let Ok(end) = self.tree.resolve(link, false, true) else {
            // Links in a circle: nothing to remove, but a thing to know.
            let error = InstallError::Linked(link.display().to_string());
            if !self.outcome.errors.contains(&error) {
                self.outcome.errors.push(error);
            }
            return false;
        };
        marked.contains(&end) || end.file_name().is_some_and(|name| marked.contains(Path::new(name)))
    }

    pub(super) fn unmask(&mut self, units: &[&str]) -> Result<(), Stopped> {
        let folder = self.installer.config_folder().to_owned();
        let mut todo: Vec<PathBuf> = Vec::new();
        for unit in units {
            let Ok(name) = UnitName::new(unit) else {
                return self.fail(InstallError::BadName((*unit).to_owned()));
            };
            let mut context = Context::default();
            let at = context.add(name.clone(), None, false);
            let masked =
                self.search(&mut context, at, Depth::PLAIN).is_ok() && context.info(at).mode == Some(Mode::Masked);
            let by_generator =
                context.info(at).path.as_ref().is_some_and(|path| self.installer.folders.is_generated(path));
            if masked && by_generator {
                self.outcome.notices.push(Notice::MaskedByGenerator(name.to_string()));
            }
            let path = folder.join(name.as_str());
            let is_mask =
                self.tree.link_text(&path).is_ok_and(|link| link.as_deref().is_some_and(crate::files::is_mask_target))
                    || self.tree.facts(&path).is_ok_and(|facts| facts.is_mask());
            if is_mask && !todo.contains(&path) {
                todo.push(path);
            }
        }
        let mut marked = Marked::new();
        for path in todo {
            self.tree.remove(&path);
            self.outcome.changes.push(Change::Unlink(path.clone()));
            marked.insert(path);
        }
        self.remove_marked(marked);
        Ok(())
    }

    pub(super) fn revert(&mut self, units: &[&str]) -> Result<(), Stopped> {
        let folders = self.installer.folders;
        let mut todo: Vec<PathBuf> = Vec::new();
        for unit in units {
            if UnitName::new(unit).is_err() {
                return self.fail(InstallError::BadName((*unit).to_owned()));
            }
            let kind = |work: &Self, path: &Path| match work.tree.link_text(path) {
                Ok(Some(_)) => Some(FileKind::Link),
                Ok(None) => work.tree.facts(path).ok().map(|facts| facts.kind),
                Err(_) => None,
            };
            let mut vendor = false;
            for folder in &folders.search {
                let path = folder.join(unit);
                vendor |= kind(self, &path) == Some(FileKind::Regular) && folders.is_vendor(&path);
                let drop_ins = folder.join(format!("{unit}.d"));
                let ours =
                    folders.is_config(&drop_ins) || folders.is_control(&drop_ins) || folders.is_transient(&drop_ins);
                if ours && kind(self, &drop_ins) == Some(FileKind::Directory) {
                    todo.push(drop_ins);
                }
            }
            if vendor {
                let paths =
                    folders.search.iter().map(|folder| folder.join(unit)).filter(|path| folders.is_config(path));
                todo.extend(paths.filter(|path| matches!(kind(self, path), Some(FileKind::Regular | FileKind::Link))));
            }
        }
        let mut marked = Marked::new();
        for path in todo {
            if !marked.insert(path.clone()) {
                continue;
            }
            let folder = path.extension().is_some_and(|extension| extension == "d");
            self.outcome.changes.push(if folder {
                Change::RemoveFolder(path.clone())
            } else {
                Change::Unlink(path.clone())
            });
            self.tree.remove(&path);
        }
        for folder in [&folders.runtime, &folders.persistent] {
            self.remove_marked_in(folder, marked.clone());
        }
        Ok(())
    }
}
