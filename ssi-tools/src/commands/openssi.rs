// SPDX-License-Identifier: GPL-2.0-or-later
//! OpenSSI's commands. Scripts parse what they print: it stays as it is.

use crate::cli::Places;
use crate::cli::openssi::{Cluster, ClusterName, ClusterNodeGetState, ClusterNodeNum, Loads};
use crate::daemon::{Daemon, Picture};
use crate::figures::UNKNOWN;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;
use crate::screen;

async fn picture(places: &Places) -> Result<Picture, Failure> {
    Daemon::connect(&places.socket).await?.picture().await
}

/// `cluster`: the UP nodes on one line; `-v` a line for each node; `-V N` what is known of one.
///
/// # Errors
/// When the daemon cannot be asked or there is no such node.
pub async fn cluster(args: &Cluster, out: &Output) -> Ending {
    let picture = picture(&args.places).await?;
    if let Some(wanted) = &args.node {
        let node = picture.require(wanted)?;
        out.text(&screen::facts_text(&screen::node_facts(node, &picture, true)))?;
    } else if args.verbose {
        for n in &picture.nodes {
            out.line(&format!("{}: {}", n.id, n.state))?;
        }
    } else {
        let up: Vec<String> = picture.up().map(|n| n.id.to_string()).collect();
        out.line(&up.join(" "))?;
    }
    Ok(Exit::Done)
}

/// `clustername`.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn clustername(args: &ClusterName, out: &Output) -> Ending {
    out.line(&picture(&args.places).await?.cluster)?;
    Ok(Exit::Done)
}

/// `clusternode_num`.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn clusternode_num(args: &ClusterNodeNum, out: &Output) -> Ending {
    out.line(&picture(&args.places).await?.own.to_string())?;
    Ok(Exit::Done)
}

/// `clusternode_getstate N`.
///
/// # Errors
/// When the daemon cannot be asked or there is no such node.
pub async fn clusternode_getstate(args: &ClusterNodeGetState, out: &Output) -> Ending {
    let picture = picture(&args.places).await?;
    out.line(&picture.require(&args.node)?.state)?;
    Ok(Exit::Done)
}

/// `loads`, `loads -n N`: `N: load`.
///
/// # Errors
/// When the daemon cannot be asked, there is no such node, or the one asked for has not told its load.
pub async fn loads(args: &Loads, out: &Output) -> Ending {
    let picture = picture(&args.places).await?;
    let nodes: Vec<_> = match &args.node {
        Some(wanted) => vec![picture.require(wanted)?],
        None => picture.up().collect(),
    };
    for n in &nodes {
        out.line(&format!("{}: {}", n.id, n.load.map_or_else(|| UNKNOWN.to_owned(), |l| l.to_string())))?;
    }
    match nodes.as_slice() {
        [one] if args.node.is_some() && one.load.is_none() => {
            Err(Failure::failed(format!("node {} ({}) has not told its load; it is {}", one.id, one.name, one.state)))
        }
        _ => Ok(Exit::Done),
    }
}
