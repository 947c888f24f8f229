// SPDX-License-Identifier: GPL-2.0-or-later
//! Units of the cluster on real nodes, before an independent witness: they run once, wherever, whatever happens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ssi_cluster::client::ServiceStatus;
use ssi_e2e::watchdog::Watchdogs;
use ssi_e2e::witness::{self, Verdict};
use ssi_e2e::{Cluster, Options, eventually};
use ssi_lab::Kind;

const SHARED: &str = "/shared";
/// A third of the shortest `TakeoverSec=` below, in whole seconds, is what process 1 asks of a watchdog.
const TAKEOVER: &str = "TakeoverSec=6\n";
const WATCHDOG: Duration = Duration::from_secs(2);

struct Stage {
    // Dropped first: it must not reset nodes of a lab that is going down.
    dogs: Watchdogs,
    cluster: Cluster,
    folder: PathBuf,
    nodes: u32,
}

impl Stage {
    /// Nodes that are all UP, with a unit of the cluster for each name.
    fn new(name: &str, nodes: u32, units: &[(&str, &str)]) -> Result<Stage> {
        let options = Options { shared: Some(SHARED.to_owned()), ..Options::new(name, Kind::Ns, nodes) };
        let cluster = Cluster::start(options)?;
        let folder = cluster.shared_folder()?;
        let dogs = Watchdogs::watch(name, &folder, nodes, WATCHDOG)?;
        let all: Vec<u32> = (1..=nodes).collect();
        cluster.all_see_up(&all, nodes)?;
        std::fs::write(folder.join("witness"), witness::PROGRAM)?;
        std::fs::set_permissions(folder.join("witness"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        for node in all {
            let node = cluster.lab.node(node)?;
            for (unit, section) in units {
                ssi_e2e::put_unit(&node, &format!("{unit}.service"), &witness::unit(SHARED, unit, section))?;
            }
            node.check(&["systemctl", "daemon-reload"])?;
        }
        Ok(Stage { dogs, cluster, folder, nodes })
    }

    fn ssi(&self, node: u32, args: &[&str]) -> Result<()> {
        let output = self.cluster.ssi(node, args)?;
        ensure!(output.success(), "ssi {args:?} on node {node}: {}\n{}", output.error_text(), self.about(node));
        Ok(())
    }

    fn about(&self, node: u32) -> String {
        let ask = |args: &[&str]| self.cluster.ssi(node, args).map(|out| out.text()).unwrap_or_default();
        format!("{}\n{}", ask(&["status"]), ask(&["service", "list"]))
    }

    fn services(&self, node: u32) -> Result<Vec<ServiceStatus>> {
        let text = self.cluster.ssi(node, &["service", "list", "--json"])?.text();
        serde_json::from_str(&text).with_context(|| format!("node {node} says {text:?}"))
    }

    /// Where the first instance of a unit is, if it is up.
    fn place(&self, asked: u32, unit: &str) -> Result<Option<u32>> {
        let services = self.services(asked)?;
        let service = services.iter().find(|service| service.unit == format!("{unit}.service"));
        let running = service.and_then(|service| service.instances.iter().find(|i| i.state == "running"));
        Ok(running.and_then(|instance| instance.node))
    }

    /// Waits until it runs on a node that fits.
    fn runs(&self, asked: u32, unit: &str, fits: impl Fn(u32) -> bool) -> Result<u32> {
        let mut found = 0;
        let waited = eventually(&format!("{unit} runs where it should, as node {asked} sees it"), || {
            let place = self.place(asked, unit)?;
            found = place.unwrap_or(0);
            Ok(place.is_some_and(&fits))
        });
        waited.with_context(|| {
            let said = self.cluster.ssi(asked, &["service", "explain", unit]).map(|out| out.text());
            format!("{}\n{}", self.about(asked), said.unwrap_or_default())
        })?;
        Ok(found)
    }

    fn verdicts(&self) -> Result<BTreeMap<String, Verdict>> {
        witness::judge(&self.folder)
    }

    /// Nothing ran twice; the verdicts, for more.
    fn is_clean(&self) -> Result<BTreeMap<String, Verdict>> {
        let verdicts = self.verdicts()?;
        for (name, verdict) in &verdicts {
            ensure!(verdict.faults.is_empty(), "{name}: {:#?}\n{:#?}", verdict.faults, verdict.runs);
            println!("{name}: {} runs, nobody ran for {:.2} s", verdict.runs.len(), verdict.nobody);
        }
        Ok(verdicts)
    }
}

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
