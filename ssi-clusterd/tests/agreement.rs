// SPDX-License-Identifier: GPL-2.0-or-later
//! The agreement, driven by an engine made of nothing but a random order: partitions, merges, crashes of machines and
//! daemons, scripts in between. The order it gives is extended virtual synchrony's: members that go on together have
//! delivered the same, and what was not ordered yet is ordered in the next ring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use ssi_cluster::engine::Configuration;
use ssi_cluster::placement::{Instance, Instances, UnitWish};
use ssi_cluster::scope::guard::Act;
use ssi_cluster::scope::{self, Ended, Guard, Table, Wanted};
use ssi_cluster::{NodeId, NodeState, Transition};
use ssi_clusterd::agreement::message::{Message, ScriptBegan, ScriptEnded};
use ssi_clusterd::agreement::shared::{Outcome, Shared};
use ssi_clusterd::agreement::{Action, Agreement, Event, GuardSaid, Orders};

const SCRIPTS: [&str; 2] = ["10-a", "20-b"];
const SCRIPT_TIMEOUT_MS: u64 = 5_000;

/// The takeover time of the units that run in the cluster.
const TAKEOVER_MS: u64 = 6_000;

fn id(n: usize) -> NodeId {
    NodeId::new(n as u32).unwrap()
}

/// A small generator of its own, so that a failing case is one seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // xorshift64*, Marsaglia 2003 / Vigna 2014
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

#[derive(Clone)]
enum Entry {
    Configuration(Configuration),
    Message(NodeId, Message),
}

#[derive(Default)]
struct Ring {
    name: (u32, u64),
    members: BTreeSet<NodeId>,
    order: Vec<Entry>,
}

/// A script that runs on a machine, whether or not its daemon lives.
#[derive(Clone, Default)]
struct Files {
    started: usize,
    ended: BTreeSet<&'static str>,
    running: Option<&'static str>,
}

#[derive(Default)]
struct Machine {
    on: bool,
    boots: u32,
    disk: Shared,
    daemon: Option<Agreement>,
    /// The process between daemon and engine is being started anew.
    helper_away: bool,
    ring: usize,
    delivered: usize,
    unsent: VecDeque<Message>,
    files: BTreeMap<u64, Files>,
    /// Works the daemon was told to run, with the scripts it was told had ended.
    told: BTreeMap<u64, BTreeSet<String>>,
    /// What somebody who follows the log knows.
    follower: Vec<Transition>,
    guard: Guard,
    guard_said: Option<GuardSaid>,
    /// What the daemon has told the guard and has not got there.
    orders: VecDeque<Orders>,
    lease_ms: u64,
    /// The instances whose processes live, and whether they were told to end.
    processes: BTreeMap<Instance, bool>,
}

struct World {
    dice: Dice,
    machines: BTreeMap<NodeId, Machine>,
    rings: Vec<Ring>,
    next_ring: u64,
    now: u64,
    configured: BTreeSet<NodeId>,
    quorum: usize,
    executions: BTreeMap<(u64, &'static str), usize>,
    /// What members in step held at each point of a ring's order.
    held: BTreeMap<(usize, usize), (NodeId, Shared, Option<Table>)>,
    /// Whether anything is to run in the cluster.
    services: bool,
    starts: usize,
}

impl World {
    fn new(nodes: usize, seed: u64) -> Self {
        let configured: BTreeSet<NodeId> = (1..=nodes).map(id).collect();
        let mut world = World {
            dice: Dice(seed | 1),
            machines: configured.iter().map(|&n| (n, Machine::default())).collect(),
            rings: Vec::new(),
            next_ring: 1,
            now: 1,
            configured,
            quorum: nodes / 2 + 1,
            executions: BTreeMap::new(),
            held: BTreeMap::new(),
            services: false,
            starts: 0,
        };
        for n in world.configured.clone() {
            world.power_on(n);
        }
        world
    }

    fn power_on(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.on {
            return;
        }
        machine.on = true;
        machine.boots += 1;
        machine.files.clear();
        machine.guard = Guard::default();
        machine.ring = usize::MAX;
        self.make_rings(vec![BTreeSet::from([n])], &[n]);
        self.start_daemon(n);
    }

    fn power_off(&mut self, n: NodeId) {
        if !self.machines[&n].on {
            return;
        }
        self.stop_daemon(n, false);
        let ring = self.machines[&n].ring;
        let rest: BTreeSet<NodeId> = self.rings[ring].members.iter().copied().filter(|&m| m != n).collect();
        let machine = self.machines.get_mut(&n).unwrap();
        machine.on = false;
        machine.processes.clear();
        if !rest.is_empty() {
            let members: Vec<NodeId> = rest.iter().copied().collect();
            self.make_rings(vec![rest], &members);
        }
    }

    fn start_daemon(&mut self, n: NodeId) {
        let seed = self.dice.below(1 << 30) as u64;
        let machine = self.machines.get_mut(&n).unwrap();
        if !machine.on || machine.daemon.is_some() {
            return;
        }
        let boot = format!("boot-{n}-{}", machine.boots);
        machine.daemon = Some(Agreement::new(n, boot, machine.disk.clone(), seed, SCRIPT_TIMEOUT_MS, self.now));
        machine.guard_said = None;
        machine.follower = machine.disk.log.iter().cloned().collect();
        let ring = machine.ring;
        machine.delivered = self.rings[ring].order.len();
        self.configure(ring);
    }

    /// The daemon dies; its scripts live on unless the machine goes too.
    fn stop_daemon(&mut self, n: NodeId, tell_ring: bool) {
        let lost_disk = self.dice.below(2) == 0;
        let machine = self.machines.get_mut(&n).unwrap();
        let Some(daemon) = machine.daemon.take() else { return };
        if !lost_disk {
            machine.disk = daemon.shared().clone();
        }
        machine.unsent.clear();
        machine.orders.clear();
        machine.told.clear();
        let ring = machine.ring;
        if tell_ring {
            self.configure(ring);
        }
    }

    /// The process between daemon and engine dies with all that it has in its hands, and is started anew.
    fn restart_helper(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.daemon.is_none() {
            return;
        }
        machine.unsent.clear();
        machine.helper_away = true;
        let ring = machine.ring;
        self.feed(n, Event::Unreachable);
        self.configure(ring);
        let machine = self.machines.get_mut(&n).unwrap();
        machine.helper_away = false;
        machine.delivered = self.rings[ring].order.len();
        self.configure(ring);
    }

    /// Puts a configuration into a ring's order.
    fn configure(&mut self, ring: usize) {
        let machines = &self.machines;
        let quorum = self.quorum;
        let ring = &mut self.rings[ring];
        let attached =
            ring.members.iter().copied().filter(|n| machines[n].daemon.is_some() && !machines[n].helper_away).collect();
        let quorate = ring.members.len() >= quorum;
        let seen = Configuration { ring: ring.name, members: ring.members.clone(), attached, quorate };
        ring.order.push(Entry::Configuration(seen));
    }

    /// New rings out of `moving` members of old ones. Those of one old ring that go on together first deliver the same.
    fn make_rings(&mut self, groups: Vec<BTreeSet<NodeId>>, moving: &[NodeId]) {
        for group in groups {
            let mut by_old: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
            for &n in group.iter().filter(|n| moving.contains(n)) {
                by_old.entry(self.machines[&n].ring).or_default().push(n);
            }
            for (old, together) in by_old {
                if old == usize::MAX {
                    continue;
                }
                let far = together.iter().map(|n| self.machines[n].delivered).max().unwrap_or(0);
                let end = self.rings[old].order.len();
                let cut = far + self.dice.below(end - far + 1);
                for n in together {
                    while self.machines[&n].delivered < cut {
                        self.deliver(n);
                    }
                    self.rings[old].members.remove(&n);
                }
            }
            let lowest = group.first().map_or(0, |n| n.get());
            self.next_ring += 1;
            self.rings.push(Ring { name: (lowest, self.next_ring), members: group.clone(), order: Vec::new() });
            let index = self.rings.len() - 1;
            for n in &group {
                let machine = self.machines.get_mut(n).unwrap();
                machine.ring = index;
                machine.delivered = 0;
            }
            self.configure(index);
        }
    }

    fn deliver(&mut self, n: NodeId) -> bool {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.ring == usize::MAX {
            return false;
        }
        let Some(entry) = self.rings[machine.ring].order.get(machine.delivered).cloned() else { return false };
        machine.delivered += 1;
        let event = match entry {
            Entry::Configuration(seen) => Event::Configuration(seen),
            Entry::Message(from, message) => Event::Message(from, message),
        };
        self.feed(n, event);
        self.compare(n);
        true
    }

    /// Members in step at the same point of the same order hold the same.
    fn compare(&mut self, n: NodeId) {
        let machine = &self.machines[&n];
        let Some(daemon) = machine.daemon.as_ref().filter(|d| d.settled()) else { return };
        let place = (machine.ring, machine.delivered);
        let table = daemon.scope().certain().map(|_| daemon.scope().table().clone());
        let (first, held, in_table) =
            self.held.entry(place).or_insert_with(|| (n, daemon.shared().clone(), table.clone()));
        assert_eq!(daemon.shared(), held, "node {n} holds something else than node {first} at {place:?}");
        assert_eq!(&table, in_table, "node {n} has another table than node {first} at {place:?}");
    }

    fn feed(&mut self, n: NodeId, event: Event) {
        let machine = self.machines.get_mut(&n).unwrap();
        let Some(daemon) = &mut machine.daemon else { return };
        let before = daemon.shared().clone();
        let actions = daemon.on_event(event, self.now, self.now, &self.configured);
        for t in daemon.shared().log.iter().filter(|t| t.id > before.last_id) {
            assert!(t.from.may_become(t.to), "{t:?}");
        }
        for action in actions {
            match action {
                Action::Send(message) => machine.unsent.push_back(message),
                Action::Persist => machine.disk = daemon.shared().clone(),
                Action::Moved(t) => {
                    if let Some(last) = machine.follower.last() {
                        assert_eq!(t.id, last.id + 1, "node {n}: a follower would miss a transition");
                    }
                    machine.follower.push(t);
                }
                Action::LogRewritten(from) => machine.follower.retain(|t| t.id < from),
                Action::StartWork { transition, ended, .. } => {
                    machine.told.insert(transition, ended.into_iter().collect());
                }
                Action::AbortWork { transition, .. } => {
                    machine.told.remove(&transition);
                    if let Some(files) = machine.files.get_mut(&transition) {
                        files.running = None;
                    }
                }
                Action::Orders(orders) => machine.orders.push_back(orders),
                Action::ViewChanged
                | Action::ScopeChanged
                | Action::ShutDown { .. }
                | Action::Load(..)
                | Action::Config { .. } => {}
            }
        }
    }

    /// The guard of a machine takes in what it was told, does what is due, and says what it runs.
    fn mind(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if let Some(Orders { lease_ms, orders }) = machine.orders.pop_front() {
            machine.lease_ms = machine.lease_ms.max(lease_ms.unwrap_or_default());
            machine.guard.told(lease_ms, orders);
        }
        self.guard(n);
        let machine = self.machines.get_mut(&n).unwrap();
        let said = GuardSaid { runs: machine.guard.runs(), spent: machine.guard.spent().collect() };
        if machine.on && machine.daemon.is_some() && machine.guard_said.as_ref() != Some(&said) {
            machine.guard_said = Some(said.clone());
            self.feed(n, Event::Guard(said));
        }
    }

    fn guard(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if !machine.on {
            return;
        }
        for act in machine.guard.act(self.now) {
            match act {
                Act::Start(run) => {
                    self.starts += 1;
                    assert!(machine.processes.insert(run.instance, false).is_none(), "it runs here already");
                }
                Act::Stop(instance) => {
                    if let Some(stopping) = machine.processes.get_mut(&instance) {
                        *stopping = true;
                    }
                }
                // It may be that nothing can end it.
                Act::Kill(_) | Act::LetBite(_) => {}
            }
        }
        self.witness();
    }

    /// A process ends that was told to, or for no reason.
    fn end_process(&mut self, n: NodeId, only_told: bool) {
        let machine = self.machines.get_mut(&n).unwrap();
        let ends = machine.processes.iter().find(|(_, told)| **told || !only_told).map(|(i, _)| i.clone());
        if let Some(instance) = ends {
            machine.processes.remove(&instance);
            machine.guard.ended(&instance, Ended::Failed);
        }
    }

    /// Time passes for all. Guards keep to their times, and so do watchdogs.
    fn pass(&mut self, ms: u64) {
        for n in self.configured.clone() {
            let machine = &self.machines[&n];
            if machine.on && machine.guard.is_biting() && machine.lease_ms + TAKEOVER_MS <= self.now + ms {
                self.power_off(n);
            }
        }
        self.now += ms;
        for n in self.configured.clone() {
            self.guard(n);
        }
    }

    /// No instance runs twice.
    fn witness(&self) {
        let mut seen: BTreeMap<&Instance, NodeId> = BTreeMap::new();
        for (n, machine) in &self.machines {
            for instance in machine.processes.keys() {
                let other = seen.insert(instance, *n);
                assert!(other.is_none(), "{instance} runs on nodes {other:?} and {n} at {}", self.now);
            }
        }
    }

    /// One unit that runs once, and one that runs twice, on two nodes.
    fn want_services(&mut self) {
        self.services = true;
        let spread = UnitWish { spread: true, ..UnitWish::new("two.service", Instances::Count(2)) };
        for wish in [UnitWish::new("one.service", Instances::Count(1)), spread] {
            let wanted = Wanted { takeover_ms: TAKEOVER_MS, probation_ms: 1_000, ..Wanted::new(wish) };
            let (unit, wanted) = (wanted.wish.name.clone(), Some(wanted));
            self.feed(id(1), Event::Want { unit, wanted });
        }
    }

    /// One step of a script's life on one machine.
    fn work(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.daemon.is_none() {
            return;
        }
        let Some((&transition, ended)) = machine.told.iter().next() else { return };
        let files = machine.files.entry(transition).or_default();
        let next = SCRIPTS.iter().find(|s| !ended.contains(**s));
        let message = match (next, files.running) {
            (None, _) => {
                machine.told.remove(&transition);
                Message::WorkDone { transition }
            }
            (Some(script), Some(running)) if running == *script => {
                files.running = None;
                files.ended.insert(script);
                let script = script.to_string();
                machine.told.get_mut(&transition).unwrap().insert(script.clone());
                let (outcome, status, output) = (Outcome::Done, 0, String::new());
                Message::ScriptEnded(ScriptEnded { transition, script, outcome, status, output })
            }
            // It ended while the daemon was away.
            (Some(script), _) if files.ended.contains(*script) => {
                let script = script.to_string();
                machine.told.get_mut(&transition).unwrap().insert(script.clone());
                let (outcome, status, output) = (Outcome::Done, 0, String::new());
                Message::ScriptEnded(ScriptEnded { transition, script, outcome, status, output })
            }
            (Some(script), _) => {
                files.running = Some(script);
                files.started += 1;
                *self.executions.entry((transition, script)).or_default() += 1;
                Message::ScriptBegan(ScriptBegan { transition, script: script.to_string() })
            }
        };
        self.feed(n, Event::Tell(message));
    }

    fn order_one(&mut self, n: NodeId) -> bool {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.ring == usize::MAX || machine.daemon.is_none() {
            return false;
        }
        let Some(message) = machine.unsent.pop_front() else { return false };
        self.rings[machine.ring].order.push(Entry::Message(n, message));
        true
    }

    fn step(&mut self) {
        let n = id(1 + self.dice.below(self.configured.len()));
        match self.dice.below(10) {
            0..=3 => drop(self.deliver(n)),
            4..=6 => drop(self.order_one(n)),
            7 => self.work(n),
            8 if self.services => match self.dice.below(40) {
                0 => self.end_process(n, false),
                1..=10 => self.end_process(n, true),
                _ => self.mind(n),
            },
            _ => {
                self.pass(50);
                self.feed(n, Event::Tick);
            }
        }
    }

    fn fault(&mut self) {
        let n = id(1 + self.dice.below(self.configured.len()));
        match self.dice.below(7) {
            6 => self.restart_helper(n),
            0 => self.power_off(n),
            1 => self.power_on(n),
            2 => self.stop_daemon(n, true),
            3 => self.start_daemon(n),
            4 => {
                let on: Vec<NodeId> = self.configured.iter().copied().filter(|n| self.machines[n].on).collect();
                let (mut a, mut b) = (BTreeSet::new(), BTreeSet::new());
                for &n in &on {
                    if self.dice.below(2) == 0 {
                        a.insert(n)
                    } else {
                        b.insert(n)
                    };
                }
                self.make_rings([a, b].into_iter().filter(|g| !g.is_empty()).collect(), &on);
            }
            _ => self.heal(),
        }
    }

    fn heal(&mut self) {
        let on: BTreeSet<NodeId> = self.configured.iter().copied().filter(|n| self.machines[n].on).collect();
        let moving: Vec<NodeId> = on.iter().copied().collect();
        if !on.is_empty() {
            self.make_rings(vec![on], &moving);
        }
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        // Quiet for longer than it takes to say or propose something again.
        let mut quiet = 0;
        let patience = if self.services { 30 } else { 6 };
        for _ in 0..400 {
            let mut moved = false;
            // Messages take no time beside what is waited for.
            loop {
                let mut went = false;
                for n in self.configured.clone() {
                    moved |= self.machines[&n].unsent.iter().any(|message| !is_pulse(message));
                    while self.order_one(n) {
                        went = true;
                    }
                }
                for n in self.configured.clone() {
                    while self.deliver(n) {
                        went = true;
                    }
                    for _ in 0..8 {
                        self.work(n);
                        self.end_process(n, true);
                        self.mind(n);
                    }
                }
                if !went {
                    break;
                }
            }
            self.pass(500);
            for n in self.configured.clone() {
                self.feed(n, Event::Tick);
            }
            let idle = self.machines.values().all(|m| m.unsent.iter().all(is_pulse) && m.told.is_empty());
            quiet = if moved || !idle { 0 } else { quiet + 1 };
            if quiet == patience {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn shared(&self, n: usize) -> &Shared {
        self.machines[&id(n)].daemon.as_ref().unwrap().shared()
    }

    fn running(&self) -> usize {
        self.machines.values().map(|machine| machine.processes.len()).sum()
    }

    fn assert_agreed(&self) {
        let first = self.machines.values().find_map(|m| m.daemon.as_ref()).unwrap().shared();
        for (n, machine) in self.machines.iter().filter(|(_, m)| m.on) {
            let daemon = machine.daemon.as_ref().unwrap();
            assert!(daemon.settled(), "node {n} is not in step");
            assert_eq!(daemon.shared(), first, "node {n} holds something else");
            let log: Vec<&Transition> =
                first.log.iter().filter(|t| machine.follower.first().is_some_and(|f| f.id <= t.id)).collect();
            assert_eq!(
                machine.follower.iter().collect::<Vec<_>>(),
                log,
                "who followed node {n}'s log knows something else"
            );
        }
        let mut states: BTreeMap<NodeId, NodeState> = BTreeMap::new();
        for (i, t) in first.log.iter().enumerate() {
            assert_eq!(t.id, i as u64 + 1, "the numbers have a gap");
            let was = states.insert(t.node, t.to).unwrap_or(NodeState::NeverUp);
            assert_eq!(was, t.from, "transition {}", t.id);
        }
        assert_eq!(first.last_id, first.log.len() as u64);
        for n in &self.configured {
            let wanted = if self.machines[n].on { NodeState::Up } else { NodeState::Down };
            let known = first.state_of(*n);
            assert!(
                known == wanted || (wanted == NodeState::Down && known == NodeState::NeverUp),
                "node {n} is {known}"
            );
        }
        for (t, work) in &first.works {
            assert!(work.done, "work {t} is not done");
            for script in SCRIPTS {
                let ended =
                    work.scripts.iter().filter(|s| s.script == script && s.outcome == Some(Outcome::Done)).count();
                assert!(ended <= 1, "work {t} has the end of {script} {ended} times");
            }
        }
    }
}

/// How many random worlds; more by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(300)
}

fn is_pulse(message: &Message) -> bool {
    matches!(message, Message::Scope(scope::Message::Pulse(_)))
}

#[test]
fn three_nodes_come_up_and_hold_the_same() {
    let mut world = World::new(3, 7);
    world.heal();
    world.settle();
    world.assert_agreed();
    assert_eq!(world.shared(1).last_id, 6);
    assert_eq!(world.shared(1).init_node(), Some(id(1)));
    assert!(world.executions.values().all(|&n| n == 1), "{:?}", world.executions);
}

#[test]
fn a_lost_node_goes_down_through_its_clean_up_and_comes_back() {
    let mut world = World::new(3, 11);
    world.heal();
    world.settle();
    world.power_off(id(1));
    world.settle();
    world.assert_agreed();
    let states: Vec<NodeState> = world.shared(2).log.iter().filter(|t| t.node == id(1)).map(|t| t.to).collect();
    use NodeState::*;
    assert_eq!(states, [ComingUp, Up, KCleanup, UCleanup, Down]);
    assert_eq!(world.shared(2).init_node(), Some(id(2)));
    world.power_on(id(1));
    world.heal();
    world.settle();
    world.assert_agreed();
    assert_eq!(world.shared(3).init_node(), Some(id(1)));
}

#[test]
fn a_daemon_killed_again_and_again_makes_no_transition() {
    let mut world = World::new(3, 13);
    world.heal();
    world.settle();
    let before = world.shared(1).last_id;
    for round in 0..100 {
        let n = id(1 + round % 3);
        world.stop_daemon(n, true);
        for _ in 0..world.dice.below(20) {
            world.step();
        }
        world.start_daemon(n);
        world.settle();
    }
    world.assert_agreed();
    assert_eq!(world.shared(1).last_id, before);
}

#[test]
fn the_minority_decides_nothing_and_takes_the_majoritys_log() {
    let mut world = World::new(5, 17);
    world.heal();
    world.settle();
    let before = world.shared(1).last_id;
    let all: Vec<NodeId> = (1..=5).map(id).collect();
    world.make_rings(vec![BTreeSet::from([id(1), id(2)]), BTreeSet::from([id(3), id(4), id(5)])], &all);
    world.settle();
    assert_eq!(world.shared(1).last_id, before, "two of five decided something");
    assert!(!world.machines[&id(1)].daemon.as_ref().unwrap().view().quorate);
    assert_eq!(world.shared(3).state_of(id(1)), NodeState::Down);
    assert_eq!(world.shared(3).init_node(), Some(id(3)));
    world.heal();
    world.settle();
    world.assert_agreed();
}

#[test]
fn a_machine_that_restarts_faster_than_the_engine_notices_was_lost_all_the_same() {
    let mut world = World::new(3, 19);
    world.heal();
    world.settle();
    let machine = world.machines.get_mut(&id(2)).unwrap();
    machine.boots += 1;
    world.stop_daemon(id(2), true);
    world.start_daemon(id(2));
    world.settle();
    world.assert_agreed();
    let causes: Vec<&str> = world.shared(1).log.iter().filter(|t| t.node == id(2)).map(|t| t.cause.as_str()).collect();
    assert!(causes.contains(&"lost: it was started anew"), "{causes:?}");
}

#[test]
fn a_script_goes_on_while_its_runners_daemon_is_away() {
    let mut world = World::new(3, 23);
    world.heal();
    world.settle();
    world.power_off(id(3));
    // Let the work begin, and stop the daemon in the middle of a script.
    for _ in 0..10_000 {
        let running = world.machines[&id(1)].files.values().any(|f| f.running.is_some());
        if running {
            break;
        }
        world.step();
    }
    world.stop_daemon(id(1), true);
    for _ in 0..50 {
        world.step();
    }
    world.start_daemon(id(1));
    world.settle();
    world.assert_agreed();
    assert!(world.executions.values().all(|&n| n == 1), "{:?}", world.executions);
}

#[test]
fn another_takes_the_work_over_when_its_runner_is_lost() {
    let mut world = World::new(5, 29);
    world.heal();
    world.settle();
    world.power_off(id(5));
    for _ in 0..10_000 {
        let seen =
            |w: &Shared| w.works.values().flat_map(|w| &w.scripts).any(|s| s.runner == id(1) && s.outcome.is_none());
        if (2..=4).all(|n| seen(world.shared(n))) && world.shared(2).state_of(id(5)) == NodeState::UCleanup {
            break;
        }
        world.step();
    }
    world.power_off(id(1));
    world.settle();
    world.assert_agreed();
    let lost =
        world.shared(2).works.values().flat_map(|w| &w.scripts).filter(|s| s.outcome == Some(Outcome::Lost)).count();
    assert_eq!(lost, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_all_come_to_hold_the_same(seed in any::<u64>(), nodes in 1usize..6, faults in 0usize..25) {
        let mut world = World::new(nodes, seed);
        for _ in 0..faults {
            for _ in 0..world.dice.below(400) {
                world.step();
            }
            world.fault();
        }
        for n in world.configured.clone() {
            world.power_on(n);
            world.start_daemon(n);
        }
        world.heal();
        world.settle();
        world.assert_agreed();
    }
}

#[test]
fn what_a_lost_node_ran_runs_elsewhere_after_its_time_and_nothing_else_moves() {
    let mut world = World::new(3, 31);
    world.heal();
    world.settle();
    world.want_services();
    world.settle();
    assert_eq!(world.running(), 3);
    let there: Vec<usize> = world.machines.values().map(|m| m.processes.len()).collect();
    let (lost, starts) = (id(1 + there.iter().position(|n| *n > 0).unwrap()), world.starts);
    let ran = world.machines[&lost].processes.len();
    world.power_off(lost);
    world.settle();
    assert_eq!(world.running(), 3);
    assert_eq!(world.starts, starts + ran);
    world.power_on(lost);
    world.heal();
    world.settle();
    assert_eq!((world.running(), world.starts), (3, starts + ran), "it stays where it is");
}

#[test]
fn all_daemons_start_anew_and_no_process_notices() {
    let mut world = World::new(3, 37);
    world.heal();
    world.settle();
    world.want_services();
    world.settle();
    let starts = world.starts;
    for n in 1..=3 {
        world.stop_daemon(id(n), true);
    }
    for n in 1..=3 {
        world.start_daemon(id(n));
    }
    world.settle();
    assert_eq!((world.running(), world.starts), (3, starts));
}

#[test]
fn a_minority_stops_what_it_ran() {
    let mut world = World::new(5, 41);
    world.heal();
    world.settle();
    world.want_services();
    world.settle();
    let all: Vec<NodeId> = (1..=5).map(id).collect();
    let (mut few, mut rest) = (BTreeSet::new(), BTreeSet::new());
    for n in &all {
        let to = if few.len() < 2 && !world.machines[n].processes.is_empty() { &mut few } else { &mut rest };
        to.insert(*n);
    }
    world.make_rings(vec![few.clone(), rest], &all);
    world.settle();
    assert_eq!(world.running(), 3);
    assert!(few.iter().all(|n| world.machines[n].processes.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_runs_twice_and_all_runs_again(seed in any::<u64>(), nodes in 2usize..6, faults in 0usize..25) {
        let mut world = World::new(nodes, seed);
        world.heal();
        world.settle();
        world.want_services();
        for _ in 0..faults {
            for _ in 0..world.dice.below(600) {
                world.step();
            }
            world.fault();
            world.witness();
        }
        for n in world.configured.clone() {
            world.power_on(n);
            world.start_daemon(n);
        }
        world.heal();
        world.settle();
        // Services that were asked for in a moment without quorum were refused.
        world.want_services();
        world.settle();
        world.assert_agreed();
        prop_assert_eq!(world.running(), 3);
    }
}

/// A member that is in step, alone.
fn alone() -> (Agreement, Configuration) {
    let mut agreement = Agreement::new(id(1), "boot".into(), Shared::default(), 1, SCRIPT_TIMEOUT_MS, 0);
    let only = BTreeSet::from([id(1)]);
    let seen = Configuration { ring: (1, 1), members: only.clone(), attached: only.clone(), quorate: true };
    let mut events = VecDeque::from([Event::Configuration(seen.clone())]);
    while let Some(event) = events.pop_front() {
        for action in agreement.on_event(event, 1, 1, &only) {
            if let Action::Send(message) = action {
                events.push_back(Event::Message(id(1), message));
            }
        }
    }
    assert!(agreement.settled());
    (agreement, seen)
}

/// A number that does harm where numbers are counted up and down.
fn awkward() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(2), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

/// What a peer that has gone mad may say: right in form, and otherwise anything.
fn mad_message() -> impl Strategy<Value = serde_json::Value> {
    let node = 0u64..4;
    let state = prop::sample::select(vec![
        "NEVERUP",
        "COMINGUP",
        "UP",
        "SHUTDOWN",
        "GOINGDOWN",
        "KCLEANUP",
        "UCLEANUP",
        "DOWN",
        "?",
    ]);
    (0..10, node, awkward(), awkward(), state.clone(), state, any::<bool>()).prop_map(|(kind, n, a, b, from, to, flag)| {
        let seen = serde_json::json!({"ring": [1, b], "members": [1, n], "attached": [1], "quorate": flag});
        let entry = serde_json::json!({"id": a, "at_ms": b, "view": a, "node": n, "from": from, "to": to, "cause": "?"});
        let view = serde_json::json!({"id": a, "members": [n, 1], "quorate": flag});
        let shared = serde_json::json!({"view": view, "lineage": a, "revision": b, "nodes": {}, "log": [entry, entry],
            "last_id": b, "works": {"7": {"kind": "nodeup", "node": n, "runner": 1, "scripts": [], "done": flag}}});
        let instance = serde_json::json!({"unit": "a.service", "index": 0});
        let grant = serde_json::json!({"round": {"ring": 1, "round": a}, "change": b});
        let run = serde_json::json!({"instance": instance, "grant": grant, "view": a, "takeover_ms": b});
        let part = serde_json::json!({"boot": "x", "last_round": {"ring": 1, "round": b}, "remembers": flag,
            "table": {"lineage": {"ring": a, "round": b}, "change": a, "holds": []}, "runs": [run, run], "silent_ms": {"2": a}});
        match kind {
            0 => serde_json::json!({"hello": {"sees": seen, "again": flag, "completed": u64::from(flag), "in_step": flag,
                "nonce": b, "incarnation": "x", "view": view, "lineage": a, "revision": b, "digest": "?", "scope": part}}),
            7 => serde_json::json!({"scope": {"pulse": {"stamp": {"life": a, "number": b}, "knows": a,
                "heard": {"1": {"life": 1, "number": b}}, "round": {"ring": 1, "round": 1}}}}),
            8 => serde_json::json!({"scope": {"change": {"round": {"ring": 1, "round": 1}, "change": if flag {
                serde_json::json!({"grant": {"instance": instance, "to": 1, "takeover_ms": a}})
            } else {
                serde_json::json!({"taken": {"instance": instance, "node": n, "grant": grant, "to": 1}})
            }}}}),
            9 => serde_json::json!({"service": {"view": 1, "unit": "a.service", "wanted": {"takeover_ms": a, "probation_ms": b, "error_limit": 0, "wish": {
                "name": "a.service", "instances": {"Count": b as u32}, "nodes": [], "avoid": [1], "failback": "No",
                "spread": flag, "pin": null, "least_loaded": flag}}}}),
            1 => serde_json::json!({"state": {"exchange": {"1": a}, "shared": shared}}),
            2 => serde_json::json!({"move": {"view": a, "node": n, "from": from, "to": to, "cause": "\u{0}\u{fffd}", "at_ms": b,
                "reboot": flag}}),
            3 => serde_json::json!({"assign": {"view": a, "transition": b, "instead_of": if flag { Some(n) } else { None }}}),
            4 => serde_json::json!({"script-ended": {"transition": a, "script": "../../x", "outcome": "failed", "status": -1,
                "output": "ä".repeat(9000)}}),
            5 => serde_json::json!({"work-done": {"transition": a}}),
            _ => serde_json::json!({"of-a-later-version": [a, b]}),
        }
    })
}

proptest! {
    #[test]
    fn whatever_a_peer_says_nothing_breaks(
        said in prop::collection::vec((mad_message(), 1usize..4), 0..40),
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (mut agreement, seen) = alone();
        prop_assert!(ssi_clusterd::agreement::message::read(&noise).is_none());
        for (json, from) in said {
            let bytes = serde_json::to_vec(&json).unwrap();
            if let Some(message) = ssi_clusterd::agreement::message::read(&bytes) {
                agreement.on_event(Event::Message(id(from), message), 2, 2, &BTreeSet::from([id(1)]));
            }
        }
        // It still listens to its engine.
        agreement.on_event(Event::Configuration(Configuration { ring: (1, 2), ..seen }), 3, 3, &BTreeSet::from([id(1)]));
        prop_assert!(!agreement.shared().digest().is_empty());
    }
}
