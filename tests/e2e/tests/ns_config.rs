// SPDX-License-Identifier: GPL-2.0-or-later
//! What an administrator changes while the cluster runs, on namespace nodes.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, moves};
use ssi_e2e::{Cluster, Options, eventually};
use ssi_lab::{Exit, Kind};

#[test]
fn a_fourth_node_is_added_while_the_others_run() -> Result<()> {
    let mut options = Options::new("fourth", Kind::Ns, 4);
    options.members = Some(3);
    let cluster = Cluster::start(options)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let out = cluster.ssi(2, &["node", "add", "--name", "node4", "--address", "10.77.0.4"])?;
    ensure!(out.success(), "{} {}", out.text(), out.error_text());
    // All have the same file now, and corosync's own tool counts the new node.
    let files = |c: &Cluster| -> Result<Vec<Vec<u8>>> {
        (1..=3).map(|n| Ok(c.lab.node(n)?.get("/etc/ssi/cluster.toml")?)).collect()
    };
    eventually("all have the new cluster.toml", || {
        Ok(files(&cluster)?.iter().all(|f| String::from_utf8_lossy(f).contains("10.77.0.4")))
    })?;
    let all = files(&cluster)?;
    ensure!(all.iter().all(|f| *f == all[0]));
    eventually("corosync expects four votes", || {
        let said = cluster.lab.node(3)?.exec(&["corosync-quorumtool", "-s"])?.text();
        Ok(said.contains("Expected votes:   4"))
    })?;
    // The new machine gets what the command said it needs: the file and the key.
    let (first, fourth) = (cluster.lab.node(1)?, cluster.lab.node(4)?);
    fourth.check(&["mkdir", "-p", "/etc/ssi", "/etc/corosync", "/var/lib/ssi"])?;
    for (file, mode) in [("/etc/ssi/cluster.toml", 0o644), ("/etc/corosync/authkey", 0o400)] {
        fourth.put(file, first.get(file)?, mode)?;
    }
    fourth.check(&["/usr/sbin/ssi-clusterd", "engine-config"])?;
    cluster.start_daemons(4)?;
    cluster.all_see_up(&[1, 2, 3, 4], 4)?;
    let log = assert_same_log(&cluster, &[1, 2, 3, 4])?;
    ensure!(moves(&log, 1) == ["COMINGUP", "UP"], "the others did not stay up: {log:?}");

    // A member is not removed; one that is gone is.
    let refused = cluster.ssi(1, &["node", "remove", "4"])?;
    ensure!(refused.status == Exit::Code(4), "{:?} {}", refused.status, refused.error_text());
    cluster.power_off(4)?;
    cluster.wait_state(1, 4, "DOWN")?;
    let removed = cluster.ssi(1, &["node", "remove", "4"])?;
    ensure!(removed.success(), "{}", removed.error_text());
    eventually("corosync expects three votes again", || {
        let said = cluster.lab.node(2)?.exec(&["corosync-quorumtool", "-s"])?.text();
        Ok(said.contains("Expected votes:   3"))
    })
}

#[test]
fn a_wrong_cluster_toml_is_told_by_place_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::start(Options::new("wrong", Kind::Ns, 3))?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let node = cluster.lab.node(2)?;
    let good = node.get("/etc/ssi/cluster.toml")?;
    let bad = String::from_utf8_lossy(&good).replace("id = 3", "id = 2");
    node.put("/etc/ssi/cluster.toml", &bad, 0o644)?;
    node.check(&["systemctl", "reload", "ssi-clusterd"])?;
    eventually("the daemon tells where it is wrong", || {
        let log = cluster.journal(2, "ssi-clusterd")?;
        Ok(log.contains("/etc/ssi/cluster.toml:") && log.contains("stays as it was"))
    })?;
    ensure!(cluster.ssi(2, &["status"])?.success());
    // Somebody who edits on another node meanwhile is not overruled, and told so.
    node.put("/etc/ssi/cluster.toml", &good, 0o644)?;
    assert_same_log(&cluster, &[1, 2, 3]).map(drop)
}

#[test]
fn a_node_is_shut_down_from_another_and_a_failing_shutdown_is_called_off() -> Result<()> {
    let cluster = Cluster::start(Options::new("shutdown", Kind::Ns, 3))?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    // What the daemon calls first finds a program that fails.
    let fake = "#!/bin/sh\necho the watchdog barks >&2\nexit 1\n";
    cluster.lab.node(3)?.put("/usr/local/sbin/shutdown", fake, 0o755)?;
    let out = cluster.ssi(1, &["node", "shutdown", "3"])?;
    ensure!(out.success(), "{}", out.error_text());
    eventually("the failed shutdown is called off", || {
        Ok(moves(&cluster.log(1)?, 3) == ["COMINGUP", "UP", "SHUTDOWN", "UP"])
    })?;
    let log = cluster.ssi(1, &["log"])?.text();
    ensure!(log.contains("the watchdog barks"), "{log}");

    // The machine's own shutdown is called then, and its init ends all in order.
    cluster.lab.node(3)?.check(&["rm", "/usr/local/sbin/shutdown"])?;
    ensure!(cluster.ssi(1, &["node", "shutdown", "node3", "--reboot"])?.success());
    cluster.wait_state(1, 3, "DOWN")?;
    assert_same_log(&cluster, &[1, 2]).map(drop)
}

#[test]
fn one_machine_alone_needs_no_engine() -> Result<()> {
    let mut options = Options::new("solo", Kind::Ns, 1);
    options.members = Some(0);
    let cluster = Cluster::start(options)?;
    cluster.wait_booted(1)?;
    let node = cluster.lab.node(1)?;
    let made = cluster.ssi(1, &["create", "--name", "alone", "--engine", "solo"])?;
    ensure!(made.success(), "{} {}", made.text(), made.error_text());
    node.check(&["mkdir", "-p", "/var/lib/ssi"])?;
    node.check(&["systemctl", "start", "ssi-clusterd"])?;
    cluster.wait_up(1, 1)?;
    let status = cluster.status(1)?;
    ensure!(status["quorate"] == true && status["init_node"] == 1, "{status}");
    // OpenSSI's names are the same program.
    node.check(&["ln", "-sf", "ssi", "/usr/bin/clusternode_num"])?;
    node.check(&["ln", "-sf", "ssi", "/usr/bin/cluster"])?;
    ensure!(node.check(&["clusternode_num"])?.text() == "1");
    ensure!(node.check(&["cluster", "-v"])?.text() == "1: UP");
    Ok(())
}
