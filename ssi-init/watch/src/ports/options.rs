// SPDX-License-Identifier: GPL-2.0-or-later
//! Options of sockets and FIFOs (socket(7), ip(7), ipv6(7), tcp(7)).
//!
//! An option that cannot be set does not keep a socket from being opened: it is noted, as it may be one that this kernel,
//! this kind of socket or this container lacks.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::libc;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use ssi_unit::config::SocketConfig;
use ssi_unit::config::socket::{SocketProtocol, Timestamping};

use crate::sys::{options, set_option, set_option_bytes};

/// What could not be done and is no reason to fail.
pub(super) type Notes = Vec<String>;

fn note(notes: &mut Notes, setting: &str, done: io::Result<()>) {
    if let Err(error) = done {
        notes.push(format!("{setting}= cannot be set, and is passed over: {error}"));
    }
}

fn seconds(span: Duration) -> i32 {
    i32::try_from(span.as_secs()).unwrap_or(i32::MAX)
}

/// Options that decide where a socket may be bound: set before it is.
pub(super) fn before_bind(
    fd: BorrowedFd<'_>,
    family: AddressFamily,
    config: &SocketConfig,
    notes: &mut Notes,
) -> io::Result<()> {
    let v6 = family == AddressFamily::INET6;
    if v6 || family == AddressFamily::INET {
        if let Some(name) = &config.bind_to_device {
            set_option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes())?;
        }
        if config.reuse_port {
            note(notes, "ReusePort", set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1));
        }
        let level = if v6 { libc::SOL_IPV6 } else { libc::SOL_IP };
        if config.free_bind {
            let name = if v6 { libc::IPV6_FREEBIND } else { libc::IP_FREEBIND };
            note(notes, "FreeBind", set_option(fd, level, name, 1));
        }
        if config.transparent {
            let name = if v6 { libc::IPV6_TRANSPARENT } else { libc::IP_TRANSPARENT };
            note(notes, "Transparent", set_option(fd, level, name, 1));
        }
    }
    if family != AddressFamily::NETLINK {
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    Ok(())
}

/// All other options.
pub(super) fn set(fd: BorrowedFd<'_>, family: AddressFamily, config: &SocketConfig, notes: &mut Notes) {
    let mut number = |setting: &str, level: i32, name: i32, value: i32| {
        note(notes, setting, set_option(fd, level, name, value));
    };
    const SOCKET: i32 = libc::SOL_SOCKET;
    const TCP: i32 = libc::IPPROTO_TCP;
    if config.keep_alive {
        number("KeepAlive", SOCKET, libc::SO_KEEPALIVE, 1);
    }
    if let Some(time) = config.keep_alive_time.filter(|time| !time.is_zero()) {
        number("KeepAliveTimeSec", TCP, libc::TCP_KEEPIDLE, seconds(time));
    }
    if let Some(time) = config.keep_alive_interval.filter(|time| !time.is_zero()) {
        number("KeepAliveIntervalSec", TCP, libc::TCP_KEEPINTVL, seconds(time));
    }
    if config.keep_alive_probes > 0 {
        let probes = i32::try_from(config.keep_alive_probes).unwrap_or(i32::MAX);
        number("KeepAliveProbes", TCP, libc::TCP_KEEPCNT, probes);
    }
    if let Some(time) = config.defer_accept.filter(|time| !time.is_zero()) {
        number("DeferAcceptSec", TCP, libc::TCP_DEFER_ACCEPT, seconds(time));
    }
    if config.no_delay {
        // Of `linux/socket.h` and `linux/sctp.h`; no binding has them.
        const SOL_SCTP: i32 = 132;
        const SCTP_NODELAY: i32 = 3;
        let sctp = config.protocol == Some(SocketProtocol::Sctp);
        let (level, name) = if sctp { (SOL_SCTP, SCTP_NODELAY) } else { (TCP, libc::TCP_NODELAY) };
        number("NoDelay", level, name, 1);
    }
    if config.broadcast {
        number("Broadcast", SOCKET, libc::SO_BROADCAST, 1);
    }
    if config.pass_credentials {
        number("PassCredentials", SOCKET, libc::SO_PASSCRED, 1);
    }
    if config.pass_security {
        number("PassSecurity", SOCKET, libc::SO_PASSSEC, 1);
    }
    if config.pass_packet_info {
        match family {
            AddressFamily::INET => number("PassPacketInfo", libc::SOL_IP, libc::IP_PKTINFO, 1),
            AddressFamily::INET6 => number("PassPacketInfo", libc::SOL_IPV6, libc::IPV6_RECVPKTINFO, 1),
            AddressFamily::NETLINK => number("PassPacketInfo", libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 1),
            _ => {}
        }
    }
    match config.timestamping {
        Timestamping::Off => {}
        Timestamping::Microseconds => number("Timestamping", SOCKET, libc::SO_TIMESTAMP, 1),
        Timestamping::Nanoseconds => number("Timestamping", SOCKET, libc::SO_TIMESTAMPNS, 1),
    }
    if let Some(priority) = config.priority {
        number("Priority", SOCKET, libc::SO_PRIORITY, priority);
    }
    if let Some(mark) = config.mark {
        number("Mark", SOCKET, libc::SO_MARK, mark);
    }
    if let Some(tos) = config.ip_tos {
        number("IPTOS", libc::SOL_IP, libc::IP_TOS, tos);
    }
    if let Some(ttl) = config.ip_ttl {
        if family == AddressFamily::INET6 {
            number("IPTTL", libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS, ttl);
            // For those who come by IPv4; a socket of IPv6 alone has no use for it.
            let _ = set_option(fd, libc::SOL_IP, libc::IP_TTL, ttl);
        } else {
            number("IPTTL", libc::SOL_IP, libc::IP_TTL, ttl);
        }
    }
    if config.receive_buffer > 0 {
        let size = i32::try_from(config.receive_buffer).unwrap_or(i32::MAX);
        note(notes, "ReceiveBuffer", buffer(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, size));
    }
    if config.send_buffer > 0 {
        let size = i32::try_from(config.send_buffer).unwrap_or(i32::MAX);
        note(notes, "SendBuffer", buffer(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, size));
    }
    if let Some(name) = &config.tcp_congestion {
        note(notes, "TCPCongestion", set_option_bytes(fd, TCP, libc::TCP_CONGESTION, name.as_bytes()));
    }
    for (asked, setting) in [
        (config.smack_label_ip_in.is_some(), "SmackLabelIPIn"),
        (config.smack_label_ip_out.is_some(), "SmackLabelIPOut"),
        (config.selinux_context_from_net, "SELinuxContextFromNet"),
    ] {
        if asked {
            notes.push(format!("{setting}= is not supported, and is passed over"));
        }
    }
}

/// The size of a buffer, beyond the kernel's limit where that is allowed.
pub(crate) fn buffer(fd: BorrowedFd<'_>, forced: i32, plain: i32, size: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, forced, size).or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, size))
}

/// `PipeSize=`
pub(super) fn set_pipe(fd: BorrowedFd<'_>, config: &SocketConfig, notes: &mut Notes) {
    if config.pipe_size > 0 {
        let done = usize::try_from(config.pipe_size)
            .map_err(|_| Errno::INVAL)
            .and_then(|size| rustix::pipe::fcntl_setpipe_size(fd, size));
        note(notes, "PipeSize", done.map(|_| ()).map_err(io::Error::from));
    }
}

/// Gives a connection what its listening socket has and the kernel does not hand down by itself.
///
/// TCP inherits nearly everything; a local socket nothing of this.
pub(super) fn hand_down(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    const SWITCHES: [i32; 5] =
        [libc::SO_PASSCRED, libc::SO_PASSSEC, libc::SO_PRIORITY, libc::SO_TIMESTAMP, libc::SO_TIMESTAMPNS];
    let read = |fd, name| options::<1>(fd, libc::SOL_SOCKET, name).ok().and_then(|values| values.first().copied());
    for name in SWITCHES {
        if let Some(value) = read(from, name).filter(|value| *value > 0 && read(to, name) != Some(*value)) {
            // An option the listening socket has is one that the connection can have.
            let _ = set_option(to, libc::SOL_SOCKET, name, value);
        }
    }
    for (name, forced) in [(libc::SO_RCVBUF, libc::SO_RCVBUFFORCE), (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE)] {
        if let Some(size) = read(from, name).filter(|size| read(to, name) != Some(*size)) {
            // What is read is twice what was set: the kernel counts its own bookkeeping (socket(7)).
            let _ = buffer(to, forced, name, size / 2);
        }
    }
}
