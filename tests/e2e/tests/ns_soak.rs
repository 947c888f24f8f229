// SPDX-License-Identifier: GPL-2.0-or-later
//! The same again and again: what only shows after many times.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, field, moves};
use ssi_e2e::{Cluster, Options};
use ssi_lab::Kind;

#[test]
fn twenty_kills_and_rejoins_leave_one_log() -> Result<()> {
    let cluster = Cluster::start(Options::new("kills", Kind::Ns, 3).with_scripts())?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    for round in 0..20u32 {
        let victim = 1 + round % 3;
        let others: Vec<u32> = (1..=3).filter(|n| *n != victim).collect();
        cluster.power_off(victim)?;
        for &n in &others {
            cluster.wait_state(n, victim, "DOWN")?;
        }
        cluster.power_on(victim)?;
        cluster.all_see_up(&[1, 2, 3], 3)?;
    }
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(log.len() == 6 + 20 * 5, "{} transitions", log.len());
    for node in 1..=3 {
        let downs = moves(&log, node).iter().filter(|s| **s == "DOWN").count();
        ensure!(downs == if node < 3 { 7 } else { 6 }, "node {node} went down {downs} times");
    }
    Ok(())
}

#[test]
fn clusterd_killed_a_hundred_times_under_load_makes_no_false_down() -> Result<()> {
    let cluster = Cluster::start(Options::new("hundred", Kind::Ns, 3))?;
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let before = assert_same_log(&cluster, &[1, 2, 3])?;
    // Both of this machine's processors busy, and clients that ask without pause.
    for n in 1..=3 {
        let node = cluster.lab.node(n)?;
        node.spawn("busy", &["sh", "-c", "while :; do :; done"], Default::default())?;
        node.spawn("asks", &["sh", "-c", "while :; do ssi status >/dev/null 2>&1; done"], Default::default())?;
    }
    for round in 0..100u32 {
        cluster.kill_daemon(1 + round % 3, "ssi-clusterd")?;
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round * 37 % 200)));
    }
    for n in 1..=3 {
        cluster.lab.node(n)?.stop("busy")?;
        cluster.lab.node(n)?.stop("asks")?;
    }
    cluster.all_see_up(&[1, 2, 3], 3)?;
    let after = assert_same_log(&cluster, &[1, 2, 3])?;
    let new: Vec<&str> = after[before.len()..].iter().map(|e| field(e, "to")).collect();
    ensure!(new.is_empty(), "{new:?}");
    Ok(())
}
