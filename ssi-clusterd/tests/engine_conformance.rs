// SPDX-License-Identifier: GPL-2.0-or-later
//! What every membership engine must hold to, and what one with several nodes must.
//!
//! [`suite`] is run against each engine. The scenes for corosync run three nodes on this machine, in namespaces
//! (`engine_conformance/nodes.rs`); without root or corosync they say so and do nothing. Nothing here asserts a
//! time; `measure_how_fast_a_loss_is_agreed`, which is run on request, prints some.

#[path = "engine_conformance/nodes.rs"]
mod nodes;
#[path = "engine_conformance/watcher.rs"]
mod watcher;

use std::time::{Duration, Instant};

use ssi_cluster::engine::{Configuration, FromEngine, PROTOCOL, ToEngine};
use ssi_clusterd::engine::{Engine as _, solo::Solo};

use nodes::Nodes;
use watcher::{Watcher, configurations, id, ids, is_unreachable, texts};

/// More than the default, so that a loaded machine with all nodes on it loses none of them.
const PATIENT: &str = "token_ms = 1500";
const ALL: &[u32] = &[1, 2, 3];

fn run(scene: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scene);
}

/// Runs a scene with three nodes that see each other.
fn three(scene: impl AsyncFnOnce(&mut Nodes, &mut [Watcher])) {
    if let Some(why) = nodes::impossible() {
        println!("skipped: {why}");
        return;
    }
    run(async {
        let mut nodes = Nodes::start(3, PATIENT);
        let mut watchers: Vec<Watcher> = ALL.iter().map(|n| nodes.engine(*n)).collect();
        all_see(&mut watchers, ALL, ALL).await;
        scene(&mut nodes, &mut watchers).await;
    });
}

async fn all_see(watchers: &mut [Watcher], members: &[u32], attached: &[u32]) {
    for watcher in watchers {
        watcher.until_sees(members, attached, true).await;
    }
}

/// What holds for every engine, of any number of nodes that see each other.
async fn suite(watchers: &mut [Watcher]) {
    ready_comes_first(watchers);
    own_messages_come_back_in_order(watchers).await;
    messages_of_several_senders_have_one_order(watchers).await;
    a_big_message_comes_whole(watchers).await;
    nobody_hears_a_message_before_its_configuration(watchers);
    all_had_the_same_from_the_last_configuration_on(watchers);
    a_leave_ends_the_engine_and_shows_as_detached(watchers).await;
}

fn ready_comes_first(watchers: &[Watcher]) {
    for watcher in watchers {
        let first = watcher.log.iter().find(|e| !is_unreachable(e));
        assert_eq!(first, Some(&FromEngine::Ready { protocol: PROTOCOL, own: watcher.own }));
        let first = configurations(&watcher.log).next().unwrap();
        assert!(first.attached.contains(&watcher.own), "a configuration before this node is attached: {first:?}");
        assert!(first.attached.is_subset(&first.members), "{first:?}");
    }
}

async fn own_messages_come_back_in_order(watchers: &mut [Watcher]) {
    let from: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
    let watcher = &watchers[0];
    let said: Vec<_> = (0..500).map(|n| (watcher.own.get(), format!("own {n}"))).collect();
    for (_, text) in &said {
        watcher.say(text).await;
    }
    for (watcher, from) in watchers.iter_mut().zip(from) {
        watcher.until_texts(from, said.len()).await;
        assert_eq!(texts(&watcher.log[from..]), said);
    }
}

async fn messages_of_several_senders_have_one_order(watchers: &mut [Watcher]) {
    let count = 200;
    let from: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
    for n in 0..count {
        for watcher in &*watchers {
            watcher.say(&format!("mixed {n}")).await;
        }
    }
    let all = count * watchers.len();
    for (watcher, from) in watchers.iter_mut().zip(&from) {
        watcher.until_texts(*from, all).await;
    }
    let heard: Vec<_> = watchers.iter().zip(&from).map(|(w, from)| texts(&w.log[*from..])).collect();
    for other in &heard[1..] {
        assert_eq!(other, &heard[0], "two nodes heard another order");
    }
    for watcher in watchers {
        let of_it = heard[0].iter().filter(|(from, _)| *from == watcher.own.get()).map(|(_, text)| text.clone());
        assert!(of_it.eq((0..count).map(|n| format!("mixed {n}"))), "messages of one sender lost their order");
    }
}

async fn a_big_message_comes_whole(watchers: &mut [Watcher]) {
    let body: Vec<u8> = (0..512u32 << 10).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for watcher in &*watchers {
        watcher.tell(ToEngine::Send(body.clone())).await;
    }
    let senders: Vec<_> = watchers.iter().map(|w| w.own).collect();
    for watcher in watchers {
        watcher
            .until("a big message of each node", 0, |log| {
                let whole = |sender| FromEngine::Message { from: sender, payload: body.clone() };
                senders.iter().all(|s| log.contains(&whole(*s)))
            })
            .await;
    }
}

fn nobody_hears_a_message_before_its_configuration(watchers: &[Watcher]) {
    for watcher in watchers {
        let mut current: Option<&Configuration> = None;
        for event in &watcher.log {
            match event {
                FromEngine::Configuration(next) => current = Some(next),
                FromEngine::Message { from, .. } => {
                    let current = current.expect("a message before any configuration");
                    assert!(current.attached.contains(from), "node {from} speaks and is not attached: {current:?}");
                }
                FromEngine::Ready { .. } | FromEngine::Unreachable(_) => current = None,
            }
        }
    }
}

/// What a node had, without the quorum, which is in no order with the messages, and without what then only repeats.
fn had(log: &[FromEngine]) -> Vec<FromEngine> {
    let mut last = None;
    let blind = |event: &FromEngine| match event {
        FromEngine::Configuration(c) => {
            let c = Configuration { quorate: true, ..c.clone() };
            (last.replace(c.clone()).as_ref() != Some(&c)).then_some(FromEngine::Configuration(c))
        }
        other => Some(other.clone()),
    };
    log.iter().filter_map(blind).collect()
}

/// Asserts that two nodes had the same, as far as both have heard, and gives back how many events those are.
fn assert_same(a: (&Watcher, &[FromEngine]), b: (&Watcher, &[FromEngine])) -> usize {
    let (ours, theirs) = (had(a.1), had(b.1));
    let both = ours.len().min(theirs.len());
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "event {n} of {both} differs between nodes {} and {}", a.0.own, b.0.own);
    }
    both
}

fn all_had_the_same_from_the_last_configuration_on(watchers: &[Watcher]) {
    let tail = |w: &Watcher| w.log.iter().rposition(|e| matches!(e, FromEngine::Configuration(_))).unwrap();
    for other in &watchers[1..] {
        let first = &watchers[0];
        assert!(assert_same((first, &first.log[tail(first)..]), (other, &other.log[tail(other)..])) > 1);
    }
}

async fn a_leave_ends_the_engine_and_shows_as_detached(watchers: &mut [Watcher]) {
    let (last, others) = watchers.split_last_mut().unwrap();
    let members: Vec<u32> = last.configuration().members.iter().map(|n| n.get()).collect();
    last.say("last words").await;
    last.tell(ToEngine::Leave).await;
    last.until_ended().await;
    let attached: Vec<u32> = others.iter().map(|w| w.own.get()).collect();
    for other in others {
        other.until("the last words", 0, |log| texts(log).iter().any(|(_, text)| text == "last words")).await;
        other.until_sees(&members, &attached, true).await;
    }
}

#[test]
fn solo_holds_to_the_suite() {
    run(async {
        let mut watchers = [Watcher::new(7, Box::new(Solo { own: id(7) }).start())];
        watchers[0].until_sees(&[7], &[7], true).await;
        suite(&mut watchers).await;
    });
}

#[test]
fn corosync_holds_to_the_suite() {
    three(async |_, watchers| suite(watchers).await);
}

#[test]
fn corosync_restarted_is_unreachable_then_ready_then_a_configuration() {
    three(async |nodes, watchers| {
        let from: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
        nodes.kill_corosync(2);
        watchers[1].until("unreachable", from[1], |log| log.iter().any(is_unreachable)).await;
        watchers[0].until_sees(&[1, 3], &[1, 3], true).await;
        watchers[2].until_sees(&[1, 3], &[1, 3], true).await;
        // A node that is lost leaves members and attached at once.
        for n in [0, 2] {
            let full = |c: &&Configuration| c.members == ids(ALL) && c.attached != ids(ALL);
            assert_eq!(configurations(&watchers[n].log[from[n]..]).find(full), None);
        }
        nodes.start_corosync(2);
        watchers[1].until("ready", from[1], |log| log.iter().any(|e| matches!(e, FromEngine::Ready { .. }))).await;
        all_see(watchers, ALL, ALL).await;
        let kinds = &watchers[1].log[from[1]..];
        let unreachable = kinds.iter().position(is_unreachable).unwrap();
        let ready = kinds.iter().position(|e| matches!(e, FromEngine::Ready { .. })).unwrap();
        let configured = kinds.iter().rposition(|e| matches!(e, FromEngine::Configuration(_))).unwrap();
        assert!(unreachable < ready && ready < configured, "{kinds:?}");
        suite(watchers).await;
    });
}

#[test]
fn corosync_helper_killed_changes_attached_and_not_members() {
    three(async |nodes, watchers| {
        let from: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
        nodes.kill_helper(3);
        watchers[2].until("unreachable", from[2], |log| log.iter().any(is_unreachable)).await;
        for n in [0, 1] {
            let gone = |c: &Configuration| c.attached == ids(&[1, 2]);
            watchers[n].until("detached", from[n], |log| configurations(log).any(gone)).await;
        }
        all_see(watchers, ALL, ALL).await;
        for (watcher, from) in watchers.iter().zip(from) {
            let rings: Vec<_> = configurations(&watcher.log[from..]).map(|c| (c.ring, c.members.clone())).collect();
            assert!(rings.iter().all(|(_, members)| *members == ids(ALL)), "{rings:?}");
            assert!(rings.windows(2).all(|two| two[0] == two[1]), "{rings:?}");
        }
        suite(watchers).await;
    });
}

#[test]
fn corosync_minority_is_not_quorate_and_comes_back() {
    three(async |nodes, watchers| {
        let from = watchers[2].log.len();
        nodes.cut(3);
        watchers[2].until_sees(&[3], &[3], false).await;
        watchers[0].until_sees(&[1, 2], &[1, 2], true).await;
        watchers[1].until_sees(&[1, 2], &[1, 2], true).await;
        assert!(watchers[2].log[from..].iter().all(|e| !is_unreachable(e)), "a cut is no fault of corosync");
        // It hears itself still, and the others nothing of it.
        watchers[2].say("alone").await;
        watchers[2].until("its own message", from, |log| texts(log).contains(&(3, "alone".into()))).await;
        nodes.heal(3);
        all_see(watchers, ALL, ALL).await;
        assert!(watchers[..2].iter().all(|w| texts(&w.log).is_empty()));
        suite(watchers).await;
    });
}

#[test]
fn corosync_fenced_node_is_out() {
    three(async |_, watchers| {
        let from = watchers[2].log.len();
        watchers[0].tell(ToEngine::Fence { node: id(3), reason: "a test".into() }).await;
        watchers[2].until("unreachable", from, |log| log.iter().any(is_unreachable)).await;
        watchers[0].until_sees(&[1, 2], &[1, 2], true).await;
        watchers[1].until_sees(&[1, 2], &[1, 2], true).await;
    });
}

/// All speak all the time while a helper and a corosync are killed and come back, and a link is cut and healed.
#[test]
fn corosync_nodes_that_stay_together_have_the_same_through_all_changes() {
    three(async |nodes, watchers| {
        let start: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
        let mut said = 0;
        for change in ["helper", "corosync", "corosync back", "cut", "heal"] {
            match change {
                "helper" => nodes.kill_helper(3),
                "corosync" => nodes.kill_corosync(3),
                "corosync back" => nodes.start_corosync(3),
                "cut" => nodes.cut(3),
                _ => nodes.heal(3),
            }
            let (members, attached) = match change {
                "corosync" | "cut" => (&[1, 2][..], &[1, 2][..]),
                _ => (ALL, ALL),
            };
            let begun = watchers[0].log.len();
            // Until the change shows: a killed helper is only gone for a moment.
            loop {
                for watcher in &*watchers {
                    watcher.say(&format!("{change} {said}")).await;
                }
                said += 1;
                for watcher in &mut watchers[..2] {
                    let from = watcher.log.len();
                    watcher.until("anything", from, |log| !log.is_empty()).await;
                }
                // It may have nothing to tell for long.
                watchers[2].take_what_is_there();
                // Enough messages to be between any two events of a change, and not so many that reading them is the test.
                tokio::time::sleep(Duration::from_millis(5)).await;
                if configurations(&watchers[0].log[begun..]).next().is_some() {
                    break;
                }
            }
            for n in [0, 1] {
                watchers[n].until_sees(members, attached, true).await;
            }
        }
        all_see(watchers, ALL, ALL).await;
        let last = FromEngine::Message { from: id(1), payload: "the end".into() };
        watchers[0].say("the end").await;
        for watcher in &mut *watchers {
            watcher.until("the end", 0, |log| log.last() == Some(&last)).await;
        }
        let [one, two, _] = watchers else { panic!("three nodes were started") };
        assert!(assert_same((one, &one.log[start[0]..]), (two, &two.log[start[1]..])) > said);
        nobody_hears_a_message_before_its_configuration(watchers);
        let rings = configurations(&watchers[0].log).map(|c| c.ring).collect::<Vec<_>>();
        assert!(rings.windows(2).all(|two| two[0].1 <= two[1].1), "the ring's sequence fell: {rings:?}");
    });
}

/// Prints how long it takes, from a kill and from a cut, until all others have the configuration without the node.
#[test]
#[ignore = "measures; run with: cargo test -p ssi-clusterd --test engine_conformance -- --ignored --nocapture"]
fn measure_how_fast_a_loss_is_agreed() {
    if let Some(why) = nodes::impossible() {
        println!("skipped: {why}");
        return;
    }
    for count in [3, 5] {
        run(async {
            let mut nodes = Nodes::start(count, "");
            let all: Vec<u32> = (1..=count).collect();
            let left: Vec<u32> = (1..count).collect();
            let mut watchers: Vec<Watcher> = all.iter().map(|n| nodes.engine(*n)).collect();
            all_see(&mut watchers, &all, &all).await;
            for round in 0..4 {
                for cut in [false, true] {
                    let begun = Instant::now();
                    if cut {
                        nodes.cut(count)
                    } else {
                        nodes.kill_corosync(count)
                    }
                    all_see(&mut watchers[..count as usize - 1], &left, &left).await;
                    let lost = begun.elapsed();
                    let begun = Instant::now();
                    if cut {
                        nodes.heal(count)
                    } else {
                        nodes.start_corosync(count)
                    }
                    all_see(&mut watchers, &all, &all).await;
                    let what = if cut { "cut" } else { "kill" };
                    println!("{count} nodes, round {round}, {what}: lost {lost:?}, back {:?}", begun.elapsed());
                }
            }
        });
    }
}

/// Prints how often healthy nodes lose each other while the machine has four times more to do than it can.
#[test]
#[ignore = "measures; run with: cargo test -p ssi-clusterd --test engine_conformance -- --ignored --nocapture"]
fn measure_false_evictions_under_load() {
    if let Some(why) = nodes::impossible() {
        println!("skipped: {why}");
        return;
    }
    run(async {
        let nodes = Nodes::start(3, "");
        let mut watchers: Vec<Watcher> = ALL.iter().map(|n| nodes.engine(*n)).collect();
        all_see(&mut watchers, ALL, ALL).await;
        let before: Vec<usize> = watchers.iter().map(|w| w.log.len()).collect();
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let load = nodes::Load::start(4 * processors);
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(load);
        for (watcher, before) in watchers.iter_mut().zip(before) {
            watcher.take_what_is_there();
            let changes = configurations(&watcher.log[before..]).count();
            println!("node {}: {changes} changes of configuration in 60 s under load", watcher.own);
        }
    });
}
