// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi fence`: how lost machines are turned off.

use std::time::Duration;

use ssi_cluster::client::FenceStatus;
use ssi_cluster::config::{Config, NodeConfig};

use crate::cli::fence::{FenceConfirm, FenceList, FenceNode, FenceSubcommand, FenceTest};
use crate::cli::{NodeRef, Places};
use crate::daemon::Daemon;
use crate::figures;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::{Output, Tone};
use crate::table::{Cell, Side, render};

/// Does what was asked for.
///
/// # Errors
/// When the daemon cannot be asked or refuses, or an agent fails.
pub async fn run(command: &FenceSubcommand, places: &Places, out: &Output) -> Ending {
    match command {
        FenceSubcommand::List(args) => list(args, places, out).await,
        FenceSubcommand::Test(args) => test(args, places, out).await,
        FenceSubcommand::Node(args) => node(args, places, out).await,
        FenceSubcommand::Confirm(args) => confirm(args, places, out).await,
    }
}

async fn list(args: &FenceList, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let fences = daemon.fences().await?;
    if args.json {
        out.json(&fences)?;
        return Ok(Exit::Done);
    }
    const HEADING: [(&str, Side); 4] =
        [("NODE", Side::Left), ("AGENT", Side::Left), ("ACTION", Side::Left), ("LAST", Side::Left)];
    let picture = daemon.picture().await?;
    let rows: Vec<Vec<Cell>> = fences
        .iter()
        .map(|fence| {
            let name = picture.nodes.iter().find(|node| node.id == fence.node).map(|node| node.name.as_str());
            let none = || "-".to_owned();
            vec![
                format!("{} ({})", fence.node, name.unwrap_or("?")).into(),
                fence.agent.clone().unwrap_or_else(none).into(),
                fence.action.clone().unwrap_or_else(none).into(),
                Cell::new(tone_of(fence), last(fence)),
            ]
        })
        .collect();
    out.text(&render(&HEADING, &rows, out.paint))?;
    Ok(Exit::Done)
}

fn tone_of(fence: &FenceStatus) -> Tone {
    match fence.outcome.as_deref() {
        Some("failed") => Tone::Bad,
        Some("running") => Tone::Plain,
        Some(_) => Tone::Plain,
        None => Tone::Quiet,
    }
}

/// What was done last, in a few words.
fn last(fence: &FenceStatus) -> String {
    let Some(outcome) = &fence.outcome else { return "-".to_owned() };
    let by = fence.by.map_or_else(String::new, |by| format!(" by node {by}"));
    let at = fence.at_ms.map_or_else(String::new, |at| format!(" at {}", figures::time(at, false)));
    let what = match outcome.as_str() {
        "done" => "turned off",
        "confirmed" => "confirmed to be off",
        "running" => "is being turned off",
        _ => "could not be turned off",
    };
    let detail = fence.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{what}{by}{at}{detail}")
}

/// The nodes of cluster.toml that were asked for, or all.
fn chosen<'c>(config: &'c Config, nodes: &[NodeRef]) -> Result<Vec<&'c NodeConfig>, Failure> {
    if nodes.is_empty() {
        return Ok(config.nodes.values().filter(|node| node.fence.is_some()).collect());
    }
    let found = |wanted: &NodeRef| {
        let node = match wanted {
            NodeRef::Number(id) => config.node(*id),
            NodeRef::Name(name) => config.node_by_name(name),
        };
        let node = node.ok_or_else(|| Failure::Refused(format!("there is no node {wanted} in cluster.toml")))?;
        if node.fence.is_none() {
            return Err(Failure::Refused(format!("node {} has no [node.fence] in cluster.toml", node.id)));
        }
        Ok(node)
    };
    nodes.iter().map(found).collect()
}

async fn test(args: &FenceTest, places: &Places, out: &Output) -> Ending {
    let config = Config::load(&places.cluster_toml).map_err(|e| Failure::failed(e.to_string()))?;
    let nodes = chosen(&config, &args.nodes)?;
    if nodes.is_empty() {
        return Err(Failure::Refused("no node has a [node.fence] in cluster.toml; see cluster.toml(5)".into()));
    }
    let limit = Duration::from_secs(config.fence.timeout_s.into());
    let mut exit = Exit::Done;
    for node in nodes {
        let Some(device) = node.fence.clone() else { continue };
        let (id, name) = (node.id, node.name.clone());
        out.remark(&format!("node {id} ({name}): asking {} ...", device.agent));
        let agent = device.agent.clone();
        // `status` asks for the very machine; `monitor` would be content with a device that does not know it.
        let ran = move || ssi_cluster::fence::run(&device, id, &name, "status", limit);
        let result = tokio::task::spawn_blocking(ran).await.map_err(|e| Failure::failed(e.to_string()))?;
        match result {
            Ok(()) => out.line(&format!("node {id} ({}): {agent} says that it is on", node.name))?,
            Err(e) => {
                exit = Exit::Failed;
                out.line(&format!("node {id} ({}): {e}", node.name))?;
            }
        }
    }
    Ok(exit)
}

async fn node(args: &FenceNode, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let picture = daemon.picture().await?;
    let node = picture.require(&args.node)?;
    out.remark(&format!("node {} ({}) is being turned off ...", node.id, node.name));
    daemon.fence_node(node.id).await?;
    out.remark(&format!("node {} ({}) was turned off", node.id, node.name));
    Ok(Exit::Done)
}

async fn confirm(args: &FenceConfirm, places: &Places, _: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let picture = daemon.picture().await?;
    let node = picture.require(&args.node)?;
    if !args.i_have_seen_it {
        return Err(Failure::Refused(format!(
            "look whether node {} ({}) is off, then say so with --i-have-seen-it: if it is not, what it runs may run twice",
            node.id, node.name
        )));
    }
    daemon.confirm_node_off(node.id).await?;
    Ok(Exit::Done)
}
