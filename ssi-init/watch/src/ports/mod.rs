// SPDX-License-Identifier: GPL-2.0-or-later
//! What socket units listen on (systemd.socket(5)): opened, watched, accepted from, and taken away.
//!
//! | file | subject |
//! | --- | --- |
//! | `open.rs` | opening all of a unit's ports or none; removing their files |
//! | `address.rs`, `options.rs` | addresses and socket options |
//! | `connection.rs` | accepting, and who is at the other end |
//! | `same.rs` | whether a kept descriptor still is what the configuration asks for |
//! | here | which descriptors are waited for |

mod address;
mod connection;
mod open;
pub(crate) mod options;
mod same;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use ssi_manager::core::Event;
use ssi_manager::core::system::FdKey;
use ssi_unit::name::UnitName;

pub use connection::{accept, flush, peer};
pub use open::{Opened, Owners, open, remove};
pub use same::same;

use crate::error::{Result, Tried};
use crate::nest::Nest;

/// A descriptor that is waited for.
#[derive(Debug)]
struct Port {
    unit: UnitName,
    key: FdKey,
    /// A copy of its own. An open socket stays in an epoll for as long as anybody has it open, and can be taken out only
    /// by the descriptor it was put in with: the caller may have closed that one.
    fd: OwnedFd,
}

/// The ports that are waited for.
#[derive(Debug)]
pub struct Ports {
    nest: Nest,
    numbers: BTreeMap<FdKey, u64>,
    ports: BTreeMap<u64, Port>,
    next: u64,
}

impl Ports {
    /// None yet.
    ///
    /// # Errors
    /// epoll_create1(2).
    pub fn new() -> Result<Self> {
        Ok(Self { nest: Nest::new()?, numbers: BTreeMap::new(), ports: BTreeMap::new(), next: 0 })
    }

    /// Readable when there is something to read at one of them.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.nest.fd()
    }

    /// Waits for something to read at a descriptor; one that is waited for under this key already is replaced.
    ///
    /// # Errors
    /// When it cannot be waited for: `EPERM` for a regular file, which always has something to read (epoll_ctl(2)).
    pub fn watch(&mut self, unit: &UnitName, key: &FdKey, fd: BorrowedFd<'_>) -> Result<()> {
        self.unwatch(std::slice::from_ref(key));
        let what = || format!("cannot wait for something to read at {}", key.0);
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 3).tried(what)?;
        let number = self.next;
        self.nest.add(fd.as_fd(), number, EventFlags::IN).tried(what)?;
        self.next += 1;
        self.numbers.insert(key.clone(), number);
        self.ports.insert(number, Port { unit: unit.clone(), key: key.clone(), fd });
        Ok(())
    }

    /// Waits for these no more. To be called before one is closed: a port that is waited for stays open.
    pub fn unwatch(&mut self, keys: &[FdKey]) {
        for key in keys {
            if let Some(port) = self.numbers.remove(key).and_then(|number| self.ports.remove(&number)) {
                self.nest.remove(port.fd.as_fd());
            }
        }
    }

    /// Whether it is waited for.
    pub fn is_watched(&self, key: &FdKey) -> bool {
        self.numbers.contains_key(key)
    }

    /// Where there is something to read. What is not read, and still waited for, is told again.
    pub fn events(&mut self) -> Vec<Event> {
        let ready = self.nest.ready();
        let told = ready.iter().filter_map(|number| self.ports.get(number));
        told.map(|port| Event::Port { unit: port.unit.clone(), port: port.key.clone() }).collect()
    }
}
