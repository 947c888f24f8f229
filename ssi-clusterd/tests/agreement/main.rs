// SPDX-License-Identifier: GPL-2.0-or-later
//! The agreement, driven by an engine made of nothing but a random order: partitions, merges, crashes of machines and
//! daemons, scripts and services in between.

mod mad_peer;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;

use ssi_cluster::{NodeId, NodeState};
use ssi_clusterd::agreement::shared::{Outcome, Shared};
use world::{World, id};

/// How many random worlds; more by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(300)
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

/// A cluster that runs its services.
fn with_services(nodes: usize, seed: u64) -> World {
    let mut world = World::new(nodes, seed);
    world.heal();
    world.settle();
    world.want_services();
    world.settle();
    world
}

#[test]
fn what_a_fenced_node_ran_runs_elsewhere_at_once() {
    let mut world = with_services(3, 43);
    let lost = id(1 + world.machines.values().position(|m| !m.processes.is_empty()).unwrap());
    world.power_off(lost);
    let one = world.configured.iter().copied().find(|n| *n != lost).unwrap();
    let before = world.now;
    for _ in 0..20 {
        world.rest(100);
        world.fence(one);
    }
    assert!(world.now - before < world::TAKEOVER_MS, "the test waits too long to show anything");
    assert_eq!((world.running(), world.fenced), (3, 1));
}

#[test]
fn the_first_of_two_goes_on_alone_and_the_second_once_the_first_is_off() {
    for (lost, fences) in [(2, false), (1, false), (1, true)] {
        // The unit with two instances runs one on each.
        let mut world = with_services(2, 47);
        assert_eq!(world.running(), 3);
        world.power_off(id(lost));
        world.settle();
        if fences {
            world.fence(id(3 - lost));
            world.settle();
        }
        let expected = if lost == 2 || fences { 2 } else { 0 };
        assert_eq!(world.running(), expected, "node {lost} is lost, fenced: {fences}");
        assert_eq!(world.fenced, usize::from(fences));
        // It does not begin alone what the other may go on with.
        world.power_on(id(lost));
        world.settle();
        assert_eq!(world.running(), expected, "node {lost} is back and sees nobody");
        world.heal();
        world.settle();
        assert_eq!(world.running(), 3);
    }
}

#[test]
fn of_two_that_lose_sight_of_each_other_only_the_first_goes_on() {
    let mut world = with_services(2, 53);
    let all = [id(1), id(2)];
    world.make_rings(vec![BTreeSet::from([id(1)]), BTreeSet::from([id(2)])], &all);
    world.settle();
    assert!(world.machines[&id(2)].processes.is_empty());
    assert_eq!(world.running(), 2);
    world.heal();
    world.settle();
    assert_eq!(world.running(), 3);
}

/// Accidents at random while two services run; then all is mended, and all runs.
fn wreck(seed: u64, nodes: usize, faults: usize) {
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
    assert_eq!(world.running(), 3);
}

#[test]
fn a_grant_does_not_come_back_with_its_node() {
    // Node 2 was told to start what it was granted just when it was cut off.
    wreck(16_241_380_829_385_679_394, 5, 9);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_runs_twice_and_all_runs_again(seed in any::<u64>(), nodes in 2usize..6, faults in 0usize..25) {
        wreck(seed, nodes, faults);
    }
}
