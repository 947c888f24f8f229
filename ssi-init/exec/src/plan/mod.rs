// SPDX-License-Identifier: GPL-2.0-or-later
//! [`ExecPlan`]: everything one start of one program needs, resolved from text, in one value that crosses a memfd.
//!
//! The manager fills it in; nothing in it still has to be looked up in unit files. What only the new process can
//! know stays symbolic: user names, `$VARIABLES` on the command line, `~`.
//!
//! Bytes in the memfd: `"ssi-exec"`, the layout's number as u32 little endian, then the plan in postcard's encoding.

mod directories;
mod process;
mod protections;
mod streams;

pub use directories::{
    CredentialSource, Credentials, Directories, DirectoryKind, DirectorySet, ManagedDirectory, Utmp, UtmpMode,
};
pub use process::{
    Capabilities, IoClass, IoPriority, KeyringMode, Limit, NumaPolicy, Personality, Resource, Scheduler, Scheduling,
};
pub use protections::{
    BindMount, MountPropagation, NamespaceShare, PathRule, ProtectHome, ProtectProc, ProtectSystem, Protection, Support,
};
pub use streams::{FileMode, Input, LogStream, Output, Streams, TerminalAcquire, Tty};

use serde::{Deserialize, Serialize};

/// The number of the plan's layout; it rises with every change to a type below [`ExecPlan`].
pub const LAYOUT: u32 = 2;

const MAGIC: &[u8; 8] = b"ssi-exec";

/// The descriptor at which the executor finds its plan: the first after the standard ones.
pub const FIRST_SLOT_FD: i32 = 3;

/// A descriptor that travels with the plan, by its place in the executor's table: slot 0 is descriptor 3.
///
/// [`crate::spawn::Launch::pass`] hands them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

impl Slot {
    /// The descriptor's number in the executor.
    pub fn fd(self) -> i32 {
        FIRST_SLOT_FD + i32::from(self.0)
    }
}

/// What is to be done before a program runs, and the program. systemd.exec(5), systemd.service(5).
///
/// Left to whoever makes the plan, because it depends on which of a unit's commands this is: commands other than the
/// main one do not get the unit's terminal as input ([`Input::Null`] instead of [`Input::Tty`], and [`Output::Tty`]
/// where output would inherit it), nor sockets and the watchdog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The unit's name: for messages, the journal's stream and credentials.
    pub unit: String,
    /// This activation's number, for the keyring; the environment's `INVOCATION_ID` is the manager's to set.
    pub invocation_id: Option<[u8; 16]>,
    /// What runs.
    pub command: Command,
    /// What it finds in its environment.
    pub environment: Environment,
    /// As whom it runs.
    pub identity: Identity,
    /// `WorkingDirectory=`.
    pub working_directory: WorkingDirectory,
    /// `RootDirectory=`: a directory that becomes `/`. systemd mounts /proc, /sys, /dev and /run in it unless the
    /// unit says `MountAPIVFS=no`: whoever makes the plan adds [`Protection::MountApiVfs`] then.
    pub root_directory: Option<String>,
    /// `UMask=`, 0o022 unless told.
    pub umask: u32,
    /// The first three descriptors, and the terminal.
    pub streams: Streams,
    /// Sockets and stored descriptors.
    pub passed: Passed,
    /// Priorities.
    pub scheduling: Scheduling,
    /// `Limit…=`.
    pub limits: Vec<Limit>,
    /// `CoredumpFilter=`, the bits of core(5).
    pub coredump_filter: Option<u64>,
    /// `IgnoreSIGPIPE=`, true unless told.
    pub ignore_sigpipe: bool,
    /// Leave the new process in its parent's session and process group (generators and the like), instead of
    /// giving it one of its own.
    pub same_process_group: bool,
    /// `UtmpIdentifier=`, `UtmpMode=`.
    pub utmp: Option<Utmp>,
    /// `RuntimeDirectory=` and its four sisters.
    pub directories: Directories,
    /// `LoadCredential=`, `SetCredential=`.
    pub credentials: Credentials,
    /// Capability sets, secure bits and `NoNewPrivileges=`.
    pub capabilities: Capabilities,
    /// `KeyringMode=`.
    pub keyring: KeyringMode,
    /// `Personality=`.
    pub personality: Option<Personality>,
    /// The control group, for handing it over when it is delegated.
    pub cgroup: Option<CgroupPlace>,
    /// What confines the program.
    pub protections: Vec<Protection>,
    /// `Type=idle`: wait until this is readable or hung up, five seconds at most.
    pub idle: Option<Slot>,
    /// Where [`crate::report::Report`]s go. [`crate::spawn::Launch`] sets it.
    pub reports: Option<Slot>,
    /// The program begins only after a word that comes to the same descriptor; [`crate::spawn::Launch`] sets it.
    pub gated: bool,
    /// Where the executor's own messages go.
    pub messages: Messages,
}

impl ExecPlan {
    /// A plan with systemd's defaults: null as input, the journal as output, umask 022, SIGPIPE ignored, a private
    /// session keyring, root, `/`.
    pub fn new(unit: impl Into<String>, command: Command) -> ExecPlan {
        ExecPlan {
            unit: unit.into(),
            invocation_id: None,
            command,
            environment: Environment::default(),
            identity: Identity::default(),
            working_directory: WorkingDirectory::default(),
            root_directory: None,
            umask: 0o022,
            streams: Streams::default(),
            passed: Passed::default(),
            scheduling: Scheduling::default(),
            limits: Vec::new(),
            coredump_filter: None,
            ignore_sigpipe: true,
            same_process_group: false,
            utmp: None,
            directories: Directories::default(),
            credentials: Credentials::default(),
            capabilities: Capabilities::default(),
            keyring: KeyringMode::Private,
            personality: None,
            cgroup: None,
            protections: Vec::new(),
            idle: None,
            reports: None,
            gated: false,
            messages: Messages::Journal,
        }
    }

    /// Which of the protections asked for are not, or not wholly, given, and what is missing. Never skipped in
    /// silence: the manager puts this into the unit's state and log.
    pub fn shortfalls(&self) -> Vec<(&Protection, &'static str)> {
        self.protections
            .iter()
            .filter_map(|protection| match protection.supported() {
                Support::Full => None,
                Support::Partial(missing) | Support::None(missing) => Some((protection, missing)),
            })
            .collect()
    }

    /// Whether sandboxing applies: not for commands with the `+` prefix.
    pub fn sandboxed(&self) -> bool {
        self.command.privileges != Privileges::Full
    }

    /// Whether user and group apply: not for commands with the `+` or `!` prefix.
    pub fn takes_identity(&self) -> bool {
        self.command.privileges == Privileges::Unit
    }

    /// The bytes for the memfd.
    ///
    /// # Errors
    /// When the serializer refuses, which a plan gives no cause for.
    pub fn encode(&self) -> Result<Vec<u8>, PlanError> {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&LAYOUT.to_le_bytes());
        postcard::to_extend(self, bytes).map_err(PlanError::Encode)
    }

    /// The plan in the memfd's bytes.
    ///
    /// # Errors
    /// When they are no plan, or one of another layout.
    pub fn decode(bytes: &[u8]) -> Result<ExecPlan, PlanError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(PlanError::NotAPlan)?;
        let (layout, body) = rest.split_first_chunk::<4>().ok_or(PlanError::NotAPlan)?;
        let layout = u32::from_le_bytes(*layout);
        if layout != LAYOUT {
            return Err(PlanError::Layout { found: layout });
        }
        postcard::from_bytes(body).map_err(PlanError::Decode)
    }
}

/// Why a plan could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The serializer refused.
    #[error("the plan of a start cannot be written down: {0}")]
    Encode(postcard::Error),
    /// Something else is in the memfd.
    #[error("descriptor {FIRST_SLOT_FD} holds no plan of a start: ssi-exec is run by ssi-init alone")]
    NotAPlan,
    /// Manager and executor are of different versions.
    #[error(
        "the plan of a start has layout {found}, this ssi-exec reads layout {LAYOUT}: manager and executor must be of one version"
    )]
    Layout {
        /// The number in the plan.
        found: u32,
    },
    /// The bytes do not hold together.
    #[error("the plan of a start is damaged: {0}")]
    Decode(postcard::Error),
}

/// One command line, after splitting and specifiers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Command {
    /// The program: absolute, or a plain name that is searched for.
    pub program: String,
    /// The arguments, the zeroth first (`@` sets it apart from the program).
    pub arguments: Vec<String>,
    /// `ExecSearchPath=`; empty for the usual six directories.
    pub search_path: Vec<String>,
    /// The prefixes `+` and `!`.
    pub privileges: Privileges,
    /// Replace `$VARIABLES` in the arguments: not with the prefix `:`.
    pub expand: bool,
    /// The prefix `-`: a missing program is then success.
    pub ignore_failure: bool,
}

impl Command {
    /// `program` with `arguments` after it, as itself the zeroth; variables are replaced.
    pub fn new(program: &str, arguments: &[&str]) -> Command {
        Command {
            program: program.to_owned(),
            arguments: std::iter::once(program).chain(arguments.iter().copied()).map(str::to_owned).collect(),
            expand: true,
            ..Command::default()
        }
    }
}

/// How much of the unit's confinement a command takes on. systemd.service(5), table of prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Privileges {
    /// All of it.
    #[default]
    Unit,
    /// `!`: sandboxing, but neither user nor group.
    KeepIdentity,
    /// `+`: neither.
    Full,
}

/// The parts of the environment, weakest first: manager, what the executor computes, unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The manager's own (`PATH`, `LANG`), and what it sets for this start (`NOTIFY_SOCKET`, `MAINPID`,
    /// `INVOCATION_ID`, `SERVICE_RESULT`).
    pub manager: Vec<(String, String)>,
    /// `PassEnvironment=`, then `Environment=`, then `EnvironmentFile=`: later ones win.
    pub unit: Vec<(String, String)>,
    /// `UnsetEnvironment=`: names, or whole `NAME=value` assignments.
    pub unset: Vec<String>,
    /// `WatchdogSec=` in microseconds, for `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub watchdog_usec: Option<u64>,
    /// `TERM` for the terminal, when the manager knows better than the terminal's name does.
    pub term: Option<String>,
}

/// As whom a program runs. Names or numbers, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// `User=`.
    pub user: Option<String>,
    /// `Group=`; the user's own group unless told.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub supplementary: Vec<String>,
    /// `DynamicUser=`: the name and the number that the manager took for this unit.
    pub dynamic: Option<DynamicUser>,
}

/// A user that exists while its unit runs. The manager chooses and guards the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicUser {
    /// Its name.
    pub name: String,
    /// Its number, for user and group.
    pub id: u32,
}

/// `WorkingDirectory=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkingDirectory {
    /// Where to go.
    pub place: WorkingPlace,
    /// The `-` before it: when it is not there, `/` will do.
    pub missing_ok: bool,
}

/// Where a program starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WorkingPlace {
    /// Nothing was said: `/`.
    #[default]
    Root,
    /// `~`: the user's home.
    Home,
    /// A directory.
    Path(String),
}

/// Descriptors that the program is to find from 3 on. sd_listen_fds(3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Passed {
    /// Sockets of socket units, in order.
    pub sockets: Vec<NamedFd>,
    /// Descriptors the service stored earlier (`FDSTORE=1`), after the sockets.
    pub stored: Vec<NamedFd>,
    /// `NonBlocking=`: O_NONBLOCK is set on the sockets, or cleared; stored ones stay as they are.
    pub nonblocking: bool,
}

/// A descriptor and its name in `LISTEN_FDNAMES`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFd {
    /// Which one.
    pub slot: Slot,
    /// Its name.
    pub name: String,
}

/// The control group that the process was born in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlace {
    /// Its directory in the file system.
    pub path: String,
    /// `Delegate=`: it belongs to the user of the program.
    pub delegate: bool,
}

/// Where the executor itself speaks up. A failure also goes to [`ExecPlan::reports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Messages {
    /// The journal's native socket; where that is not there, the kernel's log; where that is not, standard error.
    #[default]
    Journal,
    /// Standard error as the manager has it.
    Stderr,
    /// Nowhere: the manager tells it from the report.
    Silent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_memfd() {
        let mut plan = ExecPlan::new("a.service", Command::new("/bin/true", &["x"]));
        plan.protections.push(Protection::PrivateDevices);
        plan.passed.sockets.push(NamedFd { slot: Slot(4), name: "http".into() });
        let bytes = plan.encode().unwrap();
        assert_eq!(ExecPlan::decode(&bytes).unwrap(), plan);
    }

    #[test]
    fn another_layout_is_named() {
        let mut bytes = ExecPlan::new("a.service", Command::default()).encode().unwrap();
        bytes[8] = 77;
        assert!(matches!(ExecPlan::decode(&bytes), Err(PlanError::Layout { found: 77 })));
        assert!(matches!(ExecPlan::decode(b"#!/bin/sh"), Err(PlanError::NotAPlan)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&LAYOUT.to_le_bytes());
            bytes.extend_from_slice(&body);
            let _ = ExecPlan::decode(&bytes);
            let _ = ExecPlan::decode(&body);
        }
    }
}
