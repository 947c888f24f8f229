// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl context`, `cdsl mount`, `cdsl umount`

use serde_json::json;
use ssi_cluster::{Context, NodeId};

use super::list::path_json;
use super::{Env, Failure, Outcomes, Status, tell};
use crate::cli::Context as Args;
use crate::mounts::{self, Done};

/// The node that is meant, and what its variables are.
pub(super) fn own(env: &Env) -> Result<(NodeId, Context), Failure> {
    let node = env.site.node()?;
    let context = env.site.contexts()?.remove(&node);
    Ok((node, context.ok_or_else(|| Failure::Failed(format!("there is no node {node} in cluster.toml")))?))
}

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let (node, context) = own(env)?;
    let directories = mounts::look(&env.site.root, &context)?;
    if args.json {
        let variables: serde_json::Map<_, _> =
            context.vars().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let directories: Vec<_> = directories
            .iter()
            .map(|seen| {
                json!({
                    "variable": seen.variable.as_str(),
                    "directory": path_json(seen.at.as_bytes()),
                    "holder": path_json(seen.from.as_bytes()),
                    "mounted": seen.right,
                })
            })
            .collect();
        tell(&json!({ "node": node.get(), "variables": variables, "directories": directories }).to_string());
        return Ok(Status::Done);
    }
    let widest = context.vars().map(|(name, _)| name.len() + 2).max().unwrap_or(0);
    for (name, value) in context.vars() {
        tell(&format!("{:<widest$}  {value}", format!("{{{name}}}")));
    }
    for seen in directories {
        let (at, from) = (env.site.root.shown(&seen.at), env.site.root.shown(&seen.from));
        let now = if seen.right { "is mounted on" } else { "is not mounted on" };
        tell(&format!("{from} {now} {at}"));
    }
    Ok(Status::Done)
}

pub(super) fn mount(env: &Env) -> Outcomes {
    let (_, context) = own(env)?;
    for mounted in mounts::activate(&env.site.root, &context)? {
        let (at, from) = (env.site.root.shown(&mounted.at), env.site.root.shown(&mounted.from));
        match mounted.done {
            Done::Mounted => env.say(&format!("{from} is mounted on {at}")),
            Done::Replaced => env.say(&format!("{from} is mounted on {at}, in place of another node's")),
            Done::Nothing => {}
        }
    }
    Ok(Status::Done)
}

pub(super) fn umount(env: &Env) -> Outcomes {
    let (_, context) = own(env)?;
    for gone in mounts::deactivate(&env.site.root, &context)? {
        env.say(&format!("nothing is mounted on {} any more", env.site.root.shown(&gone)));
    }
    Ok(Status::Done)
}
