// SPDX-License-Identifier: GPL-2.0-or-later
//! The work between COMINGUP and UP and between UCLEANUP and DOWN, on namespace nodes.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, moves};
use ssi_e2e::{Cluster, Options, eventually};
use ssi_lab::Kind;

/// Leaves a line when it begins and one when it ends, and takes as long as it is told in a file, by default no time.
const SLOW: &str = "#!/bin/sh\necho \"begin $SSI_TRANSITION $SSI_EVENT $SSI_EVENT_NODE\" >>/var/log/slow\n\
    sleep \"$(cat /etc/ssi/slow 2>/dev/null || echo 0)\"\necho \"end $SSI_TRANSITION $SSI_EVENT $SSI_EVENT_NODE\" >>/var/log/slow\n";

fn start(name: &str, nodes: u32) -> Result<Cluster> {
    let cluster = Cluster::start(Options::new(name, Kind::Ns, nodes))?;
    let all: Vec<u32> = (1..=nodes).collect();
    for &n in &all {
        cluster.lab.node(n)?.put("/etc/ssi/nodedown.d/50-slow", SLOW, 0o755)?;
    }
    cluster.all_see_up(&all, nodes)?;
    Ok(cluster)
}

fn lines(cluster: &Cluster, node: u32) -> Result<Vec<String>> {
    let text = cluster.lab.node(node)?.shell("cat /var/log/slow 2>/dev/null || true")?.text();
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn another_takes_over_when_the_init_node_dies_in_the_middle() -> Result<()> {
    let cluster = start("takeover", 5)?;
    cluster.lab.node(1)?.put("/etc/ssi/slow", "1000", 0o644)?;
    cluster.power_off(5)?;
    eventually("node 1 has begun", || Ok(lines(&cluster, 1)?.len() == 1))?;
    cluster.power_off(1)?;
    cluster.wait_state(2, 5, "DOWN")?;
    cluster.wait_state(2, 1, "DOWN")?;
    // The init node's successor ran the work that was cut and the work for the init node itself, each once to its end.
    let mut done = lines(&cluster, 2)?;
    done.sort();
    let ends: Vec<&String> = done.iter().filter(|l| l.starts_with("end")).collect();
    ensure!(ends.len() == 2 && done.len() == 4, "{done:?}");
    let scripts = cluster.ssi(2, &["log", "--scripts"])?.text();
    ensure!(scripts.contains("lost"), "{scripts}");
    Ok(())
}

#[test]
fn a_daemon_killed_in_the_middle_of_a_script_does_not_run_it_again() -> Result<()> {
    let cluster = start("once", 3)?;
    cluster.lab.node(1)?.put("/etc/ssi/slow", "4", 0o644)?;
    cluster.power_off(3)?;
    eventually("node 1 has begun", || Ok(lines(&cluster, 1)?.len() == 1))?;
    for _ in 0..3 {
        cluster.kill_daemon(1, "ssi-clusterd")?;
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    cluster.wait_state(1, 3, "DOWN")?;
    cluster.wait_state(2, 3, "DOWN")?;
    let ran = lines(&cluster, 1)?;
    ensure!(ran.len() == 2 && lines(&cluster, 2)?.is_empty(), "{ran:?} {:?}", lines(&cluster, 2)?);
    Ok(())
}

#[test]
fn a_script_that_fails_or_hangs_is_shown_and_does_not_keep_the_node_out() -> Result<()> {
    let cluster = start("fail", 3)?;
    let toml = cluster.cluster_toml() + "\n[nodework]\ntimeout_s = 1\n";
    for n in 1..=3 {
        let node = cluster.lab.node(n)?;
        node.put("/etc/ssi/nodeup.d/10-broken", "#!/bin/sh\necho the printer is on fire >&2\nexit 7\n", 0o755)?;
        node.put("/etc/ssi/nodeup.d/20-hangs", "#!/bin/sh\nsleep 1000\n", 0o755)?;
        node.put("/etc/ssi/cluster.toml", &toml, 0o644)?;
    }
    // The limit is read at start.
    for n in 1..=3 {
        cluster.kill_daemon(n, "ssi-clusterd")?;
    }
    cluster.all_see_up(&[1, 2, 3], 3)?;
    cluster.power_off(3)?;
    cluster.wait_state(1, 3, "DOWN")?;
    cluster.power_on(3)?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    for n in 1..=3 {
        let text = cluster.ssi(n, &["log", "--scripts"])?.text();
        for wanted in ["10-broken", "the printer is on fire", "7", "20-hangs", "timed-out"] {
            ensure!(text.contains(wanted), "node {n} does not show '{wanted}':\n{text}");
        }
    }
    // Nothing of the one that hung is left.
    let left = cluster.lab.node(1)?.shell("ps -eo args | grep -c '[s]leep 1000' || true")?.text();
    ensure!(left.trim() == "0", "{left}");
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(moves(&log, 3).last() == Some(&"UP"), "{log:?}");
    Ok(())
}
