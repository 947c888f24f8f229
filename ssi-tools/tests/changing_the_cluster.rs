// SPDX-License-Identifier: GPL-2.0-or-later
//! Making a cluster, adding and removing nodes, and the doctor: the program as users see it, with files in a folder of the
//! test's own.

mod fake;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fake::{Fake, Refuse, entry, run_in};
use sha2::{Digest, Sha256};
use ssi_cluster::NodeId;
use ssi_cluster::config::{Config, EngineKind};

const FILE: &str = r#"# Ours.
name = "alpha"

[membership]
engine = "corosync"

[[node]]
id = 1
name = "node1"
address = "192.0.2.1"  # rack 3

[[node]]
id = 3
name = "node3"
address = "192.0.2.3"
"#;

fn id(n: u32) -> NodeId {
    NodeId::new(n).unwrap()
}

fn file_in(dir: &Path) -> std::path::PathBuf {
    dir.join("cluster.toml")
}

/// The text that the daemon was given, and the fingerprint of the one it replaces.
fn given(fake: &Fake) -> (String, String) {
    let asked = fake.asked();
    let (first, text) = asked.last().expect("nothing was asked of the daemon").split_once('\n').unwrap();
    (first.strip_prefix("replace ").unwrap().to_owned(), text.to_owned())
}

#[test]
fn a_node_is_added_on_all_members_under_a_number_nobody_had() {
    let fake = Fake::start();
    std::fs::write(file_in(fake.dir.path()), FILE).unwrap();
    // 2 is in the daemon's list and not in the file, 4 is only in the log.
    fake.set(|s| s.log = vec![entry(1, 4, "NEVERUP", "COMINGUP")]);
    let ended = fake.run(&["node", "add", "--name", "node5", "--address", "192.0.2.5"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    let (base, text) = given(&fake);
    let sum: String = Sha256::digest(FILE).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(base, sum);
    assert!(
        text.starts_with(FILE) && text.ends_with("\n[[node]]\nid = 5\nname = \"node5\"\naddress = \"192.0.2.5\"\n"),
        "{text}"
    );
    for wanted in [
        "Node 5 (node5) is in cluster.toml on all members",
        "authkey",
        "root@192.0.2.5",
        "ssi.node=5",
        "ssi wait --node 5",
    ] {
        assert!(ended.out.contains(wanted), "{wanted} is not in\n{}", ended.out);
    }
    // The daemon writes the file, on every node; the command does not.
    assert_eq!(std::fs::read_to_string(file_in(fake.dir.path())).unwrap(), FILE);
}

#[test]
fn what_the_daemon_refuses_is_not_done() {
    let fake = Fake::start();
    std::fs::write(file_in(fake.dir.path()), FILE).unwrap();
    for (error, status) in [
        ("org.freedesktop.DBus.Error.AccessDenied", 4),
        ("org.openssi.Cluster1.Error.Refused", 4),
        ("org.openssi.Cluster1.Error.NoQuorum", 3),
    ] {
        fake.set(|s| s.refuse = Some(Refuse(error, "because")));
        let ended = fake.run(&["node", "add", "--name", "node5", "--address", "192.0.2.5"]);
        assert_eq!((ended.status, ended.out.as_str()), (status, ""), "{error}");
        assert!(ended.err.contains("because"), "{}", ended.err);
        assert_eq!(std::fs::read_to_string(file_in(fake.dir.path())).unwrap(), FILE);
    }
}

#[test]
fn a_change_that_would_make_the_file_wrong_is_refused_with_the_reason() {
    let fake = Fake::start();
    std::fs::write(file_in(fake.dir.path()), FILE).unwrap();
    for (args, says) in [
        (&["--name", "node1", "--address", "192.0.2.9"][..], "name"),
        (&["--name", "node9", "--address", "192.0.2.1"], "address"),
        (&["--name", "node9", "--address", "192.0.2.9", "--id", "3"], "number 3 is taken"),
        (&["--name", "node9", "--address", "192.0.2.9", "--mac", "ff:ff:ff:ff:ff:ff"], "group of cards"),
        (&["--name", "node9", "--address", "192.0.2.9", "--context", "role=web"], "role"),
    ] {
        let ended = fake.run(&[&["node", "add"], args].concat());
        assert_eq!(ended.status, 4, "{args:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{args:?}: {}", ended.err);
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn without_a_daemon_only_this_machines_file_is_changed_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(file_in(dir.path()), FILE).unwrap();
    let ended = run_in(dir.path(), &["node", "add", "--name", "node9", "--address", "192.0.2.9", "--id", "9"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("on this machine only"), "{}", ended.out);
    assert!(Config::load(&file_in(dir.path())).unwrap().nodes.contains_key(&id(9)));
    let ended = run_in(dir.path(), &["node", "remove", "9"]);
    assert_eq!(ended.status, 4, "whether it is a member is not known");
    assert!(ended.err.contains("--force"));
    assert_eq!(run_in(dir.path(), &["node", "remove", "9", "--force"]).status, 0);
    assert_eq!(std::fs::read_to_string(file_in(dir.path())).unwrap(), FILE);
}

#[test]
fn a_node_in_use_is_not_removed() {
    let fake = Fake::start();
    std::fs::write(file_in(fake.dir.path()), FILE).unwrap();
    fake.set(|s| s.nodes[2] = fake::node(3, "UP", true));
    let ended = fake.run(&["node", "remove", "node3"]);
    assert_eq!(ended.status, 4);
    assert!(ended.err.contains("ssi node shutdown 3"), "{}", ended.err);
    let ended = fake.run(&["node", "remove", "1", "--force"]);
    assert_eq!(ended.status, 4, "a machine cannot take itself out");
    assert!(fake.asked().is_empty());
    assert_eq!(fake.run(&["node", "remove", "7"]).status, 1);

    fake.set(|s| s.nodes[2] = fake::node(3, "DOWN", false));
    let ended = fake.run(&["node", "remove", "3"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("/cluster/node3") && ended.out.contains("log"), "{}", ended.out);
    assert_eq!(given(&fake).1, FILE.split("\n[[node]]\nid = 3").next().unwrap());
}

#[test]
fn a_wrong_file_is_mended_before_it_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let add = &["node", "add", "--name", "node9", "--address", "192.0.2.9"];
    let ended = run_in(dir.path(), add);
    assert_eq!(ended.status, 1);
    assert!(ended.err.contains("ssi create"), "{}", ended.err);
    std::fs::write(file_in(dir.path()), "name = 3\n").unwrap();
    let ended = run_in(dir.path(), add);
    assert_eq!(ended.status, 1);
    assert!(ended.err.contains("cluster.toml:1:8"), "{}", ended.err);
}

#[test]
fn a_cluster_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let create = &["create", "--name", "beta", "--node-name", "first", "--engine", "solo"];
    let dry = run_in(dir.path(), &[&create[..], &["--dry-run"]].concat());
    assert_eq!((dry.status, dry.err.as_str()), (0, ""));
    assert!(!file_in(dir.path()).exists());

    assert_eq!(run_in(dir.path(), create).status, 0);
    assert_eq!(std::fs::read_to_string(file_in(dir.path())).unwrap(), dry.out);
    let config = Config::load(&file_in(dir.path())).unwrap();
    assert_eq!((config.name.as_str(), config.membership.engine), ("beta", EngineKind::Solo));
    assert_eq!(config.nodes[&id(1)].name, "first");
    assert!(!dir.path().join("corosync/authkey").exists(), "alone, it needs no key");

    let again = run_in(dir.path(), &["create", "--name", "gamma", "--engine", "solo"]);
    assert_eq!(again.status, 4);
    assert!(again.err.contains("already") && again.err.lines().count() == 1, "{}", again.err);
    assert_eq!(run_in(dir.path(), &["create", "--name", "gamma", "--engine", "solo", "--force"]).status, 0);
    assert_eq!(Config::load(&file_in(dir.path())).unwrap().name, "gamma");
    let bad = run_in(dir.path(), &["create", "--name", "no good", "--engine", "solo", "--force"]);
    assert_eq!(bad.status, 2);
    assert_eq!(Config::load(&file_in(dir.path())).unwrap().name, "gamma");
}

#[test]
fn the_key_is_made_once_and_outlives_force() {
    let dir = tempfile::tempdir().unwrap();
    let interfaces = ssi_tools::machine::interfaces().unwrap();
    if ssi_tools::machine::propose_address(&interfaces, ssi_tools::machine::default_source()).is_none() {
        let ended = run_in(dir.path(), &["create"]);
        assert_eq!(ended.status, 1, "no address that others could reach, and yet: {}", ended.out);
        return;
    }
    std::fs::create_dir(dir.path().join("corosync")).unwrap();
    let ended = run_in(dir.path(), &["create", "--node-name", "first"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let key = dir.path().join("corosync/authkey");
    let bytes = std::fs::read(&key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(run_in(dir.path(), &["create", "--node-name", "first", "--force"]).status, 0);
    assert_eq!(std::fs::read(&key).unwrap(), bytes);
    let ended = run_in(dir.path(), &["create", "--address", "203.0.113.77", "--force"]);
    assert_eq!(ended.status, 2, "an address that this machine does not have");
}

#[test]
fn the_doctor_works_with_a_dead_daemon_and_a_wrong_file() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run_in(dir.path(), &["doctor"]);
    assert_eq!((ended.status, ended.err.as_str()), (1, ""));
    assert!(ended.out.contains("FAIL  cluster.toml: ") && ended.out.contains("FAIL  ssi-clusterd: "), "{}", ended.out);
    std::fs::write(file_in(dir.path()), "name = 3\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(&run_in(dir.path(), &["doctor", "--json"]).out).unwrap();
    assert_eq!(json[0]["check"], "cluster.toml");
    assert_eq!(json[0]["level"], "fail");
    assert!(json[0]["found"].as_str().unwrap().contains("cluster.toml:1:8"));
}

#[test]
fn the_doctor_says_when_quorum_is_missing() {
    let fake = Fake::start();
    std::fs::write(file_in(fake.dir.path()), FILE).unwrap();
    fake.set(|s| {
        s.quorate = false;
        s.members = vec![1];
        s.nodes[1].member = false;
    });
    let ended = fake.run(&["doctor"]);
    assert_eq!(ended.status, 1);
    assert!(ended.out.contains("ok    ssi-clusterd: version 0.1.0 answers"), "{}", ended.out);
    assert!(ended.out.contains("FAIL  membership: no quorum: of 3 nodes this one sees only 1\n      -> start, or reconnect, enough of: 2 (node2), 3 (node3)"), "{}", ended.out);
}
