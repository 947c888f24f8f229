// SPDX-License-Identifier: GPL-2.0-or-later
//! What can be asked on the command line. The completions and the manual pages are made from these definitions too, so
//! the text here is the user's manual.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use ssi_cluster::{CLUSTER_TOML, CLUSTERD_SOCKET, NodeId, NodeState};

use crate::figures::parse_span;

pub mod fence;
pub mod service;

/// Look at this cluster, wait for it, change which nodes it has, and find out what is wrong with it.
///
/// The command asks ssi-clusterd on this machine, which knows the same as all members. Nothing here needs the message
/// bus. Everybody may look; root may change things.
#[derive(Debug, Parser)]
#[command(name = "ssi", version, propagate_version = true, arg_required_else_help = true)]
pub struct Ssi {
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the daemon and the files are; other places than the usual ones are for tests and for looking into another root.
#[derive(Args, Clone, Debug)]
pub struct Places {
    /// The socket of ssi-clusterd.
    #[arg(long, global = true, hide = true, env = "SSI_CLUSTERD_SOCKET", hide_env = true, default_value = CLUSTERD_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// The cluster's configuration.
    #[arg(long = "cluster-toml", global = true, hide = true, env = "SSI_CLUSTER_TOML", hide_env = true, default_value = CLUSTER_TOML, value_name = "PATH")]
    pub cluster_toml: PathBuf,
    /// Where corosync's configuration and key are.
    #[arg(
        long = "corosync-dir",
        global = true,
        hide = true,
        env = "SSI_COROSYNC_DIR",
        hide_env = true,
        default_value = "/etc/corosync",
        value_name = "DIR"
    )]
    pub corosync_dir: PathBuf,
}

impl Places {
    /// Corosync's own files.
    pub fn corosync(&self) -> ssi_cluster::corosync::Paths {
        ssi_cluster::corosync::Paths {
            conf: self.corosync_dir.join("corosync.conf"),
            key: self.corosync_dir.join("authkey"),
        }
    }
}

/// The commands of `ssi`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the cluster on one screen: view, quorum, and every node's state, load and memory
    Status(Status),
    /// List, show, add, remove or shut down nodes
    Node(NodeCommand),
    /// List, start, stop, move and explain units that run in the cluster
    Service(service::ServiceCommand),
    /// Have the unit managers of all members read their unit files again
    ///
    /// On a shared root a package that was installed on one node has changed the files of all.
    DaemonReload(DaemonReload),
    /// List and try the fence agents, have a node turned off, or confirm that it is off
    Fence(fence::FenceCommand),
    /// Have all nodes, or one, stop their services and turn themselves off
    Shutdown(Shutdown),
    /// Wait until nodes are up or the cluster has quorum
    Wait(Wait),
    /// Show the log of node state transitions, which is the same on every member
    Log(Log),
    /// Make the cluster.toml of a new cluster, with this machine as its first node
    Create(Create),
    /// Check what commonly goes wrong, and say what to do about it
    Doctor(Doctor),
    /// Write the completions for a shell to standard output
    Completions(Completions),
}

/// See [`Command::Status`].
#[derive(Args, Debug)]
pub struct Status {
    /// Show it anew each second and on every change, until interrupted
    ///
    /// On a terminal the screen is redrawn; into a pipe each picture is appended, and with --json each is one line.
    #[arg(short, long)]
    pub watch: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Node`].
#[derive(Args, Debug)]
pub struct NodeCommand {
    /// What to do with nodes.
    #[command(subcommand)]
    pub command: NodeSubcommand,
}

/// The commands of `ssi node`.
#[derive(Debug, Subcommand)]
pub enum NodeSubcommand {
    /// List the nodes of cluster.toml with their states
    List(NodeList),
    /// Show all that is known of a node
    Show(NodeShow),
    /// Add a node to cluster.toml, on all members at once
    ///
    /// The comments and the order of cluster.toml are kept. Without a daemon on this machine only this machine's file
    /// is changed. What is left to do on the new machine is told at the end.
    Add(NodeAdd),
    /// Take a node out of cluster.toml, on all members at once
    ///
    /// Refused while the node is a member, and for the node this runs on. Its own files (/cluster/node<N>) and its
    /// transitions in the log are kept, and its number is not given to another machine while they are there.
    Remove(NodeRemove),
    /// Have a node stop its services and turn itself off
    Shutdown(NodeShutdown),
    /// Move all units of the cluster off a node, and give it none until it is resumed
    Drain(NodeDrain),
    /// Give a drained node units of the cluster again
    Resume(NodeResume),
}

/// See [`NodeSubcommand::List`].
#[derive(Args, Debug)]
pub struct NodeList {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`NodeSubcommand::Show`].
#[derive(Args, Debug)]
pub struct NodeShow {
    /// The node's number or name
    pub node: NodeRef,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`NodeSubcommand::Add`].
#[derive(Args, Debug)]
pub struct NodeAdd {
    /// Its name; its host name is to be the same
    #[arg(long)]
    pub name: String,
    /// Its address on the cluster's network; give it again for each redundant link, in the links' order
    #[arg(long = "address", required = true, value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
    /// Its number [default: the lowest that no node ever had]
    #[arg(long, value_name = "N")]
    pub id: Option<NodeId>,
    /// The MAC address of one of its interfaces, by which it knows itself
    #[arg(long, value_name = "MAC")]
    pub mac: Option<String>,
    /// Its machine id (/etc/machine-id), by which it knows itself
    #[arg(long, value_name = "ID")]
    pub machine_id: Option<String>,
    /// A context variable of the site's own; give it again for each
    #[arg(long = "context", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub context: Vec<(String, String)>,
}

/// See [`NodeSubcommand::Remove`].
#[derive(Args, Debug)]
pub struct NodeRemove {
    /// The node's number or name
    pub node: NodeRef,
    /// Even if it is a member, or if it cannot be found out whether it is one
    #[arg(long)]
    pub force: bool,
}

/// See [`Command::DaemonReload`].
#[derive(Args, Debug)]
pub struct DaemonReload {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`NodeSubcommand::Shutdown`].
#[derive(Args, Debug)]
pub struct NodeShutdown {
    /// The node's number or name
    pub node: NodeRef,
    /// Start it again after it has stopped
    #[arg(long)]
    pub reboot: bool,
}

/// See [`NodeSubcommand::Drain`].
#[derive(Args, Debug)]
pub struct NodeDrain {
    /// The node's number or name
    pub node: NodeRef,
    /// How long to wait.
    #[command(flatten)]
    pub patience: service::Patience,
}

/// See [`NodeSubcommand::Resume`].
#[derive(Args, Debug)]
pub struct NodeResume {
    /// The node's number or name
    pub node: NodeRef,
}

/// See [`Command::Shutdown`].
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["all", "node"]))]
pub struct Shutdown {
    /// All nodes that are UP, this one last
    #[arg(long)]
    pub all: bool,
    /// This node, a number or a name
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeRef>,
    /// Start them again after they have stopped
    #[arg(long)]
    pub reboot: bool,
}

/// See [`Command::Wait`].
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["up", "node", "quorum"]))]
pub struct Wait {
    /// Wait until this many nodes are members and UP
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub up: Option<u32>,
    /// Wait for this node, a number or a name, to be in the state of --state
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeRef>,
    /// The state to wait for
    #[arg(long, requires = "node", default_value = "UP", value_parser = parse_state)]
    pub state: NodeState,
    /// Wait until this node's view has quorum
    #[arg(long)]
    pub quorum: bool,
    /// Give up after this time, such as 30s or 2m [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub timeout: Option<Duration>,
}

/// See [`Command::Log`].
#[derive(Args, Debug)]
pub struct Log {
    /// Go on with new transitions as they come, until interrupted
    #[arg(short, long, conflicts_with = "scripts")]
    pub follow: bool,
    /// Only the transitions after the one with this number
    #[arg(long, value_name = "ID", default_value_t = 0, conflicts_with = "scripts")]
    pub since: u64,
    /// Show the nodeup.d and nodedown.d scripts that were run, and what the failed ones printed
    #[arg(long)]
    pub scripts: bool,
    /// Write JSON, one object a line (with --scripts, one array)
    #[arg(long)]
    pub json: bool,
    /// Tell times in UTC instead of the machine's time zone
    #[arg(long)]
    pub utc: bool,
}

/// The membership engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Several machines, over the network
    Corosync,
    /// One machine, nothing to install
    Solo,
}

/// See [`Command::Create`].
#[derive(Args, Debug)]
pub struct Create {
    /// The cluster's name
    #[arg(long, default_value = "cluster")]
    pub name: String,
    /// This machine's name in the cluster [default: its host name up to the first dot]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// This machine's address on the cluster's network; give it again for each redundant link [default: the one the
    /// default route goes out from, else the first that is not of this machine alone]
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
    /// What tells who is a member
    #[arg(long, value_enum, default_value = "corosync")]
    pub engine: Engine,
    /// Replace a cluster.toml that is there; corosync's key is never replaced
    #[arg(long)]
    pub force: bool,
    /// Print the cluster.toml and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// See [`Command::Doctor`].
#[derive(Args, Debug)]
pub struct Doctor {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Completions`].
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// A node as users name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRef {
    /// By its number.
    Number(NodeId),
    /// By its name.
    Name(String),
}

impl std::str::FromStr for NodeRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a node is given by its number or its name".into());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(NodeRef::Number).map_err(|e: ssi_cluster::BadNodeId| e.to_string());
        }
        Ok(NodeRef::Name(text.to_owned()))
    }
}

impl std::fmt::Display for NodeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NodeRef::Number(id) => id.fmt(f),
            NodeRef::Name(name) => name.fmt(f),
        }
    }
}

/// A state's name, in either case.
fn parse_state(text: &str) -> Result<NodeState, String> {
    text.to_ascii_uppercase().parse().map_err(|e: ssi_cluster::state::BadNodeState| e.to_string())
}

/// `KEY=VALUE`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// OpenSSI's commands, each a link to `ssi` under its name.
pub mod openssi {
    use super::{NodeRef, Places};
    use clap::Parser;

    /// The names under which the program acts as one of OpenSSI's commands.
    pub const NAMES: [&str; 5] = ["cluster", "clustername", "clusternode_num", "clusternode_getstate", "loads"];

    /// List the numbers of the nodes that are UP, or show nodes' states.
    ///
    /// Without an option, the numbers of the UP nodes are written on one line.
    #[derive(Debug, Parser)]
    #[command(name = "cluster", disable_version_flag = true)] // -V is OpenSSI's for something else.
    pub struct Cluster {
        /// Where things are.
        #[command(flatten)]
        pub places: Places,
        /// Write one line for each node: its number and its state
        #[arg(short = 'v', conflicts_with = "node")]
        pub verbose: bool,
        /// Write what is known of a node, a number or a name, as lines of key and value
        #[arg(short = 'V', value_name = "NODE")]
        pub node: Option<NodeRef>,
    }

    /// Write the cluster's name.
    #[derive(Debug, Parser)]
    #[command(name = "clustername", version)]
    pub struct ClusterName {
        /// Where things are.
        #[command(flatten)]
        pub places: Places,
    }

    /// Write this node's number.
    #[derive(Debug, Parser)]
    #[command(name = "clusternode_num", version)]
    pub struct ClusterNodeNum {
        /// Where things are.
        #[command(flatten)]
        pub places: Places,
    }

    /// Write a node's state.
    #[derive(Debug, Parser)]
    #[command(name = "clusternode_getstate", version)]
    pub struct ClusterNodeGetState {
        /// Where things are.
        #[command(flatten)]
        pub places: Places,
        /// The node's number or name
        pub node: NodeRef,
    }

    /// Write the loads of the UP nodes, one line each: number and load.
    ///
    /// A load is in thousandths of one runnable task on one CPU of 1 GHz, so that nodes of different speed compare.
    #[derive(Debug, Parser)]
    #[command(name = "loads", version)]
    pub struct Loads {
        /// Where things are.
        #[command(flatten)]
        pub places: Places,
        /// Only this node, a number or a name
        #[arg(short = 'n', value_name = "NODE")]
        pub node: Option<NodeRef>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Ssi, clap::Error> {
        Ssi::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_hold_together() {
        Ssi::command().debug_assert();
        openssi::Cluster::command().debug_assert();
        openssi::ClusterName::command().debug_assert();
        openssi::ClusterNodeNum::command().debug_assert();
        openssi::ClusterNodeGetState::command().debug_assert();
        openssi::Loads::command().debug_assert();
    }

    #[test]
    fn a_node_is_a_number_or_a_name() {
        assert_eq!("3".parse(), Ok(NodeRef::Number(NodeId::new(3).unwrap())));
        assert_eq!("3a".parse(), Ok(NodeRef::Name("3a".into())));
        for bad in ["", "0", "007", "10000"] {
            assert!(bad.parse::<NodeRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn wait_needs_something_to_wait_for() {
        assert!(parse("ssi wait").is_err());
        assert!(parse("ssi wait --timeout 3s").is_err());
        assert!(parse("ssi wait --state UP").is_err());
        assert!(parse("ssi wait --up 0").is_err());
        let Command::Wait(wait) = parse("ssi wait --node n2 --state down --quorum --timeout 90").unwrap().command
        else {
            panic!("not read as wait");
        };
        assert_eq!((wait.state, wait.quorum, wait.timeout), (NodeState::Down, true, Some(Duration::from_secs(90))));
    }

    #[test]
    fn wrong_use_is_found_before_anything_is_done() {
        for bad in [
            "ssi",
            "ssi frobnicate",
            "ssi node show",
            "ssi node show 0",
            "ssi node add --name x",
            "ssi node add --name x --address 1.2.3",
            "ssi node add --name x --address 192.0.2.1 --context role",
            "ssi log --follow --scripts",
            "ssi create --engine heartbeat",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("ssi node add --name x --address 192.0.2.1 --address fd00::1 --context a=b=c --id 7").is_ok());
    }
}
