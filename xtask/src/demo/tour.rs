// SPDX-License-Identifier: GPL-2.0-or-later
//! The stops of the tour, in their order. To add one, write its function and put it into [`TOUR`].

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use ssi_e2e::{Cluster, eventually};

/// One stop.
pub(super) struct Stop {
    /// Its name.
    pub(super) title: &'static str,
    /// What is seen at it.
    pub(super) about: &'static str,
    /// Does it.
    pub(super) act: fn(&mut Scene<'_>) -> Result<Seen>,
}

/// What was seen at a stop.
pub(super) struct Seen {
    /// What was checked and found.
    pub(super) finding: String,
    /// What the cluster's own commands showed.
    pub(super) shown: String,
}

/// What the stops have to do with.
pub(super) struct Scene<'a> {
    cluster: &'a Cluster,
    nodes: u32,
    /// The transition after which the story of the lost node begins.
    before_loss: u64,
}

/// The stops.
pub(super) const TOUR: [Stop; 8] = [
    Stop {
        title: "the cluster forms",
        about: "The nodes find each other through corosync; nodeup work is done for each, then it is UP.",
        act: forms,
    },
    Stop { title: "ssi status", about: "Node 1 tells how all of them are.", act: status },
    Stop { title: "ssi log", about: "The log of node states is the same on every member.", act: log },
    Stop { title: "loads", about: "Each node's load, as OpenSSI's command tells it.", act: loads },
    Stop {
        title: "a node is lost",
        about: "The last node loses power. The others notice, clean up after it, and agree that it is DOWN.",
        act: node_lost,
    },
    Stop {
        title: "the node comes back",
        about: "It is switched on again, joins, and learns from the others what it missed.",
        act: node_returns,
    },
    Stop {
        title: "what happened",
        about: "All of it is in the log, also in that of the node that was away.",
        act: story,
    },
    Stop {
        title: "per-node files",
        about: "One path, and each node reads its own file through an ordinary symbolic link.",
        act: own_files,
    },
];

impl<'a> Scene<'a> {
    /// The tour's beginning.
    pub(super) fn new(cluster: &'a Cluster, nodes: u32) -> Self {
        Self { cluster, nodes, before_loss: 0 }
    }

    /// The node that has the bad luck.
    fn unlucky(&self) -> u32 {
        self.nodes
    }

    fn others(&self) -> impl Iterator<Item = u32> + use<> {
        1..self.nodes
    }

    /// What `ssi` says on node 1 with these words.
    fn ssi(&self, words: &[&str]) -> Result<String> {
        let output = self.cluster.ssi(1, words)?;
        ensure!(
            output.success(),
            "`ssi {}` on node 1 ended with {:?}: {}",
            words.join(" "),
            output.status,
            output.error_text()
        );
        // Blanks at the beginning are part of a table's first column.
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Waits until every node finds this many UP.
    fn all_up(&self) -> Result<()> {
        for node in 1..=self.nodes {
            self.cluster
                .wait_up(node, self.nodes)
                .with_context(|| format!("waiting on node {node} for all to be UP"))?;
        }
        Ok(())
    }

    /// The log, which all nodes have alike.
    fn common_log(&self) -> Result<Vec<Value>> {
        let mut common = Vec::new();
        // What was agreed a moment ago may have reached one member and be on its way to another.
        eventually("all nodes have the same log", || {
            let logs = (1..=self.nodes).map(|node| self.cluster.log(node)).collect::<Result<Vec<_>>>()?;
            let same = logs.windows(2).all(|pair| pair[0] == pair[1]);
            common = logs.into_iter().next().unwrap_or_default();
            Ok(same && !common.is_empty())
        })?;
        Ok(common)
    }

    /// The numbers of the UP nodes, as node 1 lists them.
    fn up(&self) -> Result<Vec<String>> {
        let output = self.cluster.lab.node(1)?.check(&["cluster"])?;
        Ok(output.text().split_whitespace().map(str::to_owned).collect())
    }
}

fn forms(scene: &mut Scene<'_>) -> Result<Seen> {
    scene.all_up()?;
    Ok(Seen { finding: format!("{} nodes are UP, on every one's word", scene.nodes), shown: String::new() })
}

fn status(scene: &mut Scene<'_>) -> Result<Seen> {
    // Each node tells the others its load once it has measured it.
    eventually("every node's load is known on node 1", || {
        let status = scene.cluster.status(1)?;
        let nodes = status["nodes"].as_array().context("`ssi status --json` has no list of nodes")?;
        Ok(nodes.len() == scene.nodes as usize && nodes.iter().all(|node| node["load"].is_number()))
    })?;
    let expected: Vec<_> = (1..=scene.nodes).map(|node| node.to_string()).collect();
    let up = scene.up()?;
    ensure!(up == expected, "the nodes that are UP should be {expected:?}, and are {up:?}");
    Ok(Seen { finding: format!("nodes {} are UP", up.join(", ")), shown: scene.ssi(&["status"])? })
}

fn log(scene: &mut Scene<'_>) -> Result<Seen> {
    let count = scene.common_log()?.len();
    let finding = format!("{count} transitions, the same on all {} nodes", scene.nodes);
    Ok(Seen { finding, shown: scene.ssi(&["log"])? })
}

fn loads(scene: &mut Scene<'_>) -> Result<Seen> {
    let shown = scene.cluster.lab.node(1)?.check(&["loads"])?.text();
    let mut told = Vec::new();
    for text in shown.lines() {
        let words: Vec<_> = text.split_whitespace().collect();
        let [node, load] = words[..] else { anyhow::bail!("`loads` wrote '{text}', which is not a node and its load") };
        load.parse::<f64>().with_context(|| format!("`loads` wrote '{text}', which is not a node and its load"))?;
        told.push(node.trim_end_matches(':').to_owned());
    }
    let up = scene.up()?;
    ensure!(told == up, "the nodes that are UP are {up:?}; `loads` tells of {told:?}");
    Ok(Seen { finding: format!("of all {} nodes", told.len()), shown })
}

fn node_lost(scene: &mut Scene<'_>) -> Result<Seen> {
    let lost = scene.unlucky();
    scene.before_loss = scene.cluster.log(1)?.iter().filter_map(id_of).max().context("the log has no transition")?;
    let begun = Instant::now();
    scene.cluster.power_off(lost)?;
    for node in scene.others() {
        scene
            .cluster
            .wait_state(node, lost, "DOWN")
            .with_context(|| format!("waiting on node {node} for node {lost} to be DOWN"))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let up = scene.up()?;
    ensure!(!up.contains(&lost.to_string()), "node {lost} has no power, and is in the list of UP nodes: {up:?}");
    let finding = format!("node {lost} is DOWN on all others {seconds:.1} s after its power went");
    Ok(Seen { finding, shown: scene.ssi(&["status"])? })
}

fn node_returns(scene: &mut Scene<'_>) -> Result<Seen> {
    let node = scene.unlucky();
    let begun = Instant::now();
    scene.cluster.power_on(node)?;
    scene.all_up()?;
    let finding = format!("node {node} is UP on all nodes {:.1} s after its power came", begun.elapsed().as_secs_f64());
    Ok(Seen { finding, shown: String::new() })
}

fn story(scene: &mut Scene<'_>) -> Result<Seen> {
    let node = scene.unlucky();
    let since = scene.before_loss;
    let transitions = scene.common_log()?;
    let states: Vec<_> = transitions
        .iter()
        .filter(|transition| id_of(transition) > Some(since) && transition["node"].as_u64() == Some(node.into()))
        .filter_map(|transition| transition["to"].as_str())
        .collect();
    let expected = ["KCLEANUP", "UCLEANUP", "DOWN", "COMINGUP", "UP"];
    ensure!(states == expected, "node {node} should have gone through {expected:?}, and the log tells of {states:?}");
    let shown = scene.ssi(&["log", "--since", &since.to_string()])?;
    let finding = format!("node {node} went through {}; every node's log says so", states.join(", "));
    Ok(Seen { finding, shown })
}

fn own_files(scene: &mut Scene<'_>) -> Result<Seen> {
    const PATH: &str = "/etc/ssi-tour";
    let node = scene.cluster.lab.node(1)?;
    let cdsl = |words: &[&str]| -> Result<String> {
        Ok(node.check(&[&["cdsl"], words].concat())?.text().trim_end().to_owned())
    };
    node.put(PATH, "the same on all nodes\n", 0o644)?;
    cdsl(&["create", PATH])?;
    cdsl(&["mount"])?;
    // What each node writes goes through the same path; node 2's view is one mount namespace away.
    node.shell(&format!("echo of node 1 >{PATH}"))?;
    cdsl(&["exec", "--node", "2", "--", "sh", "-c", &format!("echo of node 2 >{PATH}")])?;
    let (own, other) = (cdsl(&["exec", "--", "cat", PATH])?, cdsl(&["exec", "--node", "2", "--", "cat", PATH])?);
    ensure!(
        (own.as_str(), other.as_str()) == ("of node 1", "of node 2"),
        "node 1 reads '{own}', node 2's view is '{other}'"
    );
    let shown = cdsl(&["resolve", "--all", PATH])?;
    cdsl(&["revert", "--all"])?;
    let back = node.check(&["cat", PATH])?.text();
    ensure!(back.trim_end() == "of node 1", "after cdsl revert the file holds '{back}'");
    Ok(Seen { finding: "node 1 and node 2 read each its own; gone back to a plain file".to_owned(), shown })
}

fn id_of(transition: &Value) -> Option<u64> {
    transition["id"].as_u64()
}
