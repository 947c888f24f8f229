// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit manager waits for in the kernel, and what it has open there: the edge of [`ssi_manager`] towards sockets,
//! paths, mounts, swap areas, devices, autofs, the clock, and the messages of services.
//!
//! ```text
//!   kernel, udev, services                     this crate                      the manager's loop
//!   ───────────────────────                    ──────────                      ──────────────────
//!   sockets, FIFOs, queues      ──────────▶    ports      ──┐
//!   datagrams of sd_notify(3)   ──────────▶    notify       │
//!   inotify(7)                  ──────────▶    paths        │   fd() is readable: events()
//!   mountinfo, swaps            ──────────▶    tables       ├──────────────────────────────▶  Core::handle
//!   udev's messages             ──────────▶    devices      │
//!   pipes of autofs             ──────────▶    autofs       │
//!   timerfd, /etc/localtime     ──────────▶    clock      ──┘
//! ```
//!
//! Each of these is a structure with `fd()`, to be waited for, level-triggered, and `events()`, to be called when it is
//! readable: it takes a bounded number of things off the kernel and never waits. What is left over is told again. What
//! went wrong in between, and is nobody's failure to report, is fetched with `troubles()` for the log. The manager has one
//! thread; nothing here needs another but the one call of autofs that cannot be made without waiting.
//!
//! Nothing here decides anything about units. It gives the core's own [`Event`](ssi_manager::core::Event)s, and what it is
//! told to do are the acts of the core's [`System`](ssi_manager::core::system::System).
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | port | what a socket unit has open: a socket, FIFO, queue or special file |
//! | key | the name under which a descriptor outlives the manager ([`FdKey`](ssi_manager::core::system::FdKey)) |
//! | trail | a path with every directory and link on the way to it |
//! | nest | an epoll inside the manager's own |
//! | note | what could not be done and is no reason to fail |
//!
//! # Where to start reading
//!
//! [`trail`] for how a path is watched at all; [`tables`] for why a table is waited for in an odd way; [`ports`] for what a
//! socket unit opens. `sys.rs` has all that is `unsafe`.

pub mod autofs;
pub mod clock;
pub mod devices;
pub mod error;
mod nest;
pub mod notify;
pub mod paths;
pub mod ports;
mod sys;
pub mod tables;
pub mod trail;
mod udev_message;

pub use sys::is_same_file;
