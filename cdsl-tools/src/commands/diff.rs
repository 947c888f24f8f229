// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl diff`: how copies differ, told by diff(1).

use std::process::Command;

use super::copies::Copy;
use super::{Env, Failure, Outcomes, Status};
use crate::cli::Diff as Args;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    if let [alone] = args.nodes.as_slice() {
        return Err(Failure::Usage(format!("with what is node {alone} to be compared? Give two nodes, as in 1,2")));
    }
    let entry = env.entry(&args.path)?;
    let contexts = env.site.contexts()?;
    let wanted = if args.nodes.is_empty() { contexts.keys().copied().collect() } else { args.nodes.clone() };
    let mut copies: Vec<Copy> = Vec::new();
    for node in wanted {
        if !contexts.contains_key(&node) {
            return Err(Failure::Usage(format!("there is no node {node} in cluster.toml")));
        }
        let Some(copy) = Copy::of_node(env, &entry, node)? else { continue };
        // Nodes that share one have nothing to differ in.
        if !copies.iter().any(|other| other.at == copy.at) {
            copies.push(copy);
        }
    }
    let Some((first, others)) = copies.split_first() else {
        return Err(Failure::Failed(format!("{}: no node has a copy", entry.path)));
    };
    let mut status = Status::Done;
    // What is nowhere does not differ; diff would call it trouble.
    for other in others.iter().filter(|other| first.there || other.there) {
        let ended = Command::new("diff")
            // -N: one that is not there differs by all that the other has. Links are compared by their texts: where they
            // lead is not the copies' own.
            .args(["-urN", "--no-dereference", "--color=auto", "--"])
            .args([first.file(env), other.file(env)])
            .status()
            .map_err(|error| Failure::Failed(format!("cannot run diff: {error}")))?;
        match ended.code() {
            Some(0) => {}
            Some(1) => status = Status::Found,
            _ => {
                let (a, b) = (env.site.root.shown(&first.at), env.site.root.shown(&other.at));
                return Err(Failure::Failed(format!("comparing {a} with {b}: diff ended with {ended}")));
            }
        }
    }
    Ok(status)
}
