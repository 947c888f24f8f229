// SPDX-License-Identifier: GPL-2.0-or-later
//! Somebody connects, or sends something: the service is started, or an instance of it for that connection alone.
//!
//! ```text
//!   Accept=no    a port is readable ─▶ start of the service ─▶ the unit is `running` until the service is down
//!   Accept=yes   a port is readable ─▶ accept ─▶ too many? closed
//!                                        └─▶ NAME@NUMBER-ADDRESSES.service gets the connection ─▶ start of it
//! ```
//!
//! A connection belongs to its instance from then on ([`ServiceRuntime::connection`]) and is closed with its end. How many
//! there are is not counted but looked up: the socket triggers the instances that it has made.
//!
//! [`ServiceRuntime::connection`]: crate::core::service::ServiceRuntime::connection

use std::time::Duration;

use ssi_unit::dependency::{Atoms, Dependency, Origins};
use ssi_unit::name::{UnitName, UnitType};

use super::{
    SocketResult, accepts, enter_listening, enter_stop_pre, flush_ports, runtime, service_of, set_state, socket,
};
use crate::core::state::{ServiceState, SocketState};
use crate::core::system::{FdKey, Peer, Priority};
use crate::core::unit::Unit;
use crate::core::{Core, usec};
use crate::graph::UnitId;
use crate::job::{JobMode, JobType, Request, Wish};

/// `TriggerLimitIntervalSec=`, where it is not told.
const INTERVAL: Duration = Duration::from_secs(2);
/// `TriggerLimitBurst=` where it is not told: of services that take from the port what is there, all at once.
const BURST: u32 = 20;
/// The same with `Accept=yes`, where each connection is a trigger of its own.
const BURST_ACCEPTING: u32 = 200;

/// There is something to read at a port.
pub(in crate::core) fn incoming(core: &mut Core, id: UnitId, port: &FdKey) {
    let runtime = socket!(core, id);
    if runtime.state != SocketState::Listening || !runtime.ports.iter().any(|known| known.key == *port) {
        return;
    }
    core.log(Priority::Debug, id, "somebody connects");
    if accepts(core, id) {
        accept(core, id, port);
    } else {
        activate(core, id);
    }
}

/// Counts a trigger; whether it is within the limit. If not, the unit is on its way down.
fn within_limit(core: &mut Core, id: UnitId) -> bool {
    let now = core.now().monotonic;
    let unit = core.unit_mut(id);
    let Some(config) = unit.config.socket() else { return false };
    let interval = usec(config.trigger_limit_interval.unwrap_or(INTERVAL));
    let burst = config.trigger_limit_burst.unwrap_or(if config.accept { BURST_ACCEPTING } else { BURST });
    if unit.runtime.kind.socket_mut().triggers.allows(now, Some(interval), burst) {
        return true;
    }
    core.log(Priority::Warning, id, "somebody connects too often in too short a time; it is stopped");
    enter_stop_pre(core, id, SocketResult::TriggerLimitHit);
    refused(core, id);
    false
}

fn refused(core: &mut Core, id: UnitId) {
    let runtime = runtime(core, id);
    runtime.refused = runtime.refused.saturating_add(1);
    core.touch(id);
}

/// The unit cannot do what it is there for.
fn give_up(core: &mut Core, id: UnitId, why: &str) {
    core.log(Priority::Warning, id, &format!("cannot have its service started: {why}"));
    enter_stop_pre(core, id, SocketResult::Resources);
}

/// Whether a unit is up, on its way there, or about to be.
fn active_or_pending(core: &Core, id: UnitId) -> bool {
    let wanted = |kind: JobType| matches!(kind, JobType::Start | JobType::Restart);
    core.unit(id).active().is_active_or_activating() || core.queue.job_of(id).is_some_and(|job| wanted(job.kind))
}

// ---- Accept=no ---------------------------------------------------------------------------------------------------

/// Has the service started.
fn activate(core: &mut Core, id: UnitId) {
    // Who goes down does not bring up its service once more; and what waits would wake the manager for ever.
    if core.has_stop_job(id) {
        core.log(Priority::Debug, id, "what comes in is dropped: it is to be stopped");
        flush_ports(core, id);
        return;
    }
    if !within_limit(core, id) {
        return;
    }
    if !core.triggered_units(id).into_iter().any(|unit| active_or_pending(core, unit)) {
        let Some(service) = service_of(core, id) else {
            give_up(core, id, "it is not there any more");
            return;
        };
        let wish = Wish { unit: service, request: Request::Start, mode: JobMode::Replace, manual: false };
        if let Err(error) = core.wish(wish) {
            give_up(core, id, &error.to_string());
            return;
        }
    }
    set_state(core, id, SocketState::Running);
}

// ---- Accept=yes --------------------------------------------------------------------------------------------------

/// Whether there is nobody to be accepted any more: who was there is gone, or the network between. accept(2) says so for
/// single connections, and there is nothing wrong with the port.
fn nobody_there(errno: i32) -> bool {
    // EINTR, EAGAIN, EPIPE, ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED,
    // ECONNRESET, ENOTCONN, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH
    const GONE: [i32; 18] = [4, 11, 32, 64, 71, 92, 95, 100, 101, 102, 103, 104, 107, 108, 110, 111, 112, 113];
    GONE.contains(&errno)
}

/// The name of the next connection. It is the next manager's as well, should this one end before the instance is written
/// down.
pub(super) fn next_connection(unit: &Unit) -> FdKey {
    FdKey(format!("socket/{}/connection/{}", unit.name, unit.runtime.kind.socket().accepted))
}

fn accept(core: &mut Core, id: UnitId, port: &FdKey) {
    let key = next_connection(core.unit(id));
    let peer = match core.sys.accept(port, &key) {
        Ok(peer) => peer,
        Err(error) if nobody_there(error.errno) => {
            core.log(Priority::Debug, id, &error.to_string());
            return;
        }
        Err(error) => {
            give_up(core, id, &error.to_string());
            return;
        }
    };
    if core.has_stop_job(id) {
        core.log(Priority::Debug, id, "a connection is dropped: it is to be stopped");
        refused(core, id);
        core.sys.close(&[key]);
    } else if !within_limit(core, id) {
        core.sys.close(&[key]);
    } else if let Some(text) = too_many(core, id, &peer) {
        core.log(Priority::Warning, id, &text);
        refused(core, id);
        core.sys.close(&[key]);
    } else {
        match instance(core, id, &peer) {
            Ok(service) => serve(core, id, service, key, peer),
            Err(text) => {
                core.sys.close(&[key]);
                give_up(core, id, &text);
            }
        }
    }
}

/// The services that have a connection of this socket.
pub fn connections(core: &Core, id: UnitId) -> impl Iterator<Item = UnitId> + '_ {
    core.graph.with(id, Atoms::TRIGGERS).filter(move |unit| {
        let unit = core.unit(*unit);
        let service = unit.runtime.kind.service();
        let of_this = || service.accepted_by.as_ref().and_then(|name| core.table.find(name)) == Some(id);
        unit.unit_type() == UnitType::Service && service.connection.is_some() && of_this()
    })
}

/// Why one more connection is too many, if it is.
fn too_many(core: &Core, id: UnitId, peer: &Peer) -> Option<String> {
    let config = core.unit(id).config.socket()?;
    let count = connections(core, id).count();
    if count >= config.max_connections as usize {
        return Some(format!("there are {count} connections already; one is dropped"));
    }
    let address = peer.address.as_ref().filter(|_| config.max_connections_per_source > 0)?;
    let same = |unit: &UnitId| {
        let peer = core.unit(*unit).runtime.kind.service().peer.as_ref();
        peer.is_some_and(|known| known.address.as_ref() == Some(address))
    };
    let count = connections(core, id).filter(same).count();
    let limit = config.max_connections_per_source as usize;
    (count >= limit).then(|| format!("there are {count} connections from {address} already; one is dropped"))
}

/// The instance of the service for a connection, ready to get it.
fn instance(core: &mut Core, id: UnitId, peer: &Peer) -> Result<UnitId, String> {
    let number = socket!(core, id).accepted;
    let name = format!("{}@{number}-{}.service", core.unit(id).name.prefix(), peer.instance);
    let name = UnitName::new(&name).map_err(|error| format!("{name}: {error}"))?;
    let service = core.load(&name);
    let runtime = runtime(core, id);
    runtime.accepted = runtime.accepted.wrapping_add(1);
    let unit = core.unit(service);
    if !unit.is_loaded() {
        let why = unit.load_error.clone().unwrap_or_else(|| "there is no file for it".to_owned());
        return Err(format!("{name} cannot be used: {why}"));
    }
    let known = unit.runtime.kind.service();
    if known.state != ServiceState::Dead || known.connection.is_some() {
        return Err(format!("{name} is there already"));
    }
    Ok(service)
}

/// Gives an instance its connection and has it started.
fn serve(core: &mut Core, id: UnitId, service: UnitId, key: FdKey, peer: Peer) {
    let name = core.unit(id).name.clone();
    let runtime = core.service_mut(service);
    runtime.connection = Some(key);
    runtime.peer = Some(peer);
    runtime.accepted_by = Some(name);
    tie(core, service);
    let wish = Wish { unit: service, request: Request::Start, mode: JobMode::Replace, manual: false };
    if let Err(error) = core.wish(wish) {
        core.close_connection(service);
        give_up(core, id, &error.to_string());
        return;
    }
    core.touch(id);
}

/// Ties an instance to the socket that made it, and tells people who it is for. Nothing in files says so: it is to be
/// done again whenever they are read.
pub(in crate::core) fn tie(core: &mut Core, service: UnitId) {
    let runtime = core.unit(service).runtime.kind.service();
    let socket = runtime.accepted_by.as_ref().and_then(|name| core.table.find(name));
    let peer = runtime.peer.as_ref().and_then(peer_text);
    if let Some(socket) = socket {
        for kind in [Dependency::Before, Dependency::Triggers] {
            core.graph.add(socket, kind, service, Origins::IMPLICIT);
        }
    }
    if let Some(peer) = peer {
        let unit = core.table.get_mut(service);
        let described = match &unit.config.unit.description {
            Some(description) => format!("{description} ({peer})"),
            None => peer,
        };
        std::rc::Rc::make_mut(&mut unit.config).unit.description = Some(described);
    }
}

/// The other end of a connection in words.
fn peer_text(peer: &Peer) -> Option<String> {
    if let Some(address) = &peer.address {
        let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        return Some(peer.port.map_or_else(|| address.clone(), |port| format!("{address}:{port}")));
    }
    let (pid, uid) = peer.instance.split_once('-')?;
    let number = |text: &str| text.parse::<u32>().is_ok();
    (number(pid) && number(uid)).then(|| format!("PID {pid}/UID {uid}"))
}

/// An instance, or a job of it, changed: one that is down and stays down has no use for its connection.
pub(super) fn drop_idle_connection(core: &mut Core, id: UnitId, service: UnitId) {
    let unit = core.unit(service);
    let runtime = unit.runtime.kind.service();
    let of_this = || runtime.accepted_by.as_ref().and_then(|name| core.table.find(name)) == Some(id);
    if runtime.connection.is_some()
        && unit.active().is_inactive_or_failed()
        && core.queue.job_of(service).is_none()
        && of_this()
    {
        core.close_connection(service);
    }
}

// ---- after another manager ---------------------------------------------------------------------------------------

/// What a manager that ended in the middle of something may have left undone.
pub(super) fn catch_up(core: &mut Core, id: UnitId) {
    match socket!(core, id).state {
        // A connection it had taken and not written down is given out once more.
        SocketState::Listening if accepts(core, id) => {
            if let Some(port) = socket!(core, id).ports.first().map(|port| port.key.clone()) {
                accept(core, id, &port);
            }
        }
        // The service it was to start was not asked for, or its end not told.
        SocketState::Running
            if !accepts(core, id)
                && core.triggered_units(id).into_iter().all(|unit| {
                    core.unit(unit).active().is_inactive_or_failed() && core.queue.job_of(unit).is_none()
                }) =>
        {
            enter_listening(core, id);
        }
        _ => {}
    }
}
