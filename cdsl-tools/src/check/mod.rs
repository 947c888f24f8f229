// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether tree and inventory are as they should be, and mending what is not.
//!
//! ```text
//!   inventory, tree, holders ──▶ compare.rs (pure) ──▶ Finding (finding.rs) ──▶ told, or
//!        scan.rs                                                    repair.rs ──▶ mended, as far as nothing is lost
//!   lists ──▶ listed.rs (pure) ─────────────────────▶ Finding
//!   tree ──▶ rebuild.rs ──▶ inventory
//! ```
//!
//! Start at [`finding`], which is the list of all that can be amiss.

pub mod compare;
pub mod finding;
pub mod listed;
pub mod rebuild;
pub mod repair;
pub mod scan;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use indicatif::ProgressBar;
use rustix::fs::OFlags;
use ssi_cluster::Context;

use crate::inventory::{Entry, InventoryError};
use crate::journal::Journal;
use crate::layout::{self, Variable};
use crate::lists::{ListError, Lists};
use crate::ops::OpError;
use crate::path::TreePath;
use crate::site::{Site, SiteError};
use crate::store::{self, StoreError};
use crate::tree::root::is_absent;
use crate::tree::{Root, TreeError};

use compare::{Detail, Side, Stopped};
use finding::{Finding, Whose};
use scan::{Scan, Unread};

/// Why a check could not be made, or a repair not be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The system refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The inventory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// A change to the tree could not be made.
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<InventoryError> for CheckError {
    fn from(error: InventoryError) -> Self {
        Self::Store(error.into())
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// CDSLs of the inventory, those that are kept only not counted.
    pub entries: u64,
    /// Directories that this user may not read: what is in them was not compared.
    pub unread: Vec<TreePath>,
}

/// Compares all there is, and tells what it finds as it finds it. `every_copy` tells each missing copy, where otherwise
/// a node without any is told once.
///
/// # Errors
/// What could not be read.
pub fn check(
    site: &Site,
    every_copy: bool,
    progress: &ProgressBar,
    notice: &mut dyn FnMut(&str),
    found: &mut dyn FnMut(Finding),
) -> Result<Looked, CheckError> {
    let root = &site.root;
    if let Some(journal) = Journal::read(root)? {
        found(Finding::Interrupted { id: journal.id, paths: journal.changes.len() });
    }
    let lists = Lists::read(root)?;
    let unread: Unread = Rc::new(RefCell::new(Vec::new()));
    let scan = |base: TreePath| Scan::new(root, base, progress.clone(), Rc::clone(&unread));
    let (known, unknown) = holders(site)?;
    let mut sides = Vec::new();
    for whose in known {
        let there = root
            .exists(&whose.holder())
            .map_err(|error| TreeError::new("look at", root.shown(&whose.holder()), error))?;
        sides.push(Side::new(whose.clone(), scan(whose.holder()), there));
    }
    for whose in unknown {
        found(Finding::HolderUnknown { whose });
    }
    let mut looked = Looked::default();
    let mut made = listed::Made::new(&lists);
    let entries = store::read_sorted(root, notice)?.inspect(|entry| {
        if let Ok(entry) = entry {
            looked.entries += u64::from(!entry.kept);
            made.see(entry);
        }
    });
    let detail = Detail { every_copy };
    compare::compare(entries, scan(TreePath::root()), sides, detail, found).map_err(|stopped| match stopped {
        Stopped::Inventory(error) => CheckError::from(error),
        Stopped::Tree(error) => CheckError::from(error),
    })?;
    for finding in made.findings(|path| standing(root, path))? {
        found(finding);
    }
    looked.unread = unread.take();
    Ok(looked)
}

/// Whose parts of the tree there should be, in the order in which they are compared; and those there are beside.
fn holders(site: &Site) -> Result<(Vec<Whose>, Vec<Whose>), CheckError> {
    let contexts = site.contexts()?;
    let mut known: BTreeSet<Whose> = BTreeSet::new();
    for (name, value) in contexts.values().flat_map(Context::vars) {
        if let Ok(variable) = Variable::parse(name)
            && layout::good_value(value)
        {
            known.insert(Whose::Value(variable, value.to_owned()));
        }
    }
    let unknown = holders_there(&site.root)?.into_iter().filter(|whose| !known.contains(whose)).collect();
    let mut known: Vec<Whose> = known.into_iter().collect();
    known.push(Whose::Template);
    Ok((known, unknown))
}

/// Whose directories are below /cluster.
fn holders_there(root: &Root) -> Result<Vec<Whose>, TreeError> {
    let mut there = Vec::new();
    for name in directory_names(root, &layout::cluster())? {
        let Some(name) = name.to_str().map(str::to_owned) else { continue };
        if let Some(number) = name.strip_prefix("node").filter(|rest| rest.parse::<ssi_cluster::NodeId>().is_ok()) {
            there.push(Whose::Value(Variable::nodenum(), number.to_owned()));
        } else if let Ok(variable) = Variable::parse(&name)
            && variable != Variable::nodenum()
        {
            let directory = layout::cluster().join(OsStr::new(&name));
            let braced = layout::context_directory(&variable);
            for value in directory_names(root, &directory)? {
                if let Some(value) = value.to_str().filter(|_| *value != *braced.name()) {
                    there.push(Whose::Value(variable.clone(), value.to_owned()));
                }
            }
        }
    }
    Ok(there)
}

/// The names of the directories in a directory; none where it is not there.
fn directory_names(root: &Root, path: &TreePath) -> Result<Vec<std::ffi::OsString>, TreeError> {
    let failed = |error: std::io::Error| TreeError::new("read the directory", root.shown(path), error);
    let open = match root.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(open) => open,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = crate::tree::copy::names(&open).map_err(failed)?;
    names.retain(|name| {
        !name.as_bytes().starts_with(b".")
            && root.open_below(&path.join(name), OFlags::PATH | OFlags::DIRECTORY).is_ok()
    });
    names.sort();
    Ok(names)
}

/// What is at a path that a list names.
///
/// # Errors
/// What the system said.
pub fn standing(root: &Root, path: &TreePath) -> Result<listed::Stands, TreeError> {
    let failed = |error: std::io::Error| TreeError::new("look at", root.shown(path), error);
    let at = match root.canonical(path) {
        Ok(at) => at,
        Err(error) if is_absent(&error) => return Ok(listed::Stands::Missing),
        Err(error) => return Err(failed(error)),
    };
    match root.lstat(&at) {
        Ok(stat) => Ok(match crate::ops::kind_of(&stat) {
            Some(crate::inventory::Kind::Symlink) => {
                let text = root.readlink(&at).map_err(failed)?.unwrap_or_default();
                listed::Stands::Link(text)
            }
            kind => listed::Stands::Thing(kind),
        }),
        Err(error) if is_absent(&error) => Ok(listed::Stands::Missing),
        Err(error) => Err(failed(error)),
    }
}

/// The entries for some paths, from one reading of the inventory.
///
/// # Errors
/// As [`store::read()`].
pub fn entries_of(root: &Root, paths: &BTreeSet<TreePath>) -> Result<BTreeMap<TreePath, Entry>, StoreError> {
    let mut found = BTreeMap::new();
    if paths.is_empty() {
        return Ok(found);
    }
    for entry in store::read(root)? {
        let entry = entry?;
        if paths.contains(&entry.path) {
            found.insert(entry.path.clone(), entry);
        }
    }
    Ok(found)
}
