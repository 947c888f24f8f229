// SPDX-License-Identifier: GPL-2.0-or-later
//! Conditions and asserts: whether a unit is to be started on this machine.
//!
//! ```text
//!   ConditionVirtualization=|!container     Condition::parse   when the file is read
//!              kind          ^^ parameter
//!                            |negate
//!                            trigger: one of these is enough
//!   evaluate(list, machine)                 when the unit is about to start
//! ```
//!
//! What a condition looks at comes through the trait [`Machine`], so that the rules (`checks.rs`) are the same on a
//! machine made up by a test. A condition that cannot be decided counts as one that does not hold, and the reason is
//! kept. systemd.unit(5), "Conditions and Asserts"; held against `systemd-analyze condition`.

mod checks;
mod compare;
mod machine;
mod resources;

mod virtualization;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use machine::{FileKind, FileStatus, Machine, ThisMachine, User};
pub use virtualization::{Virtualization, virtualization};

use crate::specifier::{SpecifierError, Specifiers};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $(: $path:ident)?;)+) => {
        /// What a condition looks at; named as its setting is, without `Condition` or `Assert`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ConditionKind {
            $($(#[$doc])* $kind,)+
        }

        impl ConditionKind {
            /// Every kind.
            pub const ALL: &'static [ConditionKind] = &[$(ConditionKind::$kind),+];

            /// The setting's name after `Condition` or `Assert`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ConditionKind::$kind => stringify!($kind),)+
                }
            }

            /// Whether the parameter is an absolute path.
            #[must_use]
            pub const fn takes_path(self) -> bool {
                match self {
                    $(ConditionKind::$kind => kinds!(@path $($path)?),)+
                }
            }
        }
    };
    (@path path) => { true };
    (@path) => { false };
}

kinds! {
    /// The path exists; links are followed.
    PathExists: path;
    /// Some path fits the pattern.
    PathExistsGlob: path;
    /// The path is a directory.
    PathIsDirectory: path;
    /// The path itself is a link.
    PathIsSymbolicLink: path;
    /// Something is mounted on the path.
    PathIsMountPoint: path;
    /// The file system of the path can be written to.
    PathIsReadWrite: path;
    /// The block device below the path is encrypted.
    PathIsEncrypted: path;
    /// The directory holds something that is not hidden.
    DirectoryNotEmpty: path;
    /// The file holds something.
    FileNotEmpty: path;
    /// The file can be run.
    FileIsExecutable: path;
    /// `/etc` or `/var` is older than `/usr`.
    NeedsUpdate: path;
    /// A word of the kernel's command line.
    KernelCommandLine;
    /// The kernel's release.
    KernelVersion;
    /// A credential was passed to the manager.
    Credential;
    /// A virtual machine or container, or none.
    Virtualization;
    /// A security technique is in use.
    Security;
    /// A capability can be had.
    Capability;
    /// Host name or machine id.
    Host;
    /// The machine is not on battery.
    ACPower;
    /// The processor's architecture.
    Architecture;
    /// UEFI, device tree, SMBIOS.
    Firmware;
    /// The machine is booted for the first time.
    FirstBoot;
    /// The manager's user.
    User;
    /// A group the manager is in.
    Group;
    /// A control-group controller.
    ControlGroupController;
    /// How many processors there are.
    CPUs;
    /// How much memory there is.
    Memory;
    /// A variable of the manager's environment.
    Environment;
    /// A feature of the processor.
    CPUFeature;
    /// A field of os-release(5).
    OSRelease;
    /// Memory pressure.
    MemoryPressure;
    /// Processor pressure.
    CPUPressure;
    /// Disk pressure.
    IOPressure;
}

impl ConditionKind {
    /// The kind that a setting of section `[Unit]` asks for, and whether it is an assert.
    #[must_use]
    pub fn from_setting(key: &str) -> Option<(ConditionKind, bool)> {
        let (name, assert) = match key.strip_prefix("Condition") {
            Some(name) => (name, false),
            None => (key.strip_prefix("Assert")?, true),
        };
        let kind = Self::ALL.iter().find(|kind| kind.name() == name)?;
        Some((*kind, assert))
    }
}

/// One condition or assert.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// What it looks at.
    pub kind: ConditionKind,
    /// `|`: of all conditions with it, one has to hold.
    pub trigger: bool,
    /// `!`: it has to be otherwise.
    pub negate: bool,
    /// What it looks for.
    pub parameter: String,
}

/// Why a condition cannot be read; the setting is ignored then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// A specifier has no value.
    #[error("\"{0}\": {1}")]
    Specifier(String, SpecifierError),
    /// A path that is not one.
    #[error("\"{0}\" is not an absolute path")]
    Path(String),
}

impl Condition {
    /// Reads a setting's value. `None`: it is empty, and the list of conditions (or asserts) begins anew.
    ///
    /// # Errors
    /// [`ConditionError`]
    pub fn parse(
        kind: ConditionKind,
        value: &str,
        specifiers: &Specifiers<'_>,
    ) -> Result<Option<Condition>, ConditionError> {
        if value.is_empty() {
            return Ok(None);
        }
        let blanks = if kind.takes_path() { &[][..] } else { &[' ', '\t', '\n', '\r'][..] };
        let take = |text: &mut &str, sign: char| {
            let found = text.strip_prefix(sign);
            *text = found.map_or(*text, |rest| rest.trim_start_matches(blanks));
            found.is_some()
        };
        let mut rest = value;
        let trigger = take(&mut rest, '|');
        let negate = take(&mut rest, '!');
        let resolved = if kind.takes_path() { specifiers.path(rest) } else { specifiers.text(rest) };
        let mut parameter = resolved.map_err(|error| ConditionError::Specifier(rest.to_owned(), error))?;
        if kind.takes_path() {
            if !parameter.starts_with('/') {
                return Err(ConditionError::Path(parameter));
            }
            let parts: Vec<&str> = parameter.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            parameter = format!("/{}", parts.join("/"));
        }
        Ok(Some(Condition { kind, trigger, negate, parameter }))
    }

    /// Whether the condition holds, the `!` taken into account.
    ///
    /// # Errors
    /// A sentence, when that cannot be found out.
    pub fn holds(&self, machine: &dyn Machine) -> Result<bool, String> {
        Ok(checks::check(self.kind, &self.parameter, machine)? != self.negate)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trigger = if self.trigger { "|" } else { "" };
        let negate = if self.negate { "!" } else { "" };
        write!(f, "{}={trigger}{negate}{}", self.kind.name(), self.parameter)
    }
}

/// What became of one condition of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Not looked at, because one before it decided.
    Untested,
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It cannot be decided, for this reason; counts as one that fails.
    Unknown(String),
}

/// What became of a list of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Whether the list as a whole holds.
    pub holds: bool,
    /// What became of each, in the list's order.
    pub outcomes: Vec<Outcome>,
}

/// Looks whether every condition holds and, of those with `|`, one. An empty list holds.
#[must_use]
pub fn evaluate(conditions: &[Condition], machine: &dyn Machine) -> Evaluation {
    let mut outcomes = vec![Outcome::Untested; conditions.len()];
    let mut triggered = None;
    for (condition, outcome) in conditions.iter().zip(&mut outcomes) {
        *outcome = match condition.holds(machine) {
            Ok(true) => Outcome::Holds,
            Ok(false) => Outcome::Fails,
            Err(reason) => Outcome::Unknown(reason),
        };
        let holds = *outcome == Outcome::Holds;
        if !condition.trigger && !holds {
            return Evaluation { holds: false, outcomes };
        }
        if condition.trigger {
            triggered = Some(triggered.unwrap_or(false) || holds);
        }
    }
    Evaluation { holds: triggered != Some(false), outcomes }
}

/// Whether a text fits a pattern of fnmatch(3): `*`, `?`, `[…]`.
#[must_use]
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    compare::matches(pattern, text, false)
}
