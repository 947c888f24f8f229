// SPDX-License-Identifier: GPL-2.0-or-later
//! A key-value store that is only appended to, in a file that process 1 holds.
//!
//! write(2) to a memory file is done when it returns: what was committed is there, whatever then happens to the writer.
//! Only in the midst of that call can it be killed, and then the end of the file is torn; that is seen by a checksum
//! when it is loaded, cut off, and told. All changes between two commits are one batch under one checksum: they are
//! found again all or none. The bytes are drawn in `log/layout.rs`.
//!
//! # Compaction
//!
//! Once what is dead (overwritten or removed values) is more than what lives, and more than [`DEAD_MIN`], a new memory
//! file is written with what lives, and handed to process 1 in place of the old one. At every moment the file that
//! process 1 has is complete:
//!
//! ```text
//!   writing the new file                 process 1 has the old one
//!   to_hand_over() … held()              it has the old or the new one: each commit is written to both
//!   not_held()                           it has the old one still: both are written, and handing over is tried again
//!   after held()                         it has the new one; the old one is closed
//! ```
//!
//! # What it costs
//!
//! In the manager: a key's text, 16 bytes and its place in a tree, some 100 bytes in all; so 1 MiB for 10,000 units
//! (measured by `tests/log_cost.rs`). Values are not kept in memory a second time; [`Log::put`] of the same bytes again
//! is told by size and checksum, and then by reading them. Changes wait in memory from `put` to `commit`.
//!
//! In the memory file: not more than twice what lives and [`DEAD_MIN`]; while it is compacted, three times.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, memfd_create};

mod crc;
mod error;
mod index;
mod layout;
mod load;

pub use error::LogError;
pub use load::{Dropped, Loaded, Torn};

use crc::crc32;
use index::{Index, Place};
use layout::{BATCH_HEAD, Body, FILE_HEAD, Record, file_head, record_size};

/// The longest key, in bytes.
pub const KEY_MAX: usize = 1024;
/// The longest value, in bytes.
pub const VALUE_MAX: usize = 16 << 20;
/// The most that the records of one batch may have, in bytes.
pub const BATCH_MAX: usize = 64 << 20;
/// With fewer dead bytes than these a log is not compacted.
pub const DEAD_MIN: u64 = 256 << 10;

/// How much is copied at once when a log is compacted, in bytes.
const CHUNK: usize = 1 << 20;

/// Can this be a key?
pub(crate) fn is_key(key: &str) -> bool {
    (1..=KEY_MAX).contains(&key.len()) && !key.chars().any(char::is_control)
}

/// That a commit was done, and which. Only [`Log::commit`] makes one: what must not happen before a commit asks for it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "acknowledgements wait for it"]
pub struct Committed {
    batch: u64,
}

impl Committed {
    /// How many batches were committed by this process until then.
    pub fn batch(&self) -> u64 {
        self.batch
    }
}

/// Whose the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Process 1 does not have it, and was not asked to.
    Ours,
    /// It was asked to, and has not answered.
    Asked,
    /// It has it.
    Held,
}

/// The file from before the last compaction, as long as process 1 may have that one.
#[derive(Debug)]
struct Former {
    file: File,
    end: u64,
}

/// A log.
#[derive(Debug)]
pub struct Log {
    file: File,
    end: u64,
    holding: Holding,
    former: Option<Former>,
    index: Index,
    /// Changes since the last commit; `None`: removed.
    pending: BTreeMap<Box<str>, Option<Box<[u8]>>>,
    /// The size of their records.
    pending_size: usize,
    batches: u64,
}

impl Log {
    /// An empty log in a new memory file, which process 1 does not have yet; memfd_create(2).
    ///
    /// # Errors
    /// [`LogError::Make`], [`LogError::Write`].
    pub fn create() -> Result<Self, LogError> {
        Self::create_in(memory_file()?)
    }

    /// An empty log in this file, which is emptied.
    ///
    /// # Errors
    /// [`LogError::Size`], [`LogError::Write`].
    pub fn create_in(file: File) -> Result<Self, LogError> {
        file.set_len(0).map_err(LogError::Size)?;
        let head = file_head();
        write(&file, 0, &head)?;
        Ok(Self {
            file,
            end: FILE_HEAD as u64,
            holding: Holding::Ours,
            former: None,
            index: Index::default(),
            pending: BTreeMap::new(),
            pending_size: 0,
            batches: 0,
        })
    }

    /// Loads a log from the file that process 1 has handed over. A torn end is cut off.
    ///
    /// The file is read and written at places, never at its offset: that is one for all who hold it.
    ///
    /// # Errors
    /// [`LogError::NotALog`], [`LogError::Version`], [`LogError::Unknown`]: the file was written by something else, and
    /// is as it was. [`LogError::Read`], [`LogError::Size`].
    pub fn open(file: File) -> Result<(Self, Loaded), LogError> {
        let size = file.metadata().map_err(LogError::Size)?.len();
        let (index, end, loaded) = load::load(&file, size)?;
        if loaded.dropped.is_some() {
            file.set_len(end).map_err(LogError::Size)?;
        }
        let log = Self {
            file,
            end,
            holding: Holding::Held,
            former: None,
            index,
            pending: BTreeMap::new(),
            pending_size: 0,
            batches: 0,
        };
        Ok((log, loaded))
    }

    /// The value of a key, changes since the last commit included.
    ///
    /// # Errors
    /// [`LogError::Read`], [`LogError::Changed`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LogError> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.as_deref().map(<[u8]>::to_vec)),
            None => self.index.get(key).map(|place| self.read(key, place)).transpose(),
        }
    }

    /// The keys that begin with `prefix`, in order, changes since the last commit included.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let mut committed = self.index.under(prefix).map(|(key, _)| key).peekable();
        let mut pending = self
            .pending
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (&**key, value.is_some()))
            .peekable();
        // Two sorted lists into one; where both have a key, the change counts.
        std::iter::from_fn(move || {
            loop {
                match (committed.peek(), pending.peek()) {
                    (Some(old), Some((new, _))) if old < new => return committed.next(),
                    (old, Some((new, _))) => {
                        if old == Some(new) {
                            committed.next();
                        }
                        if let Some((key, true)) = pending.next() {
                            return Some(key);
                        }
                    }
                    (_, None) => return committed.next(),
                }
            }
        })
    }

    /// Sets a key. The same value again is no change.
    ///
    /// # Errors
    /// [`LogError::Key`], [`LogError::TooLarge`], [`LogError::BatchFull`]; what was put before stays. [`LogError::Read`]
    /// where the old value cannot be compared.
    pub fn put(&mut self, key: &str, value: &[u8]) -> Result<(), LogError> {
        if !is_key(key) {
            return Err(LogError::Key(key.to_owned()));
        }
        if value.len() > VALUE_MAX {
            return Err(LogError::TooLarge { key: key.to_owned(), size: value.len() });
        }
        if self.index.get(key).is_some_and(|place| place.length() == value.len()) && self.is(key, value)? {
            // What was put since the last commit is undone by it.
            self.forget_pending(key);
            return Ok(());
        }
        self.change(key, Some(value))
    }

    /// Removes a key; one that has no value is no fault.
    ///
    /// # Errors
    /// [`LogError::BatchFull`].
    pub fn remove(&mut self, key: &str) -> Result<(), LogError> {
        if self.index.get(key).is_some() {
            return self.change(key, None);
        }
        self.forget_pending(key);
        Ok(())
    }

    /// Are there changes that were not committed?
    pub fn is_changed(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The number that the next commit of changes will have; see [`Committed::batch`].
    pub(crate) fn next_batch(&self) -> u64 {
        self.batches + 1
    }

    /// Writes all changes since the last commit as one batch. When it returns they are there for good; without changes
    /// nothing is written.
    ///
    /// # Errors
    /// [`LogError::Write`]: the changes wait for the next commit.
    pub fn commit(&mut self) -> Result<Committed, LogError> {
        if self.pending.is_empty() {
            return Ok(Committed { batch: self.batches });
        }
        let mut body = Body::with_room(self.pending_size);
        let places: Vec<usize> = self.pending.iter().map(|(key, value)| body.add(record(key, value))).collect();
        append(&self.file, self.end, &mut body)?;
        if let Some(former) = &mut self.former {
            if let Err(error) = append(&former.file, former.end, &mut body) {
                // In both or in none.
                let _ = self.file.set_len(self.end);
                return Err(error);
            }
            former.end += body.size() as u64;
        }
        for ((key, value), place) in std::mem::take(&mut self.pending).into_iter().zip(places) {
            match value {
                Some(value) => self.index.put(&key, Place::of(&value, self.end + place as u64)),
                None => self.index.remove(&key),
            }
        }
        self.pending_size = 0;
        self.end += body.size() as u64;
        self.batches += 1;
        Ok(Committed { batch: self.batches })
    }

    /// How many bytes of the file are dead.
    pub fn dead(&self) -> u64 {
        (self.end - FILE_HEAD as u64).saturating_sub(self.index.live())
    }

    /// How many bytes of the file are live.
    pub fn live(&self) -> u64 {
        self.index.live()
    }

    /// Is [`Log::compact`] worth it?
    pub fn wants_compaction(&self) -> bool {
        self.holding == Holding::Held && self.dead() > self.live() && self.dead() >= DEAD_MIN
    }

    /// Writes what lives (and was committed) to a new memory file, which is the log's from here on and is to be handed
    /// over. It blocks while all of that is copied: `tests/log_cost.rs` prints how long, for 10,000 values of 1 KiB.
    ///
    /// # Errors
    /// [`LogError::NotHeld`] between a compaction (or [`Log::to_hand_over`]) and [`Log::held`]; [`LogError::Make`], [`LogError::Write`],
    /// [`LogError::Read`]: all is as it was.
    pub fn compact(&mut self) -> Result<(), LogError> {
        self.compact_into(memory_file()?)
    }

    /// The same into this file, which is emptied.
    ///
    /// # Errors
    /// As [`Log::compact`].
    pub fn compact_into(&mut self, file: File) -> Result<(), LogError> {
        if self.former.is_some() || self.holding == Holding::Asked {
            return Err(LogError::NotHeld);
        }
        let mut new = Self::create_in(file)?;
        let mut body = Body::with_room(CHUNK);
        let mut places = vec![];
        for (key, place) in self.index.under("") {
            let value = self.read(key, place)?;
            let within = body.add(Record { key, value: Some(&value) });
            places.push((key, within, place));
            if body.size() >= CHUNK {
                new.take_chunk(&mut body, &mut places)?;
            }
        }
        new.take_chunk(&mut body, &mut places)?;
        let file = std::mem::replace(&mut self.file, new.file);
        let end = std::mem::replace(&mut self.end, new.end);
        // One that process 1 never had is not missed.
        self.former = (self.holding != Holding::Ours).then_some(Former { file, end });
        self.index = new.index;
        self.holding = Holding::Ours;
        Ok(())
    }

    fn take_chunk(&mut self, body: &mut Body, places: &mut Vec<(&str, usize, Place)>) -> Result<(), LogError> {
        if body.is_empty() {
            return Ok(());
        }
        append(&self.file, self.end, body)?;
        for (key, within, place) in places.drain(..) {
            self.index.put(key, Place { at: self.end + within as u64, ..place });
        }
        self.end += body.size() as u64;
        *body = Body::with_room(CHUNK);
        Ok(())
    }

    /// The file, if process 1 neither has it nor was asked to: to be sent as the snapshot. From then on it counts as
    /// asked, until [`Log::held`] or [`Log::not_held`] says what came of it.
    pub fn to_hand_over(&mut self) -> Option<BorrowedFd<'_>> {
        if self.holding != Holding::Ours {
            return None;
        }
        self.holding = Holding::Asked;
        Some(self.file.as_fd())
    }

    /// Process 1 has the file. What it had before is closed.
    pub fn held(&mut self) {
        if self.holding == Holding::Asked {
            self.holding = Holding::Held;
            self.former = None;
        }
    }

    /// Process 1 did not take the file, or could not be asked. It has the former one still, and handing over is to be
    /// tried again: [`Log::to_hand_over`] gives the file again.
    pub fn not_held(&mut self) {
        if self.holding == Holding::Asked {
            self.holding = Holding::Ours;
        }
    }

    /// Does process 1 have all that was committed?
    pub fn is_kept(&self) -> bool {
        self.holding == Holding::Held || self.former.is_some()
    }

    fn read(&self, key: &str, place: Place) -> Result<Vec<u8>, LogError> {
        let mut value = vec![0; place.length()];
        self.file.read_exact_at(&mut value, place.at).map_err(|source| LogError::Read { at: place.at, source })?;
        if crc32(&[&value]) == place.crc { Ok(value) } else { Err(LogError::Changed(key.to_owned())) }
    }

    /// Is this the value that was committed? The checksum spares the reading as a rule; it does not decide.
    fn is(&self, key: &str, value: &[u8]) -> Result<bool, LogError> {
        match self.index.get(key) {
            Some(place) if crc32(&[value]) == place.crc => Ok(self.read(key, place)? == value),
            _ => Ok(false),
        }
    }

    fn change(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), LogError> {
        let size = |value: usize| usize::try_from(record_size(key, value)).unwrap_or(usize::MAX);
        let old = self.pending.get(key).map_or(0, |old| size(old.as_ref().map_or(0, |value| value.len())));
        let total = self.pending_size - old + size(value.map_or(0, <[u8]>::len));
        if total > BATCH_MAX {
            return Err(LogError::BatchFull(key.to_owned()));
        }
        self.pending_size = total;
        self.pending.insert(key.into(), value.map(Box::from));
        Ok(())
    }

    fn forget_pending(&mut self, key: &str) {
        if let Some(old) = self.pending.remove(key) {
            let size = record_size(key, old.map_or(0, |value| value.len()));
            self.pending_size -= usize::try_from(size).unwrap_or(0);
        }
    }
}

fn record<'a>(key: &'a str, value: &'a Option<Box<[u8]>>) -> Record<'a> {
    Record { key, value: value.as_deref() }
}

fn memory_file() -> Result<File, LogError> {
    match memfd_create("ssi-init-manager", MemfdFlags::CLOEXEC) {
        Ok(fd) => Ok(fd.into()),
        Err(error) => Err(LogError::Make(error.into())),
    }
}

/// Writes a batch at this place.
fn append(file: &File, at: u64, body: &mut Body) -> Result<(), LogError> {
    debug_assert!(body.size() <= BATCH_HEAD + BATCH_MAX, "kept by Log::change and by CHUNK");
    write(file, at, body.finish(at))
}

/// Writes at this place, with one write(2) unless the system takes less of it; what is written in part is cut off.
fn write(file: &File, at: u64, bytes: &[u8]) -> Result<(), LogError> {
    file.write_all_at(bytes, at).map_err(|source| {
        // Should this fail too, then the end is torn, and dropped by the next load.
        let _ = file.set_len(at);
        LogError::Write { at, size: bytes.len(), source }
    })
}

#[cfg(test)]
mod tests;
