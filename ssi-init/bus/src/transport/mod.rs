// SPDX-License-Identifier: GPL-2.0-or-later
//! Connections: how messages come here from clients, and how they go there.
//!
//! Each connection has two tasks, one that reads and one that writes. What they read goes into one channel of limited
//! length, from which [`crate::Bus::next`] takes: when the manager is busy, clients wait. What is written waits in the
//! manager's memory up to a limit: a client that does not read is cut off.

pub(crate) mod handshake;
pub(crate) mod header;
pub(crate) mod private;
pub(crate) mod system;
pub(crate) mod writer;

use zbus::Message;

/// How many messages of all clients may wait to be handled.
pub(crate) const WAITING: usize = 64;

/// A connection at the manager's own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerId(pub(crate) u64);

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Client {
    /// A program at the manager's own socket.
    Peer(PeerId),
    /// A program on the system bus, by its unique name.
    Bus(String),
}

impl Client {
    /// What it is called where units note who holds them.
    pub(crate) fn holder(&self) -> String {
        match self {
            Client::Peer(PeerId(number)) => format!("private:{number}"),
            Client::Bus(name) => name.clone(),
        }
    }
}

/// What the kernel, or the bus, says of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Its user; `None`: not known, so nobody.
    pub(crate) uid: Option<u32>,
    /// Its process.
    pub(crate) pid: Option<u32>,
}

/// What the tasks have to tell.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// A program connected at the manager's own socket.
    Peer(PeerId, private::Peer),
    /// It is gone.
    PeerGone(PeerId),
    /// A message.
    Message { client: Client, credentials: Credentials, message: Message },
    /// The system bus is there, and the manager has its name on it.
    BusUp,
    /// It is there no more.
    BusGone(String),
    /// It is time to look for it again.
    BusRetry,
    /// Somebody on the bus is gone.
    NameGone(String),
    /// A name that a unit waits for got an owner, or lost it.
    NameOwner { name: String, owned: bool, pid: Option<u32> },
    /// Something is worth a word in the log.
    Trouble(String),
}
