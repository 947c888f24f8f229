// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl resolve`: each hop of the way that a path takes on a node, and what is at its end.

use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::FileType;
use serde_json::json;
use ssi_cluster::{Context, NodeId};

use super::list::path_json;
use super::{Env, Failure, Outcomes, Status, tell};
use crate::cli::Resolve as Args;
use crate::layout;
use crate::walk::{Hop, Way, walk};

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let contexts = env.site.contexts()?;
    let nodes: Vec<NodeId> = if args.all { contexts.keys().copied().collect() } else { vec![env.site.node()?] };
    // The kernel takes a path that is not whole from where the program is.
    let mut bytes = args.path.as_bytes().to_vec();
    if bytes.first() != Some(&b'/') && env.site.root.is_machine() {
        let here =
            std::env::current_dir().map_err(|error| Failure::Failed(format!("cannot tell where this is: {error}")))?;
        bytes = [here.as_os_str().as_bytes(), b"/", &bytes].concat();
    }
    let mut all_there = true;
    let mut found = Vec::new();
    for node in nodes {
        let Some(context) = contexts.get(&node) else {
            return Err(Failure::Failed(format!("there is no node {node} in cluster.toml")));
        };
        let way = walk(&env.site.root, &bytes, context);
        all_there &= way.found.is_ok();
        if args.json {
            found.push(as_json(node, &way));
        } else {
            print(env, node, context, &way, args.all);
        }
    }
    if args.json {
        tell(&json!({ "path": path_json(&bytes), "nodes": found }).to_string());
    }
    Ok(if all_there { Status::Done } else { Status::Found })
}

fn variables(way: &Way) -> Vec<String> {
    let mut names: Vec<String> = way
        .hops
        .iter()
        .filter_map(|hop| match hop {
            Hop::Context { variable, .. } => Some(variable.as_str().to_owned()),
            Hop::Link { text, .. } => layout::parse_link(text).map(|(variable, _)| variable.as_str().to_owned()),
        })
        .collect();
    names.dedup();
    names
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "unknown",
    }
}

fn print(env: &Env, node: NodeId, context: &Context, way: &Way, all: bool) {
    let name = context.get("nodename").unwrap_or_default();
    if all {
        tell(&format!("node {node} ({name}):"));
    }
    let indent = if all { "  " } else { "" };
    for hop in &way.hops {
        tell(&format!("{indent}{}", hop.line()));
    }
    let end = env.site.root.shown(&way.end);
    match way.found {
        Ok(found) => tell(&format!("{indent}{end}  ({})", kind(found.kind))),
        Err(error) => tell(&format!("{indent}{end}  ({error})")),
    }
}

fn as_json(node: NodeId, way: &Way) -> serde_json::Value {
    let hops: Vec<_> = way
        .hops
        .iter()
        .map(|hop| match hop {
            Hop::Link { at, text } => json!({ "link": path_json(at.as_bytes()), "text": path_json(text) }),
            Hop::Context { at, variable, value, to } => json!({
                "context": path_json(at.as_bytes()),
                "variable": variable.as_str(),
                "value": value,
                "directory": path_json(to.as_bytes()),
            }),
        })
        .collect();
    json!({
        "node": node.get(),
        "hops": hops,
        "variables": variables(way),
        "end": path_json(way.end.as_bytes()),
        "exists": way.found.is_ok(),
        "kind": way.found.ok().map(|found| kind(found.kind)),
        "error": way.found.err().map(|error| error.to_string()),
    })
}
