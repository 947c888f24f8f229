// SPDX-License-Identifier: GPL-2.0-or-later
//! Nodes with a corosync each on this machine: a node is a mount, network, IPC and UTS namespace, and a bridge in a
//! network namespace of its own joins them. Corosync's sockets are abstract, so they belong to the network namespace;
//! its shared memory, state and files are on tmpfs of the node's own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ssi_cluster::config::Config;
use ssi_cluster::corosync::{self, Conf, Paths};
use ssi_clusterd::engine::Engine as _;
use ssi_clusterd::engine::corosync::{Corosync, HELPER_VARIABLE};

use crate::watcher::Watcher;

/// One cluster at a time: corosync runs at real-time priority, and two clusters on two processors would evict nodes.
static TURN: Mutex<()> = Mutex::new(());

/// Why there can be no such nodes here, if so.
pub(crate) fn impossible() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces need root".into());
    }
    let missing = ["corosync", "ip", "nsenter", "setpriv", "unshare"].into_iter().find(|program| {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
        !found.is_ok_and(|s| s.success())
    });
    missing.map(|program| format!("{program} is not installed"))
}

/// A process that ends with its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that do nothing, as fast as they can, until it is dropped.
pub(crate) struct Load(#[expect(dead_code, reason = "kept for its end")] Vec<Owned>);

impl Load {
    pub(crate) fn start(processes: usize) -> Self {
        let turn = || Command::new("setpriv").args(["--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]).spawn();
        Self((0..processes).map(|_| Owned(turn().unwrap())).collect())
    }
}

pub(crate) struct Node {
    number: u32,
    // Before the namespaces' holder, so that it ends first.
    corosync: Option<Owned>,
    holder: Owned,
    start: PathBuf,
    helper_pid: PathBuf,
}

pub(crate) struct Nodes {
    nodes: Vec<Node>,
    hub: Owned,
    folder: tempfile::TempDir,
    // Last: the next cluster may begin when all of this one's processes are gone.
    _turn: MutexGuard<'static, ()>,
}

impl Nodes {
    /// Starts `count` nodes with corosync; `membership`: further lines for that table of cluster.toml.
    pub(crate) fn start(count: u32, membership: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let helper = build_helper();
        let folder = tempfile::tempdir().unwrap();
        let hub = hold("--net", "ip link add br0 type bridge && ip link set br0 up");
        let config = config(count, membership);
        let mut all = Self { nodes: Vec::new(), hub, folder, _turn: turn };
        for number in 1..=count {
            let node = all.make(number, &config, &helper);
            all.nodes.push(node);
        }
        for number in 1..=count {
            all.start_corosync(number);
        }
        all
    }

    fn make(&self, number: u32, config: &Config, helper: &Path) -> Node {
        let private = format!(
            "hostname node{number} && ip link set lo up && for d in /dev/shm /run /var/lib/corosync /etc/corosync; do \
             mount -t tmpfs none $d || exit 1; done"
        );
        let holder = hold("--net --mount --uts --ipc --propagation private", &private);
        let pid = holder.0.id();
        self.hub_does(&format!(
            "ip link add p{number} type veth peer name eth0 netns {pid} && ip link set p{number} master br0 up"
        ));
        inside(pid, &format!("ip addr add 10.77.0.{number}/24 dev eth0 && ip link set eth0 up"));

        let paths = Paths::below(Path::new(&format!("/proc/{pid}/root")));
        let outcome = corosync::ensure(config, &paths).unwrap();
        assert_eq!((outcome.conf, outcome.key_missing), (Conf::Written, true));
        match self.nodes.first() {
            None => assert!(corosync::make_key(&paths).unwrap()),
            Some(first) => {
                let key = Paths::below(Path::new(&format!("/proc/{}/root", first.holder.0.id()))).key;
                fs::copy(key, &paths.key).unwrap();
            }
        }

        let (start, helper_pid) = (self.path(number, "helper"), self.path(number, "helper.pid"));
        let script = format!(
            "#!/bin/sh\necho $$ > {pid_file}\nexec nsenter -t {pid} --net --mount --uts --ipc -- {helper}\n",
            pid_file = helper_pid.display(),
            helper = helper.display(),
        );
        fs::write(&start, script).unwrap();
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).unwrap();
        Node { number, corosync: None, holder, start, helper_pid }
    }

    fn path(&self, number: u32, what: &str) -> PathBuf {
        self.folder.path().join(format!("node{number}.{what}"))
    }

    fn node(&self, number: u32) -> &Node {
        self.nodes.iter().find(|n| n.number == number).unwrap()
    }

    /// Starts the engine of a node as the daemon does.
    pub(crate) fn engine(&self, number: u32) -> Watcher {
        let engine = Corosync { helper: self.node(number).start.clone() };
        Watcher::new(number, Box::new(engine).start())
    }

    pub(crate) fn start_corosync(&mut self, number: u32) {
        let log = fs::File::options().append(true).create(true).open(self.path(number, "corosync")).unwrap();
        let pid = self.node(number).holder.0.id().to_string();
        let child = Command::new("nsenter")
            .args(["-t", &pid, "--net", "--mount", "--uts", "--ipc", "--"])
            .args(["setpriv", "--pdeathsig", "KILL", "corosync", "-f"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = self.nodes.iter_mut().find(|n| n.number == number).unwrap();
        node.corosync = Some(Owned(child));
    }

    /// As if the power went: SIGKILL.
    pub(crate) fn kill_corosync(&mut self, number: u32) {
        let node = self.nodes.iter_mut().find(|n| n.number == number).unwrap();
        assert!(node.corosync.take().is_some(), "corosync of node {number} does not run");
    }

    pub(crate) fn kill_helper(&self, number: u32) {
        let pid = fs::read_to_string(&self.node(number).helper_pid).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Packets to and from the node are lost, without its interface going down.
    pub(crate) fn cut(&self, number: u32) {
        self.hub_does(&format!("ip link set p{number} nomaster"));
    }

    pub(crate) fn heal(&self, number: u32) {
        self.hub_does(&format!("ip link set p{number} master br0"));
    }

    fn hub_does(&self, script: &str) {
        let pid = self.hub.0.id().to_string();
        let status = Command::new("nsenter").args(["-t", &pid, "--net", "--", "sh", "-ec", script]).status().unwrap();
        assert!(status.success(), "{script}: {status}");
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = fs::read_to_string(self.path(node.number, "corosync")).unwrap_or_default();
                eprintln!("--- corosync of node {}\n{log}", node.number);
            }
        }
    }
}

/// Starts a process that keeps new namespaces until it is ended, and does `script` in them.
fn hold(namespaces: &str, script: &str) -> Owned {
    let script = format!("({script}) && echo ready && exec sleep infinity");
    let child = Command::new("unshare")
        .args(namespaces.split(' '))
        .args(["--", "setpriv", "--pdeathsig", "KILL", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Owned(child);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "a namespace could not be set up: {script}");
    child
}

fn inside(pid: u32, script: &str) {
    let status = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "--net", "--mount", "--", "sh", "-ec", script])
        .status()
        .unwrap();
    assert!(status.success(), "{script}: {status}");
}

fn config(count: u32, membership: &str) -> Config {
    let mut text = format!("name = \"conformance\"\n[membership]\nengine = \"corosync\"\n{membership}\n");
    for n in 1..=count {
        text += &format!(
            "[[node]]\nid = {n}\nname = \"node{n}\"\naddress = \"10.77.0.{n}\"\nmac = \"52:54:00:00:00:{n:02x}\"\n"
        );
    }
    Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap()
}

/// The helper is another package's program, so this one's build does not make it. One that is named is taken as it is.
fn build_helper() -> PathBuf {
    if let Some(named) = std::env::var_os(HELPER_VARIABLE) {
        return named.into();
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "ssi-engine-corosync"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "ssi-engine-corosync cannot be built");
    // target/<profile>/deps/<this test>
    let here = std::env::current_exe().unwrap();
    here.parent().and_then(Path::parent).unwrap().join("ssi-engine-corosync")
}
