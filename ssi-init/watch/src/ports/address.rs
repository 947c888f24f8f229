// SPDX-License-Identifier: GPL-2.0-or-later
//! Addresses: from the configuration to the kernel's form, and from an open socket to text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::socket::{SockaddrStorage, VsockAddr};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};
use ssi_unit::config::socket::SocketAddress;

/// The kernel's form of an address.
#[derive(Clone, Debug)]
pub(super) enum Bind {
    Unix(SocketAddrUnix),
    Inet(SocketAddr),
    Vsock(VsockAddr),
}

impl Bind {
    pub(super) fn family(&self) -> AddressFamily {
        match self {
            Bind::Unix(_) => AddressFamily::UNIX,
            Bind::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            Bind::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
            Bind::Vsock(_) => AddressFamily::VSOCK,
        }
    }

    /// bind(2)
    pub(super) fn bind(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        match self {
            Bind::Unix(address) => rustix::net::bind(fd, address),
            Bind::Inet(address) => rustix::net::bind(fd, address),
            Bind::Vsock(address) => {
                nix::sys::socket::bind(fd.as_raw_fd(), address).map_err(|errno| Errno::from_raw_os_error(errno as i32))
            }
        }
    }
}

/// Where a socket is to be bound.
///
/// # Errors
/// A path or name that is too long, an interface that is not there.
pub(super) fn bind_address(address: &SocketAddress) -> Result<Bind, Errno> {
    Ok(match address {
        SocketAddress::Unix(path) => Bind::Unix(SocketAddrUnix::new(path.as_str())?),
        SocketAddress::UnixAbstract(name) => Bind::Unix(SocketAddrUnix::new_abstract_name(name.as_bytes())?),
        SocketAddress::V4(address, port) => Bind::Inet(SocketAddrV4::new(*address, *port).into()),
        SocketAddress::V6(address, port, interface) => {
            let scope = interface.as_deref().map_or(Ok(0), interface_number)?;
            Bind::Inet(SocketAddrV6::new(*address, *port, 0, scope).into())
        }
        SocketAddress::AnyPort(port) => Bind::Inet(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, *port, 0, 0).into()),
        SocketAddress::Vsock(context, port) => {
            Bind::Vsock(VsockAddr::new(context.unwrap_or(libc::VMADDR_CID_ANY), *port))
        }
    })
}

/// An interface by its name or number.
fn interface_number(name: &str) -> Result<u32, Errno> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let any = rustix::net::socket(AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None)?;
    rustix::net::netdevice::name_to_index(any, name)
}

/// The same port at any address of IPv4, for a machine without IPv6.
pub(super) fn without_ipv6(bind: &Bind) -> Option<Bind> {
    match bind {
        Bind::Inet(SocketAddr::V6(address)) if address.ip().is_unspecified() => {
            Some(Bind::Inet(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port()).into()))
        }
        _ => None,
    }
}

/// An end of a socket, as far as it is told here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A path, or nothing for a socket without a name.
    Unix(Option<Vec<u8>>),
    /// A name of the abstract kind.
    Abstract(Vec<u8>),
    /// An address of the internet; one of IPv4 inside IPv6 is one of IPv4.
    Inet(IpAddr, u16, u32),
    /// Context and port.
    Vsock(u32, u32),
    /// Of another family.
    Other,
}

fn end(fd: BorrowedFd<'_>, told: Option<SocketAddrAny>, peer: bool) -> Result<End, Errno> {
    let Some(told) = told else { return Ok(End::Other) };
    Ok(match told.address_family() {
        AddressFamily::UNIX => {
            let address = SocketAddrUnix::try_from(told)?;
            match address.abstract_name() {
                Some(name) => End::Abstract(name.to_vec()),
                None => End::Unix(address.path().map(|path| path.to_bytes().to_vec())),
            }
        }
        AddressFamily::INET | AddressFamily::INET6 => {
            let (port, scope, ip) = match SocketAddr::try_from(told)? {
                SocketAddr::V4(address) => (address.port(), 0, IpAddr::V4(*address.ip())),
                SocketAddr::V6(address) => (address.port(), address.scope_id(), IpAddr::V6(*address.ip())),
            };
            End::Inet(ip, port, scope)
        }
        AddressFamily::VSOCK => {
            let raw = fd.as_raw_fd();
            let storage = match peer {
                true => nix::sys::socket::getpeername::<SockaddrStorage>(raw),
                false => nix::sys::socket::getsockname::<SockaddrStorage>(raw),
            };
            let storage = storage.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
            storage.as_vsock_addr().map_or(End::Other, |address| End::Vsock(address.cid(), address.port()))
        }
        _ => End::Other,
    })
}

/// Where a socket is bound (getsockname(2)).
pub(super) fn own_end(fd: BorrowedFd<'_>) -> Result<End, Errno> {
    end(fd, Some(rustix::net::getsockname(fd)?), false)
}

/// Who is at its other end (getpeername(2)).
pub(super) fn other_end(fd: BorrowedFd<'_>) -> Result<End, Errno> {
    end(fd, rustix::net::getpeername(fd)?, true)
}
