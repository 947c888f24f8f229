// SPDX-License-Identifier: GPL-2.0-or-later
//! What a node does with the instances it holds, on its own clock: it starts what it was granted, and stops it in time
//! when the lease is not renewed, whatever became of the daemon that should renew it.
//!
//! ```text
//!   order, may start,                  told to leave, or not ordered any more,
//!   lease < T/3         ┌─────────┐    or lease ≥ T/3                   ┌──────────┐   ended
//!  ────────────────────▶│ running ├────────────────────────────────────▶│ stopping ├──────────▶ spent: this grant
//!        start          └────┬────┘               stop                  └────┬─────┘            starts no more
//!                            │ ended by itself                               │ lease ≥ 7/12 T: kill
//!                            └──────────────────▶ spent                      │ lease ≥ 2/3 T: the watchdog bites
//! ```
//!
//! A lease that comes back while an instance is stopping does not make it run again: it ends, says so, and is granted anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::agreed::{Order, Run};
use super::table::Ended;
use super::{GrantId, Limits};
use crate::ViewId;
use crate::placement::Instance;

/// What is to be done with the units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Start it, with the grant's view as its token.
    Start(Run),
    /// Stop it.
    Stop(Instance),
    /// End all its processes now.
    Kill(Instance),
    /// Let nobody pet the watchdog, as long as [`Guard::is_biting`]: this has not ended and others are about to start it.
    LetBite(Instance),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Held {
    grant: GrantId,
    view: ViewId,
    takeover_ms: u64,
    stopping: bool,
    killed: bool,
}

/// A grant that is used up on this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spent {
    /// Which instance.
    pub instance: Instance,
    /// Which grant.
    pub grant: GrantId,
    /// How it ended.
    pub ended: Ended,
}

/// The guard of one node. It lives in the unit manager and is part of what outlives that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    #[serde(with = "pairs")]
    held: BTreeMap<Instance, Held>,
    #[serde(with = "pairs")]
    spent: BTreeMap<Instance, (GrantId, Ended)>,
    /// What may be started as soon as nothing is in the way.
    orders: Vec<Order>,
    /// The lease that came with them: others may have what they allow once it is old, whatever lease came since.
    ordered_ms: Option<u64>,
    lease_ms: Option<u64>,
    biting: bool,
}

impl Guard {
    /// What the daemon has to tell: from when the lease counts, which never goes back; and all that this node holds, if
    /// anything is agreed. What runs and is not among it is stopped.
    ///
    /// Each daemon asks first what runs here, and its hello counts on the answer: once a later daemon has been answered,
    /// what an earlier one may still have on its way must not be taken in any more.
    pub fn told(&mut self, lease_ms: Option<u64>, orders: Option<Vec<Order>>) {
        self.lease_ms = self.lease_ms.max(lease_ms);
        let Some(orders) = orders else { return };
        self.ordered_ms = lease_ms;
        let ordered = |instance: &Instance, grant: GrantId| {
            orders.iter().any(|order| order.run.instance == *instance && order.run.grant == grant)
        };
        self.spent.retain(|instance, (grant, _)| ordered(instance, *grant));
        self.orders = orders;
    }

    /// All of an instance has ended.
    pub fn ended(&mut self, instance: &Instance, ended: Ended) {
        if let Some(held) = self.held.remove(instance) {
            // What failed because it was stopped or killed is not at fault, and what is through by then was not left to be.
            let ended = if held.stopping { Ended::Stopped } else { ended };
            self.spent.insert(instance.clone(), (held.grant, ended));
        }
    }

    /// What it runs, for [`super::Part::runs`].
    pub fn runs(&self) -> Vec<Run> {
        let run = |(instance, held): (&Instance, &Held)| Run {
            instance: instance.clone(),
            grant: held.grant,
            view: held.view,
            takeover_ms: held.takeover_ms,
        };
        self.held.iter().map(run).collect()
    }

    /// The grants that are used up and still in the table: each is to be told as [`super::Change::Released`].
    pub fn spent(&self) -> impl Iterator<Item = Spent> + '_ {
        let spent = |(instance, (grant, ended)): (&Instance, &(GrantId, Ended))| Spent {
            instance: instance.clone(),
            grant: *grant,
            ended: *ended,
        };
        self.spent.iter().map(spent)
    }

    /// Whether the watchdog must not be petted now: something that others are about to start has not ended. If it ends
    /// before the machine is reset, all is well again.
    pub fn is_biting(&self) -> bool {
        self.biting
    }

    /// What is to be done now.
    pub fn act(&mut self, now_ms: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        let was_biting = std::mem::take(&mut self.biting);
        let age_of = |lease: Option<u64>| lease.map_or(u64::MAX, |from| now_ms.saturating_sub(from));
        let (age, ordered_age) = (age_of(self.lease_ms), age_of(self.ordered_ms));
        for (instance, held) in &mut self.held {
            let limits = Limits::of(held.takeover_ms);
            let order = self.orders.iter().find(|o| o.run.instance == *instance && o.run.grant == held.grant);
            if !held.stopping && (order.is_none_or(|order| order.leave) || age >= limits.stop) {
                held.stopping = true;
                acts.push(Act::Stop(instance.clone()));
            }
            if held.stopping && !held.killed && age >= limits.kill {
                held.killed = true;
                acts.push(Act::Kill(instance.clone()));
            }
            if age >= limits.bite {
                if !was_biting && !self.biting {
                    acts.push(Act::LetBite(instance.clone()));
                }
                self.biting = true;
            }
        }
        for order in &self.orders {
            let instance = &order.run.instance;
            let free = !self.held.contains_key(instance) && !self.spent.contains_key(instance);
            let never = order.leave || order.only_if_running;
            if never && free {
                // Never started, and never will be.
                self.spent.insert(instance.clone(), (order.run.grant, Ended::Stopped));
            } else if order.may_start && free && ordered_age < Limits::of(order.run.takeover_ms).stop && !self.biting {
                let Run { grant, view, takeover_ms, .. } = order.run;
                self.held.insert(instance.clone(), Held { grant, view, takeover_ms, stopping: false, killed: false });
                acts.push(Act::Start(order.run.clone()));
            }
        }
        acts
    }

    /// When the watchdog must not be petted any more, if the lease stays as it is; `None` while nothing is held.
    pub fn bite_ms(&self) -> Option<u64> {
        let after = self.held.values().map(|held| Limits::of(held.takeover_ms).bite).min()?;
        Some(self.lease_ms.map_or(0, |from| from.saturating_add(after)))
    }

    /// Whether an instance is held and was told to stop.
    pub fn is_stopping(&self, instance: &Instance) -> bool {
        self.held.get(instance).is_some_and(|held| held.stopping)
    }

    /// When something is due next, if the lease stays as it is.
    pub fn next_ms(&self) -> Option<u64> {
        let from = self.lease_ms?;
        let due = self.held.values().filter_map(|held| {
            let limits = Limits::of(held.takeover_ms);
            Some(match held {
                Held { stopping: false, .. } => limits.stop,
                Held { killed: false, .. } => limits.kill,
                _ if !self.biting => limits.bite,
                _ => return None,
            })
        });
        due.min().map(|after| from.saturating_add(after))
    }
}

/// Maps whose keys are more than a word, as lists: JSON has no such keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
