// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of `[Socket]`: systemd.socket(5).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::service::{commands, without_var_run};
use super::value::{self, BARE};
use super::{Outcome, Problem, Reader, Table};
use crate::config::SocketConfig;
use crate::config::socket::{BindIpv6Only, Listen, SocketAddress, SocketProtocol, SocketStyle, Timestamping};
use crate::name::UnitType;
use crate::words::Rules;

/// The protocols of netlink(7) by the names a unit file has for them.
const NETLINK_FAMILIES: [&str; 17] = [
    "route",
    "firewall",
    "inet-diag",
    "nflog",
    "xfrm",
    "selinux",
    "iscsi",
    "audit",
    "fib-lookup",
    "connector",
    "netfilter",
    "ip6-fw",
    "dnrtmsg",
    "kobject-uevent",
    "scsitransport",
    "ecryptfs",
    "rdma",
];

/// The keys of `[Socket]`.
pub(super) const SOCKET: Table<SocketConfig> = &[
    ("ListenStream", |socket, value, reader| listen_socket(socket, SocketStyle::Stream, value, reader)),
    ("ListenDatagram", |socket, value, reader| listen_socket(socket, SocketStyle::Datagram, value, reader)),
    ("ListenSequentialPacket", |socket, value, reader| {
        listen_socket(socket, SocketStyle::SequentialPacket, value, reader)
    }),
    ("ListenFIFO", |socket, value, reader| {
        listen_path(socket, value, reader, |path, reader| Listen::Fifo(without_var_run(path, reader)))
    }),
    ("ListenNetlink", listen_netlink),
    ("ListenSpecial", |socket, value, reader| listen_path(socket, value, reader, |path, _| Listen::Special(path))),
    ("ListenMessageQueue", |socket, value, reader| {
        listen_path(socket, value, reader, |path, _| Listen::MessageQueue(path))
    }),
    ("ListenUSBFunction", |socket, value, reader| {
        listen_path(socket, value, reader, |path, _| Listen::UsbFunction(path))
    }),
    ("SocketProtocol", |socket, value, reader| {
        let mut protocol = SocketProtocol::Sctp;
        reader.set_word(&mut protocol, value, SocketProtocol::from_word)?;
        socket.protocol = Some(protocol);
        Ok(())
    }),
    ("BindIPv6Only", |socket, value, reader| {
        // Once a yes or no: whether IPv6 alone.
        socket.bind_ipv6_only = match value::boolean(value) {
            Some(true) => BindIpv6Only::Ipv6Only,
            Some(false) => BindIpv6Only::Both,
            None => return reader.set_word(&mut socket.bind_ipv6_only, value, BindIpv6Only::from_word),
        };
        Ok(())
    }),
    ("Backlog", |socket, value, reader| reader.set_unsigned(&mut socket.backlog, value)),
    ("BindToDevice", |socket, value, reader| {
        if value.is_empty() || value == "*" {
            socket.bind_to_device = None;
        } else if value::is_interface(value) {
            socket.bind_to_device = Some(value.to_owned());
        } else {
            return Err(reader.bad(value, "the name of a network interface"));
        }
        Ok(())
    }),
    ("ExecStartPre", |socket, value, reader| commands(&mut socket.exec_start_pre, value, reader)),
    ("ExecStartPost", |socket, value, reader| commands(&mut socket.exec_start_post, value, reader)),
    ("ExecStopPre", |socket, value, reader| commands(&mut socket.exec_stop_pre, value, reader)),
    ("ExecStopPost", |socket, value, reader| commands(&mut socket.exec_stop_post, value, reader)),
    ("TimeoutSec", |socket, value, reader| reader.set_timeout(&mut socket.timeout, value)),
    ("SocketUser", |socket, value, reader| set_owner(&mut socket.user, value, reader)),
    ("SocketGroup", |socket, value, reader| set_owner(&mut socket.group, value, reader)),
    ("SocketMode", |socket, value, reader| reader.set_mode(&mut socket.socket_mode, value)),
    ("DirectoryMode", |socket, value, reader| reader.set_mode(&mut socket.directory_mode, value)),
    ("Accept", |socket, value, reader| reader.set_bool(&mut socket.accept, value)),
    ("FlushPending", |socket, value, reader| reader.set_bool(&mut socket.flush_pending, value)),
    ("Writable", |socket, value, reader| reader.set_bool(&mut socket.writable, value)),
    ("MaxConnections", |socket, value, reader| reader.set_unsigned(&mut socket.max_connections, value)),
    ("MaxConnectionsPerSource", |socket, value, reader| {
        reader.set_unsigned(&mut socket.max_connections_per_source, value)
    }),
    ("KeepAlive", |socket, value, reader| reader.set_bool(&mut socket.keep_alive, value)),
    ("KeepAliveTimeSec", |socket, value, reader| reader.set_span(&mut socket.keep_alive_time, value)),
    ("KeepAliveIntervalSec", |socket, value, reader| reader.set_span(&mut socket.keep_alive_interval, value)),
    ("KeepAliveProbes", |socket, value, reader| reader.set_unsigned(&mut socket.keep_alive_probes, value)),
    ("DeferAcceptSec", |socket, value, reader| reader.set_span(&mut socket.defer_accept, value)),
    ("NoDelay", |socket, value, reader| reader.set_bool(&mut socket.no_delay, value)),
    ("Priority", |socket, value, reader| set_number(&mut socket.priority, value, reader)),
    ("ReceiveBuffer", |socket, value, reader| reader.set_size(&mut socket.receive_buffer, value)),
    ("SendBuffer", |socket, value, reader| reader.set_size(&mut socket.send_buffer, value)),
    ("IPTOS", |socket, value, reader| {
        socket.ip_tos = match value {
            "" => None,
            "low-delay" => Some(0x10),
            "throughput" => Some(0x08),
            "reliability" => Some(0x04),
            "low-cost" => Some(0x02),
            number => {
                let tos = value::unsigned(number).and_then(|tos| u8::try_from(tos).ok());
                Some(i32::from(tos.ok_or_else(|| reader.bad(value, "a type of service from 0 to 255"))?))
            }
        };
        Ok(())
    }),
    ("IPTTL", |socket, value, reader| set_number(&mut socket.ip_ttl, value, reader)),
    ("Mark", |socket, value, reader| set_number(&mut socket.mark, value, reader)),
    ("PipeSize", |socket, value, reader| reader.set_size(&mut socket.pipe_size, value)),
    ("FreeBind", |socket, value, reader| reader.set_bool(&mut socket.free_bind, value)),
    ("Transparent", |socket, value, reader| reader.set_bool(&mut socket.transparent, value)),
    ("Broadcast", |socket, value, reader| reader.set_bool(&mut socket.broadcast, value)),
    ("PassCredentials", |socket, value, reader| reader.set_bool(&mut socket.pass_credentials, value)),
    ("PassSecurity", |socket, value, reader| reader.set_bool(&mut socket.pass_security, value)),
    ("PassPacketInfo", |socket, value, reader| reader.set_bool(&mut socket.pass_packet_info, value)),
    ("Timestamping", |socket, value, reader| {
        // Yes means the finer ones.
        if value::boolean(value) == Some(true) {
            socket.timestamping = Timestamping::Microseconds;
            return Ok(());
        }
        reader.set_word(&mut socket.timestamping, value, Timestamping::from_word)
    }),
    ("TCPCongestion", |socket, value, _| {
        socket.tcp_congestion = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }),
    ("ReusePort", |socket, value, reader| reader.set_bool(&mut socket.reuse_port, value)),
    ("MessageQueueMaxMessages", |socket, value, reader| {
        set_long(&mut socket.message_queue_max_messages, value, reader)
    }),
    ("MessageQueueMessageSize", |socket, value, reader| {
        set_long(&mut socket.message_queue_message_size, value, reader)
    }),
    ("RemoveOnStop", |socket, value, reader| reader.set_bool(&mut socket.remove_on_stop, value)),
    ("Symlinks", |socket, value, reader| {
        reader.extend(&mut socket.symlinks, value, Rules::QUOTED, |reader, word| reader.path(word))
    }),
    ("FileDescriptorName", |socket, value, reader| {
        if value.is_empty() {
            socket.file_descriptor_name = None;
            return Ok(());
        }
        let name = reader.text(value)?;
        if !value::is_descriptor_name(&name) && !name.is_empty() {
            return Err(reader.bad(&name, "a name for a descriptor"));
        }
        socket.file_descriptor_name = Some(name);
        Ok(())
    }),
    ("Service", |socket, value, reader| {
        let name = reader.unit(value)?;
        if name.unit_type() != UnitType::Service || name.is_template() {
            return Err(reader.bad(value, "the name of a service"));
        }
        socket.service = Some(name);
        Ok(())
    }),
    ("TriggerLimitIntervalSec", |socket, value, reader| reader.set_span(&mut socket.trigger_limit_interval, value)),
    ("TriggerLimitBurst", |socket, value, reader| {
        let mut burst = 0;
        reader.set_unsigned(&mut burst, value)?;
        socket.trigger_limit_burst = Some(burst);
        Ok(())
    }),
    ("SmackLabel", |socket, value, reader| reader.set_text(&mut socket.smack_label, value)),
    ("SmackLabelIPIn", |socket, value, reader| reader.set_text(&mut socket.smack_label_ip_in, value)),
    ("SmackLabelIPOut", |socket, value, reader| reader.set_text(&mut socket.smack_label_ip_out, value)),
    ("SELinuxContextFromNet", |socket, value, reader| reader.set_bool(&mut socket.selinux_context_from_net, value)),
];

/// `ListenStream=` and its kin; an empty value takes back everything that is listened on.
fn listen_socket(socket: &mut SocketConfig, style: SocketStyle, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        socket.listen.clear();
        return Ok(());
    }
    let text = reader.text(value)?;
    let address = match address(&text) {
        Some(SocketAddress::Unix(path)) => SocketAddress::Unix(without_var_run(path, reader)),
        Some(address) => address,
        None => return Err(reader.bad(&text, "a path, an address with a port, or a port")),
    };
    let is_unix = matches!(address, SocketAddress::Unix(_) | SocketAddress::UnixAbstract(_));
    if style == SocketStyle::SequentialPacket && !is_unix {
        return Err(reader.bad(&text, "a path: only local sockets have sequential packets"));
    }
    socket.listen.push(Listen::Socket(style, address));
    Ok(())
}

/// `ListenFIFO=` and its kin.
fn listen_path(
    socket: &mut SocketConfig,
    value: &str,
    reader: &mut Reader<'_>,
    make: fn(String, &mut Reader<'_>) -> Listen,
) -> Outcome {
    if value.is_empty() {
        socket.listen.clear();
        return Ok(());
    }
    let path = reader.path(value)?;
    let listen = make(path, reader);
    socket.listen.push(listen);
    Ok(())
}

/// `ListenNetlink=`: a family and, perhaps, a multicast group.
fn listen_netlink(socket: &mut SocketConfig, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        socket.listen.clear();
        return Ok(());
    }
    let text = reader.text(value)?;
    let words = reader.words(&text, BARE);
    let (family, group) = match words.as_slice() {
        [family] => (family, Some(0)),
        [family, group] => (family, value::unsigned32(group)),
        _ => return Err(reader.bad(&text, "a netlink family and a group")),
    };
    let group = group.ok_or_else(|| reader.bad(&text, "a netlink family and the number of a group"))?;
    // The kernel's own families, and any other by its number.
    if !NETLINK_FAMILIES.contains(&family.as_str()) && value::unsigned32(family).is_none() {
        return Err(reader.bad(&text, "a netlink family this system has"));
    }
    socket.listen.push(Listen::Netlink(family.clone(), group));
    Ok(())
}

/// A path, `@name`, `vsock:CID:PORT`, `a.b.c.d:PORT`, `[v6]:PORT` with an interface behind it, or a port.
fn address(text: &str) -> Option<SocketAddress> {
    // sun_path of unix(7) with its ending NUL.
    const UNIX_PATH_MAX: usize = 108;
    let port = |text: &str| value::unsigned(text).and_then(|port| u16::try_from(port).ok());
    if text.starts_with('/') {
        let path = value::simple_path(text);
        return (text.len() < UNIX_PATH_MAX && path != "/").then_some(SocketAddress::Unix(path));
    }
    if let Some(name) = text.strip_prefix('@') {
        return (!name.is_empty() && name.len() < UNIX_PATH_MAX).then(|| SocketAddress::UnixAbstract(name.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("vsock:") {
        let (context, port) = rest.split_once(':')?;
        let context = if context.is_empty() { None } else { Some(value::unsigned32(context)?) };
        return Some(SocketAddress::Vsock(context, value::unsigned32(port)?));
    }
    if let Some(port) = port(text).filter(|port| *port != 0) {
        return Some(SocketAddress::AnyPort(port));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once("]:")?;
        let (digits, interface) = match rest.split_once('%') {
            Some((digits, interface)) => (digits, Some(interface.to_owned())),
            None => (rest, None),
        };
        let host: Ipv6Addr = host.parse().ok()?;
        return Some(SocketAddress::V6(host, port(digits).filter(|port| *port != 0)?, interface));
    }
    let (host, digits) = text.rsplit_once(':')?;
    let host: Ipv4Addr = host.parse().ok()?;
    Some(SocketAddress::V4(host, port(digits).filter(|port| *port != 0)?))
}

/// The owner of a path; a mistake makes the unit unusable, lest the socket be another's.
pub(super) fn set_owner(slot: &mut Option<String>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let name = reader.text(value).map_err(super::fatal)?;
    if !value::is_user_or_group(&name) {
        return Err(Problem::Fatal(format!(
            "{}={name} can be neither a user's or group's name nor its number",
            reader.key()
        )));
    }
    *slot = Some(name);
    Ok(())
}

fn set_number(slot: &mut Option<i32>, value: &str, reader: &Reader<'_>) -> Outcome {
    *slot = Some(value::signed32(value).ok_or_else(|| reader.bad(value, "a number"))?);
    Ok(())
}

fn set_long(slot: &mut i64, value: &str, reader: &Reader<'_>) -> Outcome {
    *slot = value::signed(value).ok_or_else(|| reader.bad(value, "a number"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let port = |text| address(text).map(|found| Listen::Socket(SocketStyle::Stream, found).describe());
        for (text, shown) in [
            ("/run//x", "/run/x"),
            ("@a", "@a"),
            ("22", "[::]:22"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[fe80::1]:80%eth0", "[fe80::1]:80%eth0"),
            ("vsock:2:80", "vsock:2:80"),
            ("vsock::80", "vsock::80"),
        ] {
            assert_eq!(port(text).as_deref(), Some(shown), "{text}");
        }
        for wrong in ["", "x", "0", "65536", "-1", "1.2.3.4", "1.2.3.4:0", "::1:80", "[::1]", "vsock:1", "/", "@"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
