// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi node remove`.

use ssi_cluster::NodeId;
use ssi_cluster::config::NodeConfig;

use super::membership_file::{MembershipFile, Reach};
use crate::cli::{NodeRef, NodeRemove, Places};
use crate::daemon::Daemon;
use crate::edit;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;

/// Takes a node out, and says what is kept.
///
/// # Errors
/// When it is a member, when it is this machine, when there is no such node, or when the daemon refuses.
pub async fn run(args: &NodeRemove, places: &Places, out: &Output) -> Ending {
    let file = MembershipFile::read(&places.cluster_toml)?;
    let node = match &args.node {
        NodeRef::Number(id) => file.config.node(*id),
        NodeRef::Name(name) => file.config.node_by_name(name),
    };
    let Some(node) = node else {
        return Err(Failure::failed(format!(
            "there is no node '{}' in {}; nothing was changed",
            args.node,
            places.cluster_toml.display()
        )));
    };
    let daemon = Daemon::connect_if_running(&places.socket).await?;
    may_go(node, daemon.as_ref(), args.force).await?;
    let text = edit::remove_node(&file.text, node.id)
        .map_err(|e| Failure::failed(format!("cannot change {}: {e}", places.cluster_toml.display())))?;
    let reach = file.replace(&text, daemon.as_ref(), places).await?;
    out.text(&what_is_kept(node.id, &node.name, reach, places))?;
    Ok(Exit::Done)
}

/// Refuses while the node is in use.
async fn may_go(node: &NodeConfig, daemon: Option<&Daemon>, force: bool) -> Result<(), Failure> {
    let (id, name) = (node.id, &node.name);
    let Some(daemon) = daemon else {
        if force {
            return Ok(());
        }
        return Err(Failure::Refused(format!(
            "ssi-clusterd does not run here, so whether node {id} ({name}) is a member cannot be found out; nothing was changed. Run this on a member, or use --force"
        )));
    };
    let picture = daemon.picture().await?;
    if picture.own == id.get() {
        return Err(Failure::Refused(format!(
            "node {id} ({name}) is this machine, which cannot take itself out; run this on another member once this one is shut down"
        )));
    }
    let status = picture.find(&NodeRef::Number(id));
    if !force && let Some(status) = status.filter(|s| s.member || s.node_state().is_some_and(|s| s.is_present())) {
        return Err(Failure::Refused(format!(
            "node {id} ({name}) is {}{}; nothing was changed. Shut it down first with 'ssi node shutdown {id}'",
            status.state,
            if status.member { " and a member" } else { "" },
        )));
    }
    Ok(())
}

fn what_is_kept(id: NodeId, name: &str, reach: Reach, places: &Places) -> String {
    let done = match reach {
        Reach::AllMembers => format!("Node {id} ({name}) is no longer in cluster.toml, on all members.\n"),
        Reach::ThisMachine => format!(
            "Node {id} ({name}) is no longer in {} on this machine; copy the file to all other nodes.\n",
            places.cluster_toml.display()
        ),
    };
    format!(
        "{done}Kept: its own files in /cluster/node{id}, and its transitions in the log. While they are there, number {id} is\nnot given to another machine. Its disks still hold corosync's key: wipe them, or give the cluster a new key, if the\nmachine leaves your hands.\n"
    )
}
