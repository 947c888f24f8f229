// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that the cluster places: `Scope=cluster` and `Scope=all` of `[X-SSI]`.
//!
//! Such a unit starts here only under a grant, which ssi-clusterd passes on ([`Told`]), and is stopped when the grant
//! goes or its lease is not renewed: [`Guard`] decides that, on the clock that goes on while the machine sleeps. What a
//! person or another unit wants of it is the cluster's to do: it is noted as an [`Ask`] for the daemon to fetch.
//!
//! An *instance* is the unit and its *parts*: the units that are `PartOf=` it or `BindsTo=` it, and theirs. The parts
//! start nowhere else either, and the instance has ended only when all of them have and none of their processes is left.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod.rs` | what is known, what is told and said |
//! | `tend.rs` | instances are started, stopped and killed, and it is found that they have ended |

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssi_cluster::placement::{Failback, Instance};
use ssi_cluster::scope::manager::{Ask, RunState, Says, Spec, Told, What, unit_of};
use ssi_cluster::scope::propose::DEFAULT_TAKEOVER_MS;
use ssi_cluster::scope::{Guard, Limits, Run};
use ssi_unit::config::unit::{Failback as UnitFailback, Scope};
use ssi_unit::dependency::Dependency;
use ssi_unit::name::UnitName;

use super::Core;
use super::entry::Entry;
use super::system::Priority;
use super::unit::Unit;
use crate::graph::UnitId;
use crate::job::{Reply, Request};

mod tend;

/// How many units the daemon may have loaded in one go, and how many asks wait for it.
const MOST: usize = 2_000;

/// What happened to an instance since it was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    /// When it was granted, in monotonic microseconds.
    at: u64,
    /// Somebody stopped it here.
    by_hand: bool,
    /// Some other unit's job stopped it here.
    by_job: bool,
}

/// What outlives the manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCluster {
    guard: Guard,
    begun: Vec<(Instance, Begun)>,
    asks: Vec<Ask>,
    last_ask: u64,
    /// The units here that are the cluster's: those at rest are not written down as units.
    scoped: Vec<UnitName>,
}

/// What the manager knows of the cluster's units.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    guard: Guard,
    begun: BTreeMap<Instance, Begun>,
    /// One a unit, the latest.
    asks: BTreeMap<String, Ask>,
    last_ask: u64,
    /// What files say of the cluster's units, by the names that the cluster has for them.
    specs: BTreeMap<String, Spec>,
    /// The units here that are the cluster's.
    scoped: BTreeSet<UnitName>,
    /// Where they run, for people.
    places: BTreeMap<String, String>,
    /// Instances whose leftover processes were killed.
    swept: BTreeSet<Instance>,
    /// When there is something to do next, in monotonic microseconds.
    due: Option<u64>,
    /// What somebody was told last.
    said: Option<Says>,
    /// Whether a watchdog resets the machine, once that is known.
    watchdog: Option<bool>,
    dirty: bool,
}

/// Until when the hardware watchdog may be petted, and what its time-out is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadMan {
    /// The time-out.
    pub timeout: Duration,
    /// From now.
    pub pet_for: Duration,
}

/// The name that the cluster has for a unit: of a template with several instances, the template's.
fn service_of(unit: &Unit) -> String {
    let one = unit.config.cluster.scope == Scope::All || unit.config.cluster.instances == 1;
    match unit.name.template() {
        Some(template) if !one => template.as_str().to_owned(),
        _ => unit.name.as_str().to_owned(),
    }
}

/// What a unit's files say of its place in the cluster.
fn spec_of(unit: &Unit) -> Spec {
    let section = &unit.config.cluster;
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let fallback = Spec::default();
    Spec {
        description: unit.description().to_owned(),
        instances: (section.scope == Scope::Cluster).then_some(section.instances),
        nodes: section.nodes.clone(),
        avoid: section.avoid.clone(),
        with: section.with.iter().map(|unit| unit.as_str().to_owned()).collect(),
        apart: section.apart.iter().map(|unit| unit.as_str().to_owned()).collect(),
        failback: match section.failback {
            UnitFailback::No => Failback::No,
            UnitFailback::Yes => Failback::Yes,
            UnitFailback::WhenIdle => Failback::WhenIdle,
        },
        // Of a unit that is no template there is only one on a node.
        spread: section.spread || (section.instances > 1 && unit.name.template().is_none()),
        least_loaded: section.least_loaded,
        takeover_ms: section.takeover.map_or(DEFAULT_TAKEOVER_MS, ms),
        probation_ms: section.probation.map_or(fallback.probation_ms, ms),
        error_limit: section.error_limit.unwrap_or(fallback.error_limit),
    }
}

impl Core {
    /// What the daemon tells.
    pub fn cluster_told(&mut self, told: &Told) {
        self.enter(&Entry::Cluster(Cow::Borrowed(told)));
        for name in told.load.iter().take(MOST) {
            self.load_for_cluster(name);
        }
        let cluster = &mut self.cluster;
        cluster.said.get_or_insert_default();
        cluster.guard.told(told.lease_ms, told.orders.clone());
        let before = cluster.asks.len();
        cluster.asks.retain(|_, ask| ask.number > told.heard);
        cluster.dirty = true;
        if before != cluster.asks.len() || cluster.places != told.places {
            let known: Vec<UnitName> = cluster.scoped.iter().cloned().collect();
            cluster.places.clone_from(&told.places);
            for id in known.iter().filter_map(|name| self.table.find(name)).collect::<Vec<_>>() {
                self.touch(id);
            }
        }
        for name in &told.restart {
            self.restart_here(name);
        }
        self.settle();
        self.leave();
    }

    /// What the daemon is to know.
    pub fn cluster_says(&self) -> Says {
        let cluster = &self.cluster;
        let runs = cluster.guard.runs();
        let state = |run: &Run| {
            let name = unit_of(&run.instance);
            let unit = UnitName::new(&name).ok().and_then(|name| self.table.find(&name)).map(|id| self.unit(id));
            let words = unit.map(|unit| (unit.active().word().to_owned(), unit.sub_state().to_owned()));
            let (active, sub) = words.unwrap_or_default();
            (run.instance.to_string(), RunState { unit: name, active, sub, unwatched: cluster.watchdog == Some(false) })
        };
        Says {
            states: runs.iter().map(state).collect(),
            runs,
            spent: cluster.guard.spent().collect(),
            stopping: self.is_going_down(),
            watchdog: cluster.watchdog == Some(true),
            units: cluster.specs.clone(),
            asks: cluster.asks.values().cloned().collect(),
        }
    }

    /// Where the cluster runs a unit of its, for people; `None`: it is none of the cluster's, or nobody has said.
    pub fn cluster_place(&self, id: UnitId) -> Option<&str> {
        if self.cluster.scoped.is_empty() || !self.cluster.scoped.contains(&self.unit(id).name) {
            return None;
        }
        let place = self.cluster.places.get(&service_of(self.unit(id))).map(String::as_str);
        Some(place.unwrap_or("not known yet"))
    }

    /// Whether the cluster decides where a unit runs, by its own files.
    pub fn is_clusters(&self, id: UnitId) -> bool {
        self.unit(id).config.cluster.scope != Scope::Node
    }

    /// Whether a watchdog resets this machine, as process 1 said.
    pub fn set_watchdog(&mut self, there: bool) {
        self.cluster.watchdog = Some(there);
    }

    /// Until when the watchdog may be petted: what runs here has to have ended soon after. `None`: for ever.
    pub fn dead_man(&self) -> Option<DeadMan> {
        let guard = &self.cluster.guard;
        let bite = guard.bite_ms()?;
        let shortest = guard.runs().iter().map(|run| run.takeover_ms).min()?;
        // The hardware counts in whole seconds.
        let timeout = Duration::from_secs((Limits::of(shortest).stop / 1000).max(1));
        let now = self.sys.boottime_ms();
        Some(DeadMan { timeout, pet_for: Duration::from_millis(bite.saturating_sub(now)) })
    }

    /// To be written down, if it changed since it was last asked for.
    pub fn take_cluster(&mut self) -> Option<SavedCluster> {
        std::mem::take(&mut self.cluster.dirty).then(|| SavedCluster {
            guard: self.cluster.guard.clone(),
            begun: self.cluster.begun.iter().map(|(instance, begun)| (instance.clone(), *begun)).collect(),
            asks: self.cluster.asks.values().cloned().collect(),
            last_ask: self.cluster.last_ask,
            scoped: self.cluster.scoped.iter().cloned().collect(),
        })
    }

    /// Takes up what an earlier manager has written down; units are restored already.
    pub fn restore_cluster(&mut self, saved: SavedCluster) {
        self.enter(&Entry::RestoreCluster(Cow::Borrowed(&saved)));
        for name in &saved.scoped {
            self.load(name);
        }
        for run in saved.guard.runs() {
            // A unit at rest was not written down, and yet is on its way.
            self.load_for_cluster(&unit_of(&run.instance));
        }
        let cluster = &mut self.cluster;
        cluster.guard = saved.guard;
        cluster.begun = saved.begun.into_iter().collect();
        cluster.asks = saved.asks.into_iter().map(|ask| (ask.unit.clone(), ask)).collect();
        cluster.last_ask = saved.last_ask;
        cluster.dirty = true;
        self.leave();
    }

    /// A unit of that name, or an instance of a template.
    fn load_for_cluster(&mut self, name: &str) -> Option<UnitId> {
        let name = UnitName::new(&name.replacen("@.", "@0.", 1)).ok()?;
        Some(self.load(&name))
    }

    /// A unit's files were read.
    pub(super) fn note_scope(&mut self, id: UnitId) {
        let unit = self.unit(id);
        let name = unit.name.clone();
        if unit.is_loaded() && unit.config.cluster.scope != Scope::Node && !name.is_template() {
            let (service, spec) = (service_of(unit), spec_of(unit));
            self.cluster.dirty |= self.cluster.scoped.insert(name);
            self.cluster.specs.insert(service, spec);
        } else if self.cluster.scoped.remove(&name) {
            self.cluster.dirty = true;
            self.cluster.specs.remove(name.as_str());
            if let Some(template) = name.template() {
                self.cluster.specs.remove(template.as_str());
            }
        }
    }

    /// All files were read again: units that were forgotten here may still be the cluster's, or not any more.
    pub(super) fn renew_specs(&mut self) {
        let names: Vec<UnitName> = self.cluster.scoped.iter().cloned().collect();
        for name in names {
            if self.table.find(&name).is_none() {
                self.load(&name);
            }
        }
    }

    /// Somebody asks for something to be done with a unit; what of it is the cluster's to do is noted.
    pub(super) fn note_ask(&mut self, id: UnitId, request: Request) {
        if !self.is_clusters(id) {
            return;
        }
        let held = self.held_instance(id);
        let what = match request {
            Request::Start => What::Start,
            Request::Stop => What::Stop,
            // Here it is stopped and started under the grant there is.
            Request::Restart if held.is_none() => What::Restart,
            _ => return,
        };
        if let (What::Stop, Some(instance)) = (what, held) {
            self.cluster.begun.entry(instance).or_default().by_hand = true;
        }
        self.ask(service_of(self.unit(id)), what);
    }

    fn ask(&mut self, unit: String, what: What) {
        let cluster = &mut self.cluster;
        if what == What::Pull && cluster.asks.contains_key(&unit) {
            // What somebody wants counts for more.
            return;
        }
        if cluster.asks.len() >= MOST && !cluster.asks.contains_key(&unit) {
            self.sys.log(Priority::Error, None, &format!("{unit}: too much waits for ssi-clusterd; ask again later"));
            return;
        }
        cluster.last_ask += 1;
        cluster.asks.insert(unit.clone(), Ask { number: cluster.last_ask, unit, what });
        cluster.dirty = true;
    }

    /// Whether a unit must not start here now, because it is the cluster's, or part of what is, and not granted.
    pub(super) fn refused_by_cluster(&mut self, id: UnitId) -> Option<Reply> {
        if self.cluster.scoped.is_empty() {
            return None;
        }
        if self.is_clusters(id) {
            if self.may_run_here(id) {
                return None;
            }
            let service = service_of(self.unit(id));
            self.log(Priority::Info, id, "is not started here: the cluster decides where it runs, and was asked");
            self.ask(service, What::Pull);
            return Some(Reply::ConditionFailed);
        }
        let whole = self.wholes(id).into_iter().find(|whole| !self.may_run_here(*whole))?;
        let text =
            format!("is not started: it is part of {}, which the cluster does not run here", self.unit(whole).name);
        self.log(Priority::Notice, id, &text);
        Some(Reply::ConditionFailed)
    }

    /// Whether it is granted, and not on its way out.
    fn may_run_here(&self, id: UnitId) -> bool {
        self.held_instance(id).is_some_and(|instance| !self.cluster.guard.is_stopping(&instance))
    }

    /// The instance that a unit of the cluster is here, if it is granted.
    fn held_instance(&self, id: UnitId) -> Option<Instance> {
        let name = self.unit(id).name.as_str();
        self.cluster.guard.runs().into_iter().map(|run| run.instance).find(|instance| unit_of(instance) == name)
    }

    /// Whether it is granted, and must not be forgotten.
    pub(super) fn is_held_for_cluster(&self, id: UnitId) -> bool {
        !self.cluster.scoped.is_empty() && self.held_instance(id).is_some()
    }

    /// When something is due, in monotonic microseconds.
    pub(super) fn cluster_due(&self) -> Option<u64> {
        self.cluster.due
    }

    /// What a unit's processes find in their environment: the token of the grant that they run under.
    pub(super) fn cluster_environment(&self, id: UnitId) -> Vec<(String, String)> {
        let cluster = &self.cluster;
        if cluster.scoped.is_empty() {
            return Vec::new();
        }
        let runs = cluster.guard.runs();
        let run_of = |unit: UnitId| {
            let name = self.unit(unit).name.as_str();
            runs.iter().find(|run| unit_of(&run.instance) == name)
        };
        let run = run_of(id).or_else(|| self.wholes(id).into_iter().find_map(run_of));
        run.map_or_else(Vec::new, |run| {
            vec![
                ("SSI_VIEW".to_owned(), run.view.0.to_string()),
                ("SSI_INSTANCE".to_owned(), run.instance.index.to_string()),
            ]
        })
    }

    /// The units of the cluster that a unit is part of.
    fn wholes(&self, id: UnitId) -> Vec<UnitId> {
        let above = self.linked(id, [Dependency::PartOf, Dependency::BindsTo, Dependency::TriggeredBy]);
        above.into_iter().filter(|whole| self.is_clusters(*whole)).collect()
    }

    /// The units that are part of one of the cluster's, but for those that are the cluster's themselves. What a socket or
    /// a timer starts is part of it: it would go on beside the one that is started where that went.
    fn parts(&self, id: UnitId) -> Vec<UnitId> {
        let below = self.linked(id, [Dependency::ConsistsOf, Dependency::BoundBy, Dependency::Triggers]);
        below.into_iter().filter(|part| !self.is_clusters(*part)).collect()
    }

    fn linked(&self, id: UnitId, kinds: [Dependency; 3]) -> Vec<UnitId> {
        let (mut seen, mut found) = (BTreeSet::from([id]), Vec::new());
        let mut next = vec![id];
        while let Some(at) = next.pop() {
            for edge in kinds.iter().flat_map(|kind| self.graph.edges(at, *kind)) {
                if seen.insert(edge.to) {
                    found.push(edge.to);
                    // One that is the cluster's itself has parts of its own.
                    if !self.is_clusters(edge.to) {
                        next.push(edge.to);
                    }
                }
            }
        }
        found
    }
}
