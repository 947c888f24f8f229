// SPDX-License-Identifier: GPL-2.0-or-later
//! What people and programs ask for by name, and how it is refused: the verbs of systemctl(1), whichever way they come.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use ssi_unit::load::LoadState;
use ssi_unit::name::UnitName;

use super::Core;
use super::entry::Entry;
use super::system::{Except, Pid};
use crate::graph::UnitId;
use crate::job::{JobId, JobMode, Request, TransactionError, UnitStates as _, Wish};

/// Why something was not done: a name for programs (org.freedesktop.systemd1(5)) and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The error's name on the bus.
    pub name: &'static str,
    /// What to tell people.
    pub message: String,
}

impl CommandError {
    /// One of that name.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

impl From<TransactionError> for CommandError {
    fn from(error: TransactionError) -> Self {
        Self { name: error.bus_name(), message: error.to_string() }
    }
}

/// Error names.
pub mod errors {
    /// No unit of that name is loaded, or can be.
    pub const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
    /// There is no such job.
    pub const NO_SUCH_JOB: &str = "org.freedesktop.systemd1.NoSuchJob";
    /// The unit has no such process.
    pub const NO_SUCH_PROCESS: &str = "org.freedesktop.systemd1.NoSuchProcess";
    /// An argument is none.
    pub const INVALID_ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
    /// It failed.
    pub const FAILED: &str = "org.freedesktop.DBus.Error.Failed";
    /// It is not done by this unit, or by this manager.
    pub const NOT_SUPPORTED: &str = "org.freedesktop.DBus.Error.NotSupported";
}

/// Which of a unit's processes get a signal (`systemctl kill --kill-whom=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The main process.
    Main,
    /// The command that runs beside it.
    Control,
    /// All in its control group.
    All,
}

impl Core {
    /// The unit of that name, read if it was not.
    ///
    /// # Errors
    /// When it is no name of a unit.
    pub fn unit_named(&mut self, name: &str) -> Result<UnitId, CommandError> {
        let name = UnitName::new(name).map_err(|error| {
            CommandError::new(errors::INVALID_ARGUMENTS, format!("'{name}' is no unit's name: {error}"))
        })?;
        if name.is_template() {
            let text = format!(
                "{name} is a template; name an instance of it, such as {}",
                name.as_str().replacen('@', "@x", 1)
            );
            return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
        }
        Ok(self.load(&name))
    }

    /// A unit that is there already.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn unit_there(&self, name: &str) -> Result<UnitId, CommandError> {
        let found = UnitName::new(name).ok().and_then(|name| self.table.find(&name));
        found.ok_or_else(|| CommandError::new(errors::NO_SUCH_UNIT, format!("Unit {name} not loaded.")))
    }

    /// Has something done with a unit because somebody asked for it by name.
    ///
    /// # Errors
    /// Why it cannot be done; nothing changed then.
    pub fn request(&mut self, name: &str, request: Request, mode: JobMode) -> Result<JobId, CommandError> {
        let unit = self.unit_named(name)?;
        let up = matches!(request, Request::Start | Request::Restart | Request::TryRestart);
        if !up && self.unit(unit).load == Some(LoadState::NotFound) && self.unit(unit).active().is_inactive_or_failed()
        {
            return Err(CommandError::new(errors::NO_SUCH_UNIT, format!("Unit {name} not loaded.")));
        }
        let id = self.wish(Wish { unit, request, mode, manual: true })?;
        self.settle();
        Ok(id)
    }

    /// As [`Core::request`], as a reload where the unit can do that.
    ///
    /// # Errors
    /// As there.
    pub fn request_reload_or(&mut self, name: &str, request: Request, mode: JobMode) -> Result<JobId, CommandError> {
        let unit = self.unit_named(name)?;
        let request = if self.table.can_reload(unit) { request.prefer_reload() } else { request };
        self.request(name, request, mode)
    }

    /// Takes a job back.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn cancel_job(&mut self, job: JobId) -> Result<(), CommandError> {
        self.enter(&Entry::CancelJob(job));
        let there = self.queue.cancel(&self.graph, &self.table, job);
        if there {
            self.take_queue_events();
            self.settle();
        }
        self.leave();
        if !there {
            return Err(CommandError::new(errors::NO_SUCH_JOB, format!("Job {job} does not exist.")));
        }
        Ok(())
    }

    /// Takes all jobs back.
    pub fn cancel_all_jobs(&mut self) {
        self.enter(&Entry::CancelAllJobs);
        self.queue.cancel_all(&self.graph, &self.table);
        self.take_queue_events();
        self.settle();
        self.leave();
    }

    /// Sends a signal to a unit's processes.
    ///
    /// # Errors
    /// When the unit has no such process, or what the kernel refused.
    pub fn kill(&mut self, name: &str, whom: Whom, signal: i32) -> Result<(), CommandError> {
        self.enter(&Entry::Kill { unit: Cow::Borrowed(name), whom, signal });
        let result = self.send(name, whom, signal);
        self.leave();
        result
    }

    fn send(&mut self, name: &str, whom: Whom, signal: i32) -> Result<(), CommandError> {
        let id = self.unit_there(name)?;
        if !(1..=64).contains(&signal) {
            return Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("{signal} is no signal")));
        }
        let (main, control) = self.processes_of(id);
        let none = |what: &str| CommandError::new(errors::NO_SUCH_PROCESS, format!("{name} has no {what} process"));
        let failed = |error: super::system::SystemError| CommandError::new(errors::FAILED, error.to_string());
        let one = match whom {
            Whom::Main => Some(main.ok_or_else(|| none("main"))?),
            Whom::Control => Some(control.ok_or_else(|| none("control"))?),
            Whom::All => None,
        };
        if let Some(pid) = one {
            self.sys.kill(pid, signal).map_err(failed)?;
            return Ok(());
        }
        let mut told = Except::default();
        for pid in main.into_iter().chain(control) {
            if self.sys.kill(pid, signal).map_err(failed)? {
                told.pids.push(pid);
            }
        }
        if let Some(group) = self.unit(id).runtime.cgroup.clone() {
            self.sys.kill_group(&group, signal, &told).map_err(failed)?;
        }
        Ok(())
    }

    /// A unit's main process and the command that runs beside it.
    pub fn processes_of(&self, id: UnitId) -> (Option<Pid>, Option<Pid>) {
        super::kinds::processes(self.unit(id))
    }

    /// Forgets the failures of all units.
    pub fn reset_all_failed(&mut self) {
        let ids: Vec<UnitId> = self.table.iter().map(|unit| unit.id).collect();
        for id in ids {
            self.reset_failed(id);
        }
        self.settle();
    }

    /// Whether the machine is on its way down.
    pub fn is_going_down(&self) -> bool {
        let shutdown = UnitName::new("shutdown.target").ok().and_then(|name| self.table.find(&name));
        shutdown.is_some_and(|id| {
            self.queue.job_of(id).is_some_and(|job| job.kind == crate::job::JobType::Start)
                || self.unit(id).active().is_active_or_activating()
        })
    }

    /// What `systemctl is-system-running` says, by the jobs and the units there are.
    pub fn system_state(&self) -> &'static str {
        use super::state::ActiveState;
        let is = |name: &str, test: &dyn Fn(UnitId) -> bool| {
            UnitName::new(name).ok().and_then(|name| self.table.find(&name)).is_some_and(test)
        };
        let up = |id: UnitId| self.unit(id).active().is_active_or_activating();
        if self.is_going_down() {
            "stopping"
        } else if is("rescue.target", &up) || is("emergency.target", &up) {
            "maintenance"
        } else if !self.finished_starting {
            "starting"
        } else if self.table.iter().any(|unit| unit.active() == ActiveState::Failed) {
            "degraded"
        } else {
            "running"
        }
    }
}
