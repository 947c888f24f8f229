// SPDX-License-Identifier: GPL-2.0-or-later
//! Why a wish is not granted, and what is worth a word when it is.
//!
//! The sentences about units that are not there, masked or not fit are the ones `systemctl` has always shown for them;
//! people search for them.

use std::fmt;

use ssi_unit::name::UnitName;

use super::super::types::JobType;

/// One job of an ordering cycle.
pub type Link = (UnitName, JobType);

/// Why there is no transaction. [`TransactionError::bus_name`] is what a client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// There is no file of the unit.
    #[error("Unit {unit} not found.")]
    NoSuchUnit {
        /// The unit.
        unit: UnitName,
    },
    /// A person wants to stop what was never there.
    #[error("Unit {unit} not loaded.")]
    NotLoadedForStop {
        /// The unit.
        unit: UnitName,
    },
    /// A setting makes the unit unusable.
    #[error("Unit {unit} has a bad unit file setting.")]
    BadUnitSetting {
        /// The unit.
        unit: UnitName,
    },
    /// Its file could not be read.
    #[error("Unit {unit} failed to load properly, please adjust/correct and reload service manager.")]
    LoadFailed {
        /// The unit.
        unit: UnitName,
    },
    /// Its files were not looked for yet, or it is being merged into another one.
    #[error("Unit {unit} is not loaded properly.")]
    NotLoaded {
        /// The unit.
        unit: UnitName,
    },
    /// The administrator does not want it.
    #[error("Unit {unit} is masked.")]
    Masked {
        /// The unit.
        unit: UnitName,
    },
    /// Units of this kind cannot do that.
    #[error("Job type {kind} is not applicable for unit {unit}.")]
    JobTypeNotApplicable {
        /// The unit.
        unit: UnitName,
        /// What it cannot do.
        kind: JobType,
    },
    /// `RefuseManualStart=` or `RefuseManualStop=`.
    #[error(
        "Operation refused, unit {unit} may be requested by dependency only (it is configured to refuse manual start/stop)."
    )]
    OnlyByDependency {
        /// The unit.
        unit: UnitName,
    },
    /// `AllowIsolate=no`.
    #[error("Operation refused, unit may not be isolated.")]
    NoIsolation {
        /// The unit.
        unit: UnitName,
    },
    /// Only a start can isolate.
    #[error("Isolate is only valid for start.")]
    IsolateIsForStart,
    /// Only a stop can take along what triggers the unit.
    #[error("--job-mode=triggering is only valid for stop.")]
    TriggeringIsForStop,
    /// The wish itself needs a unit both up and down.
    #[error(
        "Transaction contains conflicting jobs '{one}' and '{other}' for {unit}. Probably contradicting requirement dependencies configured."
    )]
    JobsConflicting {
        /// The unit.
        unit: UnitName,
        /// One job it would need.
        one: JobType,
        /// And another.
        other: JobType,
    },
    /// The wish needs jobs that all wait for one another.
    #[error("Transaction order is cyclic: {}.", Cycle(cycle))]
    OrderIsCyclic {
        /// Each waits for the next one, and the last one for the first.
        cycle: Vec<Link>,
    },
    /// A queued job stands against it, and may not be replaced.
    #[error(
        "Transaction for {}/{} is destructive ({unit} has '{queued}' job queued, but '{planned}' is included in transaction).",
        anchor.0, anchor.1
    )]
    IsDestructive {
        /// What was wished for.
        anchor: Link,
        /// The unit that has a job.
        unit: UnitName,
        /// That job.
        queued: JobType,
        /// What the transaction would do with it.
        planned: JobType,
    },
}

impl TransactionError {
    /// The name of the D-Bus error.
    #[must_use]
    pub fn bus_name(&self) -> &'static str {
        match self {
            Self::NoSuchUnit { .. } | Self::NotLoadedForStop { .. } => "org.freedesktop.systemd1.NoSuchUnit",
            Self::BadUnitSetting { .. } => "org.freedesktop.systemd1.BadUnitSetting",
            Self::LoadFailed { .. } | Self::NotLoaded { .. } => "org.freedesktop.systemd1.LoadFailed",
            Self::Masked { .. } => "org.freedesktop.systemd1.UnitMasked",
            Self::JobTypeNotApplicable { .. } => "org.freedesktop.systemd1.JobTypeNotApplicable",
            Self::OnlyByDependency { .. } => "org.freedesktop.systemd1.OnlyByDependency",
            Self::NoIsolation { .. } => "org.freedesktop.systemd1.NoIsolation",
            Self::IsolateIsForStart | Self::TriggeringIsForStop => "org.freedesktop.DBus.Error.InvalidArgs",
            Self::JobsConflicting { .. } => "org.freedesktop.systemd1.TransactionJobsConflicting",
            Self::OrderIsCyclic { .. } => "org.freedesktop.systemd1.TransactionOrderIsCyclic",
            Self::IsDestructive { .. } => "org.freedesktop.systemd1.TransactionIsDestructive",
        }
    }

    /// The unit that stands in the way.
    #[must_use]
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::NoSuchUnit { unit }
            | Self::NotLoadedForStop { unit }
            | Self::BadUnitSetting { unit }
            | Self::LoadFailed { unit }
            | Self::NotLoaded { unit }
            | Self::Masked { unit }
            | Self::JobTypeNotApplicable { unit, .. }
            | Self::OnlyByDependency { unit }
            | Self::NoIsolation { unit }
            | Self::JobsConflicting { unit, .. }
            | Self::IsDestructive { unit, .. } => Some(unit),
            Self::OrderIsCyclic { cycle } => cycle.first().map(|(unit, _)| unit),
            Self::IsolateIsForStart | Self::TriggeringIsForStop => None,
        }
    }
}

/// Something about a plan for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A unit wanted another one, which cannot be had; it goes on without.
    Ignored {
        /// The unit that wanted it.
        by: UnitName,
        /// What it wanted of the other one.
        kind: JobType,
        /// Why not.
        error: Box<TransactionError>,
        /// It is usual: the other unit is not installed, masked or not of that kind.
        usual: bool,
    },
    /// Jobs waited for one another; one was dropped.
    CycleBroken {
        /// Each waits for the next one, and the last one for the first.
        cycle: Vec<Link>,
        /// The one that will not happen.
        deleted: Link,
    },
    /// Two jobs of a unit contradicted each other, and one could be dropped.
    ConflictSettled {
        /// The unit.
        unit: UnitName,
        /// The job that stays.
        kept: JobType,
        /// The one that will not happen.
        deleted: JobType,
    },
    /// Nothing the wish needs, and it would have stopped a running unit or changed a queued job.
    Spared {
        /// The unit.
        unit: UnitName,
        /// What will not happen.
        deleted: JobType,
    },
}

impl Notice {
    /// Whether somebody should look at it; the others are for those who look for a mistake.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Ignored { usual, .. } => !usual,
            Self::CycleBroken { .. } => true,
            Self::ConflictSettled { .. } | Self::Spared { .. } => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { by, kind, error, .. } => write!(f, "{by}: goes on without a {kind} job it wants: {error}"),
            Self::CycleBroken { cycle, deleted: (unit, kind) } => {
                write!(
                    f,
                    "Found ordering cycle: {}. Job {unit}/{kind} deleted to break it; check their Before= and After=",
                    Cycle(cycle)
                )
            }
            Self::ConflictSettled { unit, kept, deleted } => {
                write!(f, "{unit}: dropped a {deleted} job that contradicts its {kept} job")
            }
            Self::Spared { unit, deleted } => {
                write!(f, "{unit}: dropped a {deleted} job, for it is not needed and would undo what is there")
            }
        }
    }
}

/// A cycle in words, every unit by name.
struct Cycle<'a>(&'a [Link]);

impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, kind) in self.0 {
            write!(f, "{unit}/{kind} waits for ")?;
        }
        match self.0.first() {
            Some((unit, kind)) => write!(f, "{unit}/{kind}"),
            None => f.write_str("nothing"),
        }
    }
}
