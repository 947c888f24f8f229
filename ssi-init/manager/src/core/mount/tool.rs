// SPDX-License-Identifier: GPL-2.0-or-later
//! The programs that mounts and swap areas are made and ended with: mount(8), umount(8), swapon(8), swapoff(8). They are
//! run as processes of their own, because a server that does not answer must not hold up the manager.

use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssi_unit::exec_line::{ExecCommand, Privilege};

use crate::core::exec::{Apply, Fds, Start};
use crate::core::service::Ran;
use crate::core::system::{Clock, Exit, Pid};
use crate::core::{Core, Deadline, usec};
use crate::graph::UnitId;

/// Why a mount, or a swap area, is no longer there, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToolResult {
    /// All went as it should.
    #[default]
    Success,
    /// The program could not be run.
    Resources,
    /// It took too long.
    Timeout,
    /// It ended with a status that is no success.
    ExitCode,
    /// A signal ended it.
    Signal,
    /// A signal ended it, and it left its memory in a file.
    CoreDump,
    /// The unit was started too often.
    StartLimitHit,
    /// It said that it had done its work, and the kernel knows nothing of it.
    Protocol,
}

impl ToolResult {
    /// The word of the `Result` property.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::StartLimitHit => "start-limit-hit",
            Self::Protocol => "protocol",
        }
    }

    /// What the end of a program means. A signal is no good end, whichever it is: these are no daemons.
    pub(in crate::core) fn of(exit: Exit) -> Self {
        match exit {
            Exit::Code(0) => Self::Success,
            Exit::Code(_) => Self::ExitCode,
            Exit::Signal(_) => Self::Signal,
            Exit::Dumped(_) => Self::CoreDump,
        }
    }

    /// Keeps what went wrong first.
    pub(in crate::core) fn note(&mut self, result: Self) {
        if *self == Self::Success {
            *self = result;
        }
    }
}

/// A command of a program and its arguments, which are taken as they are.
pub(in crate::core) fn command<'a>(program: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> ExecCommand {
    ExecCommand {
        program: program.to_owned(),
        arguments: std::iter::once(program).chain(arguments).map(OsString::from).collect(),
        ignore_failure: false,
        // A path may hold what looks like a variable.
        no_variables: true,
        privilege: Privilege::AsUnit,
    }
}

/// Runs one, under a time limit.
pub(in crate::core) fn spawn(
    core: &mut Core,
    id: UnitId,
    command: ExecCommand,
    limit: Option<Duration>,
) -> Result<Pid, String> {
    arm(core, id, limit);
    let cgroup = core.realize_group(id).map_err(|error| error.to_string())?;
    let unit = core.unit(id);
    let (name, invocation) = (unit.name.clone(), unit.runtime.invocation);
    let mut environment = vec![("INVOCATION_ID".to_owned(), format!("{invocation:032x}"))];
    environment.extend(core.cluster_environment(id));
    let start = Start {
        command,
        config: std::rc::Rc::clone(&unit.config),
        apply: Apply::main(),
        fds: Fds::default(),
        environment,
        cgroup,
        subgroup: None,
        notify: false,
        watchdog: None,
        idle: false,
        wait_for_exec: false,
        invocation,
    };
    let pid = core.sys.spawn(&name, &start).map_err(|error| error.to_string())?;
    core.watch(pid, id);
    core.touch(id);
    Ok(pid)
}

/// Sets the time limit of what runs now.
pub(in crate::core) fn arm(core: &mut Core, id: UnitId, limit: Option<Duration>) {
    match limit {
        Some(limit) => {
            let at = core.now().monotonic.saturating_add(usec(limit));
            core.arm(id, Deadline::State, Clock::Monotonic, at);
        }
        None => core.disarm(id, Deadline::State),
    }
}

/// Notes that a command runs, for the properties that show it.
pub(in crate::core) fn began<K: PartialEq>(core: &Core, ran: &mut Vec<(K, Ran)>, which: K, pid: Pid) {
    let begun = Ran { start: core.now(), pid: Some(pid), ..Ran::default() };
    match ran.iter_mut().find(|(known, _)| *known == which) {
        Some((_, old)) => *old = begun,
        None => ran.push((which, begun)),
    }
}

/// Notes how a command ended.
pub(in crate::core) fn ended<K: PartialEq>(core: &Core, ran: &mut [(K, Ran)], which: &K, exit: Exit) {
    if let Some((_, run)) = ran.iter_mut().find(|(known, _)| known == which) {
        run.end = core.now();
        run.exit = Some(exit);
    }
}
