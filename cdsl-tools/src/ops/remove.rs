// SPDX-License-Identifier: GPL-2.0-or-later
//! A CDSL becomes a plain, shared file again.

use super::create::{places, switch_between};
use super::{OpError, Step, Switch};
use crate::inventory::{Entry, Kind, Mode};
use crate::journal::{Act, Journal, temporary};
use crate::layout;
use crate::path::TreePath;
use crate::site::Site;
use crate::tree::copy::{Copied, copy};
use crate::tree::{Attic, TreeError};

/// What is to be done for one entry; looks, and changes nothing. `value` is whose content the path gets.
///
/// # Errors
/// Why it cannot be.
pub fn plan(site: &Site, entry: &Entry, value: Option<&str>, purge: bool, force: bool) -> Result<Step, OpError> {
    let path = &entry.path;
    let refuse = |why: String| OpError::Refused(format!("{}: {why}", site.root.shown(path)));
    let fail = |error: std::io::Error| TreeError::new("look at", site.root.shown(path), error);
    let text = layout::link_text(&entry.var, path);
    if site.root.readlink(path).map_err(fail)?.as_deref() != Some(text.as_slice()) {
        return Err(refuse("what is there is not the link that the inventory has: see `cdsl check`".to_owned()));
    }
    let template = layout::template_of(path);
    let copy = value.map(|value| layout::copy_of(&entry.var, value, path));
    let shared = |place: &TreePath| -> Result<bool, OpError> {
        Ok(entry.mode == Mode::Default
            && site.root.readlink(place).map_err(fail)?.as_deref() == Some(template.as_bytes()))
    };
    let home = match copy {
        Some(copy) if site.root.exists(&copy).map_err(fail)? => {
            if shared(&copy)? {
                template.clone()
            } else {
                copy
            }
        }
        Some(copy) => {
            return Err(refuse(format!(
                "{} is not there: name with --from a node that has a copy",
                site.root.shown(&copy)
            )));
        }
        None => template.clone(),
    };
    if !site.root.exists(&home).map_err(fail)? {
        return Err(refuse(format!(
            "{} is not there: name with --from whose content it is to have",
            site.root.shown(&home)
        )));
    }
    let mut links = Vec::new();
    let mut copies = Vec::new();
    for place in places(site, entry)? {
        if place == home || !site.root.exists(&place).map_err(fail)? {
            continue;
        }
        if shared(&place)? { links.push(place) } else { copies.push(place) }
    }
    let stat = site.root.lstat(&home).map_err(fail)?;
    let above = path.parent().unwrap_or_else(TreePath::root);
    let kind = super::create::kind_of(&stat).unwrap_or(entry.kind);
    let switch =
        switch_between(site, kind, &stat, &home.parent().unwrap_or_else(TreePath::root), &above).map_err(fail)?;
    if switch == Switch::Moves && !force {
        return Err(refuse(
            "this file system cannot exchange a link and a directory in one step: there would be a moment without the path. --force does it so".to_owned(),
        ));
    }
    let kept = !purge && !copies.is_empty();
    if purge {
        links.append(&mut copies);
    }
    let entry = Entry { kept, ..entry.clone() };
    Ok(Step { act: Act::Remove, entry, home, whole: Vec::new(), made: Vec::new(), switch, purge: links })
}

/// Copies the content to beside the path, where it cannot be moved.
pub(super) fn prepare(site: &Site, journal: &Journal, number: usize, step: &Step) -> Result<Copied, OpError> {
    if step.switch != Switch::Across {
        return Ok(Copied::default());
    }
    let fail =
        |error: std::io::Error| TreeError::new("open the directory of", site.root.shown(&step.entry.path), error);
    let home = site.root.place(&step.home).map_err(fail)?;
    let new = site.root.place(&step.entry.path).map_err(fail)?.sibling(temporary(&journal.id, number))?;
    Ok(copy(&home, &new, &mut |_| {})?)
}

/// The one step after which the path is plain, and what is no longer needed after it.
pub(super) fn switch(
    site: &Site,
    journal: &Journal,
    number: usize,
    step: &Step,
    attic: &mut Attic,
) -> Result<(), OpError> {
    let fail =
        |error: std::io::Error| TreeError::new("open the directory of", site.root.shown(&step.entry.path), error);
    let path = site.root.place(&step.entry.path).map_err(fail)?;
    let home = site.root.place(&step.home).map_err(fail)?;
    match step.switch {
        Switch::Exchange => {
            if path.exchange(&home)? {
                home.unlink()?;
            } else if step.entry.kind != Kind::Directory {
                home.replace(&path)?;
            } else {
                return Err(OpError::Refused(format!(
                    "{}: this file system cannot exchange it with the directory {} in one step",
                    path.shown, home.shown
                )));
            }
        }
        // A file takes a link's place in one step on every file system.
        Switch::HardLink => home.replace(&path)?,
        Switch::Moves => {
            path.unlink()?;
            home.move_to(&path)?;
        }
        Switch::Across => {
            let new = path.sibling(temporary(&journal.id, number))?;
            if !path.exchange(&new)? {
                return Err(OpError::Refused(format!(
                    "{}: its file system cannot exchange it with its content",
                    path.shown
                )));
            }
            new.unlink()?;
            attic.put(&site.root, &step.home)?;
        }
    }
    site.root.prune(&step.home, &step.entry.path);
    for copy in &step.purge {
        if let Ok(place) = site.root.place(copy) {
            place.remove_all()?;
        }
        site.root.prune(copy, &step.entry.path);
    }
    Ok(())
}
