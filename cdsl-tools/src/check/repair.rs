// SPDX-License-Identifier: GPL-2.0-or-later
//! Mending what a check found, as far as nothing is lost by it.
//!
//! Each step leaves the tree so that another check finds what is still to be done: a repair that is cut off is gone on
//! with by the next one. What is taken away goes to the attic, and it is told where.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Stat, XattrFlags};
use rustix::io::Errno;

use super::compare::{Looks, usual_attributes};
use super::finding::{Drift, Finding, Whose};
use super::rebuild::entry_of_link;
use super::scan::looks_of;
use super::{CheckError, entries_of};
use crate::content;
use crate::inventory::{Entry, Kind, Mode};
use crate::layout::{self, Variable};
use crate::lists::Lists;
use crate::lock::Lock;
use crate::ops::{self, kind_of, places};
use crate::path::TreePath;
use crate::site::Site;
use crate::store::{self, Change};
use crate::tree::copy::{copy, set_owner_and_mode};
use crate::tree::{Attic, Place, Root, TreeError};

/// What a repair came to.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was mended, and how.
    pub mended: Vec<(Finding, String)>,
    /// What was left as it is.
    pub left: Vec<Finding>,
    /// What went to the attic: from, to.
    pub attic: Vec<(TreePath, TreePath)>,
}

/// Mends what can be mended of these findings.
///
/// # Errors
/// The first thing that the system refused. What was mended until then is, and is in the inventory.
pub fn repair(
    site: &Site,
    lock: &Lock,
    findings: Vec<Finding>,
    told: &mut dyn FnMut(&Finding),
) -> Result<Repaired, CheckError> {
    let lists = Lists::read(&site.root)?;
    let mut paths: BTreeSet<TreePath> = findings.iter().map(Finding::path).collect();
    paths.extend(findings.iter().filter_map(|finding| replaced_from(&finding.path())));
    let entries = entries_of(&site.root, &paths)?;
    let mut repair = Repair {
        site,
        lists,
        entries,
        attic: Attic::new(&ops::batch_id()),
        change: Change::default(),
        drifted: BTreeSet::new(),
    };
    let mut done = Repaired::default();
    let mut stopped = None;
    for finding in findings {
        told(&finding);
        match repair.mend(&finding) {
            Ok(Some(how)) => done.mended.push((finding, how)),
            Ok(None) => done.left.push(finding),
            Err(error) => {
                done.left.push(finding);
                stopped = Some(error);
                break;
            }
        }
    }
    let Repair { attic, change, .. } = repair;
    done.attic = attic.put;
    if !done.mended.is_empty() || !done.attic.is_empty() {
        site.root.sync(&layout::cluster())?;
        store::change(&site.root, lock, change)?;
    }
    match stopped {
        None => Ok(done),
        Some(error) => Err(error),
    }
}

struct Repair<'a> {
    site: &'a Site,
    lists: Lists,
    entries: BTreeMap<TreePath, Entry>,
    attic: Attic,
    change: Change,
    /// Paths whose copies were compared with each other and mended already.
    drifted: BTreeSet<TreePath>,
}

impl Repair<'_> {
    fn root(&self) -> &Root {
        &self.site.root
    }

    /// Mends it and tells how; `None` when it is left.
    fn mend(&mut self, finding: &Finding) -> Result<Option<String>, CheckError> {
        let entry = |repair: &Self, path: &TreePath| repair.entries.get(path).cloned();
        match finding {
            Finding::LinkMissing { path } => match entry(self, path) {
                Some(entry) => self.link_missing(&entry),
                None => Ok(None),
            },
            Finding::LinkReplaced { path, by: Some(by) } => match entry(self, path) {
                Some(entry) => self.link_replaced(entry, *by),
                None => Ok(None),
            },
            Finding::LinkUnknown { path, var } => self.link_unknown(path, var),
            Finding::CopyMissing { path, whose } => match entry(self, path) {
                Some(entry) => self.copy_missing(&entry, whose),
                None => Ok(None),
            },
            Finding::LeftOver { at } => self.left_over(at),
            Finding::CopyKind { path, whose, should, .. } => self.copy_kind(path, whose, *should),
            Finding::CopyDrift { path, drift, whose } => match entry(self, path) {
                Some(entry) => self.drift(&entry, whose, drift),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn exists(&self, path: &TreePath) -> Result<bool, TreeError> {
        self.root().exists(path).map_err(|error| TreeError::new("look at", self.root().shown(path), error))
    }

    fn place(&self, path: &TreePath) -> Result<Place, TreeError> {
        let root = self.root();
        root.place(path).map_err(|error| TreeError::new("open the directory of", root.shown(path), error))
    }

    fn link_missing(&mut self, entry: &Entry) -> Result<Option<String>, CheckError> {
        let mut copies = false;
        for place in places(self.site, entry)? {
            copies |= self.exists(&place)?;
        }
        let parent = entry.path.parent().unwrap_or_else(TreePath::root);
        if !copies || !self.exists(&parent)? {
            return Ok(None);
        }
        let place = self.place(&entry.path)?;
        place.make_link(&layout::link_text(&entry.var, &entry.path))?;
        place.sync()?;
        Ok(Some("the link is made again".to_owned()))
    }

    fn link_unknown(&mut self, path: &TreePath, var: &Variable) -> Result<Option<String>, CheckError> {
        let old = self.entries.get(path).cloned();
        match entry_of_link(self.site, path, var, old.as_ref())? {
            Some(entry) => {
                self.change.add.push(entry);
                Ok(Some("it is in the inventory now".to_owned()))
            }
            None => Ok(None),
        }
    }

    /// The node's value of a variable, where it is known which node this is.
    fn own_value(&self, variable: &Variable) -> Result<Option<String>, CheckError> {
        let Some(node) = self.site.node_if_known() else { return Ok(None) };
        let contexts = self.site.contexts()?;
        Ok(contexts.get(&node).and_then(|context| context.get(variable.as_str())).map(str::to_owned))
    }

    /// Where the content of a path is that was found in place of its link.
    fn home_of(&self, entry: &Entry) -> Result<TreePath, CheckError> {
        let template = layout::template_of(&entry.path);
        let own = self.own_value(&entry.var)?.map(|value| layout::copy_of(&entry.var, &value, &entry.path));
        Ok(match (&entry.mode, own) {
            (Mode::Only(value), _) => layout::copy_of(&entry.var, value, &entry.path),
            (Mode::Each, Some(own)) => own,
            (Mode::Default, Some(own)) if self.exists(&own)? && !self.is_link(&own, template.as_bytes())? => own,
            _ => template,
        })
    }

    fn is_link(&self, path: &TreePath, text: &[u8]) -> Result<bool, TreeError> {
        let root = self.root();
        let found = root.readlink(path).map_err(|error| TreeError::new("look at", root.shown(path), error))?;
        Ok(found.as_deref() == Some(text))
    }

    /// Something was put in place of the link: by a package manager, or an editor that renames.
    fn link_replaced(&mut self, mut entry: Entry, by: Kind) -> Result<Option<String>, CheckError> {
        let text = layout::link_text(&entry.var, &entry.path);
        let home = self.home_of(&entry)?;
        if self.is_link(&home, &text)? {
            // Put there by a repair that was cut off, to be exchanged with what is at the path.
            self.place(&home)?.unlink()?;
        }
        let path = self.place(&entry.path)?;
        let Some(new) = path.look()? else { return Ok(None) };
        let old = if self.exists(&home)? { self.place(&home)?.look()? } else { None };
        let how = match &old {
            Some(old) if by == Kind::Directory && is_directory(old) => {
                let beside = self.put_behind_link(&entry, &path, &text)?;
                // Until it is empty of what is newer, it has a name from which the next repair goes on.
                let moved = self.merge(&beside, &home)?;
                self.attic.put(&self.site.root, &beside)?;
                format!("the link is there again, and {moved} files from the directory are in {home}")
            }
            Some(old) if changed(old) > changed(&new) => {
                self.put_away_behind_link(&entry, &path, &text)?;
                format!("the link is there again; {home} is newer than what was in its place")
            }
            _ => {
                self.attic.put(&self.site.root, &home)?;
                self.take_over(&entry, &path, &new, &home, &text)?;
                let record = (entry.kind, entry.uid, entry.gid, entry.perm);
                let found = (by, new.st_uid, new.st_gid, new.st_mode & 0o7777);
                if record != found {
                    (entry.kind, entry.uid, entry.gid, entry.perm) = found;
                    self.change.add.push(entry.clone());
                }
                if entry.mode == Mode::Default && home != layout::template_of(&entry.path) {
                    self.renew_template(&entry, &home)?;
                }
                format!("what was in its place is {home} now")
            }
        };
        path.sync()?;
        Ok(Some(how))
    }

    /// Puts the link in place of what is at the path, in one step, and that into the attic.
    fn put_away_behind_link(&mut self, entry: &Entry, path: &Place, text: &[u8]) -> Result<(), CheckError> {
        let beside = self.put_behind_link(entry, path, text)?;
        self.attic.put(&self.site.root, &beside)?;
        Ok(())
    }

    /// Puts the link in place of what is at the path, in one step. Gives where that is now.
    fn put_behind_link(&mut self, entry: &Entry, path: &Place, text: &[u8]) -> Result<TreePath, CheckError> {
        let old = replaced_name(&entry.path);
        let beside = path.sibling(old.name())?;
        // From a repair that was cut off.
        self.attic.put(&self.site.root, &old)?;
        beside.make_link(text)?;
        if !path.exchange(&beside)? {
            // This file system cannot exchange: for a moment nothing is there.
            beside.unlink()?;
            path.move_to(&beside)?;
            path.make_link(text)?;
        }
        Ok(old)
    }

    /// What is at the path becomes the copy at `home`, where nothing is, and the path the link.
    fn take_over(
        &mut self,
        entry: &Entry,
        path: &Place,
        new: &Stat,
        home: &TreePath,
        text: &[u8],
    ) -> Result<(), CheckError> {
        let at = self.root().make_place(home, Some(&entry.path))?;
        let device = rustix::fs::fstat(&at.directory)
            .map_err(|error| TreeError::new("look at the directory of", at.shown.clone(), error))?
            .st_dev;
        if device == new.st_dev {
            at.make_link(text)?;
            if path.exchange(&at)? {
                at.sync()?;
                return Ok(());
            }
            at.unlink()?;
        } else {
            let copied = at.sibling(crate::journal::temporary("copy", 0))?;
            copied.remove_all()?;
            copy(path, &copied, &mut |_| {})?;
            copied.move_to(&at)?;
            self.root().sync(home)?;
            return self.put_away_behind_link(entry, path, text);
        }
        let link = path.sibling(crate::journal::temporary("link", 0))?;
        link.unlink()?;
        link.make_link(text)?;
        if is_directory(new) {
            // No file system without an exchange can do this in one step.
            path.move_to(&at)?;
            link.move_to(path)?;
        } else {
            path.hard_link(&at)?;
            link.replace(path)?;
        }
        at.sync()?;
        Ok(())
    }

    /// The template gets the content that a node's own copy got.
    fn renew_template(&mut self, entry: &Entry, home: &TreePath) -> Result<(), CheckError> {
        let template = layout::template_of(&entry.path);
        let at = self.root().make_place(&template, Some(home))?;
        let new = at.sibling(crate::journal::temporary("copy", 0))?;
        new.remove_all()?;
        copy(&self.place(home)?, &new, &mut |_| {})?;
        self.attic.put(&self.site.root, &template)?;
        new.move_to(&at)?;
        at.sync()?;
        Ok(())
    }

    /// Moves what is in one directory into another: what both have, the newer stays and the older goes to the attic.
    /// Gives the number of files that were moved.
    fn merge(&mut self, from: &TreePath, into: &TreePath) -> Result<u64, CheckError> {
        let root = &self.site.root;
        let failed = |error: io::Error| TreeError::new("read the directory", root.shown(from), error);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let open = root.open_below(from, flags).map_err(failed)?;
        let mut moved = 0;
        for name in crate::tree::copy::names(&open).map_err(failed)? {
            let (source, target) = (from.join(&name), into.join(&name));
            let new = self.place(&source)?;
            let old = self.place(&target)?;
            let (Some(coming), there) = (new.look()?, old.look()?) else { continue };
            match there {
                None => {
                    bring(&new, &old)?;
                    moved += 1;
                }
                Some(there) if is_directory(&there) && is_directory(&coming) => {
                    moved += self.merge(&source, &target)?;
                }
                // It is in the attic already, and stays there.
                Some(there) if changed(&there) > changed(&coming) => {}
                Some(_) => {
                    self.attic.put(&self.site.root, &target)?;
                    bring(&new, &old)?;
                    moved += 1;
                }
            }
        }
        Ok(moved)
    }

    /// What a command that was cut off worked on: no other works now. What had been put in place of a link is dealt with as
    /// it would have been.
    fn left_over(&mut self, at: &TreePath) -> Result<Option<String>, CheckError> {
        let place = self.place(at)?;
        let Some(stat) = place.look()? else {
            return Ok(Some("it is gone since".to_owned()));
        };
        if kind_of(&stat) == Some(Kind::Symlink) {
            let text =
                self.root().readlink(at).map_err(|error| TreeError::new("look at", place.shown.clone(), error))?;
            // Links of ours and to the template are made anew wherever they are needed.
            if text.is_some_and(|text| text.starts_with(layout::cluster().as_bytes())) {
                place.unlink()?;
                return Ok(Some("it was a link to a copy, and is removed".to_owned()));
            }
        }
        let entry = replaced_from(at).and_then(|path| self.entries.get(&path).cloned());
        if let Some(entry) = entry.filter(|_| is_directory(&stat)) {
            let home = self.home_of(&entry)?;
            if self.exists(&home)? && self.place(&home)?.look()?.as_ref().is_some_and(is_directory) {
                let moved = self.merge(at, &home)?;
                self.attic.put(&self.site.root, at)?;
                return Ok(Some(format!("it had been at {}, and {moved} files from it are in {home}", entry.path)));
            }
        }
        self.attic.put(&self.site.root, at)?;
        Ok(Some("it is in the attic".to_owned()))
    }

    /// A repair that was cut off leaves a link of ours where the content of the path was to go, and what was mended at the
    /// path since took it away. Anything else is left: it is somebody's content.
    fn copy_kind(&self, path: &TreePath, whose: &Whose, should: Kind) -> Result<Option<String>, CheckError> {
        let stat = self.place(&whose.copy_of(path))?.look()?;
        let right = stat.as_ref().and_then(kind_of) == Some(should);
        Ok(right.then(|| "mended with what was at the path".to_owned()))
    }

    fn copy_missing(&mut self, entry: &Entry, whose: &Whose) -> Result<Option<String>, CheckError> {
        let template = layout::template_of(&entry.path);
        let missing = whose.copy_of(&entry.path);
        if self.exists(&missing)? {
            return Ok(Some("mended with what was at the path".to_owned()));
        }
        let from = match (&entry.mode, whose) {
            (Mode::Only(_), _) => return Ok(None),
            (Mode::Default, Whose::Value(..)) if self.exists(&template)? => {
                let at = self.root().make_place(&missing, Some(&template))?;
                at.make_link(template.as_bytes())?;
                at.sync()?;
                return Ok(Some(format!("{whose} shares the template's again")));
            }
            // Which of several nodes' own is to be everybody's is not for this command to say.
            (Mode::Default, _) => return Ok(None),
            (Mode::Each, _) => self.model(entry, whose)?,
        };
        let Some(from) = from else { return Ok(None) };
        let at = self.root().make_place(&missing, Some(&from))?;
        let new = at.sibling(crate::journal::temporary("copy", 0))?;
        new.remove_all()?;
        copy(&self.place(&from)?, &new, &mut |_| {})?;
        new.move_to(&at)?;
        if let (Whose::Value(variable, value), Some(wanted)) = (whose, self.lists.wants(&entry.path)) {
            let contexts = self.site.contexts()?;
            let has = |context: &&ssi_cluster::Context| context.get(variable.as_str()) == Some(value);
            if let Some(context) = contexts.values().find(has) {
                content::fill(&self.site.root, &wanted.content, context, &missing)?;
            }
        }
        at.sync()?;
        Ok(Some(format!("copied from {from}")))
    }

    /// What a missing copy is made from: the template; for the template, this node's, or that of the first that has one.
    fn model(&self, entry: &Entry, whose: &Whose) -> Result<Option<TreePath>, CheckError> {
        let own = self.own_value(&entry.var)?.map(|value| layout::copy_of(&entry.var, &value, &entry.path));
        let template = (*whose != Whose::Template).then(|| layout::template_of(&entry.path));
        for place in template.into_iter().chain(own).chain(places(self.site, entry)?) {
            if self.exists(&place)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// A copy's owner, mode or attributes: all copies of the path are gone through at once, at the first finding.
    fn drift(&mut self, entry: &Entry, whose: &Whose, drift: &Drift) -> Result<Option<String>, CheckError> {
        if self.drifted.insert(entry.path.clone()) {
            self.even_out(entry)?;
        }
        let at = self.place(&whose.copy_of(&entry.path))?;
        Ok(match drift {
            Drift::Owner { .. } | Drift::Mode { .. } if self.record_follows(entry) => {
                Some("all copies are so: the inventory has it now".to_owned())
            }
            Drift::Owner { should, .. } => Some(format!("{} belongs to {}:{} now", at.shown, should.0, should.1)),
            Drift::Mode { should, .. } => Some(format!("{} has the mode {should:04o} now", at.shown)),
            Drift::Attributes(names) if names.iter().all(|name| is_mended(name)) => {
                Some(format!("{} has those of the other copies now", at.shown))
            }
            // Whose of them is right, nobody else can tell.
            Drift::Attributes(_) => None,
        })
    }

    /// Whether the inventory's record was changed to what all copies are.
    fn record_follows(&self, entry: &Entry) -> bool {
        self.change.add.iter().any(|changed| changed.path == entry.path)
    }

    fn even_out(&mut self, entry: &Entry) -> Result<(), CheckError> {
        let template = layout::template_of(&entry.path);
        let mut seen: Vec<(Whose, Looks)> = Vec::new();
        let values = self.site.values(&entry.var)?.into_keys();
        let whose = values.map(|value| Whose::Value(entry.var.clone(), value)).chain([Whose::Template]);
        for whose in whose {
            let copy = whose.copy_of(&entry.path);
            if !self.exists(&copy)? || self.is_link(&copy, template.as_bytes())? {
                continue;
            }
            let place = self.place(&copy)?;
            let stat = place.look()?;
            let looks = looks_of(&place.directory, &place.name)
                .map_err(|error| TreeError::new("read the attributes of", place.shown.clone(), error))?;
            if let (Some(looks), Some(kind)) = (looks, stat.as_ref().and_then(kind_of))
                && kind == entry.kind
            {
                seen.push((whose, looks));
            }
        }
        let Some((_, first)) = seen.first() else { return Ok(()) };
        let alike = |looks: &Looks| (looks.uid, looks.gid, looks.perm) == (first.uid, first.gid, first.perm);
        let mut record = entry.clone();
        // What was changed in all copies was meant so.
        if seen.len() > 1 && seen.iter().all(|(_, looks)| alike(looks)) {
            (record.uid, record.gid) = (first.uid, first.gid);
            if entry.kind != Kind::Symlink {
                record.perm = first.perm;
            }
        }
        let usual = usual_attributes(&seen).cloned().unwrap_or_default();
        for (whose, looks) in &seen {
            let place = self.place(&whose.copy_of(&entry.path))?;
            let failed = |error: io::Error| TreeError::new("change owner and mode of", place.shown.clone(), error);
            if (looks.uid, looks.gid, looks.perm) != (record.uid, record.gid, record.perm) {
                let perm = (entry.kind != Kind::Symlink).then_some(record.perm);
                set_owner_and_mode(&place, record.uid, record.gid, perm).map_err(failed)?;
            }
            set_attributes(&place, looks, &usual)
                .map_err(|error| TreeError::new("change the attributes of", place.shown.clone(), error))?;
        }
        if record != *entry {
            self.change.add.push(record);
        }
        Ok(())
    }
}

/// Moves something to where nothing is. From another file system it is copied; the original goes to the attic with the
/// rest of its directory.
fn bring(from: &Place, to: &Place) -> Result<(), TreeError> {
    match from.move_to(to) {
        Err(error) if error.error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
            let new = to.sibling(crate::journal::temporary("copy", 0))?;
            new.remove_all()?;
            copy(from, &new, &mut |_| {})?;
            new.move_to(to)
        }
        other => other,
    }
}

/// What stands before a path's name while what was in place of its link is put away.
const REPLACED: &[u8] = b".cdsl-replaced-";
/// No name is longer (`NAME_MAX`, `include/uapi/linux/limits.h`).
const NAME_MAX: usize = 255;

/// The name beside a path for what was in place of its link, while it is put away; from it the path is told again.
fn replaced_name(path: &TreePath) -> TreePath {
    let mut name = [REPLACED, path.name().as_bytes()].concat();
    if name.len() > NAME_MAX {
        name = crate::journal::temporary("replaced", 0).into_bytes();
    }
    path.parent().unwrap_or_else(TreePath::root).join(OsStr::from_bytes(&name))
}

/// The path that such a name is for.
fn replaced_from(at: &TreePath) -> Option<TreePath> {
    let name = at.name().as_bytes().strip_prefix(REPLACED)?;
    Some(at.parent()?.join(OsStr::from_bytes(name)))
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// When something was last changed in any way. The time of its content says nothing: package managers set it to when
/// the package was built.
fn changed(stat: &Stat) -> (i64, u64) {
    (stat.st_ctime, stat.st_ctime_nsec)
}

/// Attributes by which the kernel decides who may do what. All others are data, of which a copy may have its own.
fn is_mended(name: &str) -> bool {
    name.starts_with("system.posix_acl_") || name.starts_with("security.")
}

fn set_attributes(place: &Place, looks: &Looks, usual: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let directory = format!("/proc/self/fd/{}/", place.directory.as_raw_fd());
    let at = std::ffi::CString::new([directory.as_bytes(), place.name.as_bytes()].concat())?;
    let names: BTreeSet<&String> = usual.keys().chain(looks.attributes.keys()).collect();
    for name in names.into_iter().filter(|name| is_mended(name)) {
        match usual.get(name) {
            value if value == looks.attributes.get(name) => {}
            Some(value) => rustix::fs::lsetxattr(&at, name.as_str(), value, XattrFlags::empty())?,
            None => match rustix::fs::lremovexattr(&at, name.as_str()) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(())
}
