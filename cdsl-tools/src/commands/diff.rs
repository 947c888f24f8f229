// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl diff`: how copies differ, told by diff(1).

use std::process::Command;

use super::{Env, Failure, Outcomes, Status};
use crate::cli::Diff as Args;
use crate::layout::copy_of;
use crate::path::TreePath;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let entry = env.entry(&args.path)?;
    let contexts = env.site.contexts()?;
    let mut copies: Vec<TreePath> = Vec::new();
    let wanted = if args.nodes.is_empty() { contexts.keys().copied().collect() } else { args.nodes.clone() };
    for node in wanted {
        let context =
            contexts.get(&node).ok_or_else(|| Failure::Usage(format!("there is no node {node} in cluster.toml")))?;
        let Some(value) = context.get(entry.var.as_str()) else { continue };
        let copy = copy_of(&entry.var, value, &entry.path);
        if !copies.contains(&copy) {
            copies.push(copy);
        }
    }
    let Some((first, others)) = copies.split_first() else {
        return Err(Failure::Failed(format!("{}: no node has a copy", entry.path)));
    };
    let mut status = Status::Done;
    for other in others {
        let at = |path: &TreePath| env.site.root.directory().join(path.relative());
        // -N: one that is not there differs by all the other has.
        let ended = Command::new("diff")
            .args(["-urN", "--"])
            .args([at(first), at(other)])
            .status()
            .map_err(|error| Failure::Failed(format!("cannot run diff: {error}")))?;
        match ended.code() {
            Some(0) => {}
            Some(1) => status = Status::Found,
            _ => return Err(Failure::Failed(format!("diff ended with {ended}"))),
        }
    }
    Ok(status)
}
