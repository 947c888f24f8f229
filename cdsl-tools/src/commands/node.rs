// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl node add`, `cdsl node remove`

use ssi_cluster::NodeId;

use super::{Env, Failure, Outcomes, Status, tell};
use crate::cli::NodeCommand;
use crate::content;
use crate::inventory::Mode;
use crate::layout::{Variable, copy_of, good_value, holder, template_of};
use crate::ops;
use crate::path::TreePath;
use crate::store;
use crate::tree::{Attic, Root, copy};

pub(super) fn run(env: &Env, command: &NodeCommand) -> Outcomes {
    match command {
        NodeCommand::Add { number, like, dry_run } => add(env, *number, *like, *dry_run),
        NodeCommand::Remove { number, dry_run } => remove(env, *number, *dry_run),
    }
}

fn io(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

fn add(env: &Env, number: NodeId, like: Option<NodeId>, dry_run: bool) -> Outcomes {
    let contexts = env.site.contexts()?;
    let context = contexts.get(&number).ok_or_else(|| {
        Failure::Refused(format!("there is no node {number} in cluster.toml: `ssi node add` it first"))
    })?;
    let like = match like {
        Some(node) => Some(
            contexts.get(&node).ok_or_else(|| Failure::Usage(format!("there is no node {node} in cluster.toml")))?,
        ),
        None => None,
    };
    let _lock = env.lock_unless(dry_run)?;
    let root = &env.site.root;
    // Left by one that was cut off: copies of which nobody knows whether they are whole.
    if !dry_run {
        clear(root)?;
    }
    let mut made = 0;
    let mut waiting = Vec::new();
    let all = store::read(root)?.count();
    let bar = env.bar(all);
    for entry in store::read(root)? {
        let entry = entry?;
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        if entry.kept || matches!(entry.mode, Mode::Only(_)) {
            continue;
        }
        let Some(value) = context.get(entry.var.as_str()) else { continue };
        let place = copy_of(&entry.var, value, &entry.path);
        if root.exists(&place).map_err(io)? {
            continue;
        }
        let template = template_of(&entry.path);
        let from = like
            .and_then(|context| context.get(entry.var.as_str()))
            .map(|value| copy_of(&entry.var, value, &entry.path))
            .filter(|copy| root.exists(copy).unwrap_or(false))
            .unwrap_or_else(|| template.clone());
        if dry_run {
            tell(&format!("copy {} to {}", root.shown(&from), root.shown(&place)));
            continue;
        }
        if entry.mode == Mode::Default && like.is_none() {
            root.make_place(&place, Some(&from))?.make_link(template.as_bytes())?;
        } else {
            if !root.exists(&from).map_err(io)? {
                eprintln!("cdsl: {}: there is no template to copy from; `cdsl check` tells more", entry.path);
                continue;
            }
            // Elsewhere until it is whole and on the disk: a cut leaves nothing that looks like a copy and is none.
            let staged = place.below(&content::staging());
            copy::copy(&root.place(&from).map_err(io)?, &root.make_place(&staged, Some(&from))?, &mut |_| {})?;
            waiting.push((staged, place, from));
        }
        made += 1;
        if waiting.len() == ops::BATCH {
            put_in_place(root, &mut waiting)?;
        }
    }
    put_in_place(root, &mut waiting)?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !dry_run {
        root.make_directory(&holder(&Variable::nodenum(), &number.to_string()), None)?;
        clear(root)?;
        root.sync(&crate::layout::cluster())?;
        env.say(&format!("node {number} has {made} new copies"));
    }
    Ok(Status::Done)
}

/// Has the copies that were made written to the disk, and gives them their names.
fn put_in_place(root: &Root, waiting: &mut Vec<(TreePath, TreePath, TreePath)>) -> Result<(), Failure> {
    if waiting.is_empty() {
        return Ok(());
    }
    root.sync(&crate::layout::cluster())?;
    for (staged, place, from) in waiting.drain(..) {
        let at = root.make_place(&place, Some(&from))?;
        root.place(&staged).map_err(io)?.move_to(&at)?;
    }
    Ok(())
}

fn clear(root: &Root) -> Result<(), Failure> {
    let staging = content::staging();
    if root.exists(&staging).map_err(io)? {
        root.place(&staging).map_err(io)?.remove_all()?;
    }
    Ok(())
}

/// Where that is which is this node's alone: by its number, and, as long as cluster.toml has it, by what else no other
/// node has, such as its name.
fn only_of(env: &Env, number: NodeId) -> Result<Vec<TreePath>, Failure> {
    let mut places = vec![holder(&Variable::nodenum(), &number.to_string())];
    let contexts = env.site.contexts()?;
    for (name, value) in contexts.get(&number).into_iter().flat_map(|context| context.vars()) {
        let others = contexts.iter().filter(|(node, _)| **node != number);
        if let Ok(variable) = Variable::parse(name)
            && variable != Variable::nodenum()
            && good_value(value)
            && others.into_iter().all(|(_, context)| context.get(name) != Some(value))
        {
            places.push(holder(&variable, value));
        }
    }
    Ok(places)
}

fn remove(env: &Env, number: NodeId, dry_run: bool) -> Outcomes {
    let root = &env.site.root;
    if env.site.node_if_known() == Some(number) && root.is_machine() {
        return Err(Failure::Refused(format!(
            "node {number} is this machine; run it on another node, once this one is gone"
        )));
    }
    let lock = env.lock_unless(dry_run)?;
    let mut places = Vec::new();
    for place in only_of(env, number)? {
        if root.exists(&place).map_err(io)? {
            places.push(place);
        }
    }
    if places.is_empty() {
        let place = root.shown(&holder(&Variable::nodenum(), &number.to_string()));
        return Err(Failure::Refused(format!("{place} is not there: nothing is left of node {number}")));
    }
    if dry_run {
        places.iter().for_each(|place| tell(&format!("move {} into the attic", root.shown(place))));
        return Ok(Status::Done);
    }
    let mut attic = Attic::new(&ops::batch_id());
    for place in &places {
        attic.put(root, place)?;
    }
    root.sync(&crate::layout::cluster())?;
    drop(lock);
    env.tell_attic(&attic.put);
    env.say(&format!("node {number}'s copies are in the attic"));
    Ok(Status::Done)
}
