// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Socket]` section: systemd.socket(5).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::cgroup::CgroupConfig;
use super::exec::ExecConfig;
use super::kill::KillConfig;
use super::manager::ManagerDefaults;
use super::words::words;
use crate::exec_line::ExecCommand;
use crate::name::UnitName;

words! {
    /// Kinds of sockets by what they carry.
    pub enum SocketStyle {
        /// Bytes, with connections (SOCK_STREAM).
        Stream = "stream",
        /// Messages (SOCK_DGRAM).
        Datagram = "datagram",
        /// Messages, with connections (SOCK_SEQPACKET).
        SequentialPacket = "seqpacket",
    }
}

/// Where a socket of a network or of this machine is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// A path in the file system.
    Unix(String),
    /// A name in Linux's abstract namespace, without the `@`.
    UnixAbstract(String),
    /// A port at an IPv4 address.
    V4(Ipv4Addr, u16),
    /// A port at an IPv6 address; the text names an interface for link-local ones.
    V6(Ipv6Addr, u16, Option<String>),
    /// A port at any address, of IPv6 where there is such and of IPv4 elsewhere.
    AnyPort(u16),
    /// A context number and port of a virtual machine; `None`: any context.
    Vsock(Option<u32>, u32),
}

/// One thing a socket unit opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `ListenStream=`, `ListenDatagram=`, `ListenSequentialPacket=`.
    Socket(SocketStyle, SocketAddress),
    /// `ListenNetlink=`: the family by name, and a multicast group.
    Netlink(String, u32),
    /// `ListenFIFO=`: path.
    Fifo(String),
    /// `ListenSpecial=`: path of a device or of a file in /proc or /sys.
    Special(String),
    /// `ListenMessageQueue=`: name with its slash.
    MessageQueue(String),
    /// `ListenUSBFunction=`: path of a FunctionFS.
    UsbFunction(String),
}

impl Listen {
    /// The path in the file system this stands at.
    pub fn path(&self) -> Option<&str> {
        match self {
            Listen::Socket(_, SocketAddress::Unix(path))
            | Listen::Fifo(path)
            | Listen::Special(path)
            | Listen::UsbFunction(path) => Some(path),
            Listen::Socket(..) | Listen::Netlink(..) | Listen::MessageQueue(_) => None,
        }
    }

    /// The text `systemctl list-sockets` shows.
    pub fn describe(&self) -> String {
        match self {
            Listen::Socket(_, SocketAddress::Unix(path)) => path.clone(),
            Listen::Socket(_, SocketAddress::UnixAbstract(name)) => format!("@{name}"),
            Listen::Socket(_, SocketAddress::V4(address, port)) => format!("{address}:{port}"),
            Listen::Socket(_, SocketAddress::V6(address, port, None)) => format!("[{address}]:{port}"),
            Listen::Socket(_, SocketAddress::V6(address, port, Some(interface))) => {
                format!("[{address}]:{port}%{interface}")
            }
            Listen::Socket(_, SocketAddress::AnyPort(port)) => format!("[::]:{port}"),
            Listen::Socket(_, SocketAddress::Vsock(Some(context), port)) => format!("vsock:{context}:{port}"),
            Listen::Socket(_, SocketAddress::Vsock(None, port)) => format!("vsock::{port}"),
            Listen::Netlink(family, group) => format!("{family} {group}"),
            Listen::Fifo(path) | Listen::Special(path) | Listen::UsbFunction(path) => path.clone(),
            Listen::MessageQueue(name) => name.clone(),
        }
    }
}

words! {
    /// Whether an IPv6 socket takes IPv4 too (`BindIPv6Only=`).
    pub enum BindIpv6Only {
        /// As the kernel is set.
        Default = "default",
        /// It does.
        Both = "both",
        /// It does not.
        Ipv6Only = "ipv6-only",
    }
}

words! {
    /// Protocol of a socket where its style leaves a choice (`SocketProtocol=`).
    pub enum SocketProtocol {
        /// UDP-Lite.
        UdpLite = "udplite",
        /// SCTP.
        Sctp = "sctp",
    }
}

words! {
    /// Time stamps on received messages (`Timestamping=`).
    pub enum Timestamping {
        /// None.
        Off = "off" | "no" | "false" | "0" | "n" | "f",
        /// In microseconds (SO_TIMESTAMP).
        Microseconds = "us" | "usec" | "µs" | "μs",
        /// In nanoseconds (SO_TIMESTAMPNS).
        Nanoseconds = "ns" | "nsec",
    }
}

/// A socket unit.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketConfig {
    /// What it opens, in the order it was written: the order of the descriptors.
    pub listen: Vec<Listen>,
    /// Protocol of its sockets; `None`: that of the style.
    pub protocol: Option<SocketProtocol>,
    /// Whether IPv6 sockets take IPv4.
    pub bind_ipv6_only: BindIpv6Only,
    /// Longest queue of connections not yet taken.
    pub backlog: u32,
    /// Interface the sockets are bound to.
    pub bind_to_device: Option<String>,
    /// Owner of paths it makes; `None`: root.
    pub user: Option<String>,
    /// Group of paths it makes; `None`: that of the user.
    pub group: Option<String>,
    /// Mode of paths it makes.
    pub socket_mode: u32,
    /// Mode of directories made for them.
    pub directory_mode: u32,
    /// One instance of the service for each connection.
    pub accept: bool,
    /// Throw away what waits in the socket before it listens again after a stop of the service.
    pub flush_pending: bool,
    /// Open special files for writing too.
    pub writable: bool,
    /// Most connections at one time, with `accept`.
    pub max_connections: u32,
    /// Most connections from one address or user; 0: no limit.
    pub max_connections_per_source: u32,
    /// SO_KEEPALIVE.
    pub keep_alive: bool,
    /// TCP_KEEPIDLE; zero: the kernel's.
    pub keep_alive_time: Option<Duration>,
    /// TCP_KEEPINTVL; zero: the kernel's.
    pub keep_alive_interval: Option<Duration>,
    /// TCP_KEEPCNT; 0: the kernel's.
    pub keep_alive_probes: u32,
    /// TCP_DEFER_ACCEPT; zero: off.
    pub defer_accept: Option<Duration>,
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// SO_PRIORITY.
    pub priority: Option<i32>,
    /// SO_RCVBUF in bytes; 0: the kernel's.
    pub receive_buffer: u64,
    /// SO_SNDBUF in bytes; 0: the kernel's.
    pub send_buffer: u64,
    /// IP_TOS.
    pub ip_tos: Option<i32>,
    /// IP_TTL.
    pub ip_ttl: Option<i32>,
    /// SO_MARK.
    pub mark: Option<i32>,
    /// Size of FIFOs in bytes; 0: the kernel's.
    pub pipe_size: u64,
    /// IP_FREEBIND.
    pub free_bind: bool,
    /// IP_TRANSPARENT.
    pub transparent: bool,
    /// SO_BROADCAST.
    pub broadcast: bool,
    /// SO_PASSCRED.
    pub pass_credentials: bool,
    /// SO_PASSSEC.
    pub pass_security: bool,
    /// IP_PKTINFO and its kin.
    pub pass_packet_info: bool,
    /// Time stamps on messages.
    pub timestamping: Timestamping,
    /// TCP_CONGESTION.
    pub tcp_congestion: Option<String>,
    /// SO_REUSEPORT.
    pub reuse_port: bool,
    /// Most messages in a message queue; 0: the kernel's.
    pub message_queue_max_messages: i64,
    /// Longest message of a message queue in bytes; 0: the kernel's.
    pub message_queue_message_size: i64,
    /// Remove its paths at stop.
    pub remove_on_stop: bool,
    /// Links made to the one path it listens on.
    pub symlinks: Vec<String>,
    /// Name of its descriptors; `None`: the unit's name.
    pub file_descriptor_name: Option<String>,
    /// The service it starts; `None`: that of the same name (with `accept`: its template).
    pub service: Option<UnitName>,
    /// Activations are counted over this time; `None`: not told, two seconds.
    pub trigger_limit_interval: Option<Duration>,
    /// Activations allowed in that time; `None`: not told, 200 with `accept`, else 20.
    pub trigger_limit_burst: Option<u32>,
    /// Smack label of paths.
    pub smack_label: Option<String>,
    /// Smack label for received packets.
    pub smack_label_ip_in: Option<String>,
    /// Smack label for sent packets.
    pub smack_label_ip_out: Option<String>,
    /// Take the SELinux context from the peer, with `accept`.
    pub selinux_context_from_net: bool,
    /// Each command takes no longer; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Run before the sockets are made.
    pub exec_start_pre: Vec<ExecCommand>,
    /// Run after.
    pub exec_start_post: Vec<ExecCommand>,
    /// Run before the sockets are closed.
    pub exec_stop_pre: Vec<ExecCommand>,
    /// Run after.
    pub exec_stop_post: Vec<ExecCommand>,
    /// How its commands are run.
    pub exec: ExecConfig,
    /// How they are ended.
    pub kill: KillConfig,
    /// Its control group.
    pub cgroup: CgroupConfig,
}

impl SocketConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> SocketConfig {
        SocketConfig {
            listen: Vec::new(),
            protocol: None,
            bind_ipv6_only: BindIpv6Only::Default,
            // More than the kernel's limit, which cuts it: net.core.somaxconn stays the one place to set it.
            backlog: i32::MAX as u32,
            bind_to_device: None,
            user: None,
            group: None,
            socket_mode: 0o666,
            directory_mode: 0o755,
            accept: false,
            flush_pending: false,
            writable: false,
            max_connections: 64,
            max_connections_per_source: 0,
            keep_alive: false,
            keep_alive_time: Some(Duration::ZERO),
            keep_alive_interval: Some(Duration::ZERO),
            keep_alive_probes: 0,
            defer_accept: Some(Duration::ZERO),
            no_delay: false,
            priority: None,
            receive_buffer: 0,
            send_buffer: 0,
            ip_tos: None,
            ip_ttl: None,
            mark: None,
            pipe_size: 0,
            free_bind: false,
            transparent: false,
            broadcast: false,
            pass_credentials: false,
            pass_security: false,
            pass_packet_info: false,
            timestamping: Timestamping::Off,
            tcp_congestion: None,
            reuse_port: false,
            message_queue_max_messages: 0,
            message_queue_message_size: 0,
            remove_on_stop: false,
            symlinks: Vec::new(),
            file_descriptor_name: None,
            service: None,
            trigger_limit_interval: None,
            trigger_limit_burst: None,
            smack_label: None,
            smack_label_ip_in: None,
            smack_label_ip_out: None,
            selinux_context_from_net: false,
            timeout: defaults.timeout_start,
            exec_start_pre: Vec::new(),
            exec_start_post: Vec::new(),
            exec_stop_pre: Vec::new(),
            exec_stop_post: Vec::new(),
            exec: ExecConfig::new(defaults),
            kill: KillConfig::default(),
            cgroup: CgroupConfig::new(defaults),
        }
    }
}
