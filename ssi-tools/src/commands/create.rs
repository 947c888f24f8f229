// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi create`: the first node's cluster.toml, and corosync's key.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use ssi_cluster::NodeId;
use ssi_cluster::config::{Config, MacAddr};
use ssi_cluster::corosync::{self, FilesError};

use super::membership_file::write_whole;
use crate::cli::{Create, Engine, Places};
use crate::edit::{self, NewCluster, NewNode};
use crate::machine::{self, Interfaces};
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;

/// Makes the files, or prints what would be in them.
///
/// # Errors
/// When a cluster.toml is there, this machine cannot be described, or a file cannot be written.
pub fn run(args: &Create, places: &Places, out: &Output) -> Ending {
    let file = &places.cluster_toml;
    // Before looking at the machine: somebody who already has a cluster wants to hear that first.
    if !args.dry_run && !args.force && file.symlink_metadata().is_ok() {
        return Err(Failure::Refused(format!(
            "{} is there already and is left as it is; use --force to replace it, or 'ssi node add' to add a machine to it",
            file.display()
        )));
    }
    let cluster = describe(args, &machine::interfaces()?)?;
    let text = edit::new_file(&cluster);
    Config::parse(file, text.as_bytes()).map_err(|e| {
        Failure::WrongUse(format!("with these arguments cluster.toml would be wrong, so nothing was written:\n{e}"))
    })?;
    if args.dry_run {
        out.text(&text)?;
        return Ok(Exit::Done);
    }
    // The key first: a cluster.toml without a key would look finished.
    let corosync = places.corosync();
    let key_made = match args.engine {
        Engine::Corosync => Some(make_key(&corosync)?),
        Engine::Solo => None,
    };
    write_whole(file, text.as_bytes(), 0o644, args.force)?;
    out.text(&what_was_done(&cluster, file, &corosync.key, key_made))?;
    Ok(Exit::Done)
}

/// The cluster as the arguments and the machine have it.
fn describe(args: &Create, interfaces: &Interfaces) -> Result<NewCluster, Failure> {
    let host_name = machine::host_name();
    let name = args.node_name.clone().unwrap_or_else(|| machine::short_name(&host_name).to_owned());
    let addresses = if !args.addresses.is_empty() {
        for address in &args.addresses {
            if machine::mac_of(interfaces, *address).is_none() && !has_address(interfaces, *address) {
                return Err(Failure::WrongUse(format!(
                    "no interface of this machine has the address {address}; it has {}",
                    own_addresses(interfaces)
                )));
            }
        }
        args.addresses.clone()
    } else {
        match (machine::propose_address(interfaces, machine::default_source()), args.engine) {
            (Some(address), _) => vec![address],
            // Alone, it needs none.
            (None, Engine::Solo) => Vec::new(),
            (None, Engine::Corosync) => {
                return Err(Failure::failed(
                    "this machine has no address that other machines could reach; give it one, or name it with --address",
                ));
            }
        }
    };
    let mac = addresses.first().and_then(|a| machine::mac_of(interfaces, *a)).filter(|m| m.parse::<MacAddr>().is_ok());
    let id = NodeId::try_from(1).map_err(|e| Failure::failed(e.to_string()))?;
    Ok(NewCluster {
        name: args.name.clone(),
        engine: match args.engine {
            Engine::Corosync => "corosync",
            Engine::Solo => "solo",
        },
        first: NewNode { id, name, addresses, mac, machine_id: machine::machine_id(), context: Default::default() },
    })
}

fn has_address(interfaces: &Interfaces, address: IpAddr) -> bool {
    interfaces.values().any(|i| i.addresses.contains(&address))
}

fn own_addresses(interfaces: &Interfaces) -> String {
    let all: Vec<String> = interfaces
        .values()
        .flat_map(|i| &i.addresses)
        .filter(|a| machine::is_for_others(a))
        .map(IpAddr::to_string)
        .collect();
    if all.is_empty() { "none that other machines could reach".to_owned() } else { all.join(", ") }
}

/// Makes the key; gives false if one is there, which is kept: other nodes have it.
fn make_key(paths: &corosync::Paths) -> Result<bool, Failure> {
    corosync::make_key(paths).map_err(|e| match &e {
        FilesError::Write { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Failure::Refused(format!("{e}; are you root?"))
        }
        _ => Failure::failed(e.to_string()),
    })
}

fn what_was_done(cluster: &NewCluster, file: &Path, key: &Path, key_made: Option<bool>) -> String {
    let first = &cluster.first;
    let addresses: Vec<String> = first.addresses.iter().map(IpAddr::to_string).collect();
    let mut text =
        format!("Wrote {}: cluster {}, with this machine as node 1 ({}", file.display(), cluster.name, first.name);
    text.push_str(&if addresses.is_empty() { ").\n".to_owned() } else { format!(" at {}).\n", addresses.join(", ")) });
    match key_made {
        Some(true) => text
            .push_str(&format!("Wrote {}: corosync's key. Whoever has it can join: keep it secret.\n", key.display())),
        Some(false) => text.push_str(&format!("Kept {}, which was there.\n", key.display())),
        None => {}
    }
    let mut steps = vec!["look the file over, above all the address".to_owned()];
    match cluster.engine {
        "solo" => steps.push("systemctl enable --now ssi-clusterd".to_owned()),
        _ => {
            steps.push("systemctl enable ssi-engine-config corosync ssi-clusterd".to_owned());
            // Not start: the distribution may have started corosync when it installed it, with a file of its own.
            steps.push("systemctl restart ssi-engine-config corosync ssi-clusterd".to_owned());
        }
    }
    steps.push("ssi status; and ssi doctor when that is not as it should be".to_owned());
    if key_made.is_some() {
        steps.push("ssi node add --name NAME --address ADDRESS, for each further machine".to_owned());
    }
    text.push_str("Next:\n");
    for (n, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", n + 1));
    }
    text
}
