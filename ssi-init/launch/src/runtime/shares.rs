// SPDX-License-Identifier: GPL-2.0-or-later
//! The pairs of sockets by which the processes of a unit find the network or IPC namespace of the first of them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Kinds of namespaces that are shared so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    /// `PrivateNetwork=`.
    Network,
    /// `PrivateIPC=`.
    Ipc,
}

impl Share {
    fn word(self) -> &'static str {
        match self {
            Share::Network => "network",
            Share::Ipc => "ipc",
        }
    }
}

/// The ends of a pair: where a namespace is taken, and where it is put.
const ENDS: [&str; 2] = ["take", "put"];

/// All pairs, by unit and kind; under names for keeping: `namespace/KIND/END/UNIT`.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    ends: BTreeMap<String, OwnedFd>,
}

fn key(unit: &str, share: Share, end: &str) -> String {
    format!("namespace/{}/{end}/{unit}", share.word())
}

impl Shares {
    /// Makes the pair of a unit, if it is not there.
    pub(crate) fn ensure(&mut self, unit: &str, share: Share) -> Result<(), Errno> {
        let [take, put] = ENDS.map(|end| key(unit, share, end));
        // Half of a pair, of which the other was lost, is no use.
        if !(self.ends.contains_key(&take) && self.ends.contains_key(&put)) {
            let (one, other) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
            self.ends.insert(take, one);
            self.ends.insert(put, other);
        }
        Ok(())
    }

    /// The two ends of a unit's pair.
    pub(crate) fn get(&self, unit: &str, share: Share) -> Option<[BorrowedFd<'_>; 2]> {
        let [take, put] = ENDS.map(|end| self.ends.get(&key(unit, share, end)));
        Some([take?.as_fd(), put?.as_fd()])
    }

    /// Closes the pairs of a unit: with its last process the namespace goes.
    pub(crate) fn drop_of(&mut self, unit: &str) {
        for share in [Share::Network, Share::Ipc] {
            for end in ENDS {
                self.ends.remove(&key(unit, share, end));
            }
        }
    }

    /// All ends with their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.ends.iter().map(|(key, fd)| (key.as_str(), fd.as_fd()))
    }

    /// Takes one back; gives it back itself when the name is none of ours.
    pub(crate) fn adopt(&mut self, key: &str, fd: OwnedFd) -> Result<(), OwnedFd> {
        if !key.starts_with("namespace/") {
            return Err(fd);
        }
        self.ends.insert(key.to_owned(), fd);
        Ok(())
    }
}
