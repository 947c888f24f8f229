// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager's services are its parent's children, so that the parent reaps them when the manager is killed.
//!
//! The test runs itself twice: as the parent (PID 1's part), and below that as the manager.

mod scene;

use rustix::process::{Pid, WaitOptions, waitpid};
use scene::script;
use ssi_exec::spawn::{ChildOf, Launch, Spawner};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const PART: &str = "SSI_EXEC_TEST_PART";

fn again(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exits_reach_the_managers_parent", "--nocapture"]).env(PART, part);
    command
}

fn manager() {
    let mut spawner = Spawner::new(&scene::executor()).unwrap();
    for by_clone2 in [false, true] {
        if by_clone2 {
            spawner = spawner.without_clone3();
        }
        for status in [3, 4] {
            let mut launch = Launch::new(script(&format!("sleep 0.3; exit {status}")));
            launch.parent = ChildOf::CallersParent;
            launch.plan.streams.output = ssi_exec::plan::Output::Null;
            let spawned = spawner.spawn(&launch).unwrap();
            assert!(spawned.pidfd.is_some());
            println!("service {} {status}", spawned.pid.as_raw_nonzero());
        }
    }
    // A service that cannot even become the executor is the parent's to reap too.
    let mut broken = Spawner::new("/etc/passwd".as_ref()).unwrap();
    let mut launch = Launch::new(script(""));
    launch.parent = ChildOf::CallersParent;
    broken.spawn(&launch).unwrap_err();
    println!("ready");
    // Killed here, with all of them running.
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn parent() {
    let mut manager = again("manager").stdout(Stdio::piped()).spawn().unwrap();
    let mut services = Vec::new();
    for line in BufReader::new(manager.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["service", pid, status] => services.push((pid.parse::<i32>().unwrap(), status.parse::<i32>().unwrap())),
            ["ready"] => break,
            _ => {}
        }
    }
    manager.kill().unwrap();
    manager.wait().unwrap();
    assert_eq!(services.len(), 4);
    for (pid, status) in services {
        let (_, seen) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(seen.exit_status(), Some(status));
    }
    let (_, broken) = waitpid(None, WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(broken.exit_status(), Some(203));
    assert!(waitpid(None, WaitOptions::empty()).is_err(), "nobody is left");
}

#[test]
fn exits_reach_the_managers_parent() {
    match std::env::var(PART).as_deref() {
        Ok("manager") => manager(),
        Ok(_) => parent(),
        Err(_) => assert!(again("parent").status().unwrap().success()),
    }
}
