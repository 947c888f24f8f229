// SPDX-License-Identifier: GPL-2.0-or-later
//! Machines, daemons, guards and an engine made of nothing but a random order. The order it gives is extended virtual
//! synchrony's: members that go on together have delivered the same, and what was not ordered yet is ordered in the next
//! ring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ssi_cluster::engine::Configuration;
use ssi_cluster::placement::{Instance, Instances, UnitWish};
use ssi_cluster::scope::guard::Act;
use ssi_cluster::scope::{self, Ended, Guard, Memory, Table, Wanted};
use ssi_cluster::{NodeId, NodeState, Transition};
use ssi_clusterd::agreement::message::{Message, ScriptBegan, ScriptEnded};
use ssi_clusterd::agreement::services::Deed;
use ssi_clusterd::agreement::shared::{Outcome, Shared};
use ssi_clusterd::agreement::{Action, Agreement, Event, GuardSaid, Orders};

pub(crate) const SCRIPTS: [&str; 2] = ["10-a", "20-b"];
pub(crate) const SCRIPT_TIMEOUT_MS: u64 = 5_000;

/// The takeover time of the units that run in the cluster.
pub(crate) const TAKEOVER_MS: u64 = 6_000;

pub(crate) fn id(n: usize) -> NodeId {
    NodeId::new(n as u32).unwrap()
}

/// A small generator of its own, so that a failing case is one seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // xorshift64*, Marsaglia 2003 / Vigna 2014
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

#[derive(Clone)]
pub(crate) enum Entry {
    Configuration(Configuration),
    Message(NodeId, Message),
}

#[derive(Default)]
pub(crate) struct Ring {
    pub(crate) name: (u32, u64),
    pub(crate) members: BTreeSet<NodeId>,
    pub(crate) order: Vec<Entry>,
}

/// A script that runs on a machine, whether or not its daemon lives.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) started: usize,
    pub(crate) ended: BTreeSet<&'static str>,
    pub(crate) running: Option<&'static str>,
}

#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) on: bool,
    pub(crate) boots: u32,
    pub(crate) disk: Shared,
    /// What the daemons of one boot leave one another.
    pub(crate) memory: Memory,
    pub(crate) daemon: Option<Agreement>,
    /// The process between daemon and engine is being started anew.
    pub(crate) helper_away: bool,
    pub(crate) ring: usize,
    pub(crate) delivered: usize,
    pub(crate) unsent: VecDeque<Message>,
    pub(crate) files: BTreeMap<u64, Files>,
    /// Works the daemon was told to run, with the scripts it was told had ended.
    pub(crate) told: BTreeMap<u64, BTreeSet<String>>,
    /// What somebody who follows the log knows.
    pub(crate) follower: Vec<Transition>,
    pub(crate) guard: Guard,
    pub(crate) guard_said: Option<GuardSaid>,
    /// What the daemon has told the guard and has not got there.
    pub(crate) orders: VecDeque<Orders>,
    pub(crate) lease_ms: u64,
    /// The instances whose processes live, and whether they were told to end.
    pub(crate) processes: BTreeMap<Instance, bool>,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) rings: Vec<Ring>,
    pub(crate) next_ring: u64,
    pub(crate) now: u64,
    pub(crate) configured: BTreeSet<NodeId>,
    pub(crate) quorum: usize,
    pub(crate) executions: BTreeMap<(u64, &'static str), usize>,
    /// What members in step held at each point of a ring's order.
    pub(crate) held: BTreeMap<(usize, usize), (NodeId, Shared, Option<Table>)>,
    /// Whether anything is to run in the cluster.
    pub(crate) services: bool,
    pub(crate) starts: usize,
    pub(crate) fenced: usize,
}

impl World {
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        let configured: BTreeSet<NodeId> = (1..=nodes).map(id).collect();
        let mut world = World {
            dice: Dice(seed | 1),
            machines: configured.iter().map(|&n| (n, Machine::default())).collect(),
            rings: Vec::new(),
            next_ring: 1,
            now: 1,
            configured,
            // Of two, each half has one, as with corosync's two_node.
            quorum: if nodes == 2 { 1 } else { nodes / 2 + 1 },
            executions: BTreeMap::new(),
            held: BTreeMap::new(),
            services: false,
            starts: 0,
            fenced: 0,
        };
        for n in world.configured.clone() {
            world.power_on(n);
        }
        world
    }

    pub(crate) fn power_on(&mut self, n: NodeId) {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.on {
            return;
        }
        machine.on = true;
        machine.boots += 1;
        machine.files.clear();
        machine.guard = Guard::default();
        machine.memory = Memory::default();
        machine.ring = usize::MAX;
        self.make_rings(vec![BTreeSet::from([n])], &[n]);
        self.start_daemon(n);
    }

    pub(crate) fn power_off(&mut self, n: NodeId) {
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

    pub(crate) fn start_daemon(&mut self, n: NodeId) {
        let seed = self.dice.below(1 << 30) as u64;
        let machine = self.machines.get_mut(&n).unwrap();
        if !machine.on || machine.daemon.is_some() {
            return;
        }
        let boot = format!("boot-{n}-{}", machine.boots);
        let mut daemon = Agreement::new(n, boot, machine.disk.clone(), seed, SCRIPT_TIMEOUT_MS, self.now);
        daemon.recall(seed, machine.memory.clone());
        machine.daemon = Some(daemon);
        machine.guard_said = None;
        machine.follower = machine.disk.log.iter().cloned().collect();
        let ring = machine.ring;
        machine.delivered = self.rings[ring].order.len();
        self.configure(ring);
    }

    /// The daemon dies; its scripts live on unless the machine goes too.
    pub(crate) fn stop_daemon(&mut self, n: NodeId, tell_ring: bool) {
        let lost_disk = self.dice.below(2) == 0;
        let machine = self.machines.get_mut(&n).unwrap();
        let Some(daemon) = machine.daemon.take() else { return };
        if !lost_disk {
            machine.disk = daemon.shared().clone();
        }
        machine.memory = daemon.scope().memory().clone();
        machine.unsent.clear();
        machine.orders.clear();
        machine.told.clear();
        let ring = machine.ring;
        if tell_ring {
            self.configure(ring);
        }
    }

    /// The process between daemon and engine dies with all that it has in its hands, and is started anew.
    pub(crate) fn restart_helper(&mut self, n: NodeId) {
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
    pub(crate) fn configure(&mut self, ring: usize) {
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
    pub(crate) fn make_rings(&mut self, groups: Vec<BTreeSet<NodeId>>, moving: &[NodeId]) {
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

    pub(crate) fn deliver(&mut self, n: NodeId) -> bool {
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
    pub(crate) fn compare(&mut self, n: NodeId) {
        let machine = &self.machines[&n];
        let Some(daemon) = machine.daemon.as_ref().filter(|d| d.settled()) else { return };
        let place = (machine.ring, machine.delivered);
        let table = daemon.scope().certain().map(|_| daemon.scope().table().clone());
        let (first, held, in_table) =
            self.held.entry(place).or_insert_with(|| (n, daemon.shared().clone(), table.clone()));
        assert_eq!(daemon.shared(), held, "node {n} holds something else than node {first} at {place:?}");
        assert_eq!(&table, in_table, "node {n} has another table than node {first} at {place:?}");
    }

    pub(crate) fn feed(&mut self, n: NodeId, event: Event) {
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
                | Action::Done { .. }
                | Action::Running(..)
                | Action::Fence(_)
                | Action::Files(..)
                | Action::FilesDone(..)
                | Action::ShutDown { .. }
                | Action::Load(..)
                | Action::Config { .. } => {}
            }
        }
    }

    /// The guard of a machine takes in what it was told, does what is due, and says what it runs.
    pub(crate) fn mind(&mut self, n: NodeId) {
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

    pub(crate) fn guard(&mut self, n: NodeId) {
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
    pub(crate) fn end_process(&mut self, n: NodeId, only_told: bool) {
        let machine = self.machines.get_mut(&n).unwrap();
        let ends = machine.processes.iter().find(|(_, told)| **told || !only_told).map(|(i, _)| i.clone());
        if let Some(instance) = ends {
            machine.processes.remove(&instance);
            machine.guard.ended(&instance, Ended::Failed);
        }
    }

    /// Time passes for all. Guards keep to their times, and so do watchdogs.
    pub(crate) fn pass(&mut self, ms: u64) {
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
    pub(crate) fn witness(&self) {
        let mut seen: BTreeMap<&Instance, NodeId> = BTreeMap::new();
        for (n, machine) in &self.machines {
            for instance in machine.processes.keys() {
                let other = seen.insert(instance, *n);
                assert!(other.is_none(), "{instance} runs on nodes {other:?} and {n} at {}", self.now);
            }
        }
    }

    /// One unit that runs once, and one that runs twice, on two nodes.
    pub(crate) fn want_services(&mut self) {
        self.services = true;
        let spread = UnitWish { spread: true, ..UnitWish::new("two.service", Instances::Count(2)) };
        for wish in [UnitWish::new("one.service", Instances::Count(1)), spread] {
            let wanted = Wanted { takeover_ms: TAKEOVER_MS, probation_ms: 1_000, ..Wanted::new(wish) };
            let unit = wanted.wish.name.clone();
            let define = Deed::Define { wanted: Box::new(wanted), description: String::new() };
            self.feed(id(1), Event::Deed { unit: unit.clone(), deed: define });
            self.feed(id(1), Event::Deed { unit, deed: Deed::Start });
        }
    }

    /// One step of a script's life on one machine.
    pub(crate) fn work(&mut self, n: NodeId) {
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

    pub(crate) fn order_one(&mut self, n: NodeId) -> bool {
        let machine = self.machines.get_mut(&n).unwrap();
        if machine.ring == usize::MAX || machine.daemon.is_none() {
            return false;
        }
        let Some(message) = machine.unsent.pop_front() else { return false };
        self.rings[machine.ring].order.push(Entry::Message(n, message));
        true
    }

    pub(crate) fn step(&mut self) {
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

    pub(crate) fn fault(&mut self) {
        let n = id(1 + self.dice.below(self.configured.len()));
        match self.dice.below(8) {
            7 => self.fence(n),
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

    /// A fence agent does what a node wants done, and the node gets to know it: or not, if its daemon is gone meanwhile.
    pub(crate) fn fence(&mut self, n: NodeId) {
        let wanted = self.machines[&n].daemon.as_ref().map(Agreement::to_fence).unwrap_or_default();
        let Some((other, boot)) = wanted.into_iter().next() else { return };
        self.power_off(other);
        self.fenced += 1;
        if self.dice.below(4) > 0 {
            self.feed(n, Event::Ended { node: other, boot });
        }
    }

    pub(crate) fn heal(&mut self) {
        let on: BTreeSet<NodeId> = self.configured.iter().copied().filter(|n| self.machines[n].on).collect();
        let moving: Vec<NodeId> = on.iter().copied().collect();
        if !on.is_empty() {
            self.make_rings(vec![on], &moving);
        }
    }

    /// All that can be said and done in no time is, then so much time passes; whether there was anything but pulses.
    pub(crate) fn rest(&mut self, ms: u64) -> bool {
        let mut moved = false;
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
        self.pass(ms);
        for n in self.configured.clone() {
            self.feed(n, Event::Tick);
        }
        moved
    }

    /// Lets everything come to rest.
    pub(crate) fn settle(&mut self) {
        // Quiet for longer than it takes to say or propose something again.
        let mut quiet = 0;
        let patience = if self.services { 30 } else { 6 };
        for _ in 0..400 {
            // Messages take no time beside what is waited for.
            let moved = self.rest(500);
            let idle = self.machines.values().all(|m| m.unsent.iter().all(is_pulse) && m.told.is_empty());
            quiet = if moved || !idle { 0 } else { quiet + 1 };
            if quiet == patience {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    pub(crate) fn shared(&self, n: usize) -> &Shared {
        self.machines[&id(n)].daemon.as_ref().unwrap().shared()
    }

    pub(crate) fn running(&self) -> usize {
        self.machines.values().map(|machine| machine.processes.len()).sum()
    }

    pub(crate) fn assert_agreed(&self) {
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

fn is_pulse(message: &Message) -> bool {
    matches!(message, Message::Scope(scope::Message::Pulse(_)))
}
