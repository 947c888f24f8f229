// SPDX-License-Identifier: GPL-2.0-or-later
//! Everything that can happen to a member, on namespace nodes with corosync between them.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, moves, number};
use ssi_e2e::{Cluster, Options, eventually};
use ssi_lab::{Exit, Kind, Slowness};

fn up(name: &str, nodes: u32) -> Result<Cluster> {
    let cluster = Cluster::start(Options::new(name, Kind::Ns, nodes))?;
    let all: Vec<u32> = (1..=nodes).collect();
    cluster.all_see_up(&all, nodes)?;
    Ok(cluster)
}

/// `ssi status` of a node without quorum: says so, and its exit status says it too.
fn says_no_quorum(cluster: &Cluster, node: u32) -> Result<bool> {
    let out = cluster.ssi(node, &["status"])?;
    let text = (out.text() + &out.error_text()).to_lowercase();
    Ok(out.status == Exit::Code(3) && text.contains("no quorum"))
}

#[test]
fn the_smaller_half_of_five_loses_quorum_and_the_larger_goes_on() -> Result<()> {
    let cluster = up("half", 5)?;
    let before = cluster.log(1)?.len();
    cluster.lab.cut_groups(&[vec![1, 2], vec![3, 4, 5]])?;
    for n in 3..=5 {
        cluster.wait_state(n, 1, "DOWN")?;
        cluster.wait_state(n, 2, "DOWN")?;
    }
    for n in 1..=2 {
        eventually("the minority says it has no quorum", || says_no_quorum(&cluster, n))?;
        ensure!(cluster.log(n)?.len() == before, "node {n} decided something without quorum");
    }
    // What changes anything is refused there, with the exit status for it.
    let refused = cluster.ssi(1, &["node", "shutdown", "2"])?;
    ensure!(refused.status == Exit::Code(3), "{:?} {}", refused.status, refused.error_text());
    let status = cluster.status(3)?;
    ensure!(status["quorate"] == true && status["init_node"] == 3, "{status}");
    cluster.lab.heal()?;
    cluster.all_see_up(&[1, 2, 3, 4, 5], 5)?;
    let log = assert_same_log(&cluster, &[1, 2, 3, 4, 5])?;
    ensure!(moves(&log, 1) == ["COMINGUP", "UP", "KCLEANUP", "UCLEANUP", "DOWN", "COMINGUP", "UP"], "{log:?}");
    Ok(())
}

#[test]
fn a_frozen_node_is_lost_and_comes_back_when_it_thaws() -> Result<()> {
    let cluster = up("freeze", 3)?;
    cluster.lab.freeze(2)?;
    cluster.wait_state(1, 2, "DOWN")?;
    cluster.wait_state(3, 2, "DOWN")?;
    cluster.lab.thaw(2)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(moves(&log, 2).contains(&"KCLEANUP"), "{log:?}");
    Ok(())
}

#[test]
fn a_node_that_hears_nobody_is_out_on_both_sides() -> Result<()> {
    let cluster = up("deaf", 3)?;
    cluster.lab.deafen(3)?;
    cluster.wait_state(1, 3, "DOWN")?;
    cluster.wait_state(2, 3, "DOWN")?;
    eventually("the deaf node says it has no quorum", || says_no_quorum(&cluster, 3))?;
    cluster.lab.heal()?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    assert_same_log(&cluster, &[1, 2, 3]).map(drop)
}

#[test]
fn a_killed_engine_does_not_take_the_daemon_with_it() -> Result<()> {
    let cluster = up("engine", 3)?;
    let daemon = || -> Result<_> { cluster.main_process(2, "ssi-clusterd") };
    let before = daemon()?;
    // Started again at once, it may be back before the others are sure that it was gone; then nothing happened.
    cluster.kill_daemon(2, "corosync")?;
    eventually("node 2 is in step again", || Ok(cluster.ssi(2, &["status"])?.success()))?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    assert_same_log(&cluster, &[1, 2, 3])?;
    // Away for long, it costs the membership and nothing more.
    cluster.lab.node(2)?.check(&["systemctl", "stop", "corosync"])?;
    cluster.wait_state(1, 2, "DOWN")?;
    cluster.wait_state(3, 2, "DOWN")?;
    let said = cluster.ssi(2, &["status"])?;
    ensure!(said.status == Exit::Code(3), "{:?} {}", said.status, said.text());
    cluster.lab.node(2)?.check(&["systemctl", "start", "corosync"])?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(daemon()? == before, "the daemon died with its engine");
    Ok(())
}

#[test]
fn a_killed_helper_process_costs_nothing() -> Result<()> {
    let cluster = up("helper", 3)?;
    let before = assert_same_log(&cluster, &[1, 2, 3])?;
    for _ in 0..5 {
        // The daemon may not have noticed the last death when it says that all is well.
        eventually("node 2 has a helper", || {
            Ok(cluster.lab.node(2)?.exec(&["pkill", "-KILL", "-x", "ssi-engine-coro"])?.success())
        })?;
        eventually("node 2 is in step again", || Ok(cluster.ssi(2, &["status"])?.success()))?;
    }
    let after = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(before == after, "{:?}", &after[before.len()..]);
    Ok(())
}

#[test]
fn two_nodes_keep_quorum_when_one_is_lost() -> Result<()> {
    let cluster = up("two", 2)?;
    cluster.power_off(1)?;
    cluster.wait_state(2, 1, "DOWN")?;
    ensure!(cluster.ssi(2, &["status"])?.success());
    cluster.power_on(1)?;
    cluster.all_see_up(&[1, 2], 2)?;
    assert_same_log(&cluster, &[1, 2]).map(drop)
}

#[test]
fn one_of_two_links_is_enough() -> Result<()> {
    let mut options = Options::new("links", Kind::Ns, 3);
    options.two_networks = true;
    let cluster = Cluster::start(options)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    // The first link that works makes members; the second may need another moment.
    for n in 1..=3 {
        eventually("every link to every node is up", || {
            let links = cluster.lab.node(n)?.exec(&["corosync-cfgtool", "-s"])?.text();
            Ok(links.matches("LINK ID").count() == 2 && links.matches(":\tconnected").count() == 4)
        })?;
    }
    // knet is patient with a link that has just come up: it waits ten times as long for an answer, and less with each
    // that it gets. A link lost in that first moment is noticed after the token is.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = assert_same_log(&cluster, &[1, 2, 3])?;
    cluster.lab.link_down(2, 0)?;
    // Corosync's own tool says when it has noticed; only then does it mean something that nothing happened.
    eventually("node 1's link 0 to node 2 is down", || {
        Ok(cluster.lab.node(1)?.exec(&["corosync-cfgtool", "-s"])?.text().contains("disconnected"))
    })?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(assert_same_log(&cluster, &[1, 2, 3])? == before, "a lost link cost a membership");
    Ok(())
}

#[test]
fn a_full_disk_and_garbage_at_the_socket_do_not_stop_a_member() -> Result<()> {
    let cluster = up("full", 3)?;
    let node = cluster.lab.node(2)?;
    cluster.lab.fill(2, "/var/lib")?;
    // Written by somebody who means another service: every connection is taken, none is understood.
    let garbage = "head -c 20000 /dev/urandom >/tmp/garbage; for i in 1 2 3 4 5; do \
        curl --silent --max-time 1 --unix-socket /run/ssi/clusterd.sock --data-binary @/tmp/garbage http://clusterd/; \
        test $? -ne 7 || { echo 'the socket takes no connection' >&2; exit 1; }; done";
    node.shell(garbage)?;
    cluster.power_off(3)?;
    cluster.wait_state(1, 3, "DOWN")?;
    cluster.wait_state(2, 3, "DOWN")?;
    cluster.power_on(3)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    cluster.lab.unfill(2, "/var/lib")?;
    // With room again, what it holds is on its disk again: started anew it has the whole log.
    cluster.kill_daemon(2, "ssi-clusterd")?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(log.iter().all(|e| number(e, "node") != 2 || e["to"] != "KCLEANUP"), "{log:?}");
    Ok(())
}

#[test]
fn a_read_only_disk_does_not_stop_a_member() -> Result<()> {
    let cluster = up("readonly", 3)?;
    let node = cluster.lab.node(2)?;
    node.shell("mount --bind /var/lib/ssi /var/lib/ssi && mount -o remount,bind,ro /var/lib/ssi")?;
    cluster.power_off(3)?;
    cluster.wait_state(2, 3, "DOWN")?;
    // Started again with a disk that takes nothing, it learns from the others what it could not keep.
    cluster.kill_daemon(2, "ssi-clusterd")?;
    cluster.power_on(3)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    assert_same_log(&cluster, &[1, 2, 3])?;
    node.shell("umount /var/lib/ssi")?;
    cluster.kill_daemon(2, "ssi-clusterd")?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(log.iter().all(|e| number(e, "node") != 2 || e["to"] != "KCLEANUP"), "{log:?}");
    Ok(())
}

#[test]
fn a_slow_and_lossy_node_stays_a_member() -> Result<()> {
    let cluster = up("slow", 3)?;
    cluster.lab.slow(2, Slowness { loss_percent: Some(3), rate_kbit: Some(256), ..Slowness::default() })?;
    cluster.power_off(3)?;
    cluster.wait_state(2, 3, "DOWN")?;
    cluster.power_on(3)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    cluster.lab.slow(2, Slowness::default())?;
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(log.iter().all(|e| number(e, "node") != 2 || e["to"] != "KCLEANUP"), "{log:?}");
    Ok(())
}

#[test]
fn a_cluster_that_was_all_off_goes_on_where_it_was() -> Result<()> {
    let cluster = up("off", 3)?;
    let before = assert_same_log(&cluster, &[1, 2, 3])?;
    for n in 1..=3 {
        cluster.power_off(n)?;
    }
    for n in 1..=3 {
        cluster.power_on(n)?;
    }
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let after = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(after.len() > before.len() && after[..before.len()] == before, "{before:?}\n{after:?}");
    Ok(())
}
