// SPDX-License-Identifier: GPL-2.0-or-later
//! The comparison, pure: the inventory, the tree, and the part below /cluster of every node, each as a stream in the
//! order of the paths, are gone through side by side, once.
//!
//! ```text
//!   inventory   /etc/hostname      /etc/x        /var/log
//!   tree        /etc/hostname ->   /etc/y ->     /var/log ->      ... x is missing, y is unknown
//!   node 1      /etc/hostname      /etc/x        /var/log
//!   node 2      /etc/hostname      /etc/x  /old  /var/log         ... /old is an orphan
//!   template    /etc/hostname                    /var/log         ... x has no template
//! ```
//!
//! No stream is ever gone back in, and nothing is remembered but where each one is. That works because a directory
//! comes right before what is in it: what a stream has before the next entry either leads there, and is entered, or is
//! nobody's.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;

use super::finding::{Drift, Finding, Whose};
use crate::inventory::{Entry, InventoryError, Kind, Mode};
use crate::layout;
use crate::path::TreePath;

/// What a stream of a tree is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The path; below /cluster, the one it is a copy of.
    pub path: TreePath,
    /// What it is.
    pub what: What,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// Anything else; `None` for a socket.
    Thing(Option<Kind>),
}

impl What {
    fn is_directory(&self) -> bool {
        *self == What::Thing(Some(Kind::Directory))
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            What::Link(_) => Some(Kind::Symlink),
            What::Thing(kind) => *kind,
        }
    }
}

/// What a copy looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Looks {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub perm: u32,
    /// Its extended attributes, by name.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

/// A tree as a stream: everything in it once, in the order of the paths, and a directory right before what is in it.
pub trait Walk {
    /// What keeps it from going on.
    type Error;
    /// What it is at; `None` at the end.
    ///
    /// # Errors
    /// When that cannot be read.
    fn peek(&mut self) -> Result<Option<&Item>, Self::Error>;
    /// Goes on behind what it is at and all that is below it.
    fn skip(&mut self);
    /// Goes on to what is in the directory it is at.
    ///
    /// # Errors
    /// When that cannot be read.
    fn enter(&mut self) -> Result<(), Self::Error>;
    /// What that which it is at looks like; `None` where it is gone meanwhile.
    ///
    /// # Errors
    /// When that cannot be read.
    fn looks(&mut self) -> Result<Option<Looks>, Self::Error>;
}

/// The part of the tree below /cluster that belongs to one node, one value, or the template.
pub struct Side<W> {
    /// Whose.
    pub whose: Whose,
    /// Its tree.
    pub walk: W,
    /// Whether its directory is there at all.
    pub there: bool,
    told: bool,
    /// A removed CDSL whose copies were kept: what is in there belongs to it.
    kept: Option<TreePath>,
}

impl<W> Side<W> {
    /// One that is there, or is not.
    pub fn new(whose: Whose, walk: W, there: bool) -> Self {
        Self { whose, walk, there, told: false, kept: None }
    }
}

/// What stopped a comparison.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The inventory.
    Inventory(InventoryError),
    /// A tree.
    Tree(E),
}

/// How much is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// Every copy that is missing is told, also where a node has none at all.
    pub every_copy: bool,
}

/// What an entry says of the place of its copy in one side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// There is a copy.
    Copy,
    /// There is a copy, or a link to the template.
    CopyOrShares,
    /// There may be one, left from before.
    Perhaps,
    /// There is nothing of it.
    Nothing,
}

fn expected(entry: &Entry, whose: &Whose) -> Expected {
    match whose {
        Whose::Value(variable, _) if *variable != entry.var => Expected::Nothing,
        _ if entry.kept => Expected::Perhaps,
        Whose::Template => match entry.mode {
            Mode::Each | Mode::Default => Expected::Copy,
            Mode::Only(_) => Expected::Nothing,
        },
        Whose::Value(_, value) => match &entry.mode {
            Mode::Each => Expected::Copy,
            Mode::Default => Expected::CopyOrShares,
            Mode::Only(only) if only == value => Expected::Copy,
            Mode::Only(_) => Expected::Nothing,
        },
    }
}

/// Compares. Entries come in the order of their paths; `found` is told of each finding as it is met.
///
/// # Errors
/// The first thing that could not be read: what follows it is not known, and telling half would mislead.
pub fn compare<W: Walk>(
    entries: impl Iterator<Item = Result<Entry, InventoryError>>,
    mut tree: W,
    mut sides: Vec<Side<W>>,
    detail: Detail,
    found: &mut dyn FnMut(Finding),
) -> Result<(), Stopped<W::Error>> {
    let mut outer: Option<TreePath> = None;
    for entry in entries {
        let entry = entry.map_err(Stopped::Inventory)?;
        if let Some(around) = outer.as_ref().filter(|around| entry.path.starts_with(around)) {
            found(Finding::Nested { path: entry.path, inside: around.clone() });
            continue;
        }
        if !entry.kept {
            outer = Some(entry.path.clone());
        }
        in_tree(&entry, &mut tree, found).map_err(Stopped::Tree)?;
        in_sides(&entry, &mut sides, detail, found).map_err(Stopped::Tree)?;
    }
    rest_of_tree(&mut tree, None, found).map_err(Stopped::Tree)?;
    for side in &mut sides {
        orphans(side, None, found).map_err(Stopped::Tree)?;
    }
    Ok(())
}

/// Whether it has a name that a command gives to what it works on (`journal::temporary`).
fn is_work(path: &TreePath) -> bool {
    path.name().as_bytes().starts_with(b".cdsl-")
}

/// Goes through the tree up to a path, or to its end, and tells the links that the inventory does not have.
fn rest_of_tree<W: Walk>(
    tree: &mut W,
    up_to: Option<&TreePath>,
    found: &mut dyn FnMut(Finding),
) -> Result<(), W::Error> {
    while let Some(item) = tree.peek()? {
        if up_to.is_some_and(|up_to| item.path >= *up_to) {
            return Ok(());
        }
        match &item.what {
            _ if is_work(&item.path) => {
                found(Finding::LeftOver { at: item.path.clone() });
                tree.skip();
            }
            What::Link(text) => {
                // A link elsewhere in the tree that leads to a CDSL's copy is somebody's own.
                if let Some((var, path)) = layout::parse_link(text)
                    && path == item.path
                {
                    found(Finding::LinkUnknown { path, var });
                }
                tree.skip();
            }
            what if what.is_directory() => tree.enter()?,
            What::Thing(_) => tree.skip(),
        }
    }
    Ok(())
}

fn in_tree<W: Walk>(entry: &Entry, tree: &mut W, found: &mut dyn FnMut(Finding)) -> Result<(), W::Error> {
    rest_of_tree(tree, Some(&entry.path), found)?;
    let here = tree.peek()?.filter(|item| item.path == entry.path);
    let Some(item) = here else {
        if !entry.kept {
            found(Finding::LinkMissing { path: entry.path.clone() });
        }
        return Ok(());
    };
    let path = entry.path.clone();
    match &item.what {
        What::Link(text) => {
            let ours = *text == layout::link_text(&entry.var, &entry.path);
            match (ours, entry.kept) {
                (true, true) => found(Finding::LinkUnknown { path, var: entry.var.clone() }),
                (false, false) if entry.kind == Kind::Symlink && layout::parse_link(text).is_none() => {
                    found(Finding::LinkReplaced { path, by: Some(Kind::Symlink) });
                }
                (false, false) => found(Finding::LinkElsewhere { path, text: text.clone() }),
                (true, false) | (false, true) => {}
            }
        }
        What::Thing(kind) if !entry.kept => found(Finding::LinkReplaced { path, by: *kind }),
        // It is a plain directory again, in which there may be CDSLs.
        what if what.is_directory() => return tree.enter(),
        What::Thing(_) => {}
    }
    tree.skip();
    Ok(())
}

/// Goes through a side up to a path, or to its end: directories on the way there are entered, all else is nobody's.
fn orphans<W: Walk>(
    side: &mut Side<W>,
    up_to: Option<&TreePath>,
    found: &mut dyn FnMut(Finding),
) -> Result<(), W::Error> {
    while let Some(item) = side.walk.peek()? {
        match up_to {
            Some(up_to) if item.path >= *up_to => return Ok(()),
            Some(up_to) if item.what.is_directory() && up_to.starts_with(&item.path) => side.walk.enter()?,
            _ => {
                if is_work(&item.path) {
                    found(Finding::LeftOver { at: side.whose.copy_of(&item.path) });
                } else if !side.kept.as_ref().is_some_and(|kept| item.path.starts_with(kept)) {
                    found(Finding::Orphan { at: side.whose.copy_of(&item.path) });
                }
                side.walk.skip();
            }
        }
    }
    Ok(())
}

fn in_sides<W: Walk>(
    entry: &Entry,
    sides: &mut [Side<W>],
    detail: Detail,
    found: &mut dyn FnMut(Finding),
) -> Result<(), W::Error> {
    let shared = layout::template_of(&entry.path);
    let mut seen: Vec<(Whose, Looks)> = Vec::new();
    for side in sides {
        let expected = expected(entry, &side.whose);
        orphans(side, Some(&entry.path), found)?;
        let item = side.walk.peek()?.filter(|item| item.path == entry.path).cloned();
        let path = entry.path.clone();
        let whose = side.whose.clone();
        let Some(item) = item else {
            match expected {
                Expected::Copy | Expected::CopyOrShares if side.there || detail.every_copy => {
                    found(Finding::CopyMissing { path, whose });
                }
                Expected::Copy | Expected::CopyOrShares if !side.told => {
                    side.told = true;
                    found(Finding::CopiesMissing { whose });
                }
                _ => {}
            }
            continue;
        };
        let shares = item.what == What::Link(shared.as_bytes().to_vec());
        match expected {
            Expected::Nothing => found(Finding::Orphan { at: whose.copy_of(&path) }),
            Expected::CopyOrShares if shares => {}
            Expected::Perhaps => {
                // A path in it may have become a CDSL of its own since: it is gone through, not past.
                side.kept = Some(path);
                continue;
            }
            Expected::Copy | Expected::CopyOrShares if item.what.kind() != Some(entry.kind) => {
                found(Finding::CopyKind { path, whose, is: item.what.kind(), should: entry.kind });
            }
            Expected::Copy | Expected::CopyOrShares => seen.extend(side.walk.looks()?.map(|looks| (whose, looks))),
        }
        side.walk.skip();
    }
    drift(entry, &seen, found);
    Ok(())
}

/// In what the copies differ from the record, and from each other.
fn drift(entry: &Entry, seen: &[(Whose, Looks)], found: &mut dyn FnMut(Finding)) {
    let usual = usual_attributes(seen);
    for (whose, looks) in seen {
        let mut tell = |drift| found(Finding::CopyDrift { path: entry.path.clone(), whose: whose.clone(), drift });
        if (looks.uid, looks.gid) != (entry.uid, entry.gid) {
            tell(Drift::Owner { is: (looks.uid, looks.gid), should: (entry.uid, entry.gid) });
        }
        // The mode of a link means nothing (`symlink(7)`).
        if looks.perm != entry.perm && entry.kind != Kind::Symlink {
            tell(Drift::Mode { is: looks.perm, should: entry.perm });
        }
        if let Some(usual) = usual
            && looks.attributes != *usual
        {
            let names = usual.keys().chain(looks.attributes.keys());
            let differs = |name: &&String| usual.get(*name) != looks.attributes.get(*name);
            let mut names: Vec<String> = names.filter(differs).cloned().collect();
            names.sort();
            names.dedup();
            tell(Drift::Attributes(names));
        }
    }
}

/// The attributes that most copies have; of several that as many have, those of the one that is last in the order of
/// the sides, which is the template.
pub fn usual_attributes(seen: &[(Whose, Looks)]) -> Option<&BTreeMap<String, Vec<u8>>> {
    // Nearly always all are the same, and then nothing is counted.
    let last = &seen.last()?.1.attributes;
    if seen.iter().all(|(_, looks)| looks.attributes == *last) {
        return Some(last);
    }
    let mut counts: BTreeMap<&BTreeMap<String, Vec<u8>>, (usize, usize)> = BTreeMap::new();
    for (place, (_, looks)) in seen.iter().enumerate() {
        let count = counts.entry(&looks.attributes).or_default();
        *count = (count.0 + 1, place);
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(attributes, _)| attributes)
}
