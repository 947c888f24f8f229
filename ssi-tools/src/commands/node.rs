// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi node list`, `show`, `shutdown`, `drain` and `resume`.

use std::str::FromStr as _;

use crate::cli::{NodeDrain, NodeList, NodeRef, NodeResume, NodeShow, NodeShutdown, Places, Shutdown};
use crate::daemon::Daemon;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;
use crate::{report, screen};

/// Lists the nodes.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn list(args: &NodeList, places: &Places, out: &Output) -> Ending {
    let picture = Daemon::connect(&places.socket).await?.picture().await?;
    if args.json {
        out.json(&report::Node::all(&picture))?;
    } else {
        out.text(&screen::node_table(&picture, out.paint))?;
    }
    Ok(Exit::Done)
}

/// Shows a node.
///
/// # Errors
/// When the daemon cannot be asked or there is no such node.
pub async fn show(args: &NodeShow, places: &Places, out: &Output) -> Ending {
    let picture = Daemon::connect(&places.socket).await?.picture().await?;
    let node = picture.require(&args.node)?;
    if args.json {
        out.json(&report::Node::of(node, &picture))?;
    } else {
        out.text(&screen::facts_text(&screen::node_facts(node, &picture, false)))?;
    }
    Ok(Exit::Done)
}

/// Has a node turn itself off, or start anew.
///
/// # Errors
/// When the daemon cannot be asked, refuses, or there is no such node.
pub async fn shutdown(args: &NodeShutdown, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let picture = daemon.picture().await?;
    let node = picture.require(&args.node)?;
    daemon.shutdown_node(node.id, args.reboot).await?;
    let what = if args.reboot { "start anew" } else { "turn itself off" };
    out.line(&format!(
        "Node {} ({}) was asked to stop its services and {what}. Follow it with 'ssi log --follow', or wait for it with 'ssi wait --node {} --state {}'.",
        node.id,
        node.name,
        node.id,
        if args.reboot { "UP" } else { "DOWN" }
    ))?;
    Ok(Exit::Done)
}

/// Has all nodes that are UP turn themselves off, or one.
///
/// # Errors
/// When the daemon cannot be asked, or refuses one of them; those before it are on their way down.
pub async fn shutdown_some(args: Shutdown, places: &Places, out: &Output) -> Ending {
    if let Some(node) = args.node {
        return shutdown(&NodeShutdown { node, reboot: args.reboot }, places, out).await;
    }
    let picture = Daemon::connect(&places.socket).await?.picture().await?;
    let mut nodes: Vec<u32> = picture.up().map(|node| node.id).collect();
    // Who asks has to be there until all are asked.
    nodes.sort_by_key(|node| (*node == picture.own, *node));
    for node in nodes {
        let node = NodeRef::from_str(&node.to_string()).map_err(Failure::failed)?;
        shutdown(&NodeShutdown { node, reboot: args.reboot }, places, out).await?;
    }
    Ok(Exit::Done)
}

/// Moves all units of the cluster off a node.
///
/// # Errors
/// When the daemon cannot be asked, refuses, or the time is up.
pub async fn drain(args: &NodeDrain, places: &Places, out: &Output) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let node = daemon.picture().await?.require(&args.node)?.id;
    daemon.drain_node(node, true).await?;
    super::service::wait(&args.patience, places, out, |services, _| {
        // What moves off it has not arrived before it is up elsewhere.
        let here = services
            .iter()
            .flat_map(|service| &service.instances)
            .filter(|i| i.node == Some(node) || i.state == "starting" || (i.state == "stopping" && i.to.is_some()));
        let left: Vec<&str> = here.map(|instance| instance.unit.as_str()).collect();
        (!left.is_empty()).then(|| format!("{} to be moved: {}", left.len(), left.join(", ")))
    })
    .await
}

/// Gives a node units again.
///
/// # Errors
/// When the daemon cannot be asked or refuses.
pub async fn resume(args: &NodeResume, places: &Places) -> Ending {
    let daemon = Daemon::connect(&places.socket).await?;
    let node = daemon.picture().await?.require(&args.node)?.id;
    daemon.drain_node(node, false).await?;
    Ok(Exit::Done)
}
