// SPDX-License-Identifier: GPL-2.0-or-later
//! The promises of [`ssi_cluster::placement`], for clusters, wishes and histories drawn at random, and some scenes told
//! in full.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ssi_cluster::placement::*;
use ssi_cluster::{NodeId, NodeState, View, ViewId};

const NODES: u32 = 6;

fn node(n: u32) -> NodeId {
    NodeId::new(n).unwrap()
}

#[derive(Clone, Debug)]
struct Scene {
    view: View,
    nodes: BTreeMap<NodeId, NodeFacts>,
    wishes: Vec<UnitWish>,
    current: Assignment,
}

impl Scene {
    fn place(&self) -> Placement {
        place(self.view.quorate().unwrap(), &self.nodes, &self.wishes, &self.current)
    }

    fn able(&self) -> BTreeSet<NodeId> {
        let up = |n: &NodeId| self.nodes.get(n).is_some_and(|f| f.state == NodeState::Up);
        self.view.members.iter().copied().filter(up).collect()
    }

    fn wish(&self, unit: &str) -> Option<&UnitWish> {
        self.wishes.iter().filter(|w| w.name == unit).min()
    }
}

fn any_node() -> impl Strategy<Value = NodeId> {
    (1..=NODES).prop_map(node)
}

fn wish(name: String) -> impl Strategy<Value = UnitWish> {
    let instances = prop_oneof![6 => (0u32..8).prop_map(Instances::Count), 1 => Just(Instances::All)];
    let lists = (prop::collection::vec(any_node(), 0..5), prop::collection::vec(any_node(), 0..3));
    let failback = prop::sample::select(vec![Failback::No, Failback::Yes, Failback::WhenIdle]);
    let pin = prop::option::weighted(0.15, any_node());
    (instances, lists, failback, any::<bool>(), pin, any::<bool>()).prop_map(
        move |(instances, (nodes, avoid), failback, spread, pin, least_loaded)| UnitWish {
            instances,
            nodes,
            avoid,
            failback,
            spread,
            pin,
            least_loaded,
            ..UnitWish::new(name.clone(), Instances::All)
        },
    )
}

fn scene() -> impl Strategy<Value = Scene> {
    // Mostly UP, and members mostly those that are.
    let state = prop_oneof![6 => Just(NodeState::Up), 3 => prop::sample::select(NodeState::ALL.to_vec())];
    let load = prop_oneof![Just(0u64), 0u64..5000, Just(u64::MAX)];
    let facts = prop::collection::vec((state, load, prop::bool::weighted(0.85)), NODES as usize);
    let wishes =
        prop::collection::vec("[a-e]", 0..6).prop_flat_map(|names| names.into_iter().map(wish).collect::<Vec<_>>());
    let current = prop::collection::btree_map(("[a-f]", 0u32..9), any_node(), 0..20);
    (facts, wishes, current).prop_map(|(facts, wishes, current)| {
        let numbered = || (1..).map(node).zip(&facts);
        let members = numbered().filter(|(_, (_, _, member))| *member).map(|(n, _)| n).collect();
        Scene {
            view: View { id: ViewId(1), members, quorate: true },
            nodes: numbered().map(|(n, (state, load, _))| (n, NodeFacts { state: *state, load: *load })).collect(),
            wishes,
            current: current.into_iter().map(|((unit, index), node)| (Instance::new(unit, index), node)).collect(),
        }
    })
}

/// A scene whose units name each other; `rings`: as they like, or only those with lesser names.
fn with_company(rings: bool) -> impl Strategy<Value = Scene> {
    let names = || prop::collection::btree_set("[a-e]", 0..3);
    let lists = prop::collection::vec((names(), names()), 6);
    (scene(), lists).prop_map(move |(mut scene, lists)| {
        for (wish, (with, apart)) in scene.wishes.iter_mut().zip(lists) {
            let may = |name: &String| rings || *name < wish.name;
            (wish.with, wish.apart) = (with.into_iter().filter(may).collect(), apart.into_iter().filter(may).collect());
        }
        scene
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn units_run_with_and_apart_from_those_they_name(scene in with_company(false)) {
        let placed = scene.place();
        let on = |unit: &str| -> BTreeSet<NodeId> {
            placed.assignment.iter().filter(|(instance, _)| instance.unit == unit).map(|(_, node)| *node).collect()
        };
        for (instance, node) in &placed.assignment {
            let wish = scene.wish(&instance.unit).unwrap();
            prop_assert!(wish.with.iter().all(|other| on(other).contains(node)), "{instance} is not with them");
            prop_assert!(wish.apart.iter().all(|other| !on(other).contains(node)), "{instance} is not apart from them");
        }
        for (instance, why) in &placed.unplaced {
            let wish = scene.wish(&instance.unit).unwrap();
            prop_assert!(*why != WhyNot::NotWith || !wish.with.is_empty(), "{instance}");
            prop_assert!(*why != WhyNot::NotApart || !wish.apart.is_empty(), "{instance}");
        }
        for m in &placed.moves {
            let wish = scene.wish(&m.instance.unit);
            let from = m.from.unwrap_or(node(1));
            match m.reason {
                Reason::With => prop_assert!(wish.unwrap().with.iter().any(|other| !on(other).contains(&from))),
                Reason::Apart => prop_assert!(wish.unwrap().apart.iter().any(|other| on(other).contains(&from))),
                _ => {}
            }
        }
    }

    #[test]
    fn units_that_name_each_other_come_to_rest(scene in with_company(true), turn in 0usize..6) {
        let mut other = scene.clone();
        if !other.wishes.is_empty() {
            let turn = turn % other.wishes.len();
            other.wishes.rotate_left(turn);
        }
        prop_assert_eq!(scene.place(), other.place());
        let mut scene = scene;
        for _ in 0..12 {
            let placed = scene.place();
            if placed.moves.is_empty() {
                return Ok(());
            }
            scene.current = placed.assignment;
        }
        prop_assert!(false, "they do not come to rest");
    }

    #[test]
    fn the_order_of_wishes_and_of_what_to_avoid_does_not_count(scene in scene(), seed in any::<u64>()) {
        let mut other = scene.clone();
        let turn = seed as usize % other.wishes.len().max(1);
        other.wishes.rotate_left(turn);
        if seed & 1 << 40 != 0 {
            other.wishes.reverse();
        }
        // Of two wishes for one unit the lesser counts, and that may depend on its list as it is written.
        let names: BTreeSet<_> = other.wishes.iter().map(|w| w.name.clone()).collect();
        if names.len() == other.wishes.len() {
            other.wishes.iter_mut().for_each(|w| w.avoid.reverse());
        }
        prop_assert_eq!(scene.place(), other.place());
    }

    #[test]
    fn placing_again_changes_nothing(scene in scene()) {
        let first = scene.place();
        let again = Scene { current: first.assignment.clone(), ..scene }.place();
        prop_assert_eq!(&again.moves, &[]);
        prop_assert_eq!((again.assignment, again.unplaced), (first.assignment, first.unplaced));
    }

    #[test]
    fn the_moves_lead_from_what_was_to_what_is(scene in scene()) {
        let placed = scene.place();
        let mut assignment = scene.current.clone();
        let mut moved = BTreeSet::new();
        for m in &placed.moves {
            prop_assert!(moved.insert(m.instance.clone()), "{} is moved twice", m.instance);
            prop_assert!(m.from != m.to);
            prop_assert_eq!(assignment.remove(&m.instance), m.from);
            assignment.extend(m.to.map(|to| (m.instance.clone(), to)));
        }
        prop_assert_eq!(assignment, placed.assignment);
    }

    #[test]
    fn every_instance_is_where_it_may_be(scene in scene()) {
        let (placed, able) = (scene.place(), scene.able());
        for (instance, node) in &placed.assignment {
            let wish = scene.wish(&instance.unit).unwrap();
            prop_assert!(able.contains(node), "{instance} on node {node}, which is not able");
            prop_assert!(wish.may_run_on(*node), "{instance} on node {node}, which is forbidden");
            prop_assert!(wish.pin.is_none_or(|pin| pin == *node), "{instance} is not where it is pinned");
            match wish.instances {
                Instances::Count(count) => prop_assert!(instance.index < count),
                Instances::All => prop_assert_eq!(instance.index, node.get()),
            }
        }
        for wish in scene.wishes.iter().filter(|w| w.spread) {
            let of_unit = placed.assignment.iter().filter(|(i, _)| i.unit == wish.name && scene.wish(&i.unit) == Some(wish));
            let on: Vec<_> = of_unit.map(|(_, node)| *node).collect();
            prop_assert_eq!(on.iter().collect::<BTreeSet<_>>().len(), on.len(), "two of {} on one node", &wish.name);
        }
    }

    #[test]
    fn what_is_wanted_runs_unless_there_is_nowhere_to_run(scene in scene()) {
        let (placed, able) = (scene.place(), scene.able());
        let names: BTreeSet<&str> = scene.wishes.iter().map(|w| w.name.as_str()).collect();
        for name in names {
            let wish = scene.wish(name).unwrap();
            let places: Vec<_> = able.iter().filter(|n| wish.may_run_on(**n) && wish.pin.is_none_or(|p| p == **n)).collect();
            let running = placed.assignment.keys().filter(|i| i.unit == name).count();
            let without = placed.unplaced.keys().filter(|i| i.unit == name).count();
            match wish.instances {
                Instances::All => prop_assert_eq!((running, without), (places.len(), 0)),
                Instances::Count(count) => {
                    let possible = match (places.len(), wish.spread) {
                        (0, _) => 0,
                        (places, true) => places.min(count as usize),
                        (_, false) => count as usize,
                    };
                    prop_assert_eq!((running, running + without), (possible, count as usize));
                }
            }
        }
    }

    #[test]
    fn every_move_has_a_true_reason(scene in scene()) {
        let (placed, able) = (scene.place(), scene.able());
        for m in &placed.moves {
            let wish = scene.wish(&m.instance.unit);
            let from = m.from.filter(|_| m.reason != Reason::Started);
            let leaving = |n: NodeId| {
                scene.view.members.contains(&n)
                    && matches!(scene.nodes[&n].state, NodeState::Shutdown | NodeState::GoingDown)
            };
            let holds = match (m.reason, from, wish) {
                (Reason::Started, None, Some(_)) => m.from.is_none() && m.to.is_some(),
                (Reason::NodeLost, Some(from), Some(_)) => !able.contains(&from) && !leaving(from),
                (Reason::NodeLeaving, Some(from), Some(_)) => leaving(from),
                (Reason::Pinned, Some(from), Some(wish)) => wish.pin.is_some_and(|pin| pin != from),
                (Reason::Forbidden, Some(from), Some(wish)) => {
                    !wish.may_run_on(from) || (wish.instances == Instances::All && m.instance.index != from.get())
                }
                (Reason::Spread, Some(from), Some(wish)) => {
                    wish.spread && (0..m.instance.index).any(|i| {
                        scene.current.get(&Instance::new(m.instance.unit.clone(), i)) == Some(&from)
                    })
                }
                (Reason::Failback, Some(from), Some(wish)) => {
                    let liked = |n| wish.nodes.iter().position(|l| *l == n);
                    wish.failback != Failback::No && m.to.is_some_and(|to| liked(to) < liked(from))
                        && (wish.failback == Failback::Yes || scene.nodes[&from].load <= IDLE_LOAD)
                }
                (Reason::NoLongerWanted, Some(_), wish) => {
                    m.to.is_none() && wish.is_none_or(|w| match w.instances {
                        Instances::Count(count) => m.instance.index >= count,
                        Instances::All => Some(m.instance.index) != m.from.map(NodeId::get),
                    })
                }
                _ => false,
            };
            prop_assert!(holds, "{m:?} of {wish:?}");
        }
    }

    #[test]
    fn a_lost_node_moves_only_what_it_ran(scene in scene(), lost in any_node()) {
        let before = scene.place().assignment;
        let mut after = Scene { current: before.clone(), ..scene };
        after.view.members.remove(&lost);
        for m in after.place().moves {
            prop_assert_eq!(m.from, Some(lost), "{:?}", m);
            prop_assert_eq!(before.get(&m.instance), Some(&lost));
        }
    }

    #[test]
    fn a_node_that_comes_takes_nothing_without_failback(scene in scene(), came in any_node()) {
        let mut before = scene;
        before.view.members.remove(&came);
        before.wishes.iter_mut().for_each(|w| w.failback = Failback::No);
        let current = before.place().assignment;
        let mut after = Scene { current, ..before };
        after.view.members.insert(came);
        for m in after.place().moves {
            prop_assert_eq!((m.from, m.to, m.reason), (None, Some(came), Reason::Started));
        }
    }

    #[test]
    fn the_order_of_preference_holds(scene in scene()) {
        let mut scene = scene;
        scene.wishes.iter_mut().for_each(|w| (w.failback, w.least_loaded) = (Failback::Yes, false));
        let (placed, able) = (scene.place(), scene.able());
        for (instance, at) in &placed.assignment {
            let wish = scene.wish(&instance.unit).unwrap();
            if wish.instances == Instances::All || wish.pin.is_some() || wish.nodes.is_empty() {
                continue;
            }
            let liked_better = wish.nodes.iter().take_while(|n| *n != at).filter(|n| able.contains(n) && wish.may_run_on(**n));
            for better in liked_better {
                let mut others = placed.assignment.iter().filter(|(i, n)| i.unit == instance.unit && *n == better);
                prop_assert!(wish.spread && others.next().is_some(), "{instance} is on {at}, {better} was free");
            }
        }
    }
}

fn up(numbers: &[u32], wishes: &[UnitWish]) -> Scene {
    Scene {
        view: View { id: ViewId(1), members: numbers.iter().map(|n| node(*n)).collect(), quorate: true },
        nodes: numbers.iter().map(|n| (node(*n), NodeFacts { state: NodeState::Up, load: 500 })).collect(),
        wishes: wishes.to_vec(),
        current: Assignment::new(),
    }
}

fn on(scene: &Scene, unit: &str) -> Vec<u32> {
    scene.place().assignment.iter().filter(|(i, _)| i.unit == unit).map(|(_, n)| n.get()).collect()
}

#[test]
fn the_preferred_node_comes_back_and_the_unit_goes_back_as_it_was_told() {
    for (failback, load, expected) in
        [(Failback::No, 0, 2), (Failback::Yes, 5000, 1), (Failback::WhenIdle, 5000, 2), (Failback::WhenIdle, 100, 1)]
    {
        let db = UnitWish { nodes: vec![node(1), node(2)], failback, ..UnitWish::new("db", Instances::Count(1)) };
        let mut scene = up(&[1, 2, 3], &[db]);
        scene.current.insert(Instance::new("db", 0), node(2));
        scene.nodes.get_mut(&node(2)).unwrap().load = load;
        assert_eq!(on(&scene, "db"), [expected], "{failback:?} at load {load}");
    }
}

#[test]
fn a_displaced_instance_takes_the_free_preferred_node_and_the_other_stays() {
    let nodes = vec![node(1), node(2), node(3)];
    let wish = UnitWish { nodes, spread: true, failback: Failback::Yes, ..UnitWish::new("db", Instances::Count(2)) };
    let mut scene = up(&[1, 2], &[wish]);
    scene.current = [(Instance::new("db", 0), node(2)), (Instance::new("db", 1), node(3))].into();
    let placed = scene.place();
    let lost =
        Move { instance: Instance::new("db", 1), from: Some(node(3)), to: Some(node(1)), reason: Reason::NodeLost };
    assert_eq!(placed.moves, [lost]);
}

#[test]
fn only_the_instance_on_the_least_preferred_node_goes_back() {
    let nodes = vec![node(1), node(2), node(3)];
    let wish = UnitWish { nodes, spread: true, failback: Failback::Yes, ..UnitWish::new("db", Instances::Count(2)) };
    let mut scene = up(&[1, 2, 3], &[wish]);
    scene.current = [(Instance::new("db", 0), node(2)), (Instance::new("db", 1), node(3))].into();
    let back =
        Move { instance: Instance::new("db", 1), from: Some(node(3)), to: Some(node(1)), reason: Reason::Failback };
    assert_eq!(scene.place().moves, [back]);
}

#[test]
fn where_nodes_are_few_the_lower_instances_have_them() {
    let mut scene = up(&[2], &[UnitWish { spread: true, ..UnitWish::new("web", Instances::Count(2)) }]);
    scene.current = [(Instance::new("web", 1), node(3))].into();
    let placed = scene.place();
    assert_eq!(placed.assignment, [(Instance::new("web", 0), node(2))].into());
    assert_eq!(placed.unplaced.keys().map(|i| i.index).collect::<Vec<_>>(), [1]);
}

#[test]
fn spread_instances_that_are_left_over_say_why_they_have_no_node() {
    let scene = up(&[1, 2], &[UnitWish { spread: true, ..UnitWish::new("web", Instances::Count(3)) }]);
    let placed = scene.place();
    assert_eq!(placed.assignment.len(), 2);
    assert_eq!(placed.unplaced, [(Instance::new("web", 2), WhyNot::NotEnoughNodes)].into());
}

#[test]
fn a_pin_is_obeyed_or_told_of() {
    let pinned =
        |pin| UnitWish { avoid: vec![node(2)], pin: Some(node(pin)), ..UnitWish::new("db", Instances::Count(1)) };
    let why = |pin| up(&[1, 2], &[pinned(pin)]).place().unplaced.into_values().collect::<Vec<_>>();
    assert_eq!(on(&up(&[1, 2], &[pinned(1)]), "db"), [1]);
    assert_eq!(why(2), [WhyNot::PinnedToForbidden(node(2))]);
    assert_eq!(why(3), [WhyNot::PinnedNodeNotUp(node(3))]);
}

#[test]
fn a_node_that_was_asked_to_go_gives_up_what_it_runs() {
    let mut scene = up(&[1, 2], &[UnitWish::new("db", Instances::Count(1))]);
    let first = scene.place().assignment;
    let at = first[&Instance::new("db", 0)];
    scene.current = first;
    scene.nodes.get_mut(&at).unwrap().state = NodeState::Shutdown;
    let placed = scene.place();
    assert_eq!(placed.moves.iter().map(|m| m.reason).collect::<Vec<_>>(), [Reason::NodeLeaving]);
    assert_ne!(placed.assignment[&Instance::new("db", 0)], at);
}

#[test]
fn the_least_loaded_nodes_fill_up_evenly() {
    let wishes: Vec<_> = (0..9)
        .map(|n| UnitWish { least_loaded: true, ..UnitWish::new(format!("job{n}"), Instances::Count(1)) })
        .collect();
    let mut scene = up(&[1, 2, 3], &wishes);
    // Node 3 has three tasks more to do than the others: they get three each more.
    scene.nodes.get_mut(&node(3)).unwrap().load = 3500;
    let placed = scene.place();
    let count = |n| placed.assignment.values().filter(|at| **at == node(n)).count();
    assert_eq!((count(1), count(2), count(3)), (4, 4, 1));
}

#[test]
fn units_without_a_preference_are_shared_out() {
    let wishes: Vec<_> = (0..300).map(|n| UnitWish::new(format!("u{n}"), Instances::Count(1))).collect();
    let placed = up(&[1, 2, 3], &wishes).place();
    for n in 1..=3 {
        let share = placed.assignment.values().filter(|at| **at == node(n)).count();
        assert!((70..=130).contains(&share), "node {n} has {share} of 300");
    }
}

#[test]
fn a_loss_in_a_large_cluster_moves_only_what_ran_there() {
    let numbers: Vec<u32> = (1..=1000).collect();
    let wishes: Vec<_> = (0..10_000)
        .map(|n| UnitWish { least_loaded: n % 2 == 0, ..UnitWish::new(format!("unit{n}"), Instances::Count(1)) })
        .collect();
    let mut scene = up(&numbers, &wishes);
    scene.current = scene.place().assignment;
    assert_eq!(scene.current.len(), 10_000);
    scene.view.members.remove(&node(1));
    let moves = scene.place().moves;
    assert!(!moves.is_empty() && moves.len() < 60, "{} moves", moves.len());
}

fn named(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn who_is_to_be_with_another_follows_it() {
    let app = UnitWish { with: named(&["db"]), ..UnitWish::new("app", Instances::Count(1)) };
    let db = UnitWish { nodes: vec![node(2), node(3)], ..UnitWish::new("db", Instances::Count(1)) };
    let mut scene = up(&[1, 2, 3], &[app, db]);
    assert_eq!((on(&scene, "app"), on(&scene, "db")), (vec![2], vec![2]));
    scene.current = scene.place().assignment;
    scene.view.members.remove(&node(2));
    assert_eq!((on(&scene, "app"), on(&scene, "db")), (vec![3], vec![3]));
    scene.view.members.insert(node(2));
    scene.current = [(Instance::new("app", 0), node(1)), (Instance::new("db", 0), node(2))].into();
    let follows =
        Move { instance: Instance::new("app", 0), from: Some(node(1)), to: Some(node(2)), reason: Reason::With };
    assert_eq!(scene.place().moves, [follows]);
    // Without the other there is no place for it.
    scene.wishes.pop();
    assert_eq!(scene.place().unplaced, [(Instance::new("app", 0), WhyNot::NotWith)].into());
}

#[test]
fn who_is_to_be_apart_gives_way_and_is_left_alone_where_there_is_a_choice() {
    let spare = UnitWish { apart: named(&["main"]), ..UnitWish::new("spare", Instances::Count(1)) };
    let mut scene = up(&[1, 2, 3], &[spare, UnitWish::new("main", Instances::Count(1))]);
    for at in 1..=3 {
        scene.current = [(Instance::new("spare", 0), node(at))].into();
        let placed = scene.place();
        assert_eq!(placed.moves.len(), 1, "{placed:?}");
        assert_ne!(placed.assignment[&Instance::new("main", 0)], node(at));
    }
    scene.view.members = [node(1)].into();
    scene.current = [(Instance::new("spare", 0), node(1))].into();
    let placed = scene.place();
    assert_eq!(placed.assignment, [(Instance::new("main", 0), node(1))].into());
    assert_eq!(placed.unplaced, [(Instance::new("spare", 0), WhyNot::NotApart)].into());
}

#[test]
fn units_that_want_to_be_together_are() {
    let wish = |name: &str, with: &[&str]| UnitWish { with: named(with), ..UnitWish::new(name, Instances::Count(1)) };
    let scene = up(&[1, 2, 3], &[wish("a", &["b"]), wish("b", &["c", "b"]), wish("c", &["a"])]);
    assert!(on(&scene, "a").len() == 1 && on(&scene, "a") == on(&scene, "b") && on(&scene, "b") == on(&scene, "c"));
}

#[test]
fn a_wish_without_bound_is_bounded() {
    let scene = up(&[1, 2], &[UnitWish::new("web", Instances::Count(u32::MAX))]);
    assert_eq!(scene.place().assignment.len(), MAX_INSTANCES as usize);
}
