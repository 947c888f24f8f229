// SPDX-License-Identifier: GPL-2.0-or-later
//! The membership daemon: it joins the engine, and tells who is a member, what state each node is in, what the nodes'
//! loads are; and it has the nodeup and nodedown work done.
//!
//! ```text
//!   corosync ── ssi-engine-corosync ──▶ engine ──▶ agreement ──▶ daemon ──▶ bus      org.openssi.Cluster1
//!                 (C libraries)          (order)     (decides)    (acts)  ├▶ nodework  scripts, each in a process
//!                                          ▲                        │     └▶ store     disk
//!                                          └──────── messages ──────┘◀── sampler      this machine's load
//! ```
//!
//! * [`agreement`] decides everything and touches nothing: read its page first.
//! * [`engine`] says who is a member and in which order messages are; corosync does, or, for one machine, nobody.
//! * [`daemon`] is the loop that feeds the one from the other and carries out what comes back.
//! * [`manager`] is the way to this node's unit manager, which runs what the cluster places; [`spec`] reads what its
//!   files want.
//! * The rest acts: [`nodework`] and [`script`], [`fence_run`], [`store`] and [`scope_memory`], [`sampler`], [`bus`].

pub mod agreement;
pub mod boot;
pub mod bus;
pub mod daemon;
pub mod engine;
pub mod fence_run;
pub mod logging;
pub mod manager;
pub mod nodework;
pub mod sampler;
pub mod scope_memory;
pub mod script;
pub mod spec;
pub mod store;
