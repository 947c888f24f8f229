// SPDX-License-Identifier: GPL-2.0-or-later
//! What clients ask of the manager that its units have no part in: the machine, its files, the manager itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::Moment;
use ssi_manager::graph::UnitId;
use ssi_unit::config::ManagerDefaults;
use ssi_unit::install::Folders;

/// How the machine is to end, at once: units are not stopped for it (`systemctl --force poweroff`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The manager ends, with the status of [`Host::set_exit_code`]; in a container that ends it.
    Exit,
    /// The machine starts again.
    Reboot,
    /// The machine is off.
    PowerOff,
    /// The machine stands still.
    Halt,
    /// A loaded kernel takes over.
    Kexec,
}

impl End {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            End::Exit => "exit",
            End::Reboot => "reboot",
            End::PowerOff => "poweroff",
            End::Halt => "halt",
            End::Kexec => "kexec",
        }
    }
}

/// A setting of the manager that may be changed while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// What is logged, and more important lines: `emerg` … `debug`.
    LogLevel(String),
    /// Where lines are logged to: `console`, `journal`, `kmsg`, …
    LogTarget(String),
    /// Whether the console shows how units come up: `yes`, `no`, `auto`, `temporary`, `error`; nothing: as it was.
    ShowStatus(String),
    /// `RuntimeWatchdogUSec`.
    RuntimeWatchdog(u64),
    /// `RuntimeWatchdogPreUSec`.
    RuntimeWatchdogPre(u64),
    /// `RuntimeWatchdogPreGovernor`.
    RuntimeWatchdogPreGovernor(String),
    /// `RebootWatchdogUSec`.
    RebootWatchdog(u64),
    /// `KExecWatchdogUSec`.
    KexecWatchdog(u64),
    /// Whether services that miss their watchdogs are ended.
    ServiceWatchdogs(bool),
}

/// What those who look for a mistake ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// All units and jobs, as JSON.
    State,
    /// Record all that enters the manager.
    Record {
        /// In this file, which is not there yet.
        file: String,
        /// At most this many bytes.
        limit: u64,
    },
    /// How the recording stands, as JSON.
    Recording,
    /// End it; how it ended, as JSON.
    StopRecording,
}

/// Moments of the boot; one that never was is [`Moment::default`]. See `systemd-analyze(1)`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct BootTimes {
    pub firmware: Moment,
    pub loader: Moment,
    pub kernel: Moment,
    pub initrd: Moment,
    pub userspace: Moment,
    pub finish: Moment,
    pub security_start: Moment,
    pub security_finish: Moment,
    pub generators_start: Moment,
    pub generators_finish: Moment,
    pub units_load_start: Moment,
    pub units_load_finish: Moment,
    /// Units were read last, at the boot or at a reload.
    pub units_load: Moment,
}

/// What the manager is and how it is set. Times are microseconds.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose interface this is: programs read a systemd's version from the digits at its begin.
    pub version: String,
    /// What it was built with: `+SECCOMP -SELINUX default-hierarchy=unified`.
    pub features: String,
    /// systemd-detect-virt(1); empty on a machine that is one.
    pub virtualization: String,
    /// `x86-64`, `arm64`, …
    pub architecture: String,
    /// What about the system is odd, between colons: `cgroupsv1`, `unmerged-usr`, …
    pub tainted: String,
    /// When.
    pub times: BootTimes,
    /// Of the manager's log: `info`.
    pub log_level: String,
    /// Of the manager's log: `journal-or-kmsg`.
    pub log_target: String,
    /// Whether the console is asked before each start.
    pub confirm_spawn: bool,
    /// Whether the console shows how units come up.
    pub show_status: bool,
    /// Where unit files are looked for.
    pub unit_path: Vec<String>,
    /// `/dev/watchdog0`, when one is used.
    pub watchdog_device: String,
    /// When it was last told that all is well.
    pub watchdog_last_ping: Moment,
    /// 0: not used.
    pub runtime_watchdog: u64,
    /// 0: not used.
    pub runtime_watchdog_pre: u64,
    /// What the kernel does at that time.
    pub runtime_watchdog_pre_governor: String,
    /// While the machine goes down.
    pub reboot_watchdog: u64,
    /// While another kernel takes over.
    pub kexec_watchdog: u64,
    /// Whether services that miss their watchdogs are ended.
    pub service_watchdogs: bool,
    /// The manager's own root in the tree of control groups; empty for the whole tree.
    pub control_group: String,
    /// What the manager ends with.
    pub exit_code: u8,
    /// What holds where unit files say nothing.
    pub defaults: ManagerDefaults,
    /// `DefaultTasksMax=` as a number; [`u64::MAX`]: no limit.
    pub tasks_max: u64,
    /// Nanoseconds.
    pub timer_slack: u64,
    /// What Ctrl-Alt-Del seven times in two seconds does.
    pub ctrl_alt_del_burst_action: String,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            version: String::new(),
            features: String::new(),
            virtualization: String::new(),
            architecture: String::new(),
            tainted: String::new(),
            times: BootTimes::default(),
            log_level: "info".to_owned(),
            log_target: "journal-or-kmsg".to_owned(),
            confirm_spawn: false,
            show_status: false,
            unit_path: Vec::new(),
            watchdog_device: String::new(),
            watchdog_last_ping: Moment::default(),
            runtime_watchdog: 0,
            runtime_watchdog_pre: 0,
            runtime_watchdog_pre_governor: String::new(),
            reboot_watchdog: 600_000_000,
            kexec_watchdog: 0,
            service_watchdogs: true,
            control_group: String::new(),
            exit_code: 0,
            defaults: ManagerDefaults::default(),
            tasks_max: u64::MAX,
            timer_slack: 50_000,
            ctrl_alt_del_burst_action: "reboot-force".to_owned(),
        }
    }
}

/// The system whose unit files `systemctl enable` and its kin are about.
#[derive(Clone, Debug)]
pub struct UnitFiles {
    /// Its root.
    pub root: PathBuf,
    /// Its folders.
    pub folders: Folders,
    /// Its machine, for specifiers.
    pub machine: ssi_unit::specifier::Host,
}

fn unsupported(what: &str) -> CommandError {
    CommandError::new(errors::NOT_SUPPORTED, format!("{what} is not supported by this manager"))
}

/// All but the units. What has no sense on a machine says so by [`errors::NOT_SUPPORTED`].
pub trait Host {
    /// What the manager is.
    fn facts(&self) -> Facts;

    /// What every process finds in its environment.
    fn environment(&self) -> Vec<String>;

    /// Changes it: first takes the names (or, with their values, assignments) of `unset` out, then puts `set` in. Both are
    /// well formed.
    ///
    /// # Errors
    /// Why not.
    fn set_environment(&mut self, unset: &[String], set: &[String]) -> Result<(), CommandError>;

    /// Runs the generators and reads all files again.
    ///
    /// # Errors
    /// Why not.
    fn reload(&mut self, core: &mut Core) -> Result<(), CommandError>;

    /// Executes the manager anew, once this turn is over. Its client gets no answer: its connection ends.
    ///
    /// # Errors
    /// Why not.
    fn reexecute(&mut self, core: &mut Core) -> Result<(), CommandError>;

    /// Ends the machine, once this turn is over.
    ///
    /// # Errors
    /// Why not.
    fn end(&mut self, core: &mut Core, end: End) -> Result<(), CommandError>;

    /// Goes on with another root (`systemctl switch-root`); `init` is empty for the usual program.
    ///
    /// # Errors
    /// Why not.
    fn switch_root(&mut self, _core: &mut Core, _root: &str, _init: &str) -> Result<(), CommandError> {
        Err(unsupported("going on with another root"))
    }

    /// What the manager is to end with.
    ///
    /// # Errors
    /// Why not.
    fn set_exit_code(&mut self, status: u8) -> Result<(), CommandError>;

    /// Changes a setting.
    ///
    /// # Errors
    /// Why not.
    fn set(&mut self, setting: Setting) -> Result<(), CommandError>;

    /// Where the unit files are.
    fn unit_files(&self) -> UnitFiles;

    /// A process's command line, for people; `None`: it is gone.
    fn command_line(&self, pid: u32) -> Option<String>;

    /// Figures of a control group, by the names of their properties (`MemoryCurrent`, `TasksCurrent`, `CPUUsageNSec`,
    /// `IOReadBytes`, …); what is not accounted for is not there.
    fn figures(&self, _group: &str) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    /// Has the kernel stop all processes of a control group where they are, or go on.
    ///
    /// # Errors
    /// Why not.
    fn freeze(&mut self, _group: &str, _frozen: bool) -> Result<(), CommandError> {
        Err(unsupported("freezing a unit"))
    }

    /// Removes directories of a unit that is down: `state`, `cache`, `logs`, `configuration`, `runtime`, `fdstore`,
    /// `all`.
    ///
    /// # Errors
    /// Why not.
    fn clean(&mut self, _core: &mut Core, _unit: UnitId, _what: &[String]) -> Result<(), CommandError> {
        Err(unsupported("removing a unit's directories"))
    }

    /// Users that are there as long as their services run (`DynamicUser=`).
    fn dynamic_users(&self) -> Vec<(u32, String)> {
        Vec::new()
    }

    /// All about units and jobs, for those who look for a mistake; with `patterns` (fnmatch(3)) only about units whose
    /// names fit one of them.
    fn dump(&self, core: &Core, patterns: &[String]) -> String;

    /// What is asked beyond systemd's interface.
    ///
    /// # Errors
    /// Why not.
    fn inspect(&mut self, _core: &mut Core, _what: Inspection) -> Result<String, CommandError> {
        Err(unsupported("this inspection"))
    }
}
