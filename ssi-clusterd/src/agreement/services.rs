// SPDX-License-Identifier: GPL-2.0-or-later
//! The units of the cluster as all members hold them: what their files say, and whether they are to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use ssi_cluster::NodeId;
use ssi_cluster::scope::Wanted;

use super::scoping::SHORTEST_TAKEOVER_MS;

/// How many units can be the cluster's.
pub const SERVICES_MOST: usize = 1_000;

/// How much of a description is kept, in bytes.
const DESCRIPTION_KEPT: usize = 120;

/// Whether a unit is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Nobody has said.
    #[default]
    Undecided,
    /// It is.
    On,
    /// Somebody stopped it.
    Off,
}

/// A unit of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Where and how, with the pin that somebody gave it.
    pub wanted: Wanted,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether it is to run.
    #[serde(default)]
    pub want: Want,
}

/// What is to become of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Its files say so. Whether it is to run stays as it was, and a pin stays.
    Define {
        /// Where and how.
        wanted: Box<Wanted>,
        /// For people.
        description: String,
    },
    /// Its files do not give it to the cluster any more.
    Forget,
    /// Another unit pulled it in: it is to run, unless somebody stopped it.
    Pull,
    /// It is to run, whatever became of it before.
    Start,
    /// It is not to run.
    Stop,
    /// It is to be stopped and started where it runs; one that does not run is started.
    Restart,
    /// It is to run on this node or nowhere; `None`: no more.
    Pin(Option<NodeId>),
    /// It is to go to another node: this one, or where it likes best.
    Move {
        /// Which of its instances; `None`: the first.
        index: Option<u32>,
        /// Where to.
        to: Option<NodeId>,
    },
}

/// Carries a deed out; whether something changed.
pub fn apply(services: &mut BTreeMap<String, Service>, unit: &str, deed: &Deed) -> bool {
    if let Deed::Define { wanted, description } = deed {
        return define(services, unit, wanted, description);
    }
    if *deed == Deed::Forget {
        return services.remove(unit).is_some();
    }
    let Some(service) = services.get_mut(unit) else { return false };
    let before = (service.want, service.wanted.wish.pin);
    match deed {
        Deed::Pull if service.want == Want::Undecided => service.want = Want::On,
        Deed::Start | Deed::Restart => service.want = Want::On,
        Deed::Stop => service.want = Want::Off,
        Deed::Pin(node) => service.wanted.wish.pin = *node,
        Deed::Pull | Deed::Move { .. } | Deed::Define { .. } | Deed::Forget => {}
    }
    before != (service.want, service.wanted.wish.pin)
}

fn define(services: &mut BTreeMap<String, Service>, unit: &str, wanted: &Wanted, description: &str) -> bool {
    let mut wanted = wanted.clone();
    if wanted.wish.name != unit || wanted.takeover_ms < SHORTEST_TAKEOVER_MS {
        return false;
    }
    wanted.wish.shun.clear();
    let mut kept = description;
    while kept.len() > DESCRIPTION_KEPT {
        kept = kept.char_indices().next_back().map_or("", |(at, _)| &kept[..at]);
    }
    let description = kept.to_owned();
    let full = services.len() >= SERVICES_MOST;
    match services.get_mut(unit) {
        Some(known) => {
            wanted.wish.pin = known.wanted.wish.pin;
            let changed = known.wanted != wanted || known.description != description;
            known.wanted = wanted;
            known.description = description;
            changed
        }
        None if full => false,
        None => {
            wanted.wish.pin = None;
            services.insert(unit.to_owned(), Service { wanted, description, want: Want::Undecided });
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_cluster::placement::{Instances, UnitWish};

    fn defined(takeover_ms: u64) -> Deed {
        let wish = UnitWish::new("db.service", Instances::Count(1));
        let wanted = Wanted { takeover_ms, ..Wanted::new(wish) };
        Deed::Define { wanted: Box::new(wanted), description: "a base".into() }
    }

    #[test]
    fn what_boots_pulls_in_does_not_start_what_somebody_stopped() {
        let mut services = BTreeMap::new();
        let mut deed = |deed: &Deed| {
            let changed = apply(&mut services, "db.service", deed);
            (changed, services.get("db.service").map(|service| service.want))
        };
        assert_eq!(deed(&Deed::Start), (false, None), "nobody said what it is");
        assert_eq!(deed(&defined(30_000)), (true, Some(Want::Undecided)));
        assert_eq!(deed(&Deed::Pull), (true, Some(Want::On)));
        assert_eq!(deed(&Deed::Stop), (true, Some(Want::Off)));
        assert_eq!(deed(&Deed::Pull), (false, Some(Want::Off)));
        assert_eq!(deed(&defined(60_000)), (true, Some(Want::Off)), "another file is no start");
        assert_eq!(deed(&Deed::Restart), (true, Some(Want::On)));
        assert_eq!(deed(&Deed::Forget), (true, None));
    }

    #[test]
    fn a_pin_outlives_another_file_and_bad_definitions_change_nothing() {
        let mut services = BTreeMap::new();
        assert!(!apply(&mut services, "other.service", &defined(30_000)));
        assert!(!apply(&mut services, "db.service", &defined(1)));
        assert!(apply(&mut services, "db.service", &defined(30_000)));
        let two = NodeId::new(2);
        assert!(apply(&mut services, "db.service", &Deed::Pin(two)));
        assert!(apply(&mut services, "db.service", &defined(40_000)));
        assert_eq!(services["db.service"].wanted.wish.pin, two);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut services = BTreeMap::new();
        for number in 0..=SERVICES_MOST {
            let name = format!("u{number}.service");
            let wanted = Box::new(Wanted::new(UnitWish::new(name.clone(), Instances::Count(1))));
            let fits = apply(&mut services, &name, &Deed::Define { wanted, description: "é".repeat(500) });
            assert_eq!(fits, number < SERVICES_MOST);
        }
        assert!(services.values().all(|service| service.description.len() <= DESCRIPTION_KEPT));
    }
}
