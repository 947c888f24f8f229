// SPDX-License-Identifier: GPL-2.0-or-later
//! Judging: one function a check, from [`Facts`] to [`Finding`]s. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ssi_cluster::config::{Config, EngineKind};
use ssi_cluster::corosync::compare;
use ssi_cluster::{NodeId, NodeState};

use self::services::{secrets, services};
use super::facts::{Facts, Seen};
use super::{Finding, firewall};
use crate::daemon::Standing;
use crate::{figures, logtext, machine};

/// How a corosync.conf begins that was made from cluster.toml (the whole line is `ssi_cluster::corosync::files`'s).
const OUR_MARK: &str = "# Made by ssi from cluster.toml";

/// How long a node may be on its way, beyond what its scripts may take, before it is worth a word.
const LONG_MS: u64 = 60_000;

/// All checks, in the order in which things build on each other.
pub fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![configuration(facts)];
    if let Ok(config) = &facts.config {
        findings.push(identity(facts));
        findings.push(host_name(facts, config));
        findings.push(own_addresses(facts, config));
        findings.extend(address_taken(facts, config));
        findings.push(reachable(facts, config));
        findings.push(names(facts, config));
        findings.extend(secrets(facts, config));
        if config.membership.engine == EngineKind::Corosync {
            findings.push(firewall(facts, config));
            findings.push(corosync_key(facts));
            findings.push(corosync_conf(facts, config));
            findings.push(corosync_runs(facts));
        }
    }
    findings.push(clock(facts));
    findings.push(daemon(facts));
    if facts.picture.is_ok() {
        findings.push(standing(facts));
        findings.push(same_configuration(facts));
        findings.push(versions(facts));
        findings.push(attached(facts));
        findings.push(stuck(facts));
        findings.push(scripts(facts));
        findings.extend(services(facts));
    }
    findings
}

fn configuration(facts: &Facts) -> Finding {
    const CHECK: &str = "cluster.toml";
    match &facts.config {
        Ok(config) => Finding::ok(
            CHECK,
            format!(
                "cluster {}, nodes: {}, engine: {}",
                config.name,
                config.nodes.len(),
                config.membership.engine.name()
            ),
        ),
        Err(mistakes) => Finding::fail(
            CHECK,
            mistakes,
            format!(
                "mend {}, see cluster.toml(5); a new cluster is made with 'ssi create', and a node of an existing one gets a copy of the other nodes' file",
                facts.places.cluster_toml.display()
            ),
        ),
    }
}

fn own_node(facts: &Facts) -> Option<NodeId> {
    facts.own.as_ref()?.as_ref().ok().copied()
}

fn identity(facts: &Facts) -> Finding {
    const CHECK: &str = "identity";
    match &facts.own {
        Some(Ok(id)) => Finding::ok(CHECK, format!("this is node {id}")),
        Some(Err(why)) => Finding::fail(
            CHECK,
            why,
            "give this machine's machine id or MAC address in its [[node]] section, or put ssi.node=N on the kernel's command line",
        ),
        None => Finding::skipped(CHECK, "there is no cluster.toml to look it up in"),
    }
}

fn host_name(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "host name";
    let Some(node) = own_node(facts).and_then(|id| config.node(id)) else {
        return Finding::skipped(CHECK, "which node this is cannot be told");
    };
    let same = node.name.eq_ignore_ascii_case(&facts.host_name)
        || machine::short_name(&node.name).eq_ignore_ascii_case(machine::short_name(&facts.host_name));
    if same {
        Finding::ok(CHECK, format!("{} is the name of node {}", facts.host_name, node.id))
    } else {
        Finding::warn(
            CHECK,
            format!("this machine calls itself {}, and cluster.toml calls it {}", facts.host_name, node.name),
            format!("hostnamectl set-hostname {}; or change the name in cluster.toml", node.name),
        )
    }
}

/// Which interface has each address.
fn owners(facts: &Facts) -> Option<BTreeMap<IpAddr, (&str, bool)>> {
    let interfaces = facts.interfaces.as_ref().ok()?;
    Some(interfaces.iter().flat_map(|(name, i)| i.addresses.iter().map(|a| (*a, (name.as_str(), i.up)))).collect())
}

fn own_addresses(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "own addresses";
    let Some(node) = own_node(facts).and_then(|id| config.node(id)) else {
        return Finding::skipped(CHECK, "which node this is cannot be told");
    };
    let Some(owners) = owners(facts) else {
        return Finding::skipped(CHECK, facts.interfaces.as_ref().err().cloned().unwrap_or_default());
    };
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    for address in &node.addresses {
        match owners.get(address) {
            Some((interface, true)) => right.push(format!("{address} on {interface}")),
            Some((interface, false)) => wrong.push(format!("{address} is on {interface}, which is down")),
            None => wrong.push(format!("no interface has {address}")),
        }
    }
    if !wrong.is_empty() {
        return Finding::fail(
            CHECK,
            wrong.join("; "),
            format!("give this machine the addresses of node {} in cluster.toml, or correct them there", node.id),
        );
    }
    Finding::ok(CHECK, if right.is_empty() { "none are needed".to_owned() } else { right.join(", ") })
}

/// An address of another node that this machine has: two machines would take each other's packets.
fn address_taken(facts: &Facts, config: &Config) -> Option<Finding> {
    let owners = owners(facts)?;
    let own = own_node(facts)?;
    let taken: Vec<String> = config
        .nodes
        .values()
        .filter(|n| n.id != own)
        .flat_map(|n| n.addresses.iter().map(move |a| (n, a)))
        .filter_map(|(n, a)| {
            owners.get(a).map(|(interface, _)| format!("{a} of node {} ({}) is on {interface} here", n.id, n.name))
        })
        .collect();
    (!taken.is_empty()).then(|| {
        Finding::fail(
            "other nodes' addresses",
            taken.join("; "),
            "take the address away from this machine, or correct cluster.toml",
        )
    })
}

fn reachable(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "routes";
    if facts.routes.is_empty() {
        return Finding::ok(CHECK, "there are no other nodes");
    }
    let own = own_node(facts).and_then(|id| config.node(id));
    let (mut none, mut odd) = (Vec::new(), Vec::new());
    for (id, routes) in &facts.routes {
        for (link, (address, source)) in routes.iter().enumerate() {
            match source {
                Err(why) => none.push(format!("node {id} at {address}: {why}")),
                Ok(source) => {
                    // Corosync sends from the link's own address: another way out means another network than was meant.
                    if let Some(ours) = own.and_then(|n| n.addresses.get(link)).filter(|ours| *ours != source) {
                        odd.push(format!("packets to node {id} at {address} leave from {source}, not from {ours}"));
                    }
                }
            }
        }
    }
    if !none.is_empty() {
        Finding::fail(
            CHECK,
            format!("no route to {}", none.join("; ")),
            "check the addresses in cluster.toml, the interfaces ('ip address') and the routes ('ip route')",
        )
    } else if !odd.is_empty() {
        Finding::warn(
            CHECK,
            odd.join("; "),
            "put this node's and that node's address of a link on one network, or correct cluster.toml",
        )
    } else {
        Finding::ok(CHECK, "there is one to each other node's addresses")
    }
}

fn names(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "names";
    let mut wrong = Vec::new();
    for (id, answer) in &facts.lookups {
        let Some(node) = config.node(*id) else { continue };
        match answer {
            Err(why) => wrong.push(format!("{} does not resolve: {why}", node.name)),
            Ok(found) => {
                // Debian gives a machine's own name a loopback address; that is meant so.
                let own = own_node(facts) == Some(*id) && found.iter().any(IpAddr::is_loopback);
                if !own && !node.addresses.is_empty() && !found.iter().any(|a| node.addresses.contains(a)) {
                    let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
                    wrong.push(format!(
                        "{} resolves to {}, which is none of its addresses in cluster.toml",
                        node.name,
                        found.join(", ")
                    ));
                }
            }
        }
    }
    if wrong.is_empty() {
        return Finding::ok(CHECK, "every node's name resolves to its address");
    }
    Finding::warn(
        CHECK,
        wrong.join("; "),
        "the cluster itself uses addresses only, but people and services use names: put them into DNS or into /etc/hosts on every node",
    )
}

fn firewall(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "firewall";
    let links = config.nodes.values().map(|n| n.addresses.len()).max().unwrap_or(1).max(1);
    let first = config.membership.port;
    let last = first.saturating_add(u16::try_from(links - 1).unwrap_or(u16::MAX));
    match &facts.firewall {
        Seen::Missing => Finding::skipped(CHECK, "nft is not installed"),
        Seen::Unknown(why) => Finding::skipped(CHECK, why.as_str()),
        Seen::There(rules) => {
            match (first..=last).find_map(|port| firewall::refuses(rules, port).map(|chain| (port, chain))) {
                Some((port, chain)) => Finding::warn(
                    CHECK,
                    format!("the nftables chain '{chain}' seems to refuse UDP port {port}, which corosync needs"),
                    format!("let UDP ports {first} to {last} in from the other nodes"),
                ),
                None => Finding::ok(CHECK, format!("nftables has nothing against UDP port {first}")),
            }
        }
    }
}

fn corosync_key(facts: &Facts) -> Finding {
    const CHECK: &str = "corosync's key";
    let path = facts.places.corosync().key;
    match &facts.key_mode {
        Seen::There(mode) if mode & 0o077 == 0 => {
            Finding::ok(CHECK, format!("{} is there and only its owner may read it", path.display()))
        }
        Seen::There(mode) => Finding::fail(
            CHECK,
            format!("{} has mode {mode:04o}: others than its owner may read or change it", path.display()),
            format!("chmod 0400 {0}; if somebody may have read it, make a new one for all nodes", path.display()),
        ),
        Seen::Missing => Finding::fail(
            CHECK,
            format!("{} is not there", path.display()),
            "copy it from another node ('scp -p'), or, for the first node, make it with 'ssi create' or corosync-keygen",
        ),
        Seen::Unknown(why) => Finding::skipped(CHECK, format!("{}: {why}", path.display())),
    }
}

fn corosync_conf(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "corosync.conf";
    let path = facts.places.corosync().conf;
    match &facts.corosync_conf {
        Seen::Missing => Finding::warn(
            CHECK,
            format!("{} is not there", path.display()),
            "ssi-clusterd makes it when it starts; see its log: journalctl -u ssi-clusterd",
        ),
        Seen::Unknown(why) => Finding::skipped(CHECK, why.as_str()),
        Seen::There(text) => {
            let differences = compare::differences(config, text);
            let ours = text.starts_with(OUR_MARK);
            if differences.is_empty() {
                let whose = if ours { "made from" } else { "written by hand, and has the nodes of" };
                Finding::ok(CHECK, format!("it is {whose} cluster.toml"))
            } else if ours {
                Finding::fail(
                    CHECK,
                    format!("{} is not of this cluster.toml: {}", path.display(), differences.join("; ")),
                    "systemctl restart ssi-engine-config makes it anew, unless it was edited by hand; then have corosync read it: corosync-cfgtool -R",
                )
            } else {
                Finding::fail(
                    CHECK,
                    format!(
                        "{} was written by hand and says otherwise than cluster.toml: {}",
                        path.display(),
                        differences.join("; ")
                    ),
                    "correct it by hand on every node, or delete it and run 'systemctl restart ssi-engine-config corosync'",
                )
            }
        }
    }
}

fn corosync_runs(facts: &Facts) -> Finding {
    const CHECK: &str = "corosync";
    if facts.corosync_runs {
        Finding::ok(CHECK, "it runs")
    } else {
        Finding::fail(
            CHECK,
            "it does not run here",
            "systemctl start corosync; when it does not stay up, see journalctl -u corosync",
        )
    }
}

fn clock(facts: &Facts) -> Finding {
    const CHECK: &str = "clock";
    match &facts.clock {
        Ok(true) => Finding::ok(CHECK, "something keeps it right"),
        Ok(false) => Finding::warn(
            CHECK,
            "nothing keeps this machine's clock right, so times in the log and of shared files will differ between nodes",
            "install and start chrony or systemd-timesyncd on every node",
        ),
        Err(why) => Finding::skipped(CHECK, format!("the kernel does not tell (adjtimex): {why}")),
    }
}

fn daemon(facts: &Facts) -> Finding {
    const CHECK: &str = "ssi-clusterd";
    match &facts.picture {
        Ok(p) => Finding::ok(CHECK, format!("version {} answers", p.version)),
        Err(why) => Finding::fail(
            CHECK,
            why,
            "systemctl start ssi-clusterd; when it does not stay up, see journalctl -u ssi-clusterd",
        ),
    }
}

fn standing(facts: &Facts) -> Finding {
    const CHECK: &str = "membership";
    let Ok(p) = &facts.picture else { return Finding::skipped(CHECK, "ssi-clusterd does not answer") };
    let seen: Vec<String> = p.members.iter().map(u32::to_string).collect();
    let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
    match p.standing() {
        Standing::Member => Finding::ok(CHECK, format!("a member of view {} with quorum; members: {seen}", p.view)),
        Standing::Joining => Finding::warn(
            CHECK,
            "this node is getting in step with the other members",
            "wait a moment; when it stays so, see the log of ssi-clusterd on every member",
        ),
        Standing::NoQuorum => {
            let absent: Vec<String> =
                p.nodes.iter().filter(|n| !n.member).map(|n| format!("{} ({})", n.id, n.name)).collect();
            Finding::fail(
                CHECK,
                format!("no quorum: of {} nodes this one sees only {seen}", p.nodes.len()),
                format!("start, or reconnect, enough of: {}", absent.join(", ")),
            )
        }
        Standing::EngineDown(why) => Finding::fail(
            CHECK,
            format!("the engine {} cannot be reached: {why}", p.engine),
            "start the engine (systemctl start corosync), and see its log (journalctl -u corosync)",
        ),
    }
}

fn same_configuration(facts: &Facts) -> Finding {
    const CHECK: &str = "same cluster.toml";
    let Ok(p) = &facts.picture else { return Finding::skipped(CHECK, "ssi-clusterd does not answer") };
    let other: Vec<String> =
        p.nodes.iter().filter(|n| n.same_config == Some(false)).map(|n| format!("{} ({})", n.id, n.name)).collect();
    if other.is_empty() {
        return Finding::ok(CHECK, "all members that have told have this node's");
    }
    Finding::fail(
        CHECK,
        format!("another one than this node's is on node {}", other.join(", ")),
        "find out which is right, copy it to all nodes, and run 'systemctl reload ssi-clusterd' on those that had the wrong one",
    )
}

fn versions(facts: &Facts) -> Finding {
    const CHECK: &str = "versions";
    let Ok(p) = &facts.picture else { return Finding::skipped(CHECK, "ssi-clusterd does not answer") };
    let other: Vec<String> = p
        .nodes
        .iter()
        .filter(|n| n.member)
        .filter_map(|n| n.version.as_ref().filter(|v| **v != p.version).map(|v| format!("node {} runs {v}", n.id)))
        .collect();
    if other.is_empty() {
        return Finding::ok(CHECK, format!("all members that have told run {}", p.version));
    }
    Finding::warn(
        CHECK,
        format!("this node runs {}, {}", p.version, other.join(", ")),
        "fine during an upgrade; finish it soon",
    )
}

fn attached(facts: &Facts) -> Finding {
    const CHECK: &str = "daemons";
    let Ok(p) = &facts.picture else { return Finding::skipped(CHECK, "ssi-clusterd does not answer") };
    let without: Vec<String> =
        p.nodes.iter().filter(|n| n.member && !n.attached).map(|n| format!("{} ({})", n.id, n.name)).collect();
    if without.is_empty() {
        return Finding::ok(CHECK, "every member's ssi-clusterd takes part");
    }
    Finding::fail(
        CHECK,
        format!("members whose ssi-clusterd does not take part: node {}", without.join(", ")),
        "on them: systemctl start ssi-clusterd, and see journalctl -u ssi-clusterd",
    )
}

fn stuck(facts: &Facts) -> Finding {
    const CHECK: &str = "nodes on their way";
    let Ok(p) = &facts.picture else { return Finding::skipped(CHECK, "ssi-clusterd does not answer") };
    let script_ms = facts.config.as_ref().map_or(0, |c| u64::from(c.nodework.timeout_s) * 1000);
    let passing =
        [NodeState::ComingUp, NodeState::Shutdown, NodeState::GoingDown, NodeState::KCleanup, NodeState::UCleanup];
    let stuck: Vec<String> = p
        .nodes
        .iter()
        .filter(|n| n.node_state().is_some_and(|s| passing.contains(&s)))
        .filter_map(|n| {
            let age = facts.now_ms.saturating_sub(n.since_ms);
            (n.since_ms > 0 && age > script_ms + LONG_MS)
                .then(|| format!("node {} ({}) has been {} for {}", n.id, n.name, n.state, figures::span(age / 1000)))
        })
        .collect();
    if stuck.is_empty() {
        return Finding::ok(CHECK, "none for long");
    }
    Finding::warn(
        CHECK,
        stuck.join("; "),
        "see what its scripts do with 'ssi log --scripts'; without quorum nobody moves on",
    )
}

fn scripts(facts: &Facts) -> Finding {
    const CHECK: &str = "nodeup and nodedown scripts";
    let failed: Vec<String> = facts
        .scripts
        .iter()
        .filter(|s| logtext::is_failure(s))
        .map(|s| format!("{}.d/{} for node {} {} on node {}", s.kind, s.script, s.node, s.outcome, s.runner))
        .collect();
    if failed.is_empty() {
        return Finding::ok(CHECK, "none of the recent ones failed");
    }
    Finding::warn(CHECK, failed.join("; "), "see what they printed with 'ssi log --scripts'")
}

mod services;
#[cfg(test)]
mod tests;
