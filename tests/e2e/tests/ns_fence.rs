// SPDX-License-Identifier: GPL-2.0-or-later
//! Lost nodes are turned off by a fence agent, and what they ran does not wait for its takeover time. That time is so long
//! here that whoever waits for it fails the test.

use anyhow::{Context as _, Result, ensure};
use ssi_cluster::client::FenceStatus;
use ssi_e2e::fence::{Switch, configure};
use ssi_e2e::scope::Stage;
use ssi_e2e::{eventually, wait_off};

const LONG: &str = "TakeoverSec=900\n";

fn fence_of(stage: &Stage, asked: u32, node: u32) -> Result<FenceStatus> {
    let text = stage.cluster.ssi(asked, &["fence", "list", "--json"])?.text();
    let fences: Vec<FenceStatus> = serde_json::from_str(&text)?;
    fences.into_iter().find(|fence| fence.node == node).ok_or_else(|| anyhow::anyhow!("{text}"))
}

#[test]
fn what_a_fenced_node_ran_does_not_wait_and_a_failed_fence_shortens_nothing() -> Result<()> {
    let stage = Stage::new("s-fence", 3, &[("db", LONG)])?;
    let switch = Switch::start("s-fence", stage.folder())?;
    configure(&stage.cluster, 3, "")?;
    let tested = stage.cluster.ssi(1, &["fence", "test"])?;
    ensure!(tested.success() && tested.text().lines().count() == 3, "{}{}", tested.text(), tested.error_text());
    stage.ssi(1, &["service", "start", "db", "--timeout", "60s"])?;
    // Cut off, it still runs there when it is turned off.
    let first = stage.runs(1, "db", |_| true)?;
    let asked = if first == 1 { 2 } else { 1 };
    stage.cluster.lab.cut(&[first])?;
    let second = stage.runs(asked, "db", |node| node != first)?;
    ensure!(switch.used().get(&first) == Some(&1), "{:?}", switch.used());
    let fence = fence_of(&stage, asked, first)?;
    ensure!(fence.outcome.as_deref() == Some("done"), "{fence:?}");
    stage.cluster.lab.heal()?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    stage.is_clean()?;
    // The switch is broken: it is waited for, until somebody says that he has seen it off.
    configure(&stage.cluster, 3, "broken = true\n")?;
    let tested = stage.cluster.ssi(1, &["fence", "test", "2"])?;
    ensure!(!tested.success() && tested.text().contains("the switch does not answer"), "{}", tested.text());
    let asked = if second == 1 { 2 } else { 1 };
    let refused = stage.cluster.ssi(asked, &["fence", "confirm", &second.to_string(), "--i-have-seen-it"])?;
    ensure!(!refused.success() && refused.error_text().contains("is a member"), "{}", refused.error_text());
    stage.cluster.power_off(second)?;
    eventually("the agent fails", || Ok(fence_of(&stage, asked, second)?.outcome.as_deref() == Some("failed")))?;
    let said = stage.cluster.ssi(asked, &["service", "explain", "db"])?.text();
    ensure!(said.contains("could not have node") && said.contains("that node is lost"), "{said}");
    ensure!(stage.place(asked, "db")?.is_none(), "{}", stage.about(asked));
    let unseen = stage.cluster.ssi(asked, &["fence", "confirm", &second.to_string()])?;
    ensure!(!unseen.success(), "nobody has seen it");
    stage.ssi(asked, &["fence", "confirm", &second.to_string(), "--i-have-seen-it"])?;
    let third = stage.runs(asked, "db", |node| node != second)?;
    stage.cluster.power_on(second)?;
    stage.cluster.all_see_up(&[1, 2, 3], 3)?;
    ensure!(stage.place(second, "db")? == Some(third), "{}", stage.about(second));
    // Asked for by hand, and it counts when the engine has noticed.
    configure(&stage.cluster, 3, "")?;
    let asked = if third == 1 { 2 } else { 1 };
    stage.ssi(asked, &["fence", "node", &third.to_string()])?;
    stage.runs(asked, "db", |node| node != third)?;
    ensure!(switch.used().get(&third).is_some_and(|times| *times <= 2), "{:?}", switch.used());
    stage.is_clean()?;
    Ok(())
}

#[test]
fn either_of_two_nodes_goes_on_when_the_other_is_turned_off() -> Result<()> {
    let stage = Stage::new("s-two", 2, &[("db", LONG)])?;
    stage.ssi(1, &["service", "start", "db", "--timeout", "60s"])?;
    // Without agents: the second leaves in order, and the first goes on; and the other way round.
    for (goes, stays) in [(2, 1), (1, 2)] {
        stage.ssi(stays, &["node", "drain", &goes.to_string(), "--timeout", "60s"])?;
        stage.cluster.lab.node(goes)?.exec(&["systemctl", "poweroff"])?;
        stage.cluster.wait_state(stays, goes, "DOWN")?;
        // It is not stopped for want of a majority, and can be started anew.
        stage.ssi(stays, &["service", "restart", "db", "--timeout", "60s"])?;
        ensure!(stage.place(stays, "db")? == Some(stays), "{}", stage.about(stays));
        wait_off(&stage.cluster.lab, goes)?;
        stage.cluster.power_on(goes)?;
        stage.cluster.all_see_up(&[1, 2], 2)?;
        stage.ssi(stays, &["node", "resume", &goes.to_string()])?;
    }
    let switch = Switch::start("s-two", stage.folder())?;
    configure(&stage.cluster, 2, "")?;
    for lost in [1, 2] {
        let stays = 3 - lost;
        stage.ssi(1, &["service", "pin", "db", "--to", &lost.to_string(), "--timeout", "60s"])?;
        stage.ssi(1, &["service", "unpin", "db"])?;
        stage.cluster.power_off(lost)?;
        stage.runs(stays, "db", |node| node == stays)?;
        stage.cluster.all_see_up(&[1, 2], 2)?;
    }
    ensure!(switch.used() == [(1, 1), (2, 1)].into(), "{:?}", switch.used());
    // They lose sight of each other: one has the other turned off, and it is the first.
    stage.cluster.lab.cut(&[2])?;
    eventually("the second is turned off", || Ok(switch.used().get(&2) == Some(&2))).with_context(|| {
        let fences = stage.cluster.ssi(1, &["fence", "list"]).map(|out| out.text());
        format!("{:?}\n{}\n{}", switch.used(), fences.unwrap_or_default(), stage.cluster.picture())
    })?;
    stage.cluster.lab.heal()?;
    stage.cluster.all_see_up(&[1, 2], 2)?;
    ensure!(switch.used() == [(1, 1), (2, 2)].into(), "{:?}", switch.used());
    stage.runs(1, "db", |_| true)?;
    stage.is_clean()?;
    Ok(())
}
