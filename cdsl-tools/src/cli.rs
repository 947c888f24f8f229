// SPDX-License-Identifier: GPL-2.0-or-later
//! The command line of `cdsl`, from which its manual page and completions are made too.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ssi_cluster::NodeId;

/// Context-dependent symbolic links: files that differ from node to node, under one path.
#[derive(Debug, Parser)]
#[command(name = "cdsl", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "cdsl(7) explains what a CDSL is.\n\nExit status: 0 done, 1 failed or something was found, 2 wrong use, 4 refused."
)]
pub struct Cdsl {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Work on the tree in DIR: an image, a chroot, a root that is mounted there
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The node that is meant; this machine, when nothing is said
    #[arg(long, global = true, value_name = "N")]
    pub node: Option<NodeId>,
    /// Say nothing but what is wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make shared files or directories node-specific
    Create(Create),
    /// Give a node its own copy of what it shares with the others
    Own(Own),
    /// Make node-specific files shared again
    Remove(Remove),
    /// Go back to a tree without any CDSL
    Revert(Revert),
    /// Tell where a path leads, on this node or on others
    Resolve(Resolve),
    /// List the CDSLs
    List(List),
    /// Compare inventory and tree, and mend what is amiss
    Check(Check),
    /// Make what the lists of packages and of the site ask for
    Apply(Apply),
    /// Show how the nodes' copies differ
    Diff(Diff),
    /// Edit a node's copy
    Edit(Edit),
    /// Run a program with a node's view of the tree
    Exec(Exec),
    /// Run a program once for each copy of a path
    Foreach(Foreach),
    /// Show a node's variables
    Context(Context),
    /// Mount this node's own directories on the context directories
    Mount,
    /// Take these mounts away
    Umount,
    /// Copies for a node that is added, or away with those of one that is removed
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `cdsl create`
#[derive(Clone, Debug, Args)]
pub struct Create {
    /// The files or directories
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Every node gets a copy of its own (the default)
    #[arg(long, group = "whose")]
    pub each: bool,
    /// Only the node (or value of --var) named gets the content; the others have nothing there
    #[arg(long, group = "whose", value_name = "N")]
    pub only: Option<String>,
    /// The content stays shared, until a node is given its own with `cdsl own`
    #[arg(long, group = "whose")]
    pub default: bool,
    /// The variable it goes by: nodenum, nodename, machine, or one of the site's own
    #[arg(long, value_name = "VARIABLE", default_value = "nodenum")]
    pub var: String,
    /// Make each file below a directory a CDSL, and leave the directories shared
    #[arg(long, short)]
    pub recursive: bool,
    /// Print every step and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Go on where that means a moment without the path, an original in use, or copies that are there already
    #[arg(long, short)]
    pub force: bool,
}

/// `cdsl own`
#[derive(Clone, Debug, Args)]
pub struct Own {
    /// The CDSLs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Print every step and do none
    #[arg(long)]
    pub dry_run: bool,
}

/// `cdsl remove`
#[derive(Clone, Debug, Args)]
pub struct Remove {
    /// The CDSLs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// The node (or value of the CDSL's variable) whose content becomes the shared one; this node's, unless told
    #[arg(long, value_name = "N")]
    pub from: Option<String>,
    /// Delete the other nodes' copies, also those kept from an earlier removal
    #[arg(long)]
    pub purge: bool,
    /// Print every step and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Go on where that means a moment without the path
    #[arg(long, short)]
    pub force: bool,
}

/// `cdsl revert`
#[derive(Clone, Debug, Args)]
pub struct Revert {
    /// Every CDSL there is
    #[arg(long, required = true)]
    pub all: bool,
    /// The node whose content becomes the shared one; this node's, unless told
    #[arg(long, value_name = "N")]
    pub from: Option<String>,
    /// Delete the other nodes' copies
    #[arg(long)]
    pub purge: bool,
    /// Print every step and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Go on where that means a moment without a path
    #[arg(long, short)]
    pub force: bool,
}

/// `cdsl resolve`
#[derive(Clone, Debug, Args)]
pub struct Resolve {
    /// The path
    #[arg(value_name = "PATH")]
    pub path: OsString,
    /// On every node
    #[arg(long)]
    pub all: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `cdsl list`
#[derive(Clone, Debug, Args)]
pub struct List {
    /// For programs: an object a line
    #[arg(long)]
    pub json: bool,
}

/// `cdsl check`
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Mend what can be mended without losing anything
    #[arg(long)]
    pub repair: bool,
    /// Make the inventory anew from what is in the tree
    #[arg(long, conflicts_with = "repair")]
    pub rebuild: bool,
    /// Look only at what package managers may have replaced: the paths in the inventory
    #[arg(long, conflicts_with = "rebuild")]
    pub packages: bool,
    /// With --packages: get ready for a run of the package manager, as its hook does
    #[arg(long, requires = "packages", conflicts_with = "repair")]
    pub before: bool,
    /// With --packages: take the package manager's notes of CDSLs away, as when this package is removed
    #[arg(long, requires = "packages", conflicts_with_all = ["repair", "before"], hide = true)]
    pub forget: bool,
    /// For programs: an object a line
    #[arg(long)]
    pub json: bool,
}

/// `cdsl apply`
#[derive(Clone, Debug, Args)]
pub struct Apply {
    /// Print every step and do none
    #[arg(long)]
    pub dry_run: bool,
    /// As for create
    #[arg(long, short)]
    pub force: bool,
    /// Print what the lists ask for, and why
    #[arg(long)]
    pub show: bool,
}

/// `cdsl diff`
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// The CDSL
    #[arg(value_name = "PATH")]
    pub path: OsString,
    /// Only these nodes; each is compared with the first
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub nodes: Vec<NodeId>,
}

/// `cdsl edit`
#[derive(Clone, Debug, Args)]
pub struct Edit {
    /// The CDSL
    #[arg(value_name = "PATH")]
    pub path: OsString,
}

/// `cdsl exec`
#[derive(Clone, Debug, Args)]
pub struct Exec {
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `cdsl foreach`
#[derive(Clone, Debug, Args)]
pub struct Foreach {
    /// The CDSL
    #[arg(value_name = "PATH")]
    pub path: OsString,
    /// The program and its arguments; {} is the copy's path, which is added at the end where it is not named
    ///
    /// In its environment CDSL_VALUE tells whose copy it is (a node's number, another variable's value, or template), and
    /// CDSL_PATH for which path.
    #[arg(required = true, last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `cdsl context`
#[derive(Clone, Debug, Args)]
pub struct Context {
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `cdsl node`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make the copies of a new node, from the template or from another node's
    Add {
        /// The new node's number; it is in cluster.toml already
        #[arg(value_name = "NEW")]
        number: NodeId,
        /// Take the copies of this node in place of the template's
        #[arg(long, value_name = "M")]
        like: Option<NodeId>,
        /// Print every step and do none
        #[arg(long)]
        dry_run: bool,
    },
    /// Put the copies of a node that is gone into the attic
    Remove {
        /// The node's number
        #[arg(value_name = "GONE")]
        number: NodeId,
        /// Print every step and do none
        #[arg(long)]
        dry_run: bool,
    },
}
