// SPDX-License-Identifier: GPL-2.0-or-later
//! Membership on namespace nodes, with corosync between them.

use anyhow::{Result, ensure};
use ssi_e2e::log::{assert_same_log, moves};
use ssi_e2e::{Cluster, Options};
use ssi_lab::Kind;

#[test]
fn three_nodes_form_and_a_killed_one_goes_down_and_comes_back() -> Result<()> {
    let cluster = Cluster::start(Options::new("m3", Kind::Ns, 3).with_scripts())?;
    for n in 1..=3 {
        cluster.wait_up(n, 3)?;
    }
    assert_same_log(&cluster, &[1, 2, 3])?;
    let status = cluster.ssi(1, &["status"])?;
    ensure!(status.success() && status.text().contains("node3"), "{}", status.text());
    // The engine's own tool agrees.
    let quorum = cluster.lab.node(2)?.exec(&["corosync-quorumtool", "-s"])?.text();
    ensure!(quorum.contains("Quorate:          Yes") && quorum.contains("Nodes:            3"), "{quorum}");

    cluster.power_off(1)?;
    for n in [2, 3] {
        cluster.wait_state(n, 1, "DOWN")?;
    }
    let log = assert_same_log(&cluster, &[2, 3])?;
    ensure!(moves(&log, 1) == ["COMINGUP", "UP", "KCLEANUP", "UCLEANUP", "DOWN"], "{log:?}");
    let status = cluster.status(2)?;
    ensure!(status.to_string().contains("\"init_node\":2") || status["init_node"] == 2, "{status}");

    cluster.power_on(1)?;
    for n in 1..=3 {
        cluster.wait_up(n, 3)?;
    }
    let log = assert_same_log(&cluster, &[1, 2, 3])?;
    ensure!(moves(&log, 1).len() == 7, "{log:?}");

    // Each event's script ran once, wherever: nodeup for four comings, nodedown for one going.
    let mut runs = Vec::new();
    for n in 1..=3 {
        let text = cluster.lab.node(n)?.shell("cat /var/log/ssi-scripts/runs 2>/dev/null || true")?.text();
        runs.extend(text.lines().map(str::to_owned));
    }
    let mut transitions: Vec<&str> = runs.iter().filter_map(|r| r.split(' ').nth(3)).collect();
    transitions.sort_unstable();
    let all = transitions.len();
    transitions.dedup();
    ensure!(all == 5 && transitions.len() == 5, "scripts were run for: {runs:?}");
    Ok(())
}
