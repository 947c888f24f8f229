// SPDX-License-Identifier: GPL-2.0-or-later
//! What edges do: the facets the job engine acts on.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::Dependency;

/// A set of the single things that an edge `this → other` can mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Atoms(u64);

macro_rules! atoms {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)+) => {
        impl Atoms {
            $($(#[$doc])* pub const $name: Atoms = Atoms(1 << $bit);)+
            const NAMES: &'static [(Atoms, &'static str)] = &[$((Atoms::$name, stringify!($name)),)+];
        }
    };
}

atoms! {
    /// A start of this unit brings in a start of the other, and fails when that cannot be.
    PULL_IN_START = 0;
    /// The same, but this unit's start goes on when the other's cannot be.
    PULL_IN_START_IGNORED = 1;
    /// A start of this unit brings in a check that the other is up.
    PULL_IN_VERIFY = 2;
    /// A start of this unit brings in a stop of the other, and fails when that cannot be.
    PULL_IN_STOP = 3;
    /// The same, but this unit's start goes on.
    PULL_IN_STOP_IGNORED = 4;
    /// When this unit goes down, look whether the other one (`StopWhenUnneeded=`) is still needed.
    QUEUE_STOP_WHEN_UNNEEDED = 5;
    /// While this unit's other side is up, it is needed: `StopWhenUnneeded=` does not stop this unit.
    PINS_STOP_WHEN_UNNEEDED = 6;
    /// This unit is stopped when the other one is found down.
    CANNOT_BE_ACTIVE_WITHOUT = 7;
    /// When this unit goes down, look whether the other one may stay up without it.
    QUEUE_CANNOT_BE_ACTIVE_WITHOUT = 8;
    /// This unit is started whenever it is down while the other is up.
    START_STEADILY = 9;
    /// When this unit comes up, look whether the other one has to be started.
    QUEUE_START_WHEN_UPHELD = 10;
    /// When this unit came up without a job, start the other in mode `replace`.
    RETROACTIVE_START_REPLACE = 11;
    /// When this unit came up without a job, start the other in mode `fail`.
    RETROACTIVE_START_FAIL = 12;
    /// When this unit came up without a job, stop the other.
    RETROACTIVE_STOP_ON_START = 13;
    /// When this unit went down without a job, stop the other.
    RETROACTIVE_STOP_ON_STOP = 14;
    /// When this unit's start job fails, so does the other's.
    PROPAGATE_START_FAILURE = 15;
    /// When this unit's stop job fails, so does the other's start job that waits for it.
    PROPAGATE_STOP_FAILURE = 16;
    /// When this unit's start job is done and the unit is down all the same, the other's start job fails.
    PROPAGATE_INACTIVE_START_AS_FAILURE = 17;
    /// A stop of this unit brings in a stop of the other.
    PROPAGATE_STOP = 18;
    /// A restart of this unit brings in a try-restart of the other.
    PROPAGATE_RESTART = 19;
    /// The other unit may be a target whose default `After=` on this unit's kind is to be looked at again.
    QUEUE_DEFAULT_TARGET = 20;
    /// The other unit, if it is a target, is ordered after this one by default.
    DEFAULT_TARGET = 21;
    /// [`Dependency::OnFailure`] itself.
    ON_FAILURE = 22;
    /// [`Dependency::OnSuccess`] itself.
    ON_SUCCESS = 23;
    /// [`Dependency::OnFailureOf`] itself.
    ON_FAILURE_OF = 24;
    /// [`Dependency::OnSuccessOf`] itself.
    ON_SUCCESS_OF = 25;
    /// [`Dependency::Before`] itself.
    BEFORE = 26;
    /// [`Dependency::After`] itself.
    AFTER = 27;
    /// [`Dependency::Triggers`] itself.
    TRIGGERS = 28;
    /// [`Dependency::TriggeredBy`] itself.
    TRIGGERED_BY = 29;
    /// [`Dependency::PropagatesReloadTo`] itself.
    PROPAGATES_RELOAD_TO = 30;
    /// [`Dependency::JoinsNamespaceOf`] itself.
    JOINS_NAMESPACE_OF = 31;
    /// [`Dependency::References`] itself.
    REFERENCES = 32;
    /// [`Dependency::ReferencedBy`] itself.
    REFERENCED_BY = 33;
    /// [`Dependency::InSlice`] itself.
    IN_SLICE = 34;
    /// [`Dependency::SliceOf`] itself.
    SLICE_OF = 35;
}

impl Atoms {
    /// The empty set.
    pub const NONE: Atoms = Atoms(0);

    /// Both sets together; `|` for constants.
    #[must_use]
    pub const fn and(self, other: Atoms) -> Atoms {
        Atoms(self.0 | other.0)
    }

    /// Whether every atom of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Atoms) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets share an atom.
    #[must_use]
    pub const fn intersects(self, other: Atoms) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Atoms {
    type Output = Atoms;
    fn bitor(self, other: Atoms) -> Atoms {
        self.and(other)
    }
}

impl BitOrAssign for Atoms {
    fn bitor_assign(&mut self, other: Atoms) {
        *self = self.and(other);
    }
}

impl fmt::Debug for Atoms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Self::NAMES.iter().filter(|(atom, _)| self.contains(*atom)).map(|(_, name)| name))
            .finish()
    }
}
