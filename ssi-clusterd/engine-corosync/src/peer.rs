// SPDX-License-Identifier: GPL-2.0-or-later
//! The socket to `ssi-clusterd`: frames out, commands in, neither waiting for the other.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use ssi_cluster::engine::{FrameError, FromEngine, MAX_FRAME, ToEngine, decode, encode};

/// How many bytes may wait to be read by the daemon before corosync's events are left where they are.
const UNREAD: usize = 4 * MAX_FRAME;

/// The daemon's end.
pub(crate) struct Peer {
    socket: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Peer {
    /// The socket this process was given as its standard input.
    pub(crate) fn on_stdin() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        // Anything but a socket fails here, with the kernel's word for it.
        rustix::net::sockopt::socket_type(&stdin)?;
        let socket = UnixStream::from(stdin);
        socket.set_nonblocking(true)?;
        Ok(Self { socket, incoming: Vec::new(), outgoing: Vec::new() })
    }

    /// What to wait for.
    pub(crate) fn wants(&self, commands: bool) -> (RawFd, PollFlags) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, commands);
        flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        (self.socket.as_raw_fd(), flags)
    }

    /// Whether more may be told now.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.len() < UNREAD
    }

    /// Puts a frame behind those that wait to be written.
    pub(crate) fn tell(&mut self, event: &FromEngine) {
        match encode(event) {
            Ok(bytes) => self.outgoing.extend_from_slice(&bytes),
            // Only a message of another, newer program could be as long as that; corosync's own bound is lower.
            Err(error) => eprintln!("an event cannot be told to ssi-clusterd: {error}"),
        }
    }

    /// Writes what the socket takes.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            let Some(rest) = self.outgoing.get(written..).filter(|r| !r.is_empty()) else { break Ok(()) };
            match self.socket.write(rest) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.outgoing.drain(..written);
        result
    }

    /// Reads what is there, up to a frame and a bit; `false` at the end of the stream.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 64 << 10];
        while self.incoming.len() < MAX_FRAME + 4 {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => self.incoming.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The daemon was killed with frames unread.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Whether a command is here as a whole, so that there is nothing to wait for.
    pub(crate) fn has_command(&self) -> bool {
        let head = self.incoming.first_chunk::<4>();
        head.is_some_and(|h| self.incoming.len() - 4 >= (u32::from_be_bytes(*h) as usize).min(MAX_FRAME))
    }

    /// The next command that is here as a whole.
    pub(crate) fn next_command(&mut self) -> Result<Option<ToEngine>, FrameError> {
        decode(&mut self.incoming)
    }
}
