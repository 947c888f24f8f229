// SPDX-License-Identifier: GPL-2.0-or-later
//! The bytes of a log, little-endian.
//!
//! ```text
//!   file    "SSI-LOG\n" | version u32 | crc u32 |  batch  batch  batch …
//!                         1             of the 12 bytes before
//!
//!   batch   size u32 | crc u32  | 0 u32 | crc u32                              |  record  record …
//!           of the records, and theirs    of the place (u64) and these 12 bytes
//!
//!   record  kind u8 | 0 u8 | key size u16 | value size u32 | key | value
//!           1 put, 2 remove (its value is empty)
//! ```
//!
//! The batch is what is checked, not the record: so its changes are found all or none. Its head has a checksum of its
//! own, so that no size is believed that was not written; and its place is part of that, so that bytes that lie about
//! from another place are no batch.

use super::crc::crc32;

/// The bytes before the first batch.
pub(super) const FILE_HEAD: usize = 16;
/// The bytes before a batch's records.
pub(super) const BATCH_HEAD: usize = 16;
/// The bytes before a record's key.
pub(super) const RECORD_HEAD: usize = 8;
/// The format that this code writes and reads.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SSI-LOG\n";
const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// What a file begins with.
pub(super) fn file_head() -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32(&[&head[..12]]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The version that a file's head names; `None`: it is none.
pub(super) fn version(head: &[u8; FILE_HEAD]) -> Option<u32> {
    let good = head[..8] == MAGIC && u32_at(head, 12)? == crc32(&[&head[..12]]);
    good.then(|| u32_at(head, 8)).flatten()
}

/// What a batch's head tells of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    /// How many bytes they are.
    pub(super) size: u32,
    /// Their checksum.
    pub(super) crc: u32,
}

impl BatchHead {
    /// Its bytes, for a batch that begins at this place of the file.
    pub(super) fn encode(self, at: u64) -> [u8; BATCH_HEAD] {
        let mut head = [0; BATCH_HEAD];
        head[..4].copy_from_slice(&self.size.to_le_bytes());
        head[4..8].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32(&[&at.to_le_bytes(), &head[..12]]);
        head[12..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads the head at this place; `None`: it is none.
    pub(super) fn decode(head: &[u8; BATCH_HEAD], at: u64) -> Option<Self> {
        let good = u32_at(head, 12)? == crc32(&[&at.to_le_bytes(), &head[..12]]);
        let read = Self { size: u32_at(head, 0)?, crc: u32_at(head, 4)? };
        // The zero is another version's to use, which says so in the file's head.
        (good && u32_at(head, 8)? == 0).then_some(read)
    }
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) key: &'a str,
    /// `None`: the key is removed.
    pub(super) value: Option<&'a [u8]>,
}

/// How many bytes the record of such a key and value has.
pub(super) fn record_size(key: &str, value: usize) -> u64 {
    (RECORD_HEAD + key.len() + value) as u64
}

/// The bytes of a batch while it is written: room for the head, then records.
pub(super) struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// One that has room for so many bytes of records.
    pub(super) fn with_room(records: usize) -> Self {
        let mut bytes = Vec::with_capacity(BATCH_HEAD + records);
        bytes.resize(BATCH_HEAD, 0);
        Self { bytes }
    }

    /// How many bytes the batch has, head and all.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Are there no records?
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == BATCH_HEAD
    }

    /// Adds a record; gives the place of its value, counted from the batch's beginning. Sizes are the caller's to keep
    /// within [`super::KEY_MAX`] and [`super::VALUE_MAX`].
    pub(super) fn add(&mut self, record: Record<'_>) -> usize {
        let value = record.value.unwrap_or_default();
        let kind = if record.value.is_some() { PUT } else { REMOVE };
        self.bytes.extend_from_slice(&[kind, 0]);
        self.bytes.extend_from_slice(&u16::try_from(record.key.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(record.key.as_bytes());
        let place = self.bytes.len();
        self.bytes.extend_from_slice(value);
        place
    }

    /// The bytes, for a batch that begins at this place of the file.
    pub(super) fn finish(&mut self, at: u64) -> &[u8] {
        if let Some((head, records)) = self.bytes.split_first_chunk_mut::<BATCH_HEAD>() {
            let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
            *head = BatchHead { size, crc: crc32(&[records]) }.encode(at);
        }
        &self.bytes
    }
}

/// The records of a batch whose checksum was right, with the place of each value, counted from the first record.
/// An item of `Err` ends it: these are no records.
pub(super) struct Records<'a> {
    whole: usize,
    rest: &'a [u8],
}

/// Bytes that have the right checksum and are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRecord;

impl<'a> Records<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self { whole: body.len(), rest: body }
    }

    fn take(&mut self) -> Option<(Record<'a>, usize)> {
        let (head, rest) = self.rest.split_first_chunk::<RECORD_HEAD>()?;
        let key_size = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let value_size = usize::try_from(u32_at(head, 4)?).ok()?;
        let (key, rest) = rest.split_at_checked(key_size)?;
        let place = self.whole - rest.len();
        let (value, rest) = rest.split_at_checked(value_size)?;
        let key = std::str::from_utf8(key).ok().filter(|key| super::is_key(key))?;
        let value = match (head[0], head[1]) {
            (PUT, 0) if value_size <= super::VALUE_MAX => Some(value),
            (REMOVE, 0) if value.is_empty() => None,
            _ => return None,
        };
        self.rest = rest;
        Some((Record { key, value }, place))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(Record<'a>, usize), NoRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.take();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or(NoRecord))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_drawing() {
        let mut body = Body::with_room(0);
        assert_eq!(body.add(Record { key: "ab", value: Some(b"xyz") }), 26);
        assert_eq!(body.add(Record { key: "c", value: None }), 38);
        let bytes = body.finish(16);
        assert_eq!(bytes[..4], 22_u32.to_le_bytes());
        assert_eq!(bytes[4..8], crc32(&[&bytes[16..]]).to_le_bytes());
        assert_eq!(bytes[16..], *b"\x01\0\x02\0\x03\0\0\0abxyz\x02\0\x01\0\0\0\0\0c");
        assert_eq!(version(&file_head()), Some(VERSION));
        assert_eq!(file_head()[..12], *b"SSI-LOG\n\x01\0\0\0");
    }

    #[test]
    fn a_head_is_none_at_another_place() {
        let head = BatchHead { size: 5, crc: 6 };
        assert_eq!(BatchHead::decode(&head.encode(16), 16), Some(head));
        assert_eq!(BatchHead::decode(&head.encode(16), 17), None);
        assert_eq!(BatchHead::decode(&[0; BATCH_HEAD], 16), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_none(bytes: Vec<u8>) {
            // What is read is within what is there, and what is not a record ends it.
            let mut read = 0;
            for record in Records::of(&bytes) {
                let Ok((record, place)) = record else { break };
                let value = record.value.unwrap_or_default();
                prop_assert_eq!(&bytes[place..place + value.len()], value);
                read += RECORD_HEAD + record.key.len() + value.len();
            }
            prop_assert!(read <= bytes.len());
        }

        #[test]
        fn a_flipped_bit_of_a_head_is_seen(size: u32, crc: u32, at: u64, bit in 0..BATCH_HEAD * 8) {
            let mut bytes = BatchHead { size, crc }.encode(at);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(BatchHead::decode(&bytes, at), None);
        }
    }
}
