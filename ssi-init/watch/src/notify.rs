// SPDX-License-Identifier: GPL-2.0-or-later
//! The socket that services send their state to: sd_notify(3).
//!
//! A message is a datagram of lines `NAME=value`, with the sender's credentials (the kernel vouches for them) and perhaps
//! descriptors. What it means is the core's business; here it is looked at, and later read away, whole, or told and dropped:
//!
//! * longer than [`MESSAGE_MAX`], or with more descriptors than could be taken: it was cut,
//! * from a process that cannot be named here (of another PID namespace),
//! * with a NUL inside.
//!
//! `BARRIER=1` is no message for the core. Who sends it waits until everything it sent before was taken in, which it sees
//! by its descriptor being closed: so that comes in its place among the messages, and is closed when it is read away.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags,
    SocketType, recvmsg, sockopt,
};
use ssi_manager::core::service::Notification;
use ssi_manager::core::system::Pid;

use crate::error::{Result, Tried, WatchError};
use crate::ports::options::buffer;

/// The longest message, in bytes.
pub const MESSAGE_MAX: usize = 4096;
/// The most descriptors in a message: the kernel's own limit (`SCM_MAX_FD` of unix(7)).
pub const FDS_MAX: usize = 253;
/// Room for messages that wait, in bytes: many services start at once, and none is to be held up.
const ROOM: i32 = 8 * 1024 * 1024;

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A message. Its descriptors are beside it, as they have no keys yet.
    Message {
        /// What it says; `fds` is empty.
        message: Notification,
        /// The sender's user.
        uid: u32,
        /// The descriptors, in their order.
        fds: Vec<OwnedFd>,
    },
    /// All that came before is to be done with, and then this closed.
    Barrier(OwnedFd),
    /// It was dropped, and its descriptors closed: why, for the log.
    Dropped(String),
}

/// The socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes the socket at this path, for anybody to send to. A socket that is there is replaced.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("cannot receive notifications at {}", path.display());
        let address = SocketAddrUnix::new(path).tried(what)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).tried(what)?;
        sockopt::set_socket_passcred(&fd, true).tried(what)?;
        // Less room serves too.
        let _ = buffer(fd.as_fd(), libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, ROOM);
        let everybody = Mode::from_raw_mode(0o777);
        rustix::fs::fchmod(&fd, everybody).tried(what)?;
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).tried(what),
        }
        rustix::net::bind(&fd, &address).tried(what)?;
        // The umask has taken away from the mode.
        rustix::fs::chmod(path, everybody).tried(what)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Goes on with the socket of an earlier manager: what was sent meanwhile waits in it.
    ///
    /// # Errors
    /// When it is no socket of datagrams at this path.
    pub fn adopt(fd: OwnedFd, path: &Path) -> Result<Self> {
        let what = || format!("cannot go on receiving notifications at {}", path.display());
        let bound = rustix::net::getsockname(&fd).and_then(SocketAddrUnix::try_from).tried(what)?;
        let here = bound.path().is_some_and(|bound| bound.to_bytes() == path.as_os_str().as_encoded_bytes());
        if !here || sockopt::socket_type(&fd) != Ok(SocketType::DGRAM) {
            return Err(WatchError::found(what(), Errno::INVAL));
        }
        sockopt::set_socket_passcred(&fd, true).tried(what)?;
        rustix::io::ioctl_fionbio(&fd, true).tried(what)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Readable when a message came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it is: the value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The message that is next, which stays there: it is read away with [`NotifySocket::consume`], once what follows
    /// from it is on record. A manager that dies in between leaves it to the next one; what a message asks for twice is
    /// no harm. `None`: there is none.
    pub fn peek(&self) -> Option<Received> {
        loop {
            match self.receive(RecvFlags::PEEK) {
                Ok(one) => return Some(one),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads the next message away. Descriptors that came with it are closed, but for those that [`NotifySocket::peek`]
    /// gave: who waits at a barrier goes on.
    pub fn consume(&self) {
        while matches!(self.receive(RecvFlags::empty()), Err(Errno::INTR)) {}
    }

    fn receive(&self, how: RecvFlags) -> std::result::Result<Received, Errno> {
        // One byte more, to tell a message that just fits from one that was cut.
        let mut text = [0_u8; MESSAGE_MAX + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = how | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(&self.fd, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
        let mut fds = Vec::new();
        let mut sender = None;
        for beside in control.drain() {
            match beside {
                RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
                RecvAncillaryMessage::ScmCredentials(known) => {
                    sender = Some((known.pid.as_raw_nonzero().get(), known.uid.as_raw()));
                }
                _ => {}
            }
        }
        let Some((pid, uid)) = sender.and_then(|(pid, uid)| Some((u32::try_from(pid).ok()?, uid))) else {
            return Ok(Received::Dropped("a notification by a process that cannot be told is passed over".into()));
        };
        let told = format!("a notification of process {pid} (user {uid}) is passed over:");
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Ok(Received::Dropped(format!("{told} it has more descriptors than can be taken")));
        }
        if message.flags.contains(ReturnFlags::TRUNC) || message.bytes > MESSAGE_MAX {
            return Ok(Received::Dropped(format!("{told} it is longer than {MESSAGE_MAX} bytes")));
        }
        let text = text.get(..message.bytes).unwrap_or_default();
        // Some send the NUL at the end of their string with it.
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        if text.contains(&0) {
            return Ok(Received::Dropped(format!("{told} there is a NUL inside")));
        }
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        if lines.clone().any(|line| line == b"BARRIER=1") {
            let alone = lines.nth(1).is_none();
            return Ok(match (alone, fds.pop()) {
                (true, Some(fd)) if fds.is_empty() => Received::Barrier(fd),
                (true, _) => Received::Dropped(format!("{told} BARRIER=1 needs exactly one descriptor")),
                (false, _) => Received::Dropped(format!("{told} nothing else may come with BARRIER=1")),
            });
        }
        let message = Notification::parse(Some(Pid(pid)), text, Vec::new());
        Ok(Received::Message { message, uid, fds })
    }
}
