// SPDX-License-Identifier: GPL-2.0-or-later
//! A node loses power: how long until every other node knows (KCLEANUP), and until the nodedown work is done (DOWN).
//!
//! Two clusters of the same programs are up side by side and lose a node in turn: one with the settings that
//! ssi-clusterd writes for corosync, one with corosync's stock ones (no `token`, no `token_coefficient`), which says
//! what our settings win or cost. The times are taken here, by one clock, as the nodes' followers of the log
//! (`ssi log --follow`) tell; the order to cut the power begins them.
//!
//! Beside it, what ssi-clusterd and its helper cost at rest, next to the corosync on the same nodes.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use ssi_e2e::{Cluster, Options};
use ssi_lab::{ExecOptions, Node, OutputStream};

use super::Settings;
use super::figures::Row;
use super::rest;
use crate::place::Place;
use crate::progress::Progress;

/// How many nodes a cluster has; the last is the one that loses power.
const NODES: u32 = 3;
/// How long the daemons are watched at rest.
const REST: Duration = Duration::from_secs(30);
/// How long a follower may take to begin, or a lost node to be DOWN, before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// The peer of the times.
const STOCK: &str = "corosync's stock settings";

/// Follows the log from transition `$1` on until node `$2` is DOWN, and a little longer, for the line to be written.
const FOLLOW: &str = r#"
ssi log --follow --json --since "$1" &
follower=$!
ssi wait --node "$2" --state DOWN --timeout 120s
status=$?
sleep 0.5
kill "$follower"
exit "$status"
"#;

/// When the others had it, after the order.
struct Times {
    /// All had seen that the node is lost, in milliseconds.
    known: f64,
    /// For all of them the work was done, in milliseconds.
    done: f64,
}

/// See this file's head.
pub(super) fn measure(_: &Place, settings: &Settings, progress: &Progress) -> Result<Vec<Row>> {
    let start = |name: &str, stock: bool| {
        progress.say(&format!("starting cluster {name}"));
        let mut options = Options::new(name, settings.kind, NODES);
        options.stock_corosync = stock;
        let cluster = Cluster::start(options)?;
        for node in 1..=NODES {
            cluster.wait_up(node, NODES)?;
        }
        Ok::<_, anyhow::Error>(cluster)
    };
    let ours = start("bench-ours", false)?;
    progress.say("at rest");
    let costs = rest::costs(&ours, NODES, REST)?;
    let stock = start("bench-stock", true)?;
    let (mut our_times, mut stock_times) = (Vec::new(), Vec::new());
    for run in 1..=settings.runs {
        progress.say(&format!("run {run} of {}", settings.runs));
        // Whatever drifts in the machine meets both alike.
        if run % 2 == 1 {
            our_times.push(lose_a_node(&ours, run)?);
            stock_times.push(lose_a_node(&stock, run)?);
        } else {
            stock_times.push(lose_a_node(&stock, run)?);
            our_times.push(lose_a_node(&ours, run)?);
        }
    }
    let times = |name: &str, of: fn(&Times) -> f64| Row {
        name: name.to_owned(),
        unit: "ms",
        peer_name: STOCK.to_owned(),
        ours: our_times.iter().map(of).collect(),
        peer: stock_times.iter().map(of).collect(),
    };
    let row = |name: &str, unit, ours, peer| Row {
        name: name.to_owned(),
        unit,
        peer_name: "corosync itself".to_owned(),
        ours,
        peer,
    };
    Ok(vec![
        times("power off to KCLEANUP on all others", |times| times.known),
        times("power off to DOWN on all others", |times| times.done),
        row("memory at rest (PSS)", "MiB", costs.our_pss, costs.peer_pss),
        row("memory at rest (RSS)", "MiB", costs.our_rss, costs.peer_rss),
        row("processor at rest", "%", costs.our_load, costs.peer_load),
    ])
}

/// Cuts a node's power, takes the times, and brings it back.
fn lose_a_node(cluster: &Cluster, run: u32) -> Result<Times> {
    let last = cluster.log(1)?.iter().filter_map(|transition| transition["id"].as_u64()).max();
    let last = last.context("the log has no transition")?;
    let (sender, news) = channel();
    let mut followers = Vec::new();
    for number in 1..NODES {
        let (node, sender) = (cluster.lab.node(number)?, sender.clone());
        // From the last transition on: seeing that one shows that the follower is there.
        followers.push(std::thread::spawn(move || follow(&node, last.saturating_sub(1), &sender)));
    }
    drop(sender);
    let is_last = |transition: &Value| (transition["id"].as_u64() == Some(last)).then_some(0);
    arrivals(&news, 1, is_last).context("waiting for the followers")?;
    // Not always at the same point between two rounds of the token.
    std::thread::sleep(Duration::from_millis(300 + u64::from(run) * 37 % 200));
    let begun = Instant::now();
    cluster.power_off(NODES)?;
    let news_of_the_lost = |transition: &Value| {
        let fresh = transition["id"].as_u64() > Some(last) && transition["node"].as_u64() == Some(NODES.into());
        ["KCLEANUP", "DOWN"].iter().position(|state| fresh && transition["to"] == *state)
    };
    let [known, done] = arrivals(&news, 2, news_of_the_lost)?[..] else { bail!("two times were expected") };
    for follower in followers {
        follower.join().map_err(|_| anyhow!("a follower of the log panicked"))??;
    }
    cluster.power_on(NODES)?;
    for node in 1..=NODES {
        cluster.wait_up(node, NODES)?;
    }
    let milliseconds = |when: Instant| when.duration_since(begun).as_secs_f64() * 1000.0;
    Ok(Times { known: milliseconds(known), done: milliseconds(done) })
}

/// A transition, and when a follower told it.
type News = (u32, Instant, Value);

/// Follows the log on a node and hands on what it tells.
fn follow(node: &Node, since: u64, sender: &Sender<News>) -> Result<()> {
    let words = ["/bin/sh", "-c", FOLLOW, "follow", &since.to_string(), &NODES.to_string()];
    let options = ExecOptions { timeout: Some(PATIENCE * 2), ..ExecOptions::default() };
    let mut pending = Vec::new();
    let mut said = String::new();
    let exit = node.exec_streaming(&words, &options, |stream, bytes| {
        let now = Instant::now();
        if stream == OutputStream::Error {
            said.push_str(&String::from_utf8_lossy(&bytes));
            return;
        }
        pending.extend(bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let text: Vec<_> = pending.drain(..=end).collect();
            if let Ok(transition) = serde_json::from_slice(&text) {
                // Who no longer listens has failed already, and says so.
                let _ = sender.send((node.number(), now, transition));
            }
        }
    })?;
    ensure!(
        exit == ssi_lab::Exit::Code(0),
        "following the log on {} ended with {exit:?}: {}",
        node.name(),
        said.trim()
    );
    Ok(())
}

/// Waits until every follower has told of each of `kinds` things, where `kind` says which one a transition is, and gives
/// the time at which the last of them told of each.
fn arrivals(news: &Receiver<News>, kinds: usize, kind: impl Fn(&Value) -> Option<usize>) -> Result<Vec<Instant>> {
    // One follower may be done before another has begun: all kinds are waited for together.
    let mut seen = vec![BTreeMap::new(); kinds];
    let deadline = Instant::now() + PATIENCE;
    while seen.iter().any(|followers| followers.len() < (NODES - 1) as usize) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((node, when, transition)) = news.recv_timeout(left) else {
            let told: Vec<Vec<_>> = seen.into_iter().map(|followers| followers.into_keys().collect()).collect();
            bail!("of the followers on nodes 1 to {}, only these told: {told:?}", NODES - 1);
        };
        if let Some(followers) = kind(&transition).and_then(|kind| seen.get_mut(kind)) {
            followers.entry(node).or_insert(when);
        }
    }
    Ok(seen.into_iter().filter_map(|followers| followers.into_values().max()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_to_tell_counts() -> Result<()> {
        let (sender, news) = channel();
        let begun = Instant::now();
        let told = [(1, 1, "A"), (1, 2, "B"), (2, 3, "C"), (1, 4, "A"), (2, 9, "A"), (2, 11, "B"), (2, 20, "A")];
        for (node, after, to) in told {
            sender.send((node, begun + Duration::from_secs(after), json!(to)))?;
        }
        let kind = |told: &Value| ["A", "B"].iter().position(|kind| told == kind);
        assert_eq!(arrivals(&news, 2, kind)?, [9, 11].map(|after| begun + Duration::from_secs(after)));
        drop(sender);
        assert!(arrivals(&news, 1, |told| (told == "C").then_some(0)).is_err());
        Ok(())
    }
}
