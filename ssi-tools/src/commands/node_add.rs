// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi node add`.

use ssi_cluster::NodeId;
use ssi_cluster::config::{Config, EngineKind};

use super::membership_file::{MembershipFile, Reach, numbers_used};
use crate::cli::{NodeAdd, Places};
use crate::daemon::Daemon;
use crate::edit::{self, NewNode};
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;

/// Adds a node, and says what is left to do.
///
/// # Errors
/// When the file is wrong or would be, when the number is taken, or when the daemon refuses.
pub async fn run(args: &NodeAdd, places: &Places, out: &Output) -> Ending {
    let file = MembershipFile::read(&places.cluster_toml)?;
    let daemon = Daemon::connect_if_running(&places.socket).await?;
    let used = numbers_used(&file.config, daemon.as_ref()).await?;
    let id = match args.id {
        Some(id) if file.config.nodes.contains_key(&id) => {
            return Err(Failure::Refused(format!("number {id} is taken: it is {}'s", file.config.nodes[&id].name)));
        }
        // Asked for by hand, a number that was in use once is given again: a machine that was replaced, say.
        Some(id) => {
            if used.contains(&id) {
                out.remark(&format!("ssi: number {id} was a node's before; the new machine takes over its files in /cluster/node{id} if they are there"));
            }
            id
        }
        None => edit::free_number(&used)
            .ok_or_else(|| Failure::Refused(format!("all numbers up to {} have been used", NodeId::MAX)))?,
    };
    let node = NewNode {
        id,
        name: args.name.clone(),
        addresses: args.addresses.clone(),
        mac: args.mac.clone(),
        machine_id: args.machine_id.clone(),
        context: args.context.iter().cloned().collect(),
    };
    let text = edit::add_node(&file.text, &node)
        .map_err(|e| Failure::failed(format!("cannot change {}: {e}", places.cluster_toml.display())))?;
    let reach = file.replace(&text, daemon.as_ref(), places).await?;
    out.text(&what_is_left(&node, &file.config, reach, places))?;
    Ok(Exit::Done)
}

/// What was done, and what to do on the new machine.
fn what_is_left(node: &NewNode, config: &Config, reach: Reach, places: &Places) -> String {
    let (id, name) = (node.id, &node.name);
    let file = places.cluster_toml.display();
    let mut text = match reach {
        Reach::AllMembers => format!("Node {id} ({name}) is in cluster.toml on all members.\n"),
        Reach::ThisMachine => format!(
            "Node {id} ({name}) is in {file} on this machine only, as ssi-clusterd does not run here.\nCopy the file to all other nodes before any of them starts.\n"
        ),
    };
    let target = node
        .addresses
        .first()
        .map_or_else(|| name.clone(), |a| if a.is_ipv6() { format!("[{a}]") } else { a.to_string() });
    let mut steps = vec![format!("install the same packages as here, and set its host name to {name}")];
    steps.push(format!("copy the configuration:   scp {file} root@{target}:{file}"));
    if config.membership.engine == EngineKind::Corosync {
        let key = places.corosync().key;
        let key = key.display();
        steps.push(format!("copy corosync's key, which only root may read:   scp -p {key} root@{target}:{key}"));
    }
    if node.mac.is_none() && node.machine_id.is_none() {
        steps.push(format!(
            "let it know its number: put ssi.node={id} on its kernel's command line, or give mac or machine_id in its [[node]] section"
        ));
    }
    match config.membership.engine {
        EngineKind::Corosync => {
            let units = "ssi-engine-config corosync ssi-clusterd";
            steps.push(format!("start it:   systemctl enable {units} && systemctl restart {units}"));
        }
        EngineKind::Solo => steps.push("start it:   systemctl enable --now ssi-clusterd".to_owned()),
    }
    text.push_str(&format!("Now, on the new machine ({name}):\n"));
    for (n, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", n + 1));
    }
    text.push_str(&format!("Then wait for it here:   ssi wait --node {id} --timeout 2m\n"));
    text
}
