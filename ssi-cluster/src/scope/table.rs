// SPDX-License-Identifier: GPL-2.0-or-later
//! The table of holds, and the changes that all members make to it alike.
//!
//! A change is a function of the table, the round and the message alone. One that does not fit (a late duplicate, one
//! overtaken by another, one of an earlier round) changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{GrantId, RoundId};
use crate::placement::Instance;
use crate::{NodeId, ViewId};

/// The most holds there can be; a grant beyond it is not made. The table has to fit into a message.
pub const MAX_HOLDS: usize = 2_000;

/// The most endings that are remembered; the oldest goes first.
pub const MAX_ENDINGS: usize = 500;

/// A node has an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// Which.
    pub instance: Instance,
    /// Who has it.
    pub node: NodeId,
    /// The boot of that machine that has it: with another one, nothing of it is left.
    pub boot: String,
    /// Since which grant.
    pub grant: GrantId,
    /// The view that the grant was made in: what the service gets as `SSI_VIEW`.
    pub view: ViewId,
    /// Its takeover time, in milliseconds. It stays what it was when the grant was made.
    pub takeover_ms: u64,
    /// Whether it is to stay there.
    pub stay: Stay,
    /// It is here because its node said that it runs it, or may: what is not running by now must not be started under
    /// this grant, which may have been given to others meanwhile.
    #[serde(default)]
    pub reported: bool,
}

/// Whether an instance is to stay on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stay {
    /// It is.
    #[default]
    Stays,
    /// It is to be stopped, and then to go to this node, or nowhere.
    Leaves(Option<NodeId>),
}

impl Stay {
    /// Whether it is to be stopped.
    #[must_use]
    pub fn is_leaving(self) -> bool {
        self != Stay::Stays
    }

    /// Where it goes.
    #[must_use]
    pub fn next(self) -> Option<NodeId> {
        match self {
            Stay::Stays => None,
            Stay::Leaves(to) => to,
        }
    }
}

impl Hold {
    fn key(&self) -> (&Instance, NodeId) {
        (&self.instance, self.node)
    }
}

/// How an instance ended on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// By itself, and well: it has done what it was for.
    Through,
    /// It failed, and its own `Restart=` has given up.
    Failed,
}

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A node gets an instance that nobody has.
    Grant {
        /// Which.
        instance: Instance,
        /// Who.
        to: NodeId,
        /// Its takeover time, in milliseconds.
        takeover_ms: u64,
    },
    /// A node is to stop an instance.
    Leave {
        /// Which.
        instance: Instance,
        /// Where.
        node: NodeId,
        /// Under which grant.
        grant: GrantId,
        /// Who gets it once it has ended.
        to: Option<NodeId>,
    },
    /// All of an instance has ended on the sender.
    Released {
        /// Which.
        instance: Instance,
        /// Under which grant.
        grant: GrantId,
        /// How.
        ended: Ended,
        /// When, by its node's clock: milliseconds since 1970 UTC.
        at_ms: u64,
    },
    /// Its node is absent, and for long enough: others may have it.
    Taken {
        /// Which.
        instance: Instance,
        /// Where it was.
        node: NodeId,
        /// Under which grant.
        grant: GrantId,
        /// Who gets it.
        to: Option<NodeId>,
    },
    /// What is known of how a unit's instances ended is of no account any more: it was started by hand, or is no longer
    /// wanted.
    Forget {
        /// The unit.
        unit: String,
    },
    /// Whoever is absent has been for so long that it holds nothing that is not in the table.
    Certain,
}

/// An instance ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ending {
    /// Which.
    pub instance: Instance,
    /// Where.
    pub node: NodeId,
    /// How.
    pub ended: Ended,
    /// When, by that node's clock: milliseconds since 1970 UTC.
    pub at_ms: u64,
}

/// Who has what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Table {
    /// The last certain round it was held in. Of two tables the one with the higher lineage is the newer.
    pub lineage: RoundId,
    /// How many changes led to it. Of two with one lineage, one is the other with more changes.
    pub change: u64,
    /// Ordered by instance, then by node.
    holds: Vec<Hold>,
    /// The newest last.
    #[serde(default)]
    endings: Vec<Ending>,
}

impl Table {
    /// All holds, by instance and node.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// How instances ended that were not told to, the newest last.
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// The holds of one instance: at most one, as long as clocks and watchdogs do what they are for.
    pub fn holders(&self, instance: &Instance) -> &[Hold] {
        let from = self.holds.partition_point(|hold| hold.instance < *instance);
        let rest = self.holds.get(from..).unwrap_or_default();
        &rest[..rest.partition_point(|hold| hold.instance == *instance)]
    }

    /// A node's hold of an instance under this grant.
    pub fn hold(&self, instance: &Instance, node: NodeId, grant: GrantId) -> Option<&Hold> {
        self.holders(instance).iter().find(|hold| hold.node == node && hold.grant == grant)
    }

    fn insert(&mut self, hold: Hold) {
        match self.holds.binary_search_by(|there| there.key().cmp(&hold.key())) {
            Ok(at) => self.holds[at] = hold,
            Err(at) => self.holds.insert(at, hold),
        }
    }

    fn remove(&mut self, instance: &Instance, node: NodeId, grant: GrantId) -> bool {
        let before = self.holds.len();
        self.holds.retain(|hold| !(hold.node == node && hold.grant == grant && hold.instance == *instance));
        self.holds.len() < before
    }

    /// The table that a round begins with: the newest of those remembered, without what was held by machines that were
    /// started anew since or have `ended`, and with what members say they run. `complete`: those who remember are a majority, so that what
    /// is not in their newest table is nobody's any more, and is to be stopped wherever it runs.
    pub(super) fn merged<'a>(
        lineage: RoundId,
        complete: bool,
        remembered: impl Iterator<Item = &'a Table>,
        boots: &BTreeMap<NodeId, String>,
        ended: &BTreeSet<(NodeId, &str)>,
        runs: impl Iterator<Item = Hold>,
    ) -> Table {
        let newest = remembered.max_by_key(|table| (table.lineage, table.change));
        let mut table = newest.cloned().unwrap_or_default();
        table.lineage = lineage;
        table.change = table.change.saturating_add(1);
        table.holds.retain(|hold| boots.get(&hold.node).is_none_or(|boot| *boot == hold.boot));
        table.holds.retain(|hold| !ended.contains(&(hold.node, hold.boot.as_str())));
        for run in runs {
            let known =
                table.holders(&run.instance).iter().any(|hold| hold.node == run.node && hold.grant >= run.grant);
            if !known {
                table.change = table.change.max(run.grant.change.saturating_add(1));
                let stay = if complete { Stay::Leaves(None) } else { Stay::Stays };
                table.insert(Hold { stay, reported: true, ..run });
            }
        }
        table
    }

    /// Makes a change; whether it fitted. `view` is the round's, `boots` are the boots of those who take part in it.
    pub(super) fn apply(
        &mut self,
        sender: NodeId,
        view: ViewId,
        boots: &BTreeMap<NodeId, String>,
        change: &Change,
    ) -> bool {
        let fitted = match change {
            Change::Grant { instance, to, takeover_ms } => self.grant(view, boots, instance, *to, *takeover_ms),
            Change::Leave { instance, node, grant, to } => {
                let stay = Stay::Leaves(to.filter(|to| to != node));
                let hold = self.holds.iter_mut().find(|hold| {
                    hold.node == *node && hold.grant == *grant && hold.instance == *instance && hold.stay != stay
                });
                hold.map(|hold| hold.stay = stay).is_some()
            }
            Change::Released { instance, grant, ended, at_ms } => {
                let held = self.pass_on(sender, view, boots, instance, *grant, None);
                if held && *ended != Ended::Stopped {
                    self.note(instance, sender, *ended, *at_ms);
                }
                held
            }
            Change::Forget { unit } => {
                let before = self.endings.len();
                self.endings.retain(|ending| ending.instance.unit != *unit);
                self.endings.len() < before
            }
            Change::Taken { instance, node, grant, to } => {
                !boots.contains_key(node) && self.pass_on(*node, view, boots, instance, *grant, *to)
            }
            Change::Certain => false,
        };
        // A grant has counted itself already.
        if fitted && !matches!(change, Change::Grant { .. }) {
            self.change = self.change.saturating_add(1);
        }
        fitted
    }

    fn note(&mut self, instance: &Instance, node: NodeId, ended: Ended, at_ms: u64) {
        self.endings.push(Ending { instance: instance.clone(), node, ended, at_ms });
        if self.endings.len() > MAX_ENDINGS {
            self.endings.remove(0);
        }
    }

    fn grant(
        &mut self,
        view: ViewId,
        boots: &BTreeMap<NodeId, String>,
        instance: &Instance,
        to: NodeId,
        takeover_ms: u64,
    ) -> bool {
        let Some(boot) = boots.get(&to) else { return false };
        if !self.holders(instance).is_empty() || self.holds.len() >= MAX_HOLDS {
            return false;
        }
        self.change = self.change.saturating_add(1);
        self.insert(Hold {
            instance: instance.clone(),
            node: to,
            boot: boot.clone(),
            grant: GrantId { round: self.lineage, change: self.change },
            view,
            takeover_ms,
            stay: Stay::Stays,
            reported: false,
        });
        true
    }

    /// Takes a hold away, and grants it to who is to have it next.
    fn pass_on(
        &mut self,
        node: NodeId,
        view: ViewId,
        boots: &BTreeMap<NodeId, String>,
        instance: &Instance,
        grant: GrantId,
        to: Option<NodeId>,
    ) -> bool {
        let Some(hold) = self.hold(instance, node, grant) else { return false };
        let (next, takeover_ms) = (to.or(hold.stay.next()), hold.takeover_ms);
        self.remove(instance, node, grant);
        if let Some(next) = next {
            self.grant(view, boots, instance, next, takeover_ms);
        }
        true
    }
}
