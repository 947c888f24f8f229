// SPDX-License-Identifier: GPL-2.0-or-later
//! From messages to bytes and back, by the drawing at the head of [`super`].

use super::{
    BadMessage, Counters, Exit, FromPid1, Greeting, HEAD, How, MESSAGE_MAX, Name, Refusal, Signal, ToPid1, Why,
};

/// A message as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    bytes: [u8; MESSAGE_MAX],
    size: usize,
}

impl Frame {
    fn new(kind: u16) -> Self {
        let mut frame = Self { bytes: [0; MESSAGE_MAX], size: HEAD };
        frame.bytes[..2].copy_from_slice(&kind.to_le_bytes());
        frame
    }

    /// Every body is shorter than [`MESSAGE_MAX`]: fixed ones by the drawing above, names by [`Name`].
    fn put(mut self, field: &[u8]) -> Self {
        let end = self.size + field.len();
        if let Some(place) = self.bytes.get_mut(self.size..end) {
            place.copy_from_slice(field);
            self.size = end;
        }
        self
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_le_bytes())
    }

    fn i32(self, value: i32) -> Self {
        self.put(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }

    fn done(mut self) -> Self {
        let size = u16::try_from(self.size).unwrap_or(u16::MAX);
        self.bytes[2..4].copy_from_slice(&size.to_le_bytes());
        self
    }

    /// The bytes of the packet.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// The fields of a body, read from its front.
struct Body<'a> {
    kind: u16,
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn of(packet: &'a [u8]) -> Result<Self, BadMessage> {
        let Some((head, rest)) = packet.split_first_chunk::<HEAD>() else {
            return Err(BadMessage::Short(packet.len()));
        };
        let [k0, k1, s0, s1, zero @ ..] = *head;
        let (kind, said) = (u16::from_le_bytes([k0, k1]), usize::from(u16::from_le_bytes([s0, s1])));
        if said != packet.len() {
            return Err(BadMessage::Size { said, has: packet.len() });
        }
        let body = Self { kind, whole: rest.len(), rest };
        body.zero(u32::from_le_bytes(zero).into())?;
        Ok(body)
    }

    fn field<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(self.wrong_size())?;
        self.rest = rest;
        Ok(*field)
    }

    fn wrong_size(&self) -> BadMessage {
        BadMessage::Body { kind: self.kind, has: self.whole }
    }

    fn value(&self, value: u64) -> BadMessage {
        BadMessage::Value { kind: self.kind, value }
    }

    fn zero(&self, value: u64) -> Result<(), BadMessage> {
        if value == 0 { Ok(()) } else { Err(self.value(value)) }
    }

    fn u8(&mut self) -> Result<u8, BadMessage> {
        Ok(u8::from_le_bytes(self.field()?))
    }

    fn u16(&mut self) -> Result<u16, BadMessage> {
        Ok(u16::from_le_bytes(self.field()?))
    }

    fn u32(&mut self) -> Result<u32, BadMessage> {
        Ok(u32::from_le_bytes(self.field()?))
    }

    fn i32(&mut self) -> Result<i32, BadMessage> {
        Ok(i32::from_le_bytes(self.field()?))
    }

    fn u64(&mut self) -> Result<u64, BadMessage> {
        Ok(u64::from_le_bytes(self.field()?))
    }

    fn name(&mut self) -> Result<Name<'a>, BadMessage> {
        Name::new(std::mem::take(&mut self.rest)).ok_or(BadMessage::Name(self.kind))
    }

    fn end<T>(self, message: T) -> Result<T, BadMessage> {
        if self.rest.is_empty() { Ok(message) } else { Err(self.wrong_size()) }
    }
}

impl<'a> ToPid1<'a> {
    /// Pet the watchdog for as long as process 1 lives.
    pub const PET_FOR_EVER: u32 = u32::MAX;

    /// The message's kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Hello { .. } => 1,
            Self::Keep { .. } => 2,
            Self::Drop { .. } => 3,
            Self::Snapshot => 4,
            Self::Ack { .. } => 5,
            Self::Ping { .. } => 6,
            Self::Shutdown { .. } => 7,
            Self::Reexec => 8,
            Self::Watchdog { .. } => 9,
        }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Frame {
        let frame = Frame::new(self.kind());
        match *self {
            Self::Hello { version } => frame.u32(version).u32(0),
            Self::Keep { name } | Self::Drop { name } => frame.put(name.as_bytes()),
            Self::Snapshot | Self::Reexec => frame,
            Self::Ack { seq } => frame.u64(seq),
            Self::Ping { number } => frame.u64(number),
            Self::Shutdown { how, status } => frame.put(&[how as u8, status]).put(&[0; 6]),
            Self::Watchdog { timeout_ms, pet_for_ms } => frame.u32(timeout_ms).u32(pet_for_ms),
        }
        .done()
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`BadMessage`], for any bytes that [`Self::encode`] cannot have made.
    pub fn decode(packet: &'a [u8]) -> Result<Self, BadMessage> {
        let mut body = Body::of(packet)?;
        let message = match body.kind {
            1 => {
                let version = body.u32()?;
                let zero = body.u32()?;
                body.zero(zero.into())?;
                if version == 0 {
                    return Err(body.value(0));
                }
                Self::Hello { version }
            }
            2 => Self::Keep { name: body.name()? },
            3 => Self::Drop { name: body.name()? },
            4 => Self::Snapshot,
            5 => Self::Ack { seq: body.u64()? },
            6 => Self::Ping { number: body.u64()? },
            7 => {
                let number = body.u8()?;
                let how = How::from_number(number).ok_or(body.value(number.into()))?;
                let status = body.u8()?;
                let zero = u64::from(body.u16()?) | u64::from(body.u32()?);
                body.zero(zero)?;
                Self::Shutdown { how, status }
            }
            8 => Self::Reexec,
            9 => Self::Watchdog { timeout_ms: body.u32()?, pet_for_ms: body.u32()? },
            kind => return Err(BadMessage::Kind(kind)),
        };
        body.end(message)
    }
}

impl<'a> FromPid1<'a> {
    /// The message's kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Hello(_) => 65,
            Self::Kept { .. } => 66,
            Self::Snapshot => 67,
            Self::HandedOver => 68,
            Self::Exit(_) => 69,
            Self::Signal(_) => 70,
            Self::Pong(_) => 71,
            Self::Refused(_) => 72,
        }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Frame {
        let frame = Frame::new(self.kind());
        match *self {
            Self::Hello(g) => frame
                .u32(g.version)
                .u32(g.node)
                .u32(g.flags)
                .u32(g.starts)
                .u32(g.kept)
                .u32(g.silence_ms)
                .u64(g.booted_us),
            Self::Kept { name } => frame.put(name.as_bytes()),
            Self::Snapshot | Self::HandedOver => frame,
            Self::Exit(e) => frame
                .u64(e.seq)
                .i32(e.pid)
                .i32(e.code)
                .i32(e.status)
                .u32(e.uid)
                .u64(e.user_us)
                .u64(e.system_us)
                .u64(e.max_rss_kib),
            Self::Signal(s) => frame.i32(s.number).i32(s.code).i32(s.pid).u32(s.uid),
            Self::Pong(c) => frame.u64(c.number).u64(c.reaped).u64(c.told).u32(c.starts).u32(c.kept).u64(c.allocations),
            Self::Refused(r) => frame.put(&r.kind.to_le_bytes()).put(&(r.why as u16).to_le_bytes()).i32(r.errno),
        }
        .done()
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`BadMessage`], for any bytes that [`Self::encode`] cannot have made.
    pub fn decode(packet: &'a [u8]) -> Result<Self, BadMessage> {
        let mut body = Body::of(packet)?;
        let message = match body.kind {
            65 => {
                let version = body.u32()?;
                if version == 0 {
                    return Err(body.value(0));
                }
                Self::Hello(Greeting {
                    version,
                    node: body.u32()?,
                    flags: body.u32()?,
                    starts: body.u32()?,
                    kept: body.u32()?,
                    silence_ms: body.u32()?,
                    booted_us: body.u64()?,
                })
            }
            66 => Self::Kept { name: body.name()? },
            67 => Self::Snapshot,
            68 => Self::HandedOver,
            69 => Self::Exit(Exit {
                seq: body.u64()?,
                pid: body.i32()?,
                code: body.i32()?,
                status: body.i32()?,
                uid: body.u32()?,
                user_us: body.u64()?,
                system_us: body.u64()?,
                max_rss_kib: body.u64()?,
            }),
            70 => Self::Signal(Signal { number: body.i32()?, code: body.i32()?, pid: body.i32()?, uid: body.u32()? }),
            71 => Self::Pong(Counters {
                number: body.u64()?,
                reaped: body.u64()?,
                told: body.u64()?,
                starts: body.u32()?,
                kept: body.u32()?,
                allocations: body.u64()?,
            }),
            72 => {
                let kind = body.u16()?;
                let number = body.u16()?;
                let why = Why::ALL.into_iter().find(|why| *why as u16 == number).ok_or(body.value(number.into()))?;
                Self::Refused(Refusal { kind, why, errno: body.i32()? })
            }
            kind => return Err(BadMessage::Kind(kind)),
        };
        body.end(message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 1..=NAME_MAX)
    }

    #[test]
    fn the_bytes_are_those_of_the_drawing() {
        let name = Name::new(b"ab").unwrap();
        assert_eq!(ToPid1::Keep { name }.encode().as_bytes(), b"\x02\0\x0a\0\0\0\0\0ab");
        assert_eq!(ToPid1::Ack { seq: 0x0102 }.encode().as_bytes(), b"\x05\0\x10\0\0\0\0\0\x02\x01\0\0\0\0\0\0");
        let shutdown = ToPid1::Shutdown { how: How::Reboot, status: 7 };
        assert_eq!(shutdown.encode().as_bytes(), b"\x07\0\x10\0\0\0\0\0\x03\x07\0\0\0\0\0\0");
        let signal = FromPid1::Signal(Signal { number: 2, code: 0x80, pid: -1, uid: 3 });
        assert_eq!(signal.encode().as_bytes(), b"\x46\0\x18\0\0\0\0\0\x02\0\0\0\x80\0\0\0\xff\xff\xff\xff\x03\0\0\0");
        assert_eq!(FromPid1::Exit(Exit::default()).encode().as_bytes().len(), 8 + 48);
        assert_eq!(FromPid1::Hello(Greeting::default()).encode().as_bytes().len(), 8 + 32);
        assert_eq!(FromPid1::Pong(Counters::default()).encode().as_bytes().len(), 8 + 40);
    }

    #[test]
    fn names_have_bounds() {
        assert!(Name::new(b"").is_none() && Name::new(&[b'x'; 256]).is_none());
        assert!(Name::new(b"a\nb").is_none() && Name::new(b"a\x7f").is_none() && Name::new(b"a\0").is_none());
        let longest = [b'x'; 255];
        let name = Name::new(&longest).unwrap();
        assert_eq!(FromPid1::Kept { name }.encode().as_bytes().len(), MESSAGE_MAX);
        assert_eq!(ToPid1::decode(b"\x02\0\x08\0\0\0\0\0"), Err(BadMessage::Name(2)));
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        assert_eq!(ToPid1::decode(b"\x05\0"), Err(BadMessage::Short(2)));
        assert_eq!(ToPid1::decode(b"\x05\0\x10\0\0\0\0\0"), Err(BadMessage::Size { said: 16, has: 8 }));
        assert_eq!(ToPid1::decode(b"\x05\0\x08\0\0\0\0\0"), Err(BadMessage::Body { kind: 5, has: 0 }));
        assert_eq!(ToPid1::decode(b"\x08\0\x09\0\0\0\0\0x"), Err(BadMessage::Body { kind: 8, has: 1 }));
        assert_eq!(ToPid1::decode(b"\x63\0\x08\0\0\0\0\0"), Err(BadMessage::Kind(0x63)));
        assert_eq!(ToPid1::decode(b"\x08\0\x08\0\x01\0\0\0"), Err(BadMessage::Value { kind: 8, value: 1 }));
        let how = b"\x07\0\x10\0\0\0\0\0\x09\0\0\0\0\0\0\0";
        assert_eq!(ToPid1::decode(how), Err(BadMessage::Value { kind: 7, value: 9 }));
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(name in name(), a: u64, b: u64, c: u32, d: u32, e: i32, how in 1u8..=5, why in 0usize..6) {
            let name = Name::new(&name).unwrap();
            let version = c.max(1);
            for said in [
                ToPid1::Hello { version }, ToPid1::Keep { name }, ToPid1::Drop { name }, ToPid1::Snapshot,
                ToPid1::Ack { seq: a }, ToPid1::Ping { number: b }, ToPid1::Reexec,
                ToPid1::Shutdown { how: How::from_number(how).unwrap(), status: c as u8 },
                ToPid1::Watchdog { timeout_ms: c, pet_for_ms: d },
            ] {
                let frame = said.encode();
                prop_assert_eq!(ToPid1::decode(frame.as_bytes()), Ok(said));
            }
            for said in [
                FromPid1::Hello(Greeting { version, node: d, flags: c, starts: d, kept: c, silence_ms: d, booted_us: a }),
                FromPid1::Kept { name }, FromPid1::Snapshot, FromPid1::HandedOver,
                FromPid1::Exit(Exit { seq: a, pid: e, code: e, status: e, uid: c, user_us: b, system_us: a, max_rss_kib: b }),
                FromPid1::Signal(Signal { number: e, code: e, pid: e, uid: d }),
                FromPid1::Pong(Counters { number: a, reaped: b, told: a, starts: c, kept: d, allocations: b }),
                FromPid1::Refused(Refusal { kind: c as u16, why: Why::ALL[why], errno: e }),
            ] {
                let frame = said.encode();
                prop_assert_eq!(FromPid1::decode(frame.as_bytes()), Ok(said));
            }
        }

        #[test]
        fn any_bytes_give_an_answer_and_what_is_understood_was_said_so(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u16..80, fit: bool) {
            let mut bytes = bytes;
            if fit && bytes.len() >= 8 {
                let size = (bytes.len() as u16).to_le_bytes();
                bytes[..2].copy_from_slice(&kind.to_le_bytes());
                bytes[2..4].copy_from_slice(&size);
                bytes[4..8].fill(0);
            }
            if let Ok(said) = ToPid1::decode(&bytes) {
                let frame = said.encode();
                prop_assert_eq!(frame.as_bytes(), &bytes[..]);
            }
            if let Ok(said) = FromPid1::decode(&bytes) {
                let frame = said.encode();
                prop_assert_eq!(frame.as_bytes(), &bytes[..]);
            }
        }
    }
}
