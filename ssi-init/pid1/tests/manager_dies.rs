// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever happens to the manager, process 1 keeps what it was given and loses no exit.

#[allow(dead_code, unreachable_pub)]
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scene::Scene;

/// The exits of the log: number -> (process, status). A repetition must say the same.
fn exits(log: &str) -> BTreeMap<u64, (i32, i32)> {
    let mut exits = BTreeMap::new();
    for line in log.lines() {
        // A manager that is killed while it writes across a page's end leaves the beginning of a line, to which the
        // next one's first line is joined; the exit of the torn line was not acknowledged, and is told again.
        if let Some((_, rest)) = line.rsplit_once("exit ") {
            let numbers: Vec<i64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
            let [seq, pid, code, status] = numbers[..] else { continue };
            assert_eq!(code, 1, "CLD_EXITED: {line}");
            let exit = (pid as i32, status as i32);
            assert_eq!(*exits.entry(seq as u64).or_insert(exit), exit, "a repetition says the same: {line}");
        }
    }
    exits
}

/// Every process that said it was born has exactly one exit, with its own status.
fn all_told(scene: &mut Scene, at_least: usize) -> usize {
    scene.until("the last exits", |scene| {
        // Nobody is left but the manager: all have been born and reaped. It may not have heard of the last yet.
        let children = format!("/proc/{0}/task/{0}/children", scene.pid1());
        let alone = std::fs::read_to_string(children).ok()?.split_whitespace().count() == 1;
        let born = scene.read("born").lines().count();
        (alone && born >= at_least && exits(&scene.read("log")).len() >= born).then_some(())
    });
    let mut born: Vec<(i32, i32)> = scene
        .read("born")
        .lines()
        .map(|line| line.split_once(' ').map(|(pid, status)| (pid.parse().unwrap(), status.parse().unwrap())).unwrap())
        .collect();
    let exits = exits(&scene.read("log"));
    let mut told: Vec<(i32, i32)> = exits.values().copied().collect();
    // What else was a child of process 1 and died: none in these scenes.
    born.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, born);
    assert!(exits.keys().copied().eq(0..exits.len() as u64), "numbered without a gap");
    born.len()
}

#[test]
fn a_thousand_deaths_lose_no_exit() {
    let mut scene = Scene::new(&["ssi.init.restart_max=0", "ssi.init.quick_deaths=0", "churn"]);
    let begun = Instant::now();
    scene.order("keep first a\nkeep second b\nsnapshot s");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut before = 0;
    for death in 1..=1000 {
        // The one that was killed may not have noticed yet.
        let manager =
            scene.until("the next manager", |scene| Some(scene.manager()).filter(|manager| *manager != before));
        before = manager;
        // Between nothing and 8 ms: before hello, in the handover, and in the midst of exits.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 8000));
        let killed = kill(Pid::from_raw(manager), Signal::SIGKILL);
        assert_eq!(killed, Ok(()), "it has ended by itself\n{}", scene.read("console"));
        if death % 100 == 50 {
            // Process 1 is replaced in the midst of it.
            scene.signal(15);
        }
    }
    std::fs::write(scene.file("stop"), "").unwrap();
    let last = scene.until("the last manager", |scene| Some(scene.manager()).filter(|manager| *manager != before));
    scene.order("ping 42");
    scene.heard("number: 42");
    let count = all_told(&mut scene, 1000);
    println!("1,000 managers killed in {:?}; {count} exits, none lost", begun.elapsed());
    let anew = scene.read("console").matches("process 1 was executed anew").count();
    assert!(anew >= 5, "process 1 was replaced {anew} times meanwhile");
    assert!(count > 1000, "there were exits in flight: {count}");
    assert_eq!(scene.manager(), last, "the last one lives");

    scene.order("exec");
    let kept = scene.until("what was kept", |scene| {
        let log = scene.read("log");
        let (_, after) = log.rsplit_once("Greeting")?;
        after.contains("over").then(|| after.to_owned())
    });
    for line in ["kept first a", "kept second b", "snapshot s"] {
        assert!(kept.contains(line), "{kept}");
    }
    assert!(scene.read("log").contains("starts: 1000"), "counted");
}

#[test]
fn what_is_kept_comes_back_and_the_snapshot_is_the_same_file() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order(
        "keep a one\nkeep b two\nkeep a three\nkeep c four\ndrop c\ndrop none\nsnapshot state\nappend -later\nping 7",
    );
    scene.heard("number: 7");
    scene.kill_manager();
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
    let log = scene.read("log");
    let (_, second) = log.rsplit_once("begun").unwrap();
    assert!(second.contains("starts: 1, kept: 2"), "{second}");
    let told: BTreeSet<&str> = second.lines().filter(|l| l.starts_with("kept") || l.starts_with("snapshot")).collect();
    assert_eq!(told, BTreeSet::from(["kept a three", "kept b two", "snapshot state-later"]));
    let exit = scene.read("console");
    assert!(exit.contains("has ended (signal 9); services run on, it is started again in 0 ms"), "{exit}");
}

#[test]
fn orphans_and_own_children_are_told_to_whoever_is_manager() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order("spawn 3\norphan 4\nspawn 5");
    assert_eq!(all_told(&mut scene, 3), 3);
    let statuses: BTreeSet<i32> = exits(&scene.read("log")).into_values().map(|(_, status)| status).collect();
    assert_eq!(statuses, BTreeSet::from([3, 4, 5]));
    // One that dies while there is no manager that reads.
    scene.order("spawn 6\nexit 0");
    assert_eq!(all_told(&mut scene, 4), 4);
}

#[test]
fn a_hung_manager_is_ended_and_replaced() {
    let mut scene = Scene::new(&["ssi.init.silence=700ms"]);
    scene.heard("over");
    // While it pings it is left alone.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(scene.count("begun"), 1);
    scene.order("keep a one\nhang");
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
    assert!(scene.read("log").contains("kept a one"));
    assert!(scene.read("console").contains("is silent for"), "{}", scene.read("console"));
}

#[test]
fn a_manager_that_stops_so_that_abort_does_nothing_is_killed() {
    let mut scene = Scene::new(&["ssi.init.silence=300ms"]);
    scene.heard("over");
    let manager = scene.manager();
    kill(Pid::from_raw(manager), Signal::SIGSTOP).unwrap();
    scene.until("the next manager", |scene| (scene.count("over") == 2).then_some(()));
}

#[test]
fn pauses_grow_and_a_manager_that_is_mended_is_taken_up() {
    let mut scene =
        Scene::with("cp /bin/false lab/manager", &["ssi.init.manager=/lab/manager", "ssi.init.restart_max=400ms"]);
    scene.until("some deaths", |scene| scene.read("console").contains("has died 5 times in a row").then_some(()));
    let console = scene.read("console");
    let pauses: Vec<&str> = console.lines().filter_map(|l| l.split_once("again in ")).map(|(_, ms)| ms).collect();
    assert_eq!(pauses[..5], ["0 ms", "100 ms", "200 ms", "400 ms", "400 ms"], "{console}");
    assert!(console.contains("for a shell press Enter here"), "{console}");
    let mended = scene.file("mended");
    std::fs::write(&mended, "#!/bin/sh\nexec /programs/examples/small_manager\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&mended, mode).unwrap();
    std::fs::rename(&mended, scene.file("manager")).unwrap();
    scene.heard("over");
}

#[test]
fn a_manager_that_sends_garbage_or_does_not_listen_harms_nobody() {
    let mut scene = Scene::new(&[]);
    scene.heard("over");
    scene.order("raw 00\nraw 6300080000000000\nraw 0200080000000000\nping 5");
    scene.heard("number: 5");
    assert_eq!(scene.count("Refused"), 3, "{}", scene.read("log"));
    scene.order("deaf");
    scene.order("ping 6");
    scene.heard("number: 6");
    assert_eq!(scene.count("begun"), 1, "the same manager");
    let counters = scene.heard("number: 6");
    assert!(counters.contains("allocations: 0"), "{counters}");
}
