// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.freedesktop.systemd1`: the unit manager as systemctl(1), loginctl(1), package scripts and the bus itself know it.
//!
//! The interface is systemd 252's, org.freedesktop.systemd1(5), to the letter: clients that were written for the one find
//! no difference in the other.
//!
//! ```text
//!   systemctl ──▶ /run/systemd/private ──▶ task ─┐
//!                                                ├─▶ Bus::next ──▶ Incoming ──▶ Bus::handle ──▶ Core, Host
//!   logind, … ──▶ system bus ────────────▶ task ─┘                                 │
//!                                                                                  ▼
//!                        tasks ◀── Bus::flush ◀── answers, and signals of Bus::tell, in the order they came
//! ```
//!
//! Nothing goes out before [`Bus::flush`]: the manager writes down what it decided first, so that no client knows more
//! than the manager that comes after this one.
//!
//! There is no object for a unit. A call names a path, which is turned into a unit when it comes ([`dispatch`]), so that
//! ten thousand units cost nothing until somebody asks.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | peer | a client at the manager's own socket, with no bus between; root |
//! | client | a peer, or a program on the system bus by its unique name |
//! | subscribed | said of a client on the bus that wants signals; peers hear all |
//! | to hold | what `RefUnit` does: the unit is not forgotten for as long as the client is there |
//! | host | all that the units have no part in: the machine, files, the manager's own settings |
//!
//! # Where to start reading
//!
//! [`Bus`], then [`dispatch`]; `manager/` for what can be asked of the manager, [`unit_methods`] of a unit, `properties/`
//! for what a unit shows, `transport/` for connections.

mod bus;
mod clients;
mod cluster;
mod dispatch;
mod host;
mod inspection;
mod interface;
mod introspect;
mod job;
mod log_control;
mod manager;
mod outdated;
mod paths;
pub mod properties;
mod reply;
mod signals;
mod standard;
pub mod transient;
mod transport;
mod unit_methods;
mod unit_view;

pub use bus::{Arrival, Bus, Incoming, Options};
pub use host::{BootTimes, End, Facts, Host, Inspection, Setting, UnitFiles};
