// SPDX-License-Identifier: GPL-2.0-or-later
//! Namespace nodes.
//!
//! ```text
//!   keeper --spawns--> launcher (joins the node's cgroup and network, unshares the rest)
//!                         +-- forks --> PID 1: lays out its root, then is the agent, or
//!                                       starts the agent and becomes the init under test
//! ```
//!
//! Each dies with its parent by the kernel's hand (PR_SET_PDEATHSIG), so nothing is left behind
//! even when the keeper is killed.

pub(crate) mod cgroup;
pub mod launch;
pub(crate) mod root;

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::faults::Boot;
use crate::network::{Namespace, Network};
use crate::spec::{CLIENT, LabSpec, NodeNumber};

use cgroup::Cgroup;

/// What a launcher is told about its node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePlan {
    /// The node's number; 0 is the client.
    pub number: NodeNumber,
    /// Its host name.
    pub host_name: String,
    /// The keeper's process number.
    pub keeper: i32,
    /// The directory its root is mounted on.
    pub root: PathBuf,
    /// The directory that takes what it writes.
    pub disk: PathBuf,
    /// A tree between the host's root and what it writes.
    pub layer: PathBuf,
    /// A directory of all nodes, and where it appears.
    pub shared: Option<(PathBuf, PathBuf)>,
    /// Its cgroup.
    pub cgroup: PathBuf,
    /// Its network namespace.
    pub network: PathBuf,
    /// What takes the place of its console.
    pub console: PathBuf,
    /// The content of `/etc/hosts`.
    pub hosts: String,
    /// The content of `/etc/machine-id`.
    pub machine_id: String,
    /// PID 1, where it is not the agent.
    pub init: Option<Vec<String>>,
}

/// A namespace node that runs.
pub(crate) struct NsNode {
    launcher: Child,
    cgroup: Cgroup,
}

/// What all namespace nodes of a lab share.
pub(crate) struct NsHost<'a> {
    /// The lab's plan.
    pub(crate) spec: &'a LabSpec,
    /// The lab's directory.
    pub(crate) directory: &'a Path,
    /// The tree of installed files.
    pub(crate) layer: &'a Path,
    /// The agent's program.
    pub(crate) agent: &'a Path,
}

impl NsHost<'_> {
    /// Starts a node and gives the keeper's end of its channel.
    ///
    /// To be called on a thread that lives as long as the keeper: the kernel sends the signal of a
    /// parent's death when the *thread* that started the child ends (prctl(2)).
    pub(crate) fn start(&self, node: NodeNumber, boot: &Boot, network: &Network) -> Result<(NsNode, UnixStream)> {
        let directory = self.directory.join(self.spec.host_name(node));
        let (root, disk) = (directory.join("root"), directory.join("disk"));
        if !disk.join("upper").exists() {
            fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
            fs::create_dir_all(&disk)?;
            let size = format!("size={}m,mode=755", self.spec.disk_mib);
            mount(Some("ssi-lab"), &disk, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
                .with_context(|| format!("mounting the node's disk on {}", disk.display()))?;
            fs::create_dir(disk.join("upper"))?;
            fs::create_dir(disk.join("work"))?;
        }
        let cgroup = Cgroup::new(&self.spec.name, &self.spec.host_name(node))?;
        let space = Namespace::new()?;
        network.plug_veths(self.spec, node, &space)?;
        let console = directory.join("console.log");
        let log = open_log(&console)?;
        let custom = boot.init.clone().or_else(|| self.spec.init.clone());
        let plan = NodePlan {
            number: node,
            host_name: self.spec.host_name(node),
            keeper: rustix::process::getpid().as_raw_nonzero().get(),
            root,
            disk,
            layer: self.layer.to_owned(),
            shared: self.spec.shared.clone().map(|place| (self.directory.join("shared"), place)),
            cgroup: cgroup.path().to_owned(),
            network: space.path(),
            console,
            hosts: self.spec.hosts(),
            machine_id: machine_id(&self.spec.name, node),
            // The client is not a node: whatever is tested as init is tested on nodes.
            init: if node == CLIENT { None } else { custom },
        };
        let file = directory.join("plan.json");
        fs::write(&file, serde_json::to_vec_pretty(&plan)?).with_context(|| format!("writing {}", file.display()))?;
        let (ours, theirs) = UnixStream::pair().context("making the node's control channel")?;
        let launcher = Command::new(self.agent)
            .arg("launch")
            .arg(&file)
            .env_clear()
            .envs([
                ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                ("HOME", "/root"),
                ("LANG", "C.UTF-8"),
                ("TERM", "linux"),
                ("container", "ssi-lab"),
            ])
            .env("SSI_NODE", node.to_string())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.agent.display()))?;
        // The node itself holds its network from now on, once its launcher has joined; the caller
        // waits for the agent's first word, so the namespace is handed over by then.
        Ok((NsNode { launcher, cgroup }, Held { stream: ours, _space: space }.into_stream_after_hello()?))
    }
}

/// The stream, and the network namespace that must outlive the launcher's start.
struct Held {
    stream: UnixStream,
    _space: Namespace,
}

impl Held {
    /// Waits for the first byte of the agent's first word, without taking it.
    fn into_stream_after_hello(self) -> Result<UnixStream> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&patience)).context("waiting for the node's agent")?;
        anyhow::ensure!(ready > 0, "the node's agent did not speak within 20 s");
        Ok(self.stream)
    }
}

impl NsNode {
    /// Power off.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // The launcher's death kills PID 1, and with it all others; the cgroup makes it one step.
        let _ = self.cgroup.kill();
        let _ = self.launcher.kill();
        self.launcher.wait().context("waiting for the node's end")?;
        self.cgroup.wait_empty();
        Ok(())
    }

    /// Stops all processes, or lets them run on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        self.cgroup.freeze(frozen)
    }

    /// The launcher's process number.
    pub(crate) fn pid(&self) -> Option<i32> {
        i32::try_from(self.launcher.id()).ok()
    }

    /// Whether it ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.launcher.try_wait(), Ok(None))
    }
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))
}

/// The same for a lab's node each time, and no other's.
pub(crate) fn machine_id(lab: &str, node: NodeNumber) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("ssi-lab {lab} {node}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
