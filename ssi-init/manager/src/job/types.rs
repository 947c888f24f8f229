// SPDX-License-Identifier: GPL-2.0-or-later
//! What a job does, how two of them become one, and which of two goes first.
//!
//! The rules are tables, and systemd 252's: `systemctl list-jobs` and the D-Bus signals show their effects, and packages
//! rely on them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::core::state::ActiveState;

/// Defines an enum whose variants have words that people and the bus know them by.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word of org.freedesktop.systemd1(5).
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one of this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

named! {
    /// What may be asked for. What depends on the unit's state is settled when it is asked for ([`Request::settle`]).
    Request {
        /// Bring the unit up.
        Start = "start",
        /// See that the unit is up, and do nothing for it.
        VerifyActive = "verify-active",
        /// Take the unit down.
        Stop = "stop",
        /// Have the unit read its configuration anew.
        Reload = "reload",
        /// Take the unit down, if it is up, and bring it up.
        Restart = "restart",
        /// Restart, but leave a unit alone that is down.
        TryRestart = "try-restart",
        /// Reload, but leave a unit alone that is down.
        TryReload = "try-reload",
        /// Reload, and start a unit that is down.
        ReloadOrStart = "reload-or-start",
        /// Nothing, and be told when that is done.
        Nop = "nop",
    }
}

named! {
    /// What a job does.
    JobType {
        /// Bring the unit up.
        Start = "start",
        /// See that the unit is up, and do nothing for it.
        VerifyActive = "verify-active",
        /// Take the unit down.
        Stop = "stop",
        /// Have the unit read its configuration anew.
        Reload = "reload",
        /// Take the unit down. Once that is done, the job becomes a start.
        Restart = "restart",
        /// Nothing. Has a place of its own beside the unit's other job.
        Nop = "nop",
    }
}

named! {
    /// What a job is at.
    JobState {
        /// For others it has to come after, or for the unit to be ready for it.
        Waiting = "waiting",
        /// The unit is at it.
        Running = "running",
    }
}

named! {
    /// How a job ended.
    JobResult {
        /// As it should.
        Done = "done",
        /// It was taken back, or a later one replaced it.
        Canceled = "canceled",
        /// It took too long.
        Timeout = "timeout",
        /// The unit could not do it.
        Failed = "failed",
        /// A job it depends on did not end well.
        Dependency = "dependency",
        /// It does not apply to the state the unit is in.
        Skipped = "skipped",
        /// The unit's files are not fit for it.
        Invalid = "invalid",
        /// An assertion did not hold.
        Assert = "assert",
        /// Units of this type do not work on this machine.
        Unsupported = "unsupported",
        /// Nothing waited for it any more.
        Collected = "collected",
        /// The unit starts only once, and did.
        Once = "once",
    }
}

/// On which side of another unit a unit is ordered, as `Before=` and `After=` say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This unit has `Before=` on the other one.
    Before,
    /// This unit has `After=` on the other one.
    After,
}

impl Request {
    /// The job for a unit in this state.
    #[must_use]
    pub fn settle(self, active: ActiveState) -> JobType {
        match self {
            Request::Start => JobType::Start,
            Request::VerifyActive => JobType::VerifyActive,
            Request::Stop => JobType::Stop,
            Request::Reload => JobType::Reload,
            Request::Restart => JobType::Restart,
            Request::Nop => JobType::Nop,
            // A unit on its way up may have looked at the old state of what is restarted: it goes once more.
            Request::TryRestart if active.is_active_or_activating() => JobType::Restart,
            Request::TryReload if active.is_active_or_reloading() => JobType::Reload,
            Request::TryRestart | Request::TryReload => JobType::Nop,
            Request::ReloadOrStart if active.is_active_or_reloading() => JobType::Reload,
            Request::ReloadOrStart => JobType::Start,
        }
    }

    /// The milder request of `systemctl reload-or-restart` for a unit that can reload.
    #[must_use]
    pub fn prefer_reload(self) -> Request {
        match self {
            Request::Restart => Request::ReloadOrStart,
            Request::TryRestart => Request::TryReload,
            other => other,
        }
    }
}

impl From<JobType> for Request {
    fn from(kind: JobType) -> Request {
        match kind {
            JobType::Start => Request::Start,
            JobType::VerifyActive => Request::VerifyActive,
            JobType::Stop => Request::Stop,
            JobType::Reload => Request::Reload,
            JobType::Restart => Request::Restart,
            JobType::Nop => Request::Nop,
        }
    }
}

impl JobType {
    /// The one request that does what both do; `None` when they contradict each other.
    fn union(self, other: JobType) -> Option<Request> {
        use JobType::*;
        Some(match (self, other) {
            (one, two) if one == two => one.into(),
            (Nop, one) | (one, Nop) => one.into(),
            (Stop, _) | (_, Stop) => return None,
            (Restart, _) | (_, Restart) => Request::Restart,
            (Start, Reload) | (Reload, Start) => Request::ReloadOrStart,
            (Start, _) | (_, Start) => Request::Start,
            (Reload, _) | (_, Reload) => Request::Reload,
            (VerifyActive, VerifyActive) => Request::VerifyActive,
        })
    }

    /// The one job that does what both do for a unit in this state; `None` when they contradict each other.
    ///
    /// The order in which several are merged does not matter; and when `a` and `b` together contradict `c`, then one of
    /// them alone does.
    #[must_use]
    pub fn merge(self, other: JobType, active: ActiveState) -> Option<JobType> {
        self.union(other).map(|request| request.settle(active))
    }

    /// Whether two jobs of one unit contradict each other.
    #[must_use]
    pub fn conflicts_with(self, other: JobType) -> bool {
        self.union(other).is_none()
    }

    /// Whether this job does all that the other one does, whatever the unit's state.
    #[must_use]
    pub fn covers(self, other: JobType) -> bool {
        self.union(other) == Some(self.into())
    }

    /// Whether the job has nothing to do for a unit in this state. A restart always has.
    #[must_use]
    pub fn is_redundant(self, active: ActiveState) -> bool {
        match self {
            JobType::Start | JobType::VerifyActive => active.is_active_or_reloading(),
            JobType::Stop => matches!(active, ActiveState::Inactive | ActiveState::Failed),
            JobType::Reload => active == ActiveState::Reloading,
            JobType::Restart => false,
            JobType::Nop => true,
        }
    }

    /// Whether the unit goes down first.
    #[must_use]
    pub fn takes_down(self) -> bool {
        matches!(self, JobType::Stop | JobType::Restart)
    }

    /// Which of two jobs goes first, when the unit of this one is on that side of the unit of the other one.
    ///
    /// | b has `After=a` | goes first | then |
    /// | --- | --- | --- |
    /// | start a, start b | start a | start b |
    /// | start a, stop b | stop b | start a |
    /// | stop a, start b | stop a | start b |
    /// | stop a, stop b | stop b | stop a |
    ///
    /// A restart counts as a stop, until it is a start. [`Ordering::Less`]: this one goes first; `Equal`: they do not
    /// care.
    #[must_use]
    pub fn order(self, side: Side, other: JobType) -> Ordering {
        if self == JobType::Nop || other == JobType::Nop {
            return Ordering::Equal;
        }
        match side {
            Side::Before if other.takes_down() => Ordering::Greater,
            Side::Before => Ordering::Less,
            Side::After => other.order(Side::Before, self).reverse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ActiveState::*;

    const STATES: [ActiveState; 7] = [Active, Reloading, Inactive, Failed, Activating, Deactivating, Maintenance];

    #[test]
    fn words_lead_back() {
        for request in Request::ALL {
            assert_eq!(Request::from_word(request.word()), Some(*request));
        }
        for result in JobResult::ALL {
            assert_eq!(JobResult::from_word(result.word()), Some(*result));
        }
        assert_eq!(JobType::from_word("try-restart"), None, "that is settled before there is a job");
    }

    /// Rows and columns: start, verify-active, stop, reload, restart; for a unit that is down.
    #[test]
    fn the_table_of_merges() {
        use JobType::*;
        let order = [Start, VerifyActive, Stop, Reload, Restart];
        let table = [
            [Some(Start), Some(Start), None, Some(Start), Some(Restart)],
            [Some(Start), Some(VerifyActive), None, Some(Reload), Some(Restart)],
            [None, None, Some(Stop), None, None],
            [Some(Start), Some(Reload), None, Some(Reload), Some(Restart)],
            [Some(Restart), Some(Restart), None, Some(Restart), Some(Restart)],
        ];
        for (one, row) in order.into_iter().zip(table) {
            for (two, merged) in order.into_iter().zip(row) {
                assert_eq!(one.merge(two, Inactive), merged, "{one} and {two}");
            }
        }
        assert_eq!(Start.merge(Reload, Active), Some(Reload));
    }

    #[test]
    fn merging_is_commutative_and_associative_and_contradictions_are_of_two() {
        for active in STATES {
            for &a in JobType::ALL {
                for &b in JobType::ALL {
                    assert_eq!(a.merge(b, active), b.merge(a, active));
                    for &c in JobType::ALL {
                        let left = a.merge(b, active).and_then(|ab| ab.merge(c, active));
                        let right = b.merge(c, active).and_then(|bc| a.merge(bc, active));
                        assert_eq!(left, right, "{a}, {b} and {c} of a unit that is {}", active.word());
                        let of_two = a.conflicts_with(b) || b.conflicts_with(c) || a.conflicts_with(c);
                        assert_eq!(left.is_none(), of_two);
                    }
                }
            }
        }
    }

    #[test]
    fn what_covers_what() {
        use JobType::*;
        let covered: Vec<_> = JobType::ALL
            .iter()
            .flat_map(|&a| JobType::ALL.iter().map(move |&b| (a, b)))
            .filter(|(a, b)| a != b && *b != Nop && a.covers(*b))
            .collect();
        let expected = [
            (Start, VerifyActive),
            (Reload, VerifyActive),
            (Restart, Start),
            (Restart, VerifyActive),
            (Restart, Reload),
        ];
        assert_eq!(covered, expected);
        assert!(!Start.covers(Reload) && !Reload.covers(Start), "together they are more than each");
    }

    #[test]
    fn requests_settle_by_the_state() {
        use Request::*;
        assert_eq!(TryRestart.settle(Activating), JobType::Restart);
        assert_eq!(TryRestart.settle(Deactivating), JobType::Nop);
        assert_eq!(TryReload.settle(Activating), JobType::Nop);
        assert_eq!(TryReload.settle(Reloading), JobType::Reload);
        assert_eq!(ReloadOrStart.settle(Failed), JobType::Start);
        assert_eq!(ReloadOrStart.settle(Active), JobType::Reload);
        assert_eq!(Restart.settle(Inactive), JobType::Restart);
    }

    #[test]
    fn stops_go_before_starts_and_backwards() {
        use JobType::*;
        use Ordering::*;
        // a has Before=b.
        assert_eq!(Start.order(Side::Before, Start), Less);
        assert_eq!(Start.order(Side::Before, Stop), Greater);
        assert_eq!(Stop.order(Side::Before, Start), Less);
        assert_eq!(Stop.order(Side::Before, Stop), Greater);
        assert_eq!(Start.order(Side::Before, Restart), Greater);
        assert_eq!(Restart.order(Side::Before, Start), Less);
        assert_eq!(Stop.order(Side::Before, Nop), Equal);
        for &a in JobType::ALL {
            for &b in JobType::ALL {
                assert_eq!(a.order(Side::Before, b), b.order(Side::After, a).reverse());
            }
        }
    }
}
