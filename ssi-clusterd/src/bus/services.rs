// SPDX-License-Identifier: GPL-2.0-or-later
//! What people are told about the units of the cluster: where each runs, how it is doing, and why.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::client::{FenceStatus, InstanceStatus, ServiceStatus};
use ssi_cluster::placement::{Assignment, Instance, Instances, NodeFacts, UnitWish, place};
use ssi_cluster::scope::manager::RunState;
use ssi_cluster::scope::propose::Rest;
use ssi_cluster::scope::{Ended, Hold, Table};
use ssi_cluster::{NodeId, View};

use super::Standing;
use crate::agreement::message::{FenceNote, FenceOutcome};
use crate::agreement::services::{Service, Want};

/// Who has what, as this node knows it.
#[derive(Clone, Debug, Default)]
pub struct ScopeBoard {
    /// Who has what.
    pub table: Table,
    /// Whether that is all there is.
    pub certain: bool,
    /// Whose unit managers take part.
    pub guarded: BTreeSet<NodeId>,
    /// Who takes part in the agreement.
    pub present: BTreeSet<NodeId>,
    /// Before which moment of this daemon's clock each absent node was last heard.
    pub heard_before_ms: BTreeMap<NodeId, i64>,
    /// What counts of each node for the placement.
    pub facts: BTreeMap<NodeId, NodeFacts>,
    /// How each node's instances are doing.
    pub states: BTreeMap<NodeId, BTreeMap<String, RunState>>,
    /// Why this node's unit manager does not take part.
    pub away: Option<String>,
    /// Whether a watchdog resets this node.
    pub watchdog: bool,
    /// The last that is known of how nodes were turned off.
    pub fences: BTreeMap<NodeId, FenceNote>,
}

impl ScopeBoard {
    /// Where each unit is, in a few words.
    pub fn places(
        &self,
        services: &BTreeMap<String, Service>,
        name: impl Fn(NodeId) -> String,
    ) -> BTreeMap<String, String> {
        let place = |(unit, service): (&String, &Service)| {
            let holds = self.table.holds().iter().filter(|hold| hold.instance.unit == *unit);
            let nodes: Vec<String> = holds.map(|hold| format!("node {} ({})", hold.node, name(hold.node))).collect();
            let text = match (nodes.is_empty(), service.want) {
                (false, _) => nodes.join(", "),
                (true, Want::Off) => "stopped".to_owned(),
                (true, Want::Undecided) => "not wanted".to_owned(),
                (true, Want::On) => "nowhere".to_owned(),
            };
            (unit.clone(), text)
        };
        services.iter().map(place).collect()
    }

    fn run_state(&self, hold: &Hold) -> Option<&RunState> {
        self.states.get(&hold.node)?.get(&hold.instance.to_string())
    }

    /// A word for how an instance that somebody has is doing.
    fn word(&self, hold: &Hold) -> &'static str {
        if !self.present.contains(&hold.node) {
            return "lost";
        }
        if hold.stay.is_leaving() {
            return "stopping";
        }
        match self.run_state(hold) {
            Some(state) if state.is_up() => "running",
            Some(state) if state.active == "deactivating" => "stopping",
            _ => "starting",
        }
    }

    /// After how many milliseconds others may have what an absent node has.
    fn left_ms(&self, hold: &Hold, now_ms: u64) -> Option<i64> {
        let heard = *self.heard_before_ms.get(&hold.node)?;
        let takeover = i64::try_from(hold.takeover_ms).unwrap_or(i64::MAX);
        Some(heard.saturating_add(takeover).saturating_sub(i64::try_from(now_ms).unwrap_or(i64::MAX)).max(0))
    }
}

/// The fence agents of cluster.toml, and the last that is known of each.
pub fn fences(standing: &Standing) -> Vec<FenceStatus> {
    let one = |node: &ssi_cluster::NodeConfig| {
        let note = standing.scope.fences.get(&node.id);
        FenceStatus {
            node: node.id.get(),
            agent: node.fence.as_ref().map(|device| device.agent.clone()),
            action: node.fence.as_ref().map(|device| device.action.clone()),
            outcome: note.map(|note| note.outcome.name().to_owned()),
            by: note.map(|note| note.by.get()),
            at_ms: note.map(|note| note.at_ms),
            detail: note.map(|note| note.detail.clone()).filter(|detail| !detail.is_empty()),
        }
    };
    standing.config.nodes.values().map(one).collect()
}

/// What is done about a lost node so that it need not be waited for.
fn fence_sentence(standing: &Standing, node: NodeId) -> Option<String> {
    let Some(device) = standing.config.node(node).and_then(|node| node.fence.as_ref()) else {
        return Some(format!(
            "node {node} has no fence agent, so its time is waited for; once you have seen that it is off, 'ssi fence confirm {node} --i-have-seen-it'"
        ));
    };
    let agent = &device.agent;
    let note = standing.scope.fences.get(&node)?;
    Some(match note.outcome {
        FenceOutcome::Running => format!("node {} is having node {node} turned off by {agent}", note.by),
        FenceOutcome::Failed => format!("node {} could not have node {node} turned off: {}", note.by, note.detail),
        FenceOutcome::Done | FenceOutcome::Confirmed => return None,
    })
}

/// The instances that a unit is to have.
fn wanted_instances(service: &Service, scope: &ScopeBoard) -> Vec<Instance> {
    let wish = &service.wanted.wish;
    match wish.instances {
        Instances::Count(count) => (0..count).map(|index| Instance::new(&*wish.name, index)).collect(),
        Instances::All => {
            let may = scope.guarded.iter().filter(|node| wish.may_run_on(**node));
            may.map(|node| Instance::new(&*wish.name, node.get())).collect()
        }
    }
}

/// All units of the cluster.
pub fn list(standing: &Standing, wall_ms: u64) -> Vec<ServiceStatus> {
    let one = |(unit, service): (&String, &Service)| status(standing, unit, service, wall_ms);
    standing.shared.services.iter().map(one).collect()
}

fn status(standing: &Standing, unit: &str, service: &Service, wall_ms: u64) -> ServiceStatus {
    let scope = &standing.scope;
    let wanted = if service.want == Want::On { wanted_instances(service, scope) } else { Vec::new() };
    let held = scope.table.holds().iter().filter(|hold| hold.instance.unit == unit);
    let mut instances: Vec<InstanceStatus> = held
        .map(|hold| InstanceStatus {
            index: hold.instance.index,
            unit: ssi_cluster::scope::manager::unit_of(&hold.instance),
            state: scope.word(hold).to_owned(),
            node: Some(hold.node.get()),
            to: hold.stay.next().map(NodeId::get),
            unwatched: scope.run_state(hold).is_some_and(|state| state.unwatched),
        })
        .collect();
    for instance in wanted {
        if scope.table.holders(&instance).is_empty() {
            let word = match service.wanted.rests(&scope.table, &instance, wall_ms) {
                Some(Rest::Through) => "done",
                Some(Rest::GivenUp) => "failed",
                None => "waiting",
            };
            let unit = ssi_cluster::scope::manager::unit_of(&instance);
            let state = word.to_owned();
            instances.push(InstanceStatus {
                index: instance.index,
                unit,
                state,
                node: None,
                to: None,
                unwatched: false,
            });
        }
    }
    instances.sort_by_key(|instance| (instance.index, instance.node));
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let failed = |ending: &&ssi_cluster::scope::Ending| ending.ended == Ended::Failed && ending.instance.unit == unit;
    ServiceStatus {
        unit: unit.to_owned(),
        description: service.description.clone(),
        want: match service.want {
            Want::On => "on",
            Want::Off => "off",
            Want::Undecided => "undecided",
        }
        .to_owned(),
        count: match service.wanted.wish.instances {
            Instances::Count(count) => Some(count),
            Instances::All => None,
        },
        pin: service.wanted.wish.pin.map(NodeId::get),
        nodes: numbers(&service.wanted.wish.nodes),
        avoid: numbers(&service.wanted.wish.avoid),
        with: service.wanted.wish.with.iter().cloned().collect(),
        apart: service.wanted.wish.apart.iter().cloned().collect(),
        takeover_ms: service.wanted.takeover_ms,
        failures: scope.table.endings().iter().filter(failed).map(|e| (e.node.get(), e.at_ms)).collect(),
        instances,
    }
}

/// Why a unit is where it is, in sentences; `None`: there is no such unit.
pub fn explain(standing: &Standing, unit: &str, now_ms: u64, wall_ms: u64) -> Option<Vec<String>> {
    let service = standing.shared.services.get(unit)?;
    let scope = &standing.scope;
    let mut said = Vec::new();
    match service.want {
        Want::Undecided => said.push(format!("{unit}: nobody has asked for it; 'ssi service start {unit}' does")),
        Want::Off => said.push(format!("{unit}: somebody stopped it; 'ssi service start {unit}' starts it again")),
        Want::On => said.push(format!("{unit}: it is wanted")),
    }
    if !standing.view.quorate {
        said.push("the members that this node sees are no quorum: nothing is started".into());
    } else if !scope.certain {
        said.push(
            "the members know only in part who holds what, so nothing changes until the absent nodes are back, or have been away for the longest TakeoverSec= there is"
                .into(),
        );
    }
    if let Some(pin) = service.wanted.wish.pin {
        said.push(format!("it is pinned to node {pin}"));
    }
    let names = |units: &std::collections::BTreeSet<String>| units.iter().cloned().collect::<Vec<_>>().join(", ");
    if !service.wanted.wish.with.is_empty() {
        said.push(format!("it runs only where these run: {}", names(&service.wanted.wish.with)));
    }
    if !service.wanted.wish.apart.is_empty() {
        said.push(format!("it runs on no node where one of these runs: {}", names(&service.wanted.wish.apart)));
    }
    for node in &standing.shared.drained {
        said.push(format!("node {node} is drained and is given nothing; 'ssi node resume {node}' ends that"));
    }
    let unguarded = scope.present.difference(&scope.guarded);
    for node in unguarded {
        said.push(format!("node {node} is given nothing: its init is not ssi-init, or does not answer"));
    }
    for (node, at_ms) in failures(service, &scope.table, wall_ms) {
        let ago = wall_ms.saturating_sub(at_ms) / 1000;
        let left = service.wanted.probation_ms.saturating_sub(wall_ms.saturating_sub(at_ms)) / 1000;
        said.push(format!(
            "it failed on node {node} {ago} s ago, so that node is given none of it for another {left} s"
        ));
    }
    for hold in scope.table.holds().iter().filter(|hold| hold.instance.unit == unit) {
        said.push(sentence(scope, hold, now_ms));
        if scope.run_state(hold).is_some_and(|state| state.unwatched) {
            said.push(format!("node {0} has no watchdog: should it hang, {1} may run twice", hold.node, hold.instance));
        }
        if scope.word(hold) == "lost" {
            said.extend(fence_sentence(standing, hold.node));
        }
    }
    said.extend(missing(standing, service, wall_ms));
    Some(said)
}

fn failures(service: &Service, table: &Table, wall_ms: u64) -> Vec<(NodeId, u64)> {
    let counts = |ending: &&ssi_cluster::scope::Ending| {
        ending.ended == Ended::Failed
            && ending.instance.unit == service.wanted.wish.name
            && wall_ms.abs_diff(ending.at_ms) < service.wanted.probation_ms
    };
    table.endings().iter().filter(counts).map(|ending| (ending.node, ending.at_ms)).collect()
}

fn sentence(scope: &ScopeBoard, hold: &Hold, now_ms: u64) -> String {
    let Hold { instance, node, view, .. } = hold;
    let since = format!("{instance} is on node {node}, granted in view {}", view.0);
    match scope.word(hold) {
        "lost" => match scope.left_ms(hold, now_ms) {
            Some(0) => format!("{since}; that node is lost, and another may have it now"),
            Some(left) => format!("{since}; that node is lost, and another may have it in {:.1} s", left as f64 / 1e3),
            None => format!("{since}; that node is lost"),
        },
        "stopping" => match hold.stay.next() {
            Some(to) => format!("{since}; it is stopped there and goes to node {to} then"),
            None => format!("{since}; it is stopped there"),
        },
        "running" => format!("{since}; it is up and stays there as long as nothing speaks against it"),
        _ => {
            let state = scope.run_state(hold).map(|state| format!(" ({}, {})", state.active, state.sub));
            format!("{since}; it is coming up{}", state.unwrap_or_default())
        }
    }
}

/// Why instances that are wanted have no node.
fn missing(standing: &Standing, service: &Service, wall_ms: u64) -> Vec<String> {
    let scope = &standing.scope;
    if service.want != Want::On || !standing.view.quorate || !scope.certain {
        return Vec::new();
    }
    let view = View { id: standing.view.id, members: scope.guarded.clone(), quorate: true };
    let Some(quorate) = view.quorate() else { return Vec::new() };
    let holds = scope.table.holds().iter();
    let current: Assignment = holds.map(|hold| (hold.instance.clone(), hold.node)).collect();
    let wish = |service: &Service| {
        let shun = failures(service, &scope.table, wall_ms).into_iter().map(|(node, _)| node).collect();
        UnitWish { shun, ..service.wanted.wish.clone() }
    };
    let wishes: Vec<UnitWish> =
        standing.shared.services.values().filter(|other| other.want == Want::On).map(wish).collect();
    let placed = place(quorate, &scope.facts, &wishes, &current);
    let absent = |instance: &Instance| scope.table.holders(instance).is_empty();
    let mut said = Vec::new();
    for instance in wanted_instances(service, scope).into_iter().filter(absent) {
        said.push(match service.wanted.rests(&scope.table, &instance, wall_ms) {
            Some(Rest::Through) => format!("{instance} has done what it was for; a start runs it again"),
            Some(Rest::GivenUp) => format!("{instance} failed too often and is left alone; a start tries it again"),
            None => match (placed.unplaced.get(&instance), placed.assignment.get(&instance)) {
                (Some(why), _) => format!("{instance} has no node: {why}"),
                (None, Some(node)) => format!("{instance} is about to be given to node {node}"),
                (None, None) => format!("{instance} has no node"),
            },
        });
    }
    said
}
