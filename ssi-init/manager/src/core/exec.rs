// SPDX-License-Identifier: GPL-2.0-or-later
//! A process that is to be started: what the core knows of it. The edge makes an `ExecPlan` of it.

use std::rc::Rc;

use ssi_unit::config::{ServiceConfig, UnitConfig};
use ssi_unit::exec_line::ExecCommand;

use super::system::FdKey;

/// Which of a unit's settings apply to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apply {
    /// `User=`, `Group=` and capabilities.
    pub identity: bool,
    /// `RootDirectory=`, `RootImage=`.
    pub root: bool,
    /// Standard input is a terminal, if the unit says so; else it is null.
    pub terminal: bool,
}

impl Apply {
    /// To the main command.
    pub fn main() -> Self {
        Self { identity: true, root: true, terminal: true }
    }

    /// To the other commands of a service.
    pub fn control(service: &ServiceConfig) -> Self {
        Self { identity: !service.permissions_start_only, root: !service.root_directory_start_only, terminal: false }
    }
}

/// Descriptors for a program, from 3 on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fds {
    /// Of its sockets, with their names.
    pub sockets: Vec<(FdKey, String)>,
    /// That it stored.
    pub stored: Vec<(FdKey, String)>,
    /// The connection it is for, which may be its standard input and output.
    pub connection: Option<FdKey>,
    /// Whether reading from the sockets returns at once.
    pub non_blocking: bool,
}

/// A process to be started.
#[derive(Clone, Debug)]
pub struct Start {
    /// What it runs.
    pub command: ExecCommand,
    /// All settings of the unit.
    pub config: Rc<UnitConfig>,
    /// Which of them apply.
    pub apply: Apply,
    /// What it finds open.
    pub fds: Fds,
    /// What it finds in its environment beside the unit's own.
    pub environment: Vec<(String, String)>,
    /// Its control group.
    pub cgroup: String,
    /// A group below that, for it alone.
    pub subgroup: Option<String>,
    /// Whether it gets a notification socket.
    pub notify: bool,
    /// Its watchdog's interval in microseconds.
    pub watchdog: Option<u64>,
    /// It waits until the machine has nothing else to do, or five seconds.
    pub idle: bool,
    /// It counts as started once its program runs: [`super::Event::Executed`] tells.
    pub wait_for_exec: bool,
    /// Names this run of the unit.
    pub invocation: u128,
}
