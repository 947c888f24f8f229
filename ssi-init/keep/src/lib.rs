// SPDX-License-Identifier: GPL-2.0-or-later
//! What outlives the unit manager: its log of states, and its link to process 1.
//!
//! The manager may be killed at any moment. What it must not lose is kept by process 1: descriptors under names, and
//! one memory file. This crate is the manager's side of that.
//!
//! ```text
//!                        ssi-init-manager                                        ssi-init (process 1)
//!   units, jobs ──put──> Log ──one write(2) a batch──> memory file <···held by··· the snapshot
//!        ^                │ Committed                                             kept descriptors
//!        │                v                                                       zombies
//!        │              Exits ──Ack──> Link <──────────── descriptor 3 ─────────>
//!        └───── Event (Exit, Signal, …) ─┘
//! ```
//!
//! Words:
//! - *log*: a key-value store that is only appended to; its values are what the manager must know again;
//! - *batch*: the changes between two commits; they are found again all or none;
//! - *link*: the way to process 1; or, without one, to this process itself (*standalone*);
//! - *kept*, *snapshot*, *exit*, *handover*: as in [`ssi_pid1`]; the log's file is the snapshot;
//! - *held*: process 1 has said that it has the snapshot it was sent.
//!
//! The order in which things are done, so that death at any moment does no harm:
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use ssi_keep::exits::{Exits, Heard};
//! use ssi_keep::link::{Event, Link};
//! use ssi_keep::log::Log;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut link = Link::find()?;
//! let handover = link.hello(Duration::from_secs(30))?;
//! let mut log = match handover.snapshot {
//!     Some(file) => Log::open(file.into())?.0,
//!     None => Log::create()?,
//! };
//! let mut exits = Exits::load(&log, handover.greeting.booted_us)?;
//! loop {
//!     // (Here: poll(2) for link.as_fd() and link.interest(), until link.next_deadline().)
//!     while let Some(event) = link.receive()? {
//!         match event {
//!             Event::Exit(exit) => {
//!                 if exits.heard(&exit) == Heard::New {
//!                     log.put("unit/foo.service", b"failed")?; // What follows from it …
//!                 }
//!                 exits.decided(&mut log, exit.seq)?; // … comes in the same batch as the fact that it was heard.
//!             }
//!             Event::SnapshotHeld => log.held(),
//!             Event::SnapshotRefused(_) => log.not_held(),
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     let committed = log.commit()?;
//!     for seq in exits.committed(&committed) {
//!         link.ack(seq)?;
//!     }
//!     if log.wants_compaction() {
//!         log.compact()?;
//!     }
//!     if let Some(file) = log.to_hand_over() {
//!         link.snapshot(file)?;
//!     }
//!     link.tick(Instant::now())?;
//! }
//! # }
//! ```
//!
//! Start at [`log`], then [`link`], then [`exits`], which ties the two together.

pub mod exits;
pub mod link;
pub mod log;
