// SPDX-License-Identifier: GPL-2.0-or-later
//! The words of IPVS.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a scheduler or a persistence engine, in bytes (`IP_VS_SCHEDNAME_MAXLEN` without its NUL).
pub const MAX_NAME: usize = 15;

/// The longest name of a network interface, in bytes (`IFNAMSIZ` without its NUL).
pub const MAX_INTERFACE: usize = 15;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// The longest prefix of a network.
    #[must_use]
    pub fn longest_prefix(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

/// What runs over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// Another one, by its number. No kernel of today takes one for a service.
    Other(u16),
}

impl Protocol {
    /// Its number (`IPPROTO_*`).
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Other(number) => number,
        }
    }

    /// Of this number.
    #[must_use]
    pub fn of(number: u16) -> Protocol {
        match number {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            132 => Protocol::Sctp,
            other => Protocol::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::Tcp => f.pad("tcp"),
            Protocol::Udp => f.pad("udp"),
            Protocol::Sctp => f.pad("sctp"),
            Protocol::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

/// What tells a service from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// Whatever comes to an address and port; port 0, with persistence, is all ports.
    Address {
        /// The protocol.
        protocol: Protocol,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Whatever packet filters have given this mark.
    Mark {
        /// Of which packets.
        family: Family,
        /// The mark, from 1 up.
        mark: u32,
    },
}

impl ServiceId {
    /// IPv4 or IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            ServiceId::Address { address, .. } => Family::of(*address),
            ServiceId::Mark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceId {
    /// `tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`, `mark 7`, `mark 7 (IPv6)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceId::Address { protocol, address, port } => {
                write!(f, "{protocol} {}", std::net::SocketAddr::new(*address, *port))
            }
            ServiceId::Mark { family: Family::V4, mark } => write!(f, "mark {mark}"),
            ServiceId::Mark { family: Family::V6, mark } => write!(f, "mark {mark} (IPv6)"),
        }
    }
}

/// Flags of a service (`IP_VS_SVC_F_*`). What is not known is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceFlags(pub u32);

impl ServiceFlags {
    /// A client's later connections go where its first went. [`Service::persistence`] says it; the codec sets it.
    pub const PERSISTENT: u32 = 0x1;
    /// The kernel has it in its tables; only the kernel sets it.
    pub const HASHED: u32 = 0x2;
    /// Each UDP packet is scheduled by itself.
    pub const ONE_PACKET: u32 = 0x4;
    /// `sh` and `mh`: another destination when the one that the hash gives cannot be had.
    pub const FALLBACK: u32 = 0x8;
    /// `sh` and `mh`: the source port goes into the hash.
    pub const HASH_PORT: u32 = 0x10;
    /// The third flag that schedulers may give a meaning.
    pub const SCHEDULER_3: u32 = 0x20;

    /// Whether all of these are set.
    #[must_use]
    pub fn has(self, flags: u32) -> bool {
        self.0 & flags == flags
    }
}

/// A client's later connections go where its first went, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// For how long after the last, in seconds; above 0.
    pub timeout_s: u32,
    /// Clients of one network of this prefix length are taken for one: 0 to 32, or 1 to 128 for IPv6.
    pub prefix: u8,
    /// What tells clients apart other than their addresses: the name of an engine, as `sip`.
    pub engine: Option<String>,
}

/// A service as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// What tells it from all others.
    pub id: ServiceId,
    /// The scheduler's name, such as `wlc`; `None`: it has none, and hands nothing on.
    pub scheduler: Option<String>,
    /// Flags, but for [`ServiceFlags::PERSISTENT`] and [`ServiceFlags::HASHED`].
    pub flags: ServiceFlags,
    /// Whether clients stay where they are.
    pub persistence: Option<Persistence>,
}

impl Service {
    /// One without flags and persistence.
    pub fn new(id: ServiceId, scheduler: impl Into<String>) -> Service {
        Service { id, scheduler: Some(scheduler.into()), flags: ServiceFlags::default(), persistence: None }
    }
}

/// A service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// As it is configured.
    pub service: Service,
    /// What it has done.
    pub statistics: Statistics,
}

/// How packets get to a destination (`IP_VS_CONN_F_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Network address translation; answers come back through the director.
    Masquerade,
    /// The destination is this machine. The kernel finds that out by itself.
    Local,
    /// In a tunnel; answers go straight to the client.
    Tunnel(Tunnel),
    /// As they are, to the destination's link address; answers go straight to the client.
    DirectRoute,
    /// To where the packet is going anyhow, for caches.
    Bypass,
    /// Another one, by its number.
    Other(u32),
}

/// A tunnel to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// What of.
    pub kind: TunnelKind,
    /// Whether there are checksums.
    pub checksum: TunnelChecksum,
}

impl Tunnel {
    /// IP in IP, as every kernel has it.
    pub const IPIP: Tunnel = Tunnel { kind: TunnelKind::IpIp, checksum: TunnelChecksum::None };
}

/// What a tunnel is made of (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IP in IP (RFC 2003).
    IpIp,
    /// Generic UDP encapsulation, to this port.
    Gue {
        /// The port, above 0.
        port: u16,
    },
    /// Generic routing encapsulation (RFC 2784).
    Gre,
    /// Another one, by its number.
    Other(u8),
}

/// Checksums of a tunnel (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// Of the outer packet.
    Outer,
    /// Of the inner one, left to the other end's hardware.
    Remote,
    /// Others, by their number.
    Other(u16),
}

/// What tells a destination from the others of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId {
    /// Its address; of the service's family, but for tunnels.
    pub address: IpAddr,
    /// Its port; for all but masquerading, the service's.
    pub port: u16,
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A destination as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// What tells it from the others.
    pub id: DestinationId,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share; 0: no new connections. At most 2^31 - 1.
    pub weight: u32,
    /// With so many connections it gets no new ones; 0: without bound.
    pub upper: u32,
    /// Until it has fewer than this again; 0: three quarters of `upper`.
    pub lower: u32,
}

/// A destination as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationStatus {
    /// As it is configured.
    pub destination: Destination,
    /// Established connections.
    pub active: u32,
    /// Others.
    pub inactive: u32,
    /// Clients that stay here.
    pub persistent: u32,
    /// What it has done.
    pub statistics: Statistics,
}

/// Counters, and rates of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; only those that come through this machine.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections each second.
    pub connections_s: u64,
    /// Packets from clients each second.
    pub packets_in_s: u64,
    /// Packets to clients each second.
    pub packets_out_s: u64,
    /// Bytes from clients each second.
    pub bytes_in_s: u64,
    /// Bytes to clients each second.
    pub bytes_out_s: u64,
}

/// Which end of the connections' synchronisation (`IP_VS_STATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends connections.
    Master,
    /// Takes connections in.
    Backup,
}

/// A synchronisation thread of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemon {
    /// Which end.
    pub role: Role,
    /// The interface that its datagrams go out or come in at.
    pub interface: String,
    /// Only datagrams with the same number are taken in; 0 to 255 on the wire.
    pub sync_id: u32,
    /// The longest datagram, in bytes; `None`: as the interface has it.
    pub longest: Option<u16>,
    /// The multicast group; `None`: 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The UDP port; `None`: 8848.
    pub port: Option<u16>,
    /// Over how many routers; `None`: 1.
    pub ttl: Option<u8>,
}

/// After how many seconds without a packet connections are forgotten; 0, when set: as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP.
    pub tcp: u32,
    /// TCP, after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// What IPVS says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its version: `0x010201` for 1.2.1.
    pub version: u32,
    /// So many lists the table of connections has.
    pub table_size: u32,
}

/// The address of a family with all bits zero.
#[must_use]
pub fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
