// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether a descriptor that was kept is still what the configuration says.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketType, sockopt};
use ssi_unit::config::socket::{Listen, SocketAddress, SocketStyle};

use super::address::{End, bind_address, own_end};
use super::open::netlink_number;

/// Whether this descriptor is what this entry of the configuration would open: kind and place, not the options.
///
/// A socket whose path was removed meanwhile is the same: its file is of use to nobody but those who connect, and to
/// take the socket away from those who have would help neither.
pub fn same(fd: BorrowedFd<'_>, listen: &Listen) -> bool {
    match listen {
        Listen::Socket(style, address) => same_socket(fd, *style, address),
        Listen::Netlink(family, group) => same_netlink(fd, family, *group),
        Listen::Fifo(path) => is_file(fd, path, &[FileType::Fifo]),
        Listen::Special(path) => is_file(fd, path, &[FileType::RegularFile, FileType::CharacterDevice]),
        // The kernel names an open queue by its place in the file system of queues, which need not be mounted.
        Listen::MessageQueue(name) => {
            let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
            link.is_ok_and(|link| {
                let place = link.to_string_lossy();
                place == name.as_str() || place == format!("/dev/mqueue{name}")
            })
        }
        Listen::UsbFunction(_) => false,
    }
}

fn same_socket(fd: BorrowedFd<'_>, style: SocketStyle, address: &SocketAddress) -> bool {
    let kind = match style {
        SocketStyle::Stream => SocketType::STREAM,
        SocketStyle::Datagram => SocketType::DGRAM,
        SocketStyle::SequentialPacket => SocketType::SEQPACKET,
    };
    let listens = sockopt::socket_acceptconn(fd).unwrap_or(false);
    if sockopt::socket_type(fd) != Ok(kind) || listens == (style == SocketStyle::Datagram) {
        return false;
    }
    let Ok(own) = own_end(fd) else { return false };
    match (address, own) {
        (SocketAddress::Unix(path), End::Unix(Some(bound))) => bound == path.as_bytes(),
        (SocketAddress::UnixAbstract(name), End::Abstract(bound)) => bound == name.as_bytes(),
        (SocketAddress::V4(ip, port), End::Inet(bound, bound_port, _)) => {
            bound == IpAddr::V4(*ip) && bound_port == *port
        }
        (SocketAddress::V6(ip, port, _), End::Inet(bound, bound_port, scope)) => {
            let wanted = match bind_address(address) {
                Ok(super::address::Bind::Inet(std::net::SocketAddr::V6(wanted))) => wanted.scope_id(),
                _ => return false,
            };
            let any = ip.is_unspecified() && bound.is_unspecified();
            (bound == IpAddr::V6(*ip) || any) && bound_port == *port && (scope == wanted || wanted == 0)
        }
        (SocketAddress::AnyPort(port), End::Inet(bound, bound_port, _)) => {
            bound.is_unspecified() && bound_port == *port
        }
        (SocketAddress::Vsock(context, port), End::Vsock(bound, bound_port)) => {
            bound_port == *port && bound == context.unwrap_or(nix::libc::VMADDR_CID_ANY)
        }
        _ => false,
    }
}

fn same_netlink(fd: BorrowedFd<'_>, family: &str, group: u32) -> bool {
    let is_netlink = sockopt::socket_domain(fd) == Ok(AddressFamily::NETLINK);
    let number = sockopt::socket_protocol(fd).ok().map(|protocol| protocol.map_or(0, |known| known.as_raw().get()));
    let groups = rustix::net::getsockname(fd)
        .and_then(rustix::net::netlink::SocketAddrNetlink::try_from)
        .map(|address| address.groups());
    is_netlink && number.is_some() && number == netlink_number(family) && groups == Ok(group)
}

fn is_file(fd: BorrowedFd<'_>, path: &str, kinds: &[FileType]) -> bool {
    let (Ok(held), Ok(there)) = (rustix::fs::fstat(fd), rustix::fs::stat(path)) else { return false };
    kinds.contains(&FileType::from_raw_mode(held.st_mode)) && (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
}
