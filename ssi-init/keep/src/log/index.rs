// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the last value of each key is. Values stay in the file: the manager has them in its own types already.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::crc::crc32;
use super::layout::record_size;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) size: u32,
    pub(super) crc: u32,
}

impl Place {
    /// That of this value at this place.
    pub(super) fn of(value: &[u8], at: u64) -> Self {
        Self { at, size: u32::try_from(value.len()).unwrap_or(u32::MAX), crc: crc32(&[value]) }
    }

    fn record(self, key: &str) -> u64 {
        record_size(key, self.length())
    }

    /// How many bytes the value has.
    pub(super) fn length(self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }
}

/// The places of all keys, and how many bytes of the file are theirs.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    places: BTreeMap<Box<str>, Place>,
    live: u64,
}

impl Index {
    pub(super) fn put(&mut self, key: &str, place: Place) {
        self.live += place.record(key);
        match self.places.get_mut(key) {
            Some(old) => {
                self.live -= old.record(key);
                *old = place;
            }
            None => {
                self.places.insert(key.into(), place);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(old) = self.places.remove(key) {
            self.live -= old.record(key);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many bytes the records of all keys have.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// All that begin with this, in order.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Place)> {
        self.places
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(key, place)| (&**key, *place))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}
