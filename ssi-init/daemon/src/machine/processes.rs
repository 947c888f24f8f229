// SPDX-License-Identifier: GPL-2.0-or-later
//! Processes: how they are made so that none is lost when this manager dies in the midst of it, and what they tell until
//! their program runs.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use ssi_launch::cgroup::signal_process;
use ssi_launch::{LaunchError, Outcome, Report, Request};
use ssi_manager::core::exec::Start;
use ssi_manager::core::system::{FdKey, Pid, Priority, Result, SystemError};
use ssi_unit::name::UnitName;

use super::{Inner, Starting};
use crate::kept::Kept;
use crate::memory::Intent;
use crate::poller::Source;

const SIGCONT: i32 = 18;

/// Whether there is a process that can still do something.
pub(super) fn is_alive(pid: Pid) -> bool {
    // The state follows the name, which is in brackets and may hold any character.
    let Ok(text) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let state = text.iter().rposition(|byte| *byte == b')').and_then(|end| text.get(end + 2));
    state.is_some_and(|state| !matches!(state, b'Z' | b'X'))
}

impl Inner {
    /// Makes a process. That it is about to be made is written down before: see [`crate::memory::Memory::intend`].
    pub(super) fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid> {
        let what = || format!("starting {}", start.command.program);
        let intent = Intent { unit: unit.clone(), cgroup: start.cgroup.clone(), subgroup: start.subgroup.clone() };
        if let Err(error) = self.memory.intend(&intent) {
            let said = format!("{error:#}");
            self.broken.get_or_insert(error);
            return Err(SystemError { what: what(), said, errno: 0 });
        }
        if start.idle && self.idle.is_none() {
            let ends = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| super::failed(what(), errno))?;
            self.idle = Some(ends);
        }
        // Parts of this borrowed one by one: the launcher is changed while the rest is looked at.
        let kept = &self.kept;
        let sockets = named(kept, &start.fds.sockets, &what)?;
        let stored = named(kept, &start.fds.stored, &what)?;
        let connection = match &start.fds.connection {
            Some(key) => Some(kept.get(key).ok_or_else(|| gone(what(), key))?),
            None => None,
        };
        let request = Request {
            unit,
            config: &start.config,
            command: &start.command,
            identity: start.apply.identity,
            root: start.apply.root,
            terminal: start.apply.terminal,
            sockets,
            stored,
            connection,
            non_blocking: start.fds.non_blocking,
            environment: start.environment.clone(),
            cgroup: &start.cgroup,
            subgroup: start.subgroup.as_deref(),
            notify_socket: start.notify.then_some(self.notify_path.as_str()),
            watchdog: start.watchdog,
            idle: self.idle.as_ref().filter(|_| start.idle).map(|(read, _)| read.as_fd()),
            wait_for_exec: start.wait_for_exec,
            invocation: start.invocation,
            manager_environment: &self.environment,
            namespaces_of: None,
        };
        let launched = self.launcher.launch(&request).map_err(|error| SystemError {
            what: what(),
            errno: errno_of(&error),
            said: error.to_string(),
        })?;
        if let Some(reports) = launched.report {
            if let Err(errno) = self.poller.set(Source::Report(launched.pid), reports.as_fd(), false) {
                self.log(Priority::Warning, Some(unit), &format!("cannot hear how its start goes: {errno}"));
            }
            let (tell, warnings) = (start.wait_for_exec, launched.warnings);
            self.starting.insert(launched.pid, Starting { unit: unit.clone(), reports, tell, warnings });
            self.gated.push(launched.pid);
        }
        self.keep_shares();
        Ok(Pid(launched.pid))
    }

    /// Namespaces that a unit's processes share outlive this manager too.
    fn keep_shares(&mut self) {
        let new: Vec<_> = self
            .launcher
            .kept()
            .filter(|(name, _)| !self.kept.keys().any(|key| key.0 == **name))
            .filter_map(|(name, fd)| Some((FdKey(name.to_owned()), fd.try_clone_to_owned().ok()?)))
            .collect();
        for (key, fd) in new {
            self.keep(key, fd);
        }
    }

    /// What was started in this turn may begin: it is on record.
    pub(crate) fn release(&mut self) {
        for pid in std::mem::take(&mut self.gated) {
            if let Some(starting) = self.starting.get(&pid) {
                starting.reports.release();
            }
        }
    }

    /// The same for what an earlier manager had on record and did not live to tell. Again and again, until each is its
    /// program: one that has not come to where it waits does not hear it.
    pub(crate) fn release_orphaned(&mut self) {
        self.orphaned.retain(|pid| is_executor(pid.0));
        for pid in &self.orphaned {
            // Gone since then is as good.
            let _ = signal_process(pid.0, SIGCONT);
        }
    }

    /// Those of the starting processes of an earlier manager whose program runs now, or that are gone.
    pub(crate) fn executed_unheard(&mut self) -> Vec<Pid> {
        let (still, over) = std::mem::take(&mut self.unheard).into_iter().partition(|pid| is_executor(pid.0));
        self.unheard = still;
        over
    }

    /// Takes in what a starting process tells; `true`: its program runs now, and the core waits to hear that.
    pub(crate) fn reported(&mut self, pid: u32) -> bool {
        let Some(starting) = self.starting.get_mut(&pid) else { return false };
        let progress = starting.reports.read();
        let (unit, tell) = (starting.unit.clone(), starting.tell);
        let mut said = Vec::new();
        for report in progress.reports {
            match report {
                Report::Warning(text) => starting.warnings.push(text),
                Report::Failed(failure) => said.push((Priority::Error, format!("process {pid}: {failure}"))),
                Report::Skipped(text) => said.push((Priority::Info, text)),
                Report::Identity { .. } | Report::Executing => {}
            }
        }
        for (priority, text) in said {
            self.log(priority, Some(&unit), &text);
        }
        let Some(outcome) = progress.outcome else { return false };
        if let Some(starting) = self.starting.remove(&pid) {
            self.poller.remove(Source::Report(pid), starting.reports.as_fd());
            if !starting.warnings.is_empty() {
                let text = format!("process {pid} is started in spite of this: {}", starting.warnings.join("; "));
                self.log(Priority::Warning, Some(&unit), &text);
            }
        }
        tell && matches!(outcome, Outcome::Running)
    }
}

/// Whether a process is the executor still, and not yet its program.
pub(crate) fn is_executor(pid: u32) -> bool {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ssi-exec"))
}

/// Descriptors of keys, with names for the program.
fn named<'k>(
    kept: &'k Kept,
    keys: &[(FdKey, String)],
    what: &dyn Fn() -> String,
) -> Result<Vec<(BorrowedFd<'k>, String)>> {
    let find = |(key, name): &(FdKey, String)| Ok((kept.get(key).ok_or_else(|| gone(what(), key))?, name.clone()));
    keys.iter().map(find).collect()
}

fn gone(what: String, key: &FdKey) -> SystemError {
    SystemError {
        what,
        said: format!("its descriptor {} is not open any more", key.0),
        errno: Errno::BADF.raw_os_error(),
    }
}

fn errno_of(error: &LaunchError) -> i32 {
    match error {
        LaunchError::Cgroup { errno, .. } | LaunchError::Share { errno, .. } => errno.raw_os_error(),
        LaunchError::DynamicUser { source, .. } => source.raw_os_error().unwrap_or(0),
        _ => 0,
    }
}
