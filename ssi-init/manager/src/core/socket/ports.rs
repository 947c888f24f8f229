// SPDX-License-Identifier: GPL-2.0-or-later
//! The ports of a socket unit: what it listens on, under the names by which process 1 keeps it.

use serde::{Deserialize, Serialize};
use ssi_unit::config::SocketConfig;
use ssi_unit::config::socket::{Listen, SocketStyle};

use super::{runtime, socket, traffic};
use crate::core::Core;
use crate::core::state::SocketState;
use crate::core::system::{FdKey, Priority};
use crate::core::unit::Unit;
use crate::graph::UnitId;

/// A port that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name here and in process 1.
    pub key: FdKey,
    /// What it listens on ([`identity`]): by this it is found again when the unit's file has changed.
    pub listen: String,
}

/// The type of a port, as the `Listen` property has it.
pub fn port_type(listen: &Listen) -> &'static str {
    match listen {
        Listen::Socket(SocketStyle::Stream, _) => "Stream",
        Listen::Socket(SocketStyle::Datagram, _) => "Datagram",
        Listen::Socket(SocketStyle::SequentialPacket, _) => "SequentialPacket",
        Listen::Netlink(..) => "Netlink",
        Listen::Fifo(_) => "FIFO",
        Listen::Special(_) => "Special",
        Listen::MessageQueue(_) => "MessageQueue",
        Listen::UsbFunction(_) => "USBFunction",
    }
}

/// What tells a port from others, also when the file it is from has changed.
pub fn identity(listen: &Listen) -> String {
    format!("{} {}", port_type(listen), listen.describe())
}

/// The name a service finds its ports by (`LISTEN_FDNAMES`).
pub fn descriptor_name(unit: &Unit) -> String {
    let told = unit.config.socket().and_then(|socket| socket.file_descriptor_name.clone());
    told.unwrap_or_else(|| unit.name.to_string())
}

/// All descriptors it has: its ports, and the connection that it may have taken and not given out yet.
pub(in crate::core) fn descriptors(unit: &Unit) -> impl Iterator<Item = FdKey> + '_ {
    let runtime = unit.runtime.kind.socket();
    let takes = runtime.state == SocketState::Listening && unit.config.socket().is_some_and(|config| config.accept);
    let ports = runtime.ports.iter().map(|port| port.key.clone());
    ports.chain(takes.then(|| traffic::next_connection(unit)))
}

fn keys(core: &Core, id: UnitId) -> Vec<FdKey> {
    socket!(core, id).ports.iter().map(|port| port.key.clone()).collect()
}

pub(super) fn watch_ports(core: &mut Core, id: UnitId, on: bool) {
    let keys = keys(core, id);
    if !keys.is_empty() {
        let name = core.unit(id).name.clone();
        core.sys.watch_ports(&name, &keys, on);
    }
}

/// Opens what it listens on. Its owners are set by that as well: what `start-chown` is for elsewhere.
pub(super) fn open_ports(core: &mut Core, id: UnitId) -> Result<(), String> {
    let config = std::rc::Rc::clone(&core.unit(id).config);
    let config: &SocketConfig = config.socket().ok_or("it is no socket unit")?;
    let name = core.unit(id).name.clone();
    let of_place = |(place, listen): (usize, &Listen)| Port {
        key: FdKey(format!("socket/{name}/{place}")),
        listen: identity(listen),
    };
    let ports: Vec<Port> = config.listen.iter().enumerate().map(of_place).collect();
    let keys: Vec<FdKey> = ports.iter().map(|port| port.key.clone()).collect();
    core.sys.open_ports(&name, config, &keys).map_err(|error| error.to_string())?;
    runtime(core, id).ports = ports;
    Ok(())
}

/// Closes them. A service that has them keeps them, which is why paths stay where they are unless `RemoveOnStop=` says
/// otherwise.
pub(super) fn close_ports(core: &mut Core, id: UnitId) {
    let keys = keys(core, id);
    if keys.is_empty() {
        return;
    }
    runtime(core, id).ports.clear();
    core.sys.close(&keys);
    let unit = core.unit(id);
    let (name, config) = (unit.name.clone(), std::rc::Rc::clone(&unit.config));
    if let Some(config) = config.socket().filter(|config| config.remove_on_stop) {
        core.sys.remove_ports(&name, config);
    }
}

/// Reads and drops what waits at its ports.
pub(super) fn flush_ports(core: &mut Core, id: UnitId) {
    for key in keys(core, id) {
        core.sys.flush(&key);
    }
}

/// Its files were read again. What is listened on still stays open; what is not any more is closed.
pub(in crate::core) fn reloaded(core: &mut Core, id: UnitId) {
    if socket!(core, id).ports.is_empty() {
        return;
    }
    let unit = core.unit(id);
    let Some(config) = unit.config.socket().filter(|_| unit.is_loaded()) else {
        core.log(Priority::Warning, id, "its file cannot be used any more; its ports stay open until it is stopped");
        return;
    };
    let wanted: Vec<String> = config.listen.iter().map(identity).collect();
    let mut open = socket!(core, id).ports.clone();
    let mut kept = Vec::new();
    for listen in &wanted {
        if let Some(place) = open.iter().position(|port| port.listen == *listen) {
            kept.push(open.remove(place));
        }
    }
    if kept.len() < wanted.len() {
        let text = "its file asks for ports that are not open; they will be when it is started again";
        core.log(Priority::Warning, id, text);
    }
    let gone: Vec<FdKey> = open.into_iter().map(|port| port.key).collect();
    if kept != socket!(core, id).ports {
        runtime(core, id).ports = kept;
    }
    if !gone.is_empty() {
        let name = core.unit(id).name.clone();
        core.sys.watch_ports(&name, &gone, false);
        core.sys.close(&gone);
    }
}
