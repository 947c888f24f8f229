// SPDX-License-Identifier: GPL-2.0-or-later
//! Looking: everything the checks judge by, gathered with a bound on the time each part may take.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssi_cluster::NodeId;
use ssi_cluster::client::{ScriptStatus, ServiceStatus};
use ssi_cluster::config::Config;

use crate::cli::Places;
use crate::clock;
use crate::daemon::{Daemon, Picture};
use crate::machine::{self, Interfaces};

/// How long looking up a name may take; DNS that does not answer takes its time.
const LOOK_UP: Duration = Duration::from_secs(3);

/// How long listing the firewall's rules may take.
const LIST_RULES: Duration = Duration::from_secs(5);

/// A file as far as it could be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It is not there.
    Missing,
    /// It could not be looked at, and why.
    Unknown(String),
}

/// An address, and from which of ours packets go there, or why they do not.
pub type Route = (IpAddr, Result<IpAddr, String>);

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// Where things are.
    pub places: Places,
    /// cluster.toml, or its mistakes.
    pub config: Result<Config, String>,
    /// Which node this is, or why that cannot be told; absent without a configuration.
    pub own: Option<Result<NodeId, String>>,
    /// The host name.
    pub host_name: String,
    /// The interfaces.
    pub interfaces: Result<Interfaces, String>,
    /// Each other node's addresses, and from which of ours packets go there.
    pub routes: BTreeMap<NodeId, Vec<Route>>,
    /// What each node's name resolves to.
    pub lookups: BTreeMap<NodeId, Result<Vec<IpAddr>, String>>,
    /// Whether the clock is kept right.
    pub clock: Result<bool, String>,
    /// `nft -j list ruleset`.
    pub firewall: Seen<serde_json::Value>,
    /// Whether corosync runs.
    pub corosync_runs: bool,
    /// corosync.conf.
    pub corosync_conf: Seen<String>,
    /// The mode of corosync's key.
    pub key_mode: Seen<u32>,
    /// What the daemon tells, or why it does not.
    pub picture: Result<Picture, String>,
    /// The units of the cluster.
    pub services: Vec<ServiceStatus>,
    /// The mode of cluster.toml.
    pub file_mode: Seen<u32>,
    /// The scripts of nodeup.d and nodedown.d.
    pub scripts: Vec<ScriptStatus>,
    /// Now, in milliseconds since 1970 UTC.
    pub now_ms: u64,
}

/// Looks at everything.
pub async fn gather(places: &Places) -> Facts {
    let config = Config::load(&places.cluster_toml).map_err(|e| e.to_string());
    let own = config.as_ref().ok().map(|c| ssi_cluster::identity::own_node(c).map_err(|e| e.to_string()));
    let own_id = own.as_ref().and_then(|o| o.as_ref().ok()).copied();
    let (picture, scripts, services) = ask_daemon(places).await;
    Facts {
        own,
        host_name: machine::host_name(),
        interfaces: machine::interfaces().map_err(|e| format!("{e:#}")),
        routes: config.as_ref().map(|c| routes(c, own_id)).unwrap_or_default(),
        lookups: match &config {
            Ok(config) => look_up_names(config).await,
            Err(_) => BTreeMap::new(),
        },
        clock: clock::synchronised().map_err(|e| e.to_string()),
        firewall: list_rules().await,
        corosync_runs: machine::runs("corosync"),
        corosync_conf: read(places.corosync().conf),
        key_mode: mode(&places.corosync().key),
        file_mode: mode(&places.cluster_toml),
        config,
        picture,
        scripts,
        services,
        now_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis().try_into().unwrap_or(u64::MAX)),
        places: places.clone(),
    }
}

fn mode(path: &Path) -> Seen<u32> {
    match machine::mode_of(path) {
        Ok(Some(mode)) => Seen::There(mode),
        Ok(None) => Seen::Missing,
        Err(e) => Seen::Unknown(e.to_string()),
    }
}

async fn ask_daemon(places: &Places) -> (Result<Picture, String>, Vec<ScriptStatus>, Vec<ServiceStatus>) {
    let asked = async {
        let daemon = Daemon::connect(&places.socket).await?;
        let picture = daemon.picture().await?;
        let scripts = daemon.scripts().await.unwrap_or_default();
        Ok::<_, crate::outcome::Failure>((picture, scripts, daemon.services().await.unwrap_or_default()))
    };
    match asked.await {
        Ok((picture, scripts, services)) => (Ok(picture), scripts, services),
        Err(e) => (Err(e.to_string()), Vec::new(), Vec::new()),
    }
}

fn routes(config: &Config, own: Option<NodeId>) -> BTreeMap<NodeId, Vec<Route>> {
    let others = config.nodes.values().filter(|n| Some(n.id) != own);
    let ask = |a: &IpAddr| (*a, machine::source_towards(*a).map_err(|e| e.to_string()));
    others.map(|n| (n.id, n.addresses.iter().map(ask).collect())).collect()
}

async fn look_up_names(config: &Config) -> BTreeMap<NodeId, Result<Vec<IpAddr>, String>> {
    let running: Vec<_> = config
        .nodes
        .values()
        .map(|n| {
            let name = n.name.clone();
            let look = tokio::task::spawn_blocking(move || {
                (name.as_str(), 0u16).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect::<Vec<_>>())
            });
            (n.id, look)
        })
        .collect();
    let deadline = tokio::time::Instant::now() + LOOK_UP;
    let mut found = BTreeMap::new();
    for (id, look) in running {
        let answer = match tokio::time::timeout_at(deadline, look).await {
            Ok(Ok(Ok(mut addresses))) => {
                addresses.sort();
                addresses.dedup();
                Ok(addresses)
            }
            Ok(Ok(Err(e))) => Err(e.to_string()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no answer within {} s", LOOK_UP.as_secs())),
        };
        found.insert(id, answer);
    }
    found
}

async fn list_rules() -> Seen<serde_json::Value> {
    let listing = tokio::process::Command::new("nft")
        .args(["-j", "list", "ruleset"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(LIST_RULES, listing).await {
        Err(_) => Seen::Unknown(format!("nft did not answer within {} s", LIST_RULES.as_secs())),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => Seen::Missing,
        Ok(Err(e)) => Seen::Unknown(format!("nft cannot be run: {e}")),
        Ok(Ok(output)) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Seen::Unknown(format!("nft list ruleset: {}", said.lines().next().unwrap_or("it failed").trim()))
        }
        Ok(Ok(output)) => match serde_json::from_slice(&output.stdout) {
            Ok(rules) => Seen::There(rules),
            Err(e) => Seen::Unknown(format!("what nft said is not JSON: {e}")),
        },
    }
}

fn read(path: PathBuf) -> Seen<String> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Seen::There(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Seen::Missing,
        Err(e) => Seen::Unknown(format!("{}: {e}", path.display())),
    }
}
