// SPDX-License-Identifier: GPL-2.0-or-later
//! No instance runs twice, and every one runs again: checked in every world that a few accidents, each at any moment,
//! can lead to. The worlds are driven by the code that runs in the daemon and the unit manager.
//!
//! `SSI_SCOPE_ACCIDENTS` and `SSI_SCOPE_TICKS` make the search larger.

mod world;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use world::{Accident, Rules, World};

/// For how long after the last accident things may be out of order, in ticks: nine for a takeover, some for exchanges and
/// for a watchdog.
const PATIENCE: u64 = 13;

/// How the check goes, and how far.
#[derive(Clone, Copy)]
struct Search {
    rules: Rules,
    accidents: u32,
    /// For how long accidents happen.
    ticks: u64,
    /// Where it begins.
    from: From,
}

/// Where a search begins.
#[derive(Clone, Copy)]
enum From {
    /// The cluster starts, and nothing runs.
    Start,
    /// The instance runs.
    Rest,
    /// The instance runs, and is told to run on this machine.
    Move(u32),
}

fn figure(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Of ten million worlds, two different ones have the same with a chance of one in a hundred thousand.
fn fingerprint(world: &World, budget: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (world, budget).hash(&mut hasher);
    hasher.finish()
}

/// What is wrong with a world, if anything is.
fn fault(world: &World) -> Option<&'static str> {
    if world.running() > 1 {
        return Some("two run at once");
    }
    let rested = world.now > world.last_accident + PATIENCE;
    if rested && world.can_run() && world.running() != 1 {
        return Some("it is wanted, it could run, and it does not");
    }
    if world.starts > world.starts_at_last_accident + 2 {
        return Some("it moves without end");
    }
    None
}

impl Search {
    /// How many worlds there are, or the first fault with what led to it.
    fn run(self) -> Result<usize, (String, Vec<(u64, Accident)>)> {
        let mut start = World::new(self.rules);
        while !matches!(self.from, From::Start) && (start.running() == 0 || start.now < 5) {
            start.step(self.rules);
        }
        if let From::Move(to) = self.from {
            start.suffer(Accident::Moved(to), self.rules);
        }
        (start.last_accident, start.starts_at_last_accident) = (start.now, start.starts);
        let until = start.now + self.ticks;
        let mut seen = HashSet::new();
        let mut open = vec![(start, self.accidents, Vec::new())];
        while let Some((mut world, budget, history)) = open.pop() {
            loop {
                if let Some(fault) = fault(&world) {
                    return Err((fault.to_owned(), history));
                }
                if !seen.insert(fingerprint(&world, budget)) {
                    break;
                }
                if budget > 0 && world.now < until {
                    for accident in world.accidents() {
                        let mut worse = world.clone();
                        worse.suffer(accident, self.rules);
                        let mut history = history.clone();
                        history.push((world.now, accident));
                        open.push((worse, budget - 1, history));
                    }
                }
                if world.now > world.last_accident + PATIENCE + 2 && world.now >= until {
                    break;
                }
                world.step(self.rules);
            }
        }
        Ok(seen.len())
    }
}

fn check(search: Search, at_least: usize) {
    match search.run() {
        Ok(worlds) => {
            println!("{worlds} worlds");
            assert!(worlds >= at_least, "only {worlds} worlds: the search does not reach what it should");
        }
        Err((fault, history)) => panic!("{fault} after {history:?}"),
    }
}

#[test]
fn three_nodes_at_rest() {
    let accidents = figure("SSI_SCOPE_ACCIDENTS", 2) as u32;
    let ticks = figure("SSI_SCOPE_TICKS", 1);
    check(Search { rules: Rules::of(3), accidents, ticks, from: From::Rest }, 1_000_000);
}

#[test]
fn three_nodes_while_they_start() {
    let accidents = figure("SSI_SCOPE_ACCIDENTS", 2) as u32;
    let ticks = figure("SSI_SCOPE_TICKS", 1);
    check(Search { rules: Rules::of(3), accidents, ticks, from: From::Start }, 100_000);
}

#[test]
fn three_nodes_while_it_moves() {
    let accidents = figure("SSI_SCOPE_ACCIDENTS", 2) as u32;
    let ticks = figure("SSI_SCOPE_TICKS", 1);
    check(Search { rules: Rules::of(3), accidents, ticks, from: From::Move(0) }, 500_000);
}

#[test]
fn two_nodes() {
    let accidents = figure("SSI_SCOPE_ACCIDENTS", 2) as u32;
    let ticks = figure("SSI_SCOPE_TICKS", 2);
    check(Search { rules: Rules::of(2), accidents, ticks, from: From::Rest }, 100_000);
    check(Search { rules: Rules::of(2), accidents, ticks, from: From::Start }, 10_000);
}

#[test]
fn five_nodes() {
    let accidents = figure("SSI_SCOPE_ACCIDENTS", 1) as u32;
    let ticks = figure("SSI_SCOPE_TICKS", 2);
    check(Search { rules: Rules::of(5), accidents, ticks, from: From::Rest }, 100_000);
}

#[test]
fn mistakes_are_found() {
    let right = Rules::of(3);
    let mistakes = [
        ("a guard that waits too long", Rules { guards_takeover: 18, ..right }, 2, From::Rest),
        ("others that do not wait long enough", Rules { takeover: 4, ..right }, 2, From::Rest),
        ("a start that nobody knows of", Rules { known: false, ..right }, 3, From::Start),
        ("a fence agent that lies", Rules { fence_is_true: false, ..right }, 2, From::Rest),
        ("daemons that do not say what they forgot", Rules { forgetting_told: false, ..right }, 3, From::Rest),
    ];
    for (mistake, rules, accidents, from) in mistakes {
        let found = Search { rules, accidents, ticks: 1, from }.run();
        let Err((fault, history)) = found else { panic!("{mistake}: not found") };
        println!("{mistake}: {fault} after {history:?}");
        assert_eq!(fault, "two run at once", "{mistake}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: figure("PROPTEST_CASES", 200) as u32, ..ProptestConfig::default() })]

    /// Many accidents in larger clusters, at random.
    #[test]
    fn many_accidents(nodes in 2u32..=5, blows in prop::collection::vec((0usize..60, any::<prop::sample::Index>()), 1..40)) {
        let rules = Rules::of(nodes);
        let mut world = World::new(rules);
        let mut history = Vec::new();
        for (steps, which) in blows {
            for _ in 0..steps {
                world.step(rules);
                prop_assert!(fault(&world).is_none(), "{:?} after {history:?}", fault(&world));
            }
            let accidents = world.accidents();
            let accident = *which.get(&accidents);
            world.suffer(accident, rules);
            history.push((world.now, accident));
        }
        let until = world.now + PATIENCE + 2;
        while world.now < until {
            world.step(rules);
            prop_assert!(fault(&world).is_none(), "{:?} after {history:?}", fault(&world));
        }
    }
}
