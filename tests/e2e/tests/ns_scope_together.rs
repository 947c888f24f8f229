// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that are placed with and apart from others; unit files that are read again, and enabled, on all nodes at once.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::scope::{Stage, TAKEOVER};
use ssi_e2e::{chain, eventually, put_unit, witness};

#[test]
fn units_go_together_and_keep_apart() -> Result<()> {
    let with = format!("{TAKEOVER}With=db.service\n");
    let apart = format!("{TAKEOVER}Apart=db.service\n");
    let stage = Stage::new("s-with", 3, &[("db", TAKEOVER), ("app", &with), ("spare", &apart)])?;
    // Alone it has no place, and says why.
    stage.ssi(1, &["service", "start", "app", "--no-wait"])?;
    eventually("it is told why it waits", || {
        let said = stage.cluster.ssi(1, &["service", "explain", "app"])?.text();
        Ok(said.contains("no node it could run on has what With= names") && said.contains("db.service"))
    })?;
    for unit in ["db", "app", "spare"] {
        stage.ssi(1, &["service", "start", unit, "--timeout", "60s"])?;
    }
    let place = |unit: &str| stage.runs(1, unit, |_| true);
    let (db, spare) = (place("db")?, place("spare")?);
    ensure!(place("app")? == db && spare != db, "{}", stage.about(1));
    // It goes where the other was: that one gives way, and both come to run.
    stage.ssi(1, &["service", "move", "db", "--to", &spare.to_string(), "--timeout", "60s"])?;
    stage.runs(1, "app", |node| node == spare)?;
    stage.runs(1, "spare", |node| node != spare)?;
    stage.cluster.power_off(spare)?;
    let asked = if spare == 1 { 2 } else { 1 };
    let db = stage.runs(asked, "db", |node| node != spare)?;
    stage.runs(asked, "app", |node| node == db)?;
    stage.runs(asked, "spare", |node| node != db && node != spare)?;
    stage.cluster.power_on(spare)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    stage.is_clean()?;
    Ok(())
}

#[test]
fn a_planned_move_of_a_socket_refuses_nobody() -> Result<()> {
    let stage = Stage::new("s-call", 3, &[])?;
    for number in 1..=3 {
        chain::put_socket(&stage.cluster, stage.folder(), number, TAKEOVER)?;
    }
    stage.ssi(1, &["service", "start", "call.target", "--timeout", "60s"])?;
    let client = chain::caller(&stage.cluster)?;
    let answers = || -> Result<Vec<String>> { Ok(client.log("caller")?.lines().map(str::to_owned).collect()) };
    let answered_by = |node: u32| {
        eventually("it answers", || Ok(answers()?.last().is_some_and(|line| *line == format!("node{node}"))))
            .with_context(|| stage.about(1))
    };
    answered_by(1)?;
    for to in [2, 3, 1, 2, 1, 3] {
        stage.ssi(1, &["service", "move", "call.target", "--to", &to.to_string(), "--timeout", "60s"])?;
        answered_by(to)?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        for other in (1..=3).filter(|other| *other != to) {
            let state = stage.cluster.lab.node(other)?.exec(&["systemctl", "is-active", "call.service"])?;
            ensure!(!state.success(), "what the socket started is still there on node {other}");
        }
    }
    let said = answers()?;
    let count = |word: &str| said.iter().filter(|line| *line == word).count();
    println!("{} requests, {} refused, {} unheard", said.len(), count("refused"), count("nobody"));
    ensure!(count("refused") == 0 && said.len() > 60, "{} of {} were refused", count("refused"), said.len());
    Ok(())
}

#[test]
fn unit_files_are_read_and_enabled_on_all_nodes_at_once() -> Result<()> {
    let stage = Stage::new("s-files", 3, &[])?;
    let text = witness::unit("/shared", "each", TAKEOVER).replace("Scope=cluster", "Scope=all")
        + "[Install]\nWantedBy=multi-user.target\n";
    let active = |number: u32| -> Result<bool> {
        Ok(stage.cluster.lab.node(number)?.exec(&["systemctl", "is-active", "each.service"])?.success())
    };
    let enabled = |number: u32| -> Result<String> {
        let node = stage.cluster.lab.node(number)?;
        Ok(node.exec(&["systemctl", "is-enabled", "each.service"])?.text().trim().to_owned())
    };
    for number in 1..=3 {
        put_unit(&stage.cluster.lab.node(number)?, "each.service", &text)?;
    }
    let asked = stage.cluster.ssi(2, &["service", "enable", "none"])?;
    ensure!(!asked.success() && asked.text().lines().count() == 4, "{}{}", asked.text(), asked.error_text());
    stage.ssi(2, &["daemon-reload"])?;
    for number in 1..=3 {
        let node = stage.cluster.lab.node(number)?;
        let said = node.exec(&["systemctl", "show", "-P", "NeedDaemonReload", "each.service"])?.text();
        ensure!(said.trim() == "no", "node {number}: {said}");
    }
    stage.ssi(2, &["service", "enable", "each", "--now", "--timeout", "60s"])?;
    for number in 1..=3 {
        ensure!(active(number)? && enabled(number)? == "enabled", "node {number}: {}", stage.about(number));
    }
    // A node that is not there is told of, and that is no failure.
    stage.cluster.power_off(3)?;
    stage.cluster.wait_state(1, 3, "DOWN")?;
    let asked = stage.cluster.ssi(1, &["service", "disable", "each", "--now", "--timeout", "60s"])?;
    ensure!(asked.success() && asked.text().contains("no, it is not a member"), "{}", asked.text());
    for number in [1, 2] {
        ensure!(!active(number)? && enabled(number)? == "disabled", "node {number}: {}", stage.about(number));
    }
    stage.cluster.power_on(3)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    // What was stopped stays down, whatever the links of a node that comes say.
    ensure!(enabled(3)? == "enabled" && !active(3)?, "{}", stage.about(3));
    Ok(())
}
