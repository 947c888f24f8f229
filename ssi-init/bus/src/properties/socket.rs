// SPDX-License-Identifier: GPL-2.0-or-later
//! A socket unit: systemd.socket(5).

use std::sync::LazyLock;
use std::time::Duration;

use ssi_manager::core::service::Ran;
use ssi_manager::core::socket::{self, SocketCommand, SocketList, SocketRuntime};
use ssi_unit::config::socket::{Listen, SocketProtocol, SocketStyle};
use ssi_unit::config::{ManagerDefaults, SocketConfig};
use ssi_unit::exec_line::ExecCommand;
use zbus::zvariant::Value;

use super::service::{owner_group, owner_user};
use super::value::{maybe, text, usec};
use super::{Property, View, commands, fixed, invalidated, silent, told};

/// How often somebody may connect in which time, where the unit's file does not tell: with an instance for each
/// connection, and without.
const TRIGGERS: (u32, u32) = (200, 20);
const TRIGGER_TIME: Duration = Duration::from_secs(2);

fn config<'a>(v: &View<'a>) -> &'a SocketConfig {
    static NONE: LazyLock<SocketConfig> = LazyLock::new(|| SocketConfig::new(&ManagerDefaults::default()));
    v.unit.config.socket().unwrap_or(&NONE)
}

fn runtime<'a>(v: &View<'a>) -> &'a SocketRuntime {
    v.unit.runtime.kind.socket()
}

fn ran<'a>(v: &View<'a>, list: SocketList) -> impl Iterator<Item = (&'a ExecCommand, Ran)> {
    let runs = &runtime(v).ran;
    list.of(config(v)).iter().enumerate().map(move |(index, command)| {
        let found = runs.iter().find(|(which, _)| *which == SocketCommand { list, index });
        (command, found.map(|(_, ran)| *ran).unwrap_or_default())
    })
}

/// The word for what is listened at, and where.
fn listen(listen: &Listen) -> (&'static str, String) {
    let word = match listen {
        Listen::Socket(SocketStyle::Stream, _) => "Stream",
        Listen::Socket(SocketStyle::Datagram, _) => "Datagram",
        Listen::Socket(SocketStyle::SequentialPacket, _) => "SequentialPacket",
        Listen::Netlink(..) => "Netlink",
        Listen::Fifo(_) => "FIFO",
        Listen::Special(_) => "Special",
        Listen::MessageQueue(_) => "MessageQueue",
        Listen::UsbFunction(_) => "USBFunction",
    };
    (word, listen.describe())
}

pub(super) const TABLE: &[Property] = &[
    fixed("BindIPv6Only", "s", |v| text(config(v).bind_ipv6_only.as_str())),
    fixed("Backlog", "u", |v| config(v).backlog.into()),
    fixed("TimeoutUSec", "t", |v| usec(config(v).timeout).into()),
    fixed("BindToDevice", "s", |v| maybe(config(v).bind_to_device.as_deref())),
    fixed("SocketUser", "s", |v| maybe(config(v).user.as_deref())),
    fixed("SocketGroup", "s", |v| maybe(config(v).group.as_deref())),
    fixed("SocketMode", "u", |v| config(v).socket_mode.into()),
    fixed("DirectoryMode", "u", |v| config(v).directory_mode.into()),
    fixed("Accept", "b", |v| config(v).accept.into()),
    fixed("FlushPending", "b", |v| config(v).flush_pending.into()),
    fixed("Writable", "b", |v| config(v).writable.into()),
    fixed("KeepAlive", "b", |v| config(v).keep_alive.into()),
    fixed("KeepAliveTimeUSec", "t", |v| usec(config(v).keep_alive_time).into()),
    fixed("KeepAliveIntervalUSec", "t", |v| usec(config(v).keep_alive_interval).into()),
    fixed("KeepAliveProbes", "u", |v| config(v).keep_alive_probes.into()),
    fixed("DeferAcceptUSec", "t", |v| usec(config(v).defer_accept).into()),
    fixed("NoDelay", "b", |v| config(v).no_delay.into()),
    fixed("Priority", "i", |v| config(v).priority.unwrap_or(-1).into()),
    fixed("ReceiveBuffer", "t", |v| config(v).receive_buffer.into()),
    fixed("SendBuffer", "t", |v| config(v).send_buffer.into()),
    fixed("IPTOS", "i", |v| config(v).ip_tos.unwrap_or(-1).into()),
    fixed("IPTTL", "i", |v| config(v).ip_ttl.unwrap_or(-1).into()),
    fixed("PipeSize", "t", |v| config(v).pipe_size.into()),
    fixed("FreeBind", "b", |v| config(v).free_bind.into()),
    fixed("Transparent", "b", |v| config(v).transparent.into()),
    fixed("Broadcast", "b", |v| config(v).broadcast.into()),
    fixed("PassCredentials", "b", |v| config(v).pass_credentials.into()),
    fixed("PassSecurity", "b", |v| config(v).pass_security.into()),
    fixed("PassPacketInfo", "b", |v| config(v).pass_packet_info.into()),
    fixed("Timestamping", "s", |v| text(config(v).timestamping.as_str())),
    fixed("RemoveOnStop", "b", |v| config(v).remove_on_stop.into()),
    fixed("Listen", "a(ss)", |v| Value::from(config(v).listen.iter().map(listen).collect::<Vec<_>>())),
    fixed("Symlinks", "as", |v| config(v).symlinks.clone().into()),
    fixed("Mark", "i", |v| config(v).mark.unwrap_or(-1).into()),
    fixed("MaxConnections", "u", |v| config(v).max_connections.into()),
    fixed("MaxConnectionsPerSource", "u", |v| config(v).max_connections_per_source.into()),
    fixed("MessageQueueMaxMessages", "x", |v| config(v).message_queue_max_messages.into()),
    fixed("MessageQueueMessageSize", "x", |v| config(v).message_queue_message_size.into()),
    fixed("TCPCongestion", "s", |v| maybe(config(v).tcp_congestion.as_deref())),
    fixed("ReusePort", "b", |v| config(v).reuse_port.into()),
    fixed("SmackLabel", "s", |v| maybe(config(v).smack_label.as_deref())),
    fixed("SmackLabelIPIn", "s", |v| maybe(config(v).smack_label_ip_in.as_deref())),
    fixed("SmackLabelIPOut", "s", |v| maybe(config(v).smack_label_ip_out.as_deref())),
    told("ControlPID", "u", |v| runtime(v).control.map_or(0, |pid| pid.0).into()),
    told("Result", "s", |v| text(runtime(v).result.word())),
    silent("NConnections", "u", |v| {
        u32::try_from(socket::connections(v.core, v.id).count()).unwrap_or(u32::MAX).into()
    }),
    silent("NAccepted", "u", |v| runtime(v).accepted.into()),
    silent("NRefused", "u", |v| runtime(v).refused.into()),
    silent("FileDescriptorName", "s", |v| {
        maybe(config(v).file_descriptor_name.as_deref().or(Some(v.unit.name.as_str())))
    }),
    // The kernel's numbers, protocols(5).
    fixed("SocketProtocol", "i", |v| {
        match config(v).protocol {
            None => 0,
            Some(SocketProtocol::Sctp) => 132,
            Some(SocketProtocol::UdpLite) => 136,
        }
        .into()
    }),
    fixed("TriggerLimitIntervalUSec", "t", |v| {
        usec(Some(config(v).trigger_limit_interval.unwrap_or(TRIGGER_TIME))).into()
    }),
    fixed("TriggerLimitBurst", "u", |v| {
        let default = if config(v).accept { TRIGGERS.0 } else { TRIGGERS.1 };
        config(v).trigger_limit_burst.unwrap_or(default).into()
    }),
    told("UID", "u", owner_user),
    told("GID", "u", owner_group),
    invalidated("ExecStartPre", "a(sasbttttuii)", |v| commands::plain(ran(v, SocketList::StartPre))),
    invalidated("ExecStartPost", "a(sasbttttuii)", |v| commands::plain(ran(v, SocketList::StartPost))),
    invalidated("ExecStopPre", "a(sasbttttuii)", |v| commands::plain(ran(v, SocketList::StopPre))),
    invalidated("ExecStopPost", "a(sasbttttuii)", |v| commands::plain(ran(v, SocketList::StopPost))),
];
