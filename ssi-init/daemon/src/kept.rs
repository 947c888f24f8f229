// SPDX-License-Identifier: GPL-2.0-or-later
//! Descriptors that outlive the manager: held here by key, and by process 1 under a name made from the key.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use ssi_keep::link::{Link, LinkError, Name};
use ssi_manager::core::system::FdKey;

/// Process 1's names are no longer than this (`ssi_pid1::protocol::Name`).
const NAME_MAX: usize = 255;

/// Descriptors by their keys.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    fds: BTreeMap<FdKey, OwnedFd>,
    /// What process 1 could not be told yet, because too much waited to be sent already.
    late: VecDeque<FdKey>,
}

/// The name that process 1 knows a key by. Keys hold names of units, which may be as long as a name may be alone.
fn name_of(key: &FdKey) -> Vec<u8> {
    let bytes = key.0.as_bytes();
    if (1..=NAME_MAX).contains(&bytes.len()) {
        return bytes.to_vec();
    }
    // FNV-1a, 128 bits: the same in every version of this program.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in bytes {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("hash/{hash:032x}").into_bytes()
}

impl Kept {
    /// What was kept for an earlier manager. The keys of names that were too long come with the first use.
    pub(crate) fn adopt(kept: BTreeMap<Vec<u8>, OwnedFd>) -> Self {
        let fds = kept.into_iter().map(|(name, fd)| (FdKey(String::from_utf8_lossy(&name).into_owned()), fd)).collect();
        Self { fds, late: VecDeque::new() }
    }

    /// Holds a descriptor from now on, also beyond this process. One of that key from before is closed.
    ///
    /// # Errors
    /// When process 1 cannot be told; it is held here then.
    pub(crate) fn put(&mut self, link: &mut Link, key: FdKey, fd: OwnedFd) -> Result<(), LinkError> {
        let told = self.tell(link, &key, fd.as_fd());
        self.fds.insert(key, fd);
        told
    }

    fn tell(&mut self, link: &mut Link, key: &FdKey, fd: BorrowedFd<'_>) -> Result<(), LinkError> {
        let bytes = name_of(key);
        let Some(name) = Name::new(&bytes) else { return Ok(()) };
        match link.keep(name, fd) {
            Err(LinkError::Full) => {
                self.late.push_back(key.clone());
                Ok(())
            }
            other => other,
        }
    }

    /// Tells process 1 of what it could not be told before, as far as there is room now.
    ///
    /// # Errors
    /// When process 1 cannot be told.
    pub(crate) fn tell_late(&mut self, link: &mut Link) -> Result<(), LinkError> {
        for _ in 0..self.late.len() {
            if link.interest().write {
                break;
            }
            let Some(key) = self.late.pop_front() else { break };
            let Some(fd) = self.fds.remove(&key) else { continue };
            let told = self.tell(link, &key, fd.as_fd());
            self.fds.insert(key, fd);
            told?;
        }
        Ok(())
    }

    /// A descriptor.
    pub(crate) fn get(&self, key: &FdKey) -> Option<BorrowedFd<'_>> {
        let held = self.fds.get(key).or_else(|| {
            // Kept for an earlier manager under the short name.
            let bytes = name_of(key);
            (bytes != key.0.as_bytes()).then(|| self.fds.get(&FdKey(String::from_utf8_lossy(&bytes).into_owned())))?
        });
        held.map(|fd| fd.as_fd())
    }

    /// Closes a descriptor, here and in process 1.
    ///
    /// # Errors
    /// When process 1 cannot be told.
    pub(crate) fn close(&mut self, link: &mut Link, key: &FdKey) -> Result<(), LinkError> {
        let bytes = name_of(key);
        let short = FdKey(String::from_utf8_lossy(&bytes).into_owned());
        let held = self.fds.remove(key).is_some() | self.fds.remove(&short).is_some();
        self.late.retain(|late| late != key);
        match Name::new(&bytes) {
            Some(name) if held => link.forget(name),
            _ => Ok(()),
        }
    }

    /// Takes a descriptor that this program itself uses out of those that are held for units. Process 1 keeps it.
    pub(crate) fn take(&mut self, key: &FdKey) -> Option<OwnedFd> {
        self.fds.remove(key)
    }

    /// All keys, as far as they are known.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &FdKey> {
        self.fds.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_enough_and_the_same_for_ever() {
        assert_eq!(name_of(&FdKey("socket/a.socket/0".into())), b"socket/a.socket/0");
        let long = FdKey(format!("socket/{}.socket/0", "x".repeat(250)));
        assert_eq!(name_of(&long), b"hash/48dc8fff8d6435dbd47893ad6a8cdebb");
        assert!(name_of(&long).len() <= NAME_MAX);
        assert_ne!(name_of(&long), name_of(&FdKey(format!("socket/{}.socket/1", "x".repeat(250)))));
    }
}
