// SPDX-License-Identifier: GPL-2.0-or-later
//! What the words of IPVS are on the wire. Pure: bytes in, words out, and the other way round.
//!
//! The numbers are those of `include/uapi/linux/ip_vs.h`.

use std::net::IpAddr;

use crate::types::{
    Destination, DestinationId, DestinationStatus, Family, Forwarding, Info, Persistence, Protocol, Role, Service,
    ServiceFlags, ServiceId, ServiceStatus, Statistics, SyncDaemon, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};
use crate::wire::{Attributes, Writer};

/// `IPVS_CMD_*`.
pub(crate) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DEL_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DEST: u8 = 5;
    pub(crate) const SET_DEST: u8 = 6;
    pub(crate) const DEL_DEST: u8 = 7;
    pub(crate) const GET_DEST: u8 = 8;
    pub(crate) const NEW_DAEMON: u8 = 9;
    pub(crate) const DEL_DAEMON: u8 = 10;
    pub(crate) const GET_DAEMON: u8 = 11;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const ZERO: u8 = 16;
    pub(crate) const FLUSH: u8 = 17;
}

/// `IPVS_CMD_ATTR_*`.
mod top {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
    pub(super) const DAEMON: u16 = 3;
    pub(super) const TIMEOUT_TCP: u16 = 4;
    pub(super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(super) const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`.
mod svc {
    pub(super) const AF: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDR: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const FWMARK: u16 = 5;
    pub(super) const SCHED_NAME: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
    pub(super) const STATS: u16 = 10;
    pub(super) const PE_NAME: u16 = 11;
    pub(super) const STATS64: u16 = 12;
}

/// `IPVS_DEST_ATTR_*`.
mod dest {
    pub(super) const ADDR: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FWD_METHOD: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const U_THRESH: u16 = 5;
    pub(super) const L_THRESH: u16 = 6;
    pub(super) const ACTIVE_CONNS: u16 = 7;
    pub(super) const INACT_CONNS: u16 = 8;
    pub(super) const PERSIST_CONNS: u16 = 9;
    pub(super) const STATS: u16 = 10;
    pub(super) const ADDR_FAMILY: u16 = 11;
    pub(super) const STATS64: u16 = 12;
    pub(super) const TUN_TYPE: u16 = 13;
    pub(super) const TUN_PORT: u16 = 14;
    pub(super) const TUN_FLAGS: u16 = 15;
}

/// `IPVS_DAEMON_ATTR_*`.
mod daemon {
    pub(super) const STATE: u16 = 1;
    pub(super) const MCAST_IFN: u16 = 2;
    pub(super) const SYNC_ID: u16 = 3;
    pub(super) const SYNC_MAXLEN: u16 = 4;
    pub(super) const MCAST_GROUP: u16 = 5;
    pub(super) const MCAST_GROUP6: u16 = 6;
    pub(super) const MCAST_PORT: u16 = 7;
    pub(super) const MCAST_TTL: u16 = 8;
}

/// `AF_INET` and `AF_INET6`.
const AF: [(Family, u16); 2] = [(Family::V4, 2), (Family::V6, 10)];
/// What a service is told that has no scheduler.
const NO_SCHEDULER: &str = "none";
/// The flags that are not [`Service::flags`]'.
const NOT_ITS_OWN: u32 = ServiceFlags::PERSISTENT | ServiceFlags::HASHED;

/// Why bytes from the kernel mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The attributes do not fit into what has them.
    #[error("the attributes of {what} are broken")]
    Broken {
        /// What has them.
        what: &'static str,
    },
    /// An attribute is shorter than what it stands for.
    #[error("attribute {kind} of {what} has {found} bytes where {needed} are needed")]
    Short {
        /// What has it.
        what: &'static str,
        /// Its number.
        kind: u16,
        /// So long it should be, in bytes.
        needed: usize,
        /// So long it is, in bytes.
        found: usize,
    },
    /// An attribute that is always there is not.
    #[error("{what} lacks attribute {kind}")]
    Missing {
        /// What lacks it.
        what: &'static str,
        /// Its number.
        kind: u16,
    },
    /// A number has no meaning here, and nothing else can be told without it.
    #[error("attribute {kind} of {what} has the unknown value {value}")]
    Unknown {
        /// What has it.
        what: &'static str,
        /// Its number.
        kind: u16,
        /// The value.
        value: u32,
    },
}

/// Something that the kernel is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new service. `EEXIST` where there is one.
    AddService(Service),
    /// Another configuration for a service. `ESRCH` where there is none.
    SetService(Service),
    /// A service and its destinations go. `ESRCH` where there is none.
    DeleteService(ServiceId),
    /// A new destination. `EEXIST` where there is one, `ESRCH` without the service.
    AddDestination(ServiceId, Destination),
    /// Another configuration for a destination. `ENOENT` where there is none.
    SetDestination(ServiceId, Destination),
    /// A destination goes; its connections stay until packets find it gone. `ENOENT` where there is none.
    DeleteDestination(ServiceId, DestinationId),
    /// A synchronisation thread starts. `EEXIST` where one of this role runs, `ENODEV` without the interface.
    StartDaemon(SyncDaemon),
    /// It ends; what a master has not sent yet is lost. `ESRCH` where none runs.
    StopDaemon(Role),
    /// When connections are forgotten.
    SetTimeouts(Timeouts),
    /// The counters of a service, or of all, begin anew.
    Zero(Option<ServiceId>),
    /// All services go.
    Flush,
}

impl Command {
    /// The command's number and its attributes.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut writer = Writer::default();
        let number = match self {
            Command::AddService(service) => {
                writer.nest(top::SERVICE, |w| write_service(w, service));
                command::NEW_SERVICE
            }
            Command::SetService(service) => {
                writer.nest(top::SERVICE, |w| write_service(w, service));
                command::SET_SERVICE
            }
            Command::DeleteService(id) => {
                writer.nest(top::SERVICE, |w| write_service_id(w, id));
                command::DEL_SERVICE
            }
            Command::AddDestination(id, destination) => {
                writer.nest(top::SERVICE, |w| write_service_id(w, id));
                writer.nest(top::DEST, |w| write_destination(w, destination));
                command::NEW_DEST
            }
            Command::SetDestination(id, destination) => {
                writer.nest(top::SERVICE, |w| write_service_id(w, id));
                writer.nest(top::DEST, |w| write_destination(w, destination));
                command::SET_DEST
            }
            Command::DeleteDestination(id, destination) => {
                writer.nest(top::SERVICE, |w| write_service_id(w, id));
                writer.nest(top::DEST, |w| write_destination_id(w, destination));
                command::DEL_DEST
            }
            Command::StartDaemon(daemon) => {
                writer.nest(top::DAEMON, |w| write_daemon(w, daemon));
                command::NEW_DAEMON
            }
            Command::StopDaemon(role) => {
                writer.nest(top::DAEMON, |w| w.u32(daemon::STATE, role_number(*role)));
                command::DEL_DAEMON
            }
            Command::SetTimeouts(timeouts) => {
                writer.u32(top::TIMEOUT_TCP, timeouts.tcp);
                writer.u32(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin);
                writer.u32(top::TIMEOUT_UDP, timeouts.udp);
                command::SET_CONFIG
            }
            Command::Zero(id) => {
                if let Some(id) = id {
                    writer.nest(top::SERVICE, |w| write_service_id(w, id));
                }
                command::ZERO
            }
            Command::Flush => command::FLUSH,
        };
        (number, writer.finish())
    }
}

/// The attributes that ask for one service, or for a service's destinations.
pub(crate) fn ask_for(id: &ServiceId) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.nest(top::SERVICE, |w| write_service_id(w, id));
    writer.finish()
}

fn family_number(family: Family) -> u16 {
    AF.iter().find(|(known, _)| *known == family).map_or(0, |(_, number)| *number)
}

fn family_of(what: &'static str, kind: u16, number: u16) -> Result<Family, DecodeError> {
    let found = AF.iter().find(|(_, known)| *known == number).map(|(family, _)| *family);
    found.ok_or(DecodeError::Unknown { what, kind, value: number.into() })
}

fn role_number(role: Role) -> u32 {
    match role {
        Role::Master => 1,
        Role::Backup => 2,
    }
}

fn write_service_id(writer: &mut Writer, id: &ServiceId) {
    writer.u16(svc::AF, family_number(id.family()));
    match id {
        ServiceId::Address { protocol, address, port } => {
            writer.u16(svc::PROTOCOL, protocol.number());
            writer.address(svc::ADDR, *address);
            writer.port(svc::PORT, *port);
        }
        ServiceId::Mark { mark, .. } => writer.u32(svc::FWMARK, *mark),
    }
}

fn write_service(writer: &mut Writer, service: &Service) {
    write_service_id(writer, &service.id);
    writer.text(svc::SCHED_NAME, service.scheduler.as_deref().unwrap_or(NO_SCHEDULER));
    let persistent = if service.persistence.is_some() { ServiceFlags::PERSISTENT } else { 0 };
    let flags = service.flags.0 & !NOT_ITS_OWN | persistent;
    // The second is the mask: all flags are meant, those that are not set too.
    let both = [flags.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat();
    writer.bytes(svc::FLAGS, &both);
    let family = service.id.family();
    let persistence = service.persistence.as_ref();
    writer.u32(svc::TIMEOUT, persistence.map_or(0, |p| p.timeout_s));
    let prefix = persistence.map_or(family.longest_prefix(), |p| p.prefix);
    match family {
        Family::V4 => writer.bytes(svc::NETMASK, &mask_of(prefix).to_be_bytes()),
        Family::V6 => writer.u32(svc::NETMASK, prefix.into()),
    }
    if let Some(engine) = persistence.and_then(|p| p.engine.as_ref()) {
        writer.text(svc::PE_NAME, engine);
    }
}

/// The mask of an IPv4 prefix.
fn mask_of(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

fn write_destination_id(writer: &mut Writer, id: &DestinationId) {
    writer.u16(dest::ADDR_FAMILY, family_number(Family::of(id.address)));
    writer.address(dest::ADDR, id.address);
    writer.port(dest::PORT, id.port);
}

fn write_destination(writer: &mut Writer, destination: &Destination) {
    write_destination_id(writer, &destination.id);
    let method = match destination.forwarding {
        Forwarding::Masquerade => 0,
        Forwarding::Local => 1,
        Forwarding::Tunnel(_) => 2,
        Forwarding::DirectRoute => 3,
        Forwarding::Bypass => 4,
        Forwarding::Other(number) => number,
    };
    writer.u32(dest::FWD_METHOD, method);
    writer.u32(dest::WEIGHT, destination.weight);
    writer.u32(dest::U_THRESH, destination.upper);
    writer.u32(dest::L_THRESH, destination.lower);
    if let Forwarding::Tunnel(tunnel) = destination.forwarding {
        let (kind, port) = match tunnel.kind {
            TunnelKind::IpIp => (0, 0),
            TunnelKind::Gue { port } => (1, port),
            TunnelKind::Gre => (2, 0),
            TunnelKind::Other(number) => (number, 0),
        };
        let checksum = match tunnel.checksum {
            TunnelChecksum::None => 0,
            TunnelChecksum::Outer => 1,
            TunnelChecksum::Remote => 2,
            TunnelChecksum::Other(number) => number,
        };
        // A kernel that is told none of these takes IP in IP, and forgets what it was told before.
        writer.u8(dest::TUN_TYPE, kind);
        writer.port(dest::TUN_PORT, port);
        writer.u16(dest::TUN_FLAGS, checksum);
    }
}

fn write_daemon(writer: &mut Writer, sync: &SyncDaemon) {
    writer.u32(daemon::STATE, role_number(sync.role));
    writer.text(daemon::MCAST_IFN, &sync.interface);
    writer.u32(daemon::SYNC_ID, sync.sync_id);
    if let Some(longest) = sync.longest {
        writer.u16(daemon::SYNC_MAXLEN, longest);
    }
    match sync.group {
        Some(IpAddr::V4(group)) => writer.bytes(daemon::MCAST_GROUP, &group.octets()),
        Some(IpAddr::V6(group)) => writer.bytes(daemon::MCAST_GROUP6, &group.octets()),
        None => {}
    }
    if let Some(port) = sync.port {
        writer.u16(daemon::MCAST_PORT, port);
    }
    if let Some(ttl) = sync.ttl {
        writer.u8(daemon::MCAST_TTL, ttl);
    }
}

/// Reads the attributes of a message that has a service.
///
/// # Errors
/// When they are broken, or one that is always there is not.
pub fn decode_service(attributes: &[u8]) -> Result<ServiceStatus, DecodeError> {
    const WHAT: &str = "a service";
    let all = Attributes::read("a message", attributes)?;
    let here = Attributes::read(WHAT, all.need(top::SERVICE, all.get(top::SERVICE))?)?;
    let family = family_of(WHAT, svc::AF, here.need(svc::AF, here.u16(svc::AF)?)?)?;
    let id = match here.u32(svc::FWMARK)? {
        Some(mark) if mark != 0 => ServiceId::Mark { family, mark },
        _ => ServiceId::Address {
            protocol: Protocol::of(here.need(svc::PROTOCOL, here.u16(svc::PROTOCOL)?)?),
            address: here.need(svc::ADDR, here.address(svc::ADDR, family)?)?,
            port: here.need(svc::PORT, here.port(svc::PORT)?)?,
        },
    };
    let flags = here.u32(svc::FLAGS)?.unwrap_or_default();
    let prefix = match family {
        Family::V4 => {
            let mask = here.get(svc::NETMASK).and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_be_bytes);
            mask.map_or(32, u32::leading_ones)
        }
        Family::V6 => here.u32(svc::NETMASK)?.unwrap_or(128),
    };
    let persistence = (flags & ServiceFlags::PERSISTENT != 0).then(|| {
        Ok(Persistence {
            timeout_s: here.u32(svc::TIMEOUT)?.unwrap_or_default(),
            prefix: u8::try_from(prefix).unwrap_or(u8::MAX),
            engine: here.text(svc::PE_NAME).filter(|name| !name.is_empty()),
        })
    });
    let service = Service {
        id,
        scheduler: here.text(svc::SCHED_NAME).filter(|name| name != NO_SCHEDULER && !name.is_empty()),
        flags: ServiceFlags(flags & !NOT_ITS_OWN),
        persistence: persistence.transpose()?,
    };
    Ok(ServiceStatus { service, statistics: statistics(&here, svc::STATS64, svc::STATS)? })
}

/// Reads the attributes of a message that has a destination. `family` is its service's.
///
/// # Errors
/// When they are broken, or one that is always there is not.
pub fn decode_destination(attributes: &[u8], family: Family) -> Result<DestinationStatus, DecodeError> {
    const WHAT: &str = "a destination";
    let all = Attributes::read("a message", attributes)?;
    let here = Attributes::read(WHAT, all.need(top::DEST, all.get(top::DEST))?)?;
    // Kernels before 3.18 say nothing of it.
    let family = match here.u16(dest::ADDR_FAMILY)? {
        Some(number) if number != 0 => family_of(WHAT, dest::ADDR_FAMILY, number)?,
        _ => family,
    };
    let forwarding = match here.need(dest::FWD_METHOD, here.u32(dest::FWD_METHOD)?)? {
        0 => Forwarding::Masquerade,
        1 => Forwarding::Local,
        2 => Forwarding::Tunnel(Tunnel {
            kind: match here.u8(dest::TUN_TYPE)?.unwrap_or_default() {
                0 => TunnelKind::IpIp,
                1 => TunnelKind::Gue { port: here.port(dest::TUN_PORT)?.unwrap_or_default() },
                2 => TunnelKind::Gre,
                other => TunnelKind::Other(other),
            },
            checksum: match here.u16(dest::TUN_FLAGS)?.unwrap_or_default() {
                0 => TunnelChecksum::None,
                1 => TunnelChecksum::Outer,
                2 => TunnelChecksum::Remote,
                other => TunnelChecksum::Other(other),
            },
        }),
        3 => Forwarding::DirectRoute,
        4 => Forwarding::Bypass,
        other => Forwarding::Other(other),
    };
    let destination = Destination {
        id: DestinationId {
            address: here.need(dest::ADDR, here.address(dest::ADDR, family)?)?,
            port: here.need(dest::PORT, here.port(dest::PORT)?)?,
        },
        forwarding,
        weight: here.need(dest::WEIGHT, here.u32(dest::WEIGHT)?)?,
        upper: here.u32(dest::U_THRESH)?.unwrap_or_default(),
        lower: here.u32(dest::L_THRESH)?.unwrap_or_default(),
    };
    Ok(DestinationStatus {
        destination,
        active: here.u32(dest::ACTIVE_CONNS)?.unwrap_or_default(),
        inactive: here.u32(dest::INACT_CONNS)?.unwrap_or_default(),
        persistent: here.u32(dest::PERSIST_CONNS)?.unwrap_or_default(),
        statistics: statistics(&here, dest::STATS64, dest::STATS)?,
    })
}

/// Reads the attributes of a message that has a synchronisation thread.
///
/// # Errors
/// When they are broken, or one that is always there is not.
pub fn decode_daemon(attributes: &[u8]) -> Result<SyncDaemon, DecodeError> {
    const WHAT: &str = "a synchronisation thread";
    let all = Attributes::read("a message", attributes)?;
    let here = Attributes::read(WHAT, all.need(top::DAEMON, all.get(top::DAEMON))?)?;
    let role = match here.need(daemon::STATE, here.u32(daemon::STATE)?)? {
        1 => Role::Master,
        2 => Role::Backup,
        value => return Err(DecodeError::Unknown { what: WHAT, kind: daemon::STATE, value }),
    };
    let v4 = here.address(daemon::MCAST_GROUP, Family::V4)?;
    Ok(SyncDaemon {
        role,
        interface: here.need(daemon::MCAST_IFN, here.text(daemon::MCAST_IFN))?,
        sync_id: here.u32(daemon::SYNC_ID)?.unwrap_or_default(),
        longest: here.u16(daemon::SYNC_MAXLEN)?,
        group: v4.or(here.address(daemon::MCAST_GROUP6, Family::V6)?),
        port: here.u16(daemon::MCAST_PORT)?,
        ttl: here.u8(daemon::MCAST_TTL)?,
    })
}

/// Reads the attributes of the answer about time-outs.
///
/// # Errors
/// When they are broken.
pub fn decode_timeouts(attributes: &[u8]) -> Result<Timeouts, DecodeError> {
    let here = Attributes::read("the time-outs", attributes)?;
    Ok(Timeouts {
        tcp: here.u32(top::TIMEOUT_TCP)?.unwrap_or_default(),
        tcp_fin: here.u32(top::TIMEOUT_TCP_FIN)?.unwrap_or_default(),
        udp: here.u32(top::TIMEOUT_UDP)?.unwrap_or_default(),
    })
}

/// Reads the attributes of the answer about IPVS itself, whose numbers are its own (`IPVS_INFO_ATTR_*`).
///
/// # Errors
/// When they are broken, or one is not there.
pub fn decode_info(attributes: &[u8]) -> Result<Info, DecodeError> {
    let here = Attributes::read("the answer about IPVS", attributes)?;
    Ok(Info { version: here.need(1, here.u32(1)?)?, table_size: here.need(2, here.u32(2)?)? })
}

/// The counters of 64 bits where there are such, or those of 32 (`IPVS_STATS_ATTR_*`).
fn statistics(here: &Attributes<'_>, wide: u16, narrow: u16) -> Result<Statistics, DecodeError> {
    let Some(bytes) = here.get(wide).or_else(|| here.get(narrow)) else { return Ok(Statistics::default()) };
    let all = Attributes::read("statistics", bytes)?;
    Ok(Statistics {
        connections: all.count(1)?,
        packets_in: all.count(2)?,
        packets_out: all.count(3)?,
        bytes_in: all.count(4)?,
        bytes_out: all.count(5)?,
        connections_s: all.count(6)?,
        packets_in_s: all.count(7)?,
        packets_out_s: all.count(8)?,
        bytes_in_s: all.count(9)?,
        bytes_out_s: all.count(10)?,
    })
}
