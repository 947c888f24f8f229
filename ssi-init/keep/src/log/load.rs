// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading a log from its beginning.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;

use super::crc::crc32;
use super::index::{Index, Place};
use super::layout::{BATCH_HEAD, BatchHead, FILE_HEAD, Records, VERSION, version};
use super::{BATCH_MAX, LogError};

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// How many whole batches.
    pub batches: u64,
    /// How many keys have a value.
    pub keys: usize,
    /// The end that was no whole batch, and was cut off.
    pub dropped: Option<Dropped>,
}

/// An end of a log that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Where it began.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What was wrong with it.
    pub why: Torn,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match self.why {
            Torn::Head => "the head of a batch is cut off or wrong",
            Torn::Short => "a batch is cut off",
            Torn::Checksum => "the checksum of a batch is wrong",
        };
        write!(f, "the last {} bytes of the manager's log, from byte {}, were dropped: {why}", self.bytes, self.at)
    }
}

/// What is wrong with the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The head of a batch is cut off, or its checksum is wrong.
    Head,
    /// The file ends before the batch.
    Short,
    /// The checksum of the batch is wrong.
    Checksum,
}

/// Reads a file of this size. Gives what it holds, where that ends, and what is to be told of it.
///
/// Memory: the index, and one batch, which is never taken to be larger than what the file has left, nor than
/// [`BATCH_MAX`].
pub(super) fn load(file: &File, size: u64) -> Result<(Index, u64, Loaded), LogError> {
    let mut head = [0; FILE_HEAD];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(LogError::NotALog(size)),
        Err(source) => return Err(LogError::Read { at: 0, source }),
    }
    match version(&head) {
        None => return Err(LogError::NotALog(size)),
        Some(VERSION) => {}
        Some(other) => return Err(LogError::Version(other)),
    }
    let mut index = Index::default();
    let mut loaded = Loaded::default();
    let mut at = FILE_HEAD as u64;
    let mut body = vec![];
    while at < size {
        match batch(file, at, size, &mut body)? {
            Ok(()) => {}
            Err(why) => {
                loaded.dropped = Some(Dropped { at, bytes: size - at, why });
                break;
            }
        }
        let records = at + BATCH_HEAD as u64;
        for record in Records::of(&body) {
            let Ok((record, place)) = record else { return Err(LogError::Unknown(at)) };
            match record.value {
                Some(value) => index.put(record.key, Place::of(value, records + place as u64)),
                None => index.remove(record.key),
            }
        }
        at = records + body.len() as u64;
        loaded.batches += 1;
    }
    loaded.keys = index.len();
    Ok((index, at, loaded))
}

/// Reads the batch at this place; the inner fault is that there is none.
fn batch(file: &File, at: u64, size: u64, body: &mut Vec<u8>) -> Result<Result<(), Torn>, LogError> {
    let mut bytes = [0; BATCH_HEAD];
    if !filled(file.read_exact_at(&mut bytes, at), at)? {
        return Ok(Err(Torn::Head));
    }
    let Some(head) = BatchHead::decode(&bytes, at) else { return Ok(Err(Torn::Head)) };
    let records = at + BATCH_HEAD as u64;
    if u64::from(head.size) > size.saturating_sub(records) {
        return Ok(Err(Torn::Short));
    }
    let length = usize::try_from(head.size).ok().filter(|length| *length <= BATCH_MAX);
    let Some(length) = length else { return Err(LogError::Unknown(at)) };
    body.clear();
    body.resize(length, 0);
    if !filled(file.read_exact_at(body, records), records)? {
        return Ok(Err(Torn::Short));
    }
    Ok(if crc32(&[body]) == head.crc { Ok(()) } else { Err(Torn::Checksum) })
}

/// Was all of it there?
fn filled(read: io::Result<()>, at: u64) -> Result<bool, LogError> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(LogError::Read { at, source }),
    }
}
