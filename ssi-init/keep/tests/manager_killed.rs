// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager that is killed again and again below the real process 1: its log is whole, each exit counts once, what is
//! kept comes back.

#[allow(dead_code, unreachable_pub)]
mod scene;

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scene::Scene;

#[test]
fn three_hundred_kills_lose_nothing_and_count_nothing_twice() {
    let mut scene = Scene::with_process_1(&["ssi.init.restart_max=0", "ssi.init.quick_deaths=0"]);
    scene.until("the first batch", |scene| scene.file("told").exists().then_some(()));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut before = 0;
    for _ in 0..300 {
        let manager = scene.until("the next manager", |scene| scene.manager().filter(|manager| *manager != before));
        before = manager;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Mostly in the midst of its work, sometimes while it loads.
        std::thread::sleep(Duration::from_micros(random % 40_000));
        assert_eq!(scene.read("broken"), "");
        kill(Pid::from_raw(manager), Signal::SIGKILL).unwrap();
    }
    let count = scene.all_counted();
    assert_eq!(scene.read("broken"), "");
    let (compacted, dropped) = (scene.lines("compacted"), scene.lines("dropped"));
    println!("{count} exits counted once, {compacted} compactions, {dropped} torn ends dropped");
    assert!(count > 300 && compacted > 20, "{count} exits, {compacted} compactions");
}

#[test]
fn one_that_executes_itself_anew_goes_on() {
    let mut scene = Scene::with_process_1(&[]);
    for times in 1..=20 {
        scene.until("it to begin", |scene| (scene.lines("begun") == times).then_some(()));
        std::thread::sleep(Duration::from_millis(3 * times as u64));
        scene.touch("exec");
    }
    scene.until("the last to begin", |scene| (scene.lines("begun") == 21).then_some(()));
    let manager = scene.manager();
    scene.all_counted();
    assert_eq!(scene.read("broken"), "");
    assert_eq!(scene.manager(), manager);
    assert!(scene.read("begun").lines().all(|line| line.contains("starts 0 ")), "{}", scene.read("begun"));
}

#[test]
fn one_that_has_nothing_to_say_pings_in_time() {
    let mut scene = Scene::with_process_1(&["ssi.init.silence=1"]);
    scene.until("it to begin", |scene| (scene.lines("begun") == 1).then_some(()));
    scene.all_counted();
    let before = scene.lines("heard");
    std::thread::sleep(Duration::from_millis(3200));
    assert_eq!((scene.lines("begun"), scene.read("broken").as_str()), (1, ""), "{}", scene.read("console"));
    let pongs = scene.lines("heard") - before;
    assert!((9..=14).contains(&pongs), "every quarter of a second: {pongs}");
}

#[test]
fn signals_to_process_1_are_heard() {
    let mut scene = Scene::with_process_1(&[]);
    scene.until("it to begin", |scene| (scene.lines("begun") == 1).then_some(()));
    kill(Pid::from_raw(scene.head), Signal::SIGUSR1).unwrap();
    scene.until("the signal", |scene| scene.read("heard").contains("number: 10").then_some(()));
}
