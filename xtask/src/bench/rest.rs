// SPDX-License-Identifier: GPL-2.0-or-later
//! What the daemons cost while nothing happens: memory and processor time, by node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::Cluster;

/// For each process of interest: its name, its RSS and PSS in KiB (proc_pid_smaps(5): in the latter, pages are divided
/// among those who share them, which in namespace nodes are the other nodes' daemons too), and its ticks in user and in kernel mode (proc_pid_stat(5), fields 14 and 15).
const LOOK: &str = r#"
for comm in /proc/[0-9]*/comm; do
    process=${comm%/comm}
    read -r name <"$comm" || continue
    case $name in
    ssi-clusterd | ssi-engine-coro | corosync)
        memory=$(sed -n 's/^[RP]ss: *\([0-9]*\) kB$/\1/p' "$process/smaps_rollup")
        set -- $(sed 's/.*) //' "$process/stat")
        echo $name $memory ${12} ${13}
        ;;
    esac
done 2>/dev/null
"#;

/// Ticks in a second, as every program is told them, whatever the kernel's own are (include/asm-generic/param.h).
const USER_HZ: f64 = 100.0;

/// What one side's processes on one node use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Use {
    rss_kib: f64,
    pss_kib: f64,
    ticks: f64,
}

/// What each node's daemons cost.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// RSS in MiB: ssi-clusterd with its helper process, by node.
    pub(super) our_rss: Vec<f64>,
    /// corosync's.
    pub(super) peer_rss: Vec<f64>,
    /// PSS in MiB: ssi-clusterd with its helper process, by node.
    pub(super) our_pss: Vec<f64>,
    /// corosync's.
    pub(super) peer_pss: Vec<f64>,
    /// Processor time in percent of one processor: ssi-clusterd with its helper process, by node.
    pub(super) our_load: Vec<f64>,
    /// corosync's.
    pub(super) peer_load: Vec<f64>,
}

/// Looks at all nodes, waits, and looks again.
pub(super) fn costs(cluster: &Cluster, nodes: u32, span: Duration) -> Result<Costs> {
    let mut before = BTreeMap::new();
    for node in 1..=nodes {
        before.insert(node, (Instant::now(), look(cluster, node)?));
    }
    std::thread::sleep(span);
    let mut costs = Costs::default();
    for (node, (begun, (ours, peer))) in before {
        let (our_end, peer_end) = look(cluster, node)?;
        let seconds = begun.elapsed().as_secs_f64();
        let percent = |from: Use, to: Use| (to.ticks - from.ticks) / USER_HZ / seconds * 100.0;
        costs.our_load.push(percent(ours, our_end));
        costs.peer_load.push(percent(peer, peer_end));
        costs.our_rss.push(our_end.rss_kib / 1024.0);
        costs.peer_rss.push(peer_end.rss_kib / 1024.0);
        costs.our_pss.push(our_end.pss_kib / 1024.0);
        costs.peer_pss.push(peer_end.pss_kib / 1024.0);
    }
    Ok(costs)
}

fn look(cluster: &Cluster, node: u32) -> Result<(Use, Use)> {
    let output = cluster.lab.node(node)?.shell(LOOK)?.text();
    parse(&output).with_context(|| format!("looking at the daemons on node {node}"))
}

/// Adds up what [`LOOK`] wrote: ours, and the peer's.
fn parse(output: &str) -> Result<(Use, Use)> {
    let mut sums: BTreeMap<&str, (Use, u32)> = BTreeMap::new();
    for text in output.lines() {
        let words: Vec<_> = text.split_whitespace().collect();
        let [name, rss, pss, user, kernel] = words[..] else {
            anyhow::bail!("'{text}' is not a process and its figures")
        };
        let number = |word: &str| word.parse::<f64>().with_context(|| format!("reading '{text}'"));
        let (sum, count) = sums.entry(name).or_default();
        sum.rss_kib += number(rss)?;
        sum.pss_kib += number(pss)?;
        sum.ticks += number(user)? + number(kernel)?;
        *count += 1;
    }
    let of = |name: &str| {
        let (sum, count) = sums.get(name).copied().unwrap_or_default();
        ensure!(count > 0, "no process '{name}' runs there");
        Ok(sum)
    };
    let (daemon, helper) = (of("ssi-clusterd")?, of("ssi-engine-coro")?);
    let ours = Use {
        rss_kib: daemon.rss_kib + helper.rss_kib,
        pss_kib: daemon.pss_kib + helper.pss_kib,
        ticks: daemon.ticks + helper.ticks,
    };
    Ok((ours, of("corosync")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_process_counts_as_ours() -> Result<()> {
        let (ours, peer) =
            parse("ssi-clusterd 4000 2000 3 4\ncorosync 9500 9000 70 30\nssi-engine-coro 900 500 1 2\n")?;
        assert_eq!(ours, Use { rss_kib: 4900.0, pss_kib: 2500.0, ticks: 10.0 });
        assert_eq!(peer, Use { rss_kib: 9500.0, pss_kib: 9000.0, ticks: 100.0 });
        Ok(())
    }

    #[test]
    fn a_daemon_that_does_not_run_is_no_daemon_without_costs() {
        assert!(parse("ssi-clusterd 4000 2000 3 4\nssi-engine-coro 900 500 1 2\n").is_err());
        assert!(parse("").is_err());
        assert!(parse("corosync  3 4\n").is_err());
    }
}
