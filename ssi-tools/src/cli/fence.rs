// SPDX-License-Identifier: GPL-2.0-or-later
//! The arguments of `ssi fence`.

use clap::{Args, Subcommand};

use super::NodeRef;

/// See [`super::Command::Fence`].
#[derive(Args, Debug)]
pub struct FenceCommand {
    /// What to do.
    #[command(subcommand)]
    pub command: FenceSubcommand,
}

/// The commands of `ssi fence`.
#[derive(Debug, Subcommand)]
pub enum FenceSubcommand {
    /// List each node's fence agent, and what it did last
    List(FenceList),
    /// Have fence agents say whether they could do their work, from this machine; nothing is turned off
    ///
    /// Needs root: the agents are run here, with what cluster.toml says.
    Test(FenceTest),
    /// Have a node turned off or started anew by its fence agent, whatever it runs
    Node(FenceNode),
    /// Say that a node is off, because you have seen it: what it ran is started elsewhere at once
    ///
    /// If the node is not off, what it runs may run twice, and destroy data that both use.
    Confirm(FenceConfirm),
}

/// See [`FenceSubcommand::List`].
#[derive(Args, Debug)]
pub struct FenceList {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`FenceSubcommand::Test`].
#[derive(Args, Debug)]
pub struct FenceTest {
    /// The nodes by number or name [default: all that have an agent]
    pub nodes: Vec<NodeRef>,
}

/// See [`FenceSubcommand::Node`].
#[derive(Args, Debug)]
pub struct FenceNode {
    /// The node's number or name
    pub node: NodeRef,
}

/// See [`FenceSubcommand::Confirm`].
#[derive(Args, Debug)]
pub struct FenceConfirm {
    /// The node's number or name
    pub node: NodeRef,
    /// It is off, and stays off until it starts anew
    #[arg(long)]
    pub i_have_seen_it: bool,
}
