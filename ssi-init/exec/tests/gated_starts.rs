// SPDX-License-Identifier: GPL-2.0-or-later
//! A program that waits for its manager's word begins once or not at all, whatever becomes of the manager.

mod scene;

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use scene::{executor, script};
use ssi_exec::report::Outcome;
use ssi_exec::spawn::{Launch, Spawned, Spawner, release};

struct Start {
    mark: tempfile::TempDir,
    spawned: Spawned,
}

fn start() -> Start {
    let mark = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(script(&format!("echo begun >>{}/mark; exit 4", mark.path().display())));
    launch.gated = true;
    let spawned = Spawner::new(&executor()).unwrap().spawn(&launch).unwrap();
    Start { mark, spawned }
}

impl Start {
    fn begun(&self) -> usize {
        std::fs::read_to_string(self.mark.path().join("mark")).unwrap_or_default().lines().count()
    }

    /// Until it sleeps: at its gate, since nothing else lets it.
    fn at_its_gate(&self) {
        let stat = format!("/proc/{}/stat", self.spawned.pid.as_raw_nonzero());
        let place = format!("/proc/{}/wchan", self.spawned.pid.as_raw_nonzero());
        let begun = Instant::now();
        while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", std::fs::read_to_string(&place));
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    fn status(&self) -> Option<i32> {
        let (_, status) = waitpid(Some(self.spawned.pid), WaitOptions::empty()).unwrap().unwrap();
        status.exit_status()
    }
}

#[test]
fn it_begins_at_the_managers_word() {
    let mut start = start();
    start.at_its_gate();
    assert_eq!(start.begun(), 0);
    release(start.spawned.reports.as_ref().unwrap().as_fd()).unwrap();
    assert_eq!(start.spawned.wait_reports().1, Outcome::Running);
    assert_eq!((start.status(), start.begun()), (Some(4), 1));
}

#[test]
fn the_word_may_come_before_it_waits() {
    let mut start = start();
    release(start.spawned.reports.as_ref().unwrap().as_fd()).unwrap();
    assert_eq!(start.spawned.wait_reports().1, Outcome::Running);
    assert_eq!((start.status(), start.begun()), (Some(4), 1));
}

#[test]
fn without_a_manager_it_waits_for_the_next_ones_signal() {
    let mut start = start();
    start.at_its_gate();
    drop(start.spawned.reports.take());
    start.at_its_gate();
    assert_eq!(start.begun(), 0);
    kill_process(start.spawned.pid, Signal::CONT).unwrap();
    assert_eq!((start.status(), start.begun()), (Some(4), 1));
}

#[test]
fn a_next_manager_can_end_it_before_it_begins() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut start = start();
        drop(start.spawned.reports.take());
        start.at_its_gate();
        kill_process(start.spawned.pid, signal).unwrap();
        assert_eq!((start.status(), start.begun()), (None, 0));
    }
}

#[test]
fn a_start_that_fails_does_not_wait() {
    let mut launch = Launch::new(script("true"));
    launch.plan.command.program = "/nowhere/prog".into();
    launch.gated = true;
    let mut spawned = Spawner::new(&executor()).unwrap().spawn(&launch).unwrap();
    assert!(matches!(spawned.wait_reports().1, Outcome::Failed(_)));
    let (_, status) = waitpid(Some(spawned.pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(203));
    // Whoever gives the word then finds nobody, and is not hurt.
    let _ = spawned.reports.as_ref().map(|channel| release(channel.as_fd()));
}
