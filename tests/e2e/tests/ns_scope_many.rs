// SPDX-License-Identifier: GPL-2.0-or-later
//! Fifty units of the cluster at once, and a chain of units that moves as one while a client asks for what it serves.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::scope::{Stage, TAKEOVER};
use ssi_e2e::{chain, eventually, wait_off};

#[test]
fn fifty_units_are_started_drained_resumed_and_stopped() -> Result<()> {
    let names: Vec<String> = (0..50).map(|number| format!("u{number}")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), TAKEOVER)).collect();
    let stage = Stage::new("s-fifty", 3, &units)?;
    for name in &names {
        stage.ssi(1, &["service", "start", name, "--no-wait"])?;
    }
    let on = |node: u32| -> Result<usize> {
        let services = stage.services(1)?;
        Ok(services.iter().flat_map(|s| &s.instances).filter(|i| i.state == "running" && i.node == Some(node)).count())
    };
    let all = || -> Result<usize> { Ok(on(1)? + on(2)? + on(3)?) };
    eventually("all fifty run", || Ok(all()? == 50)).with_context(|| stage.about(1))?;
    for node in 1..=3 {
        ensure!(on(node)? > 0, "they are spread over all nodes: {}", stage.about(1));
    }
    stage.ssi(1, &["node", "drain", "2", "--timeout", "120s"])?;
    ensure!((on(2)?, all()?) == (0, 50), "{}", stage.about(1));
    stage.ssi(1, &["node", "resume", "2"])?;
    // Nothing comes back by itself; what is started anew may.
    ensure!(on(2)? == 0);
    for name in &names {
        stage.ssi(3, &["service", "stop", name, "--no-wait"])?;
    }
    eventually("all are down", || Ok(all()? == 0)).with_context(|| stage.about(1))?;
    let verdicts = stage.is_clean()?;
    ensure!(verdicts.len() == 50);
    Ok(())
}

#[test]
fn a_chain_of_disk_mount_service_and_address_moves_as_one() -> Result<()> {
    let stage = Stage::new("s-chain", 3, &[])?;
    for number in 1..=3 {
        chain::put(&stage.cluster, &stage.cluster.shared_folder()?, number, TAKEOVER)?;
    }
    stage.ssi(2, &["service", "start", "ha.target", "--timeout", "60s"])?;
    let client = chain::client(&stage.cluster)?;
    let answers = || -> Result<Vec<String>> { Ok(client.log("client")?.lines().map(str::to_owned).collect()) };
    let answered_by = |node: u32| {
        eventually(&format!("node {node} answers the client"), || {
            Ok(answers()?.last().is_some_and(|line| line.trim() == format!("node{node} hello")))
        })
        .with_context(|| stage.about(1))
    };
    answered_by(1)?;
    // By hand on another node, nothing of it starts.
    let other = stage.cluster.lab.node(2)?;
    other.exec(&["systemctl", "start", "ha-web.service"])?;
    ensure!(!other.exec(&["systemctl", "is-active", "ha-web.service"])?.success());
    // A planned move: all of it ends there before any of it begins here.
    stage.ssi(3, &["service", "move", "ha.target", "--to", "2", "--timeout", "60s"])?;
    answered_by(2)?;
    let left = stage.cluster.lab.node(1)?.exec(&["findmnt", "-rn", "/srv/ha"])?.text();
    ensure!(left.is_empty(), "{left}");
    // A part that fails for good takes the whole elsewhere.
    let node = stage.cluster.lab.node(2)?;
    for _ in 0..8 {
        node.exec(&["systemctl", "kill", "--signal=SIGKILL", "ha-web.service"])?;
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    eventually("it runs elsewhere", || {
        let last = answers()?.last().cloned().unwrap_or_default();
        Ok(last.ends_with("hello") && !last.starts_with("node2"))
    })
    .with_context(|| stage.about(1))?;
    // The plug of the node where it is.
    let place = answers()?.last().and_then(|line| line.strip_prefix("node")?.split(' ').next()?.parse::<u32>().ok());
    let place = place.context("nobody answers")?;
    stage.cluster.power_off(place)?;
    eventually("another node answers", || {
        let last = answers()?.last().cloned().unwrap_or_default();
        Ok(last.ends_with("hello") && !last.starts_with(&format!("node{place}")))
    })?;
    stage.cluster.power_on(place)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    // Every node is started anew in turn.
    let before = answers()?.len();
    for node in 1..=3 {
        let asked = if node == 1 { 2 } else { 1 };
        stage.ssi(asked, &["node", "drain", &node.to_string(), "--timeout", "120s"])?;
        stage.cluster.lab.node(node)?.exec(&["systemctl", "poweroff"])?;
        wait_off(&stage.cluster.lab, node)?;
        stage.cluster.wait_state(asked, node, "DOWN")?;
        stage.cluster.power_on(node)?;
        stage.cluster.all_see_up(&[1, 2, 3], 3)?;
        stage.ssi(asked, &["node", "resume", &node.to_string()])?;
    }
    eventually("it is served", || Ok(answers()?.last().is_some_and(|line| line.ends_with("hello"))))?;
    let during = answers()?.split_off(before);
    let failed = during.iter().filter(|line| *line == "nobody").count();
    println!("rolling reboot: {failed} of {} requests failed", during.len());
    ensure!(failed < during.len() / 2, "{failed} of {} failed", during.len());
    let generations = std::fs::read_to_string(stage.folder().join("generation"))?;
    let views: Vec<u64> = generations.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(views.len() >= 4 && views.is_sorted(), "{views:?}");
    Ok(())
}
