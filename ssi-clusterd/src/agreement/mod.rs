// SPDX-License-Identifier: GPL-2.0-or-later
//! How the members come to hold the same, and what this member does about it. Pure: events and a clock in, actions out.
//!
//! The engine gives every attached member the same configurations and messages in the same order. That is nearly all
//! that is needed; what it does not give is knowledge of the past to one who was not there. So after each configuration
//! every daemon says hello: what it sees, and a fingerprint of what it holds.
//!
//! ```text
//!   configuration        all attached said hello, seeing the same       state came
//!  ───────────────▶ Exchanging ─────┬───────────────────────▶ Behind ───────────────▶ InStep
//!                                   └── mine is the one that counts, or the same as it ──▶
//! ```
//!
//! The exchange is complete at the same message for everyone, so everyone picks the same holder whose knowledge counts:
//! the highest lineage (the last quorate view it was in step in), then who took in what was delivered meanwhile, then the
//! most changes, then the lowest number. Who holds something else gets that holder's state, as of that very point, and puts the messages since then on top.
//! There is no voting here and no election: who is a member, what order messages have and what a quorum is are the
//! engine's to say.
//!
//! A daemon that starts anew, a cluster that starts anew from what its disks kept, and two halves that meet again are
//! all this one case.
//!
//! One edge remains: a message delivered to a node in the instant it is cut off may not reach the others. Its log then
//! has an entry that the quorum does not share; when it is back it takes the quorum's and says so
//! ([`Action::LogRewritten`]).
//!
//! What is *done* about what is held (who proposes which move, who runs scripts) is in [`proposals`].

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::engine::Configuration;
use ssi_cluster::placement::NodeFacts;
use ssi_cluster::scope::manager::RunState;
use ssi_cluster::scope::{Agreed, Memory};
use ssi_cluster::{NodeId, NodeState, Transition, View, ViewId};

pub mod message;
pub mod proposals;
mod scoping;
pub mod services;
pub mod shared;

pub use scoping::{GuardSaid, Orders, SHORTEST_TAKEOVER_MS};

use crate::sampler::Report;
use message::{Drain, FenceNote, FilesDone, FilesOrder, Hello, Message, Move, ServiceWish, State};
use scoping::Scoping;
use services::Deed;
use shared::{Shared, WorkKind};

/// After how long without a completed exchange a hello is said again, in milliseconds. Nothing should get lost between
/// here and the engine but for a helper process that dies with messages in its hands.
const SAY_AGAIN_MS: u64 = 2_000;

/// How many messages may wait for the state they build on. At most a few hellos' time passes meanwhile.
const WAITING_MESSAGES: usize = 4_096;

/// How long scripts go on while this member is out of step but may still be a member, in milliseconds: the process that
/// talks to the engine was started anew, say. Others wait for it at least as long as a script may take.
const HANDS_OFF_MS: u64 = 5_000;

/// What happens to an [`Agreement`].
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The engine's membership, attachment or quorum changed.
    Configuration(Configuration),
    /// The engine delivered a message.
    Message(NodeId, Message),
    /// The engine cannot be reached.
    Unreachable,
    /// Time passed.
    Tick,
    /// This node's own machine wants to move: it leaves in order, or an administrator asked.
    Ask(Wish),
    /// Something that the runner of scripts wants everyone to know.
    Tell(Message),
    /// What this node's guard runs and has ended.
    Guard(GuardSaid),
    /// Something is to become of a unit of the cluster.
    Deed {
        /// The unit.
        unit: String,
        /// What.
        deed: Deed,
    },
    /// A node is to be given no instances, or again.
    Drain(NodeId, bool),
    /// What this node runs of the cluster's units is to be told to the others.
    Running(BTreeMap<String, RunState>),
    /// A machine is known to have ended, with what it ran in this boot.
    Ended {
        /// Which.
        node: NodeId,
        /// Which of its boots.
        boot: String,
    },
}

/// What somebody here wants a node to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The node.
    pub node: NodeId,
    /// The state.
    pub to: NodeState,
    /// For people.
    pub cause: String,
    /// With SHUTDOWN: whether it is to start again.
    pub reboot: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Give it to the engine.
    Send(Message),
    /// The view or this node's standing in it is not what it was: tell those who listen.
    ViewChanged,
    /// A transition was agreed on: tell those who listen.
    Moved(Transition),
    /// The log from this number on is not what it was.
    LogRewritten(u64),
    /// What is held changed: keep it on disk.
    Persist,
    /// Run the scripts of a work, but for those that came to their ends already. It is said again after each exchange:
    /// what was told of a work before may not have reached anyone, and is to be told again.
    StartWork {
        /// Its transition.
        transition: u64,
        /// Which folder.
        kind: WorkKind,
        /// The node that came or went.
        node: NodeId,
        /// Scripts not to be run again.
        ended: Vec<String>,
    },
    /// End the scripts of a work: it is no longer this node's to run.
    AbortWork {
        /// Its transition.
        transition: u64,
        /// Whether nobody is to run it any more.
        over: bool,
    },
    /// This machine is to turn itself off.
    ShutDown {
        /// Whether it is to start again.
        reboot: bool,
    },
    /// A member's load report.
    Load(NodeId, Report),
    /// Who holds what in the cluster changed: tell those who listen.
    ScopeChanged,
    /// This node's guard is to know.
    Orders(Orders),
    /// What was to become of a unit counts from now on.
    Done {
        /// Who asked for it.
        from: NodeId,
        /// The unit.
        unit: String,
        /// What.
        deed: Deed,
    },
    /// What a member runs of the cluster's units.
    Running(NodeId, BTreeMap<String, RunState>),
    /// What came of turning a node off.
    Fence(FenceNote),
    /// This node's unit manager is to do something with its unit files, as that member wants.
    Files(NodeId, FilesOrder),
    /// What came of it on a member.
    FilesDone(NodeId, FilesDone),
    /// A new cluster.toml for all.
    Config {
        /// Fingerprint of the text it replaces.
        base: String,
        /// The new text.
        text: String,
    },
}

/// How far this member is.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// The engine is out of reach.
    Alone,
    /// Hellos are missing.
    Exchanging,
    /// The holder's state is missing; what was delivered since the exchange was complete waits.
    Behind { exchange: BTreeMap<NodeId, u64>, waiting: Vec<(NodeId, Message)> },
    /// Holds what the others hold.
    InStep,
}

/// Why somebody's wish was not carried to the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not up to date with the members.
    #[error("this node is not in step with the cluster: {0}")]
    NotAMember(&'static str),
    /// The view has no quorum.
    #[error("the members in sight are no quorum")]
    NoQuorum,
    /// The state model does not have the move.
    #[error("node {node}: {why}")]
    Forbidden {
        /// The node.
        node: NodeId,
        /// Which move.
        why: ssi_cluster::ForbiddenMove,
    },
}

/// One member's part in the agreement. See the page at the head of this module.
pub struct Agreement {
    own: NodeId,
    incarnation: String,
    shared: Shared,
    phase: Phase,
    sees: Option<Configuration>,
    /// The configuration of the last completed exchange; its attached members take part in what is decided.
    round: Option<Configuration>,
    /// The boot that each of them is in.
    boots: BTreeMap<NodeId, String>,
    hellos: BTreeMap<NodeId, Hello>,
    /// How many exchanges were completed since membership or attachment changed last; the same number for everyone at
    /// each point of the order.
    completed: u64,
    next_nonce: u64,
    hello_said_ms: u64,
    proposer: proposals::Proposer,
    scoping: Scoping,
    /// The work this node was last told to run.
    running: BTreeSet<u64>,
    /// Whether it has to be told again, because an exchange was completed since.
    retell: bool,
    /// When this member was last in step, on the steady clock.
    in_step_ms: u64,
    /// A shutdown this node was already told of.
    shutting_down: bool,
    /// The steady clock at the last event.
    clock_ms: u64,
}

impl Agreement {
    /// A member that holds what its disk kept, or nothing. `seed` has to differ at each start of the daemon; `now_ms` is as
    /// for [`Agreement::on_event`].
    pub fn new(own: NodeId, incarnation: String, kept: Shared, seed: u64, script_timeout_ms: u64, now_ms: u64) -> Self {
        Self {
            own,
            incarnation,
            shared: kept,
            phase: Phase::Alone,
            sees: None,
            round: None,
            boots: BTreeMap::new(),
            hellos: BTreeMap::new(),
            completed: 0,
            next_nonce: seed,
            hello_said_ms: now_ms,
            proposer: proposals::Proposer::new(own, script_timeout_ms),
            scoping: Scoping::new(own, seed, now_ms),
            running: BTreeSet::new(),
            retell: false,
            in_step_ms: now_ms,
            shutting_down: false,
            clock_ms: now_ms,
        }
    }

    /// What this member holds. It may be old while the member is not [in step](Self::in_step).
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Who holds which instance of a cluster-scoped unit, as far as this member knows.
    pub fn scope(&self) -> &Agreed {
        self.scoping.agreed()
    }

    /// What counts of each node for the placement.
    pub fn scope_facts(&self) -> BTreeMap<NodeId, NodeFacts> {
        self.scoping.facts(&self.shared)
    }

    /// Takes what an earlier daemon of this boot left about the cluster's scope. Before the first event.
    pub fn recall(&mut self, seed: u64, memory: Memory) {
        self.scoping.recall(seed, self.clock_ms, memory);
    }

    /// The absent nodes that this one should have turned off, with the boot they were last seen in. Only one member is told
    /// to, and only while it is UP itself.
    pub fn to_fence(&self) -> BTreeMap<NodeId, String> {
        if !self.coordinates() || !self.settled() || self.shared.state_of(self.own) != NodeState::Up {
            return BTreeMap::new();
        }
        self.scoping.to_fence(&self.shared)
    }

    /// The boot that a node was last seen in.
    pub fn boot_of(&self, node: NodeId) -> Option<String> {
        let record = self.shared.nodes.get(&node).map(|record| record.incarnation.as_str());
        self.scoping.agreed().boot_of(node).or(record).filter(|boot| !boot.is_empty()).map(str::to_owned)
    }

    /// Whether it is this member that proposes for all.
    pub fn coordinates(&self) -> bool {
        let boots = self.boots.iter().map(|(n, boot)| (*n, boot.as_str())).collect();
        self.in_step() && proposals::Proposer::coordinator(&self.shared, &boots) == Some(self.own)
    }

    /// Whether this member holds what the others hold.
    pub fn in_step(&self) -> bool {
        self.phase == Phase::InStep
    }

    /// Whether it also knows that of the membership it sees now: the exchange of hellos for it is complete.
    pub fn settled(&self) -> bool {
        self.in_step() && self.round.is_some() && self.round == self.sees
    }

    /// The members on which a daemon takes part now.
    pub fn attached(&self) -> BTreeSet<NodeId> {
        self.sees.as_ref().map(|s| s.attached.clone()).unwrap_or_default()
    }

    /// The view as far as this member can vouch for it: without quorum while the engine is out of reach, says so, or
    /// the exchange of hellos is not complete.
    pub fn view(&self) -> View {
        let mut view = self.shared.view.clone();
        match &self.sees {
            // A daemon that has just started vouches for nothing; one that waits for another's hello still does.
            Some(sees) => view.quorate &= sees.quorate && self.round.is_some(),
            None => {
                view.members = BTreeSet::from([self.own]);
                view.quorate = false;
            }
        }
        view
    }

    /// Whether this member may act for the cluster now.
    pub fn check_quorate(&self) -> Result<(), Refused> {
        match self.phase {
            Phase::Alone => Err(Refused::NotAMember("the membership engine cannot be reached")),
            _ if !self.view().quorate => Err(Refused::NoQuorum),
            _ if self.settled() => Ok(()),
            _ => Err(Refused::NotAMember("it is being brought up to date; try again in a moment")),
        }
    }

    /// Whether a wish could be carried out now.
    ///
    /// # Errors
    /// [`Refused`] says why not; nothing is sent then.
    pub fn check(&self, wish: &Wish) -> Result<(), Refused> {
        self.check_quorate()?;
        let state = self.shared.state_of(wish.node);
        state.moved_to(wish.to).map(drop).map_err(|why| Refused::Forbidden { node: wish.node, why })
    }

    /// Takes an event in. `now_ms` is a steady clock that goes on while the machine is suspended, `wall_ms` is the time of
    /// day for people; both in milliseconds.
    pub fn on_event(&mut self, event: Event, now_ms: u64, wall_ms: u64, configured: &BTreeSet<NodeId>) -> Vec<Action> {
        self.clock_ms = now_ms;
        self.scoping.set_voters(configured);
        let mut actions = Vec::new();
        match event {
            Event::Configuration(sees) => self.on_configuration(sees, &mut actions),
            Event::Unreachable => self.on_unreachable(&mut actions),
            Event::Message(from, message) => self.on_message(from, message, &mut actions),
            Event::Tick => {
                let waits = self.sees.is_some() && (!self.settled() || self.scoping.is_overlooked());
                if waits && now_ms.saturating_sub(self.hello_said_ms) >= SAY_AGAIN_MS {
                    self.say_hello(true, &mut actions);
                }
            }
            Event::Ask(wish) => {
                if self.check(&wish).is_ok() {
                    actions.push(Action::Send(Message::Move(Move {
                        view: self.shared.view.id,
                        node: wish.node,
                        from: self.shared.state_of(wish.node),
                        to: wish.to,
                        cause: wish.cause,
                        at_ms: wall_ms,
                        incarnation: None,
                        reboot: wish.reboot,
                    })));
                }
            }
            Event::Tell(message) => actions.push(Action::Send(message)),
            Event::Guard(said) => {
                if self.scoping.on_guard(said) {
                    self.say_hello(true, &mut actions);
                }
            }
            Event::Deed { unit, deed } => {
                if self.check_quorate().is_ok() {
                    let wish = ServiceWish { view: self.shared.view.id, unit, deed };
                    actions.push(Action::Send(Message::Service(Box::new(wish))));
                }
            }
            Event::Drain(node, on) => {
                if self.check_quorate().is_ok() {
                    actions.push(Action::Send(Message::Drain(Drain { view: self.shared.view.id, node, on })));
                }
            }
            Event::Ended { node, boot } => {
                self.scoping.note_ended(node, boot);
                self.say_hello(true, &mut actions);
            }
            Event::Running(states) => {
                if self.in_step() {
                    actions.push(Action::Send(Message::Running(states)));
                }
            }
        }
        if self.settled() && self.view().quorate {
            let attached = self.boots.iter().map(|(n, boot)| (*n, boot.as_str())).collect();
            let proposed = self.proposer.propose(&self.shared, &attached, configured, now_ms, wall_ms);
            actions.extend(proposed.into_iter().map(Action::Send));
        }
        // Whoever is behind cannot say where things should be, but does say that it is there.
        let coordinates = self.coordinates();
        let said = self.scoping.say(&self.shared, coordinates, now_ms, wall_ms);
        actions.extend(said.into_iter().map(|message| Action::Send(Message::Scope(message))));
        actions.extend(self.scoping.orders(now_ms).map(Action::Orders));
        self.mind_own_work(&mut actions);
        actions
    }

    fn on_configuration(&mut self, sees: Configuration, actions: &mut Vec<Action>) {
        // Membership and attachment change at one point of the order for everyone, so all forget the same hellos here.
        // Quorum alone changes at a different moment on each member: forgetting then could lose what others counted.
        if self.sees.as_ref().is_none_or(|old| (old.ring, &old.attached) != (sees.ring, &sees.attached)) {
            self.hellos.clear();
            self.completed = 0;
        }
        if self.phase == Phase::Alone || matches!(self.phase, Phase::Behind { .. }) {
            self.phase = Phase::Exchanging;
        }
        if self.in_step() {
            self.scoping.note_left(&self.shared, &sees.members);
        }
        self.scoping.on_configuration(&sees);
        let before = self.view();
        self.sees = Some(sees);
        if before != self.view() {
            actions.push(Action::ViewChanged);
        }
        self.say_hello(false, actions);
    }

    fn on_unreachable(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Alone;
        self.sees = None;
        self.round = None;
        self.hellos.clear();
        self.proposer.forget();
        self.scoping.on_unreachable();
        actions.push(Action::ViewChanged);
    }

    /// `again` asks everyone to start the exchange over: something of the last one did not get here.
    fn say_hello(&mut self, again: bool, actions: &mut Vec<Action>) {
        let Some(sees) = &self.sees else { return };
        self.next_nonce = self.next_nonce.wrapping_add(1);
        self.hello_said_ms = self.clock_ms;
        actions.push(Action::Send(Message::Hello(Box::new(Hello {
            sees: sees.clone(),
            again,
            completed: self.completed,
            in_step: self.phase == Phase::InStep,
            nonce: self.next_nonce,
            incarnation: self.incarnation.clone(),
            view: self.shared.view.clone(),
            lineage: self.shared.lineage,
            revision: self.shared.revision,
            digest: self.shared.digest(),
            scope: Some(self.scoping.part(&self.incarnation, self.clock_ms)),
        }))));
    }

    fn on_message(&mut self, from: NodeId, message: Message, actions: &mut Vec<Action>) {
        match message {
            Message::Hello(hello) => self.on_hello(from, *hello, actions),
            Message::State(state) => self.on_state(*state, actions),
            Message::Load(report) => {
                self.scoping.load(from, report.load);
                actions.push(Action::Load(from, report));
            }
            Message::Running(states) => actions.push(Action::Running(from, states)),
            Message::Fence(note) => actions.push(Action::Fence(note)),
            Message::Files(order) => actions.push(Action::Files(from, order)),
            Message::FilesDone(done) => actions.push(Action::FilesDone(from, done)),
            // Its rounds do not wait for the rest of the state: all of the table is in the hellos.
            Message::Scope(message) => {
                if self.scoping.on_message(from, &message, self.clock_ms) {
                    actions.push(Action::ScopeChanged);
                }
            }
            other => match &mut self.phase {
                Phase::InStep => self.apply(from, other, actions),
                Phase::Behind { waiting, .. } if waiting.len() < WAITING_MESSAGES => waiting.push((from, other)),
                // The state that will come holds what this changes; with the queue full, the next exchange mends it.
                _ => {}
            },
        }
    }

    /// An exchange is complete when the last hello of every attached member sees the same. Only delivered hellos are
    /// looked at, never what this member sees itself, so it is complete at the same message everywhere.
    fn on_hello(&mut self, from: NodeId, hello: Hello, actions: &mut Vec<Action>) {
        let sees = hello.sees.clone();
        // Said before the last change or the last completed exchange, and ordered after it: it speaks of what is past.
        // Both are at the same point of the order for everyone, so everyone passes over the same hellos.
        let current = self.sees.as_ref().is_some_and(|s| (s.ring, &s.attached) == (sees.ring, &sees.attached));
        if !current || hello.completed != self.completed {
            return;
        }
        if hello.again {
            self.hellos.clear();
            if from != self.own {
                self.say_hello(false, actions);
            }
        }
        self.hellos.insert(from, hello);
        let all_see_it = sees.attached.iter().all(|n| self.hellos.get(n).is_some_and(|h| h.sees == sees));
        if !all_see_it || !sees.attached.contains(&self.own) || !sees.attached.contains(&from) {
            return;
        }
        let rank = |n: &NodeId| self.hellos.get(n).map(|h| (h.lineage, h.in_step, h.revision, std::cmp::Reverse(*n)));
        let Some(holder) = sees.attached.iter().copied().max_by_key(rank) else { return };
        let (Some(theirs), Some(mine)) = (self.hellos.get(&holder), self.hellos.get(&self.own)) else { return };
        let held = theirs.view.clone();
        let exchange: BTreeMap<NodeId, u64> =
            sees.attached.iter().filter_map(|n| Some((*n, self.hellos.get(n)?.nonce))).collect();
        // Who was not in step when it said hello has missed what was delivered since, however equal it was then.
        let holds = |h: &Hello| h.in_step && h.digest == theirs.digest;
        let i_hold_it = self.own == holder || holds(mine);
        let all_hold_it = sees.attached.iter().all(|n| *n == holder || self.hellos.get(n).is_some_and(holds));
        let top = sees.attached.iter().filter_map(|n| self.hellos.get(n)).map(|h| h.view.id).max().unwrap_or_default();

        self.proposer.forget();
        self.retell = true;
        self.completed += 1;
        self.round = Some(sees.clone());
        let mut parts = BTreeMap::new();
        self.boots.clear();
        for (node, hello) in std::mem::take(&mut self.hellos) {
            self.boots.insert(node, hello.incarnation);
            parts.extend(hello.scope.map(|part| (node, part)));
        }
        let same_view = held.members == sees.members && held.quorate == sees.quorate && held.id == top;
        let entered = if same_view {
            held
        } else {
            View { id: ViewId(top.0.saturating_add(1)), members: sees.members, quorate: sees.quorate }
        };
        self.scoping.on_exchange(sees.ring.1, entered.clone(), &parts, self.clock_ms);
        actions.push(Action::ScopeChanged);
        if i_hold_it {
            self.phase = Phase::InStep;
            if self.shared.view != entered {
                self.shared.enter(entered);
                actions.push(Action::Persist);
            }
            if holder == self.own && !all_hold_it {
                // Taken after the view was entered: who gets this has entered it too.
                actions.push(Action::Send(Message::State(Box::new(State { exchange, shared: self.shared.clone() }))));
            }
        } else {
            self.phase = Phase::Behind { exchange, waiting: Vec::new() };
        }
        actions.push(Action::ViewChanged);
    }

    fn on_state(&mut self, state: State, actions: &mut Vec<Action>) {
        let Phase::Behind { exchange, waiting } = &mut self.phase else { return };
        if *exchange != state.exchange {
            return;
        }
        let waiting = std::mem::take(waiting);
        let old = std::mem::replace(&mut self.shared, state.shared);
        self.phase = Phase::InStep;
        actions.extend(news(&old, &self.shared));
        actions.push(Action::ViewChanged);
        actions.push(Action::Persist);
        for (sender, message) in waiting {
            self.apply(sender, message, actions);
        }
    }

    /// Carries out what was delivered to all members in step.
    fn apply(&mut self, from: NodeId, message: Message, actions: &mut Vec<Action>) {
        let changed = match message {
            Message::Move(proposed) => {
                let applied = self.shared.apply_move(&proposed);
                if let Some(transition) = &applied {
                    if transition.node == self.own && transition.to == NodeState::Shutdown && !self.shutting_down {
                        self.shutting_down = true;
                        actions.push(Action::ShutDown { reboot: proposed.reboot });
                    }
                    if transition.node == self.own && transition.to == NodeState::Up {
                        self.shutting_down = false;
                    }
                    actions.push(Action::Moved(transition.clone()));
                }
                applied.is_some()
            }
            Message::Assign(assign) => self.shared.apply_assign(from, &assign),
            Message::ScriptBegan(began) => self.shared.apply_began(from, &began),
            Message::ScriptEnded(ended) => self.shared.apply_ended(from, &ended),
            Message::WorkDone { transition } => self.shared.apply_work_done(from, transition),
            Message::Config { base, text } => {
                actions.push(Action::Config { base, text });
                false
            }
            Message::Service(wish) => {
                let (counts, changed) = self.shared.apply_service(&wish);
                if counts {
                    self.scoping.on_deed(&wish.unit, &wish.deed);
                    actions.push(Action::Done { from, unit: wish.unit, deed: wish.deed });
                }
                changed
            }
            Message::Drain(drain) => self.shared.apply_drain(&drain),
            Message::Hello(_)
            | Message::State(_)
            | Message::Load(_)
            | Message::Running(_)
            | Message::Fence(_)
            | Message::Files(_)
            | Message::FilesDone(_)
            | Message::Scope(_) => false,
        };
        if changed {
            actions.push(Action::Persist);
        }
    }

    /// Compares the work that is this node's to run with what it was told to run.
    fn mind_own_work(&mut self, actions: &mut Vec<Action>) {
        let has_quorum = self.sees.as_ref().is_none_or(|s| s.quorate);
        if self.in_step() {
            self.in_step_ms = self.clock_ms;
        } else if has_quorum && self.clock_ms.saturating_sub(self.in_step_ms) < HANDS_OFF_MS {
            return;
        }
        let may_run = self.in_step() && self.view().quorate;
        let mine = |w: &shared::Work| may_run && !w.done && w.runner == Some(self.own);
        let ended: Vec<u64> =
            self.running.iter().copied().filter(|t| !self.shared.works.get(t).is_some_and(mine)).collect();
        let again = std::mem::take(&mut self.retell);
        let to_start = |(t, w): &(&u64, &shared::Work)| mine(w) && (again || !self.running.contains(t));
        let begun: Vec<u64> = self.shared.works.iter().filter(to_start).map(|(&t, _)| t).collect();
        for transition in ended {
            self.running.remove(&transition);
            let over = self.shared.works.get(&transition).is_none_or(|w| w.done);
            actions.push(Action::AbortWork { transition, over });
        }
        for transition in begun {
            if let Some(work) = self.shared.works.get(&transition) {
                actions.push(Action::StartWork {
                    transition,
                    kind: work.kind,
                    node: work.node,
                    ended: work.ended_scripts().map(str::to_owned).collect(),
                });
                self.running.insert(transition);
            }
        }
    }
}

/// What somebody who listened to the old log has to be told to know the new one.
fn news(old: &Shared, new: &Shared) -> Vec<Action> {
    let (first_kept, _) = new.transitions_after(0);
    // The first entry of the old log that the new one does not have. What the new one no longer keeps is past.
    let differs = old
        .log
        .iter()
        .filter(|t| t.id >= first_kept)
        .find(|t| new.log.iter().find(|n| n.id == t.id) != Some(*t))
        .map(|t| t.id)
        .or_else(|| (old.last_id > new.last_id).then(|| new.last_id.saturating_add(1)));
    let mut actions = Vec::new();
    let mut since = old.last_id;
    if let Some(from) = differs {
        actions.push(Action::LogRewritten(from));
        since = from.saturating_sub(1);
    }
    actions.extend(new.log.iter().filter(|t| t.id > since).cloned().map(Action::Moved));
    actions
}
