// SPDX-License-Identifier: GPL-2.0-or-later
//! What process 1 keeps for the manager: descriptors under names, and the snapshot.
//!
//! The table is asked for once, at its full size, before the loop begins; the kernel gives the memory page by page as
//! entries come in, and an empty table costs next to nothing. Searching is linear over one array of 4-byte digests: a
//! full table is 64 KiB of them, some microseconds.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use ssi_pid1::protocol::{NAME_MAX, Name};

/// How many descriptors can be kept: a machine with so many sockets has many thousands of units.
pub(crate) const MOST: usize = 16_384;

struct Entry {
    name: [u8; NAME_MAX],
    size: u8,
    fd: OwnedFd,
}

impl Entry {
    fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.size)]
    }
}

/// Descriptors under names.
pub(crate) struct Kept {
    digests: Vec<u32>,
    entries: Vec<Entry>,
    /// The manager's state, if it has given any.
    pub(crate) snapshot: Option<OwnedFd>,
}

/// There is no room for another descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// FNV-1a: names are chosen by the manager, which has no reason to make them collide.
fn digest(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |digest, byte| (digest ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Kept {
    /// An empty table, at its full size.
    pub(crate) fn new() -> Self {
        Self { digests: Vec::with_capacity(MOST), entries: Vec::with_capacity(MOST), snapshot: None }
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, name: Name<'_>) -> Option<usize> {
        let wanted = digest(name.as_bytes());
        let mut from = 0;
        while let Some(found) = self.digests.get(from..)?.iter().position(|digest| *digest == wanted) {
            let at = from + found;
            if self.entries.get(at)?.name() == name.as_bytes() {
                return Some(at);
            }
            from = at + 1;
        }
        None
    }

    /// Keeps a descriptor; one of the same name is closed.
    pub(crate) fn keep(&mut self, name: Name<'_>, fd: OwnedFd) -> Result<(), Full> {
        if let Some(entry) = self.find(name).and_then(|at| self.entries.get_mut(at)) {
            entry.fd = fd;
            return Ok(());
        }
        // Not `capacity()`: it may be more than was asked for, and a limit should be the same everywhere.
        if self.entries.len() >= MOST {
            return Err(Full);
        }
        let mut entry = Entry { name: [0; NAME_MAX], size: 0, fd };
        for (place, byte) in entry.name.iter_mut().zip(name.as_bytes()) {
            *place = *byte;
            entry.size += 1;
        }
        self.digests.push(digest(name.as_bytes()));
        self.entries.push(entry);
        Ok(())
    }

    /// Closes a kept descriptor.
    pub(crate) fn forget(&mut self, name: Name<'_>) {
        if let Some(at) = self.find(name) {
            self.digests.swap_remove(at);
            self.entries.swap_remove(at);
        }
    }

    /// The one at this place, counted from 0. Places change when one is forgotten.
    pub(crate) fn at(&self, place: usize) -> Option<(Name<'_>, BorrowedFd<'_>)> {
        let entry = self.entries.get(place)?;
        Some((Name::new(entry.name())?, entry.fd.as_fd()))
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        self.digests.clear();
        self.entries.clear();
        self.snapshot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::os::fd::AsRawFd as _;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_name_is_kept_once_and_the_old_descriptor_is_closed() {
        let (read, write) = std::io::pipe().unwrap();
        let mut kept = Kept::new();
        let name = Name::new(b"x").unwrap();
        kept.keep(name, write.into()).unwrap();
        kept.keep(name, fd()).unwrap();
        assert_eq!(kept.len(), 1);
        // Its only writer is gone: the pipe is at its end instead of blocking.
        assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_full_table_takes_no_more_but_still_replaces() {
        let mut kept = Kept::new();
        let (capacity, digests) = (kept.entries.capacity(), kept.digests.capacity());
        let _ = rustix::process::setrlimit(
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit { current: Some(20_000), maximum: Some(20_000) },
        );
        let one = fd();
        for n in 0..MOST {
            let text = format!("{n}");
            let Ok(fd) = one.try_clone() else { return };
            kept.keep(Name::new(text.as_bytes()).unwrap(), fd).unwrap();
        }
        assert_eq!(kept.keep(Name::new(b"more").unwrap(), fd()), Err(Full));
        assert_eq!(kept.keep(Name::new(b"7").unwrap(), fd()), Ok(()));
        assert_eq!((kept.entries.capacity(), kept.digests.capacity()), (capacity, digests), "it never grew");
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in prop::collection::vec((0u8..12, any::<bool>()), 0..60)) {
            let mut kept = Kept::new();
            let mut model = BTreeMap::new();
            for (name, keep) in steps {
                let text = [b'a' + name];
                let name = Name::new(&text).unwrap();
                if keep {
                    let fd = fd();
                    model.insert(text, fd.as_raw_fd());
                    kept.keep(name, fd).unwrap();
                } else {
                    model.remove(&text);
                    kept.forget(name);
                }
                let mut held = BTreeMap::new();
                for place in 0..kept.len() {
                    let (name, fd) = kept.at(place).unwrap();
                    held.insert([name.as_bytes()[0]], fd.as_raw_fd());
                }
                prop_assert_eq!(&held, &model);
            }
        }
    }
}
