// SPDX-License-Identifier: GPL-2.0-or-later
//! A socket that speaks with the kernel's IPVS.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, SocketFlags, SocketType};

use crate::codec::{self, Command, DecodeError, command};
use crate::types::{DestinationStatus, Info, ServiceId, ServiceStatus, SyncDaemon, Timeouts};

/// The name of the family.
const FAMILY: &str = "IPVS";
/// The family's version.
const VERSION: u8 = 1;
/// The family that knows the others' numbers (`GENL_ID_CTRL`), its version, and what it is asked and answers.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `struct nlmsghdr` and `struct genlmsghdr`, in bytes.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
/// How long the kernel may take. It waits for its own lock, which another program may hold while it adds thousands.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many commands are sent before their answers are read: they have to fit into the socket's buffer.
const BATCH: usize = 64;
/// A datagram of a dump has at most 32 KiB (`NLMSG_GOODSIZE`, `netlink_dump` in the kernel's `af_netlink.c`).
const DATAGRAM: usize = 64 * 1024;

/// The kernel did not do one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel refused: {}", self.text())]
pub struct Refused {
    /// What it said.
    pub errno: i32,
}

impl Refused {
    /// In words.
    fn text(self) -> String {
        std::io::Error::from_raw_os_error(self.errno).to_string()
    }

    /// Whether the service, the destination or the thread is there already.
    #[must_use]
    pub fn is_there(self) -> bool {
        self.errno == Errno::EXIST.raw_os_error()
    }

    /// Whether the service, the destination, the thread or the scheduler is not there.
    #[must_use]
    pub fn is_missing(self) -> bool {
        self.errno == Errno::SRCH.raw_os_error() || self.errno == Errno::NOENT.raw_os_error()
    }
}

/// Why the kernel could not be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kernel has no IPVS, and could not load it.
    #[error(
        "this kernel has no IPVS: no netlink family of this name, and the module ip_vs is not there or cannot be loaded"
    )]
    NoIpvs,
    /// The socket failed.
    #[error("{doing}: {source}")]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// No answer came.
    #[error("the kernel did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The answer was too long for the buffer.
    #[error("an answer of the kernel was cut off")]
    CutOff,
    /// Something changed while the kernel listed it.
    #[error("what was listed changed meanwhile")]
    Changed,
    /// The kernel did not do it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The answer means nothing.
    #[error("an answer of the kernel cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
}

/// Speaks with the kernel, on a socket of its own. What is sent is answered before it returns.
///
/// After an error of the socket it opens another one: what was on its way on the old one cannot be taken for an answer.
#[derive(Debug)]
pub struct Client {
    socket: Option<OwnedFd>,
    family: u16,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message that came.
struct Came<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// What follows the header.
    payload: &'a [u8],
}

impl Client {
    /// Opens a socket, and has the kernel load IPVS if it has not.
    ///
    /// # Errors
    /// When the kernel has none, or does not answer.
    pub fn connect() -> Result<Client, ClientError> {
        let mut client = Client { socket: None, family: CONTROL, sequence: 0, buffer: vec![0; DATAGRAM] };
        let mut name = crate::wire::Writer::default();
        name.text(FAMILY_NAME, FAMILY);
        let mut number = None;
        let asked = client.ask(CONTROL, GET_FAMILY, &name.finish(), 0, |attributes| {
            number = crate::wire::Attributes::read("a family", attributes)?.u16(FAMILY_ID)?;
            Ok(())
        });
        match asked {
            Err(ClientError::Refused(refused)) if refused.is_missing() => return Err(ClientError::NoIpvs),
            other => other?,
        }
        client.family = number.ok_or(ClientError::NoIpvs)?;
        Ok(client)
    }

    /// Has all of these done in their order; what came of each.
    ///
    /// # Errors
    /// When the kernel cannot be spoken with: some of them may have been done.
    pub fn execute(&mut self, commands: &[Command]) -> Result<Vec<Result<(), Refused>>, ClientError> {
        let mut came = Vec::with_capacity(commands.len());
        for batch in commands.chunks(BATCH) {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            for command in batch {
                let (number, attributes) = command.encode();
                self.sequence = self.sequence.wrapping_add(1);
                write_message(&mut bytes, self.family, number, NLM_F_REQUEST | NLM_F_ACK, self.sequence, &attributes);
            }
            let mut answers: Vec<Option<Result<(), Refused>>> = vec![None; batch.len()];
            let mut missing = batch.len();
            self.send(&bytes)?;
            while missing > 0 {
                self.receive(|came| {
                    let place = usize::try_from(came.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                    if let (ERROR, Some(answer @ None)) = (came.kind, answers.get_mut(place)) {
                        *answer = Some(verdict(came.payload)?);
                        missing -= 1;
                    }
                    Ok(false)
                })?;
            }
            came.extend(answers.into_iter().flatten());
        }
        Ok(came)
    }

    /// Has one done.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn run(&mut self, command: Command) -> Result<(), ClientError> {
        let came = self.execute(&[command])?;
        came.into_iter().collect::<Result<Vec<()>, Refused>>()?;
        Ok(())
    }

    /// All services. Each datagram of the list is true; two of them need not be of one moment.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn services(&mut self) -> Result<Vec<ServiceStatus>, ClientError> {
        let mut list = Vec::new();
        self.ask(self.family, command::GET_SERVICE, &[], NLM_F_DUMP, |attributes| {
            list.push(codec::decode_service(attributes)?);
            Ok(())
        })?;
        Ok(list)
    }

    /// One service; `None`: there is no such.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn service(&mut self, id: &ServiceId) -> Result<Option<ServiceStatus>, ClientError> {
        let mut found = None;
        let asked = self.ask(self.family, command::GET_SERVICE, &codec::ask_for(id), 0, |attributes| {
            found = Some(codec::decode_service(attributes)?);
            Ok(())
        });
        match asked {
            Err(ClientError::Refused(refused)) if refused.is_missing() => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// A service's destinations; none also where there is no such service, which the kernel does not tell apart.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn destinations(&mut self, id: &ServiceId) -> Result<Vec<DestinationStatus>, ClientError> {
        let (mut list, family) = (Vec::new(), id.family());
        self.ask(self.family, command::GET_DEST, &codec::ask_for(id), NLM_F_DUMP, |attributes| {
            list.push(codec::decode_destination(attributes, family)?);
            Ok(())
        })?;
        Ok(list)
    }

    /// The synchronisation threads that run: none, one, or one of each role.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn daemons(&mut self) -> Result<Vec<SyncDaemon>, ClientError> {
        let mut list = Vec::new();
        self.ask(self.family, command::GET_DAEMON, &[], NLM_F_DUMP, |attributes| {
            list.push(codec::decode_daemon(attributes)?);
            Ok(())
        })?;
        Ok(list)
    }

    /// When connections are forgotten.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn timeouts(&mut self) -> Result<Timeouts, ClientError> {
        let mut found = Timeouts::default();
        self.ask(self.family, command::GET_CONFIG, &[], 0, |attributes| {
            found = codec::decode_timeouts(attributes)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// What IPVS says of itself.
    ///
    /// # Errors
    /// When the kernel refuses, or cannot be spoken with.
    pub fn info(&mut self) -> Result<Info, ClientError> {
        let mut found = None;
        self.ask(self.family, command::GET_INFO, &[], 0, |attributes| {
            found = Some(codec::decode_info(attributes)?);
            Ok(())
        })?;
        found.ok_or(ClientError::CutOff)
    }

    /// Asks, and has each answer's attributes taken in.
    fn ask(
        &mut self,
        family: u16,
        number: u8,
        attributes: &[u8],
        flags: u16,
        mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), ClientError> {
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, mut bytes) = (self.sequence, Vec::new());
        // What is no list ends with its acknowledgement.
        let end = if flags & NLM_F_DUMP == NLM_F_DUMP { flags } else { flags | NLM_F_ACK };
        write_message(&mut bytes, family, number, NLM_F_REQUEST | end, sequence, attributes);
        self.send(&bytes)?;
        let (mut over, mut changed, mut wrong) = (None, false, None);
        while over.is_none() {
            self.receive(|came| {
                if came.sequence != sequence {
                    return Ok(false);
                }
                changed |= came.flags & NLM_F_DUMP_INTR != 0;
                match came.kind {
                    DONE | ERROR => over = Some(verdict(came.payload)?),
                    kind if kind == family => {
                        let taken = match came.payload.get(GENERIC_HEADER..) {
                            Some(attributes) => take(attributes),
                            None => Err(DecodeError::Broken { what: "a message" }),
                        };
                        // The rest is read all the same: the next answer is to be that of the next question.
                        wrong = wrong.or(taken.err());
                    }
                    _ => {}
                }
                Ok(over.is_some())
            })?;
        }
        if let Some(over) = over {
            over?;
        }
        match wrong {
            Some(wrong) => Err(wrong.into()),
            None if changed => Err(ClientError::Changed),
            None => Ok(()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open()?),
        };
        let sent = rustix::net::send(socket, bytes, SendFlags::empty());
        sent.map(drop).map_err(|error| {
            self.socket = None;
            ClientError::Socket { doing: "sending to the kernel's IPVS", source: error.into() }
        })
    }

    /// Takes in one datagram, until `take` says that it is enough.
    fn receive(&mut self, take: impl FnMut(&Came<'_>) -> Result<bool, DecodeError>) -> Result<(), ClientError> {
        let doing = "receiving from the kernel's IPVS";
        let Some(socket) = self.socket.take() else {
            return Err(ClientError::Socket { doing, source: Errno::NOTCONN.into() });
        };
        let mut none = RecvAncillaryBuffer::default();
        let came = loop {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            match rustix::net::recvmsg(&socket, &mut slices, &mut none, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let came = came.map_err(|error| match error {
            Errno::AGAIN => ClientError::Silent,
            error => ClientError::Socket { doing, source: error.into() },
        })?;
        if came.flags.contains(ReturnFlags::TRUNC) {
            return Err(ClientError::CutOff);
        }
        let bytes = self.buffer.get(..came.bytes).unwrap_or_default();
        each_message(bytes, take)?;
        // What went wrong above leaves no socket: nobody knows what else is on its way.
        self.socket = Some(socket);
        Ok(())
    }
}

fn open() -> Result<OwnedFd, ClientError> {
    let failed =
        |error: Errno| ClientError::Socket { doing: "opening a socket to the kernel's IPVS", source: error.into() };
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(GENERIC));
    let socket = socket.map_err(failed)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE)).map_err(failed)?;
    Ok(socket)
}

/// Appends a message; its attributes end at a multiple of 4.
fn write_message(bytes: &mut Vec<u8>, kind: u16, number: u8, flags: u16, sequence: u32, attributes: &[u8]) {
    let length = u32::try_from(HEADER + GENERIC_HEADER + attributes.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The port: the kernel knows whose socket it is.
    bytes.extend([0; 4]);
    bytes.extend([number, VERSION, 0, 0]);
    bytes.extend(attributes);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Goes through the messages of a datagram, until `take` says that it is enough.
fn each_message(bytes: &[u8], mut take: impl FnMut(&Came<'_>) -> Result<bool, DecodeError>) -> Result<(), DecodeError> {
    const BROKEN: DecodeError = DecodeError::Broken { what: "a datagram" };
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = |place: usize| rest.get(place..).and_then(<[u8]>::first_chunk::<4>).copied().ok_or(BROKEN);
        let half = |place: usize| rest.get(place..).and_then(<[u8]>::first_chunk::<2>).copied().ok_or(BROKEN);
        let length = usize::try_from(u32::from_ne_bytes(word(0)?)).unwrap_or(usize::MAX);
        let came = Came {
            kind: u16::from_ne_bytes(half(4)?),
            flags: u16::from_ne_bytes(half(6)?),
            sequence: u32::from_ne_bytes(word(8)?),
            payload: rest.get(HEADER..length).ok_or(BROKEN)?,
        };
        if take(&came)? {
            return Ok(());
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// What an acknowledgement or the end of a list says: an error's number below 0, or 0.
fn verdict(payload: &[u8]) -> Result<Result<(), Refused>, DecodeError> {
    let number = payload.first_chunk().copied().map(i32::from_ne_bytes);
    match number.ok_or(DecodeError::Broken { what: "an acknowledgement" })? {
        0 => Ok(Ok(())),
        error => Ok(Err(Refused { errno: error.saturating_neg() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_each_other_and_end_where_one_is_broken() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, 30, 4, 0, 7, &[4, 0, 1, 0]);
        write_message(&mut bytes, DONE, 0, 2, 8, &[]);
        let mut seen = Vec::new();
        let read = |bytes: &[u8], seen: &mut Vec<_>| {
            each_message(bytes, |came| {
                seen.push((came.kind, came.flags, came.sequence, came.payload.len()));
                Ok(false)
            })
        };
        assert_eq!(read(&bytes, &mut seen), Ok(()));
        assert_eq!(seen, [(30, 0, 7, 8), (DONE, 2, 8, 4)]);
        for length in 1..bytes.len() {
            if length != 24 {
                assert!(read(&bytes[..length], &mut seen).is_err(), "{length}");
            }
        }
        let mut lies = bytes.clone();
        lies[0] = 3;
        assert!(read(&lies, &mut seen).is_err(), "shorter than its own header");
    }

    #[test]
    fn an_acknowledgement_says_what_went_wrong() {
        assert_eq!(verdict(&0_i32.to_ne_bytes()), Ok(Ok(())));
        let refused = verdict(&(-17_i32).to_ne_bytes()).unwrap().unwrap_err();
        assert!(refused.is_there() && !refused.is_missing());
        assert_eq!(refused.to_string(), "the kernel refused: File exists (os error 17)");
        assert!(verdict(&i32::MIN.to_ne_bytes()).unwrap().is_err());
        assert!(verdict(&[0, 0]).is_err());
    }
}
