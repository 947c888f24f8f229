// SPDX-License-Identifier: GPL-2.0-or-later
//! Context-dependent symbolic links: files that differ from node to node, under one path, for every program and on
//! every kernel. What they are is told by `cdsl(7)`.
//!
//! ```text
//!   /etc/hostname  ─link─▶  /cluster/node{nodenum}/etc/hostname
//!                                    │ each node mounts its own directory there        mounts.rs
//!                                    ▼
//!                           /cluster/node3/etc/hostname                                layout.rs
//! ```
//!
//! Words:
//! - *root*: the tree that is worked on, `/` or another ([`tree::Root`]); *path*: a path in it ([`path::TreePath`]);
//! - *variable*: what a CDSL goes by, `{nodenum}` unless told; *value*: what it is on a node;
//! - *holder*: the directory of one value, `/cluster/node3`; *copy*: what is there for a path; *template*: what a new
//!   node gets; *context directory*: the one with the braces in its name;
//! - *home*: of all copies, the one the original itself becomes, by an exchange with the link;
//! - *inventory*: which CDSLs there are ([`inventory`], its file: [`store`]); *journal*: what is under way ([`journal`]);
//!   *attic*: where things go that are taken away ([`tree::attic`]).
//!
//! How a change is made so that a cut at any point loses nothing is told in [`ops`]; how a path is followed for any node,
//! as the kernel would, in [`walk`]; what can be amiss, and how it is mended, in [`check`]. The commands are in
//! [`commands`], one file each. Start reading at [`layout`] and [`ops`].

pub mod busy;
pub mod check;
pub mod cli;
pub mod commands;
pub mod content;
pub mod inventory;
pub mod journal;
pub mod layout;
pub mod lists;
pub mod lock;
pub mod mounts;
pub mod ops;
pub mod os_release;
pub mod packages;
pub mod path;
pub mod site;
pub mod store;
pub mod tree;
pub mod treewalk;
pub mod walk;
