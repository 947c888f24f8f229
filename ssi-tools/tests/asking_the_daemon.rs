// SPDX-License-Identifier: GPL-2.0-or-later
//! The program as users and scripts see it, against a daemon whose state the test sets: what is printed, where, and with
//! which exit status it ends.

mod fake;

use std::time::Duration;

use fake::{Fake, Refuse, Running, entry, node, run_in, ssi_in};
use ssi_cluster::client::ScriptStatus;

#[test]
fn status_shows_the_cluster() {
    let fake = Fake::start();
    let ended = fake.run(&["status"]);
    let wanted = "\
Cluster alpha   view 7, members: 2 of 3, UP: 2
Quorum, corosync is connected
This is node 1 (node1); init node: 1

NODE  NAME   STATE    ROLE        LOAD  CPUS  MEMORY USED/TOTAL  UPTIME
   1  node1  UP       init, this  0.25     2  3.0 GiB / 4.0 GiB   1h 1m
   2  node2  UP                   0.25     2  3.0 GiB / 4.0 GiB   1h 1m
   3  node3  NEVERUP                 -     -                  -       -
";
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, wanted, ""), "{}", ended.out);
}

#[test]
fn status_as_json_can_be_relied_on() {
    let fake = Fake::start();
    let ended = fake.run(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["cluster"], "alpha");
    assert_eq!(json["view"], 7);
    assert_eq!(json["quorate"], true);
    assert_eq!(json["members"], serde_json::json!([1, 2]));
    assert_eq!(json["nodes"][0]["since"], "2023-11-14T22:13:20.000Z");
    assert_eq!(json["nodes"][2]["load"], serde_json::Value::Null);
    assert_eq!(ended.status, 0);
}

#[test]
fn want_of_quorum_is_shown_and_is_exit_status_3() {
    let fake = Fake::start();
    fake.set(|s| {
        s.quorate = false;
        s.members = vec![1];
    });
    let ended = fake.run(&["status"]);
    assert_eq!(ended.status, 3);
    assert!(ended.out.contains("\nNO QUORUM: "), "{}", ended.out);
    assert!(ended.out.contains("node1"), "the screen is still shown");
    fake.set(|s| s.engine_state = "corosync is not running".into());
    let ended = fake.run(&["status"]);
    assert_eq!(ended.status, 3);
    assert!(ended.out.contains("NOT CONNECTED to corosync: corosync is not running"), "{}", ended.out);
}

#[test]
fn a_dead_daemon_is_one_sentence_and_exit_status_3() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["status"][..],
        &["node", "list"],
        &["node", "show", "1"],
        &["node", "shutdown", "1"],
        &["log"],
        &["log", "--follow"],
    ] {
        let ended = run_in(dir.path(), args);
        assert_eq!(ended.status, 3, "{args:?}");
        assert_eq!(ended.out, "");
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.starts_with("ssi: ssi-clusterd does not run here"), "{}", ended.err);
    }
}

#[test]
fn a_daemon_that_hangs_does_not_hang_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let _listens_and_says_nothing = std::os::unix::net::UnixListener::bind(fake::socket_in(dir.path())).unwrap();
    let ended = run_in(dir.path(), &["status"]);
    assert_eq!(ended.status, 3);
    assert!(ended.err.contains("hangs or is stopped"), "{}", ended.err);
}

#[test]
fn a_pipe_gets_no_colour_and_a_closed_one_no_complaint() {
    let fake = Fake::start();
    assert!(!fake.run(&["status"]).out.contains('\x1b'));
    fake.set(|s| s.log = (1..=3000).map(|id| entry(id, 2, "COMINGUP", "UP")).collect());
    let mut child = fake
        .command(&["log"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = fake::Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
}

#[test]
fn a_node_is_found_by_number_and_by_name() {
    let fake = Fake::start();
    let by_number = fake.run(&["node", "show", "2"]);
    assert_eq!(by_number.status, 0);
    assert!(by_number.out.starts_with("Node: 2\nName: node2\n"));
    assert_eq!(fake.run(&["node", "show", "node2"]).out, by_number.out);
    let ended = fake.run(&["node", "show", "node9"]);
    assert_eq!(ended.status, 1);
    assert_eq!(ended.err, "ssi: there is no node 'node9' in cluster.toml; there are 1 (node1), 2 (node2), 3 (node3)\n");
    let json: serde_json::Value = serde_json::from_str(&fake.run(&["node", "list", "--json"]).out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
}

#[test]
fn shutdown_is_passed_on_and_refusals_have_their_exit_status() {
    let fake = Fake::start();
    assert_eq!(fake.run(&["node", "shutdown", "node2", "--reboot"]).status, 0);
    assert_eq!(fake.asked(), ["shutdown 2 true"]);
    for (refuse, status, says) in [
        (Refuse("org.freedesktop.DBus.Error.AccessDenied", "become root"), 4, "become root"),
        (Refuse("org.openssi.Cluster1.Error.Refused", "it is DOWN"), 4, "it is DOWN"),
        (Refuse("org.openssi.Cluster1.Error.NoQuorum", "one of three"), 3, "one of three"),
        (Refuse("org.openssi.Cluster1.Error.NotAMember", "joining"), 3, "joining"),
    ] {
        fake.set(|s| s.refuse = Some(refuse.clone()));
        let ended = fake.run(&["node", "shutdown", "2"]);
        assert_eq!(ended.status, status, "{refuse:?}: {}", ended.err);
        assert!(ended.err.contains(says) && ended.err.lines().count() == 1, "{}", ended.err);
        assert_eq!(ended.out, "");
    }
}

#[test]
fn wait_ends_when_the_signal_comes_and_not_at_the_next_look() {
    let fake = Fake::start();
    assert_eq!(fake.run(&["wait", "--up", "2", "--quorum"]).status, 0);
    let mut waiting = Running::start(fake.command(&["wait", "--up", "3", "--timeout", "20s"]));
    std::thread::sleep(Duration::from_millis(300));
    fake.move_node(entry(1, 3, "NEVERUP", "COMINGUP"));
    std::thread::sleep(Duration::from_millis(100));
    fake.move_node(entry(2, 3, "COMINGUP", "UP"));
    assert_eq!(waiting.end().0, 0);
}

#[test]
fn wait_looks_by_itself_when_a_signal_was_lost() {
    let fake = Fake::start();
    let mut waiting = Running::start(fake.command(&["wait", "--node", "node3", "--state", "down", "--timeout", "20s"]));
    std::thread::sleep(Duration::from_millis(300));
    fake.set(|s| s.nodes[2].state = "DOWN".into());
    assert_eq!(waiting.end().0, 0);
}

#[test]
fn wait_says_what_is_missing_when_its_time_is_up() {
    let fake = Fake::start();
    let ended = fake.run(&["wait", "--up", "3", "--timeout", "400ms"]);
    assert_eq!((ended.status, ended.err.as_str()), (1, "ssi: gave up after 400 ms: 2 of 3 nodes are UP (node 1, 2)\n"));
    fake.set(|s| s.quorate = false);
    let ended = fake.run(&["wait", "--quorum", "--timeout", "1s"]);
    assert_eq!((ended.status, ended.err.as_str()), (1, "ssi: gave up after 1s: there is no quorum\n"));
}

#[test]
fn wait_waits_for_the_daemon_too() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run_in(dir.path(), &["wait", "--quorum", "--timeout", "600ms"]);
    assert_eq!(ended.status, 1);
    assert!(ended.err.contains("ssi-clusterd does not run here"), "{}", ended.err);
    let state = {
        let (_, state) = Fake::start().stop();
        state
    };
    let mut waiting = Running::start(ssi_in(dir.path(), &["wait", "--quorum", "--timeout", "20s"]));
    std::thread::sleep(Duration::from_millis(400));
    let _fake = Fake::start_in(dir, state);
    assert_eq!(waiting.end().0, 0);
}

#[test]
fn the_log_is_read_over_all_its_pages() {
    let fake = Fake::start();
    fake.set(|s| {
        s.page = 7;
        s.log = (5..=40).map(|id| entry(id, 2, "COMINGUP", "UP")).collect();
    });
    let ended = fake.run(&["log", "--utc"]);
    assert_eq!(ended.status, 0);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[0], "-- entries 1 to 4 are no longer kept");
    assert_eq!(lines[1], "    5  2023-11-14T22:13:25.000Z  node 2: COMINGUP -> UP  (cause 5)");
    assert_eq!(lines.len(), 37);
    assert!(lines[36].starts_with("   40  "));
    let ended = fake.run(&["log", "--since", "39", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (json["kind"].as_str(), json["id"].as_u64(), json["to"].as_str()),
        (Some("transition"), Some(40), Some("UP"))
    );
    assert_eq!(fake.run(&["log", "--since", "40"]).out, "");
}

#[test]
fn following_loses_nothing_and_doubles_nothing() {
    let fake = Fake::start();
    fake.set(|s| s.log = vec![entry(1, 2, "NEVERUP", "COMINGUP")]);
    let following = Running::start(fake.command(&["log", "--follow", "--utc"]));
    assert!(following.line().starts_with("    1  "));
    fake.move_node(entry(2, 2, "COMINGUP", "UP"));
    assert!(following.line().starts_with("    2  "));
    // A burst whose signals outrun the reading of them.
    for id in 3..60 {
        fake.move_node(entry(id, 2, "UP", "SHUTDOWN"));
    }
    // One that no signal tells of.
    fake.set(|s| s.log.push(entry(60, 2, "UP", "SHUTDOWN")));
    for id in 3..=60 {
        let line = following.line();
        assert!(line.trim_start().starts_with(&format!("{id}  ")), "{id}: {line}");
    }
    assert!(following.is_silent_for(Duration::from_millis(1500)));
}

#[test]
fn following_tells_of_a_rewritten_log() {
    let fake = Fake::start();
    fake.set(|s| {
        s.log = vec![entry(1, 2, "NEVERUP", "COMINGUP"), entry(2, 2, "COMINGUP", "UP"), entry(3, 2, "UP", "SHUTDOWN")]
    });
    let following = Running::start(fake.command(&["log", "-f", "--utc"]));
    for _ in 0..3 {
        following.line();
    }
    std::thread::sleep(Duration::from_millis(200));
    fake.rewrite_log(2, vec![entry(2, 2, "COMINGUP", "KCLEANUP")]);
    assert!(following.line().contains("from entry 2 on"));
    assert!(following.line().contains("    2  "));
    assert!(following.is_silent_for(Duration::from_millis(1200)));
}

#[test]
fn following_goes_on_after_the_daemon_was_away_and_notices_what_changed_meanwhile() {
    let fake = Fake::start();
    fake.set(|s| s.log = vec![entry(1, 2, "NEVERUP", "COMINGUP"), entry(2, 2, "COMINGUP", "UP")]);
    let following = Running::start(fake.command(&["log", "-f", "--utc"]));
    following.line();
    following.line();
    let (dir, mut state) = fake.stop();
    state.log.truncate(1);
    state.log.push(entry(2, 2, "COMINGUP", "KCLEANUP"));
    state.log.push(entry(3, 2, "KCLEANUP", "UCLEANUP"));
    let _fake = Fake::start_in(dir, state);
    assert!(following.line().contains("from entry 2 on"));
    assert!(following.line().contains("KCLEANUP"));
    assert!(following.line().contains("UCLEANUP"));
}

#[test]
fn scripts_are_listed_with_what_the_failed_ones_said() {
    let fake = Fake::start();
    fake.set(|s| {
        s.scripts = vec![ScriptStatus {
            transition: 4,
            kind: "nodeup".into(),
            node: 2,
            script: "10-mount".into(),
            runner: 1,
            outcome: "failed".into(),
            status: Some(32),
            output: Some("no such device\n".into()),
        }];
    });
    let ended = fake.run(&["log", "--scripts"]);
    assert!(ended.out.contains("10-mount") && ended.out.contains("    no such device\n"), "{}", ended.out);
    let json: serde_json::Value = serde_json::from_str(&fake.run(&["log", "--scripts", "--json"]).out).unwrap();
    assert_eq!(json[0]["status"], 32);
}

#[test]
fn watching_into_a_pipe_appends_and_survives_the_daemons_restart() {
    let fake = Fake::start();
    let watching = Running::start(fake.command(&["status", "--watch", "--json"]));
    let first: serde_json::Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!(first["view"], 7);
    fake.set(|s| s.view = 8);
    fake.tell_membership();
    let view_of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["view"].as_u64();
    while view_of(&watching.line()) != Some(8) {}
    fake.hang_up();
    fake.set(|s| s.view = 9);
    while view_of(&watching.line()) != Some(9) {}
}

#[test]
fn openssis_commands_print_what_scripts_expect() {
    let fake = Fake::start();
    fake.set(|s| s.nodes[1] = node(2, "COMINGUP", true));
    let out = |name: &str, args: &[&str]| {
        let ended = fake.run_as(name, args);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{name} {args:?}");
        ended.out
    };
    assert_eq!(out("cluster", &[]), "1\n");
    assert_eq!(out("/usr/bin/cluster", &["-v"]), "1: UP\n2: COMINGUP\n3: NEVERUP\n");
    assert!(out("cluster", &["-V", "2"]).starts_with("Node: 2\nName: node2\nAddresses: 192.0.2.2\nState: COMINGUP\n"));
    assert_eq!(out("clustername", &[]), "alpha\n");
    assert_eq!(out("clusternode_num", &[]), "1\n");
    assert_eq!(out("clusternode_getstate", &["node2"]), "COMINGUP\n");
    assert_eq!(out("loads", &[]), "1: 250\n");
    assert_eq!(out("loads", &["-n", "2"]), "2: 250\n");
    assert_eq!(fake.run_as("clusternode_getstate", &[]).status, 2);
    let ended = fake.run_as("loads", &["-n", "3"]);
    assert_eq!((ended.status, ended.err.as_str()), (1, "loads: node 3 (node3) has not told its load; it is NEVERUP\n"));
}

#[test]
fn wrong_use_is_exit_status_2_and_help_is_not_wrong() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_in(dir.path(), &["nonsense"]).status, 2);
    assert_eq!(run_in(dir.path(), &["wait"]).status, 2);
    let help = run_in(dir.path(), &["node", "add", "--help"]);
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    assert!(help.out.contains("--address") && !help.out.contains("--socket"));
    for shell in ["bash", "zsh", "fish"] {
        let ended = run_in(dir.path(), &["completions", shell]);
        assert!(ended.status == 0 && ended.out.contains("doctor"), "{shell}");
    }
}
