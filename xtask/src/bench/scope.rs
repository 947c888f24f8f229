// SPDX-License-Identifier: GPL-2.0-or-later
//! A node that runs a unit of the cluster loses power: how long until a client is answered again, beside Pacemaker.
//!
//! Two clusters of the same nodes are up side by side, with the same corosync settings, and run the same chain of
//! ordinary units (what stands for a disk, a mount, a service, its address): ours as the parts of one target, Pacemaker's
//! as a group of `systemd:` resources. They lose the node that serves in turn; the times are taken here, by one clock,
//! as the client's log tells, from the order to cut the power.
//!
//! Ours waits for `TakeoverSec=`, so that a node that was only cut off has ended what it runs. Pacemaker runs without
//! fencing (there are no fence devices in the lab), waits for nothing, and would run the group twice then.
//!
//! Beside it, what the placement of 10,000 units on 1,000 nodes costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ssi_cluster::placement::{Assignment, Instances, NodeFacts, UnitWish, place};
use ssi_cluster::{NodeId, NodeState, View, ViewId};
use ssi_e2e::{Cluster, Options, chain, eventually};
use ssi_lab::{Kind, Node};

use super::Settings;
use super::figures::Row;
use crate::packages;
use crate::place::Place;
use crate::progress::Progress;

const NODES: u32 = 3;
/// The shortest takeover time there is, in whole seconds.
const TAKEOVER: &str = "TakeoverSec=4\n";
/// How long a takeover may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Debian's.
const PEER: [&str; 2] = ["pacemaker", "pacemaker-cli-utils"];

/// What Pacemaker is told. Without fence devices it has to be told that there are none.
const CIB: &str = r#"<configuration>
<crm_config><cluster_property_set id="p">
<nvpair id="p1" name="stonith-enabled" value="false"/><nvpair id="p2" name="no-quorum-policy" value="stop"/>
</cluster_property_set></crm_config><nodes/>
<resources><group id="ha">
<primitive id="disk" class="systemd" type="ha-disk"/><primitive id="mnt" class="systemd" type="srv-ha.mount"/>
<primitive id="web" class="systemd" type="ha-web"/><primitive id="addr" class="systemd" type="ha-address"/>
</group></resources><constraints/></configuration>
"#;

/// A cluster that serves, and its client.
struct Side {
    cluster: Cluster,
    client: Node,
    pacemaker: bool,
}

/// See this file's head.
pub(super) fn measure(xtask: &Place, settings: &Settings, progress: &Progress) -> Result<Vec<Row>> {
    packages::ensure(xtask, &PEER, &mut |what| progress.say(what))?;
    progress.say("placing");
    let placed = placement(settings.runs)?;
    progress.say("starting our cluster");
    let ours = Side::start("bench-scope", false)?;
    progress.say("starting Pacemaker's");
    let peer = Side::start("bench-pcmk", true)?;
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for run in 1..=settings.runs {
        progress.say(&format!("run {run} of {}", settings.runs));
        // Whatever drifts in the machine meets both alike.
        for turn in [run % 2 == 0, run % 2 == 1] {
            let (side, times) = if turn { (&peer, &mut peer_times) } else { (&ours, &mut our_times) };
            times.push(side.lose_the_server()?);
        }
    }
    let mut rows = vec![Row {
        name: "power off to the first answer (TakeoverSec=4; the peer does not fence)".to_owned(),
        unit: "s",
        peer_name: "Pacemaker".to_owned(),
        ours: our_times,
        peer: peer_times,
    }];
    for (name, ours) in placed {
        rows.push(Row {
            name: format!("placing 10,000 units on 1,000 nodes: {name}"),
            unit: "ms",
            peer_name: "nobody".to_owned(),
            ours,
            peer: Vec::new(),
        });
    }
    Ok(rows)
}

impl Side {
    fn start(name: &str, pacemaker: bool) -> Result<Side> {
        let options = Options { shared: Some("/shared".to_owned()), ..Options::new(name, Kind::Ns, NODES) };
        let cluster = Cluster::start(options)?;
        let folder = cluster.shared_folder()?;
        let client = chain::client(&cluster)?;
        for number in 1..=NODES {
            cluster.wait_up(number, NODES)?;
            chain::put(&cluster, &folder, number, TAKEOVER)?;
        }
        let side = Side { cluster, client, pacemaker };
        if pacemaker {
            for number in 1..=NODES {
                // As plain units: whose they are is Pacemaker's to know.
                side.shell(
                    number,
                    "cd /etc/systemd/system; sed -i /PartOf=ha.target/d ha-*.service srv-ha.mount; rm ha.target; \
                     ln -s /lib/systemd/system/pacemaker.service default.target.wants/; systemctl daemon-reload; \
                     systemctl start dbus.service pacemaker.service",
                )?;
            }
            side.cluster.lab.node(1)?.put("/tmp/cib.xml", CIB, 0o644)?;
            eventually("Pacemaker takes its configuration", || {
                let script = "cibadmin --replace --scope configuration --xml-file /tmp/cib.xml";
                Ok(side.cluster.lab.node(1)?.exec(&["sh", "-c", script])?.success())
            })?;
        } else {
            side.shell(
                1,
                "ssi service start ha.target --timeout 60s || { ssi service list; ssi service explain ha.target; \
                systemctl list-units 'ha*' srv-ha.mount; journalctl -b -n 60; exit 1; } >&2",
            )?;
        }
        side.settled()?;
        Ok(side)
    }

    fn shell(&self, number: u32, script: &str) -> Result<()> {
        self.cluster.lab.node(number)?.check(&["sh", "-ec", script])?;
        Ok(())
    }

    /// Who answered last; `None`: nobody.
    fn server(&self) -> Result<Option<u32>> {
        let log = self.client.log("client")?;
        let last = log.lines().last().and_then(|line| line.strip_prefix("node")?.split(' ').next()?.parse().ok());
        Ok(last)
    }

    /// Waits until all nodes are there and somebody serves, for a while.
    fn settled(&self) -> Result<()> {
        for number in 1..=NODES {
            self.cluster.wait_up(number, NODES)?;
        }
        if self.pacemaker {
            eventually("Pacemaker has all nodes", || {
                let said = self.cluster.lab.node(1)?.exec(&["crm_mon", "-1"])?.text();
                Ok(said.contains("Online: [ node1 node2 node3 ]"))
            })?;
        }
        eventually("the client is answered", || Ok(self.server()?.is_some()))?;
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    /// Cuts the power of the node that serves; seconds until another answers.
    fn lose_the_server(&self) -> Result<f64> {
        let serves = self.server()?.context("nobody serves")?;
        let begun = Instant::now();
        self.cluster.power_off(serves)?;
        loop {
            let took = begun.elapsed();
            if self.server()?.is_some_and(|now| now != serves) {
                self.cluster.power_on(serves)?;
                self.settled()?;
                return Ok(took.as_secs_f64());
            }
            if took > PATIENCE {
                bail!("nobody served within {} s after node {serves} was lost", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What the placement costs, in milliseconds: from nothing, again with nothing to do, and after a node was lost.
fn placement(runs: u32) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let nodes: Vec<NodeId> = (1..=1_000).filter_map(NodeId::new).collect();
    let facts: BTreeMap<NodeId, NodeFacts> =
        nodes.iter().map(|node| (*node, NodeFacts { state: NodeState::Up, load: 0 })).collect();
    let wishes: Vec<UnitWish> =
        (0..10_000).map(|number| UnitWish::new(format!("unit{number}.service"), Instances::Count(1))).collect();
    let all = View { id: ViewId(1), members: nodes.iter().copied().collect(), quorate: true };
    let rest = View { id: ViewId(2), members: nodes.iter().skip(1).copied().collect(), quorate: true };
    let (all, rest) = (all.quorate().context("no quorum")?, rest.quorate().context("no quorum")?);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..runs {
        let mut timed = |which: usize, view, current: &Assignment| {
            let begun = Instant::now();
            let placed = place(view, &facts, &wishes, current);
            times[which].push(begun.elapsed().as_secs_f64() * 1e3);
            placed.assignment
        };
        let placed = timed(0, all, &Assignment::new());
        timed(1, all, &placed);
        timed(2, rest, &placed);
    }
    let [first, again, lost] = times;
    Ok(vec![("from nothing", first), ("again, nothing to do", again), ("after a node was lost", lost)])
}
