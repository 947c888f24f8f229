// SPDX-License-Identifier: GPL-2.0-or-later
//! What a service says of itself: the messages of `sd_notify(3)`.
//!
//! A message is lines `NAME=value`, with descriptors beside them. Who may send one is `NotifyAccess=`'s decision; what
//! is not understood is passed over, as a service may be newer than this manager.

use serde::{Deserialize, Serialize};
use ssi_unit::config::service::{NotifyAccess, ServiceType};
use ssi_unit::name::UnitType;

use super::{
    Said, ServiceResult, config_of, enter_reload_by_notify, enter_running, enter_signal, enter_start_post,
    enter_stop_by_notify, processes, reset_watchdog, watchdog_interval,
};
use crate::core::state::ServiceState;
use crate::core::system::{FdKey, Pid, Priority};
use crate::core::unit::Unit;
use crate::core::{Clock, Core, Deadline};
use crate::graph::UnitId;

/// How long a `STATUS=` may be; longer ones are cut.
const STATUS_MAX: usize = 8192;
/// How long the name of a stored descriptor may be (sd_pid_notify_with_fds(3)).
const FD_NAME_MAX: usize = 255;

/// A message, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The process that sent it.
    pub sender: Option<Pid>,
    /// `NAME=value`, in their order.
    pub fields: Vec<(String, String)>,
    /// Descriptors that came with it, kept under these keys already.
    pub fds: Vec<FdKey>,
}

impl Notification {
    /// Takes a message apart: lines that are no `NAME=value` are passed over.
    pub fn parse(sender: Option<Pid>, text: &[u8], fds: Vec<FdKey>) -> Self {
        let text = String::from_utf8_lossy(text);
        let fields = text
            .split('\n')
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { sender, fields, fds }
    }

    /// The last value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.fields.iter().any(|(known, said)| known == name && said == value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.trim().parse().ok()
    }
}

/// Whether the sender may speak for the service.
fn allowed(core: &Core, id: UnitId, access: NotifyAccess, sender: Option<Pid>) -> bool {
    let runtime = core.unit(id).runtime.kind.service();
    match access {
        NotifyAccess::None => false,
        NotifyAccess::All => true,
        NotifyAccess::Main => sender.is_some() && sender == runtime.main,
        NotifyAccess::Exec => sender.is_some() && (sender == runtime.main || sender == runtime.control),
    }
}

/// A message came. What it brought and is not kept is closed.
pub fn notified(core: &mut Core, id: UnitId, message: &Notification) {
    let config = config_of(core, id);
    let Some(service) = config.service() else {
        core.sys.close(&message.fds);
        return;
    };
    if !allowed(core, id, service.notify_access, message.sender) {
        let who = message.sender.map_or_else(|| "an unknown process".to_owned(), |pid| format!("process {pid}"));
        let text =
            format!("a notification of {who} is not heeded: NotifyAccess={} does not let it", service.notify_access);
        core.log(Priority::Warning, id, &text);
        core.sys.close(&message.fds);
        return;
    }
    store(core, id, message);
    main_pid(core, id, message);
    extend(core, id, message);
    let state = core.unit(id).runtime.kind.service().state;
    if message.has("READY", "1") {
        core.service_mut(id).said = Said::Ready;
        let waits = matches!(service.service_type, ServiceType::Notify | ServiceType::NotifyReload);
        match state {
            ServiceState::Start if waits => enter_start_post(core, id),
            // Where its command is still at work, that one's end is awaited as well.
            ServiceState::ReloadNotify if core.unit(id).runtime.kind.service().control.is_none() => {
                enter_running(core, id, ServiceResult::Success);
            }
            _ => {}
        }
    }
    if message.has("RELOADING", "1") {
        // A notify-reload service tells since when, so that the answer to an older signal is not taken for the newer's.
        let since = message.number("MONOTONIC_USEC");
        core.service_mut(id).said = Said::Reloading;
        let runtime = core.unit(id).runtime.kind.service();
        match runtime.state {
            ServiceState::Running => enter_reload_by_notify(core, id),
            ServiceState::ReloadSignal if since.is_none_or(|since| since >= runtime.reload_begun) => {
                enter_reload_by_notify(core, id);
            }
            _ => {}
        }
        if message.has("READY", "1") {
            core.service_mut(id).said = Said::Ready;
        }
    }
    if message.has("STOPPING", "1") {
        core.service_mut(id).said = Said::Stopping;
        let state = core.unit(id).runtime.kind.service().state;
        if matches!(
            state,
            ServiceState::Running | ServiceState::Reload | ServiceState::ReloadSignal | ServiceState::ReloadNotify
        ) {
            enter_stop_by_notify(core, id);
        }
    }
    if let Some(text) = message.get("STATUS") {
        let mut text = text.to_owned();
        if text.len() > STATUS_MAX {
            let end = (0..=STATUS_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        core.service_mut(id).status_text = (!text.is_empty()).then_some(text);
    }
    if let Some(number) = message.get("ERRNO").and_then(|text| text.trim().parse::<i32>().ok()) {
        core.service_mut(id).status_errno = number.max(0);
    }
    match message.get("WATCHDOG") {
        Some("1") => reset_watchdog(core, id),
        Some("trigger") if watchdog_interval(core, id).is_some() => {
            core.log(Priority::Error, id, "asked for its watchdog's time-out itself");
            enter_signal(core, id, ServiceState::StopWatchdog, ServiceResult::Watchdog);
        }
        _ => {}
    }
    if let Some(interval) = message.number("WATCHDOG_USEC") {
        core.service_mut(id).watchdog_override = Some(interval);
        reset_watchdog(core, id);
    }
    core.touch(id);
}

/// `FDSTORE=1`, `FDSTOREREMOVE=1`, `FDNAME=`.
fn store(core: &mut Core, id: UnitId, message: &Notification) {
    let config = config_of(core, id);
    let most = config.service().map_or(0, |service| service.file_descriptor_store_max as usize);
    let name = message.get("FDNAME");
    let good = |name: &str| {
        !name.is_empty() && name.len() <= FD_NAME_MAX && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b':')
    };
    if message.has("FDSTOREREMOVE", "1") {
        if let Some(name) = name {
            let stored = &mut core.service_mut(id).stored;
            let gone: Vec<_> = stored.extract_if(.., |(_, known)| known == name).map(|(key, _)| key).collect();
            core.sys.close(&gone);
        }
        core.sys.close(&message.fds);
        return;
    }
    if !message.has("FDSTORE", "1") {
        core.sys.close(&message.fds);
        return;
    }
    let name = name.filter(|name| good(name)).unwrap_or("stored");
    for key in &message.fds {
        let known = &core.unit(id).runtime.kind.service().stored;
        if known.iter().any(|(known, _)| core.sys.is_same_file(known, key)) {
            // Told a second time, as after a restart.
            core.sys.close(std::slice::from_ref(key));
        } else if core.service_mut(id).stored.len() >= most {
            core.log(
                Priority::Warning,
                id,
                &format!("keeps no more than {most} descriptors (FileDescriptorStoreMax=)"),
            );
            core.sys.close(std::slice::from_ref(key));
        } else {
            core.service_mut(id).stored.push((key.clone(), name.to_owned()));
        }
    }
}

/// The other end of a stored descriptor is gone (systemd.service(5), `FileDescriptorStoreMax=`).
pub(in crate::core) fn stored_gone(core: &mut Core, key: &FdKey) {
    let has = |unit: &&Unit| {
        unit.unit_type() == UnitType::Service
            && unit.runtime.kind.service().stored.iter().any(|(known, _)| known == key)
    };
    let holders: Vec<UnitId> = core.table.iter().filter(has).map(|unit| unit.id).collect();
    for id in holders {
        core.service_mut(id).stored.retain(|(known, _)| known != key);
        core.touch(id);
    }
    core.sys.close(std::slice::from_ref(key));
}

/// `MAINPID=`
fn main_pid(core: &mut Core, id: UnitId, message: &Notification) {
    let Some(text) = message.get("MAINPID") else { return };
    let state = core.unit(id).runtime.kind.service().state;
    let in_time = matches!(
        state,
        ServiceState::Start
            | ServiceState::StartPost
            | ServiceState::Running
            | ServiceState::Reload
            | ServiceState::ReloadSignal
            | ServiceState::ReloadNotify
            | ServiceState::Stop
            | ServiceState::StopSigterm
    );
    let Some(pid) = text.trim().parse().ok().map(Pid).filter(|pid| pid.0 > 1) else {
        core.log(Priority::Warning, id, &format!("MAINPID={text} is no process"));
        return;
    };
    if !in_time || core.unit(id).runtime.kind.service().main == Some(pid) {
        return;
    }
    if core.unit(id).runtime.kind.service().control == Some(pid) {
        core.log(Priority::Warning, id, &format!("MAINPID={pid} is one of its commands, not its main process"));
        return;
    }
    if !core.sys.is_alive(pid) {
        core.log(Priority::Warning, id, &format!("MAINPID={pid}: there is no such process"));
        return;
    }
    if !core.sys.group_of(pid).is_some_and(|group| core.owns_group(id, &group)) {
        core.log(Priority::Warning, id, &format!("MAINPID={pid} is no process of this service; it is not heeded"));
        return;
    }
    processes::claim_main(core, id, pid);
}

/// `EXTEND_TIMEOUT_USEC=`
fn extend(core: &mut Core, id: UnitId, message: &Notification) {
    let Some(more) = message.number("EXTEND_TIMEOUT_USEC") else { return };
    let until = core.now().monotonic.saturating_add(more);
    core.service_mut(id).extended_until = Some(until);
    // It only ever moves an end that there is, and never to an earlier time.
    if core.deadline_of(id, Deadline::State).is_some_and(|at| at < until) {
        core.arm(id, Deadline::State, Clock::Monotonic, until);
    }
    if core.deadline_of(id, Deadline::Watchdog).is_some_and(|at| at < until) {
        core.arm(id, Deadline::Watchdog, Clock::Monotonic, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_other_lines_are_passed_over() {
        let message = Notification::parse(Some(Pid(7)), b"READY=1\nnonsense\nSTATUS=a=b\nSTATUS=c\n", vec![]);
        assert!(message.has("READY", "1"));
        assert_eq!((message.get("STATUS"), message.fields.len()), (Some("c"), 3));
        assert!(Notification::parse(None, b"\xff\xfe=\x00", vec![]).get("READY").is_none());
    }
}
