// SPDX-License-Identifier: GPL-2.0-or-later
//! What ssi-clusterd and a node's unit manager tell each other about cluster-scoped units.
//!
//! The daemon is the client, at the manager's own socket (`/run/systemd/private`), of the interface [`INTERFACE`]:
//!
//! ```text
//!   ssi-clusterd                                            ssi-init-manager
//!        │ Attach() ────────────────────────────────────────────▶│  from now on only this connection may tell
//!        │◀──────────────────────────────────── Says ────────────│
//!        │ Tell(Told) ──────────────────────────────────────────▶│
//!        │◀──────────────────────────────────── Says ────────────│
//!        │◀──────────────────────────── signal Changed() ────────│  ask again: call Tell
//! ```
//!
//! Both values are JSON in a D-Bus string, so that a field more of a newer program is skipped by an older one during an
//! upgrade. What an earlier daemon still had on its way when a later one attached is refused: see [`super::guard`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::agreed::{Order, Run};
use super::guard::Spent;
use super::propose::{DEFAULT_ERROR_LIMIT, DEFAULT_PROBATION_MS, DEFAULT_TAKEOVER_MS};
use crate::placement::{Failback, Instance};

/// The interface's name.
pub const INTERFACE: &str = "org.openssi.Init1.Scope";

/// The object's path.
pub const PATH: &str = "/org/openssi/Init1";

/// What a unit manager says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Says {
    /// What its guard runs.
    pub runs: Vec<Run>,
    /// The grants that its guard has used up.
    pub spent: Vec<Spent>,
    /// The machine is going down: it starts nothing any more.
    pub stopping: bool,
    /// Whether a watchdog resets this machine if what it runs does not end in time.
    pub watchdog: bool,
    /// The units that its files give the scope of the cluster, by name; of a template with several instances, the
    /// template's name. It knows those that were loaded since it began.
    pub units: BTreeMap<String, Spec>,
    /// What somebody asked for here and no daemon has heard yet; one a unit, the latest.
    pub asks: Vec<Ask>,
    /// What is known of each instance that it runs, for people.
    pub states: BTreeMap<String, RunState>,
}

/// What a unit's files say about its place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// For people.
    pub description: String,
    /// How many; `None`: one on each node (`Scope=all`).
    pub instances: Option<u32>,
    /// Numbers, names or `role=VALUE`, as written: the nodes it may run on, the preferred ones first; empty: all.
    pub nodes: Vec<String>,
    /// As written: the nodes that it never runs on.
    pub avoid: Vec<String>,
    /// The units that it runs with, and on no other nodes.
    pub with: BTreeSet<String>,
    /// The units that it does not run on one node with.
    pub apart: BTreeSet<String>,
    /// Whether it goes back to a more preferred node.
    pub failback: Failback,
    /// No two instances on one node.
    pub spread: bool,
    /// Choose the least loaded of the nodes.
    pub least_loaded: bool,
    /// Milliseconds.
    pub takeover_ms: u64,
    /// Milliseconds.
    pub probation_ms: u64,
    /// How often an instance may fail in that time.
    pub error_limit: u32,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            description: String::new(),
            instances: Some(1),
            nodes: Vec::new(),
            avoid: Vec::new(),
            with: BTreeSet::new(),
            apart: BTreeSet::new(),
            failback: Failback::No,
            spread: false,
            least_loaded: false,
            takeover_ms: DEFAULT_TAKEOVER_MS,
            probation_ms: DEFAULT_PROBATION_MS,
            error_limit: DEFAULT_ERROR_LIMIT,
        }
    }
}

/// Somebody asked for something that is the cluster's to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Rises with each.
    pub number: u64,
    /// Of which unit, by its name in [`Says::units`].
    pub unit: String,
    /// What.
    pub what: What,
}

/// See [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Another unit pulled it in, such as the target that the machine boots into: it runs, unless somebody stopped it.
    Pull,
    /// Somebody started it.
    Start,
    /// Somebody stopped it.
    Stop,
    /// Somebody restarted it, and it does not run here.
    Restart,
}

/// How an instance is doing on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunState {
    /// The unit's name on its node.
    pub unit: String,
    /// `ActiveState` of systemd's interface.
    pub active: String,
    /// `SubState` of systemd's interface.
    pub sub: String,
    /// Its machine has no watchdog that would reset it, were it not to end in time.
    pub unwatched: bool,
}

impl RunState {
    /// Whether it has come up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }
}

/// What the daemon tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When the lease counts from, milliseconds of `CLOCK_BOOTTIME`.
    pub lease_ms: Option<u64>,
    /// All that this node holds; `None` while nothing is agreed.
    pub orders: Option<Vec<Order>>,
    /// Units of this node that are to be restarted, by their names in [`Says::units`].
    pub restart: Vec<String>,
    /// Asks up to this number have been passed on.
    pub heard: u64,
    /// Where units run, for people: by their names in [`Says::units`], a text such as `node 2 (node2)`.
    pub places: BTreeMap<String, String>,
    /// Units that the daemon wants to know about, by their names in [`Says::units`]: they are to be loaded.
    pub load: Vec<String>,
}

/// The unit on a node that an instance is: of a template, the instance of that index; else the unit itself.
#[must_use]
pub fn unit_of(instance: &Instance) -> String {
    match instance.unit.split_once("@.") {
        Some((prefix, suffix)) => format!("{prefix}@{}.{suffix}", instance.index),
        None => instance.unit.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_of_a_template_is_a_unit_of_its_own() {
        assert_eq!(unit_of(&Instance::new("web@.service", 3)), "web@3.service");
        assert_eq!(unit_of(&Instance::new("db.service", 3)), "db.service");
        assert_eq!(unit_of(&Instance::new("db@main.service", 0)), "db@main.service");
    }

    #[test]
    fn a_field_more_and_a_field_less_are_read() {
        let says: Says = serde_json::from_str(r#"{"runs":[],"later":1}"#).unwrap();
        assert_eq!(says, Says::default());
    }
}
