// SPDX-License-Identifier: GPL-2.0-or-later
//! Scope, step by step: what a member makes of rounds and messages, what its guard does on its clock, and what the
//! coordinator proposes. That no instance runs twice is shown in `scope_model`.

use std::collections::{BTreeMap, BTreeSet};

use ssi_cluster::placement::{Instance, Instances, NodeFacts, UnitWish};
use ssi_cluster::scope::guard::Act;
use ssi_cluster::scope::propose::{Wanted, propose};
use ssi_cluster::scope::{Agreed, Change, Ended, GrantId, Guard, Limits, Memory, Message, Order, Part, RoundId, Run};
use ssi_cluster::{NodeId, NodeState, View, ViewId};

const T: u64 = 12_000;

fn node(n: u32) -> NodeId {
    NodeId::new(n).unwrap()
}

fn db() -> Instance {
    Instance::new("db.service", 0)
}

fn voters() -> BTreeSet<NodeId> {
    [1, 2, 3].map(node).into()
}

/// Members that deliver everything alike, until one is cut off.
struct Cluster {
    members: BTreeMap<NodeId, Agreed>,
    together: BTreeSet<NodeId>,
    ring: u64,
    now: u64,
    runs: BTreeMap<NodeId, Vec<Run>>,
}

impl Cluster {
    fn new() -> Cluster {
        let members =
            voters().into_iter().map(|n| (n, Agreed::new(n, u64::from(n.get()), 0, Memory::default()))).collect();
        Cluster { members, together: BTreeSet::new(), ring: 0, now: 0, runs: BTreeMap::new() }
    }

    /// These see one another now.
    fn meet(&mut self, nodes: &[u32]) {
        self.together = nodes.iter().copied().map(node).collect();
        self.ring += 1;
        let part = |n: &NodeId| {
            let runs = Some(self.runs.get(n).cloned().unwrap_or_default());
            (*n, self.members[n].part("boot", runs, &voters(), self.now))
        };
        let parts: BTreeMap<NodeId, Part> = self.together.iter().map(part).collect();
        let members = self.together.clone();
        let view = View { id: ViewId(self.ring), quorate: members.len() > 1, members };
        for n in &self.together {
            let member = self.members.get_mut(n).unwrap();
            member.end_round();
            member.begin_round(self.ring, view.clone(), &parts, &voters(), self.now);
        }
    }

    fn say(&mut self, from: u32, message: &Message) {
        for n in &self.together {
            self.members.get_mut(n).unwrap().deliver(node(from), message, &voters(), self.now);
        }
    }

    fn change(&mut self, from: u32, change: Change) {
        let round = self.of(from).round().unwrap().id;
        self.say(from, &Message::Change { round, change });
    }

    fn pulse(&mut self) {
        for n in self.together.clone() {
            let pulse = self.members.get_mut(&n).unwrap().pulse(self.now);
            self.say(n.get(), &pulse);
        }
    }

    fn of(&self, n: u32) -> &Agreed {
        &self.members[&node(n)]
    }

    fn holder(&self, n: u32) -> Option<NodeId> {
        self.of(n).table().holders(&db()).first().map(|hold| hold.node)
    }

    fn grant(&self, n: u32) -> GrantId {
        self.of(n).table().holders(&db())[0].grant
    }

    fn propose(&self, by: u32, wanted: &[Wanted]) -> Vec<Change> {
        let facts = |n: NodeId| {
            let up = self.together.contains(&n);
            (n, NodeFacts { state: if up { NodeState::Up } else { NodeState::Down }, load: 0 })
        };
        let facts = voters().into_iter().map(facts).collect();
        propose(self.of(by), &facts, wanted, T, self.now, self.now)
    }
}

fn give(to: u32) -> Change {
    Change::Grant { instance: db(), to: node(to), takeover_ms: T }
}

fn wanted(pin: Option<u32>) -> Vec<Wanted> {
    let wish = UnitWish { pin: pin.map(node), ..UnitWish::new("db.service", Instances::Count(1)) };
    vec![Wanted { takeover_ms: T, ..Wanted::new(wish) }]
}

#[test]
fn a_grant_may_be_started_once_a_majority_knows_it() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(2));
    assert_eq!((cluster.holder(1), cluster.holder(3)), (Some(node(2)), Some(node(2))));
    assert!(!cluster.of(2).orders(&voters()).unwrap()[0].may_start, "who knows of it?");
    let pulse = cluster.members.get_mut(&node(3)).unwrap().pulse(10);
    cluster.say(3, &pulse);
    assert!(cluster.of(2).orders(&voters()).unwrap()[0].may_start);
    assert_eq!(cluster.of(1).orders(&voters()), Some(vec![]));
    cluster.change(1, give(3));
    assert_eq!(cluster.holder(1), Some(node(2)), "nothing is granted while somebody holds it");
}

#[test]
fn a_lease_counts_from_when_the_pulse_was_sent_that_a_majority_heard() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.now = 100;
    cluster.pulse();
    assert_eq!(cluster.of(3).lease_ms(&voters(), 100), None, "nobody said yet that he heard it");
    cluster.now = 200;
    cluster.pulse();
    assert_eq!(cluster.of(3).lease_ms(&voters(), 200), Some(100));
    cluster.meet(&[3]);
    cluster.now = 300;
    cluster.pulse();
    cluster.pulse();
    assert_eq!(cluster.of(3).lease_ms(&voters(), 300), Some(100), "oneself is no majority");
}

#[test]
fn a_move_is_one_chain_of_changes() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(2));
    let grant = cluster.grant(1);
    let proposed = cluster.propose(1, &wanted(Some(3)));
    assert_eq!(proposed, [Change::Leave { instance: db(), node: node(2), grant, to: Some(node(3)) }]);
    cluster.change(1, proposed[0].clone());
    assert_eq!(cluster.propose(1, &wanted(Some(3))), [], "it is under way");
    assert!(cluster.of(2).orders(&voters()).unwrap()[0].leave);
    let released = Change::Released { instance: db(), grant, ended: Ended::Stopped, at_ms: 0 };
    cluster.change(3, released.clone());
    assert_eq!(cluster.holder(1), Some(node(2)), "only who holds it can release it");
    cluster.change(2, released.clone());
    assert_eq!(cluster.holder(1), Some(node(3)));
    assert!(cluster.grant(1) > grant);
    cluster.change(2, released);
    assert_eq!(cluster.holder(1), Some(node(3)), "said twice is said once");
}

#[test]
fn what_an_absent_node_held_is_taken_when_its_time_is_over() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(3));
    cluster.now = 5_000;
    cluster.pulse();
    cluster.now = 8_000;
    cluster.meet(&[1, 2]);
    assert_eq!(cluster.propose(1, &wanted(None)), []);
    // It counts from when it was last heard, not from when it was missed.
    cluster.now = 5_000 + T - 1;
    assert_eq!(cluster.propose(1, &wanted(None)), []);
    cluster.now += 1;
    let proposed = cluster.propose(1, &wanted(None));
    let [Change::Taken { node: from, to: Some(to), .. }] = proposed[..] else { panic!("{proposed:?}") };
    assert_eq!(from, node(3));
    cluster.change(1, proposed[0].clone());
    assert_eq!(cluster.holder(2), Some(to));
}

#[test]
fn a_taken_that_comes_after_the_node_is_back_is_of_no_effect() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(3));
    cluster.meet(&[1, 2]);
    cluster.now = 2 * T;
    let round = cluster.of(1).round().unwrap().id;
    let taken = cluster.propose(1, &wanted(None)).remove(0);
    cluster.meet(&[1, 2, 3]);
    cluster.say(1, &Message::Change { round, change: taken });
    assert_eq!(cluster.holder(1), Some(node(3)));
}

#[test]
fn a_daemon_that_starts_remembers_nothing_and_nothing_changes_until_all_is_known() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2]);
    assert!(cluster.of(1).certain().is_none(), "node 3 may run something");
    cluster.change(1, give(1));
    assert_eq!(cluster.holder(1), None);
    assert_eq!(cluster.propose(1, &wanted(None)), []);
    cluster.now = T;
    assert_eq!(cluster.propose(1, &wanted(None)), [Change::Certain]);
    cluster.change(1, Change::Certain);
    assert_eq!(cluster.propose(2, &wanted(None)).len(), 1);
    // With everybody there, and what each runs told, there is nothing to wait for.
    let mut cluster = Cluster::new();
    let run = Run {
        instance: db(),
        grant: GrantId { round: RoundId { ring: 1, round: 7 }, change: 9 },
        view: ViewId(4),
        takeover_ms: T,
    };
    cluster.runs.insert(node(2), vec![run.clone()]);
    cluster.meet(&[1, 2, 3]);
    assert_eq!(cluster.holder(3), Some(node(2)), "it runs, so it is in the table");
    assert_eq!(cluster.grant(3), run.grant);
    assert!(cluster.of(1).certain().unwrap().id.round > 7, "a later round has a later name");
}

#[test]
fn a_machine_that_was_started_anew_holds_nothing() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(3));
    cluster.together = voters();
    let mut parts: BTreeMap<NodeId, Part> =
        voters().into_iter().map(|n| (n, cluster.members[&n].part("boot", Some(vec![]), &voters(), 9))).collect();
    parts.get_mut(&node(3)).unwrap().boot = "another".into();
    let view = View { id: ViewId(2), members: voters(), quorate: true };
    cluster.members.get_mut(&node(1)).unwrap().begin_round(2, view, &parts, &voters(), 9);
    assert_eq!(cluster.holder(1), None);
}

#[test]
fn half_of_a_cluster_of_two_is_no_majority_whatever_the_engine_says() {
    let voters: BTreeSet<NodeId> = [1, 2].map(node).into();
    let mut member = Agreed::new(node(1), 1, 0, Memory::default());
    let parts = [(node(1), member.part("boot", Some(vec![]), &voters, 0))].into();
    let view = View { id: ViewId(1), members: [node(1)].into(), quorate: true };
    member.begin_round(1, view, &parts, &voters, 0);
    assert!(!member.may_be_certain(T, 100 * T));
    let round = member.round().unwrap().id;
    member.deliver(node(1), &Message::Change { round, change: Change::Certain }, &voters, 1);
    assert!(member.certain().is_none());
}

fn order(change: u64) -> Order {
    let grant = GrantId { round: RoundId { ring: 1, round: 1 }, change };
    Order {
        run: Run { instance: db(), grant, view: ViewId(1), takeover_ms: T },
        may_start: true,
        leave: false,
        only_if_running: false,
    }
}

#[test]
fn a_guard_stops_kills_and_lets_the_watchdog_bite_in_time() {
    let limits = Limits::of(T);
    assert_eq!((limits.stop, limits.kill, limits.bite), (4_000, 7_000, 8_000));
    let mut guard = Guard::default();
    guard.told(None, Some(vec![order(1)]));
    assert_eq!(guard.act(0), [], "there is no lease");
    guard.told(Some(1_000), Some(vec![order(1)]));
    assert_eq!(guard.act(1_500), [Act::Start(order(1).run)]);
    assert_eq!(guard.act(1_500), []);
    assert_eq!(guard.next_ms(), Some(5_000));
    assert_eq!(guard.act(4_999), []);
    assert_eq!(guard.act(5_000), [Act::Stop(db())]);
    assert_eq!(guard.act(8_000), [Act::Kill(db())]);
    assert_eq!(guard.act(8_999), []);
    assert!(!guard.is_biting());
    assert_eq!(guard.act(9_000), [Act::LetBite(db())]);
    assert!(guard.is_biting());
    assert_eq!(guard.next_ms(), None);
    assert_eq!(guard.act(9_500), []);
    guard.ended(&db(), Ended::Failed);
    guard.act(9_600);
    assert!(!guard.is_biting(), "it ended before the machine was reset");
}

#[test]
fn a_grant_is_used_once() {
    let mut guard = Guard::default();
    guard.told(Some(1_000), Some(vec![order(1)]));
    assert_eq!(guard.act(1_000).len(), 1);
    assert_eq!(guard.runs(), [order(1).run]);
    guard.ended(&db(), Ended::Failed);
    assert_eq!(guard.runs(), []);
    let spent: Vec<_> = guard.spent().collect();
    assert_eq!((spent[0].grant, spent[0].ended), (order(1).run.grant, Ended::Failed));
    assert_eq!(guard.act(1_001), [], "it has to be granted anew");
    guard.told(Some(1_000), Some(vec![order(2)]));
    assert_eq!(guard.spent().count(), 0);
    assert_eq!(guard.act(1_002), [Act::Start(order(2).run)]);
    // A lease that comes back too late does not call back a stop.
    assert_eq!(guard.act(6_000), [Act::Stop(db())]);
    guard.told(Some(6_000), None);
    assert_eq!(guard.act(6_001), []);
    guard.ended(&db(), Ended::Failed);
    assert_eq!(guard.spent().next().unwrap().ended, Ended::Stopped, "it was stopped: that is no failure of its own");
}

#[test]
fn what_is_not_ordered_is_stopped_and_what_leaves_unstarted_is_spent() {
    let mut guard = Guard::default();
    guard.told(Some(0), Some(vec![order(1)]));
    guard.act(0);
    guard.told(None, Some(vec![]));
    assert_eq!(guard.act(1), [Act::Stop(db())]);
    let mut guard = Guard::default();
    guard.told(None, Some(vec![Order { leave: true, may_start: false, ..order(1) }]));
    assert_eq!(guard.act(1), []);
    assert_eq!(guard.spent().count(), 1, "the others wait for word of it");
}

#[test]
fn a_guard_outlives_its_manager() {
    let mut guard = Guard::default();
    guard.told(Some(5), Some(vec![order(1)]));
    guard.act(6);
    let text = serde_json::to_string(&guard).unwrap();
    assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), guard);
}

#[test]
fn what_is_said_arrives_as_it_was_said() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(2));
    let grant = cluster.grant(1);
    // To nowhere is not the same as staying: `null` in JSON is easily both.
    cluster.change(1, Change::Leave { instance: db(), node: node(2), grant, to: None });
    let part = cluster.of(1).part("boot", Some(vec![]), &voters(), 5);
    let text = serde_json::to_string(&part).unwrap();
    assert_eq!(serde_json::from_str::<Part>(&text).unwrap(), part);
    let pulse = cluster.members.get_mut(&node(1)).unwrap().pulse(7);
    let text = serde_json::to_string(&pulse).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), pulse);
}

impl Cluster {
    /// The instance ends on its node, and the coordinator goes on.
    fn end(&mut self, ended: Ended, wanted: &[Wanted]) {
        let (node, grant) = (self.holder(1).unwrap(), self.grant(1));
        let released = Change::Released { instance: db(), grant, ended, at_ms: self.now };
        self.change(node.get(), released);
        for change in self.propose(1, wanted) {
            self.change(1, change);
        }
    }
}

#[test]
fn what_fails_moves_on_and_is_left_alone_when_it_fails_too_often() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    let wanted = vec![Wanted { probation_ms: 1_000, error_limit: 3, ..wanted(None).remove(0) }];
    cluster.change(1, give(1));
    cluster.end(Ended::Failed, &wanted);
    let second = cluster.holder(1).unwrap();
    assert_ne!(second, node(1), "it failed there just now");
    cluster.end(Ended::Failed, &wanted);
    let third = cluster.holder(1).unwrap();
    assert!(third != node(1) && third != second);
    cluster.end(Ended::Failed, &wanted);
    assert_eq!(cluster.holder(1), None, "three times is enough");
    let rests = wanted[0].rests(cluster.of(1).table(), &db(), cluster.now);
    assert_eq!(rests, Some(ssi_cluster::scope::propose::Rest::GivenUp));
    cluster.now = 500;
    assert_eq!(cluster.propose(1, &wanted), []);
    // Its probation is over, or somebody starts it by hand.
    cluster.now = 1_001;
    assert_eq!(cluster.propose(1, &wanted).len(), 1);
    cluster.now = 500;
    cluster.change(1, Change::Forget { unit: "db.service".into() });
    assert_eq!(cluster.propose(1, &wanted).len(), 1);
}

#[test]
fn what_is_through_is_not_started_again() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(1));
    cluster.end(Ended::Through, &wanted(None));
    assert_eq!(cluster.holder(1), None);
    cluster.now = 1_000_000;
    assert_eq!(cluster.propose(1, &wanted(None)), []);
    // When nobody wants it any more, that is forgotten, and a later wish is a new one.
    let forget = cluster.propose(1, &[]);
    assert_eq!(forget, [Change::Forget { unit: "db.service".into() }]);
    cluster.change(1, forget[0].clone());
    assert_eq!(cluster.propose(1, &wanted(None)).len(), 1);
}

#[test]
fn what_is_to_run_apart_waits_until_the_other_has_ended() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    let pinned = |name: &str, to: u32, apart: &[&str]| {
        let apart = apart.iter().map(|name| (*name).to_owned()).collect();
        let wish = UnitWish { pin: Some(node(to)), apart, ..UnitWish::new(name, Instances::Count(1)) };
        Wanted { takeover_ms: T, ..Wanted::new(wish) }
    };
    let spare = Instance::new("spare.service", 0);
    cluster.change(1, give(2));
    cluster.change(1, Change::Grant { instance: spare.clone(), to: node(3), takeover_ms: T });
    // They are to change places: neither waits for the other to be gone before it goes itself.
    let wanted = [pinned("db.service", 3, &[]), pinned("spare.service", 2, &["db.service"])];
    let proposed = cluster.propose(1, &wanted);
    assert_eq!(proposed.len(), 2);
    for change in &proposed {
        assert!(matches!(change, Change::Leave { to: None, .. }), "{change:?}");
        cluster.change(1, change.clone());
    }
    let grant = cluster.grant(1);
    cluster.change(2, Change::Released { instance: db(), grant, ended: Ended::Stopped, at_ms: 0 });
    // Node 3 still has the other one.
    assert_eq!(cluster.propose(1, &wanted), []);
    let grant = cluster.of(1).table().holders(&spare)[0].grant;
    cluster.change(3, Change::Released { instance: spare.clone(), grant, ended: Ended::Stopped, at_ms: 0 });
    let proposed = cluster.propose(1, &wanted);
    let to = |change: &Change| match change {
        Change::Grant { instance, to, .. } => Some((instance.unit.clone(), to.get())),
        _ => None,
    };
    let given: Vec<_> = proposed.iter().filter_map(to).collect();
    assert_eq!(given, [("db.service".to_owned(), 3), ("spare.service".to_owned(), 2)]);
}

#[test]
fn a_lease_that_comes_later_does_not_make_an_old_order_good() {
    let mut guard = Guard::default();
    guard.told(Some(1_000), Some(vec![Order { may_start: false, ..order(1) }]));
    guard.act(1_001);
    guard.told(Some(1_000), Some(vec![order(1)]));
    // The order was long on its way, and others may have what it allows.
    guard.told(Some(30_000), None);
    assert_eq!(guard.act(30_001), []);
    guard.told(Some(30_000), Some(vec![order(1)]));
    assert_eq!(guard.act(30_002).len(), 1);
}

#[test]
fn what_was_only_said_to_run_is_never_started_under_its_old_grant() {
    let mut cluster = Cluster::new();
    cluster.meet(&[1, 2, 3]);
    cluster.change(1, give(2));
    let run = cluster.of(2).orders(&voters()).unwrap()[0].run.clone();
    // Node 2 may have begun it when it was cut off; the others gave it to node 3 after its time.
    cluster.runs.insert(node(2), vec![run]);
    cluster.meet(&[1, 3]);
    cluster.now = T;
    let taken = Change::Taken { instance: db(), node: node(2), grant: cluster.grant(1), to: Some(node(3)) };
    cluster.change(1, taken);
    cluster.meet(&[1, 2, 3]);
    cluster.pulse();
    let orders = cluster.of(2).orders(&voters()).unwrap();
    assert!(!orders[0].may_start && orders[0].leave && orders[0].only_if_running, "{orders:?}");
    let mut guard = Guard::default();
    guard.told(Some(T), Some(orders));
    assert_eq!(guard.act(T), []);
    assert_eq!(guard.spent().count(), 1);
    assert_eq!(cluster.propose(1, &wanted(None)), [], "node 3 keeps it");
}
