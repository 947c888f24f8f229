// SPDX-License-Identifier: GPL-2.0-or-later
//! A small cluster: machines with a daemon, a guard and one process, and an engine that orders messages in rings.
//!
//! It goes on by single steps in a fixed order, and between any two of them an accident may happen. What the engine
//! promises is kept, and no more: in one ring everybody delivers the same messages in the same order; who leaves a ring
//! may have delivered any part of it. A tick of the
//! clock is a ninth of the takeover time, and everybody pulses once in it.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::placement::{Instance, Instances, NodeFacts, UnitWish};
use ssi_cluster::scope::guard::Act;
use ssi_cluster::scope::propose::{Wanted, propose};
use ssi_cluster::scope::{Agreed, Change, Ended, Guard, Memory, Message, Order, Part, Run};
use ssi_cluster::{NodeId, NodeState, View, ViewId};

/// What the check is run with, so that it can be shown to find what is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) nodes: u32,
    /// The takeover time that holds are made with, in ticks.
    pub(crate) takeover: u64,
    /// The takeover time as the guards are told it.
    pub(crate) guards_takeover: u64,
    /// Whether a start waits until a majority knows of its grant.
    pub(crate) known: bool,
    /// Whether daemons say that they remember nothing when they start.
    pub(crate) forgetting_told: bool,
    /// Whether what a fence agent turned off is known to have ended.
    pub(crate) fence_works: bool,
    /// Whether a machine is really off when a fence agent says so.
    pub(crate) fence_is_true: bool,
}

impl Rules {
    pub(crate) fn of(nodes: u32) -> Rules {
        Rules {
            nodes,
            takeover: 9,
            guards_takeover: 9,
            known: true,
            forgetting_told: true,
            fence_works: true,
            fence_is_true: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Hello(NodeId, ViewId, Part),
    Said(NodeId, Message),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ring {
    seq: u64,
    attached: BTreeSet<NodeId>,
    members: BTreeSet<NodeId>,
    quorate: bool,
    log: Vec<Entry>,
}

/// A running copy of the one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    stopping: bool,
    /// It ends neither when asked nor when killed.
    hangs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Daemon {
    agreed: Agreed,
    ring: Option<u64>,
    cursor: usize,
    /// What the guard may have begun since it last said what it runs.
    ordered: Vec<Run>,
    hellos: BTreeMap<NodeId, (ViewId, Part)>,
    pulsed: bool,
    lags: bool,
    last_told: Told,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Machine {
    boot: u32,
    daemon: Option<Daemon>,
    /// What its daemons leave one another.
    memory: Memory,
    guard: Guard,
    process: Option<Process>,
    /// The watchdog is not petted any more; the machine ends at the next tick.
    bitten: bool,
    /// The guard has looked at its clock in this tick.
    acted: bool,
    /// The guard has something to look at.
    due: bool,
    /// The daemon has something to tell the guard.
    news: bool,
    /// What it has told, and the unit manager has not taken in.
    told: Vec<Told>,
    /// Until when the unit manager takes nothing in; its guard keeps to its times all the same.
    slow_until: u64,
}

type Told = (Option<u64>, Option<Vec<Order>>);

/// What may happen at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accident {
    /// The machines of this set see only one another, and so do the others.
    Cut(u32),
    Heal,
    PowerLost(u32),
    PowerBack(u32),
    DaemonKilled(u32),
    /// The process will not end when it is told to.
    Hangs(u32),
    ProcessDies(u32),
    /// The daemon does nothing until the next tick.
    Lags(u32),
    /// The unit manager takes in nothing for longer than a takeover takes.
    Slow(u32),
    /// The administrator wants it elsewhere.
    Moved(u32),
    /// The first turns the second off, and knows it.
    Fenced(u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) last_accident: u64,
    /// By node number, from 1; `None` while the power is off.
    machines: Vec<Option<Machine>>,
    boots: Vec<u32>,
    views: Vec<ViewId>,
    /// Which side each machine is on.
    side: u32,
    rings: Vec<Ring>,
    next_ring: u64,
    next_life: u64,
    pin: Option<NodeId>,
    /// The rings are to be formed anew, whether or not anybody came or went.
    again: bool,
    /// How often the process was started; endless moving shows here.
    pub(crate) starts: u32,
    pub(crate) starts_at_last_accident: u32,
}

/// For how many ticks a slow manager is slow.
const SLOW: u64 = 12;

fn node(index: usize) -> NodeId {
    NodeId::new(index as u32 + 1).unwrap_or_else(|| panic!("{index} is no node"))
}

fn instance() -> Instance {
    Instance::new("a.service", 0)
}

impl World {
    /// All machines are up, and nothing has begun.
    pub(crate) fn new(rules: Rules) -> World {
        let count = rules.nodes as usize;
        let mut world = World {
            now: 0,
            last_accident: 0,
            machines: vec![None; count],
            boots: vec![0; count],
            views: vec![ViewId::default(); count],
            side: 0,
            rings: Vec::new(),
            next_ring: 1,
            next_life: 1,
            pin: None,
            again: false,
            starts: 0,
            starts_at_last_accident: 0,
        };
        for index in 0..count {
            world.power_on(index);
        }
        world.regroup();
        world
    }

    fn power_on(&mut self, index: usize) {
        self.boots[index] += 1;
        let daemon = Some(self.new_daemon(index, Memory::default()));
        self.machines[index] = Some(Machine {
            boot: self.boots[index],
            daemon,
            memory: Memory::default(),
            guard: Guard::default(),
            process: None,
            bitten: false,
            acted: false,
            due: false,
            news: false,
            told: Vec::new(),
            slow_until: 0,
        });
    }

    fn new_daemon(&mut self, index: usize, memory: Memory) -> Daemon {
        self.next_life += 1;
        Daemon {
            agreed: Agreed::new(node(index), self.next_life, self.now, memory),
            ring: None,
            cursor: 0,
            ordered: Vec::new(),
            hellos: BTreeMap::new(),
            pulsed: false,
            lags: false,
            last_told: (None, None),
        }
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        (0..self.machines.len()).map(node).collect()
    }

    fn is_on_side(&self, index: usize) -> bool {
        self.side & (1 << index) != 0
    }

    /// The engine forms a ring on each side on which anything changed.
    fn regroup(&mut self) {
        for side in [false, true] {
            let there = (0..self.machines.len()).filter(|i| self.is_on_side(*i) == side);
            let there: Vec<usize> = there.filter(|i| self.machines[*i].is_some()).collect();
            let members: BTreeSet<NodeId> = there.iter().map(|i| node(*i)).collect();
            let has_daemon = |i: &&usize| self.machines[**i].as_ref().is_some_and(|m| m.daemon.is_some());
            let attached: BTreeSet<NodeId> = there.iter().filter(has_daemon).map(|i| node(*i)).collect();
            let lives_on =
                self.rings.iter().any(|r| r.attached == attached && r.members == members && self.is_newest(r));
            if attached.is_empty() || (lives_on && !self.again) {
                continue;
            }
            // Of two, each half has a quorum, as corosync's two_node has it: and without its wait_for_all.
            let quorate = members.len() > self.machines.len() / 2 || self.machines.len() == 2;
            // The daemons that come and go do not make another ring; the number rises all the same, which is stricter
            // than what is relied on.
            self.rings.push(Ring { seq: self.next_ring, attached, members, quorate, log: Vec::new() });
            self.next_ring += 1;
        }
        self.again = false;
    }

    /// Whether a ring is the newest that its members were put into.
    fn is_newest(&self, ring: &Ring) -> bool {
        ring.members.iter().all(|n| self.ring_of(*n).is_some_and(|newest| newest.seq == ring.seq))
    }

    fn ring_of(&self, member: NodeId) -> Option<&Ring> {
        self.rings.iter().rev().find(|ring| ring.members.contains(&member))
    }

    fn ring(&self, seq: u64) -> Option<&Ring> {
        self.rings.iter().find(|ring| ring.seq == seq)
    }

    fn say(&mut self, index: usize, message: Message) {
        let Some(seq) = self.machines[index].as_ref().and_then(|m| m.daemon.as_ref()?.ring) else { return };
        // What is said into a ring that the engine has left is lost.
        let is_current = self.ring_of(node(index)).is_some_and(|ring| ring.seq == seq);
        if let Some(ring) = self.rings.iter_mut().find(|ring| ring.seq == seq && is_current) {
            ring.log.push(Entry::Said(node(index), message));
        }
    }

    fn was_said(&self, index: usize, message: &Message) -> bool {
        let daemon = self.machines[index].as_ref().and_then(|m| m.daemon.as_ref());
        let Some(daemon) = daemon else { return false };
        let ring = daemon.ring.and_then(|seq| self.ring(seq));
        ring.is_some_and(|ring| {
            ring.log.iter().skip(daemon.cursor).any(|entry| *entry == Entry::Said(node(index), message.clone()))
        })
    }

    /// How many copies run.
    pub(crate) fn running(&self) -> usize {
        self.machines.iter().flatten().filter(|machine| machine.process.is_some()).count()
    }

    /// One step: the first thing that anybody has to do, or the clock.
    pub(crate) fn step(&mut self, rules: Rules) {
        let all = 0..self.machines.len();
        let moved = all.clone().any(|i| self.daemons_step(i, rules) || self.guards_step(i, false))
            || all.clone().any(|i| self.guards_step(i, true));
        if !moved {
            self.tick();
        }
    }

    fn daemons_step(&mut self, index: usize, rules: Rules) -> bool {
        let (now, voters, newest) = (self.now, self.voters(), self.ring_of(node(index)).map(|ring| ring.seq));
        let Some(machine) = self.machines[index].as_mut() else { return false };
        let Some(daemon) = machine.daemon.as_mut().filter(|daemon| !daemon.lags) else { return false };
        if daemon.ring != newest {
            let seq = newest.unwrap_or_default();
            daemon.agreed.end_round();
            (daemon.ring, daemon.cursor) = (newest, 0);
            daemon.hellos.clear();
            let mut runs = machine.guard.runs();
            let spent: BTreeSet<_> = machine.guard.spent().map(|spent| spent.grant).collect();
            runs.extend(daemon.ordered.iter().filter(|run| !spent.contains(&run.grant)).cloned());
            runs.sort();
            runs.dedup();
            let mut part = daemon.agreed.part(&machine.boot.to_string(), Some(runs), &voters, now);
            part.remembers |= !rules.forgetting_told;
            let hello = Entry::Hello(node(index), self.views[index], part);
            if let Some(ring) = self.rings.iter_mut().find(|ring| ring.seq == seq) {
                ring.log.push(hello);
            }
            return true;
        }
        let Some(ring) = self.rings.iter().find(|ring| Some(ring.seq) == newest) else { return false };
        if let Some(entry) = ring.log.get(daemon.cursor) {
            daemon.cursor += 1;
            machine.news = true;
            match entry {
                Entry::Hello(from, view, part) => {
                    daemon.hellos.insert(*from, (*view, part.clone()));
                    if daemon.hellos.len() == ring.attached.len() {
                        let top = daemon.hellos.values().map(|(view, _)| view.0).max().unwrap_or_default();
                        let (members, quorate) = (ring.members.clone(), ring.quorate);
                        let view = View { id: ViewId(top + 1), members, quorate };
                        self.views[index] = view.id;
                        let parts = daemon.hellos.iter().map(|(n, (_, part))| (*n, part.clone())).collect();
                        daemon.agreed.begin_round(ring.seq, view, &parts, &voters, now);
                    }
                }
                Entry::Said(from, message) => {
                    daemon.agreed.deliver(*from, message, &voters, now);
                }
            }
            self.forget_delivered();
            return true;
        }
        if !daemon.pulsed {
            daemon.pulsed = true;
            let pulse = daemon.agreed.pulse(now);
            self.say(index, pulse);
            return true;
        }
        self.propose(index, rules) || self.release(index) || self.tell(index, rules)
    }

    fn propose(&mut self, index: usize, rules: Rules) -> bool {
        let Some(daemon) = self.machines[index].as_ref().and_then(|m| m.daemon.as_ref()) else { return false };
        let Some(round) = daemon.agreed.round() else { return false };
        if round.boots.keys().next() != Some(&node(index)) {
            return false;
        }
        let state = |i: usize| if round.boots.contains_key(&node(i)) { NodeState::Up } else { NodeState::Down };
        let facts = (0..self.machines.len()).map(|i| (node(i), NodeFacts { state: state(i), load: 0 })).collect();
        let wish = UnitWish { pin: self.pin, ..UnitWish::new("a.service", Instances::Count(1)) };
        // It may fail again and again, each time elsewhere.
        let wanted = [Wanted { wish, takeover_ms: rules.takeover, probation_ms: 2, error_limit: 100 }];
        let id = round.id;
        let changes = propose(&daemon.agreed, &facts, &wanted, rules.takeover, self.now, self.now);
        for change in changes {
            let message = Message::Change { round: id, change };
            if !self.was_said(index, &message) {
                self.say(index, message);
                return true;
            }
        }
        false
    }

    fn release(&mut self, index: usize) -> bool {
        let Some(machine) = self.machines[index].as_ref() else { return false };
        let Some(agreed) = machine.daemon.as_ref().map(|daemon| &daemon.agreed) else { return false };
        let Some(id) = agreed.certain().map(|round| round.id) else { return false };
        let spent: Vec<_> = machine.guard.spent().collect();
        for spent in spent {
            let is_mine = agreed.table().hold(&spent.instance, node(index), spent.grant).is_some();
            let change =
                Change::Released { instance: spent.instance, grant: spent.grant, ended: spent.ended, at_ms: self.now };
            let message = Message::Change { round: id, change };
            if is_mine && !self.was_said(index, &message) {
                self.say(index, message);
                return true;
            }
        }
        false
    }

    /// Forgets what everybody has delivered, so that worlds that differ only in that are one.
    fn forget_delivered(&mut self) {
        for ring in &mut self.rings {
            let mut least = ring.log.len();
            for member in &ring.attached {
                let daemon = self.machines[member.get() as usize - 1].as_ref().and_then(|m| m.daemon.as_ref());
                least = least.min(daemon.filter(|d| d.ring == Some(ring.seq)).map_or(0, |daemon| daemon.cursor));
            }
            if least == 0 {
                continue;
            }
            ring.log.drain(..least);
            for daemon in self.machines.iter_mut().flatten().filter_map(|machine| machine.daemon.as_mut()) {
                if daemon.ring == Some(ring.seq) {
                    daemon.cursor -= least;
                }
            }
        }
    }

    /// The daemon tells the guard what is new.
    fn tell(&mut self, index: usize, rules: Rules) -> bool {
        let (now, voters) = (self.now, self.voters());
        let Some(machine) = self.machines[index].as_mut().filter(|machine| machine.news) else { return false };
        machine.news = false;
        let Some(daemon) = machine.daemon.as_mut() else { return false };
        let mut orders = daemon.agreed.orders(&voters);
        if let Some(orders) = &mut orders {
            for order in orders.iter_mut() {
                order.run.takeover_ms = rules.guards_takeover;
                order.may_start |= !rules.known && !order.leave;
            }
            let started = orders.iter().filter(|order| order.may_start).map(|order| order.run.clone());
            daemon.ordered = started.collect();
        }
        let told = (daemon.agreed.lease_ms(&voters, now), orders);
        if told == daemon.last_told {
            return false;
        }
        daemon.last_told = told.clone();
        machine.told.push(told);
        true
    }

    /// What the guard does: because the daemon has something new, or, once a tick, because of the time.
    fn guards_step(&mut self, index: usize, by_clock: bool) -> bool {
        let now = self.now;
        let Some(machine) = self.machines[index].as_mut() else { return false };
        if machine.process.as_ref().is_some_and(|process| process.stopping && !process.hangs) {
            machine.process = None;
            machine.guard.ended(&instance(), Ended::Stopped);
            (machine.due, machine.news) = (true, true);
            return true;
        }
        let hears = !machine.told.is_empty() && machine.slow_until <= now;
        let due = std::mem::take(&mut machine.due) || hears || (by_clock && !machine.acted);
        machine.acted |= by_clock;
        if !due {
            return false;
        }
        if hears {
            let (lease, orders) = machine.told.remove(0);
            machine.guard.told(lease, orders);
        }
        for act in machine.guard.act(now) {
            match act {
                Act::Start(_) => {
                    assert!(machine.process.is_none(), "the guard starts what it runs");
                    machine.process = Some(Process { stopping: false, hangs: false });
                    self.starts += 1;
                }
                Act::Stop(_) => {
                    if let Some(process) = &mut machine.process {
                        process.stopping = true;
                    }
                }
                Act::Kill(_) => {}
                Act::LetBite(_) => machine.bitten = true,
            }
        }
        true
    }

    fn tick(&mut self) {
        self.now += 1;
        let mut regroup = false;
        for index in 0..self.machines.len() {
            if self.machines[index].as_ref().is_some_and(|machine| machine.bitten) {
                self.machines[index] = None;
                regroup = true;
            }
            let orphan = self.machines[index].as_ref().filter(|machine| machine.daemon.is_none());
            if let Some(memory) = orphan.map(|machine| machine.memory.clone()) {
                let daemon = self.new_daemon(index, memory);
                if let Some(machine) = &mut self.machines[index] {
                    machine.daemon = Some(daemon);
                }
                regroup = true;
            }
            if let Some(machine) = &mut self.machines[index] {
                machine.acted = false;
                if let Some(daemon) = &mut machine.daemon {
                    (daemon.pulsed, daemon.lags) = (false, false);
                }
            }
        }
        if regroup {
            self.regroup();
        }
        // Rings that nobody is in are forgotten, so that worlds that differ only in their past are one.
        let used: BTreeSet<u64> =
            self.machines.iter().flatten().filter_map(|machine| machine.daemon.as_ref()?.ring).collect();
        let newest: BTreeSet<u64> =
            (0..self.machines.len()).filter_map(|i| self.ring_of(node(i)).map(|ring| ring.seq)).collect();
        self.rings.retain(|ring| used.contains(&ring.seq) || newest.contains(&ring.seq));
    }

    /// What can happen now.
    pub(crate) fn accidents(&self) -> Vec<Accident> {
        let mut all = Vec::new();
        let whole = (1 << self.machines.len()) - 1;
        // A set and the rest of it are one cut: the last machine is always in the rest.
        all.extend((1..=whole / 2).filter(|side| *side != self.side).map(Accident::Cut));
        if self.side != 0 {
            all.push(Accident::Heal);
        }
        for (index, machine) in self.machines.iter().enumerate() {
            let i = index as u32;
            let Some(machine) = machine else {
                all.push(Accident::PowerBack(i));
                continue;
            };
            all.push(Accident::PowerLost(i));
            if machine.daemon.is_some() {
                all.push(Accident::DaemonKilled(i));
            }
            if machine.daemon.as_ref().is_some_and(|daemon| !daemon.lags) {
                all.push(Accident::Lags(i));
            }
            if machine.slow_until <= self.now {
                all.push(Accident::Slow(i));
            }
            if let Some(process) = &machine.process {
                if !process.hangs {
                    all.push(Accident::Hangs(i));
                }
                all.push(Accident::ProcessDies(i));
            }
        }
        for (by, machine) in self.machines.iter().enumerate() {
            let Some(round) = machine.as_ref().and_then(|m| m.daemon.as_ref()?.agreed.round()) else { continue };
            let absent = (0..self.machines.len()).filter(|i| !round.view.members.contains(&node(*i)));
            // Only who has a quorum fences, and only whom it does not see.
            let fences =
                round.view.quorate && self.ring_of(node(by)).is_some_and(|ring| ring.members == round.view.members);
            all.extend(absent.filter(|_| fences).map(|other| Accident::Fenced(by as u32, other as u32)));
        }
        all.extend((0..self.machines.len()).filter(|i| self.pin != Some(node(*i))).map(|i| Accident::Moved(i as u32)));
        all
    }

    /// Lets it happen.
    pub(crate) fn suffer(&mut self, accident: Accident, rules: Rules) {
        self.last_accident = self.now.max(self.last_accident);
        match accident {
            Accident::Cut(side) => self.side = side,
            Accident::Heal => self.side = 0,
            Accident::PowerLost(i) => self.machines[i as usize] = None,
            Accident::PowerBack(i) => self.power_on(i as usize),
            Accident::DaemonKilled(i) => {
                if let Some(machine) = &mut self.machines[i as usize] {
                    // What it has told and nobody took in is gone with its connection.
                    machine.told.clear();
                    if let Some(daemon) = machine.daemon.take() {
                        machine.memory = daemon.agreed.memory().clone();
                    }
                }
            }
            Accident::Hangs(i) => {
                if let Some(process) = self.machines[i as usize].as_mut().and_then(|m| m.process.as_mut()) {
                    process.hangs = true;
                }
            }
            Accident::ProcessDies(i) => {
                if let Some(machine) = &mut self.machines[i as usize] {
                    machine.process = None;
                    machine.guard.ended(&instance(), Ended::Failed);
                    (machine.due, machine.news) = (true, true);
                }
            }
            Accident::Lags(i) => {
                if let Some(daemon) = self.machines[i as usize].as_mut().and_then(|m| m.daemon.as_mut()) {
                    daemon.lags = true;
                }
            }
            Accident::Slow(i) => {
                if let Some(machine) = &mut self.machines[i as usize] {
                    machine.slow_until = self.now + SLOW;
                }
                self.last_accident = self.now + SLOW;
            }
            Accident::Moved(to) => self.pin = Some(node(to as usize)),
            Accident::Fenced(by, other) => {
                // Whichever boot it is in, and whatever the one knows of it.
                if rules.fence_is_true {
                    self.machines[other as usize] = None;
                }
                let daemon = self.machines[by as usize].as_mut().and_then(|m| m.daemon.as_mut());
                if let Some(agreed) = daemon.map(|daemon| &mut daemon.agreed).filter(|_| rules.fence_works)
                    && let Some(boot) = agreed.boot_of(node(other as usize)).map(str::to_owned)
                {
                    agreed.note_ended(node(other as usize), boot);
                }
                // All say hello again.
                self.again = true;
            }
        }
        self.starts_at_last_accident = self.starts;
        self.regroup();
    }

    /// Whether what is wanted can run where it is wanted.
    pub(crate) fn can_run(&self) -> bool {
        let has_quorum = |ring: &&Ring| {
            let all = ring.attached.len() > self.machines.len() / 2;
            // The first of two goes on alone once it has met the other, and any of two that knows the other turned off.
            let goes_on = |n: &NodeId| {
                let daemon = self.machines[n.get() as usize - 1].as_ref().and_then(|m| m.daemon.as_ref());
                let memory = daemon.map(|daemon| daemon.agreed.memory());
                memory.is_some_and(|m| (n.get() == 1 && m.met_all) || !m.ended.is_empty())
            };
            all || (self.machines.len() == 2 && ring.attached.iter().all(goes_on))
        };
        let Some(ring) = self.rings.iter().filter(|r| self.is_newest(r)).find(has_quorum) else { return false };
        self.pin.is_none_or(|pin| ring.attached.contains(&pin))
    }
}
