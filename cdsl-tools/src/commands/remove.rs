// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl remove`

use std::collections::BTreeSet;

use super::{Env, Failure, Outcomes, Status, tell};
use crate::cli::Remove as Args;
use crate::inventory::{Entry, Mode};
use crate::ops::{Step, plan_remove};
use crate::packages::dpkg;
use crate::path::TreePath;
use crate::store;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let lock = env.lock_unless(args.dry_run)?;
    let entries = env.entries(&args.paths)?;
    let (kept, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.kept);
    if let Some(entry) = kept.first().filter(|_| !args.purge) {
        return Err(Failure::Refused(format!(
            "{} is no CDSL any more; --purge deletes the copies that were kept",
            entry.path
        )));
    }
    purge(env, lock.as_ref(), &kept)?;
    let steps = plan(env, &entries, args.from.as_deref(), args.purge, args.force)?;
    let outcome = env.carry_out(lock.as_ref(), &steps)?;
    tell_removed(env, &steps, &outcome.changed);
    undivert(env, &steps, &outcome.changed);
    Ok(Status::Done)
}

/// dpkg is to find what is shared again where it is. That it could not be told undoes nothing of what was done: its next
/// run looks again.
pub(super) fn undivert(env: &Env, steps: &[Step], changed: &[TreePath]) {
    let root = &env.site.root;
    if changed.is_empty() || !dpkg::is_used(root) {
        return;
    }
    let gone: Vec<Entry> =
        steps.iter().filter(|step| changed.contains(&step.entry.path)).map(|step| step.entry.clone()).collect();
    match dpkg::undivert_gone(root, &gone) {
        Ok(settled) => settled.lines.iter().for_each(|line| env.say(line)),
        Err(error) => eprintln!(
            "cdsl: dpkg still follows what was node-specific: {error}\n      \
             its next run looks again; until then `dpkg-divert --list` tells which"
        ),
    }
}

pub(super) fn tell_removed(env: &Env, steps: &[Step], changed: &[TreePath]) {
    let with_copies: BTreeSet<&TreePath> =
        steps.iter().filter(|step| step.entry.kept).map(|step| &step.entry.path).collect();
    for path in changed {
        let kept = with_copies.contains(path);
        let more = if kept { "; the other nodes' copies are kept until `cdsl remove --purge`" } else { "" };
        env.say(&format!("{path} is shared again{more}"));
    }
}

/// The steps for these entries: whose content each path gets is `from`, or this node, or for what only one has, that one.
pub(super) fn plan(
    env: &Env,
    entries: &[Entry],
    from: Option<&str>,
    purge: bool,
    force: bool,
) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for entry in entries {
        let value = match (from, &entry.mode) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Mode::Only(value)) => Some(value.clone()),
            // A tree of no node in particular has the template's content.
            (None, _) => env.site.node_if_known().and_then(|_| env.site.own_value(&entry.var).ok()),
        };
        steps.push(plan_remove(&env.site, entry, value.as_deref(), purge, force)?);
    }
    Ok(steps)
}

/// Deletes copies that were kept from an earlier removal.
fn purge(env: &Env, lock: Option<&crate::lock::Lock>, kept: &[Entry]) -> Result<(), Failure> {
    let mut change = store::Change::default();
    for entry in kept {
        for place in crate::ops::places(&env.site, entry)? {
            if !env.site.root.exists(&place).map_err(|error| Failure::Failed(error.to_string()))? {
                continue;
            }
            if lock.is_none() {
                tell(&format!("delete {}", env.site.root.shown(&place)));
                continue;
            }
            let open = env.site.root.place(&place).map_err(|error| Failure::Failed(error.to_string()))?;
            open.remove_all()?;
            env.site.root.prune(&place, &entry.path);
        }
        change.drop.push(entry.path.clone());
        if lock.is_some() {
            env.say(&format!("{}: the kept copies are deleted", entry.path));
        }
    }
    if let Some(lock) = lock {
        store::change(&env.site.root, lock, change)?;
    }
    Ok(())
}
