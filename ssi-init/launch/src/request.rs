// SPDX-License-Identifier: GPL-2.0-or-later
//! What is asked for, what comes of it, and what can go wrong before there is a process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use ssi_exec::private_tmp::PrivateTmpError;
use ssi_exec::report::{Outcome, Report, ReportReader};
use ssi_exec::spawn::SpawnError;
use ssi_unit::config::UnitConfig;
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::name::UnitName;

/// One process of a unit that is to be started.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The unit.
    pub unit: &'a UnitName,
    /// Its settings.
    pub config: &'a UnitConfig,
    /// What runs.
    pub command: &'a ExecCommand,
    /// `User=`, sandbox and limits apply; else the command runs as if it had the prefix `+`
    /// (`PermissionsStartOnly=`).
    pub identity: bool,
    /// `RootDirectory=` applies (`RootDirectoryStartOnly=`).
    pub root: bool,
    /// It is the main process: standard input may be the terminal, and a socket that standard input is to be must be
    /// there.
    pub terminal: bool,
    /// Sockets for it, with their names.
    pub sockets: Vec<(BorrowedFd<'a>, String)>,
    /// Descriptors that the unit stored, with their names.
    pub stored: Vec<(BorrowedFd<'a>, String)>,
    /// The connection that it serves (`Accept=yes`).
    pub connection: Option<BorrowedFd<'a>>,
    /// `NonBlocking=`.
    pub non_blocking: bool,
    /// Variables for this start (`MAINPID`, `SERVICE_RESULT`, `REMOTE_ADDR`); the unit's own win over them.
    pub environment: Vec<(String, String)>,
    /// The unit's control group, below the root of the tree.
    pub cgroup: &'a str,
    /// A group below that for this process (`.control`); it is made when it is not there.
    pub subgroup: Option<&'a str>,
    /// Where notifications go: `NOTIFY_SOCKET`.
    pub notify_socket: Option<&'a str>,
    /// `WATCHDOG_USEC`, in microseconds.
    pub watchdog: Option<u64>,
    /// The program waits until this is readable or hung up, or five seconds (`Type=idle`).
    pub idle: Option<BorrowedFd<'a>>,
    /// [`Launched::report`] is wanted, for its last word: the program runs.
    pub wait_for_exec: bool,
    /// This run of the unit: `INVOCATION_ID`; 0 for none.
    pub invocation: u128,
    /// What every process of the manager gets (`PATH`, `LANG`, `DefaultEnvironment=`).
    pub manager_environment: &'a BTreeMap<String, String>,
    /// The unit whose /tmp and namespaces it joins (`JoinsNamespaceOf=`); its own when there is none.
    pub namespaces_of: Option<&'a UnitName>,
}

impl<'a> Request<'a> {
    /// A main process, with nothing beside the unit's settings.
    pub fn new(
        unit: &'a UnitName,
        config: &'a UnitConfig,
        command: &'a ExecCommand,
        cgroup: &'a str,
        manager_environment: &'a BTreeMap<String, String>,
    ) -> Request<'a> {
        Request {
            unit,
            config,
            command,
            identity: true,
            root: true,
            terminal: true,
            sockets: Vec::new(),
            stored: Vec::new(),
            connection: None,
            non_blocking: false,
            environment: Vec::new(),
            cgroup,
            subgroup: None,
            notify_socket: None,
            watchdog: None,
            idle: None,
            wait_for_exec: false,
            invocation: 0,
            manager_environment,
            namespaces_of: None,
        }
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Launched {
    /// Its number.
    pub pid: u32,
    /// Its name without races, on kernels from 5.3.
    pub pidfd: Option<OwnedFd>,
    /// What it tells until its program runs: always when [`Request::wait_for_exec`] is set, else when the launcher
    /// is told to ([`crate::Launcher::report_always`]).
    pub report: Option<Reports>,
    /// What of the settings could not be given to it, known before it runs. More may come by the report.
    pub warnings: Vec<String>,
}

/// The reports of one start, read without blocking. [`AsFd`] is for poll(2).
///
/// To be kept until [`Progress::outcome`] is there: a process whose report nobody can read any more and that does not
/// ignore SIGPIPE would be killed by it.
#[derive(Debug)]
pub struct Reports {
    pipe: OwnedFd,
    reader: ReportReader,
}

/// What a read of [`Reports`] gave.
#[derive(Debug, Default)]
pub struct Progress {
    /// What was told since the last read.
    pub reports: Vec<Report>,
    /// How the start ended; `None`: it is still under way.
    pub outcome: Option<Outcome>,
}

impl Reports {
    pub(crate) fn new(pipe: OwnedFd) -> Reports {
        Reports { pipe, reader: ReportReader::default() }
    }

    /// Lets the program begin; see [`crate::Launcher::gated`]. A process that is gone is no fault: its end is told.
    pub fn release(&self) {
        let _ = ssi_exec::spawn::release(self.pipe.as_fd());
    }

    /// Takes what is there.
    pub fn read(&mut self) -> Progress {
        let mut progress = Progress::default();
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(count @ 1..) => progress.reports.extend(self.reader.feed(buffer.get(..count).unwrap_or_default())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return progress,
                Ok(0) | Err(_) => {
                    progress.outcome = Some(self.reader.outcome());
                    return progress;
                }
            }
        }
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Units of its type run nothing.
    #[error("{unit} cannot run a program: its type has no settings for processes")]
    NoProcesses {
        /// The unit.
        unit: String,
    },
    /// A file of `EnvironmentFile=`.
    #[error("{unit}: cannot read EnvironmentFile={path}: {source}; a \"-\" before the path lets it be missing")]
    EnvironmentFile {
        /// The unit.
        unit: String,
        /// The file, or the pattern that fits none.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program gets its arguments as text.
    #[error("{unit}: argument {argument:?} of {program} is not UTF-8")]
    NotText {
        /// The unit.
        unit: String,
        /// The program.
        program: String,
        /// The argument, with what is no text replaced.
        argument: String,
    },
    /// A stream is to be the socket, and there is none.
    #[error("{unit}: a stream is to be its socket, and it was started without one; start its socket unit instead")]
    NoSocket {
        /// The unit.
        unit: String,
    },
    /// A stream is to be the socket, and there is more than one.
    #[error("{unit}: a stream is to be its socket, and it has {count} of them")]
    TooManySockets {
        /// The unit.
        unit: String,
        /// How many.
        count: usize,
    },
    /// A stream is to be a named descriptor that was not passed.
    #[error("{unit}: no descriptor named \"{name}\" was passed to it (FileDescriptorName= of its socket unit)")]
    NoNamedDescriptor {
        /// The unit.
        unit: String,
        /// The name.
        name: String,
    },
    /// The control group.
    #[error("{unit}: cannot {attempt} its control group {path}: {errno}")]
    Cgroup {
        /// The unit.
        unit: String,
        /// "open" or "make".
        attempt: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
    },
    /// `PrivateTmp=`.
    #[error("{unit}: PrivateTmp=: {source}")]
    PrivateTmp {
        /// The unit.
        unit: String,
        /// What went wrong.
        source: PrivateTmpError,
    },
    /// `DynamicUser=`.
    #[error("{unit}: DynamicUser=: cannot {attempt}: {source}")]
    DynamicUser {
        /// The unit.
        unit: String,
        /// What was tried.
        attempt: String,
        /// What the system said.
        source: io::Error,
    },
    /// The sockets by which a unit's processes share a namespace.
    #[error("{unit}: cannot make sockets for its namespaces: {errno}")]
    Share {
        /// The unit.
        unit: String,
        /// What the system said.
        errno: Errno,
    },
    /// The process.
    #[error("{unit}: {source}")]
    Spawn {
        /// The unit.
        unit: String,
        /// What went wrong.
        source: SpawnError,
    },
}
