// SPDX-License-Identifier: GPL-2.0-or-later
//! From a [`Request`] to the executor's plan. Pure: what had to be looked up or made first comes in as [`Found`].
//!
//! ```text
//!   Request ──┬─ process:  priorities, limits, directories, credentials, login records
//!             ├─ streams:  standard input, output and error
//!             └─ sandbox:  what confines, capabilities          ──► ExecPlan
//!   Found   ──── variables, the private /tmp, shares of namespaces, the dynamic user
//! ```

mod process;
mod sandbox;
mod streams;

use std::fmt::Write;
use std::path::PathBuf;

use ssi_exec::plan::{
    CgroupPlace, Command, DynamicUser, Environment, ExecPlan, Identity, Messages, NamedFd, NamespaceShare, Passed,
    Privileges, Protection, Slot, WorkingDirectory, WorkingPlace,
};
use ssi_unit::config::ExecConfig;
use ssi_unit::config::cgroup::CpuSet;
use ssi_unit::config::exec::DirectoryKind;
use ssi_unit::exec_line::{ExecCommand, Privilege};
use ssi_unit::name::UnitType;

use crate::request::{LaunchError, Request};

pub(crate) use process::directory_kind;
pub(crate) use streams::level;

/// What the plan needs beside the request.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The unit's variables, weakest first.
    pub(crate) variables: Vec<(String, String)>,
    /// `TERM` that the manager was started with, for /dev/console.
    pub(crate) term: Option<String>,
    /// The manager's own credentials.
    pub(crate) own_credentials: Option<String>,
    /// The directories for /tmp and /var/tmp.
    pub(crate) private_tmp: Option<Protection>,
    /// The user made for this run.
    pub(crate) dynamic_user: Option<DynamicUser>,
    /// Numbers of all memory nodes.
    pub(crate) nodes: CpuSet,
    /// The processors of those in `NUMAMask=`.
    pub(crate) node_processors: CpuSet,
    /// The directory of the unit's control group.
    pub(crate) cgroup: PathBuf,
    /// Below which directories are made, when that is not `/`.
    pub(crate) prefix: Option<String>,
    /// Where the executor's own messages go.
    pub(crate) messages: Messages,
}

/// The slots of the descriptors that go along.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) sockets: Vec<NamedFd>,
    pub(crate) stored: Vec<NamedFd>,
    pub(crate) connection: Option<Slot>,
    pub(crate) idle: Option<Slot>,
    pub(crate) network: Option<NamespaceShare>,
    pub(crate) ipc: Option<NamespaceShare>,
}

/// The name under which a connection is passed, sd_listen_fds(3).
const CONNECTION: &str = "connection";

/// Whether the sandbox applies to the command.
pub(crate) fn privileges(request: &Request<'_>) -> Privileges {
    match request.command.privilege {
        _ if !request.identity => Privileges::Full,
        // Every kernel that has control groups of version 2 has ambient capabilities.
        Privilege::AsUnit | Privilege::AmbientOrKeepUser => Privileges::Unit,
        Privilege::KeepUser => Privileges::KeepIdentity,
        Privilege::Full => Privileges::Full,
    }
}

/// The plan. What cannot be given is told to `warn`.
pub(crate) fn plan(
    request: &Request<'_>,
    exec: &ExecConfig,
    found: Found,
    slots: Slots,
    warn: &mut dyn FnMut(String),
) -> Result<ExecPlan, LaunchError> {
    let unit = request.unit.as_str();
    let nodes = process::Nodes { all: found.nodes, processors: found.node_processors };
    let socket = socket(request, exec, &slots)?;
    let by_name = |name: &str| slots.sockets.iter().find(|named| named.name == name).map(|named| named.slot);

    let mut plan = ExecPlan::new(unit, command(request, exec)?);
    plan.invocation_id = (request.invocation != 0).then(|| request.invocation.to_be_bytes());
    plan.environment = environment(request, exec, found.variables, found.term);
    plan.identity = Identity {
        user: exec.user.clone(),
        group: exec.group.clone(),
        supplementary: exec.supplementary_groups.clone(),
        dynamic: found.dynamic_user,
    };
    plan.working_directory = working_directory(exec);
    plan.root_directory = exec.sandbox.root_directory.clone().filter(|_| request.root);
    plan.umask = exec.umask;
    // mount(8) looks at the place, and the kernel lets only one process group look behind an automount.
    plan.same_process_group = request.unit.unit_type() == UnitType::Mount;
    plan.streams = streams::streams(exec, unit, request.terminal, socket, &by_name)?;
    plan.scheduling = process::scheduling(exec, &nodes);
    plan.limits = process::limits(exec);
    plan.coredump_filter = exec.coredump_filter;
    plan.ignore_sigpipe = exec.ignore_sigpipe;
    plan.utmp = process::utmp(exec);
    plan.directories = process::directories(exec, found.prefix);
    plan.credentials = process::credentials(exec, found.own_credentials.as_deref(), warn);
    plan.capabilities = sandbox::capabilities(exec);
    plan.keyring = process::keyring(exec);
    plan.personality = process::personality(exec, std::env::consts::ARCH, warn);
    plan.cgroup = Some(CgroupPlace {
        path: found.cgroup.display().to_string(),
        delegate: request.config.cgroup().is_some_and(|cgroup| cgroup.delegate.is_some()),
    });
    plan.protections = sandbox::protections(exec, request.root);
    plan.protections.extend(found.private_tmp);
    if exec.sandbox.private_network {
        plan.protections.push(Protection::PrivateNetwork(slots.network));
    }
    if exec.sandbox.private_ipc {
        plan.protections.push(Protection::PrivateIpc(slots.ipc));
    }
    // A program that talks over the socket as its input is no sd_listen_fds(3) program: systemd passes nothing else.
    if !streams::use_socket(exec) {
        let connection = slots.connection.map(|slot| NamedFd { slot, name: CONNECTION.to_owned() });
        plan.passed = Passed {
            sockets: connection.map_or(slots.sockets, |connection| vec![connection]),
            stored: slots.stored,
            nonblocking: request.non_blocking,
        };
    }
    plan.idle = slots.idle;
    plan.messages = found.messages;
    Ok(plan)
}

/// The socket that streams may be: the connection, or the only one there is.
fn socket(request: &Request<'_>, exec: &ExecConfig, slots: &Slots) -> Result<Option<Slot>, LaunchError> {
    if !streams::use_socket(exec) {
        return Ok(None);
    }
    let unit = || request.unit.to_string();
    match (slots.connection, slots.sockets.as_slice()) {
        (Some(connection), _) => Ok(Some(connection)),
        (None, [only]) => Ok(Some(only.slot)),
        // The other commands of a unit do without.
        (None, []) if !request.terminal => Ok(None),
        (None, []) => Err(LaunchError::NoSocket { unit: unit() }),
        (None, many) => Err(LaunchError::TooManySockets { unit: unit(), count: many.len() }),
    }
}

fn command(request: &Request<'_>, exec: &ExecConfig) -> Result<Command, LaunchError> {
    let ExecCommand { program, arguments, ignore_failure, no_variables, .. } = request.command;
    let text = |argument: &std::ffi::OsString| {
        argument.to_str().map(str::to_owned).ok_or_else(|| LaunchError::NotText {
            unit: request.unit.to_string(),
            program: program.clone(),
            argument: argument.to_string_lossy().into_owned(),
        })
    };
    Ok(Command {
        program: program.clone(),
        arguments: arguments.iter().map(text).collect::<Result<_, _>>()?,
        search_path: exec.exec_search_path.clone(),
        privileges: privileges(request),
        // In the new process: only there are LISTEN_PID and RUNTIME_DIRECTORY known.
        expand: !no_variables,
        ignore_failure: *ignore_failure,
    })
}

fn environment(
    request: &Request<'_>,
    exec: &ExecConfig,
    unit: Vec<(String, String)>,
    term: Option<String>,
) -> Environment {
    let general = request.manager_environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut manager: Vec<(String, String)> = general.collect();
    manager.extend(request.notify_socket.map(|path| ("NOTIFY_SOCKET".to_owned(), path.to_owned())));
    if request.invocation != 0 {
        manager.push(("INVOCATION_ID".to_owned(), invocation_text(request.invocation)));
    }
    manager.extend(request.environment.iter().cloned());
    let on_console = exec.tty_path.as_deref().is_none_or(|path| path == "/dev/console");
    Environment {
        manager,
        unit,
        unset: exec.unset_environment.clone(),
        watchdog_usec: request.watchdog,
        term: term.filter(|_| on_console),
    }
}

/// An invocation's number as systemd writes it: 32 hexadecimal digits.
pub(crate) fn invocation_text(invocation: u128) -> String {
    let mut text = String::with_capacity(32);
    let _ = write!(text, "{invocation:032x}");
    text
}

fn working_directory(exec: &ExecConfig) -> WorkingDirectory {
    exec.working_directory.as_ref().map_or_else(WorkingDirectory::default, |working| WorkingDirectory {
        place: working.path.clone().map_or(WorkingPlace::Home, WorkingPlace::Path),
        missing_ok: working.missing_ok,
    })
}

/// Whether a dynamic user's directories lie below `private/`, by kind; see the executor's directories.
pub(crate) fn is_private(kind: DirectoryKind) -> bool {
    !matches!(kind, DirectoryKind::Configuration)
}

/// What confines a process of a unit, but for what has to be made first.
pub(crate) fn all_protections(exec: &ssi_unit::config::ExecConfig, rooted: bool) -> Vec<ssi_exec::plan::Protection> {
    sandbox::protections(exec, rooted)
}
