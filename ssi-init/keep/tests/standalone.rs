// SPDX-License-Identifier: GPL-2.0-or-later
//! Without a process 1 the manager reaps by itself, as an ordinary process and as process 1 of a namespace.

#[allow(dead_code, unreachable_pub)]
mod scene;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scene::Scene;

fn counts_and_ends(own_namespace: bool) {
    let mut scene = Scene::standalone(own_namespace);
    scene.until("some exits", |scene| (scene.lines("born") > 500).then_some(()));
    let count = scene.all_counted();
    assert!(count > 500);
    assert!(scene.lines("compacted") > 0, "the log went through a compaction");
    kill(Pid::from_raw(scene.head), Signal::SIGUSR2).unwrap();
    scene.until("the signal", |scene| scene.read("heard").contains("number: 12").then_some(()));
    kill(Pid::from_raw(scene.head), Signal::SIGTERM).unwrap();
    assert_eq!(scene.end().code(), Some(3));
    assert_eq!(scene.read("heard").lines().last(), Some("Itself(3)"));
    assert_eq!(scene.read("broken"), "");
}

#[test]
fn as_an_ordinary_process() {
    counts_and_ends(false);
}

#[test]
fn as_process_1_of_a_namespace() {
    counts_and_ends(true);
}
