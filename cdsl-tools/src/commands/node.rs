// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl node add`, `cdsl node remove`

use ssi_cluster::NodeId;

use super::{Env, Failure, Outcomes, Status, tell};
use crate::cli::NodeCommand;
use crate::inventory::Mode;
use crate::layout::{Variable, copy_of, holder, template_of};
use crate::ops;
use crate::store;
use crate::tree::{Attic, copy};

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
    let _lock = env.lock()?;
    let root = &env.site.root;
    let mut made = 0;
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
        let at = root.make_place(&place, Some(&from))?;
        if entry.mode == Mode::Default && like.is_none() {
            at.make_link(template.as_bytes())?;
        } else {
            if !root.exists(&from).map_err(io)? {
                eprintln!("cdsl: {}: there is no template to copy from; `cdsl check` tells more", entry.path);
                continue;
            }
            let source = root.place(&from).map_err(io)?;
            // Under another name until it is whole: a command that is cut off leaves nothing that looks like a copy.
            let new = at.sibling(crate::journal::temporary("node", 0))?;
            new.remove_all()?;
            copy::copy(&source, &new, &mut |_| {})?;
            new.move_to(&at)?;
        }
        made += 1;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !dry_run {
        root.make_directory(&holder(&Variable::nodenum(), &number.to_string()), None)?;
        root.sync(&crate::layout::cluster())?;
        env.say(&format!("node {number} has {made} new copies"));
    }
    Ok(Status::Done)
}

fn remove(env: &Env, number: NodeId, dry_run: bool) -> Outcomes {
    let root = &env.site.root;
    if env.site.node_if_known() == Some(number) && root.is_machine() {
        return Err(Failure::Refused(format!(
            "node {number} is this machine; run it on another node, once this one is gone"
        )));
    }
    let lock = env.lock()?;
    let place = holder(&Variable::nodenum(), &number.to_string());
    if !root.exists(&place).map_err(io)? {
        return Err(Failure::Refused(format!("{} is not there: nothing is left of node {number}", root.shown(&place))));
    }
    if dry_run {
        tell(&format!("move {} into the attic", root.shown(&place)));
        return Ok(Status::Done);
    }
    let mut attic = Attic::new(&ops::batch_id());
    attic.put(root, &place)?;
    drop(lock);
    env.tell_attic(&attic.put);
    env.say(&format!("node {number}'s copies are in the attic"));
    Ok(Status::Done)
}
