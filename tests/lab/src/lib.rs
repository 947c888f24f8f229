// SPDX-License-Identifier: GPL-2.0-or-later
//! A cluster on one machine, with faults as verbs.
//!
//! A **lab** is a few **nodes** and one **client** on networks of their own, which nothing leaves.
//! A node is of one of two **kinds**: a set of namespaces of this kernel ([`Kind::Ns`]: up in a few
//! hundredths of a second), or a QEMU guest with Debian's own kernel and root ([`Kind::Vm`]). Both
//! are driven alike: programs run in them through an **agent**, files go in and out, and **faults**
//! are done to them. The **keeper**, a process of its own, owns all of it and takes it down when its
//! owner goes away, whatever the manner of its going.
//!
//! ```text
//!   test, or ssi-lab(1)            keeper                        node 1 .. N, client
//!   +-----------------+  socket   +-----------------+  channel  +-----------------+
//!   | Lab, Node       |---------->| cluster, link   |---------->| agent           |
//!   +-----------------+           | network, faults |           | exec, files ... |
//!            |        owner's pipe|                 | veth, tap +-----------------+
//!            +------------------->|                 |===========> eth0, eth1
//!                                 +-----------------+
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), ssi_lab::Error> {
//! use ssi_lab::{Kind, Lab};
//! let lab = Lab::builder("example").kind(Kind::Ns).nodes(3).start()?;
//! assert_eq!(lab.node(1)?.exec(&["hostname"])?.text(), "node1");
//! lab.cut(&[2])?;
//! assert!(!lab.client().exec(&["ping", "-c1", "-W1", "node2"])?.success());
//! lab.heal()?;
//! # Ok(())
//! # }
//! ```
//!
//! Where to start reading: [`lab`] and [`node`] for what a test uses; [`protocol`] for what is said
//! on the channel; `keeper` for who owns what; `ns` and `vm` for how a node is made; [`faults`] and
//! `network` for what is done to it. [`protocol`], [`faults`] and [`spec`] are pure.

#[doc(hidden)]
pub mod agent;
mod apt;
mod command;
mod control;
pub mod error;
pub mod faults;
mod install;
#[doc(hidden)]
pub mod keeper;
pub mod lab;
mod network;
pub mod node;
#[doc(hidden)]
pub mod ns;
mod programs;
pub mod protocol;
pub mod setup;
pub mod spec;
pub mod status;
mod vm;

pub use error::Error;
pub use faults::{Boot, Fault, Slowness};
pub use lab::{Builder, Lab};
pub use node::{ExecOptions, Keys, Node, Output, OutputStream, ShellSession, SpawnOptions};
pub use protocol::{Exit, ProcessStatus};
pub use spec::{Install, Kind, NodeNumber};
pub use status::{LabStatus, NodeStatus, Power};
