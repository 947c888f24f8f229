// SPDX-License-Identifier: GPL-2.0-or-later
//! A launcher's processes are its parent's children unless told, so that process 1 reaps them when the manager dies.
//!
//! The test runs itself: as the parent, which stands for process 1, and below that as the manager.

mod scene;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ssi_launch::{Launcher, Messages, Request};

const PART: &str = "SSI_LAUNCH_TEST_PART";

fn again(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exits_reach_the_managers_parent", "--nocapture"]).env(PART, part);
    command
}

fn manager() {
    let mut stage = scene::Stage::new();
    let unit = scene::unit("a.service", "[Service]\nStandardOutput=null\nExecStart=/bin/sh -c 'sleep 0.5; exit 7'\n");
    let group = stage.group_of(&unit);
    let mut launcher = Launcher::new(&scene::executor(), stage.tree.root())
        .unwrap()
        .below(stage.root.path())
        .messages(Messages::Silent);
    let command = scene::main_command(&unit);
    let request = Request::new(&unit.id, &unit.config, command, &group, &stage.environment);
    let mut launched = launcher.launch(&request).unwrap();
    scene::reports(&mut launched);
    println!("service {} {}", launched.pid, stage.group);
    // The stage is left as it is: the manager is killed here.
    std::thread::sleep(std::time::Duration::from_secs(1000));
}

fn parent() {
    let mut manager = again("manager").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(manager.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("service ")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    manager.kill().unwrap();
    manager.wait().unwrap();
    assert_eq!(scene::wait(words[1].parse().unwrap()), 7);
    let mut tree = scene::tree();
    assert!(scene::until(|| tree.remove(words[2]).is_ok()));
}

#[test]
fn exits_reach_the_managers_parent() {
    match std::env::var(PART).as_deref() {
        Ok("manager") => manager(),
        Ok(_) => parent(),
        Err(_) => assert!(again("parent").status().unwrap().success()),
    }
}
