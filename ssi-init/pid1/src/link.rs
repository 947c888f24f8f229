// SPDX-License-Identifier: GPL-2.0-or-later
//! The link between process 1 and the manager: packets with at most one descriptor, over a `SOCK_SEQPACKET` pair
//! (unix(7)). Nothing here allocates.
//!
//! The manager's side:
//!
//! ```no_run
//! use ssi_pid1::link::{Link, Packet};
//! use ssi_pid1::protocol::{FromPid1, ToPid1, VERSION};
//!
//! # fn main() -> Result<(), ssi_pid1::link::LinkError> {
//! let link = Link::inherited()?;
//! link.send(&ToPid1::Hello { version: VERSION }.encode(), None)?;
//! let mut packet = Packet::new();
//! while link.receive(&mut packet)? {
//!     match FromPid1::decode(packet.bytes()) {
//!         Ok(FromPid1::Exit(exit)) => link.send(&ToPid1::Ack { seq: exit.seq }.encode(), None)?,
//!         Ok(message) => println!("{message:?}"),
//!         Err(bad) => eprintln!("{bad}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use thiserror::Error;

use crate::LINK_FD;
use crate::protocol::{Frame, MESSAGE_MAX};

mod inherited;

/// Why nothing could be said or heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The socket pair could not be made.
    #[error("making the socket pair between process 1 and the manager: {0}")]
    Make(Errno),
    /// Descriptor 3 is not a socket of the right kind.
    #[error(
        "descriptor {LINK_FD} is not the link to process 1 ({0}): the manager is started by process 1, not by hand"
    )]
    NotInherited(Errno),
    /// Sending failed. [`Errno::AGAIN`] where the link does not block: try again when it can be written to.
    #[error("sending to the other end of the link: {0}")]
    Send(Errno),
    /// Receiving failed. [`Errno::AGAIN`] where the link does not block: nothing is there.
    #[error("receiving from the other end of the link: {0}")]
    Receive(Errno),
}

impl LinkError {
    /// What the system said.
    pub fn errno(self) -> Errno {
        match self {
            Self::Make(e) | Self::NotInherited(e) | Self::Send(e) | Self::Receive(e) => e,
        }
    }

    /// Is it only that a link which does not block would have to wait?
    pub fn would_block(self) -> bool {
        matches!(self, Self::Send(Errno::AGAIN) | Self::Receive(Errno::AGAIN))
    }
}

/// A packet that was received, in a buffer that is used again.
#[derive(Debug)]
pub struct Packet {
    // One byte more than any message: a longer packet shows by its size.
    bytes: [u8; MESSAGE_MAX + 1],
    size: usize,
    fd: Option<OwnedFd>,
    lost: bool,
}

impl Default for Packet {
    fn default() -> Self {
        Self::new()
    }
}

impl Packet {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [0; MESSAGE_MAX + 1], size: 0, fd: None, lost: false }
    }

    /// The packet's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// The descriptor that came with it; close-on-exec. One that is not taken is closed by the next receive.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fd.take()
    }

    /// Were descriptors sent with it that did not arrive: more than one, or more than this process may have open?
    pub fn lost_descriptors(&self) -> bool {
        self.lost
    }
}

/// One end.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

impl Link {
    /// A new pair, both ends close-on-exec; `flags` are for both.
    ///
    /// # Errors
    /// [`LinkError::Make`].
    pub fn pair(flags: SocketFlags) -> Result<(Self, Self), LinkError> {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags | SocketFlags::CLOEXEC, None)
            .map(|(a, b)| (Self(a), Self(b)))
            .map_err(LinkError::Make)
    }

    /// The manager's end, which process 1 put at descriptor [`LINK_FD`]. It blocks; it is close-on-exec from here on
    /// (to execute oneself anew, take that off).
    ///
    /// To be called once, before anything else is opened.
    ///
    /// # Errors
    /// [`LinkError::NotInherited`] where there is none: not started by process 1.
    pub fn inherited() -> Result<Self, LinkError> {
        inherited::link().map(Self).map_err(LinkError::NotInherited)
    }

    /// Sends one message and, with it, a descriptor. The descriptor stays the caller's too.
    ///
    /// # Errors
    /// [`LinkError::Send`]; nothing was sent then.
    pub fn send(&self, frame: &Frame, fd: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds;
        if let Some(fd) = fd {
            fds = [fd];
            // The space is for exactly this.
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(frame.as_bytes())], &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return sent.map(|_| ()).map_err(LinkError::Send),
            }
        }
    }

    /// Receives one packet; `false`: the other end is gone.
    ///
    /// # Errors
    /// [`LinkError::Receive`].
    pub fn receive(&self, packet: &mut Packet) -> Result<bool, LinkError> {
        packet.fd = None;
        packet.size = 0;
        packet.lost = false;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut packet.bytes)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received.map_err(LinkError::Receive)?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    packet.lost |= packet.fd.is_some();
                    packet.fd = Some(fd);
                }
            }
        }
        packet.size = received.bytes;
        packet.lost |= received.flags.contains(ReturnFlags::CTRUNC);
        // No message is empty: nothing at all is the end.
        Ok(received.bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Name, ToPid1};
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (a, b) = Link::pair(SocketFlags::empty()).unwrap();
        let mut file = tempfile();
        file.write_all(b"kept").unwrap();
        let message = ToPid1::Keep { name: Name::new(b"x").unwrap() };
        a.send(&message.encode(), Some(file.as_fd())).unwrap();
        a.send(&ToPid1::Reexec.encode(), None).unwrap();
        let mut packet = Packet::new();
        assert!(b.receive(&mut packet).unwrap());
        assert_eq!(ToPid1::decode(packet.bytes()), Ok(message));
        let mut kept = std::fs::File::from(packet.take_fd().unwrap());
        kept.rewind().unwrap();
        let mut text = String::new();
        kept.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        assert!(b.receive(&mut packet).unwrap() && packet.take_fd().is_none() && !packet.lost_descriptors());
        drop(a);
        assert!(!b.receive(&mut packet).unwrap(), "the other end is gone");
    }

    #[test]
    fn more_than_one_descriptor_is_told_and_closed() {
        let (a, b) = Link::pair(SocketFlags::empty()).unwrap();
        let file = tempfile();
        let fds = [file.as_fd(), file.as_fd(), file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&a, &[IoSlice::new(ToPid1::Snapshot.encode().as_bytes())], &mut control, SendFlags::empty()).unwrap();
        let mut packet = Packet::new();
        assert!(b.receive(&mut packet).unwrap());
        assert!(packet.lost_descriptors());
    }

    #[test]
    fn a_packet_that_is_too_long_is_no_message() {
        let (a, b) = Link::pair(SocketFlags::empty()).unwrap();
        rustix::net::send(&a, &[2; 4000], SendFlags::empty()).unwrap();
        let mut packet = Packet::new();
        assert!(b.receive(&mut packet).unwrap());
        assert!(ToPid1::decode(packet.bytes()).is_err());
    }

    #[test]
    fn a_full_link_that_does_not_block_says_so() {
        let (a, _b) = Link::pair(SocketFlags::NONBLOCK).unwrap();
        let error = (0..100_000).find_map(|_| a.send(&ToPid1::Reexec.encode(), None).err()).unwrap();
        assert!(error.would_block(), "{error}");
        assert!(a.receive(&mut Packet::new()).unwrap_err().would_block());
    }

    fn tempfile() -> std::fs::File {
        rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
    }
}
