// SPDX-License-Identifier: GPL-2.0-or-later
//! Attributes as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NlasIterator};

use crate::codec::DecodeError;
use crate::types::Family;

/// Attributes that are being written.
#[derive(Default)]
pub(crate) struct Writer(Vec<DefaultNla>);

impl Writer {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.push(DefaultNla::new(kind, value.to_vec()));
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn u16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    pub(crate) fn port(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// As `union nf_inet_addr`: 16 bytes for either family.
    pub(crate) fn address(&mut self, kind: u16, value: IpAddr) {
        let mut bytes = [0; 16];
        match value {
            IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        self.bytes(kind, &bytes);
    }

    pub(crate) fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.finish());
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let attributes = self.0.as_slice();
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }
}

/// Attributes that were read, by their kinds; of two of a kind the last.
pub(crate) struct Attributes<'a> {
    what: &'static str,
    list: Vec<(u16, &'a [u8])>,
}

impl<'a> Attributes<'a> {
    /// `what` they are part of, for messages.
    pub(crate) fn read(what: &'static str, bytes: &'a [u8]) -> Result<Attributes<'a>, DecodeError> {
        let mut list = Vec::new();
        let mut rest = bytes;
        // The iterator ends at the first that is wrong; where it was tells its value's place in what was given.
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|_| DecodeError::Broken { what })?;
            let length = usize::from(attribute.length());
            let kind = attribute.kind();
            let value = rest.get(4..length).ok_or(DecodeError::Broken { what })?;
            list.push((kind, value));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Attributes { what, list })
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.list.iter().rev().find(|(known, _)| *known == kind).map(|(_, value)| *value)
    }

    fn fixed<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, DecodeError> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let fixed = value.first_chunk().copied();
        fixed.map(Some).ok_or(DecodeError::Short { what: self.what, kind, needed: N, found: value.len() })
    }

    pub(crate) fn need<T>(&self, kind: u16, found: Option<T>) -> Result<T, DecodeError> {
        found.ok_or(DecodeError::Missing { what: self.what, kind })
    }

    pub(crate) fn u8(&self, kind: u16) -> Result<Option<u8>, DecodeError> {
        Ok(self.fixed::<1>(kind)?.map(|[byte]| byte))
    }

    pub(crate) fn u16(&self, kind: u16) -> Result<Option<u16>, DecodeError> {
        Ok(self.fixed(kind)?.map(u16::from_ne_bytes))
    }

    pub(crate) fn port(&self, kind: u16) -> Result<Option<u16>, DecodeError> {
        Ok(self.fixed(kind)?.map(u16::from_be_bytes))
    }

    pub(crate) fn u32(&self, kind: u16) -> Result<Option<u32>, DecodeError> {
        Ok(self.fixed(kind)?.map(u32::from_ne_bytes))
    }

    /// A number of 8 bytes, or of 4 as in the older statistics.
    pub(crate) fn count(&self, kind: u16) -> Result<u64, DecodeError> {
        match self.get(kind) {
            None => Ok(0),
            Some(value) if value.len() < 8 => Ok(self.u32(kind)?.unwrap_or_default().into()),
            Some(_) => Ok(self.fixed(kind)?.map(u64::from_ne_bytes).unwrap_or_default()),
        }
    }

    /// Text up to its NUL; what is not UTF-8 is replaced.
    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    }

    pub(crate) fn address(&self, kind: u16, family: Family) -> Result<Option<IpAddr>, DecodeError> {
        Ok(match family {
            Family::V4 => self.fixed::<4>(kind)?.map(|bytes| Ipv4Addr::from(bytes).into()),
            Family::V6 => self.fixed::<16>(kind)?.map(|bytes| Ipv6Addr::from(bytes).into()),
        })
    }
}
