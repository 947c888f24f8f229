// SPDX-License-Identifier: GPL-2.0-or-later
//! Control groups on the running kernel: born in them, signalled, watched, frozen, removed; and limits, as far as the
//! machine's tree has controllers. The limits that it has none for are named by the test, not passed over.

mod scene;

use std::os::fd::AsFd;

use scene::{Stage, finish, reports, unit, until, wait};
use ssi_launch::Outcome;
use ssi_launch::cgroup::{CgroupError, Cgroups, GroupEvent};

fn sleeper(script: &str) -> ssi_unit::load::Loaded {
    unit("sleeper.service", &format!("[Service]\nStandardOutput=null\nExecStart=/bin/sh -c '{script}'\n"))
}

fn readable(watch: &impl AsFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
    let long = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&long)).unwrap() == 1
}

#[test]
fn a_process_is_born_in_its_group_and_the_group_tells_when_it_is_empty() {
    let mut stage = Stage::new();
    let unit = sleeper("sleep 1000 & sleep 1000");
    let group = stage.group_of(&unit);
    let mut watch = stage.tree.watch().unwrap();
    let mut launched = stage.launch(&unit, |_| {});
    watch.add(&group).unwrap();
    assert_eq!(stage.tree.group_of(launched.pid), Some(group.clone()));
    assert_eq!(reports(&mut launched).0, Outcome::Running);
    assert!(until(|| stage.tree.processes(&group).len() == 3), "{:?}", stage.tree.processes(&group));
    assert!(stage.tree.populated(&group) && stage.tree.processes(&group).contains(&launched.pid));
    assert!(watch.read().is_empty());

    // SIGTERM to all but the main process: the group is not empty by that.
    assert_eq!(stage.tree.kill(&group, 15, &[launched.pid]).unwrap(), 2);
    assert_eq!(wait(launched.pid), 143, "the shell waits for its last command, which was told to end");
    let mut empty = Vec::new();
    while empty.is_empty() {
        assert!(readable(&watch), "nothing was told within ten seconds");
        empty = watch.read();
    }
    assert_eq!(empty, std::slice::from_ref(&group));
    assert!(!stage.tree.populated(&group));
    stage.tree.remove(&group).unwrap();
    assert!(!stage.tree.exists(&group) && watch.events().is_empty());
}

#[test]
fn what_forks_all_the_time_is_killed_as_a_whole() {
    let mut stage = Stage::new();
    let unit = sleeper("while true; do sleep 1000 & sleep 0.001; done");
    for signal in [9, 34] {
        let launched = stage.launch(&unit, |_| {});
        let group = stage.tree.group_of(launched.pid).unwrap();
        assert!(
            until(|| stage.tree.processes(&group).len() > 5),
            "signal {signal}: {:?}",
            stage.tree.processes(&group)
        );
        // 34 is the first real-time signal, which no library names.
        assert!(stage.tree.kill(&group, signal, &[]).unwrap() >= 4);
        assert_eq!(wait(launched.pid), 128 + signal);
        assert!(until(|| !stage.tree.populated(&group)), "signal {signal}");
    }
}

#[test]
fn subgroups_are_made_and_go_with_their_group() {
    let mut stage = Stage::new();
    let unit = sleeper("sleep 1000");
    let launched = stage.launch(&unit, |request| request.subgroup = Some(".control"));
    let group = format!("{}/sleeper.service", stage.group);
    assert_eq!(stage.tree.group_of(launched.pid), Some(format!("{group}/.control")));
    assert!(stage.tree.populated(&group));
    let refused = stage.tree.remove(&group).unwrap_err();
    assert_eq!((refused.attempt, refused.errno), ("remove", rustix::io::Errno::BUSY));
    stage.tree.kill(&group, 9, &[]).unwrap();
    assert_eq!(finish(launched).status, 137);
    stage.tree.remove(&group).unwrap();
    stage.tree.remove(&group).unwrap();
}

#[test]
fn processes_are_moved_and_frozen() {
    let mut stage = Stage::new();
    let launched = stage.launch(&sleeper("sleep 1000"), |_| {});
    let there = format!("{}/other", stage.group);
    stage.tree.make_plain(&there).unwrap();
    // A number that no process has is passed over.
    stage.tree.move_to(&there, &[4_194_304, launched.pid]).unwrap();
    assert_eq!(stage.tree.group_of(launched.pid), Some(there.clone()));
    stage.tree.freeze(&there, true).unwrap();
    assert!(until(|| stage.tree.figure_of(&there, "cgroup.events", "frozen") == Some(1)));
    stage.tree.freeze(&there, false).unwrap();
    stage.tree.kill(&there, 9, &[]).unwrap();
    assert_eq!(wait(launched.pid), 137);
    let error: CgroupError = stage.tree.move_to("no/such/group", &[1]).unwrap_err();
    assert_eq!(error.errno, rustix::io::Errno::NOENT);
}

#[test]
fn a_sub_tree_is_a_tree() {
    let mut stage = Stage::new();
    let mut inner = Cgroups::at(&stage.tree.path(&stage.group)).unwrap();
    let unit = sleeper("sleep 1000");
    inner.make("system.slice/sleeper.service", unit.config.cgroup().unwrap()).unwrap();
    let launched = {
        let mut launcher = ssi_launch::Launcher::new(&scene::executor(), inner.root())
            .unwrap()
            .children_of(ssi_launch::ChildOf::Caller)
            .below(stage.root.path());
        let command = scene::main_command(&unit);
        let group = "/system.slice/sleeper.service";
        let request = ssi_launch::Request::new(&unit.id, &unit.config, command, group, &stage.environment);
        launcher.launch(&request).unwrap()
    };
    assert_eq!(inner.group_of(launched.pid).as_deref(), Some("system.slice/sleeper.service"));
    assert_eq!(inner.group_of(1), None, "process 1 is not below it");
    assert_eq!(
        stage.tree.group_of(launched.pid),
        Some(format!("{}/system.slice/sleeper.service", stage.group)),
        "the whole tree knows it by its longer name"
    );
    stage.tree.kill(&stage.group, 9, &[]).unwrap();
    assert_eq!(finish(launched).status, 137);
    assert!(inner.make("../escape", unit.config.cgroup().unwrap()).is_err());
    stage.launcher.remove_directories(&unit.id, &unit.config, false);
}

#[test]
fn a_delegated_group_belongs_to_the_user() {
    use std::os::unix::fs::MetadataExt;
    let mut stage = Stage::new();
    let text = "[Service]\nUser=nobody\nDelegate=yes\nStandardOutput=null\n\
                ExecStart=/bin/sh -c 'mkdir \"$0\"/mine && echo $$$$ >\"$0\"/mine/cgroup.procs && sleep 1000' ";
    let group = format!("{}/sleeper.service", stage.group);
    let unit = unit("sleeper.service", &format!("{text}{}\n", stage.tree.path(&group).display()));
    let launched = stage.launch(&unit, |_| {});
    assert!(until(|| stage.tree.group_of(launched.pid) == Some(format!("{group}/mine"))));
    assert_eq!(std::fs::metadata(stage.tree.path(&group)).unwrap().uid(), 65534);
    stage.tree.kill(&group, 9, &[]).unwrap();
    assert_eq!(finish(launched).status, 137);
    stage.tree.hand_over(&group, 1, 1).unwrap();
    assert_eq!(std::fs::metadata(stage.tree.path(&group).join("cgroup.procs")).unwrap().uid(), 1);
}

/// Settings, the file that they are written to, and what the kernel says of it then.
const LIMITS: [(&str, &str, &str, &str); 11] = [
    ("memory", "MemoryMax=64M", "memory.max", "67108864"),
    ("memory", "MemoryHigh=32M", "memory.high", "33554432"),
    ("memory", "MemoryLow=8M", "memory.low", "8388608"),
    ("memory", "MemoryMin=4M", "memory.min", "4194304"),
    ("memory", "MemorySwapMax=0", "memory.swap.max", "0"),
    ("pids", "TasksMax=17", "pids.max", "17"),
    ("cpu", "CPUWeight=20", "cpu.weight", "20"),
    ("cpu", "CPUQuota=20%", "cpu.max", "20000 100000"),
    ("cpuset", "AllowedCPUs=0", "cpuset.cpus", "0"),
    ("io", "IOWeight=300", "io.weight", "default 300"),
    ("io", "IOWeight=200", "io.weight", "default 200"),
];

#[test]
fn limits_are_in_force_where_the_tree_has_the_controller_and_told_where_not() {
    let mut stage = Stage::new();
    let (mut applied, mut missing) = (Vec::new(), Vec::new());
    for (number, (controller, setting, file, value)) in LIMITS.into_iter().enumerate() {
        let text = format!("[Service]\nExecStart=/bin/true\n{setting}\n");
        let unit = unit("limited.service", &text);
        // In a slice of its own: the controller has to come down two levels.
        let group = format!("{}/slice{number}.slice/limited.service", stage.group);
        let warnings = stage.tree.make(&group, unit.config.cgroup().unwrap()).unwrap();
        let key = setting.split_inclusive('=').next().unwrap();
        let told = warnings.iter().any(|text| text.starts_with(key));
        // io.weight and memory.swap.max are there only where the kernel was built with them.
        let there = stage.tree.path(&group).join(file).exists();
        if there {
            assert!(!told, "{warnings:?}");
            let found = std::fs::read_to_string(stage.tree.path(&group).join(file)).unwrap();
            assert_eq!(found.lines().next().unwrap().trim(), value, "{setting}");
            // A reload without it takes it away again.
            let plain = scene::unit("limited.service", "[Service]\nExecStart=/bin/true\nTasksMax=infinity\n");
            stage.tree.make(&group, plain.config.cgroup().unwrap()).unwrap();
            let found = std::fs::read_to_string(stage.tree.path(&group).join(file)).unwrap();
            assert_ne!(found.lines().next().unwrap_or_default().trim(), value, "{setting} stays");
            applied.push(setting);
        } else {
            let has = stage.tree.controllers().iter().any(|name| name == controller);
            assert!(
                !has || matches!(file, "io.weight" | "memory.swap.max"),
                "{setting}: {controller} was not handed down"
            );
            assert!(told || file == "pids.max", "{setting} is not applied, and nobody says so: {warnings:?}");
            missing.push(setting);
        }
    }
    eprintln!("applied: {applied:?}");
    eprintln!("NOT SHOWN, as this machine's tree has not got the controllers (told as warnings): {missing:?}");
}

#[test]
fn the_kernel_kills_at_the_limit_of_memory_and_the_watch_tells() {
    let mut stage = Stage::new();
    if !stage.tree.controllers().iter().any(|name| name == "memory") {
        eprintln!("NOT SHOWN: this machine's tree has no memory controller");
        return;
    }
    let text = "[Service]\nStandardOutput=null\nMemoryMax=16M\nMemorySwapMax=0\n\
                ExecStart=/bin/sh -c 'sleep 0.3; head -c 200M /dev/zero | tail -n 1'\n";
    let unit = unit("hungry.service", text);
    let launched = stage.launch(&unit, |_| {});
    let group = stage.tree.group_of(launched.pid).unwrap();
    stage.tree.set_oom_group(&group, true).unwrap();
    let mut watch = stage.tree.watch().unwrap();
    watch.add(&group).unwrap();
    assert_eq!(finish(launched).status, 137);
    let mut events = Vec::new();
    while !events.contains(&GroupEvent::Empty(group.clone())) {
        assert!(readable(&watch), "{events:?}");
        events.extend(watch.events());
    }
    assert!(events.contains(&GroupEvent::OutOfMemory(group)), "{events:?}");
}

#[test]
fn tasks_beyond_the_limit_are_refused() {
    let mut stage = Stage::new();
    if !stage.tree.controllers().iter().any(|name| name == "pids") {
        eprintln!("NOT SHOWN: this machine's tree has no pids controller");
        return;
    }
    let text = "[Service]\nTasksMax=4\nStandardOutput=null\nStandardError=null\n\
                ExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait'\n";
    let unit = unit("many.service", text);
    let launched = stage.launch(&unit, |_| {});
    let group = stage.tree.group_of(launched.pid).unwrap();
    assert_ne!(finish(launched).status, 0, "the shell ends where it cannot fork");
    assert!(stage.tree.figure_of(&group, "pids.events", "max").unwrap() > 0);
}

#[test]
fn devices_have_a_line_each_and_lose_it() {
    use std::os::unix::fs::MetadataExt;
    let mut stage = Stage::new();
    if !stage.tree.controllers().iter().any(|name| name == "io") {
        eprintln!("NOT SHOWN: this machine's tree has no io controller");
        return;
    }
    let make = |stage: &mut Stage, line: &str| {
        let unit = unit("disk.service", &format!("[Service]\nExecStart=/bin/true\n{line}\n"));
        let group = format!("{}/disk.service", stage.group);
        let warnings = stage.tree.make(&group, unit.config.cgroup().unwrap()).unwrap();
        let text = std::fs::read_to_string(stage.tree.path(&group).join("io.max")).unwrap();
        (warnings, text.trim().to_owned())
    };
    if rustix::fs::major(std::fs::metadata("/").unwrap().dev()) == 0 {
        eprintln!("NOT SHOWN: / is on no disk here");
    } else {
        let (warnings, text) = make(&mut stage, "IOReadBandwidthMax=/ 5M\nIOWriteIOPSMax=/ 100");
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(text.ends_with("rbps=5000000 wbps=max riops=max wiops=100"), "{text}");
        assert_eq!(make(&mut stage, "").1, "");
    }
    let (warnings, text) = make(&mut stage, "IOReadBandwidthMax=/proc 5M");
    assert!(warnings.len() == 1 && warnings[0].contains("/proc") && text.is_empty(), "{warnings:?} {text}");
}

#[test]
fn slices_hand_down_what_they_say_and_keep_what_they_disable() {
    let mut stage = Stage::new();
    if !stage.tree.controllers().iter().any(|name| name == "memory") {
        eprintln!("NOT SHOWN: this machine's tree has no memory controller");
        return;
    }
    let slice = unit("part.slice", "[Slice]\nDefaultMemoryLow=4M\nDisableControllers=pids\n");
    let service = unit("in.service", "[Service]\nExecStart=/bin/true\n");
    let above = format!("{}/part.slice", stage.group);
    let below = format!("{above}/in.service");
    stage.tree.make(&above, slice.config.cgroup().unwrap()).unwrap();
    stage.tree.make(&below, service.config.cgroup().unwrap()).unwrap();
    assert_eq!(stage.tree.figure(&below, "memory.low"), Some(4 << 20));
    assert!(stage.tree.path(&above).join("pids.max").exists());
    assert!(!stage.tree.path(&below).join("pids.max").exists());
    let told = unit("in.service", "[Service]\nExecStart=/bin/true\nMemoryLow=0\n");
    stage.tree.make(&below, told.config.cgroup().unwrap()).unwrap();
    assert_eq!(stage.tree.figure(&below, "memory.low"), Some(0));
}
