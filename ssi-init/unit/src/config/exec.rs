// SPDX-License-Identifier: GPL-2.0-or-later
//! How the processes of a unit are run: systemd.exec(5), without what confines them, see [`Sandbox`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::cgroup::CpuSet;
use super::manager::ManagerDefaults;
use super::sandbox::Sandbox;
use super::words::words;

/// The directory a process starts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// Absolute path; `None`: the home of the user (`~`).
    pub path: Option<String>,
    /// Start in `/` when it is not there (`-`).
    pub missing_ok: bool,
}

/// Where standard input comes from (`StandardInput=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    /// Nothing: end of file at once.
    Null,
    /// The terminal; wait until nobody else has it.
    Tty,
    /// The terminal; take it away from whoever has it.
    TtyForce,
    /// The terminal; fail when somebody has it.
    TtyFail,
    /// The text of `StandardInputText=` and `StandardInputData=`.
    Data,
    /// A file.
    File(String),
    /// The socket that activated the service.
    Socket,
    /// A descriptor of a socket unit by its name.
    Fd(String),
}

impl InputSource {
    /// Whether the stream is a terminal.
    pub fn is_tty(&self) -> bool {
        matches!(self, InputSource::Tty | InputSource::TtyForce | InputSource::TtyFail)
    }
}

/// Where standard output or standard error goes (`StandardOutput=`, `StandardError=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputTarget {
    /// As standard input or, for standard error, as standard output.
    Inherit,
    /// Nowhere.
    Null,
    /// The terminal.
    Tty,
    /// The journal.
    Journal,
    /// The journal and the console.
    JournalAndConsole,
    /// The kernel's log.
    Kmsg,
    /// The kernel's log and the console.
    KmsgAndConsole,
    /// A file, written from its start.
    File(String),
    /// A file, written at its end.
    Append(String),
    /// A file, emptied first.
    Truncate(String),
    /// The socket that activated the service.
    Socket,
    /// A descriptor of a socket unit by its name.
    Fd(String),
}

impl OutputTarget {
    /// Whether the stream goes to the journal or the kernel's log.
    pub fn is_logged(&self) -> bool {
        matches!(
            self,
            OutputTarget::Journal | OutputTarget::JournalAndConsole | OutputTarget::Kmsg | OutputTarget::KmsgAndConsole
        )
    }
}

words! {
    /// Resources with a limit for each process, setrlimit(2): `LimitNOFILE=` and its kin.
    pub enum Resource {
        /// Seconds of processor time.
        Cpu = "CPU",
        /// Bytes of a file.
        Fsize = "FSIZE",
        /// Bytes of the data segment.
        Data = "DATA",
        /// Bytes of the stack.
        Stack = "STACK",
        /// Bytes of a core dump.
        Core = "CORE",
        /// Bytes in memory; without effect.
        Rss = "RSS",
        /// Open files.
        Nofile = "NOFILE",
        /// Bytes of address space.
        As = "AS",
        /// Processes of the user.
        Nproc = "NPROC",
        /// Bytes locked in memory.
        Memlock = "MEMLOCK",
        /// File locks; without effect.
        Locks = "LOCKS",
        /// Signals waiting.
        Sigpending = "SIGPENDING",
        /// Bytes in message queues.
        Msgqueue = "MSGQUEUE",
        /// Nice value: 20 less what may be reached.
        Nice = "NICE",
        /// Real-time priority.
        Rtprio = "RTPRIO",
        /// Microseconds of real-time processor time without a pause.
        Rttime = "RTTIME",
    }
}

/// A pair of limits; [`ResourceLimit::INFINITY`] is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The limit that holds.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

impl ResourceLimit {
    /// No limit (`RLIM_INFINITY`).
    pub const INFINITY: u64 = u64::MAX;
}

words! {
    /// Classes of disk scheduling (`IOSchedulingClass=`).
    pub enum IoClass {
        /// As the nice value has it.
        None = "none" | "0",
        /// Before all others.
        Realtime = "realtime" | "1",
        /// The normal one.
        BestEffort = "best-effort" | "2",
        /// After all others.
        Idle = "idle" | "3",
    }
}

words! {
    /// Policies of processor scheduling (`CPUSchedulingPolicy=`), sched(7).
    pub enum CpuPolicy {
        /// The normal one.
        Other = "other" | "0",
        /// For work in the background.
        Batch = "batch" | "3",
        /// Below all others.
        Idle = "idle" | "5",
        /// First in, first out.
        Fifo = "fifo" | "1",
        /// Round robin.
        RoundRobin = "rr" | "2",
    }
}

words! {
    /// Policies of memory placement (`NUMAPolicy=`), set_mempolicy(2).
    pub enum NumaPolicy {
        /// On the node that runs.
        Default = "default",
        /// Rather on these nodes.
        Preferred = "preferred",
        /// Only on these nodes.
        Bind = "bind",
        /// In turn on these nodes.
        Interleave = "interleave",
        /// On the node that runs, whatever else is set.
        Local = "local",
    }
}

words! {
    /// Which keyring a process has (`KeyringMode=`).
    pub enum KeyringMode {
        /// The manager's.
        Inherit = "inherit",
        /// A new one.
        Private = "private",
        /// A new one, linked to that of the user.
        Shared = "shared",
    }
}

words! {
    /// The kind of record in utmp(5) (`UtmpMode=`).
    pub enum UtmpMode {
        /// INIT_PROCESS.
        Init = "init",
        /// Also LOGIN_PROCESS.
        Login = "login",
        /// Also USER_PROCESS.
        User = "user",
    }
}

words! {
    /// Levels of log messages, syslog(3), most urgent first.
    pub enum LogLevel {
        /// The system is unusable.
        Emergency = "emerg",
        /// Act at once.
        Alert = "alert",
        /// Critical.
        Critical = "crit",
        /// An error.
        Error = "err",
        /// A warning.
        Warning = "warning",
        /// Normal, but of note.
        Notice = "notice",
        /// For information.
        Info = "info",
        /// For debugging.
        Debug = "debug",
    }
}

words! {
    /// Kinds of directories a service gets made.
    pub enum DirectoryKind {
        /// Below /run; removed at stop.
        Runtime = "RuntimeDirectory",
        /// Below /var/lib.
        State = "StateDirectory",
        /// Below /var/cache.
        Cache = "CacheDirectory",
        /// Below /var/log.
        Logs = "LogsDirectory",
        /// Below /etc.
        Configuration = "ConfigurationDirectory",
    }
}

/// One directory that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDirectory {
    /// Path below the root of its kind.
    pub path: String,
    /// Links to it, as paths below the same root.
    pub symlinks: Vec<String>,
}

/// The directories of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDirectories {
    /// The directories, sorted; parents come before what is in them.
    pub directories: Vec<ServiceDirectory>,
    /// Their mode.
    pub mode: u32,
}

impl Default for ServiceDirectories {
    fn default() -> ServiceDirectories {
        ServiceDirectories { directories: Vec::new(), mode: 0o755 }
    }
}

words! {
    /// What becomes of the runtime directories at stop (`RuntimeDirectoryPreserve=`).
    pub enum RuntimePreserve {
        /// Removed.
        No = "no" | "false" | "off" | "0" | "n" | "f",
        /// Kept.
        Yes = "yes" | "true" | "on" | "1" | "y" | "t",
        /// Kept over a restart.
        Restart = "restart",
    }
}

/// A file with environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Absolute path, or a pattern.
    pub path: String,
    /// It may be missing (`-`).
    pub optional: bool,
}

/// A secret handed to a service (`LoadCredential=`, `SetCredential=` and their encrypted kin).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Name of the file the service sees.
    pub id: String,
    /// Where the secret is.
    pub source: CredentialSource,
    /// It is encrypted, see systemd-creds(1).
    pub encrypted: bool,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// In this file or directory, behind this socket, or a credential of the manager of this name.
    Path(String),
    /// In the unit file.
    Literal(Vec<u8>),
    /// In the manager's credential stores: all that match the pattern in `id` (`ImportCredential=`, systemd 254).
    Import,
}

/// How the processes of a unit are run.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecConfig {
    /// Where they start; `None`: in `/`.
    pub working_directory: Option<WorkingDirectory>,
    /// User, by name or number; `None`: root.
    pub user: Option<String>,
    /// Group, by name or number; `None`: that of the user.
    pub group: Option<String>,
    /// More groups.
    pub supplementary_groups: Vec<String>,
    /// A user that exists only while the service runs.
    pub dynamic_user: bool,
    /// Remove what the user and group left in System V and POSIX IPC.
    pub remove_ipc: bool,
    /// PAM service a session is opened with.
    pub pam_name: Option<String>,
    /// Nice value; `None`: the manager's.
    pub nice: Option<i32>,
    /// OOM score adjustment; `None`: the manager's.
    pub oom_score_adjust: Option<i32>,
    /// Which mappings a core dump holds, core(5); `None`: the kernel's default.
    pub coredump_filter: Option<u64>,
    /// Disk scheduling; `None`: the manager's.
    pub io_scheduling: Option<IoScheduling>,
    /// Processor scheduling; `None`: the manager's.
    pub cpu_scheduling: Option<CpuScheduling>,
    /// Children get the normal policy.
    pub cpu_scheduling_reset_on_fork: bool,
    /// Processors; empty: all.
    pub cpu_affinity: CpuSet,
    /// Processors are those of `numa_mask`.
    pub cpu_affinity_from_numa: bool,
    /// Memory placement; `None`: not told.
    pub numa_policy: Option<NumaPolicy>,
    /// Memory nodes; `None` with a policy that needs them: all.
    pub numa_mask: Option<CpuSet>,
    /// How exact timers are, in nanoseconds; `None`: the manager's.
    pub timer_slack_ns: Option<u64>,
    /// Bits of the mode that new files do not get.
    pub umask: u32,
    /// Limits of each process.
    pub limits: BTreeMap<Resource, ResourceLimit>,
    /// Variables, as `NAME=value`; a later one wins.
    pub environment: Vec<String>,
    /// Files with variables, read at start; they win over `environment`.
    pub environment_files: Vec<EnvironmentFile>,
    /// Variables passed on from the manager's own environment.
    pub pass_environment: Vec<String>,
    /// Variables (`NAME`) or assignments (`NAME=value`) taken out in the end.
    pub unset_environment: Vec<String>,
    /// Where programs without a path are looked for; empty: the manager's default.
    pub exec_search_path: Vec<String>,
    /// Standard input.
    pub standard_input: InputSource,
    /// What [`InputSource::Data`] reads.
    pub standard_input_data: Vec<u8>,
    /// Standard output.
    pub standard_output: OutputTarget,
    /// Standard error.
    pub standard_error: OutputTarget,
    /// Terminal; `None`: /dev/console.
    pub tty_path: Option<String>,
    /// Bring the terminal's settings in order, before and after.
    pub tty_reset: bool,
    /// Disconnect whoever has the terminal open, before and after.
    pub tty_vhangup: bool,
    /// Clear the virtual console, before and after.
    pub tty_vt_disallocate: bool,
    /// Lines of the terminal; `None`: not told.
    pub tty_rows: Option<u32>,
    /// Columns of the terminal; `None`: not told.
    pub tty_columns: Option<u32>,
    /// Record in utmp(5) and wtmp(5) under this identifier.
    pub utmp_identifier: Option<String>,
    /// Kind of that record.
    pub utmp_mode: UtmpMode,
    /// What log lines begin with; `None`: the program's name.
    pub syslog_identifier: Option<String>,
    /// Facility of log lines, by its number; 3 is daemon.
    pub syslog_facility: u8,
    /// Level of log lines that name none.
    pub syslog_level: LogLevel,
    /// Lines may begin with `<N>` to name their level.
    pub syslog_level_prefix: bool,
    /// Less urgent messages are thrown away; `None`: none are.
    pub log_level_max: Option<LogLevel>,
    /// Messages are counted over this time; zero and a burst of 0: as journald is set.
    pub log_rate_limit_interval: Option<Duration>,
    /// Messages allowed in that time.
    pub log_rate_limit_burst: u32,
    /// More fields of the unit's journal entries, as `NAME=value`.
    pub log_extra_fields: Vec<Vec<u8>>,
    /// Pairs of "allow" (`true`) or "deny" with a pattern messages are kept by (systemd 253).
    pub log_filter_patterns: Vec<(bool, String)>,
    /// A journal of its own by this name.
    pub log_namespace: Option<String>,
    /// SIGPIPE is ignored.
    pub ignore_sigpipe: bool,
    /// Keyring.
    pub keyring_mode: KeyringMode,
    /// Secrets handed over.
    pub credentials: Vec<Credential>,
    /// Directories made for the unit, by kind.
    pub directories: BTreeMap<DirectoryKind, ServiceDirectories>,
    /// What becomes of the runtime directories at stop.
    pub runtime_directory_preserve: RuntimePreserve,
    /// `systemctl clean` takes no longer; `None`: no limit.
    pub timeout_clean: Option<Duration>,
    /// Personality, by systemd's word for the architecture.
    pub personality: Option<String>,
    /// What confines the processes.
    pub sandbox: Sandbox,
}

/// Disk scheduling, ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoScheduling {
    /// Class.
    pub class: IoClass,
    /// 0 (first) to 7.
    pub priority: u8,
}

/// Processor scheduling, sched_setscheduler(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuScheduling {
    /// Policy.
    pub policy: CpuPolicy,
    /// 1 to 99 for the real-time policies, else 0.
    pub priority: u8,
}

impl ExecConfig {
    /// The settings before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> ExecConfig {
        ExecConfig {
            working_directory: None,
            user: None,
            group: None,
            supplementary_groups: Vec::new(),
            dynamic_user: false,
            remove_ipc: false,
            pam_name: None,
            nice: None,
            oom_score_adjust: defaults.oom_score_adjust,
            coredump_filter: None,
            io_scheduling: None,
            cpu_scheduling: None,
            cpu_scheduling_reset_on_fork: false,
            cpu_affinity: CpuSet::default(),
            cpu_affinity_from_numa: false,
            numa_policy: None,
            numa_mask: None,
            timer_slack_ns: None,
            umask: 0o022,
            limits: BTreeMap::new(),
            environment: Vec::new(),
            environment_files: Vec::new(),
            pass_environment: Vec::new(),
            unset_environment: Vec::new(),
            exec_search_path: Vec::new(),
            standard_input: InputSource::Null,
            standard_input_data: Vec::new(),
            standard_output: defaults.standard_output.clone(),
            standard_error: defaults.standard_error.clone(),
            tty_path: None,
            tty_reset: false,
            tty_vhangup: false,
            tty_vt_disallocate: false,
            tty_rows: None,
            tty_columns: None,
            utmp_identifier: None,
            utmp_mode: UtmpMode::Init,
            syslog_identifier: None,
            syslog_facility: 3,
            syslog_level: LogLevel::Info,
            syslog_level_prefix: true,
            log_level_max: None,
            log_rate_limit_interval: Some(Duration::ZERO),
            log_rate_limit_burst: 0,
            log_extra_fields: Vec::new(),
            log_filter_patterns: Vec::new(),
            log_namespace: None,
            ignore_sigpipe: true,
            keyring_mode: KeyringMode::Shared,
            credentials: Vec::new(),
            directories: BTreeMap::new(),
            runtime_directory_preserve: RuntimePreserve::No,
            timeout_clean: None,
            personality: None,
            sandbox: Sandbox::default(),
        }
    }

    /// The directories of one kind.
    pub fn directories(&self, kind: DirectoryKind) -> &[ServiceDirectory] {
        self.directories.get(&kind).map_or(&[], |of_kind| &of_kind.directories)
    }

    /// Decides where the streams of a service go, once all of its files are read.
    ///
    /// Output follows an input that goes both ways (a terminal, a socket); where there is none, `inherit` means the
    /// manager's default.
    pub(crate) fn settle_standard_streams(&mut self, defaults: &ManagerDefaults) {
        if self.standard_input == InputSource::Null && !self.standard_input_data.is_empty() {
            self.standard_input = InputSource::Data;
        }
        if self.standard_input.is_tty() || matches!(self.standard_input, InputSource::Socket | InputSource::Fd(_)) {
            return;
        }
        if self.standard_output == OutputTarget::Inherit {
            if self.standard_error == OutputTarget::Inherit {
                self.standard_error = defaults.standard_error.clone();
            }
            self.standard_output = defaults.standard_output.clone();
        }
    }

    /// Whether a stream is the terminal, so that the console matters to the unit.
    pub fn uses_tty(&self) -> bool {
        self.standard_input.is_tty()
            || self.standard_output == OutputTarget::Tty
            || self.standard_error == OutputTarget::Tty
            || self.tty_reset
            || self.tty_vhangup
            || self.tty_vt_disallocate
    }

    /// Whether log lines reach the journal, so that its sockets have to be there first.
    pub fn is_logged(&self) -> bool {
        self.standard_output.is_logged() || self.standard_error.is_logged() || self.log_namespace.is_some()
    }
}
