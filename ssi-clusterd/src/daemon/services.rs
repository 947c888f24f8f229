// SPDX-License-Identifier: GPL-2.0-or-later
//! The units of the cluster: between the agreement, this node's unit manager and those who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ssi_cluster::placement::Instances;
use ssi_cluster::scope::Wanted;
use ssi_cluster::scope::manager::{RunState, Says, Told, What};
use ssi_cluster::{NodeId, NodeState};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Daemon, refusal};
use crate::agreement::services::{Deed, Service};
use crate::agreement::{Event, GuardSaid, Orders, Wish};
use crate::bus::services::ScopeBoard;
use crate::bus::{MethodError, Signal};
use crate::manager::FromManager;
use crate::spec;

/// After how long what was said and did not come to count is said again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a unit is looked for that somebody wants started and nobody knows yet.
const LOOKED_FOR: Duration = Duration::from_secs(5);
/// How many of those wait at one time.
const PENDING: usize = 64;

/// Somebody wants something of a unit that has to be looked for first.
struct Pending {
    unit: String,
    deed: Deed,
    until: Instant,
    answer: oneshot::Sender<Result<(), MethodError>>,
}

/// What the daemon keeps about it.
pub(super) struct Managed {
    told: watch::Sender<Option<Told>>,
    restarts: mpsc::Sender<String>,
    says: Option<Box<Says>>,
    away: Option<String>,
    orders: Orders,
    /// Asks that came to count, and when the others were sent.
    done: BTreeSet<u64>,
    sent: BTreeMap<u64, Instant>,
    heard: u64,
    defined: BTreeMap<String, Instant>,
    /// Units that this node's files gave to the cluster, and do so no more.
    gone: BTreeSet<String>,
    places: BTreeMap<String, String>,
    states: BTreeMap<NodeId, BTreeMap<String, RunState>>,
    pending: Vec<Pending>,
    troubles: BTreeSet<String>,
    leaving: bool,
}

impl Managed {
    pub(super) fn new(told: watch::Sender<Option<Told>>, restarts: mpsc::Sender<String>) -> Managed {
        Managed {
            told,
            restarts,
            says: None,
            away: None,
            orders: Orders::default(),
            done: BTreeSet::new(),
            sent: BTreeMap::new(),
            heard: 0,
            defined: BTreeMap::new(),
            gone: BTreeSet::new(),
            places: BTreeMap::new(),
            states: BTreeMap::new(),
            pending: Vec::new(),
            troubles: BTreeSet::new(),
            leaving: false,
        }
    }

    /// Whether the manager of this node runs some of it.
    fn runs(&self, unit: &str) -> bool {
        self.says.iter().flat_map(|says| &says.runs).any(|run| run.instance.unit == unit)
    }

    fn is_due(at: Option<&Instant>) -> bool {
        at.is_none_or(|at| at.elapsed() >= AGAIN)
    }
}

impl Daemon {
    /// Something came from this node's unit manager.
    pub(super) fn on_manager(&mut self, from: FromManager) {
        match from {
            FromManager::Away(why) => {
                if self.managed.away.as_ref() != Some(&why) {
                    tracing::info!("units of the cluster cannot run on this node now: they need ssi-init ({why})");
                    self.managed.away = Some(why);
                    self.show_scope();
                }
            }
            FromManager::Says(says) => {
                let before = self.managed.says.replace(says);
                let away = self.managed.away.take();
                // A manager that has just begun may not have looked at all its files yet.
                if let (Some(before), Some(says), None) = (&before, &self.managed.says, &away) {
                    let gone = before.units.keys().filter(|unit| !says.units.contains_key(*unit));
                    self.managed.gone.extend(gone.cloned());
                }
                if before.is_none() || away.is_some() {
                    tracing::info!("the unit manager takes part in the cluster");
                }
                self.pass_on();
                let Some(says) = self.managed.says.clone() else { return };
                let news = |before: &Says| (&before.runs, &before.spent) != (&says.runs, &says.spent);
                if away.is_some() || before.as_deref().is_none_or(news) {
                    self.feed(Event::Guard(GuardSaid { runs: says.runs.clone(), spent: says.spent.clone() }));
                }
                if before.as_deref().is_none_or(|before| before.states != says.states) {
                    self.feed(Event::Running(says.states.clone()));
                }
                if says.stopping && !std::mem::replace(&mut self.managed.leaving, says.stopping) {
                    let (to, cause) = (NodeState::GoingDown, "machine is stopping".to_owned());
                    self.feed(Event::Ask(Wish { node: self.own, to, cause, reboot: false }));
                }
            }
        }
    }

    /// What the manager's files say and what was asked for there goes to all.
    fn pass_on(&mut self) {
        let Some(says) = self.managed.says.clone() else { return };
        if self.agreement.check_quorate().is_err() {
            return;
        }
        let coordinates = self.agreement.coordinates();
        for (unit, spec) in &says.units {
            let (wanted, troubles) = spec::resolve(unit, spec, &self.loaded.config);
            for trouble in troubles {
                if self.managed.troubles.insert(trouble.clone()) {
                    tracing::warn!("{trouble}");
                }
            }
            let known = self.agreement.shared().services.get(unit);
            // Files that differ from node to node must not make two nodes fight.
            let news = known.is_none_or(|known| coordinates && differs(known, &wanted, &spec.description));
            if news && Managed::is_due(self.managed.defined.get(unit)) {
                self.managed.defined.insert(unit.clone(), Instant::now());
                let deed = Deed::Define { wanted: Box::new(wanted), description: spec.description.clone() };
                self.feed(Event::Deed { unit: unit.clone(), deed });
            }
        }
        let services = &self.agreement.shared().services;
        self.managed.gone.retain(|unit| services.contains_key(unit) && !says.units.contains_key(unit));
        for unit in self.managed.gone.clone() {
            if coordinates && Managed::is_due(self.managed.defined.get(&unit)) {
                self.managed.defined.insert(unit.clone(), Instant::now());
                self.feed(Event::Deed { unit, deed: Deed::Forget });
            }
        }
        for ask in &says.asks {
            if self.managed.done.contains(&ask.number) || !Managed::is_due(self.managed.sent.get(&ask.number)) {
                continue;
            }
            if !self.agreement.shared().services.contains_key(&ask.unit) {
                if !says.units.contains_key(&ask.unit) {
                    // Nobody's any more.
                    self.managed.done.insert(ask.number);
                }
                continue;
            }
            self.managed.sent.insert(ask.number, Instant::now());
            self.feed(Event::Deed { unit: ask.unit.clone(), deed: deed_of(ask.what) });
        }
        self.note_heard();
    }

    /// A deed counts from now on.
    pub(super) fn on_done(&mut self, from: NodeId, unit: &str, deed: &Deed) {
        if from == self.own {
            let asks = self.managed.says.iter().flat_map(|says| &says.asks);
            let is_it = |ask: &&ssi_cluster::scope::manager::Ask| {
                ask.unit == unit && deed_of(ask.what) == *deed && self.managed.sent.contains_key(&ask.number)
            };
            let done: Vec<u64> = asks.filter(is_it).map(|ask| ask.number).collect();
            self.managed.done.extend(done);
            self.note_heard();
        }
        if *deed == Deed::Restart && self.managed.runs(unit) {
            let _ = self.managed.restarts.try_send(unit.to_owned());
        }
    }

    /// Up to which number all asks have come to count.
    fn note_heard(&mut self) {
        let managed = &mut self.managed;
        let asks = managed.says.iter().flat_map(|says| &says.asks).map(|ask| ask.number);
        let (done, waiting): (Vec<u64>, Vec<u64>) = asks.partition(|number| managed.done.contains(number));
        let first = waiting.into_iter().min().unwrap_or(u64::MAX);
        let heard = done.into_iter().filter(|number| *number < first).max().unwrap_or(0).max(managed.heard);
        managed.heard = heard;
        // What the manager has let go of since needs no memory.
        let low = managed.says.iter().flat_map(|says| &says.asks).map(|ask| ask.number).min().unwrap_or(heard);
        managed.done = managed.done.split_off(&low.min(heard));
        managed.sent = managed.sent.split_off(&low.min(heard));
        self.tell_manager();
    }

    /// The guard is to know.
    pub(super) fn on_orders(&mut self, orders: Orders) {
        self.managed.orders = orders;
        self.tell_manager();
    }

    fn tell_manager(&self) {
        let managed = &self.managed;
        if managed.says.is_none() {
            return;
        }
        let told = Told {
            lease_ms: managed.orders.lease_ms,
            orders: managed.orders.orders.clone(),
            restart: Vec::new(),
            heard: managed.heard,
            places: managed.places.clone(),
            load: managed.pending.iter().map(|pending| pending.unit.clone()).collect(),
        };
        managed.told.send_if_modified(|before| {
            let news = before.as_ref() != Some(&told);
            *before = Some(told);
            news
        });
    }

    /// A member tells what it runs.
    pub(super) fn on_running(&mut self, from: NodeId, states: BTreeMap<String, RunState>) {
        self.managed.states.insert(from, states);
        self.show_scope();
    }

    /// The members changed: who came has not heard what runs here.
    pub(super) fn tell_running_again(&mut self) {
        if let Some(states) = self.managed.says.as_ref().map(|says| says.states.clone()) {
            self.feed(Event::Running(states));
        }
    }

    /// Time passed.
    pub(super) fn tend_services(&mut self) {
        self.pass_on();
        let now = Instant::now();
        for pending in std::mem::take(&mut self.managed.pending) {
            if self.agreement.shared().services.contains_key(&pending.unit) {
                let done = self.do_deed(pending.unit, pending.deed);
                let _ = pending.answer.send(done);
            } else if now < pending.until {
                self.managed.pending.push(pending);
            } else {
                let unit = &pending.unit;
                let why = match &self.managed.away {
                    Some(why) => format!("this node's unit manager does not take part ({why})"),
                    None => format!(
                        "no file of {unit} with Scope=cluster in a section [X-SSI] was found on this node; see ssi.scope(7)"
                    ),
                };
                let _ =
                    pending.answer.send(Err(MethodError::Refused(format!("{unit} is no unit of the cluster: {why}"))));
            }
        }
        self.tell_manager();
    }

    /// Somebody wants something of a unit.
    pub(super) fn ask_deed(&mut self, unit: String, deed: Deed, answer: oneshot::Sender<Result<(), MethodError>>) {
        if let Err(refused) = self.agreement.check_quorate() {
            let _ = answer.send(Err(refusal(&refused)));
        } else if self.agreement.shared().services.contains_key(&unit) {
            let _ = answer.send(self.do_deed(unit, deed));
        } else if self.managed.pending.len() >= PENDING {
            let _ = answer.send(Err(MethodError::Refused("too many units are looked for; try again".into())));
        } else {
            self.managed.pending.push(Pending { unit, deed, until: Instant::now() + LOOKED_FOR, answer });
            self.tell_manager();
        }
    }

    fn do_deed(&mut self, unit: String, deed: Deed) -> Result<(), MethodError> {
        self.agreement.check_quorate().map_err(|refused| refusal(&refused))?;
        let no = |text: String| Err(MethodError::Refused(text));
        let shared = self.agreement.shared();
        let Some(service) = shared.services.get(&unit) else { return no(format!("{unit} is no unit of the cluster")) };
        let target = match &deed {
            Deed::Pin(to) | Deed::Move { to, .. } => *to,
            _ => None,
        };
        if let Some(node) = target {
            if self.loaded.config.node(node).is_none() {
                return no(format!("there is no node {node} in cluster.toml"));
            }
            if !service.wanted.wish.may_run_on(node) {
                return no(format!("{unit} may not run on node {node}: Nodes= or Avoid= of its file says so"));
            }
            if matches!(deed, Deed::Move { .. })
                && (shared.state_of(node) != NodeState::Up || shared.drained.contains(&node))
            {
                return no(format!("node {node} is not UP, or is drained"));
            }
        }
        if matches!(deed, Deed::Move { .. }) {
            if service.wanted.wish.instances == Instances::All {
                return no(format!("{unit} runs on all nodes; it has nowhere to go"));
            }
            if service.wanted.wish.pin.is_some() {
                return no(format!("{unit} is pinned; 'ssi service unpin {unit}' first"));
            }
        }
        self.feed(Event::Deed { unit, deed });
        Ok(())
    }

    /// A node is to be given no instances, or again.
    pub(super) fn ask_drain(&mut self, number: u32, on: bool) -> Result<(), MethodError> {
        self.agreement.check_quorate().map_err(|refused| refusal(&refused))?;
        let node = NodeId::new(number).filter(|node| self.loaded.config.node(*node).is_some());
        let node = node.ok_or_else(|| MethodError::Refused(format!("there is no node {number} in cluster.toml")))?;
        self.feed(Event::Drain(node, on));
        Ok(())
    }

    /// Who has what changed, or how it is doing: for those who ask, and for this node's systemctl.
    pub(super) fn show_scope(&mut self) {
        let scope = self.agreement.scope();
        let round = scope.round();
        let board = ScopeBoard {
            table: scope.table().clone(),
            certain: scope.certain().is_some(),
            guarded: round.map(|round| round.guarded.clone()).unwrap_or_default(),
            present: round.map(|round| round.boots.keys().copied().collect()).unwrap_or_default(),
            heard_before_ms: round.map(|round| round.heard_before_ms.clone()).unwrap_or_default(),
            facts: self.agreement.scope_facts(),
            states: self.managed.states.clone(),
            away: self.managed.away.clone(),
            watchdog: self.managed.says.as_ref().is_some_and(|says| says.watchdog),
            fences: self.fencing.notes.clone(),
        };
        self.managed.places = board.places(&self.agreement.shared().services, |node| {
            self.loaded.config.node(node).map_or_else(String::new, |node| node.name.clone())
        });
        {
            let mut standing = self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            standing.scope = Arc::new(board);
        }
        let _ = self.signals.send(Signal::Services);
        self.tell_manager();
    }
}

fn deed_of(what: What) -> Deed {
    match what {
        What::Pull => Deed::Pull,
        What::Start => Deed::Start,
        What::Stop => Deed::Stop,
        What::Restart => Deed::Restart,
    }
}

/// Whether a unit's files say something else than what is agreed.
fn differs(known: &Service, wanted: &Wanted, description: &str) -> bool {
    let mut wanted = wanted.clone();
    wanted.wish.pin = known.wanted.wish.pin;
    // A long description is cut where it is kept.
    known.wanted != wanted || !description.starts_with(known.description.as_str())
}
