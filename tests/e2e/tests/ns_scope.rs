// SPDX-License-Identifier: GPL-2.0-or-later
//! Units of the cluster on real nodes, before an independent witness: they run once, wherever, whatever happens.

use anyhow::{Result, ensure};
use ssi_e2e::eventually;
use ssi_e2e::scope::{Stage, TAKEOVER};

#[test]
fn it_runs_once_and_is_started_stopped_and_moved_from_any_node() -> Result<()> {
    let stage = Stage::new("s-once", 3, &[("db", TAKEOVER), ("web", TAKEOVER)])?;
    stage.ssi(2, &["service", "start", "db", "--timeout", "60s"])?;
    let first = stage.runs(3, "db", |_| true)?;
    let others: Vec<u32> = (1..=stage.nodes).filter(|node| *node != first).collect();
    // systemctl, on a node where it does not run.
    let node = stage.cluster.lab.node(others[0])?;
    let status = node.exec(&["systemctl", "status", "--no-pager", "db.service"])?.text();
    ensure!(status.contains(&format!("[cluster: node {first} (node{first})]")), "{status}");
    ensure!(stage.cluster.lab.node(first)?.exec(&["systemctl", "is-active", "db.service"])?.success());
    ensure!(!node.exec(&["systemctl", "is-active", "db.service"])?.success());
    node.check(&["systemctl", "stop", "db.service"])?;
    eventually("it is stopped everywhere", || Ok(stage.place(first, "db")?.is_none()))?;
    node.check(&["systemctl", "start", "db.service"])?;
    let place = stage.runs(1, "db", |_| true)?;
    // Restarted from elsewhere, it stays where it is.
    let away = stage.cluster.lab.node(if place == 1 { 2 } else { 1 })?;
    let before = stage.cluster.main_process(place, "db.service")?;
    away.check(&["systemctl", "restart", "db.service"])?;
    eventually("it is another process", || {
        Ok(stage.place(1, "db")? == Some(place) && stage.cluster.main_process(place, "db.service")? != before)
    })?;
    // Moved by hand, then by its node being drained.
    let to = if place == 3 { 2 } else { 3 };
    stage.ssi(1, &["service", "move", "db", "--to", &to.to_string(), "--timeout", "60s"])?;
    ensure!(stage.place(2, "db")? == Some(to));
    stage.ssi(1, &["service", "start", "web", "--timeout", "60s"])?;
    stage.ssi(2, &["node", "drain", &to.to_string(), "--timeout", "60s"])?;
    for unit in ["db", "web"] {
        stage.runs(1, unit, |node| node != to)?;
    }
    stage.ssi(2, &["node", "resume", &to.to_string()])?;
    stage.ssi(3, &["service", "pin", "web", "--to", &to.to_string(), "--timeout", "60s"])?;
    ensure!(stage.place(1, "web")? == Some(to));
    let said = stage.cluster.ssi(1, &["service", "explain", "web"])?.text();
    ensure!(said.contains(&format!("pinned to node {to}")), "{said}");
    // A process that fails is started again on the spot.
    let place = stage.runs(1, "db", |_| true)?;
    stage.cluster.lab.node(place)?.check(&["systemctl", "kill", "--signal=SIGKILL", "db.service"])?;
    stage.runs(1, "db", |node| node == place)?;
    stage.is_clean()?;
    ensure!(stage.dogs.bitten().is_empty(), "{:?}", stage.dogs.bitten());
    Ok(())
}

#[test]
fn a_lost_node_and_one_that_is_cut_off_hand_on_what_they_ran() -> Result<()> {
    let stage = Stage::new("s-lost", 3, &[("db", TAKEOVER)])?;
    stage.ssi(1, &["service", "start", "db", "--timeout", "60s"])?;
    let first = stage.runs(1, "db", |_| true)?;
    let asked = if first == 1 { 2 } else { 1 };
    stage.cluster.power_off(first)?;
    let second = stage.runs(asked, "db", |node| node != first)?;
    stage.cluster.power_on(first)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    ensure!(stage.place(first, "db")? == Some(second), "it stays where it is\n{}", stage.about(first));
    // Cut off, it ends by itself before another begins.
    stage.cluster.lab.cut(&[second])?;
    let other = if second == 1 { 2 } else { 1 };
    let third = stage.runs(other, "db", |node| node != second)?;
    stage.cluster.lab.heal()?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    // Frozen, it is reset; thawed or not, it does not write again.
    stage.cluster.lab.freeze(third)?;
    let asked = if third == 1 { 2 } else { 1 };
    stage.runs(asked, "db", |node| node != third)?;
    ensure!(stage.dogs.bitten().get(&third) == Some(&1), "{:?}", stage.dogs.bitten());
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    let verdicts = stage.is_clean()?;
    ensure!(verdicts["db"].runs.len() >= 4, "{:#?}", verdicts["db"].runs);
    Ok(())
}
