// SPDX-License-Identifier: GPL-2.0-or-later
//! What one unit can be to another, and what follows from it.
//!
//! A dependency has three sides, and each has its type here:
//!
//! ```text
//!   what the administrator wrote    Dependency   Requires= After= PartOf= …, each with its inverse
//!   what the job engine acts on     Atoms        "pull in a start", "propagate a stop", …
//!   where the edge came from        Origins      a file, a rule of the unit's type, /proc/self/mountinfo, …
//! ```
//!
//! A [`Dependency`] is a name for a set of [`Atoms`]; code that acts asks for an atom and never for a kind, so that
//! `Requires=` and `BindsTo=` cannot drift apart where they are meant to agree. An edge `a → b` of one kind always has
//! a twin `b → a` of the [inverse](Dependency::inverse) kind, and most of what a requirement does when the other side
//! stops is told by the atoms of the inverse: `b` stops, `b` is `RequiredBy` `a`, and that kind propagates a stop.
//!
//! [`Origins`] says who asked for an edge. An edge may have several origins and is gone when the last one is: a mount
//! that leaves `/proc/self/mountinfo` takes back what the kernel's table asked for and leaves what its unit file did.
//!
//! The kinds and the meaning of each are those of systemd.unit(5); the names are those of the D-Bus properties of
//! `org.freedesktop.systemd1.Unit`, see org.freedesktop.systemd1(5).

mod atoms;
mod origins;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use atoms::Atoms;
pub use origins::Origins;

use crate::name::UnitType;

/// A kind of edge from one unit to another.
///
/// The order is that in which tools list them; the number of a variant is stable within one version only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Dependency {
    /// Start the other one too, and fail when it cannot be; stop when it is stopped.
    Requires,
    /// The other one has to be up already; it is not started.
    Requisite,
    /// Start the other one too; go on when it fails.
    Wants,
    /// As `Requires`, and also stop when the other one goes away by itself.
    BindsTo,
    /// Stop and restart when the other one is stopped or restarted.
    PartOf,
    /// Keep the other one up: start it again whenever it is found down.
    Upholds,
    /// Inverse of `Requires`.
    RequiredBy,
    /// Inverse of `Requisite`.
    RequisiteOf,
    /// Inverse of `Wants`.
    WantedBy,
    /// Inverse of `BindsTo`.
    BoundBy,
    /// Inverse of `PartOf`.
    ConsistsOf,
    /// Inverse of `Upholds`.
    UpheldBy,
    /// Never up at one time: starting this one stops the other one.
    Conflicts,
    /// Inverse of `Conflicts`.
    ConflictedBy,
    /// This one's start is finished before the other one's begins; at stop the other way round.
    Before,
    /// Inverse of `Before`.
    After,
    /// Start the other one when this one ends well.
    OnSuccess,
    /// Inverse of `OnSuccess`.
    OnSuccessOf,
    /// Start the other one when this one fails.
    OnFailure,
    /// Inverse of `OnFailure`.
    OnFailureOf,
    /// This one (socket, timer, path, automount) starts the other one when its event comes.
    Triggers,
    /// Inverse of `Triggers`.
    TriggeredBy,
    /// A reload of this one reloads the other one.
    PropagatesReloadTo,
    /// Inverse of `PropagatesReloadTo`.
    ReloadPropagatedFrom,
    /// A stop of this one stops the other one.
    PropagatesStopTo,
    /// Inverse of `PropagatesStopTo`.
    StopPropagatedFrom,
    /// Share the namespaces of the other one; its own inverse.
    JoinsNamespaceOf,
    /// Keeps the other one from being forgotten.
    References,
    /// Inverse of `References`.
    ReferencedBy,
    /// Lives in that slice of the control-group tree.
    InSlice,
    /// Inverse of `InSlice`.
    SliceOf,
}

impl Dependency {
    /// How many kinds there are; a table indexed by [`Dependency::index`] has this length.
    pub const COUNT: usize = Self::ALL.len();

    /// Every kind, in order.
    pub const ALL: [Dependency; 31] = {
        use Dependency::*;
        [
            Requires,
            Requisite,
            Wants,
            BindsTo,
            PartOf,
            Upholds,
            RequiredBy,
            RequisiteOf,
            WantedBy,
            BoundBy,
            ConsistsOf,
            UpheldBy,
            Conflicts,
            ConflictedBy,
            Before,
            After,
            OnSuccess,
            OnSuccessOf,
            OnFailure,
            OnFailureOf,
            Triggers,
            TriggeredBy,
            PropagatesReloadTo,
            ReloadPropagatedFrom,
            PropagatesStopTo,
            StopPropagatedFrom,
            JoinsNamespaceOf,
            References,
            ReferencedBy,
            InSlice,
            SliceOf,
        ]
    };

    /// This kind's place in [`Dependency::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind of the twin edge in the other direction.
    #[must_use]
    pub const fn inverse(self) -> Dependency {
        use Dependency::*;
        match self {
            Requires => RequiredBy,
            RequiredBy => Requires,
            Requisite => RequisiteOf,
            RequisiteOf => Requisite,
            Wants => WantedBy,
            WantedBy => Wants,
            BindsTo => BoundBy,
            BoundBy => BindsTo,
            PartOf => ConsistsOf,
            ConsistsOf => PartOf,
            Upholds => UpheldBy,
            UpheldBy => Upholds,
            Conflicts => ConflictedBy,
            ConflictedBy => Conflicts,
            Before => After,
            After => Before,
            OnSuccess => OnSuccessOf,
            OnSuccessOf => OnSuccess,
            OnFailure => OnFailureOf,
            OnFailureOf => OnFailure,
            Triggers => TriggeredBy,
            TriggeredBy => Triggers,
            PropagatesReloadTo => ReloadPropagatedFrom,
            ReloadPropagatedFrom => PropagatesReloadTo,
            PropagatesStopTo => StopPropagatedFrom,
            StopPropagatedFrom => PropagatesStopTo,
            JoinsNamespaceOf => JoinsNamespaceOf,
            References => ReferencedBy,
            ReferencedBy => References,
            InSlice => SliceOf,
            SliceOf => InSlice,
        }
    }

    /// What this kind does, as the job engine sees it.
    ///
    /// Inverses of pure propagation (`ReloadPropagatedFrom`, `StopPropagatedFrom`) do nothing: they are there to be
    /// looked at.
    #[must_use]
    pub const fn atoms(self) -> Atoms {
        use Dependency::*;
        const WATCHED: Atoms = Atoms::QUEUE_STOP_WHEN_UNNEEDED.and(Atoms::QUEUE_DEFAULT_TARGET);
        const WATCHED_BY: Atoms = Atoms::PINS_STOP_WHEN_UNNEEDED.and(Atoms::DEFAULT_TARGET);
        const STOPS_WITH: Atoms = Atoms::PROPAGATE_STOP.and(Atoms::PROPAGATE_RESTART);
        match self {
            Requires => Atoms::PULL_IN_START.and(Atoms::RETROACTIVE_START_REPLACE).and(WATCHED),
            Requisite => Atoms::PULL_IN_VERIFY.and(WATCHED),
            Wants => Atoms::PULL_IN_START_IGNORED.and(Atoms::RETROACTIVE_START_FAIL).and(WATCHED),
            BindsTo => Requires.atoms().and(Atoms::CANNOT_BE_ACTIVE_WITHOUT),
            PartOf => Atoms::QUEUE_DEFAULT_TARGET,
            Upholds => Atoms::PULL_IN_START_IGNORED
                .and(Atoms::RETROACTIVE_START_REPLACE)
                .and(Atoms::QUEUE_START_WHEN_UPHELD)
                .and(WATCHED),
            RequiredBy => STOPS_WITH.and(Atoms::PROPAGATE_START_FAILURE).and(WATCHED_BY),
            RequisiteOf => RequiredBy.atoms().and(Atoms::PROPAGATE_INACTIVE_START_AS_FAILURE),
            WantedBy => WATCHED_BY,
            BoundBy => {
                RequiredBy.atoms().and(Atoms::RETROACTIVE_STOP_ON_STOP).and(Atoms::QUEUE_CANNOT_BE_ACTIVE_WITHOUT)
            }
            UpheldBy => WATCHED_BY.and(Atoms::START_STEADILY),
            ConsistsOf => STOPS_WITH,
            Conflicts => Atoms::PULL_IN_STOP.and(Atoms::RETROACTIVE_STOP_ON_START),
            ConflictedBy => {
                Atoms::PULL_IN_STOP_IGNORED.and(Atoms::RETROACTIVE_STOP_ON_START).and(Atoms::PROPAGATE_STOP_FAILURE)
            }
            PropagatesStopTo => Atoms::PROPAGATE_STOP.and(Atoms::RETROACTIVE_STOP_ON_STOP),
            Before => Atoms::BEFORE,
            After => Atoms::AFTER,
            OnSuccess => Atoms::ON_SUCCESS,
            OnSuccessOf => Atoms::ON_SUCCESS_OF,
            OnFailure => Atoms::ON_FAILURE,
            OnFailureOf => Atoms::ON_FAILURE_OF,
            Triggers => Atoms::TRIGGERS,
            TriggeredBy => Atoms::TRIGGERED_BY,
            PropagatesReloadTo => Atoms::PROPAGATES_RELOAD_TO,
            JoinsNamespaceOf => Atoms::JOINS_NAMESPACE_OF,
            References => Atoms::REFERENCES,
            ReferencedBy => Atoms::REFERENCED_BY,
            InSlice => Atoms::IN_SLICE,
            SliceOf => Atoms::SLICE_OF,
            ReloadPropagatedFrom | StopPropagatedFrom => Atoms::NONE,
        }
    }

    /// The kinds that hold at least one of `atoms`, in order.
    pub fn with_any(atoms: Atoms) -> impl Iterator<Item = Dependency> + Clone {
        Self::ALL.into_iter().filter(move |kind| kind.atoms().intersects(atoms))
    }

    /// The D-Bus property and, for kinds a file can ask for, the setting's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        use Dependency::*;
        match self {
            Requires => "Requires",
            Requisite => "Requisite",
            Wants => "Wants",
            BindsTo => "BindsTo",
            PartOf => "PartOf",
            Upholds => "Upholds",
            RequiredBy => "RequiredBy",
            RequisiteOf => "RequisiteOf",
            WantedBy => "WantedBy",
            BoundBy => "BoundBy",
            ConsistsOf => "ConsistsOf",
            UpheldBy => "UpheldBy",
            Conflicts => "Conflicts",
            ConflictedBy => "ConflictedBy",
            Before => "Before",
            After => "After",
            OnSuccess => "OnSuccess",
            OnSuccessOf => "OnSuccessOf",
            OnFailure => "OnFailure",
            OnFailureOf => "OnFailureOf",
            Triggers => "Triggers",
            TriggeredBy => "TriggeredBy",
            PropagatesReloadTo => "PropagatesReloadTo",
            ReloadPropagatedFrom => "ReloadPropagatedFrom",
            PropagatesStopTo => "PropagatesStopTo",
            StopPropagatedFrom => "StopPropagatedFrom",
            JoinsNamespaceOf => "JoinsNamespaceOf",
            References => "References",
            ReferencedBy => "ReferencedBy",
            InSlice => "InSlice",
            SliceOf => "SliceOf",
        }
    }

    /// The kind of this name, whether a file may ask for it or not.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Dependency> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind that a setting of section `[Unit]` asks for; old spellings included.
    ///
    /// `Slice=`, `Sockets=`, `Service=` and `Unit=` make edges too, but have values and rules of their own.
    #[must_use]
    pub fn from_setting(key: &str) -> Option<Dependency> {
        use Dependency::*;
        Some(match key {
            "Requires" => Requires,
            "Requisite" => Requisite,
            "Wants" => Wants,
            "BindsTo" | "BindTo" => BindsTo,
            "PartOf" => PartOf,
            "Upholds" => Upholds,
            "Conflicts" => Conflicts,
            "Before" => Before,
            "After" => After,
            "OnSuccess" => OnSuccess,
            "OnFailure" => OnFailure,
            "PropagatesReloadTo" | "PropagateReloadTo" => PropagatesReloadTo,
            "ReloadPropagatedFrom" | "PropagateReloadFrom" => ReloadPropagatedFrom,
            "PropagatesStopTo" => PropagatesStopTo,
            "StopPropagatedFrom" => StopPropagatedFrom,
            "JoinsNamespaceOf" => JoinsNamespaceOf,
            // Obsolete names of which only the requirement is left, see systemd.unit(5) of version 230.
            "RequiresOverridable" => Requires,
            "RequisiteOverridable" => Requisite,
            _ => return None,
        })
    }
}

/// Why an edge of a kind cannot be between units of two types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A device shows up when it does; nothing can be made to come before it.
    #[error("a device cannot be made to wait for another unit")]
    BeforeDevice,
    /// A unit that cannot fail has no use for `OnFailure=`.
    #[error("units of this type cannot fail")]
    CannotFail,
    /// Only sockets, timers, paths and automounts trigger.
    #[error("units of this type cannot trigger another unit")]
    CannotTrigger,
    /// The other one is no slice, or this one has no control group.
    #[error("only a unit with a control group can be in a slice, and only in a slice")]
    NotASlice,
}

impl Dependency {
    /// Whether an edge of this kind makes sense from a unit of one type to one of another. An edge that does not is
    /// passed over with a warning.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check(self, from: UnitType, to: UnitType) -> Result<(), Refusal> {
        use UnitType::*;
        let triggers = |kind| matches!(kind, Automount | Path | Socket | Timer);
        let grouped = |kind| matches!(kind, Service | Socket | Mount | Swap | Slice | Scope);
        match self {
            Dependency::Before if to == Device => Err(Refusal::BeforeDevice),
            Dependency::OnFailure if matches!(from, Device | Slice) => Err(Refusal::CannotFail),
            Dependency::Triggers if !triggers(from) => Err(Refusal::CannotTrigger),
            Dependency::TriggeredBy if !triggers(to) => Err(Refusal::CannotTrigger),
            Dependency::InSlice if to != Slice || !grouped(from) => Err(Refusal::NotASlice),
            Dependency::SliceOf if from != Slice || !grouped(to) => Err(Refusal::NotASlice),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_kinds_is_complete_and_in_order() {
        for (place, kind) in Dependency::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place, "{kind} is not where its number says");
            assert_eq!(Dependency::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn the_inverse_of_the_inverse_is_the_kind_itself() {
        for kind in Dependency::ALL {
            assert_eq!(kind.inverse().inverse(), kind);
            let own = kind == Dependency::JoinsNamespaceOf;
            assert_eq!(kind.inverse() == kind, own, "{kind}");
        }
    }

    /// Each row is one sentence of systemd.unit(5).
    #[test]
    fn what_the_manual_says_of_each_kind() {
        let does = |kind: Dependency, atom| kind.atoms().contains(atom);
        use Dependency::*;
        // Requires=: started too; explicitly stopped or restarted, this unit will be too; failure to start fails this.
        assert!(does(Requires, Atoms::PULL_IN_START));
        assert!(does(Requires.inverse(), Atoms::PROPAGATE_STOP));
        assert!(does(Requires.inverse(), Atoms::PROPAGATE_RESTART));
        assert!(does(Requires.inverse(), Atoms::PROPAGATE_START_FAILURE));
        // … but a unit that goes away by itself takes only those with it that are bound to it.
        assert!(!does(Requires, Atoms::CANNOT_BE_ACTIVE_WITHOUT));
        assert!(does(BindsTo, Atoms::CANNOT_BE_ACTIVE_WITHOUT));
        assert!(!does(Requires.inverse(), Atoms::RETROACTIVE_STOP_ON_STOP));
        assert!(does(BindsTo.inverse(), Atoms::RETROACTIVE_STOP_ON_STOP));
        // Wants=: failures change nothing.
        assert!(does(Wants, Atoms::PULL_IN_START_IGNORED));
        assert!(!does(Wants.inverse(), Atoms::PROPAGATE_START_FAILURE));
        assert!(!does(Wants.inverse(), Atoms::PROPAGATE_STOP));
        // Requisite=: not started, and a unit that is not up fails this one.
        assert!(!does(Requisite, Atoms::PULL_IN_START));
        assert!(does(Requisite.inverse(), Atoms::PROPAGATE_INACTIVE_START_AS_FAILURE));
        // PartOf=: limited to stopping and restarting, one way.
        assert!(does(PartOf.inverse(), Atoms::PROPAGATE_STOP));
        assert!(does(PartOf.inverse(), Atoms::PROPAGATE_RESTART));
        assert!(!does(PartOf, Atoms::PROPAGATE_STOP));
        assert!(!does(PartOf, Atoms::PULL_IN_START));
        // Upholds=: continuous.
        assert!(does(Upholds.inverse(), Atoms::START_STEADILY));
        // Conflicts=: both ways, and only the side that asked insists.
        assert!(does(Conflicts, Atoms::PULL_IN_STOP));
        assert!(does(Conflicts.inverse(), Atoms::PULL_IN_STOP_IGNORED));
        // PropagatesStopTo= needs no twin.
        assert!(does(PropagatesStopTo, Atoms::PROPAGATE_STOP));
        assert!(PropagatesStopTo.inverse().atoms().is_empty());
        // Ordering and requirement are orthogonal.
        for kind in Dependency::ALL.into_iter().filter(|kind| !matches!(kind, Before | After)) {
            assert!(!kind.atoms().intersects(Atoms::BEFORE | Atoms::AFTER), "{kind}");
        }
    }

    #[test]
    fn edges_that_make_no_sense() {
        use UnitType::*;
        assert_eq!(Dependency::Before.check(Service, Device), Err(Refusal::BeforeDevice));
        assert_eq!(Dependency::After.check(Device, Service), Ok(()));
        assert_eq!(Dependency::OnFailure.check(Slice, Service), Err(Refusal::CannotFail));
        assert_eq!(Dependency::TriggeredBy.check(Service, Service), Err(Refusal::CannotTrigger));
        assert_eq!(Dependency::Triggers.check(Socket, Service), Ok(()));
        assert_eq!(Dependency::InSlice.check(Target, Slice), Err(Refusal::NotASlice));
        assert_eq!(Dependency::SliceOf.check(Slice, Scope), Ok(()));
    }

    #[test]
    fn kinds_are_found_by_what_they_do() {
        let stop: Vec<_> = Dependency::with_any(Atoms::PROPAGATE_STOP).collect();
        use Dependency::*;
        assert_eq!(stop, [RequiredBy, RequisiteOf, BoundBy, ConsistsOf, PropagatesStopTo]);
    }

    #[test]
    fn an_edge_lives_as_long_as_someone_asks_for_it() {
        let both = Origins::FILE | Origins::MOUNT_TABLE;
        let left = both.without(Origins::MOUNT_TABLE);
        assert_eq!(left, Origins::FILE);
        assert!(left.without(Origins::FILE).is_empty());
        assert_eq!(both & !Origins::FILE, Origins::MOUNT_TABLE);
        assert_eq!(format!("{both:?}"), r#"{"file", "mountinfo"}"#);
    }
}
