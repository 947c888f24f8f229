// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Service]` section: systemd.service(5).

use std::collections::BTreeSet;
use std::time::Duration;

use super::cgroup::CgroupConfig;
use super::exec::{ExecConfig, KeyringMode, OutputTarget};
use super::kill::KillConfig;
use super::manager::ManagerDefaults;
use super::words::words;
use crate::exec_line::ExecCommand;
use crate::name::UnitName;

words! {
    /// When a service counts as started (`Type=`).
    pub enum ServiceType {
        /// When the main process was made.
        Simple = "simple",
        /// When the main process runs the service's program.
        Exec = "exec",
        /// When the program first run has ended and left a daemon behind.
        Forking = "forking",
        /// When the program has ended.
        Oneshot = "oneshot",
        /// When it has its name on the bus.
        Dbus = "dbus",
        /// When it says so (sd_notify(3)).
        Notify = "notify",
        /// As notify, and reloads by a signal that it answers likewise.
        NotifyReload = "notify-reload",
        /// As simple, started when no other job is left or after five seconds.
        Idle = "idle",
    }
}

words! {
    /// When a service counts as ended (`ExitType=`).
    pub enum ExitType {
        /// When its main process ended.
        Main = "main",
        /// When no process is left in its control group.
        Cgroup = "cgroup",
    }
}

words! {
    /// After which ends a service is started again (`Restart=`).
    pub enum Restart {
        /// None.
        No = "no",
        /// Clean ones.
        OnSuccess = "on-success",
        /// All but clean ones.
        OnFailure = "on-failure",
        /// Signals, time-outs and missed watchdogs.
        OnAbnormal = "on-abnormal",
        /// A missed watchdog.
        OnWatchdog = "on-watchdog",
        /// Signals that are no clean end.
        OnAbort = "on-abort",
        /// All.
        Always = "always",
    }
}

words! {
    /// What a restart looks like to the units that depend on the service (`RestartMode=`, systemd 254).
    pub enum RestartMode {
        /// It goes through failed or inactive.
        Normal = "normal",
        /// It stays activating; dependents see nothing of it.
        Direct = "direct",
    }
}

words! {
    /// Whose messages the notification socket takes (`NotifyAccess=`).
    pub enum NotifyAccess {
        /// Nobody's.
        None = "none",
        /// All processes of the service.
        All = "all",
        /// The processes the manager started: main and control.
        Exec = "exec",
        /// The main process.
        Main = "main",
    }
}

words! {
    /// What happens when the kernel killed a process for want of memory (`OOMPolicy=`).
    pub enum OomPolicy {
        /// Go on.
        Continue = "continue",
        /// Stop the unit.
        Stop = "stop",
        /// The kernel kills all of the unit.
        Kill = "kill",
    }
}

words! {
    /// How a service that took too long is ended (`TimeoutStartFailureMode=`, `TimeoutStopFailureMode=`).
    pub enum TimeoutFailureMode {
        /// With the kill signal.
        Terminate = "terminate",
        /// With the watchdog's signal.
        Abort = "abort",
        /// With the final signal.
        Kill = "kill",
    }
}

words! {
    /// What becomes of kept descriptors when the service stops (`FileDescriptorStorePreserve=`, systemd 254).
    pub enum FdStorePreserve {
        /// Closed.
        No = "no" | "false" | "off" | "0" | "n" | "f",
        /// Kept as long as the unit is loaded.
        Yes = "yes" | "true" | "on" | "1" | "y" | "t",
        /// Kept over a restart.
        Restart = "restart",
    }
}

/// A set of ways a process may end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitStatuses {
    /// Exit statuses.
    pub codes: BTreeSet<u8>,
    /// Numbers of signals.
    pub signals: BTreeSet<i32>,
}

impl ExitStatuses {
    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.signals.is_empty()
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// When it counts as started. Not told: dbus with a bus name, oneshot without a start command, else simple.
    pub service_type: ServiceType,
    /// When it counts as ended.
    pub exit_type: ExitType,
    /// After which ends it is started again.
    pub restart: Restart,
    /// What a restart looks like to dependents.
    pub restart_mode: RestartMode,
    /// Pause before a restart; `None`: for ever.
    pub restart_pause: Option<Duration>,
    /// Over this many restarts the pause grows to `restart_max_delay`; 0: it does not.
    pub restart_steps: u32,
    /// Longest pause; `None`: `restart_pause`.
    pub restart_max_delay: Option<Duration>,
    /// File with the number of the main process.
    pub pid_file: Option<String>,
    /// Name on the system bus.
    pub bus_name: Option<String>,
    /// Must all end well, or the start is skipped (1 to 254) or fails (255 and signals).
    pub exec_condition: Vec<ExecCommand>,
    /// Run before the start.
    pub exec_start_pre: Vec<ExecCommand>,
    /// The service itself; several only for oneshot.
    pub exec_start: Vec<ExecCommand>,
    /// Run after the start.
    pub exec_start_post: Vec<ExecCommand>,
    /// Run for a reload.
    pub exec_reload: Vec<ExecCommand>,
    /// Run for a stop of a service that was started well.
    pub exec_stop: Vec<ExecCommand>,
    /// Run when it is down, however it went down.
    pub exec_stop_post: Vec<ExecCommand>,
    /// The start takes no longer; `None`: no limit, as for a oneshot service that was told nothing.
    pub timeout_start: Option<Duration>,
    /// The stop takes no longer; `None`: no limit.
    pub timeout_stop: Option<Duration>,
    /// The end after a missed watchdog takes no longer; the outer `None`: as `timeout_stop`.
    pub timeout_abort: Option<Option<Duration>>,
    /// How it is ended when the start takes too long.
    pub timeout_start_failure_mode: TimeoutFailureMode,
    /// How it is ended when the stop takes too long.
    pub timeout_stop_failure_mode: TimeoutFailureMode,
    /// Longest life; `None`: no limit.
    pub runtime_max: Option<Duration>,
    /// Up to this much is added to `runtime_max` by chance.
    pub runtime_randomized_extra: Duration,
    /// It has to say that it lives at least this often; zero: it need not.
    pub watchdog: Option<Duration>,
    /// Which ends are clean, besides status 0 and SIGHUP, SIGINT, SIGTERM, SIGPIPE.
    pub success_exit_status: ExitStatuses,
    /// Ends after which it is never started again.
    pub restart_prevent_exit_status: ExitStatuses,
    /// Ends after which it always is.
    pub restart_force_exit_status: ExitStatuses,
    /// Stays active when no process is left.
    pub remain_after_exit: bool,
    /// Guess the main process where nothing tells it.
    pub guess_main_pid: bool,
    /// `User=` and so on hold for `exec_start` only.
    pub permissions_start_only: bool,
    /// `RootDirectory=` holds for `exec_start` only.
    pub root_directory_start_only: bool,
    /// Set O_NONBLOCK on descriptors that are passed.
    pub non_blocking: bool,
    /// Whose notifications count: at least main where the type, a watchdog or kept descriptors need them.
    pub notify_access: NotifyAccess,
    /// Sockets to take descriptors from, besides that of the same name.
    pub sockets: Vec<UnitName>,
    /// How many descriptors the manager keeps for it.
    pub file_descriptor_store_max: u32,
    /// What becomes of them when it stops.
    pub file_descriptor_store_preserve: FdStorePreserve,
    /// Number of the signal that asks a notify-reload service to reload; SIGHUP (1) unless told.
    pub reload_signal: i32,
    /// File with USB FunctionFS descriptors.
    pub usb_function_descriptors: Option<String>,
    /// File with USB FunctionFS strings.
    pub usb_function_strings: Option<String>,
    /// What happens when the kernel ran out of memory. Not told: continue with delegation, else the manager's default.
    pub oom_policy: OomPolicy,
    /// How its processes are run.
    pub exec: ExecConfig,
    /// How they are ended.
    pub kill: KillConfig,
    /// Its control group.
    pub cgroup: CgroupConfig,
    /// What its files told of the fields whose default depends on other fields.
    pub(crate) told: Told,
}

/// What the files of a service told of the fields whose default depends on other fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) service_type: Option<ServiceType>,
    pub(crate) timeout_start: bool,
    pub(crate) oom_policy: Option<OomPolicy>,
}

impl ServiceConfig {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> ServiceConfig {
        ServiceConfig {
            service_type: ServiceType::Simple,
            exit_type: ExitType::Main,
            restart: Restart::No,
            restart_mode: RestartMode::Normal,
            restart_pause: defaults.restart,
            restart_steps: 0,
            restart_max_delay: None,
            pid_file: None,
            bus_name: None,
            exec_condition: Vec::new(),
            exec_start_pre: Vec::new(),
            exec_start: Vec::new(),
            exec_start_post: Vec::new(),
            exec_reload: Vec::new(),
            exec_stop: Vec::new(),
            exec_stop_post: Vec::new(),
            timeout_start: defaults.timeout_start,
            timeout_stop: defaults.timeout_stop,
            timeout_abort: defaults.timeout_abort,
            timeout_start_failure_mode: TimeoutFailureMode::Terminate,
            timeout_stop_failure_mode: TimeoutFailureMode::Terminate,
            runtime_max: None,
            runtime_randomized_extra: Duration::ZERO,
            watchdog: Some(Duration::ZERO),
            success_exit_status: ExitStatuses::default(),
            restart_prevent_exit_status: ExitStatuses::default(),
            restart_force_exit_status: ExitStatuses::default(),
            remain_after_exit: false,
            guess_main_pid: true,
            permissions_start_only: false,
            root_directory_start_only: false,
            non_blocking: false,
            notify_access: NotifyAccess::None,
            sockets: Vec::new(),
            file_descriptor_store_max: 0,
            file_descriptor_store_preserve: FdStorePreserve::Restart,
            reload_signal: 1,
            usb_function_descriptors: None,
            usb_function_strings: None,
            oom_policy: defaults.oom_policy,
            exec: ExecConfig {
                keyring_mode: KeyringMode::Private,
                // Decided when all is read: they may follow the input.
                standard_output: OutputTarget::Inherit,
                standard_error: OutputTarget::Inherit,
                ..ExecConfig::new(defaults)
            },
            kill: KillConfig::default(),
            cgroup: CgroupConfig::new(defaults),
            told: Told::default(),
        }
    }

    /// Decides what was left open, once all of the unit's files are read (systemd's `service_add_extras`).
    pub(crate) fn finish(&mut self, defaults: &ManagerDefaults) {
        self.service_type = match (self.told.service_type, &self.bus_name) {
            (Some(told), _) => told,
            (None, Some(_)) => ServiceType::Dbus,
            (None, None) if self.exec_start.is_empty() => ServiceType::Oneshot,
            (None, None) => ServiceType::Simple,
        };
        if self.service_type == ServiceType::Oneshot && !self.told.timeout_start {
            self.timeout_start = None;
        }
        let needs_notify = matches!(self.service_type, ServiceType::Notify | ServiceType::NotifyReload)
            || self.watchdog != Some(Duration::ZERO)
            || self.file_descriptor_store_max > 0;
        if self.notify_access == NotifyAccess::None && needs_notify {
            self.notify_access = NotifyAccess::Main;
        }
        let default_policy = if self.cgroup.delegate.is_some() { OomPolicy::Continue } else { defaults.oom_policy };
        self.oom_policy = self.told.oom_policy.unwrap_or(default_policy);
        self.exec.settle_standard_streams(defaults);
    }
}
