// SPDX-License-Identifier: GPL-2.0-or-later
//! A node gets its own copy of what it shares with others through the template, or of what it has nothing of.

use super::{Made, OpError, Source, Step, Switch};
use crate::inventory::{Entry, Kind};
use crate::journal::{Act, Journal, temporary};
use crate::layout;
use crate::site::Site;
use crate::tree::copy::{Copied, copy};
use crate::tree::{Attic, TreeError};

/// What is to be done; `None` when it has its own already. Looks, and changes nothing.
///
/// # Errors
/// Why it cannot be.
pub fn plan(site: &Site, entry: &Entry, value: &str) -> Result<Option<Step>, OpError> {
    let path = &entry.path;
    let refuse = |why: String| OpError::Refused(format!("{}: {why}", site.root.shown(path)));
    let fail = |error: std::io::Error| TreeError::new("look at", site.root.shown(path), error);
    if !site.values(&entry.var)?.contains_key(value) {
        return Err(refuse(format!("no node has {value} as its {{{}}}", entry.var)));
    }
    let template = layout::template_of(path);
    if !site.root.exists(&template).map_err(fail)? {
        return Err(refuse(format!("there is no template {} to copy from", site.root.shown(&template))));
    }
    let home = layout::copy_of(&entry.var, value, path);
    let text = site.root.readlink(&home).map_err(fail)?;
    let shares = text.as_deref() == Some(template.as_bytes());
    if !shares && site.root.exists(&home).map_err(fail)? {
        return Ok(None);
    }
    let made = vec![Made { at: home.clone(), from: Source::Copy(template) }];
    Ok(Some(Step {
        act: Act::Own,
        entry: entry.clone(),
        home,
        whole: Vec::new(),
        made,
        switch: Switch::Exchange,
        purge: Vec::new(),
    }))
}

/// Makes the copy beside the place.
pub(super) fn prepare(site: &Site, journal: &Journal, number: usize, step: &Step) -> Result<Copied, OpError> {
    let template = layout::template_of(&step.entry.path);
    let from = site
        .root
        .place(&template)
        .map_err(|error| TreeError::new("open the directory of", site.root.shown(&template), error))?;
    let home = site.root.make_place(&step.home, Some(&template))?;
    Ok(copy(&from, &home.sibling(temporary(&journal.id, number))?, &mut |_| {})?)
}

/// Puts it in place.
pub(super) fn switch(site: &Site, journal: &Journal, number: usize, step: &Step, _: &mut Attic) -> Result<(), OpError> {
    let home = site
        .root
        .place(&step.home)
        .map_err(|error| TreeError::new("open the directory of", site.root.shown(&step.home), error))?;
    let new = home.sibling(temporary(&journal.id, number))?;
    if home.look()?.is_none() {
        new.move_to(&home)?;
    } else if step.entry.kind != Kind::Directory {
        new.replace(&home)?;
    } else if new.exchange(&home)? {
        new.unlink()?;
    } else {
        home.unlink()?;
        new.move_to(&home)?;
    }
    Ok(())
}
