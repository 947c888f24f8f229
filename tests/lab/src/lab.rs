// SPDX-License-Identifier: GPL-2.0-or-later
//! A lab as its owner holds it: build, do faults, and let go.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::control::Control;
use crate::error::Error;
use crate::faults::{Boot, Fault, Slowness};
use crate::keeper::{self, DETACH, Progress, RUN_DIRECTORY, directory_of};
use crate::node::Node;
use crate::programs;
use crate::protocol::{Message, Outcome, Target};
use crate::setup;
use crate::spec::{CLIENT, Install, Kind, LabSpec, NodeNumber};
use crate::status::LabStatus;
use crate::vm::cache;

/// How long a fault may take: a guest's boot under emulation, several at once, with room.
const FAULT_PATIENCE: Duration = Duration::from_secs(300);

/// What a lab is to be.
pub struct Builder {
    spec: LabSpec,
    progress: Box<dyn FnMut(&str)>,
}

/// A lab that is up. Dropping the owner's value tears it down; a value got by [`Lab::attach`], or let
/// go of by [`Lab::detach`], leaves it up.
#[derive(Debug)]
pub struct Lab {
    name: String,
    nodes: u32,
    directory: PathBuf,
    control: Control,
    keeper: Option<(Child, ChildStdin)>,
}

impl Builder {
    /// What the nodes are made of; namespaces, when nothing is said.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.spec.kind = kind;
        self
    }

    /// How many nodes; 3, when nothing is said.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.spec.nodes = nodes;
        self
    }

    /// Files of the host that each node and the client get.
    #[must_use]
    pub fn install(mut self, install: Vec<Install>) -> Self {
        self.spec.install.extend(install);
        self
    }

    /// The networks' first three octets; `[[10, 77, 0]]`, when nothing is said.
    #[must_use]
    pub fn networks(mut self, networks: &[[u8; 3]]) -> Self {
        self.spec.networks = networks.to_vec();
        self
    }

    /// A second network, 10.78.0.0/24, for redundant links.
    #[must_use]
    pub fn two_networks(self) -> Self {
        self.networks(&[[10, 77, 0], [10, 78, 0]])
    }

    /// An empty directory that namespace nodes share, at this path.
    #[must_use]
    pub fn shared(mut self, place: impl Into<PathBuf>) -> Self {
        self.spec.shared = Some(place.into());
        self
    }

    /// PID 1 of the nodes, where it is not the agent (namespaces) or systemd (VM).
    #[must_use]
    pub fn init<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.spec.init = Some(argv.into_iter().map(Into::into).collect());
        self
    }

    /// Debian packages in the guests beside the usual ones; an image with them is built once.
    #[must_use]
    pub fn packages<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.spec.packages.extend(names.into_iter().map(Into::into));
        self
    }

    /// Words for the guests' kernel command line.
    #[must_use]
    pub fn kernel_arguments<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.spec.kernel_arguments.extend(words.into_iter().map(Into::into));
        self
    }

    /// Memory of a guest in MiB; 384, when nothing is said.
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.spec.memory_mib = mib;
        self
    }

    /// How many MiB a namespace node may write; 256, when nothing is said.
    #[must_use]
    pub fn disk_mib(mut self, mib: u32) -> Self {
        self.spec.disk_mib = mib;
        self
    }

    /// Whether guests may come from a saved snapshot; they may, when nothing is said.
    #[must_use]
    pub fn snapshot(mut self, snapshot: bool) -> Self {
        self.spec.snapshot = snapshot;
        self
    }

    /// Whether nodes are started with the lab; they are, when nothing is said.
    #[must_use]
    pub fn boot(mut self, boot: bool) -> Self {
        self.spec.boot = boot;
        self
    }

    /// Who is told about long steps.
    #[must_use]
    pub fn progress(mut self, progress: impl FnMut(&str) + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Brings it up: installs what the machine lacks, starts the keeper, and waits for all nodes.
    ///
    /// # Errors
    /// What cannot be, is missing, or did not come up; nothing is left behind then.
    pub fn start(mut self) -> Result<Lab, Error> {
        self.spec.check()?;
        setup::ensure(self.spec.kind, &mut self.progress)?;
        programs::find(programs::AGENT)?;
        let program = programs::find(programs::KEEPER)?;
        let doing = |what: &str| format!("{what} the keeper {}", program.display());
        let mut keeper = Command::new(&program)
            .arg("keep")
            // A group of its own from the start: Ctrl-C is the owner's, and the pipe tells of it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::system(doing("starting"), error))?;
        let (Some(mut pipe), Some(output)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(Error::system(doing("talking to"), std::io::Error::other("it has no pipes")));
        };
        let plan = serde_json::to_string(&self.spec)
            .map_err(|error| Error::system(doing("telling the plan to"), std::io::Error::from(error)))?;
        writeln!(pipe, "{plan}").map_err(|error| Error::system(doing("telling the plan to"), error))?;
        let directory = directory_of(&self.spec.name);
        let lab = Lab {
            name: self.spec.name.clone(),
            nodes: self.spec.nodes,
            control: Control::new(&directory),
            directory,
            keeper: Some((keeper, pipe)),
        };
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Progress::Step(step)) => (self.progress)(&step),
                Ok(Progress::Ready) => return Ok(lab),
                Ok(Progress::Failed(message)) => return Err(Error::Start { lab: self.spec.name, message }),
                Err(_) => {}
            }
        }
        Err(Error::Start { lab: self.spec.name, message: "the keeper ended without a word".to_owned() })
    }
}

impl Lab {
    /// Begins a lab; names are unique on a machine.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> Builder {
        let spec = LabSpec {
            name: name.into(),
            kind: Kind::Ns,
            nodes: 3,
            networks: vec![[10, 77, 0]],
            install: Vec::new(),
            shared: None,
            init: None,
            packages: Vec::new(),
            kernel_arguments: Vec::new(),
            memory_mib: 384,
            disk_mib: 256,
            snapshot: true,
            boot: true,
        };
        Builder { spec, progress: Box::new(|_| ()) }
    }

    /// Takes hold of a lab that is up; dropping the value leaves it up.
    ///
    /// # Errors
    /// [`Error::NoLab`] when there is none of that name.
    pub fn attach(name: &str) -> Result<Self, Error> {
        let directory = directory_of(name);
        let control = Control::new(&directory);
        let mut lab = Self { name: name.to_owned(), nodes: 0, directory, control, keeper: None };
        let status = lab.status().map_err(|error| match error {
            Error::System { .. } => Error::NoLab { lab: name.to_owned() },
            other => other,
        })?;
        lab.nodes = status.nodes.iter().map(|node| node.number).max().unwrap_or(0);
        Ok(lab)
    }

    /// The names of all labs on this machine, after sweeping away what dead keepers left.
    #[must_use]
    pub fn list() -> Vec<String> {
        keeper::sweep();
        let entries = fs::read_dir(RUN_DIRECTORY).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter(|entry| entry.path().join("lock").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Lets the lab live on without its owner, until [`Lab::down`].
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn detach(mut self) -> Result<(), Error> {
        if let Some((_, mut pipe)) = self.keeper.take() {
            pipe.write_all(&[DETACH]).map_err(|error| Error::system("letting the lab go", error))?;
        }
        Ok(())
    }

    /// Tears the lab down and waits until nothing is left.
    ///
    /// # Errors
    /// When the keeper cannot be reached.
    pub fn down(self) -> Result<(), Error> {
        self.ask(Message::Down, "taking the lab down".to_owned())?;
        for _ in 0..1000 {
            if !self.directory.exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Error::Silent { doing: "taking the lab down".to_owned(), after: Duration::from_secs(20) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that all namespace nodes share ([`Builder::shared`]), as this process can reach it: its mount is the
    /// keeper's. `None` where another process started the lab.
    #[must_use]
    pub fn shared_folder(&self) -> Option<PathBuf> {
        let (keeper, _) = self.keeper.as_ref()?;
        let below = self.directory.strip_prefix("/").ok()?;
        Some(PathBuf::from(format!("/proc/{}/root", keeper.id())).join(below).join("shared"))
    }

    /// Where its sockets and logs are.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// A virtual machine's disk, in the format qcow2. It is whole only while the machine is off.
    #[must_use]
    pub fn disk(&self, node: NodeNumber) -> PathBuf {
        cache::disk(&self.name, node)
    }

    /// Node 1 and up.
    ///
    /// # Errors
    /// [`Error::NoNode`] for a number the lab does not have.
    pub fn node(&self, number: NodeNumber) -> Result<Node, Error> {
        if number == CLIENT || number > self.nodes {
            return Err(Error::NoNode { number, nodes: self.nodes });
        }
        Ok(self.at(number, format!("node{number}")))
    }

    /// All nodes, the client apart.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (1..=self.nodes).map(|number| self.at(number, format!("node{number}")))
    }

    /// The client: on the lab's networks, but no node.
    #[must_use]
    pub fn client(&self) -> Node {
        self.at(CLIENT, "client".to_owned())
    }

    fn at(&self, number: NodeNumber, name: String) -> Node {
        Node { control: self.control.clone(), number, name }
    }

    /// How it is.
    ///
    /// # Errors
    /// When the keeper cannot be reached.
    pub fn status(&self) -> Result<LabStatus, Error> {
        let doing = format!("asking how lab '{}' is", self.name);
        match self.ask(Message::Status, doing.clone())? {
            Outcome::Status(status) => Ok(status),
            other => Err(Error::Protocol { doing, answer: format!("{other:?}") }),
        }
    }

    /// Does a fault.
    ///
    /// # Errors
    /// When it could not be done; the sentence says why.
    pub fn fault(&self, fault: Fault) -> Result<(), Error> {
        let doing = format!("{fault:?}");
        self.ask(Message::Fault(fault), doing).map(drop)
    }

    fn ask(&self, message: Message, doing: String) -> Result<Outcome, Error> {
        self.control.ask(Target::Keeper, message, doing, FAULT_PATIENCE)
    }
}

/// The faults, one verb each; see [`Fault`] for what they mean. Each fails when the lab has no such
/// node, when the node is in no state for it, or when the system refuses.
#[allow(clippy::missing_errors_doc)]
impl Lab {
    /// Power off at once.
    pub fn kill(&self, node: NodeNumber) -> Result<(), Error> {
        self.fault(Fault::Kill(node))
    }

    /// Boot again, from the disk it had.
    pub fn start(&self, node: NodeNumber) -> Result<(), Error> {
        self.start_with(node, Boot::default())
    }

    /// Boot again, with another init or other words for the kernel.
    pub fn start_with(&self, node: NodeNumber, boot: Boot) -> Result<(), Error> {
        self.fault(Fault::Start(node, boot))
    }

    /// Stop all its processors.
    pub fn freeze(&self, node: NodeNumber) -> Result<(), Error> {
        self.fault(Fault::Freeze(node))
    }

    /// Let it run on.
    pub fn thaw(&self, node: NodeNumber) -> Result<(), Error> {
        self.fault(Fault::Thaw(node))
    }

    /// Cut nodes off from everyone, each for itself.
    pub fn cut(&self, nodes: &[NodeNumber]) -> Result<(), Error> {
        self.fault(Fault::Cut(nodes.to_vec()))
    }

    /// Split into groups; whoever is in none (the client is 0) reaches all.
    pub fn cut_groups(&self, groups: &[Vec<NodeNumber>]) -> Result<(), Error> {
        self.fault(Fault::CutGroups(groups.to_vec()))
    }

    /// Nothing reaches it; what it sends arrives.
    pub fn deafen(&self, node: NodeNumber) -> Result<(), Error> {
        self.fault(Fault::Deaf(node))
    }

    /// What it sends is lost; it hears the others.
    pub fn mute(&self, node: NodeNumber) -> Result<(), Error> {
        self.fault(Fault::Mute(node))
    }

    /// End all cuts and losses; all links up.
    pub fn heal(&self) -> Result<(), Error> {
        self.fault(Fault::Heal)
    }

    /// Take a link's carrier away.
    pub fn link_down(&self, node: NodeNumber, network: usize) -> Result<(), Error> {
        self.fault(Fault::LinkDown(node, network))
    }

    /// Give it back.
    pub fn link_up(&self, node: NodeNumber, network: usize) -> Result<(), Error> {
        self.fault(Fault::LinkUp(node, network))
    }

    /// Make its links bad, or good again with an empty [`Slowness`].
    pub fn slow(&self, node: NodeNumber, slowness: Slowness) -> Result<(), Error> {
        self.fault(Fault::Slow(node, slowness))
    }

    /// Fill the file system under a directory of a node.
    pub fn fill(&self, node: NodeNumber, directory: &str) -> Result<(), Error> {
        self.node(node)?.fill(directory)
    }

    /// Give the space back.
    pub fn unfill(&self, node: NodeNumber, directory: &str) -> Result<(), Error> {
        self.node(node)?.unfill(directory)
    }

    /// Move a node's clock by so many seconds (VM nodes).
    pub fn clock(&self, node: NodeNumber, seconds: i64) -> Result<(), Error> {
        self.node(node)?.shift_clock(seconds)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((mut keeper, pipe)) = self.keeper.take() {
            // The pipe's end is the word; then it is waited for, so that the next lab of this name,
            // or a look for leftovers, finds the place clean.
            drop(pipe);
            let _ = keeper.wait();
        }
    }
}
