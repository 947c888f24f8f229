// SPDX-License-Identifier: GPL-2.0-or-later
//! Each fault is put into the facts of a healthy machine, and has to be noticed by its check and by no other.

use super::*;
use crate::cli::Places;
use crate::daemon::Picture;
use crate::doctor::Level;
use crate::machine::{Interface, Interfaces};
use ssi_cluster::client::{InstanceStatus, NodeStatus, ScriptStatus, ServiceStatus};
use ssi_cluster::config::FenceDevice;
use std::path::Path;

const FILE: &str = r#"
name = "alpha"
[membership]
engine = "corosync"
[[node]]
id = 1
name = "node1"
address = "192.0.2.1"
machine_id = "0123456789abcdef0123456789abcdef"
[[node]]
id = 2
name = "node2"
address = "192.0.2.2"
machine_id = "fedcba9876543210fedcba9876543210"
"#;

fn id(n: u32) -> NodeId {
    NodeId::new(n).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A machine on which all is well.
fn healthy() -> Facts {
    let config = Config::parse(Path::new("cluster.toml"), FILE.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let node = |n: u32| NodeStatus {
        id: n,
        name: format!("node{n}"),
        state: "UP".into(),
        since_ms: 1_000_000,
        member: true,
        attached: true,
        version: Some("0.1.0".into()),
        same_config: Some(true),
        ..NodeStatus::default()
    };
    let eth0 = Interface { up: true, loopback: false, addresses: vec![ip("192.0.2.1")], mac: None };
    Facts {
        places: Places { socket: "/s".into(), cluster_toml: "/c".into(), corosync_dir: "/k".into() },
        own: Some(Ok(id(1))),
        host_name: "node1.example.org".into(),
        interfaces: Ok(Interfaces::from([("eth0".to_owned(), eth0)])),
        routes: [(id(2), vec![(ip("192.0.2.2"), Ok(ip("192.0.2.1")))])].into(),
        lookups: [(id(1), Ok(vec![ip("127.0.1.1")])), (id(2), Ok(vec![ip("192.0.2.2")]))].into(),
        clock: Ok(true),
        firewall: Seen::There(serde_json::json!({"nftables": []})),
        corosync_runs: true,
        corosync_conf: Seen::There(ssi_cluster::corosync::render(&config)),
        key_mode: Seen::There(0o400),
        picture: Ok(Picture {
            engine: "corosync".into(),
            engine_state: "connected".into(),
            own: 1,
            quorate: true,
            synced: true,
            members: vec![1, 2],
            version: "0.1.0".into(),
            nodes: vec![node(1), node(2)],
            ..Picture::default()
        }),
        scripts: Vec::new(),
        services: Vec::new(),
        file_mode: Seen::There(0o644),
        now_ms: 100_000_000,
        config: Ok(config),
    }
}

/// Breaks one thing, and gives the level of the check that has to notice; no other check may.
fn noticed_by(check: &str, break_it: impl FnOnce(&mut Facts)) -> Level {
    let mut facts = healthy();
    break_it(&mut facts);
    let findings = all(&facts);
    for f in &findings {
        assert!(f.check == check || f.level == Level::Ok, "{} noticed what {check} should: {}", f.check, f.found);
    }
    let found = findings.iter().find(|f| f.check == check).unwrap_or_else(|| panic!("no check {check}"));
    assert!(matches!(found.level, Level::Ok | Level::Skipped) || found.advice.is_some(), "{check} gives no advice");
    found.level
}

fn picture(facts: &mut Facts) -> &mut Picture {
    facts.picture.as_mut().unwrap()
}

#[test]
fn a_healthy_node_passes_every_check() {
    for finding in all(&healthy()) {
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
    }
}

#[test]
fn each_fault_is_noticed_by_its_check_alone() {
    use Level::{Fail, Skipped, Warn};
    assert_eq!(noticed_by("host name", |f| f.host_name = "other".into()), Warn);
    assert_eq!(
        noticed_by("own addresses", |f| f.interfaces.as_mut().unwrap().get_mut("eth0").unwrap().up = false),
        Fail
    );
    assert_eq!(noticed_by("own addresses", |f| f.interfaces = Ok(Interfaces::new())), Fail);
    assert_eq!(
        noticed_by("other nodes' addresses", |f| {
            f.interfaces.as_mut().unwrap().get_mut("eth0").unwrap().addresses.push(ip("192.0.2.2"));
        }),
        Fail
    );
    assert_eq!(noticed_by("routes", |f| f.routes.get_mut(&id(2)).unwrap()[0].1 = Err("unreachable".into())), Fail);
    assert_eq!(noticed_by("routes", |f| f.routes.get_mut(&id(2)).unwrap()[0].1 = Ok(ip("198.51.100.1"))), Warn);
    assert_eq!(noticed_by("names", |f| drop(f.lookups.insert(id(2), Err("unknown".into())))), Warn);
    assert_eq!(noticed_by("names", |f| drop(f.lookups.insert(id(2), Ok(vec![ip("127.0.1.1")])))), Warn);
    assert_eq!(
        noticed_by("firewall", |f| {
            f.firewall = Seen::There(
                serde_json::json!({"nftables": [{"chain": {"family": "inet", "table": "f", "name": "in", "hook": "input", "policy": "drop"}}]}),
            );
        }),
        Warn
    );
    assert_eq!(noticed_by("firewall", |f| f.firewall = Seen::Missing), Skipped);
    assert_eq!(noticed_by("corosync's key", |f| f.key_mode = Seen::Missing), Fail);
    assert_eq!(noticed_by("corosync's key", |f| f.key_mode = Seen::There(0o644)), Fail);
    assert_eq!(noticed_by("corosync.conf", |f| f.corosync_conf = Seen::There("nodelist {\n}\n".into())), Fail);
    assert_eq!(noticed_by("corosync.conf", |f| f.corosync_conf = Seen::Missing), Warn);
    assert_eq!(noticed_by("corosync", |f| f.corosync_runs = false), Fail);
    assert_eq!(noticed_by("clock", |f| f.clock = Ok(false)), Warn);
    assert_eq!(noticed_by("clock", |f| f.clock = Err("not permitted".into())), Skipped);
    assert_eq!(noticed_by("ssi-clusterd", |f| f.picture = Err("nobody answers".into())), Fail);
    assert_eq!(noticed_by("membership", |f| picture(f).quorate = false), Fail);
    assert_eq!(noticed_by("membership", |f| picture(f).synced = false), Warn);
    assert_eq!(noticed_by("membership", |f| picture(f).engine_state = "gone".into()), Fail);
    assert_eq!(noticed_by("same cluster.toml", |f| picture(f).nodes[1].same_config = Some(false)), Fail);
    assert_eq!(noticed_by("versions", |f| picture(f).nodes[1].version = Some("0.2.0".into())), Warn);
    assert_eq!(noticed_by("daemons", |f| picture(f).nodes[1].attached = false), Fail);
    assert_eq!(noticed_by("nodes on their way", |f| picture(f).nodes[1].state = "UCLEANUP".into()), Warn);
    assert_eq!(
        noticed_by("nodeup and nodedown scripts", |f| {
            f.scripts.push(ScriptStatus { outcome: "timed-out".into(), ..ScriptStatus::default() });
        }),
        Warn
    );
}

fn with_a_service(facts: &mut Facts, change: impl FnOnce(&mut InstanceStatus)) {
    let mut instance = InstanceStatus {
        index: 0,
        unit: "db.service".into(),
        state: "running".into(),
        node: Some(2),
        to: None,
        unwatched: false,
    };
    change(&mut instance);
    facts.services = vec![ServiceStatus { instances: vec![instance], ..ServiceStatus::default() }];
}

fn with_fences(facts: &mut Facts, option: &str) {
    for node in facts.config.as_mut().unwrap().nodes.values_mut() {
        let options = [(option.to_owned(), "x".to_owned())].into();
        node.fence = Some(FenceDevice { agent: "fence_x".into(), action: "off".into(), options });
    }
}

#[test]
fn units_of_the_cluster_want_watchdogs_and_two_nodes_want_fences() {
    use Level::{Ok, Warn};
    assert_eq!(noticed_by("units of the cluster", |f| with_a_service(f, |_| ())), Warn);
    let fenced = |f: &mut Facts| with_fences(f, "password_script");
    let with = |change: fn(&mut InstanceStatus)| {
        noticed_by("units of the cluster", |f| {
            fenced(f);
            with_a_service(f, change);
        })
    };
    assert_eq!(with(|_| ()), Ok);
    assert_eq!(with(|one| one.unwatched = true), Warn);
    assert_eq!(with(|one| one.state = "failed".into()), Warn);
    assert_eq!(noticed_by("passwords in cluster.toml", |f| with_fences(f, "password")), Warn);
    let closed = noticed_by("passwords in cluster.toml", |f| {
        with_fences(f, "password");
        f.file_mode = Seen::There(0o640);
    });
    assert_eq!(closed, Ok);
}

#[test]
fn a_wrong_file_hides_what_depends_on_it_and_nothing_else() {
    let mut facts = healthy();
    facts.config = Err("cluster.toml:1:1: no".into());
    facts.own = None;
    let findings = all(&facts);
    assert_eq!(findings[0].level, Level::Fail);
    assert!(findings.iter().any(|f| f.check == "clock") && findings.iter().any(|f| f.check == "membership"));
    assert!(!findings.iter().any(|f| f.check == "routes"));
}

#[test]
fn a_node_that_just_started_coming_up_is_not_stuck() {
    let mut facts = healthy();
    facts.now_ms = 1_000_000 + 60_000 + LONG_MS;
    picture(&mut facts).nodes[1].state = "COMINGUP".into();
    assert_eq!(stuck(&facts).level, Level::Ok);
    facts.now_ms += 1;
    assert_eq!(stuck(&facts).level, Level::Warn);
}
