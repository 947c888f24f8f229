// SPDX-License-Identifier: GPL-2.0-or-later
//! Connections taken from a listening socket (`Accept=yes`), and what waits at a socket thrown away.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use ssi_manager::core::system::Peer;

use super::address::{End, other_end, own_end};
use super::options;
use crate::error::{Result, Tried};

/// Takes a connection from a listening socket.
///
/// # Errors
/// What accept(2) said, `EAGAIN` where nobody waits (any more); `ENOTCONN` when the other end has gone meanwhile.
pub fn accept(listening: BorrowedFd<'_>) -> Result<(OwnedFd, Peer)> {
    let fd = loop {
        match rustix::net::accept_with(listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            // That one has gone, of whatever its network died (accept(2), "Error handling"); others may wait.
            Err(
                Errno::CONNABORTED
                | Errno::NETDOWN
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH,
            ) => return Err(Errno::AGAIN).tried(|| "cannot take a connection, whose network is gone".into()),
            other => break other.tried(|| "cannot take a connection".into())?,
        }
    };
    options::hand_down(listening, fd.as_fd());
    let peer = peer(fd.as_fd())?;
    Ok((fd, peer))
}

/// Who is at the other end of a connection.
///
/// The name of the instance is what systemd makes it (systemd.socket(5), `Accept=`), without the running number that
/// comes first: `address:port-address:port` with this machine's end first, or `pid-uid` of a local process.
///
/// # Errors
/// `ENOTCONN` when it has gone.
pub fn peer(fd: BorrowedFd<'_>) -> Result<Peer> {
    let what = || "cannot tell who is at the other end of a connection".to_owned();
    let own = own_end(fd).tried(what)?;
    let other = other_end(fd).tried(what)?;
    Ok(match (own, other) {
        (End::Inet(own, own_port, _), End::Inet(other, other_port, scope)) => {
            // Whoever comes to a socket of IPv6 by IPv4 is named by IPv4.
            let (own, other) = match (plain(own), plain(other)) {
                (own @ IpAddr::V4(_), other @ IpAddr::V4(_)) => (own, other),
                _ => (own, other),
            };
            let address = if scope == 0 { other.to_string() } else { format!("{other}%{}", interface(scope)) };
            Peer {
                instance: format!("{own}:{own_port}-{other}:{other_port}"),
                address: Some(address),
                port: Some(other_port),
            }
        }
        (End::Vsock(own, own_port), End::Vsock(other, other_port)) => Peer {
            instance: format!("{own}:{own_port}-{other}:{other_port}"),
            address: Some(format!("vsock:{other}")),
            port: u16::try_from(other_port).ok(),
        },
        (End::Unix(_) | End::Abstract(_), _) => Peer { instance: local_peer(fd), address: None, port: None },
        _ => Peer { instance: "unknown".to_owned(), address: None, port: None },
    })
}

/// An address of IPv4 that is told as one of IPv6.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn interface(number: u32) -> String {
    let any = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None);
    let name = any.and_then(|any| rustix::net::netdevice::index_to_name(any, number));
    name.unwrap_or_else(|_| number.to_string())
}

fn local_peer(fd: BorrowedFd<'_>) -> String {
    // A process of another PID namespace has the number 0 here, which is nobody's.
    let known = rustix::net::sockopt::socket_peercred(fd);
    match known {
        Ok(peer) if peer.pid.as_raw_nonzero().get() > 0 => {
            format!("{}-{}", peer.pid.as_raw_nonzero(), peer.uid.as_raw())
        }
        _ => "unknown".to_owned(),
    }
}

/// How much is thrown away at most: who sends without end is not waited for.
const FLUSH_MAX: usize = 1024;

/// Reads and drops what waits at a socket, and turns away who waits for a connection.
pub fn flush(fd: BorrowedFd<'_>) {
    let listens = rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false);
    let socket = rustix::net::sockopt::socket_type(fd).is_ok();
    let mut room = [0_u8; 4096];
    for _ in 0..FLUSH_MAX {
        let mut look = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => continue,
            Ok(1..) if look[0].revents().contains(PollFlags::IN) => {}
            _ => return,
        }
        let done = match (listens, socket) {
            (true, _) => rustix::net::accept_with(fd, SocketFlags::CLOEXEC).map(|_| 1),
            // A message without bytes is one too.
            (false, true) => rustix::net::recv(fd, &mut room, RecvFlags::DONTWAIT).map(|_| 1),
            (false, false) => rustix::io::read(fd, &mut room),
        };
        match done {
            Ok(0) => return,
            Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => return,
        }
    }
}
