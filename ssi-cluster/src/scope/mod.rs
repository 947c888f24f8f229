// SPDX-License-Identifier: GPL-2.0-or-later
//! Who runs which instance of a cluster-scoped unit, agreed on so that no instance ever runs twice. Pure: messages,
//! rounds and a clock in, changes and orders out.
//!
//! # The words
//! *Round*: the time from a complete exchange of hellos among the attached members to the engine's next configuration.
//! *Hold*: an entry of the [`Table`]: this node has this instance. *Grant*: the agreed step that made a hold; its
//! [`GrantId`] only rises. *Pulse*: what every daemon says again and again while there are cluster-scoped units.
//! *Lease*: the proof that a majority heard this node not long ago. *Takeover time* (`TakeoverSec=`), `T` below: how long
//! after a majority last heard a node others may have what it held.
//!
//! # What flows where
//! ```text
//!            every node, in the engine's order                      one node
//!   ┌─────────────────────────────────────────────┐    ┌─────────────────────────────────┐
//!   │ Round: hellos ─▶ one Table for all          │    │ Guard, in the unit manager      │
//!   │ Change: grant, leave, released, taken  ─────┼───▶│ Order: may start / is to stop   │
//!   │ Pulse: "I heard you", "I know change 7" ────┼───▶│ lease: from when it counts      │
//!   └──────▲──────────────────────────────────────┘    └──────┬──────────────────────────┘
//!          │  what the guard runs, what it has ended          │ start, stop, kill, let the watchdog bite
//!          └──────────────────────────────────────────────────┘
//! ```
//!
//! # Why no instance runs twice
//! 1. A node starts an instance only under a grant that a majority of the voters know ([`Agreed::orders`]): any later
//!    quorum has somebody who knows it, or knows that it does not know enough (below).
//! 2. Nothing is granted while a hold is there. A hold goes when its node says that all of it has ended, when the machine
//!    is known to have been started anew, or when `T` has passed since anybody in the round heard the node.
//! 3. A node whose lease is older than `T/3` stops what it holds; what has not ended at `7/12 T` is killed; and at `2/3 T`
//!    nobody pets the watchdog any more ([`guard`]), which has `T/3` to reset the machine.
//! 4. An order to start is good for `T/3` of the lease that came with it, whatever lease comes later: what it allows may
//!    have been given to others meanwhile. For the same reason, what a node only says that it runs, or may have begun, is
//!    never started under that grant.
//! 5. The lease counts from when the pulse was *sent* that a majority heard, and the wait for a takeover from when somebody
//!    last *heard* one: of two quorums one member is in both, so the wait always outlives the lease. Nothing in it needs
//!    clocks that show the same, only clocks that run alike, to a few percent.
//!
//! # Who is known to have ended
//! A fence agent's word that it turned a machine off ([`Agreed::note_ended`]) names the boot that ended. It goes round with
//! the hellos, and what that boot held is let go of at once; a machine that is in another boot by then loses nothing. With
//! three voters and more it counts for nothing else: a majority is a majority.
//!
//! Of two voters the quorum is both, or the first alone ([`agreed`]'s `is_quorum`), or either when the other is known to
//! have ended, which then counts as if it were there and agreed to everything (`stands_in`). The first alone counts only
//! after it has met the other since it started: before that, the other may have had it turned off, and go on. All this is
//! remembered for as long as the machine is up, and not longer ([`Memory`]): a machine that starts anew and cannot see the
//! other knows nothing and waits.
//!
//! # What is not on disk
//! Nothing of this. A daemon that starts remembers nothing and says so. While those who remember are no majority, the
//! table may lack somebody who is not here, so nothing changes until everybody is here and has told what it runs, or all
//! who are absent have been for the longest `T` ([`Change::Certain`]).

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod agreed;
pub mod guard;
pub mod manager;
pub mod propose;
pub mod table;

pub use agreed::{Agreed, Memory, Message, Order, Part, Pulse, Round, Run, Stamp};
pub use guard::{Guard, Spent};
pub use propose::Wanted;
pub use table::{Change, Ended, Ending, Hold, Stay, Table};

/// Names a round. Of two rounds that a member was in, the later has the greater; two rounds with a majority in each never
/// share one.
///
/// Views will not do for that: a member that is cut off when an exchange is all but complete may enter a view alone
/// whose number the others then use for theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoundId {
    /// The engine's number of the membership: it rises with each that a member is in.
    pub ring: u64,
    /// Which exchange in it.
    pub round: u64,
}

/// Names a grant; of two grants, the later one has the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantId {
    /// The round it was made in.
    pub round: RoundId,
    /// The table's change that made it.
    pub change: u64,
}

impl fmt::Display for GrantId {
    /// `12.1.345`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.round.ring, self.round.round, self.change)
    }
}

/// What a takeover time is cut into, in the unit it is given in (milliseconds). All count from the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A start needs a lease younger than this; what runs is stopped at this age.
    pub stop: u64,
    /// What has not ended at this age is killed.
    pub kill: u64,
    /// What has not ended at this age is ended by the watchdog.
    pub bite: u64,
    /// Others may have it at this age.
    pub takeover: u64,
}

impl Limits {
    /// The limits of this takeover time.
    #[must_use]
    pub fn of(takeover: u64) -> Limits {
        let third = takeover / 3;
        Limits { stop: third, kill: third + third / 4 * 3, bite: third * 2, takeover }
    }
}
