// SPDX-License-Identifier: GPL-2.0-or-later
//! What has to hold for any units whatever: random graphs, random wishes.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ssi_manager::core::state::ActiveState;
use ssi_manager::graph::{Graph, UnitId};
use ssi_manager::job::transaction::{self, Wish};
use ssi_manager::job::{
    JobId, JobMode, JobState, JobType, Plan, Queue, QueueSnapshot, Request, TransactionError, UnitStates,
};
use ssi_unit::dependency::{Atoms, Dependency};
use ssi_unit::name::UnitName;
use world::World;

const KINDS: [&str; 12] = [
    "Requires",
    "Wants",
    "After",
    "Before",
    "After",
    "Conflicts",
    "BindsTo",
    "PartOf",
    "Requisite",
    "Upholds",
    "PropagatesStopTo",
    "PropagatesReloadTo",
];

const BODIES: [&str; 7] = [
    "Type=simple\nExecStart=/bin/sleep 1000\n",
    "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    "Type=oneshot\nExecStart=/bin/true\n",
    "Type=oneshot\nExecStart=/bin/false\n",
    "Type=oneshot\nRemainAfterExit=yes\nExecStart=/run/scene/%n\nExecStop=/run/scene/%n\n",
    "Type=simple\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n",
];

/// A random set of units, and what is done with them.
#[derive(Clone, Debug)]
struct Town {
    bodies: Vec<usize>,
    edges: Vec<(usize, usize, usize)>,
    stop_when_unneeded: Vec<bool>,
    deeds: Vec<Deed>,
}

#[derive(Clone, Debug)]
enum Deed {
    Wish(usize, Request, JobMode),
    Release(usize),
    Die(usize),
    Cancel(usize),
}

fn unit_name(unit: usize) -> String {
    format!("u{unit}.service")
}

fn town(kinds: &'static [&'static str]) -> impl Strategy<Value = Town> {
    let deed = |units: usize| {
        let request = prop::sample::select(Request::ALL);
        let mode = prop::sample::select(JobMode::ALL);
        prop_oneof![
            6 => (0..units, request, mode).prop_map(|(unit, request, mode)| Deed::Wish(unit, request, mode)),
            3 => (0..units).prop_map(Deed::Release),
            1 => (0..units).prop_map(Deed::Die),
            1 => (0..units).prop_map(Deed::Cancel),
        ]
    };
    (2usize..8).prop_flat_map(move |units| {
        (
            prop::collection::vec(0..BODIES.len(), units),
            prop::collection::vec((0..units, 0..kinds.len(), 0..units), 0..units * 3),
            prop::collection::vec(prop::bool::weighted(0.15), units),
            prop::collection::vec(deed(units), 1..12),
        )
            .prop_map(|(bodies, edges, stop_when_unneeded, deeds)| Town {
                bodies,
                edges,
                stop_when_unneeded,
                deeds,
            })
    })
}

impl Town {
    fn world(&self, kinds: &[&str]) -> World {
        let text = |unit: usize| {
            let mut text = "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n".to_owned();
            if self.stop_when_unneeded[unit] {
                text += "StopWhenUnneeded=yes\n";
            }
            for (from, kind, to) in self.edges.iter().filter(|(from, _, to)| *from == unit && to != from) {
                let _ = from;
                text += &format!("{}={}\n", kinds[*kind], unit_name(*to));
            }
            text + "[Service]\n" + BODIES[self.bodies[unit]]
        };
        World::new((0..self.bodies.len()).map(|unit| (unit_name(unit), text(unit))))
    }
}

/// How many random towns; more by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000)
}

/// The order of two jobs, straight from the table in systemd.unit(5).
fn goes_before(graph: &Graph, a: (UnitId, JobType), b: (UnitId, JobType)) -> bool {
    if a.1 == JobType::Nop || b.1 == JobType::Nop {
        return false;
    }
    let down = |kind| matches!(kind, JobType::Stop | JobType::Restart);
    let b_after_a = graph.edge(b.0, Dependency::After, a.0).is_some();
    let a_after_b = graph.edge(a.0, Dependency::After, b.0).is_some();
    // Of two ordered jobs the one that takes down goes first; of two that do, the later unit's; else the earlier unit's.
    match (down(a.1), down(b.1)) {
        (true, false) => b_after_a || a_after_b,
        (false, true) => false,
        (true, true) => a_after_b,
        (false, false) => b_after_a,
    }
}

fn is_acyclic(graph: &Graph, jobs: &BTreeMap<UnitId, JobType>) -> bool {
    let mut left: BTreeSet<UnitId> = jobs.keys().copied().collect();
    loop {
        let free: Vec<UnitId> = left
            .iter()
            .copied()
            .filter(|unit| !left.iter().any(|other| goes_before(graph, (*other, jobs[other]), (*unit, jobs[unit]))))
            .collect();
        if free.is_empty() {
            return left.is_empty();
        }
        for unit in free {
            left.remove(&unit);
        }
    }
}

/// Whether a plan is what a transaction has to be.
fn check_plan(world: &World, plan: &Plan, wish: Wish) -> Result<(), TestCaseError> {
    let mut kinds = BTreeMap::new();
    for job in plan.jobs() {
        prop_assert!(kinds.insert(job.unit, job.kind).is_none(), "two jobs of one unit");
    }
    let asked = wish.request.settle(world.rows.active(wish.unit));
    prop_assert_eq!(plan.anchor().unit, wish.unit);
    prop_assert!(!plan.anchor().kind.conflicts_with(asked), "{asked} became {}", plan.anchor().kind);
    prop_assert!(plan.jobs().contains(&plan.anchor()));

    // Nothing is queued that would wait for itself.
    if wish.mode != JobMode::IgnoreDependencies {
        let mut all: BTreeMap<UnitId, JobType> = BTreeMap::new();
        for job in world.queue.jobs().filter(|job| job.kind != JobType::Nop && !job.ignore_order) {
            let stranger = !kinds.contains_key(&job.unit) && !world.rows.ignores_isolate(job.unit);
            if !(stranger && matches!(wish.mode, JobMode::Isolate | JobMode::Flush)) {
                all.insert(job.unit, job.kind);
            }
        }
        for job in plan.jobs().iter().filter(|job| job.kind != JobType::Nop) {
            let active = world.rows.active(job.unit);
            let merged = all.get(&job.unit).and_then(|queued| queued.merge(job.kind, active)).unwrap_or(job.kind);
            if world.queue.job_of(job.unit).is_none_or(|queued| !queued.ignore_order) {
                all.insert(job.unit, merged);
            }
        }
        prop_assert!(is_acyclic(&world.graph, &all), "a cycle is left: {:?}", world.planned(plan));
        for kind in all.values_mut().filter(|kind| **kind == JobType::Restart) {
            *kind = JobType::Start;
        }
        prop_assert!(is_acyclic(&world.graph, &all), "a cycle will be: {:?}", world.planned(plan));
    }

    // Whoever starts has what it cannot be without.
    if matches!(wish.mode, JobMode::IgnoreDependencies | JobMode::IgnoreRequirements) {
        return Ok(());
    }
    for job in plan.jobs().iter().filter(|job| matches!(job.kind, JobType::Start | JobType::Restart)) {
        for other in world.graph.with(job.unit, Atoms::PULL_IN_START) {
            let comes = matches!(kinds.get(&other), Some(JobType::Start | JobType::Restart | JobType::Reload));
            let up = world.rows.active(other).is_active_or_reloading() && !kinds.contains_key(&other);
            prop_assert!(comes || up, "{:?} without {}", world.planned(plan), world.rows.name(other));
        }
        for other in world.graph.with(job.unit, Atoms::PULL_IN_STOP) {
            let goes = kinds.get(&other) == Some(&JobType::Stop);
            let down = world.rows.active(other).is_inactive_or_failed() && !kinds.contains_key(&other);
            prop_assert!(goes || down, "{:?} beside {}", world.planned(plan), world.rows.name(other));
        }
    }
    for job in plan.jobs().iter().filter(|job| job.kind == JobType::Stop) {
        for other in world.graph.with(job.unit, Atoms::PROPAGATE_STOP) {
            let goes = kinds.get(&other) == Some(&JobType::Stop);
            let down = world.rows.active(other).is_inactive_or_failed() && !kinds.contains_key(&other);
            prop_assert!(goes || down, "{:?} leaves {}", world.planned(plan), world.rows.name(other));
        }
    }
    Ok(())
}

/// Does one thing; a wish is checked before it is granted.
fn act(world: &mut World, deed: &Deed) -> Result<(), TestCaseError> {
    match deed {
        Deed::Wish(unit, request, mode) => {
            let unit = world.id(&unit_name(*unit));
            let wish = Wish { unit, request: *request, mode: *mode, manual: false };
            match transaction::plan(&world.graph, &world.rows, &world.queue, wish) {
                Ok(plan) => {
                    check_plan(world, &plan, wish)?;
                    let again = transaction::plan(&world.graph, &world.rows, &world.queue, wish);
                    prop_assert_eq!(again.as_ref(), Ok(&plan), "the same wish in the same state");
                    let name = world.rows.name(unit).to_string();
                    prop_assert!(world.wish(&name, *request, *mode).is_ok());
                }
                Err(TransactionError::OrderIsCyclic { cycle }) => {
                    let units: BTreeSet<UnitName> = cycle.iter().map(|(unit, _)| unit.clone()).collect();
                    prop_assert!(cycle.len() > 1 && units.len() == cycle.len(), "{:?} is no cycle", cycle);
                    for (place, (waits, kind)) in cycle.iter().enumerate() {
                        let (first, first_kind) = &cycle[(place + 1) % cycle.len()];
                        let (first, waits) = ((world.ids[first], *first_kind), (world.ids[waits], *kind));
                        prop_assert!(goes_before(&world.graph, first, waits), "{:?} is no cycle", cycle);
                    }
                }
                Err(_) => {}
            }
        }
        Deed::Release(unit) => {
            let unit = unit_name(*unit);
            if matches!(world.active(&unit), ActiveState::Activating | ActiveState::Deactivating) {
                world.release(&unit);
            }
        }
        Deed::Die(unit) => {
            let id = world.id(&unit_name(*unit));
            if world.rows.active(id) == ActiveState::Active {
                world.change(id, ActiveState::Failed);
            }
        }
        Deed::Cancel(unit) => {
            if let Some(job) = world.queue.job_of(world.id(&unit_name(*unit))).map(|job| job.id) {
                world.queue.cancel(&world.graph, &world.rows, job);
                world.tell();
            }
        }
    }
    Ok(())
}

/// Runs a while, but not for ever: units may uphold one another up and down without end.
fn settle(world: &mut World) -> bool {
    world.drain_at_most(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn transactions_are_consistent_and_queues_drain(town in town(&KINDS)) {
        let mut world = town.world(&KINDS);
        for deed in &town.deeds {
            act(&mut world, deed)?;
            if !settle(&mut world) {
                return Ok(());
            }
            for job in world.queue.jobs() {
                // What may run does run, what waits waits for a job or for its unit.
                let held = matches!(
                    world.rows.active(job.unit), ActiveState::Activating | ActiveState::Deactivating
                );
                let waits = world.queue.blocker(&world.graph, job.id).is_some();
                prop_assert!(held || (waits && job.state == JobState::Waiting), "{job:?} is forgotten");
            }
        }
        // Once every unit does what it was told, no job is left.
        for release in 0.. {
            let held: Vec<String> = (0..town.bodies.len())
                .map(unit_name)
                .filter(|unit| matches!(world.active(unit), ActiveState::Activating | ActiveState::Deactivating))
                .collect();
            if held.is_empty() {
                break;
            }
            if release == 100 {
                // Without end is only what is upheld again and again, and bound to what does not stay.
                prop_assert!(town.edges.iter().any(|(_, kind, _)| KINDS[*kind] == "Upholds"), "{held:?} never rest");
                return Ok(());
            }
            world.release(&held[0]);
            if !settle(&mut world) {
                return Ok(());
            }
        }
        prop_assert_eq!(world.queued(), Vec::<String>::new());
        let ended = world.ended.iter().filter(|job| !job.contains("/restart/done")).count() as u64;
        prop_assert_eq!(world.queue.installed_ever(), ended, "each job ends once");
    }

    #[test]
    fn a_queue_goes_on_from_its_snapshot(town in town(&KINDS)) {
        let mut world = town.world(&KINDS);
        for deed in &town.deeds {
            act(&mut world, deed)?;
        }
        let text = serde_json::to_string(&world.queue.snapshot(&world.rows)).unwrap();
        let snapshot: QueueSnapshot = serde_json::from_str(&text).unwrap();
        let (queue, lost) = Queue::restore(&world.rows, snapshot, |name| world.ids.get(name).copied());
        prop_assert_eq!(lost, vec![]);
        prop_assert_eq!(queue.snapshot(&world.rows), world.queue.snapshot(&world.rows));
        let before: Vec<String> = world.ended.clone();
        let mut again = town.world(&KINDS);
        for (row, other) in again.rows.0.iter_mut().zip(&world.rows.0) {
            row.active = other.active;
        }
        again.queue = queue;
        // Only what waits in the queue: deeds that were put off by units are the world's, not the queue's.
        world.forget_wishes();
        let (one, two) = (settle(&mut world), settle(&mut again));
        prop_assert_eq!(one, two);
        prop_assert_eq!(&world.ended[before.len()..], &again.ended[..]);
    }

    /// What a start or a stop of resting units brings in, by a model of sets that knows no links, slots or marks.
    #[test]
    fn a_naive_model_agrees(
        town in town(&["Requires", "Wants", "BindsTo", "Upholds", "PartOf", "PropagatesStopTo"]),
        up in prop::collection::vec(any::<bool>(), 8),
        stop in any::<bool>(),
    ) {
        let kinds = ["Requires", "Wants", "BindsTo", "Upholds", "PartOf", "PropagatesStopTo"];
        let mut world = town.world(&kinds);
        for (unit, up) in up.iter().enumerate().take(town.bodies.len()) {
            let id = world.id(&unit_name(unit));
            world.rows.0[id.index()].active = if *up { ActiveState::Active } else { ActiveState::Inactive };
        }
        let (request, mode) = (if stop { Request::Stop } else { Request::Start }, JobMode::Replace);
        let anchor = world.id(&unit_name(0));
        let pulls = |unit: UnitId| -> BTreeSet<UnitId> {
            let kinds: &[Dependency] = if stop {
                &[Dependency::RequiredBy, Dependency::BoundBy, Dependency::ConsistsOf, Dependency::PropagatesStopTo]
            } else {
                &[Dependency::Requires, Dependency::Wants, Dependency::BindsTo, Dependency::Upholds]
            };
            kinds.iter().flat_map(|kind| world.graph.edges(unit, *kind).iter().map(|edge| edge.to)).collect()
        };
        let mut jobs = BTreeSet::from([anchor]);
        while let Some(more) = jobs.iter().flat_map(|unit| pulls(*unit)).find(|unit| !jobs.contains(unit)) {
            jobs.insert(more);
        }
        let at_rest = |unit: UnitId| (world.rows.active(unit) == ActiveState::Active) != stop;
        jobs.retain(|unit| *unit == anchor || !at_rest(*unit));
        while let Some(unneeded) = jobs.iter().copied().find(|unit| {
            *unit != anchor && !jobs.iter().any(|other| pulls(*other).contains(unit))
        }) {
            jobs.remove(&unneeded);
        }
        let wish = Wish { unit: anchor, request, mode, manual: false };
        let plan = transaction::plan(&world.graph, &world.rows, &world.queue, wish).unwrap();
        let planned: BTreeSet<UnitId> = plan.jobs().iter().map(|job| job.unit).collect();
        prop_assert_eq!(planned, jobs);
        prop_assert!(plan.jobs().iter().all(|job| Request::from(job.kind) == request));
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_units_and_a_shutdown_of_all_of_them() {
    struct Rows(Vec<UnitName>, ActiveState);
    impl UnitStates for Rows {
        fn name(&self, unit: UnitId) -> &UnitName {
            &self.0[unit.index()]
        }
        fn active(&self, _: UnitId) -> ActiveState {
            self.1
        }
        fn load(&self, _: UnitId) -> Option<ssi_unit::load::LoadState> {
            Some(ssi_unit::load::LoadState::Loaded)
        }
        fn can_start(&self, _: UnitId) -> bool {
            true
        }
        fn can_stop(&self, _: UnitId) -> bool {
            true
        }
        fn can_reload(&self, _: UnitId) -> bool {
            false
        }
        fn is_perpetual(&self, _: UnitId) -> bool {
            false
        }
        fn allows_isolate(&self, _: UnitId) -> bool {
            true
        }
        fn ignores_isolate(&self, _: UnitId) -> bool {
            false
        }
        fn refuses_manual_start(&self, _: UnitId) -> bool {
            false
        }
        fn refuses_manual_stop(&self, _: UnitId) -> bool {
            false
        }
        fn job_timeout(&self, _: UnitId) -> Option<u64> {
            Some(90_000_000)
        }
        fn job_running_timeout(&self, _: UnitId) -> Option<u64> {
            None
        }
        fn stops_when_unneeded(&self, _: UnitId) -> bool {
            false
        }
        fn will_restart(&self, _: UnitId) -> bool {
            false
        }
    }
    const LENGTH: usize = 100_000;
    let mut graph = Graph::new();
    let units: Vec<UnitId> = (0..=LENGTH).map(|_| graph.add_unit()).collect();
    let mut rows = Rows(
        (0..=LENGTH).map(|number| UnitName::new(&format!("u{number}.service")).unwrap()).collect(),
        ActiveState::Inactive,
    );
    let file = ssi_unit::dependency::Origins::FILE;
    let (shutdown, chain) = units.split_last().unwrap();
    for pair in chain.windows(2) {
        graph.add(pair[0], Dependency::Requires, pair[1], file);
        graph.add(pair[0], Dependency::After, pair[1], file);
    }
    for unit in chain {
        graph.add(*unit, Dependency::Conflicts, *shutdown, file);
        graph.add(*unit, Dependency::Before, *shutdown, file);
    }
    let mut queue = Queue::new();
    let wish = |unit, mode| Wish { unit, request: Request::Start, mode, manual: false };
    let plan = transaction::plan(&graph, &rows, &queue, wish(chain[0], JobMode::Replace)).unwrap();
    assert_eq!(plan.jobs().len(), LENGTH);
    queue.install(&graph, &rows, &plan, 0);
    assert_eq!(queue.next(&graph, &rows, 1).unwrap().unit, chain[LENGTH - 1], "the last one is needed first");
    assert_eq!(queue.next(&graph, &rows, 1), None, "all others wait");
    // They all time out at one moment, each of them once.
    assert_eq!(queue.next_deadline(), Some(90_000_000));
    assert_eq!(queue.expire(&graph, &rows, 89_999_999), vec![]);
    queue.expire(&graph, &rows, 90_000_000);
    assert!(queue.is_empty());
    let mut jobs = BTreeSet::new();
    while let Some(event) = queue.pop_event() {
        if let ssi_manager::job::Event::Removed { job, .. } = event {
            assert!(jobs.insert(job), "{job} ended twice");
        }
    }
    assert_eq!(jobs.len(), LENGTH);
    assert_eq!(jobs.first(), Some(&JobId(1)));
    rows.1 = ActiveState::Active;
    let plan = transaction::plan(&graph, &rows, &queue, wish(*shutdown, JobMode::Isolate)).unwrap();
    assert_eq!(plan.jobs().iter().filter(|job| job.kind == JobType::Stop).count(), LENGTH);
}
