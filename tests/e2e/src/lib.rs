// SPDX-License-Identifier: GPL-2.0-or-later
//! A cluster of this project's own programs in the lab, for the tests that only a cluster can show, for the tour of
//! `cargo xtask demo` and for the benchmarks.
//!
//! [`Cluster::start`] brings up a lab, gives every node the same `cluster.toml` and key, and has the node's init start
//! corosync and `ssi-clusterd` by their units: `ssi-init` on namespace nodes, systemd on virtual machines unless the options
//! say otherwise. What it asks, it asks with `ssi` and systemctl(1), as a person would.
//!
//! The scenes are in `tests/`: `ns_*.rs` need only namespaces, `vm_*.rs` need virtual machines.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ssi_lab::{ExecOptions, Install, Kind, Lab, Node, Output, Power};

pub mod chain;
pub mod fence;
pub mod log;
pub mod scope;
pub mod watchdog;
pub mod witness;

/// How long the cluster is waited for. A test that waits this long has failed; under emulation with everything else
/// going on, much that is quick takes a while.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// OpenSSI's names for the command.
const LINKS: [&str; 5] = ["cluster", "clustername", "clusternode_num", "clusternode_getstate", "loads"];

/// A script for both folders that leaves a line for each run: event, node, number of the transition, runner. The line is
/// on the disk before the script ends: the runner's plug may be pulled right after.
const SAMPLE_SCRIPT: &str = "#!/bin/sh\nmkdir -p /var/log/ssi-scripts\n\
    echo \"$SSI_EVENT $SSI_EVENT_NODE $SSI_EVENT_NAME $SSI_TRANSITION $(hostname)\" >>/var/log/ssi-scripts/runs\n\
    sync /var/log/ssi-scripts/runs\n";

/// What the cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lab's name, unique on this machine.
    pub name: String,
    /// What its nodes are made of.
    pub kind: Kind,
    /// How many.
    pub nodes: u32,
    /// Corosync as it is without a setting: token 3000 ms and 650 ms for each node from the third.
    pub stock_corosync: bool,
    /// Scripts in `nodeup.d` and `nodedown.d` that leave a line in `/var/log/ssi-scripts/runs`.
    pub scripts: bool,
    /// A second network for redundant links.
    pub two_networks: bool,
    /// `ssi-init` is process 1 of virtual machines too; of namespace nodes it always is.
    pub ssi_init: bool,
    /// How many of the nodes are in `cluster.toml` and have daemons at first; all, when nothing is said.
    pub members: Option<u32>,
    /// A folder of this machine that all namespace nodes have at this path, with a stand-in for a watchdog in it: see
    /// [`watchdog`].
    pub shared: Option<String>,
}

impl Options {
    /// The usual: our settings, no scripts, one network.
    pub fn new(name: &str, kind: Kind, nodes: u32) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            nodes,
            stock_corosync: false,
            scripts: false,
            two_networks: false,
            ssi_init: kind == Kind::Ns,
            members: None,
            shared: None,
        }
    }

    /// With the scripts.
    #[must_use]
    pub fn with_scripts(mut self) -> Self {
        self.scripts = true;
        self
    }
}

/// A cluster that is up, or coming up. It is taken down when this is dropped.
pub struct Cluster {
    /// The lab, for faults and for what is not `ssi`'s.
    pub lab: Lab,
    options: Options,
}

impl Cluster {
    /// Brings up one namespace node that is in no cluster, and waits until it has booted.
    ///
    /// # Errors
    /// What did not come up, or what program was not built.
    pub fn alone(name: &str) -> Result<Self> {
        let mut options = Options::new(name, Kind::Ns, 1);
        options.members = Some(0);
        let cluster = Self::start(options)?;
        cluster.wait_booted(1)?;
        Ok(cluster)
    }

    /// Brings up the lab and starts the daemons; does not wait for nodes to be UP.
    ///
    /// # Errors
    /// What did not come up, or what program was not built.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_with(options, |_| {})
    }

    /// The same; `progress` is told of long steps.
    ///
    /// # Errors
    /// What did not come up, or what program was not built.
    pub fn start_with(options: Options, progress: impl FnMut(&str) + 'static) -> Result<Self> {
        let mut builder = Lab::builder(&options.name).kind(options.kind).nodes(options.nodes).progress(progress);
        builder = builder.install(programs(options.kind)?);
        if options.ssi_init || options.kind == Kind::Ns {
            builder = match &options.shared {
                Some(place) => builder.shared(place).init(watchdog::init(place)),
                None => builder.init(["/usr/sbin/ssi-init"]),
            };
        }
        if options.two_networks {
            builder = builder.two_networks();
        }
        let with_dogs = options.shared.is_some();
        let cluster = Self { lab: builder.boot(!with_dogs).start()?, options };
        if with_dogs {
            watchdog::make_pipes(&cluster.shared_folder()?, cluster.options.nodes)?;
            for node in 1..=cluster.options.nodes {
                cluster.lab.start(node)?;
            }
        }
        let key = random_key()?;
        // All at once: a guest under emulation takes seconds for what a machine does in no time.
        cluster.on_each(|n| {
            cluster.wait_booted(n)?;
            cluster.configure(n, &key)?;
            cluster.start_daemons(n)
        })?;
        Ok(cluster)
    }

    /// The folder that all nodes share, on this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn shared_folder(&self) -> Result<PathBuf> {
        self.lab.shared_folder().context("this lab shares no folder")
    }

    fn on_each(&self, act: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|scope| {
            let act = &act;
            let threads: Vec<_> = (1..=self.members()).map(|n| (n, scope.spawn(move || act(n)))).collect();
            threads.into_iter().try_for_each(|(n, thread)| {
                thread.join().unwrap_or_else(|_| bail!("it panicked")).with_context(|| format!("node {n}"))
            })
        })
    }

    fn members(&self) -> u32 {
        self.options.members.unwrap_or(self.options.nodes)
    }

    /// The text of the cluster's `cluster.toml`.
    pub fn cluster_toml(&self) -> String {
        let mut text = String::from("name = \"lab\"\n\n[membership]\nengine = \"corosync\"\n");
        if self.options.kind == Kind::Vm {
            // Guests under emulation that share two processors stall for longer than the usual settings forgive.
            text.push_str("token_ms = 3000\n");
        }
        for n in 1..=self.members() {
            let addresses = if self.options.two_networks {
                format!("addresses = [\"10.77.0.{n}\", \"10.78.0.{n}\"]")
            } else {
                format!("address = \"10.77.0.{n}\"")
            };
            text.push_str(&format!("\n[[node]]\nid = {n}\nname = \"node{n}\"\n{addresses}\n"));
        }
        text
    }

    fn configure(&self, n: u32, key: &[u8]) -> Result<()> {
        let node = self.lab.node(n)?;
        node.check(&["mkdir", "-p", "/etc/ssi/nodeup.d", "/etc/ssi/nodedown.d", "/etc/corosync", "/var/lib/ssi"])?;
        node.put("/etc/ssi/cluster.toml", self.cluster_toml(), 0o644)?;
        node.put("/etc/corosync/authkey", key, 0o400)?;
        let links: Vec<String> = LINKS.iter().map(|link| format!("/usr/bin/{link}")).collect();
        node.check(
            &["sh", "-c", "for link; do ln -sf ssi \"$link\" || exit; done", "sh"]
                .into_iter()
                .chain(links.iter().map(String::as_str))
                .collect::<Vec<_>>(),
        )?;
        if self.options.scripts {
            for folder in ["nodeup.d", "nodedown.d"] {
                node.put(&format!("/etc/ssi/{folder}/10-sample"), SAMPLE_SCRIPT, 0o755)?;
            }
        }
        node.check(&["/usr/sbin/ssi-clusterd", "engine-config"])?;
        if self.options.stock_corosync {
            // What is written by hand is left alone from here on.
            let ours = String::from_utf8(node.get("/etc/corosync/corosync.conf")?)?;
            let tuned = |line: &str| {
                ["token", "consensus", "knet_ping", "knet_pong", "join", "send_join", "#"]
                    .iter()
                    .any(|k| line.starts_with(k))
            };
            let stock: Vec<&str> = ours.lines().filter(|l| !tuned(l.trim_start())).collect();
            node.put("/etc/corosync/corosync.conf", stock.join("\n") + "\n", 0o644)?;
        }
        Ok(())
    }

    /// Has a node that is up start corosync and the daemon, now and at each boot.
    ///
    /// # Errors
    /// What could not be started.
    pub fn start_daemons(&self, n: u32) -> Result<()> {
        let node = self.lab.node(n)?;
        // Where the lab's own target is what a node boots to, that is what wants them.
        let target = match self.options.kind {
            Kind::Ns => "default",
            Kind::Vm => "multi-user",
        };
        // Enabled by hand, so that the init reads its files anew once. The package started corosync with a configuration of
        // its own before there was a cluster.
        let script = format!(
            "cd /etc/systemd/system; mkdir -p {target}.target.wants; \
             for unit in ssi-engine-config corosync ssi-clusterd; do \
             ln -sf /usr/lib/systemd/system/$unit.service {target}.target.wants/; done; \
             systemctl daemon-reload; systemctl restart corosync.service; systemctl start ssi-clusterd.service"
        );
        node.check(&["sh", "-ec", &script])?;
        Ok(())
    }

    /// Waits until a node's init has done what it boots to, well or not.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn wait_booted(&self, n: u32) -> Result<()> {
        let node = self.lab.node(n)?;
        eventually("the node's init has booted", || booted(&node))
    }

    /// Waits until all these nodes see `count` nodes UP.
    ///
    /// # Errors
    /// With what they said when it did not happen.
    pub fn all_see_up(&self, nodes: &[u32], count: u32) -> Result<()> {
        nodes.iter().try_for_each(|&n| self.wait_up(n, count))
    }

    /// Runs `ssi` with these arguments on a node.
    ///
    /// # Errors
    /// When the node does not answer; what `ssi` says is in the output.
    pub fn ssi(&self, node: u32, args: &[&str]) -> Result<Output> {
        let argv: Vec<&str> = std::iter::once("ssi").chain(args.iter().copied()).collect();
        let options = ExecOptions { timeout: Some(PATIENCE + Duration::from_secs(20)), ..ExecOptions::default() };
        Ok(self.lab.node(node)?.exec_with(&argv, &options)?)
    }

    /// Waits until `count` nodes are UP, as node `on` sees it.
    ///
    /// # Errors
    /// With what `ssi wait` and `ssi status` said when it did not happen.
    pub fn wait_up(&self, on: u32, count: u32) -> Result<()> {
        self.wait(on, &["--up", &count.to_string()])
    }

    /// Waits until a node is in a state, as node `on` sees it.
    ///
    /// # Errors
    /// With what `ssi wait` and `ssi status` said when it did not happen.
    pub fn wait_state(&self, on: u32, node: u32, state: &str) -> Result<()> {
        self.wait(on, &["--node", &node.to_string(), "--state", state])
    }

    fn wait(&self, on: u32, what: &[&str]) -> Result<()> {
        let patience = format!("{}s", PATIENCE.as_secs());
        let args: Vec<&str> = ["wait", "--timeout", &patience].into_iter().chain(what.iter().copied()).collect();
        let out = self.ssi(on, &args)?;
        if !out.success() {
            bail!("on node {on}: ssi {}: {}\n{}", args.join(" "), out.error_text(), self.picture());
        }
        Ok(())
    }

    /// What every node says of itself, for the message of a test that failed.
    pub fn picture(&self) -> String {
        let mut text = String::new();
        for n in 1..=self.options.nodes {
            let status = self.ssi(n, &["status"]).map(|o| o.text() + &o.error_text());
            let log = self.lab.node(n).and_then(|node| {
                let journal = ["journalctl", "-b", "-n", "30", "-u", "ssi-clusterd", "-u", "corosync"];
                node.exec(&journal).map(|said| said.text())
            });
            let tail: Vec<String> = match log {
                Ok(log) => log.lines().rev().take(15).map(str::to_owned).collect(),
                Err(e) => vec![e.to_string()],
            };
            let tail: Vec<&str> = tail.iter().rev().map(String::as_str).collect();
            let status = status.unwrap_or_else(|e| format!("{e:#}"));
            text.push_str(&format!("--- node {n}\n{status}\n{}\n", tail.join("\n")));
        }
        text
    }

    /// The transition log as node `on` has it.
    ///
    /// # Errors
    /// When it cannot be had or read.
    pub fn log(&self, on: u32) -> Result<Vec<serde_json::Value>> {
        let out = self.ssi(on, &["log", "--json"])?;
        ensure!(out.success(), "on node {on}: ssi log: {}", out.error_text());
        serde_json::Deserializer::from_str(&out.text())
            .into_iter::<serde_json::Value>()
            .flat_map(|value| match value {
                Ok(serde_json::Value::Array(list)) => list.into_iter().map(Ok).collect(),
                other => vec![other],
            })
            .collect::<Result<_, _>>()
            .context("ssi log --json is not JSON")
    }

    /// `ssi status --json` of a node.
    ///
    /// # Errors
    /// When it cannot be had or read.
    pub fn status(&self, on: u32) -> Result<serde_json::Value> {
        let out = self.ssi(on, &["status", "--json"])?;
        serde_json::from_str(&out.text()).with_context(|| format!("on node {on}: ssi status: {}", out.error_text()))
    }

    /// The main process of a service; 0 for none.
    ///
    /// # Errors
    /// When the node's init does not answer.
    pub fn main_process(&self, node: u32, service: &str) -> Result<u32> {
        let said = self.lab.node(node)?.exec(&["systemctl", "show", "-P", "MainPID", service])?;
        said.text().trim().parse().with_context(|| format!("node {node}: {service}: {}", said.error_text()))
    }

    /// Kills a service's main process (SIGKILL); if it is just being started again, as soon as it runs.
    ///
    /// # Errors
    /// When it does not come to run.
    pub fn kill_daemon(&self, node: u32, service: &str) -> Result<()> {
        eventually("the program runs, to be killed", || match self.main_process(node, service)? {
            0 => Ok(false),
            pid => Ok(self.lab.node(node)?.exec(&["kill", "-KILL", &pid.to_string()])?.success()),
        })
    }

    /// What a service has written to its log since the node was booted.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn journal(&self, node: u32, service: &str) -> Result<String> {
        Ok(self.lab.node(node)?.exec(&["journalctl", "-b", "--no-pager", "-u", service])?.text())
    }

    /// Turns a node off at once, as if its plug were pulled.
    ///
    /// # Errors
    /// When the lab cannot.
    pub fn power_off(&self, node: u32) -> Result<()> {
        Ok(self.lab.kill(node)?)
    }

    /// Turns a node on again; its init starts its daemons.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn power_on(&self, node: u32) -> Result<()> {
        Ok(self.lab.start(node)?)
    }
}

/// Whether a node's init has done what it boots to, well or not.
///
/// # Errors
/// When the node does not answer.
pub fn booted(node: &Node) -> Result<bool> {
    // Before it listens, systemctl says that it is not there.
    let said = node.exec(&["systemctl", "is-system-running"])?.text();
    Ok(["running", "degraded"].contains(&said.trim()))
}

/// What a program on a node said, without white space around it, however it ended.
///
/// # Errors
/// When the node does not answer.
pub fn said(node: &Node, words: &[&str]) -> Result<String> {
    Ok(node.exec(words)?.text().trim().to_owned())
}

/// Writes a unit file as a node's administrator would; the manager is not told.
///
/// # Errors
/// When the node does not answer, or cannot write.
pub fn put_unit(node: &Node, name: &str, text: &str) -> Result<()> {
    Ok(node.put(&format!("/etc/systemd/system/{name}"), text, 0o644)?)
}

/// Waits until a node is off: until its machine has ended, not only its services.
///
/// # Errors
/// When the lab does not answer, or the node stays on.
pub fn wait_off(lab: &Lab, node: u32) -> Result<()> {
    eventually("the node is off", || {
        Ok(lab.status()?.nodes.iter().all(|status| status.number != node || status.power == Power::Off))
    })
}

/// Waits until something holds, asking again and again.
///
/// # Errors
/// What was waited for, when it did not come.
pub fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match holds() {
            Ok(true) => return Ok(()),
            other if Instant::now() >= deadline => {
                return other.and_then(|_| bail!("it did not come to this: {what}"));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The project's programs and files as they go into a node.
///
/// # Errors
/// Which of them was not built.
pub fn programs(kind: Kind) -> Result<Vec<Install>> {
    let bin = bin_dir()?;
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = |from: PathBuf, to: &str, mode| Install { from, to: to.into(), mode };
    let mut list = vec![
        file(bin.join("ssi"), "/usr/bin/ssi", 0o755),
        file(bin.join("cdsl"), "/usr/bin/cdsl", 0o755),
        file(bin.join("ssi-clusterd"), "/usr/sbin/ssi-clusterd", 0o755),
        file(bin.join("ssi-engine-corosync"), "/usr/libexec/ssi/ssi-engine-corosync", 0o755),
    ];
    let units = repo.join("distro/systemd");
    let unit = |name: &str| file(units.join(name), &format!("/usr/lib/systemd/system/{name}"), 0o644);
    list.extend([
        unit("ssi-clusterd.service"),
        unit("ssi-engine-config.service"),
        file(
            repo.join("distro/dbus/org.openssi.Cluster1.conf"),
            "/usr/share/dbus-1/system.d/org.openssi.Cluster1.conf",
            0o644,
        ),
        file(bin.join("ssi-init"), "/usr/sbin/ssi-init", 0o755),
        file(bin.join("ssi-init-manager"), "/usr/lib/ssi/ssi-init-manager", 0o755),
        file(bin.join("ssi-exec"), "/usr/lib/ssi/ssi-exec", 0o755),
    ]);
    if kind == Kind::Ns {
        // Its root is the root of the machine below: what that has enabled is not the node's.
        let own = repo.join("tests/e2e/units");
        let system = "/etc/systemd/system";
        list.extend([
            file(own.join("default.target"), &format!("{system}/default.target"), 0o644),
            file(own.join("corosync-again.conf"), &format!("{system}/corosync.service.d/again.conf"), 0o644),
        ]);
    }
    for install in &list {
        ensure!(install.from.exists(), "{} is not there; run: cargo build --workspace", install.from.display());
    }
    Ok(list)
}

/// Where the programs were built: `$SSI_BIN_DIR`, or beside the running test.
fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("SSI_BIN_DIR") {
        return Ok(dir.into());
    }
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let dir = exe.ancestors().skip(1).find(|d| d.join("ssi-clusterd").exists());
    Ok(dir.context("ssi-clusterd is not beside this program; run: cargo build --workspace")?.to_owned())
}

fn random_key() -> Result<Vec<u8>> {
    use std::io::Read;
    let mut key = vec![0; 256];
    std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut key)).context("cannot read /dev/urandom")?;
    Ok(key)
}
