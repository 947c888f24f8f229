// SPDX-License-Identifier: GPL-2.0-or-later
//! The stage for tests of units of the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ssi_cluster::client::ServiceStatus;
use ssi_lab::Kind;

use crate::watchdog::Watchdogs;
use crate::witness::{self, Verdict};
use crate::{Cluster, Options, eventually};

const SHARED: &str = "/shared";
/// The line that units of a stage have which do not say otherwise.
pub const TAKEOVER: &str = "TakeoverSec=6\n";
const TAKEOVER_SECONDS: u64 = 6;

/// Nodes with units of the cluster, a witness and watchdogs.
pub struct Stage {
    // Dropped first: it must not reset nodes of a lab that is going down.
    /// The watchdogs.
    pub dogs: Watchdogs,
    /// The nodes.
    pub cluster: Cluster,
    folder: PathBuf,
    /// How many.
    pub nodes: u32,
}

/// What process 1 asks of a watchdog: a third of the shortest takeover time. A pipe does not know the request that would
/// tell it.
fn watchdog_time(units: &[(&str, &str)]) -> Duration {
    let lines = units.iter().flat_map(|(_, section)| section.lines());
    let times = lines.filter_map(|line| line.strip_prefix("TakeoverSec=")?.parse::<u64>().ok());
    Duration::from_secs(times.min().unwrap_or(TAKEOVER_SECONDS) / 3)
}

impl Stage {
    /// Nodes that are all UP, with a unit of the cluster for each name; none is started.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn new(name: &str, nodes: u32, units: &[(&str, &str)]) -> Result<Stage> {
        let options = Options { shared: Some(SHARED.to_owned()), ..Options::new(name, Kind::Ns, nodes) };
        let cluster = Cluster::start(options)?;
        let folder = cluster.shared_folder()?;
        let dogs = Watchdogs::watch(name, &folder, nodes, watchdog_time(units))?;
        let all: Vec<u32> = (1..=nodes).collect();
        cluster.all_see_up(&all, nodes)?;
        put_program(&folder, "witness", witness::PROGRAM)?;
        for node in all {
            let node = cluster.lab.node(node)?;
            for (unit, section) in units {
                crate::put_unit(&node, &format!("{unit}.service"), &witness::unit(SHARED, unit, section))?;
            }
            node.check(&["systemctl", "daemon-reload"])?;
        }
        Ok(Stage { dogs, cluster, folder, nodes })
    }

    /// The folder that all nodes have as `/shared`, on this machine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `ssi` on a node, which has to do it.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn ssi(&self, node: u32, args: &[&str]) -> Result<()> {
        let output = self.cluster.ssi(node, args)?;
        ensure!(output.success(), "ssi {args:?} on node {node}: {}\n{}", output.error_text(), self.about(node));
        Ok(())
    }

    /// What a node thinks of the cluster, for messages.
    pub fn about(&self, node: u32) -> String {
        let ask = |args: &[&str]| self.cluster.ssi(node, args).map(|out| out.text()).unwrap_or_default();
        format!("{}\n{}", ask(&["status"]), ask(&["service", "list"]))
    }
    /// The units of the cluster, as a node sees them.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn services(&self, node: u32) -> Result<Vec<ServiceStatus>> {
        let text = self.cluster.ssi(node, &["service", "list", "--json"])?.text();
        serde_json::from_str(&text).with_context(|| format!("node {node} says {text:?}"))
    }
    /// Where the first instance of a unit that is up is.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn place(&self, asked: u32, unit: &str) -> Result<Option<u32>> {
        let services = self.services(asked)?;
        let service = services.iter().find(|service| service.unit == format!("{unit}.service"));
        let running = service.and_then(|service| service.instances.iter().find(|i| i.state == "running"));
        Ok(running.and_then(|instance| instance.node))
    }
    /// Waits until it runs on a node that fits.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn runs(&self, asked: u32, unit: &str, fits: impl Fn(u32) -> bool) -> Result<u32> {
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
    /// Waits until so many instances of it run.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn runs_all(&self, asked: u32, unit: &str, count: usize) -> Result<()> {
        let waited = eventually(&format!("{count} of {unit} run"), || {
            let services = self.services(asked)?;
            let service = services.iter().find(|service| service.unit == format!("{unit}.service"));
            let running = service.map(|s| s.instances.iter().filter(|i| i.state == "running").count());
            Ok(running == Some(count))
        });
        waited.with_context(|| {
            let said = self.cluster.ssi(asked, &["service", "explain", unit]).map(|out| out.text());
            format!("{}\n{}", self.about(asked), said.unwrap_or_default())
        })
    }

    /// What the judge says of each instance.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn verdicts(&self) -> Result<BTreeMap<String, Verdict>> {
        witness::judge(&self.folder)
    }
    /// Nothing ran twice; the verdicts, for more.
    ///
    /// # Errors
    /// When a node does not answer, or it does not come to that.
    pub fn is_clean(&self) -> Result<BTreeMap<String, Verdict>> {
        let verdicts = self.verdicts()?;
        for (name, verdict) in &verdicts {
            ensure!(verdict.faults.is_empty(), "{name}: {:#?}\n{:#?}", verdict.faults, verdict.runs);
            println!("{name}: {} runs, nobody ran for {:.2} s", verdict.runs.len(), verdict.nobody);
        }
        Ok(verdicts)
    }
}

/// Puts a program into a folder that nodes share.
///
/// # Errors
/// When it cannot be written.
pub fn put_program(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}
