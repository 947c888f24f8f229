// SPDX-License-Identifier: GPL-2.0-or-later
//! What stands between the units of the cluster and running twice, or not at all.

use std::collections::BTreeSet;

use ssi_cluster::NodeConfig;
use ssi_cluster::config::Config;

use crate::doctor::Finding;
use crate::doctor::facts::{Facts, Seen};

/// What agents of the fence-agents packages call a secret.
const SECRETS: [&str; 4] = ["password", "passwd", "snmp_priv_passwd", "snmp_password"];

/// Whether everybody can read a fence agent's password; nothing without one.
pub(super) fn secrets(facts: &Facts, config: &Config) -> Option<Finding> {
    const CHECK: &str = "passwords in cluster.toml";
    let has = |node: &&NodeConfig| {
        node.fence.as_ref().is_some_and(|device| SECRETS.iter().any(|secret| device.options.contains_key(*secret)))
    };
    config.nodes.values().find(has)?;
    Some(match facts.file_mode {
        Seen::There(mode) if mode & 0o007 != 0 => Finding::warn(
            CHECK,
            "a fence agent's password stands in a file that everybody can read",
            "put it into a program only root can run and give that as password_script; or chmod o= the file on each node",
        ),
        Seen::There(_) => Finding::ok(CHECK, "not for everybody to read"),
        _ => Finding::skipped(CHECK, "the file's mode cannot be told"),
    })
}

/// Nothing while there is no unit of the cluster.
pub(super) fn services(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "units of the cluster";
    if facts.services.is_empty() {
        return None;
    }
    let instances = || facts.services.iter().flat_map(|service| &service.instances);
    let unwatched: BTreeSet<u32> = instances().filter(|one| one.unwatched).filter_map(|one| one.node).collect();
    if !unwatched.is_empty() {
        let nodes: Vec<String> = unwatched.iter().map(u32::to_string).collect();
        return Some(Finding::warn(
            CHECK,
            format!("no watchdog on node {}: should it hang, units may run twice", nodes.join(", ")),
            "turn on the machine's watchdog (its firmware, or the virtual machine's settings), or load softdog there",
        ));
    }
    if let Ok(config) = &facts.config
        && config.nodes.len() == 2
        && config.nodes.values().any(|node| node.fence.is_none())
    {
        return Some(Finding::warn(
            CHECK,
            "neither of two nodes is a majority: when one is lost, the other starts nothing",
            "give both nodes a fence agent, see [node.fence] in cluster.toml(5); or add a third node",
        ));
    }
    let failed: Vec<&str> = instances()
        .filter(|one| one.state == "failed")
        .map(|one| one.unit.as_str())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if failed.is_empty() {
        return Some(Finding::ok(CHECK, format!("{}, watched", facts.services.len())));
    }
    Some(Finding::warn(
        CHECK,
        format!("failed too often and left alone: {}", failed.join(", ")),
        "'ssi service explain UNIT' says where; 'ssi service start UNIT' tries again",
    ))
}
