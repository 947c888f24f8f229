// SPDX-License-Identifier: GPL-2.0-or-later
//! Changes to a tree, done in batches so that a cut at any point loses nothing:
//!
//! ```text
//!   lock ─▶ recover what was cut before ─▶ plan (looks, changes nothing)
//!     ─▶ journal onto the disk ─▶ prepare: copies, links in place of this node's copy ─▶ onto the disk
//!     ─▶ switch: one rename a path ─▶ onto the disk ─▶ inventory onto the disk ─▶ journal gone
//! ```
//!
//! Until a path is switched, it is what it was; from then on it is what it is to be. An error in the middle undoes what
//! was not switched and finishes the rest, as the next command would after a cut.

mod create;
mod mounted;
mod own;
mod recover;
mod remove;
mod whole;

pub use create::{Create, entries_of, entry_of, kernels_own, kind_of, places, plan as plan_create};
pub use own::plan as plan_own;
pub use recover::{Recovered, recover};
pub use remove::plan as plan_remove;
pub use whole::Whole;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::inventory::{Entry, InventoryError};
use crate::journal::{Act, Change, Journal};
use crate::layout;
use crate::lock::Lock;
use crate::path::TreePath;
use crate::site::{Site, SiteError};
use crate::store::{self, StoreError};
use crate::tree::copy::Copied;
use crate::tree::{Attic, TreeError};

/// How many paths are changed between two writings of the inventory.
pub const BATCH: usize = 10_000;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The system refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The inventory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// It would not be right; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Something could not be done in the middle of it.
    #[error("{error}. {}", .after.sentence())]
    Stopped {
        /// What.
        error: Box<OpError>,
        /// What became of what was begun.
        after: After,
    },
}

/// What became of a command that stopped in the middle.
#[derive(Clone, Debug, Default)]
pub struct After {
    /// How many paths are done.
    pub done: usize,
    /// How many there were.
    pub all: usize,
    /// What went to the attic: from, to.
    pub attic: Vec<(TreePath, TreePath)>,
}

impl After {
    fn sentence(&self) -> String {
        match (self.done, self.all) {
            (0, _) => "What was begun is undone, and everything is as it was".to_owned(),
            (done, all) => format!("{done} of {all} paths were done before that; what else was begun is undone"),
        }
    }
}

impl From<InventoryError> for OpError {
    fn from(error: InventoryError) -> Self {
        Self::Store(error.into())
    }
}

/// Where a copy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A copy of what is at this path.
    Copy(TreePath),
    /// A link with this text.
    Link(Vec<u8>),
}

/// Something that is made before the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where.
    pub at: TreePath,
    /// From what.
    pub from: Source,
}

/// How a path is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Path and home are on one file system that can exchange them.
    Exchange,
    /// On one that cannot, a file gets a second name first, and then the link takes its first.
    HardLink,
    /// On one that cannot, a directory is moved, and then the link put there: there is a moment without the path.
    Moves,
    /// Path and home are on different file systems: the content was copied, the original goes to the attic.
    Across,
}

/// One path's change, planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// The CDSL.
    pub entry: Entry,
    /// The place that is exchanged with the path.
    pub home: TreePath,
    /// Links in what moves, or that itself, which need another text there.
    pub whole: Vec<Whole>,
    /// What is made before.
    pub made: Vec<Made>,
    /// How it is switched.
    pub switch: Switch,
    /// What is removed after a `remove` with `--purge`.
    pub purge: Vec<TreePath>,
}

/// What is told while it is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Paths that are done.
    pub done: usize,
    /// Paths there are.
    pub all: usize,
    /// What was copied.
    pub copied: Copied,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Paths that were changed.
    pub changed: Vec<TreePath>,
    /// What went to the attic: from, to.
    pub attic: Vec<(TreePath, TreePath)>,
    /// Sockets in copied directories, which have no copy.
    pub sockets: u64,
}

/// A name for a batch that no other has.
pub fn batch_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:05x}", now.as_secs(), now.subsec_micros())
}

/// Does it.
///
/// # Errors
/// The first step that could not be done. Those before it are done, those after it are undone; nothing is in between.
pub fn execute(
    site: &Site,
    lock: &Lock,
    steps: &[Step],
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, OpError> {
    let mut outcome = Outcome::default();
    let mut told = Progress { all: steps.len(), ..Progress::default() };
    for batch in steps.chunks(BATCH) {
        let journal = Journal {
            id: batch_id(),
            changes: batch
                .iter()
                .map(|step| Change {
                    act: step.act,
                    entry: step.entry.clone(),
                    home: step.home.clone(),
                    made: step.made.iter().map(|made| made.at.clone()).collect(),
                })
                .collect(),
        };
        journal.write(&site.root)?;
        let done = run(site, &journal, batch, &mut told, progress, &mut outcome);
        if let Err(error) = done {
            // What is switched is finished, what is not is undone: just what a command after a cut does.
            let recovered = recover(site, lock).map_err(|again| {
                OpError::Refused(format!("{error}; and what was begun could not be undone yet: {again}. `cdsl check --repair` does, once that is mended"))
            })?;
            let recovered = recovered.unwrap_or_default();
            outcome.attic.extend(recovered.attic);
            let done = outcome.changed.len() + recovered.finished.len();
            let after = After { done, all: steps.len(), attic: outcome.attic };
            return Err(OpError::Stopped { error: Box::new(error), after });
        }
        finish(site, lock, &journal)?;
        outcome.changed.extend(batch.iter().map(|step| step.entry.path.clone()));
    }
    Ok(outcome)
}

/// Prepares and switches a batch.
fn run(
    site: &Site,
    journal: &Journal,
    batch: &[Step],
    told: &mut Progress,
    progress: &mut dyn FnMut(Progress),
    outcome: &mut Outcome,
) -> Result<(), OpError> {
    for (number, step) in batch.iter().enumerate() {
        let base = told.copied;
        let copied = match step.act {
            Act::Create => create::prepare(site, journal, number, step, &mut |copied| {
                told.copied.entries = base.entries + copied.entries;
                told.copied.bytes = base.bytes + copied.bytes;
                progress(*told);
            })?,
            Act::Own => own::prepare(site, journal, number, step)?,
            Act::Remove => remove::prepare(site, journal, number, step)?,
        };
        outcome.sockets += copied.sockets;
    }
    sync(site, batch)?;
    let mut attic = Attic::new(&journal.id);
    for (number, step) in batch.iter().enumerate() {
        match step.act {
            Act::Create => create::switch(site, journal, number, step, &mut attic)?,
            Act::Own => own::switch(site, journal, number, step, &mut attic)?,
            Act::Remove => remove::switch(site, journal, number, step, &mut attic)?,
        }
        told.done += 1;
        progress(*told);
    }
    sync(site, batch)?;
    outcome.attic.append(&mut attic.put);
    Ok(())
}

/// Has the file systems of a batch written to the disk: `/cluster`'s, and those of its paths. A single path's are
/// written each on its own; for many, one call for a file system is less.
fn sync(site: &Site, batch: &[Step]) -> Result<(), OpError> {
    site.root.sync(&layout::cluster())?;
    let cluster = site.root.lstat(&layout::cluster()).map(|stat| stat.st_dev).ok();
    let mut done: Vec<u64> = cluster.into_iter().collect();
    for step in batch {
        let Some(parent) = step.entry.path.parent() else { continue };
        let Ok(stat) = site.root.lstat(&parent) else { continue };
        if !done.contains(&stat.st_dev) {
            site.root.sync(&parent)?;
            done.push(stat.st_dev);
        }
    }
    Ok(())
}

/// Writes the inventory of a batch that is done, and removes its journal.
fn finish(site: &Site, lock: &Lock, journal: &Journal) -> Result<(), OpError> {
    let mut change = store::Change::default();
    for done in &journal.changes {
        match done.act {
            Act::Create => change.add.push(done.entry.clone()),
            Act::Remove if done.entry.kept => change.add.push(done.entry.clone()),
            Act::Remove => change.drop.push(done.entry.path.clone()),
            Act::Own => {}
        }
    }
    store::change(&site.root, lock, change)?;
    Journal::remove(&site.root)?;
    Ok(())
}

/// The steps for people, a line each.
pub fn describe(site: &Site, steps: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps {
        for link in &step.whole {
            lines.push(format!(
                "give the link {} the whole path for its text: -> {}",
                site.root.shown(&link.at),
                crate::path::shown(&link.text)
            ));
        }
        for made in &step.made {
            lines.push(match &made.from {
                Source::Copy(from) => format!("copy {} to {}", site.root.shown(from), site.root.shown(&made.at)),
                Source::Link(text) => {
                    format!("make the link {} -> {}", site.root.shown(&made.at), crate::path::shown(text))
                }
            });
        }
        let (path, home) = (site.root.shown(&step.entry.path), site.root.shown(&step.home));
        let link = crate::path::shown(&layout::link_text(&step.entry.var, &step.entry.path));
        lines.push(match (step.act, step.switch) {
            (Act::Create, Switch::Exchange) => format!("move {path} to {home} and put the link -> {link} in its place, in one step"),
            (Act::Create, Switch::HardLink) => format!("give {path} the name {home} too, then put the link -> {link} in its place"),
            (Act::Create, Switch::Moves) => {
                format!("move {path} to {home}, then put the link -> {link} there: for a moment nothing is at the path")
            }
            (Act::Create, Switch::Across) => {
                format!("put the link -> {link} in place of {path}, whose content was copied to {home}; the original goes to the attic")
            }
            (Act::Remove, _) => format!("move {home} to {path} in place of the link"),
            (Act::Own, _) => format!("put a copy of the template in place of the link {home}"),
        });
        for purge in &step.purge {
            lines.push(format!("delete {}", site.root.shown(purge)));
        }
    }
    lines
}
