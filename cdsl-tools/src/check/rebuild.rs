// SPDX-License-Identifier: GPL-2.0-or-later
//! The inventory made anew from the tree: every link of ours that leads to a copy is an entry.
//!
//! What only the old inventory knows is taken over from as much of it as can still be read: who asked for an entry, that
//! a CDSL is shared by default though every node has its own by now, and which copies are kept from a removed one.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::ProgressBar;
use jiff::Timestamp;

use super::compare::{Detail, compare};
use super::finding::Finding;
use super::scan::{Scan, Unread};
use super::{CheckError, Stopped};
use crate::inventory::{Entry, Mode};
use crate::layout::{self, Variable};
use crate::lock::Lock;
use crate::ops::{OpError, kind_of, places};
use crate::path::TreePath;
use crate::site::Site;
use crate::store;
use crate::tree::copy::copy;
use crate::tree::root::is_absent;
use crate::tree::{Attic, Root, TreeError};

/// Whose name stands as the origin of what the old inventory did not have.
const ORIGIN: &str = "rebuild";

/// What a rebuilding came to.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// Entries in the new inventory.
    pub entries: usize,
    /// Links of ours that lead to no copy, and are not in it.
    pub leading_nowhere: Vec<TreePath>,
    /// Where the old one is.
    pub old: Option<TreePath>,
    /// Directories that this user may not read.
    pub unread: Vec<TreePath>,
}

/// Makes the inventory anew.
///
/// # Errors
/// What could not be read or written; the old inventory is as it was then.
pub fn rebuild(
    site: &Site,
    lock: &Lock,
    progress: &ProgressBar,
    notice: &mut dyn FnMut(&str),
) -> Result<Rebuilt, CheckError> {
    let root = &site.root;
    let old = readable(site, notice)?;
    let unread = Unread::default();
    let tree = Scan::new(root, TreePath::root(), progress.clone(), Unread::clone(&unread));
    let mut links: Vec<(TreePath, Variable)> = Vec::new();
    compare(std::iter::empty(), tree, Vec::new(), Detail::default(), &mut |finding| {
        if let Finding::LinkUnknown { path, var } = finding {
            links.push((path, var));
        }
    })
    .map_err(|stopped| match stopped {
        Stopped::Inventory(error) => CheckError::from(error),
        Stopped::Tree(error) => CheckError::from(error),
    })?;
    let mut rebuilt = Rebuilt { unread: unread.take(), ..Rebuilt::default() };
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for (path, var) in links {
        match entry_of_link(site, &path, &var, old.get(&path))? {
            Some(entry) => drop(entries.insert(path, entry)),
            None => rebuilt.leading_nowhere.push(path),
        }
    }
    for (path, entry) in old {
        if !entries.contains_key(&path) && any_copy(site, &entry)? {
            let standing = root.exists(&path).map_err(|error| TreeError::new("look at", root.shown(&path), error))?;
            // With nothing at the path, it is a CDSL whose link is missing, as a check will tell.
            entries.insert(path, Entry { kept: entry.kept || standing, ..entry });
        }
    }
    rebuilt.entries = entries.len();
    // The old one may have what a person wrote there: it is not written over.
    rebuilt.old = keep_old(root)?;
    store::write_all(root, lock, entries.into_values())?;
    Ok(rebuilt)
}

/// Puts a copy of the old inventory into the attic.
fn keep_old(root: &Root) -> Result<Option<TreePath>, TreeError> {
    let inventory = store::inventory_path();
    let failed = |error: std::io::Error| TreeError::new("look at", root.shown(&inventory), error);
    if !root.exists(&inventory).map_err(failed)? {
        return Ok(None);
    }
    let there = inventory.below(Attic::new(&crate::ops::batch_id()).directory());
    copy(&root.place(&inventory).map_err(failed)?, &root.make_place(&there, None)?, &mut |_| {})?;
    root.sync(&there)?;
    Ok(Some(there))
}

/// As much of the old inventory as can be read.
fn readable(site: &Site, notice: &mut dyn FnMut(&str)) -> Result<BTreeMap<TreePath, Entry>, CheckError> {
    let mut old = BTreeMap::new();
    for entry in store::read(&site.root)? {
        match entry {
            Ok(entry) => drop(old.insert(entry.path.clone(), entry)),
            Err(error) => {
                notice(&format!("{error}; what stands from there on is not taken over"));
                break;
            }
        }
    }
    Ok(old)
}

fn any_copy(site: &Site, entry: &Entry) -> Result<bool, CheckError> {
    let root = &site.root;
    let places = match places(site, entry) {
        Ok(places) => places,
        // A variable that no node has any more.
        Err(OpError::Site(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for place in places {
        if root.exists(&place).map_err(|error| TreeError::new("look at", root.shown(&place), error))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entry for a link of ours, as far as the tree tells it; `None` when the link leads to no copy.
///
/// # Errors
/// What could not be looked at.
pub fn entry_of_link(
    site: &Site,
    path: &TreePath,
    var: &Variable,
    old: Option<&Entry>,
) -> Result<Option<Entry>, CheckError> {
    let root = &site.root;
    let failed = |at: &TreePath, error: std::io::Error| TreeError::new("look at", root.shown(at), error);
    let values: BTreeSet<String> = site.values(var)?.into_keys().collect();
    let template = layout::template_of(path);
    let templated = root.exists(&template).map_err(|error| failed(&template, error))?;
    let mut having = Vec::new();
    let mut sharing = false;
    for value in &values {
        let copy = layout::copy_of(var, value, path);
        if !root.exists(&copy).map_err(|error| failed(&copy, error))? {
            continue;
        }
        let text = root.readlink(&copy).map_err(|error| failed(&copy, error))?;
        if text.as_deref() == Some(template.as_bytes()) {
            sharing = true;
        } else {
            having.push(value.clone());
        }
    }
    let own = site.node_if_known().and_then(|node| {
        let contexts = site.contexts().ok()?;
        contexts.get(&node)?.get(var.as_str()).map(str::to_owned)
    });
    let first = own.filter(|own| having.contains(own)).or_else(|| having.first().cloned());
    let model = match first {
        Some(value) => layout::copy_of(var, &value, path),
        None if templated => template,
        None => return Ok(None),
    };
    let stat = match root.lstat(&model) {
        Ok(stat) => stat,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(&model, error).into()),
    };
    let Some(kind) = kind_of(&stat) else { return Ok(None) };
    let old = old.filter(|old| old.var == *var);
    let mode = match (sharing, templated, having.as_slice()) {
        (true, _, _) => Mode::Default,
        (false, false, [only]) if values.len() > 1 => Mode::Only(only.clone()),
        _ => match old.map(|old| &old.mode) {
            Some(Mode::Default) if templated => Mode::Default,
            _ => Mode::Each,
        },
    };
    let link = root.lstat(path).map_err(|error| failed(path, error))?;
    let made = old.map_or_else(|| Timestamp::from_second(link.st_mtime).unwrap_or_default(), |old| old.made);
    Ok(Some(Entry {
        path: path.clone(),
        var: var.clone(),
        mode,
        kind,
        uid: stat.st_uid,
        gid: stat.st_gid,
        perm: stat.st_mode & 0o7777,
        made,
        origin: old.map_or_else(|| ORIGIN.to_owned(), |old| old.origin.clone()),
        kept: false,
    }))
}
