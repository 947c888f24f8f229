// SPDX-License-Identifier: GPL-2.0-or-later
//! What a command that was cut off left behind: each change in its journal is finished if its path was switched, and
//! undone if not. Nothing is deleted but links and second names that the command itself had made.

use crate::inventory::{Entry, Mode};
use crate::journal::{Act, Change, Journal, temporary};
use crate::layout;
use crate::lock::Lock;
use crate::path::TreePath;
use crate::site::Site;
use crate::store;
use crate::tree::{Attic, TreeError};

use super::OpError;

/// What was done about it.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Paths whose change was finished.
    pub finished: Vec<TreePath>,
    /// Paths that are as they were before.
    pub undone: Vec<TreePath>,
    /// What went to the attic: from, to.
    pub attic: Vec<(TreePath, TreePath)>,
}

/// Where a path stands.
enum Stands {
    /// It is the link.
    Link,
    /// It is something else.
    Content,
    /// Nothing is there.
    Nothing,
}

/// Finishes or undoes what a command left; `None` when none did.
///
/// # Errors
/// What could not be done yet. The journal stays, and the next command tries again.
pub fn recover(site: &Site, lock: &Lock) -> Result<Option<Recovered>, OpError> {
    let Some(journal) = Journal::read(&site.root)? else { return Ok(None) };
    let mut recovery = Recovery { site, journal: &journal, attic: Attic::new(&journal.id), done: Recovered::default() };
    let mut change = store::Change::default();
    for (number, planned) in journal.changes.iter().enumerate() {
        for place in planned.made.iter().chain([&planned.home]) {
            site.root.remove_half_made(place)?;
        }
        let finished = match planned.act {
            Act::Create => recovery.create(number, planned)?,
            Act::Remove => recovery.remove(number, planned)?,
            Act::Own => recovery.own(number, planned)?,
        };
        let path = planned.entry.path.clone();
        if !finished {
            recovery.done.undone.push(path);
            continue;
        }
        match planned.act {
            Act::Create => change.add.push(planned.entry.clone()),
            Act::Remove if planned.entry.kept => change.add.push(planned.entry.clone()),
            Act::Remove => change.drop.push(path.clone()),
            Act::Own => {}
        }
        recovery.done.finished.push(path);
    }
    site.root.sync(&layout::cluster())?;
    for planned in &journal.changes {
        if let Some(parent) = planned.entry.path.parent()
            && site.root.exists(&parent).unwrap_or(false)
        {
            let place = site.root.place(&planned.entry.path).map_err(|error| {
                TreeError::new("open the directory of", site.root.shown(&planned.entry.path), error)
            })?;
            place.sync()?;
        }
    }
    store::change(&site.root, lock, change)?;
    Journal::remove(&site.root)?;
    let Recovery { attic, mut done, .. } = recovery;
    done.attic = attic.put;
    Ok(Some(done))
}

struct Recovery<'a> {
    site: &'a Site,
    journal: &'a Journal,
    attic: Attic,
    done: Recovered,
}

impl Recovery<'_> {
    fn stands(&self, entry: &Entry) -> Result<Stands, OpError> {
        let root = &self.site.root;
        let fail = |error: std::io::Error| TreeError::new("look at", root.shown(&entry.path), error);
        let text = layout::link_text(&entry.var, &entry.path);
        if root.readlink(&entry.path).map_err(fail)?.as_deref() == Some(text.as_slice()) {
            return Ok(Stands::Link);
        }
        Ok(if root.exists(&entry.path).map_err(fail)? { Stands::Content } else { Stands::Nothing })
    }

    fn is_link(&self, place: &TreePath, text: &[u8]) -> Result<bool, OpError> {
        let root = &self.site.root;
        let found = root.readlink(place).map_err(|error| TreeError::new("look at", root.shown(place), error))?;
        Ok(found.as_deref() == Some(text))
    }

    /// Takes a place away: a link that the command made is removed, everything else goes to the attic.
    fn take_away(&mut self, place: &TreePath, link: &[u8]) -> Result<(), OpError> {
        if self.is_link(place, link)? {
            let root = &self.site.root;
            let place = root.place(place).map_err(|error| TreeError::new("remove", root.shown(place), error))?;
            place.unlink()?;
            return Ok(());
        }
        self.attic.put(&self.site.root, place)?;
        Ok(())
    }

    /// The temporary name of change `number` beside a place.
    fn temporary(&self, number: usize, beside: &TreePath) -> TreePath {
        let name = temporary(&self.journal.id, number);
        beside.parent().unwrap_or_else(TreePath::root).join(std::ffi::OsStr::new(&name))
    }

    fn create(&mut self, number: usize, change: &Change) -> Result<bool, OpError> {
        let entry = &change.entry;
        let link = layout::link_text(&entry.var, &entry.path);
        let temporary = self.temporary(number, &entry.path);
        let template = layout::template_of(&entry.path);
        match self.stands(entry)? {
            Stands::Link => {
                // On another file system the original has the temporary name now.
                self.take_away(&temporary, &link)?;
                Ok(true)
            }
            Stands::Nothing
                if self.site.root.exists(&change.home).unwrap_or(false) && !self.is_link(&change.home, &link)? =>
            {
                // Cut in the moment between the two moves of a directory.
                let place = self.site.root.make_place(&entry.path, None)?;
                self.take_away(&temporary, &link)?;
                place.make_link(&link)?;
                Ok(true)
            }
            Stands::Content | Stands::Nothing => {
                self.undo_home(change, &link)?;
                for made in &change.made {
                    let beside = self.temporary(number, made);
                    self.take_away(&beside, template.as_bytes())?;
                    self.take_away(made, template.as_bytes())?;
                    self.site.root.prune(made, &entry.path);
                }
                let beside = self.temporary(number, &change.home);
                self.take_away(&beside, &link)?;
                self.site.root.prune(&change.home, &entry.path);
                self.take_away(&temporary, &link)?;
                Ok(false)
            }
        }
    }

    /// What was put where the original was to go: the link that waits there, a second name of the original, a copy.
    fn undo_home(&mut self, change: &Change, link: &[u8]) -> Result<(), OpError> {
        let root = &self.site.root;
        let same = match (root.lstat(&change.entry.path), root.lstat(&change.home)) {
            (Ok(path), Ok(home)) => (path.st_dev, path.st_ino) == (home.st_dev, home.st_ino),
            _ => false,
        };
        if same {
            let place =
                root.place(&change.home).map_err(|error| TreeError::new("remove", root.shown(&change.home), error))?;
            place.unlink()?;
            return Ok(());
        }
        self.take_away(&change.home, link)
    }

    fn remove(&mut self, number: usize, change: &Change) -> Result<bool, OpError> {
        let entry = &change.entry;
        let link = layout::link_text(&entry.var, &entry.path);
        let temporary = self.temporary(number, &entry.path);
        match self.stands(entry)? {
            Stands::Link => {
                self.take_away(&temporary, &link)?;
                Ok(false)
            }
            Stands::Content => {
                if self.is_link(&change.home, &link)? {
                    self.take_away(&change.home, &link)?;
                }
                self.take_away(&temporary, &link)?;
                self.drop_shared_links(entry)?;
                self.site.root.prune(&change.home, &entry.path);
                Ok(true)
            }
            Stands::Nothing => {
                let root = &self.site.root;
                if root.exists(&change.home).unwrap_or(false) && !self.is_link(&change.home, &link)? {
                    let fail = |error: std::io::Error| TreeError::new("move back", root.shown(&entry.path), error);
                    let home = root.place(&change.home).map_err(fail)?;
                    home.move_to(&root.make_place(&entry.path, None)?)?;
                    self.drop_shared_links(entry)?;
                    return Ok(true);
                }
                Ok(false)
            }
        }
    }

    /// Links of nodes to a template that is the path's content now lead nowhere.
    fn drop_shared_links(&mut self, entry: &Entry) -> Result<(), OpError> {
        let template = layout::template_of(&entry.path);
        for place in super::create::places(self.site, entry)? {
            if self.is_link(&place, template.as_bytes())? {
                self.take_away(&place, template.as_bytes())?;
                self.site.root.prune(&place, &entry.path);
            }
        }
        Ok(())
    }

    fn own(&mut self, number: usize, change: &Change) -> Result<bool, OpError> {
        let template = layout::template_of(&change.entry.path);
        let temporary = self.temporary(number, &change.home);
        let root = &self.site.root;
        let missing = !root.exists(&change.home).unwrap_or(true);
        if missing && root.exists(&temporary).unwrap_or(false) && !self.is_link(&temporary, template.as_bytes())? {
            // Whether the copy is whole is not known; what it was copied from is there still.
            self.attic.put(root, &temporary)?;
        } else {
            self.take_away(&temporary, template.as_bytes())?;
        }
        let root = &self.site.root;
        if missing {
            if change.entry.mode != Mode::Default {
                return Ok(false);
            }
            // It had shared the template's, or had nothing: it shares again.
            let place = root.make_place(&change.home, None)?;
            place.make_link(template.as_bytes())?;
            return Ok(false);
        }
        Ok(!self.is_link(&change.home, template.as_bytes())?)
    }
}
