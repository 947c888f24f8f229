// SPDX-License-Identifier: GPL-2.0-or-later
//! The unit manager: what brings a system up, keeps it up and takes it down, from unit files.
//!
//! PID 1 (`ssi-pid1`) starts it, keeps its descriptors and its state, and starts it again when it dies. It runs in one
//! thread and waits in one place.
//!
//! ```text
//!   unit files ──ssi-unit──▶ configuration ──▶ graph ─────┐
//!                                                         ▼
//!   systemctl, timers, sockets, devices ──▶ wish ──▶ transaction ──▶ queue of jobs
//!                                                                      │  ▲
//!                                                                 task │  │ reply, change of state
//!                                                                      ▼  │
//!                                           core: the state machines of the unit types
//!                                                                      │  ▲
//!                                                                  act │  │ event
//!                                                                      ▼  │
//!                                           sys: processes, control groups, sockets, mounts, clock
//! ```
//!
//! Everything above the last line decides and does nothing: it can be tested with random graphs, and a bug can be replayed
//! from the events that led to it.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | unit | a thing that can be up or down: a service, socket, mount, target … |
//! | dependency | an edge from one unit to another, of one of 31 kinds; a kind stands for a set of atoms, which are acted on |
//! | active state | what any unit is, whatever its type: active, inactive, failed, or on the way |
//! | wish | somebody wants a unit started, stopped, …, in a mode that says what may happen to other jobs for it |
//! | transaction | all the jobs that follow from a wish, free of contradictions, or an error |
//! | anchor | the job of the transaction that was wished for |
//! | matters | said of a job the anchor cannot do without |
//! | job | one thing to be done with one unit; waits for its turn, then runs until the unit says that it is done |
//! | requirement, order | which units come along, and which goes first: two things that know nothing of each other |
//!
//! # Where to start reading
//!
//! [`graph`] for what units are to one another; [`job`] for its first page, then [`job::types`] for the tables that all else
//! follows from, [`job::transaction`] and [`job::queue`]. [`job::upkeep`] is what happens without a job.

pub mod core;
pub mod graph;
pub mod job;
