// SPDX-License-Identifier: GPL-2.0-or-later
//! The cluster as the keeper sees it: its nodes, and the faults done to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};

use crate::agent::lock;
use crate::faults::{Boot, Fault, Slowness};
use crate::install;
use crate::network::Network;
use crate::ns::{NsHost, NsNode, cgroup};
use crate::programs;
use crate::protocol::Message;
use crate::spec::{CLIENT, Kind, LabSpec, NodeNumber};
use crate::status::{LabStatus, NodeStatus, Power};
use crate::vm::snapshot::Snapshot;
use crate::vm::{VmHost, VmNode};

use super::Job;
use super::guests::slow_guest;
use super::link::Link;

/// How long an agent of a namespace node may take to speak.
const NS_PATIENCE: Duration = Duration::from_secs(60);

/// How long the lab's end waits for a node's start to notice it.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// All that runs.
pub(crate) struct Cluster {
    pub(super) spec: LabSpec,
    pub(super) directory: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) network: Network,
    /// What guests are made from, once it is there.
    pub(super) vm: OnceLock<VmHost>,
    /// Held, so that nobody removes the disks below the guests' own.
    pub(super) snapshot: Mutex<Option<Snapshot>>,
    slots: BTreeMap<NodeNumber, Slot>,
    jobs: Sender<Job>,
}

/// One node's place.
#[derive(Default)]
pub(super) struct Slot {
    /// Held while the node is started, killed or frozen.
    machine: Mutex<Option<Machine>>,
    /// For calls, which must not wait for that.
    link: RwLock<Option<Arc<Link>>>,
    /// Whether the installed files are on its disk.
    pub(super) installed: AtomicBool,
}

impl Slot {
    /// The node is on.
    pub(super) fn take_place(&self, machine: Machine, link: Arc<Link>) {
        *lock(&self.machine) = Some(machine);
        self.set_link(link);
    }

    fn set_link(&self, link: Arc<Link>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }
}

/// A node that is on.
pub(super) struct Machine {
    pub(super) body: Body,
    pub(super) frozen: bool,
}

pub(super) enum Body {
    Ns(NsNode),
    Vm(VmNode),
}

impl Cluster {
    /// Makes networks and directories; no node runs yet.
    pub(crate) fn new(spec: LabSpec, directory: PathBuf, jobs: Sender<Job>) -> Result<Self> {
        let agent = programs::find(programs::AGENT).map_err(anyhow::Error::from)?;
        let layer = layer_of(&directory);
        fs::create_dir_all(&layer)?;
        let none = None::<&str>;
        // A file system of its own: overlay refuses layers of which one lies inside the other.
        mount(Some("ssi-lab"), &layer, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .context("mounting a tmpfs for the installed files")?;
        let shared = directory.join("shared");
        fs::create_dir_all(&shared)?;
        mount(Some("ssi-lab"), &shared, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .context("mounting a tmpfs for the shared directory")?;
        install::lay_out(&spec.install, &layer)?;
        mount(none, &layer, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none)
            .context("making the installed files read-only")?;
        let network = Network::new(&spec)?;
        let slots = spec.everyone().into_iter().map(|node| (node, Slot::default())).collect();
        for node in spec.everyone() {
            fs::create_dir_all(directory.join(spec.host_name(node)))?;
        }
        Ok(Self { spec, directory, agent, network, vm: OnceLock::new(), snapshot: Mutex::default(), slots, jobs })
    }

    /// Starts the client and, if wanted, all nodes.
    pub(crate) fn bring_up(self: &Arc<Self>, step: &dyn Fn(String)) -> Result<()> {
        self.start(CLIENT, &Boot::default())?;
        if self.spec.kind == Kind::Vm {
            return self.bring_up_guests(step);
        }
        if self.spec.boot {
            for node in 1..=self.spec.nodes {
                self.start(node, &Boot::default())?;
            }
        }
        Ok(())
    }

    /// Ends all nodes, those too that are just being started.
    pub(crate) fn tear_down(&self) {
        cgroup::kill_lab(&self.spec.name);
        for (&node, slot) in &self.slots {
            let deadline = Instant::now() + TEAR_DOWN_PATIENCE;
            // Whoever starts this node holds the lock, sees it die, and lets go; or waits for the main
            // thread, which is here and does not come back.
            while slot.machine.try_lock().is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if slot.machine.try_lock().is_err() {
                eprintln!("{} is still being started; it ends with the keeper", self.spec.host_name(node));
            } else if let Err(error) = self.power_off(node, slot) {
                eprintln!("{}: {error:#}", self.spec.host_name(node));
            }
        }
    }

    /// The channel to a node that is on.
    pub(crate) fn link(&self, node: NodeNumber) -> Result<Arc<Link>> {
        let slot = self.slot(node)?;
        let link = slot.link.read().ok().and_then(|link| link.clone());
        link.filter(|link| !link.is_closed())
            .ok_or_else(|| anyhow!("{} is off: start it with `ssi-lab start {node}`", self.spec.host_name(node)))
    }

    pub(super) fn slot(&self, node: NodeNumber) -> Result<&Slot> {
        self.slots
            .get(&node)
            .ok_or_else(|| anyhow!("the lab has no node {node}: its nodes are 1 to {}", self.spec.nodes))
    }

    /// Runs something on the main thread and waits for it.
    pub(super) fn on_main<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (sender, result) = channel();
        let job = Job::Here(Box::new(move || drop(sender.send(job()))));
        self.jobs.send(job).map_err(|_| anyhow!("the lab is going down"))?;
        result.recv().map_err(|_| anyhow!("the lab is going down"))
    }

    /// Boots a node that is off.
    pub(super) fn start(self: &Arc<Self>, node: NodeNumber, boot: &Boot) -> Result<()> {
        let slot = self.slot(node)?;
        let mut machine = lock(&slot.machine);
        if machine.as_mut().is_some_and(|machine| !machine.ended()) {
            bail!("{} is on already", self.spec.host_name(node));
        }
        if machine.is_some() {
            drop(machine);
            self.power_off(node, slot)?;
            machine = lock(&slot.machine);
        }
        let guest = self.spec.kind == Kind::Vm && node != CLIENT;
        let started = if guest { self.start_guest(node, boot) } else { self.start_ns(node, boot) };
        let (body, link) = started.with_context(|| self.last_words(node))?;
        *machine = Some(Machine { body, frozen: false });
        slot.set_link(link);
        Ok(())
    }

    fn start_ns(self: &Arc<Self>, node: NodeNumber, boot: &Boot) -> Result<(Body, Arc<Link>)> {
        let (cluster, boot) = (self.clone(), boot.clone());
        let (mut body, stream) = self.on_main(move || {
            let host = NsHost {
                spec: &cluster.spec,
                directory: &cluster.directory,
                layer: &layer_of(&cluster.directory),
                agent: &cluster.agent,
            };
            host.start(node, &boot, &cluster.network)
        })??;
        let link = Link::new(stream)?;
        if let Err(error) = link.wait_hello(0, NS_PATIENCE) {
            let _ = body.kill();
            return Err(error);
        }
        Ok((Body::Ns(body), link))
    }

    /// The end of a node's console, for an error.
    pub(super) fn last_words(&self, node: NodeNumber) -> String {
        let name = self.spec.host_name(node);
        let console = fs::read(self.directory.join(&name).join("console.log")).unwrap_or_default();
        let end = String::from_utf8_lossy(&console[console.len().saturating_sub(600)..]).trim().to_owned();
        if end.is_empty() {
            format!("starting {name}")
        } else {
            format!("starting {name}, whose console ends with: {end}")
        }
    }

    fn power_off(&self, node: NodeNumber, slot: &Slot) -> Result<()> {
        let mut machine = lock(&slot.machine);
        let Some(mut machine) = machine.take() else { return Ok(()) };
        self.network.unplug(&self.spec, node);
        let result = match &mut machine.body {
            Body::Ns(node) => node.kill(),
            Body::Vm(node) => node.kill(),
        };
        if let Some(link) = slot.link.write().ok().and_then(|mut link| link.take()) {
            link.close();
        }
        result
    }

    /// Does a fault.
    pub(crate) fn fault(self: &Arc<Self>, fault: &Fault) -> Result<()> {
        let everyone = self.spec.everyone();
        match fault {
            Fault::Kill(node) => {
                let slot = self.running(*node)?;
                self.power_off(*node, slot)
            }
            Fault::Start(node, boot) => self.start(*node, boot),
            Fault::Freeze(node) => self.freeze(*node, true),
            Fault::Thaw(node) => self.freeze(*node, false),
            Fault::Cut(nodes) => {
                self.known(nodes)?;
                self.network.change_cuts(|cuts| cuts.cut(nodes, &everyone))
            }
            Fault::CutGroups(groups) => {
                groups.iter().try_for_each(|group| self.known(group))?;
                self.network.change_cuts(|cuts| cuts.split(groups))
            }
            Fault::Deaf(node) => {
                self.slot(*node)?;
                self.network.change_cuts(|cuts| cuts.deafen(*node, &everyone))
            }
            Fault::Mute(node) => {
                self.slot(*node)?;
                self.network.change_cuts(|cuts| cuts.mute(*node, &everyone))
            }
            Fault::Heal => self.heal(),
            Fault::LinkDown(node, network) => self.set_link(*node, *network, false),
            Fault::LinkUp(node, network) => self.set_link(*node, *network, true),
            Fault::Slow(node, slowness) => self.slow(*node, slowness),
        }
    }

    fn known(&self, nodes: &[NodeNumber]) -> Result<()> {
        nodes.iter().try_for_each(|&node| self.slot(node).map(drop))
    }

    /// A node's place, if it is on.
    fn running(&self, node: NodeNumber) -> Result<&Slot> {
        let slot = self.slot(node)?;
        if lock(&slot.machine).is_none() {
            bail!("{} is off", self.spec.host_name(node));
        }
        Ok(slot)
    }

    fn freeze(&self, node: NodeNumber, frozen: bool) -> Result<()> {
        let slot = self.running(node)?;
        let mut machine = lock(&slot.machine);
        let Some(machine) = machine.as_mut() else { bail!("{} is off", self.spec.host_name(node)) };
        match &mut machine.body {
            Body::Ns(node) => node.freeze(frozen)?,
            Body::Vm(node) => node.freeze(frozen)?,
        }
        machine.frozen = frozen;
        Ok(())
    }

    fn heal(&self) -> Result<()> {
        self.network.change_cuts(crate::faults::Cuts::heal)?;
        for (&node, slot) in &self.slots {
            if lock(&slot.machine).is_some() {
                for network in 0..self.spec.networks.len() {
                    self.set_link(node, network, true)?;
                }
            }
        }
        Ok(())
    }

    fn set_link(&self, node: NodeNumber, network: usize, up: bool) -> Result<()> {
        let slot = self.running(node)?;
        if network >= self.spec.networks.len() {
            bail!("the lab has no network {network}: it has {}, counted from 0", self.spec.networks.len());
        }
        let mut machine = lock(&slot.machine);
        match machine.as_mut().map(|machine| &mut machine.body) {
            Some(Body::Ns(_)) => self.network.set_link(network, node, up),
            Some(Body::Vm(guest)) => guest.set_link(network, up),
            None => bail!("{} is off", self.spec.host_name(node)),
        }
    }

    fn slow(&self, node: NodeNumber, slowness: &Slowness) -> Result<()> {
        self.running(node)?;
        if self.spec.kind == Kind::Vm && node != CLIENT {
            return slow_guest(&*self.link(node)?, self.spec.networks.len(), slowness);
        }
        if slowness.delay_ms.is_some() || slowness.jitter_ms.is_some() {
            bail!("namespace nodes have no netem to wait with: use a rate or a loss, or VM nodes");
        }
        self.network.change_cuts(|cuts| cuts.lose(node, slowness.loss_percent.unwrap_or(0)))?;
        self.network.limit_rate(&self.spec, node, slowness.rate_kbit)
    }

    /// Whether a call may go to a node's agent at all.
    pub(crate) fn admits(&self, node: NodeNumber, message: &Message) -> Result<()> {
        let namespace = self.spec.kind == Kind::Ns || node == CLIENT;
        if namespace && matches!(message, Message::Clock(_)) {
            bail!("a namespace shares the host's clock: only VM nodes have one of their own");
        }
        Ok(())
    }

    /// How the lab is.
    pub(crate) fn status(&self) -> LabStatus {
        let nodes = self.slots.iter().map(|(&number, slot)| {
            // A node that is being started or killed right now is shown as off.
            let mut machine = slot.machine.try_lock().ok();
            let machine = machine
                .as_mut()
                .and_then(|machine| machine.as_mut())
                .and_then(|machine| if machine.ended() { None } else { Some(machine) });
            NodeStatus {
                number,
                name: self.spec.host_name(number),
                power: match &machine {
                    None => Power::Off,
                    Some(machine) if machine.frozen => Power::Frozen,
                    Some(_) => Power::Running,
                },
                addresses: self.spec.addresses(number).iter().map(ToString::to_string).collect(),
                pid: machine.and_then(|machine| machine.pid()),
            }
        });
        LabStatus {
            name: self.spec.name.clone(),
            kind: self.spec.kind,
            keeper: rustix::process::getpid().as_raw_nonzero().get(),
            directory: self.directory.display().to_string(),
            nodes: nodes.collect(),
        }
    }
}

impl Machine {
    /// Whether it went off by itself.
    fn ended(&mut self) -> bool {
        match &mut self.body {
            Body::Ns(node) => node.ended(),
            Body::Vm(node) => node.ended(),
        }
    }

    fn pid(&self) -> Option<i32> {
        match &self.body {
            Body::Ns(node) => node.pid(),
            Body::Vm(node) => node.pid(),
        }
    }
}

/// The tree of installed files in a lab's directory.
pub(super) fn layer_of(directory: &Path) -> PathBuf {
    directory.join("layer")
}
