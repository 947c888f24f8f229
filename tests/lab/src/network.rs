// SPDX-License-Identifier: GPL-2.0-or-later
//! The lab's networks: bridges in a network namespace that only the keeper holds, so that they end
//! with it, and nothing of them is seen on the host.
//!
//! ```text
//!   lab's namespace:   bridge br0 -- n0e0 (client)  n1e0  n2e0 ...     10.77.0.0/24
//!                      bridge br1 -- n0e1           n1e1  n2e1 ...     10.78.0.0/24, if asked for
//!   a node's own:      eth0, eth1: the other ends of veths, or a guest's cards behind taps
//! ```

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, unshare};

use crate::agent::lock;
use crate::command::run_with;
use crate::faults::Cuts;
use crate::spec::{LabSpec, NodeNumber};

/// A network namespace that lives as long as this value, or a process in it.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Makes an empty one.
    pub(crate) fn new() -> Result<Self> {
        // A thread of its own leaves this process where it is, and ends.
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        });
        made.join().map_err(|_| anyhow!("the thread that makes network namespaces panicked"))?.map(Self)
    }

    /// A path by which other processes reach it while this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Runs a tool inside.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program).args(arguments);
        run_with(&mut command, input.as_bytes())
    }

    /// Runs many `ip` commands, one a line, in one process.
    pub(crate) fn ip(&self, lines: &[String]) -> Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        self.run("ip", &["-batch", "-"], &text).map(drop)
    }
}

/// The bridges and who is cut off.
pub(crate) struct Network {
    namespace: Namespace,
    cuts: Mutex<Cuts>,
}

/// The name of a node's port on a bridge.
pub(crate) fn port(network: usize, node: NodeNumber) -> String {
    format!("n{node}e{network}")
}

impl Network {
    /// Makes the bridges.
    pub(crate) fn new(spec: &LabSpec) -> Result<Self> {
        let namespace = Namespace::new()?;
        let mut lines = vec!["link set lo up".to_owned()];
        for network in 0..spec.networks.len() {
            // Corosync and others use multicast without asking any router for it.
            lines.push(format!("link add br{network} type bridge stp_state 0 mcast_snooping 0"));
            lines.push(format!("link set br{network} up"));
        }
        namespace.ip(&lines).context("making the lab's bridges")?;
        Ok(Self { namespace, cuts: Mutex::default() })
    }

    /// The namespace the bridges are in.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Connects a namespace node: a veth a network, with addresses.
    pub(crate) fn plug_veths(&self, spec: &LabSpec, node: NodeNumber, into: &Namespace) -> Result<()> {
        self.unplug(spec, node);
        let mut outside = Vec::new();
        let mut inside = vec!["link set lo up".to_owned()];
        for network in 0..spec.networks.len() {
            let (port, mac) = (port(network, node), spec.mac(network, node));
            outside.push(format!(
                "link add {port} type veth peer name eth{network} address {mac} netns {}",
                into.path().display()
            ));
            outside.push(format!("link set {port} master br{network} up"));
            if let Some(address) = spec.address(network, node) {
                inside.push(format!("address add {address}/24 broadcast + dev eth{network}"));
            }
            inside.push(format!("link set eth{network} up"));
        }
        self.namespace.ip(&outside).context("plugging a node into the bridges")?;
        into.ip(&inside).context("giving a node its addresses")
    }

    /// Makes a guest's taps.
    pub(crate) fn plug_taps(&self, spec: &LabSpec, node: NodeNumber) -> Result<()> {
        self.unplug(spec, node);
        let mut lines = Vec::new();
        for network in 0..spec.networks.len() {
            let port = port(network, node);
            lines.push(format!("tuntap add {port} mode tap"));
            lines.push(format!("link set {port} master br{network} up"));
        }
        self.namespace.ip(&lines).context("making a guest's taps")
    }

    /// Takes a node's ports away at once: a dead namespace's network would answer for some
    /// milliseconds more.
    pub(crate) fn unplug(&self, spec: &LabSpec, node: NodeNumber) {
        for network in 0..spec.networks.len() {
            // It is gone already when the node ended by itself.
            let _ = self.namespace.run("ip", &["link", "delete", &port(network, node)], "");
        }
    }

    /// Changes who is cut off, and loads it in one step.
    pub(crate) fn change_cuts(&self, change: impl FnOnce(&mut Cuts)) -> Result<()> {
        let mut cuts = lock(&self.cuts);
        let mut wanted = cuts.clone();
        change(&mut wanted);
        self.namespace.run("nft", &["-f", "-"], &wanted.rules()).context("loading the rules for the cuts")?;
        *cuts = wanted;
        Ok(())
    }

    /// Sets the rate towards a node, or takes the limit away.
    pub(crate) fn limit_rate(&self, spec: &LabSpec, node: NodeNumber, kbit: Option<u32>) -> Result<()> {
        for network in 0..spec.networks.len() {
            let port = port(network, node);
            match kbit {
                Some(kbit) => {
                    let rate = format!("{kbit}kbit");
                    // A bucket of 20 ms, but never less than one full frame with its header.
                    let burst = (u64::from(kbit) * 1000 / 8 / 50).max(2000).to_string();
                    let words = [
                        "qdisc", "replace", "dev", &port, "root", "tbf", "rate", &rate, "burst", &burst, "latency",
                        "400ms",
                    ];
                    self.namespace.run("tc", &words, "").context("limiting a node's rate")?;
                }
                None => {
                    // There may be none.
                    let _ = self.namespace.run("tc", &["qdisc", "delete", "dev", &port, "root"], "");
                }
            }
        }
        Ok(())
    }

    /// Takes a namespace node's link down or up.
    pub(crate) fn set_link(&self, network: usize, node: NodeNumber, up: bool) -> Result<()> {
        self.namespace.ip(&[format!("link set {} {}", port(network, node), if up { "up" } else { "down" })])
    }
}
