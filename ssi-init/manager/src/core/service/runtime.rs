// SPDX-License-Identifier: GPL-2.0-or-later
//! What is going on with a service: all that must outlive the manager.

use serde::{Deserialize, Serialize};
use ssi_unit::config::ServiceConfig;
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::name::UnitName;

use crate::core::state::ServiceState;
use crate::core::system::{Exit, FdKey, Moment, Peer, Pid};

/// Why a service is no longer up, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceResult {
    /// All went as it should.
    #[default]
    Success,
    /// A process could not be made, or something it needs.
    Resources,
    /// It did not do what its type promises.
    Protocol,
    /// A step took too long.
    Timeout,
    /// A process ended with a status that is no success.
    ExitCode,
    /// A signal ended a process.
    Signal,
    /// A signal ended a process, which left its memory in a file.
    CoreDump,
    /// It did not say in time that it lives.
    Watchdog,
    /// It was started too often.
    StartLimitHit,
    /// The kernel killed a process for want of memory.
    OomKill,
    /// `ExecCondition=` said no.
    ExecCondition,
}

impl ServiceResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Watchdog => "watchdog",
            Self::StartLimitHit => "start-limit-hit",
            Self::OomKill => "oom-kill",
            Self::ExecCondition => "exec-condition",
        }
    }
}

/// Which of a service's command lists is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum List {
    /// `ExecCondition=`
    Condition,
    /// `ExecStartPre=`
    StartPre,
    /// `ExecStart=`
    Start,
    /// `ExecStartPost=`
    StartPost,
    /// `ExecReload=`
    Reload,
    /// `ExecStop=`
    Stop,
    /// `ExecStopPost=`
    StopPost,
}

impl List {
    /// Its commands.
    pub fn of(self, config: &ServiceConfig) -> &[ExecCommand] {
        match self {
            Self::Condition => &config.exec_condition,
            Self::StartPre => &config.exec_start_pre,
            Self::Start => &config.exec_start,
            Self::StartPost => &config.exec_start_post,
            Self::Reload => &config.exec_reload,
            Self::Stop => &config.exec_stop,
            Self::StopPost => &config.exec_stop_post,
        }
    }
}

/// How a command was run, for the properties `ExecStart` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// When its process was made.
    pub start: Moment,
    /// When it ended.
    pub end: Moment,
    /// The process.
    pub pid: Option<Pid>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// A command that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The list.
    pub list: List,
    /// Its place there.
    pub index: usize,
}

/// What the service last said of itself (`sd_notify(3)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// Nothing.
    #[default]
    Nothing,
    /// `READY=1`
    Ready,
    /// `RELOADING=1`
    Reloading,
    /// `STOPPING=1`
    Stopping,
}

/// What is going on with a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceRuntime {
    /// Where in the drawing it is.
    pub state: ServiceState,
    /// What went wrong first since the last start.
    pub result: ServiceResult,
    /// What went wrong in the last reload.
    pub reload_result: ServiceResult,
    /// The main process, while it runs and is known.
    pub main: Option<Pid>,
    /// Whether there is a main process that is known to be it: then its end is the service's.
    pub main_known: bool,
    /// Whether the main process is no child of PID 1, so that nobody tells of its end.
    pub main_alien: bool,
    /// The last main process, and how it ended.
    pub main_ran: Ran,
    /// The process of the other command that runs.
    pub control: Option<Pid>,
    /// Which command the main process is.
    pub main_command: Option<Running>,
    /// Which command the control process is.
    pub control_command: Option<Running>,
    /// How each command was last run.
    pub ran: Vec<(Running, Ran)>,
    /// It was told to stop, and is not to be started again by itself.
    pub forbid_restart: bool,
    /// It ended, and is about to be started again by itself.
    pub will_restart: bool,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// The next start by hand sets `restarts` back.
    pub flush_restarts: bool,
    /// What it last said of itself.
    pub said: Said,
    /// `STATUS=`
    pub status_text: Option<String>,
    /// `ERRNO=`
    pub status_errno: i32,
    /// Whether its bus name has an owner.
    pub bus_name_owned: bool,
    /// `WATCHDOG_USEC=`, where it asked for another interval.
    pub watchdog_override: Option<u64>,
    /// When it last said that it lives.
    pub watchdog_at: Moment,
    /// When a signal for a reload was sent, in monotonic microseconds.
    pub reload_begun: u64,
    /// `EXTEND_TIMEOUT_USEC=`: until then, in monotonic microseconds.
    pub extended_until: Option<u64>,
    /// Descriptors it had kept, with the names it gave them.
    pub stored: Vec<(FdKey, String)>,
    /// The connection that it was started for (`Accept=yes`).
    pub connection: Option<FdKey>,
    /// Who is at its other end.
    pub peer: Option<Peer>,
    /// The socket unit that took it.
    pub accepted_by: Option<UnitName>,
    /// Whether the OOM killer took one of its processes.
    pub oom_killed: bool,
}
