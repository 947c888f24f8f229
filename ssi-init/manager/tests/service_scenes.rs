// SPDX-License-Identifier: GPL-2.0-or-later
//! Services from their start to their end, on a machine that only writes down what it is asked.

mod double;

use double::World;
use ssi_manager::core::system::Exit;
use ssi_manager::job::{JobResult, Request};

const OK: Exit = Exit::Code(0);

fn service(text: &str) -> World {
    World::new(&[("a.service", &format!("[Service]\n{text}"))])
}

#[test]
fn a_simple_service_is_up_at_once_and_down_when_its_process_is() {
    let mut world = service("ExecStart=/bin/a --x\n");
    world.start("a.service");
    assert_eq!(world.state("a.service"), "active (running)");
    assert_eq!(world.results("a.service"), [JobResult::Done]);
    assert_eq!(world.lines(), ["/bin/a --x"]);
    assert_eq!(world.state.borrow().processes.values().next().unwrap().group, "system.slice/a.service");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state("a.service"), "not there", "nobody names it any more");
    assert!(!world.state.borrow().groups.contains("system.slice/a.service"));
}

#[test]
fn a_status_that_is_no_success_is_a_failure_and_is_kept_until_it_is_reset() {
    let mut world = service("ExecStart=/bin/a\n");
    world.start("a.service");
    world.exit(world.only("a.service"), Exit::Code(3));
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert!(world.logged("failed with result 'exit-code'"));
    let id = world.id("a.service");
    world.core.reset_failed(id);
    world.run();
    assert_eq!(world.state("a.service"), "not there");
}

#[test]
fn signals_that_ask_a_daemon_to_end_are_no_failure_and_listed_statuses_are_none() {
    for (more, exit, state) in [
        ("", Exit::Signal(15), "not there"),
        ("", Exit::Signal(11), "failed (failed)"),
        ("SuccessExitStatus=7 SIGUSR1\n", Exit::Code(7), "not there"),
        ("SuccessExitStatus=7 SIGUSR1\n", Exit::Signal(10), "not there"),
        ("", Exit::Dumped(6), "failed (failed)"),
    ] {
        let mut world = service(&format!("ExecStart=/bin/a\n{more}"));
        world.start("a.service");
        world.exit(world.only("a.service"), exit);
        assert_eq!(world.state("a.service"), state, "{more}{exit:?}");
    }
}

#[test]
fn all_lists_run_one_command_after_the_other() {
    let mut world = service(
        "Type=oneshot\nRemainAfterExit=yes\nExecCondition=/bin/c\nExecStartPre=/bin/p1\nExecStartPre=/bin/p2\nExecStart=/bin/s1\n\
         ExecStart=/bin/s2\nExecStartPost=/bin/q\nExecStop=/bin/t\nExecStopPost=/bin/u\n",
    );
    world.start("a.service");
    let states = ["condition", "start-pre", "start-pre", "start", "start", "start-post"];
    for state in states {
        assert_eq!(world.state("a.service"), format!("activating ({state})"));
        assert_eq!(world.results("a.service"), []);
        world.exit(world.only("a.service"), OK);
    }
    assert_eq!(world.state("a.service"), "active (exited)");
    assert_eq!(world.results("a.service"), [JobResult::Done]);
    world.stop("a.service");
    assert_eq!(world.state("a.service"), "deactivating (stop)");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state("a.service"), "deactivating (stop-post)");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.results("a.service"), [JobResult::Done; 2]);
    assert_eq!(world.lines(), ["/bin/c", "/bin/p1", "/bin/p2", "/bin/s1", "/bin/s2", "/bin/q", "/bin/t", "/bin/u"]);
}

#[test]
fn a_condition_command_that_says_no_is_no_failure() {
    for (code, state, job) in [(1, "not there", JobResult::Done), (255, "failed (failed)", JobResult::Failed)] {
        let mut world = service("Type=oneshot\nExecCondition=/bin/c\nExecStart=/bin/a\nExecStopPost=/bin/after\n");
        world.start("a.service");
        world.exit(world.only("a.service"), Exit::Code(code));
        if let [(pid, line)] = &world.live("a.service")[..] {
            assert_eq!(line, "/bin/after");
            world.exit(*pid, OK);
        }
        assert_eq!((world.state("a.service").as_str(), world.results("a.service")), (state, vec![job]), "{code}");
        assert!(!world.lines().contains(&"/bin/a".to_owned()));
    }
}

#[test]
fn a_dash_lets_a_command_fail() {
    let mut world = service("ExecStartPre=-/bin/p\nExecStart=/bin/a\n");
    world.start("a.service");
    world.exit(world.only("a.service"), Exit::Code(1));
    assert_eq!(world.state("a.service"), "active (running)");
    let mut world = service("ExecStartPre=/bin/p\nExecStart=/bin/a\n");
    world.start("a.service");
    world.exit(world.only("a.service"), Exit::Code(1));
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert_eq!(world.results("a.service"), [JobResult::Failed]);
}

#[test]
fn a_notify_service_is_up_when_it_says_so() {
    let mut world = service("Type=notify\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    assert_eq!(world.state("a.service"), "activating (start)");
    world.notify(pid, "STATUS=nearly there");
    assert_eq!(world.state("a.service"), "activating (start)");
    world.notify(pid, "READY=1\nSTATUS=there");
    assert_eq!(world.state("a.service"), "active (running)");
    let id = world.id("a.service");
    assert_eq!(world.core.unit(id).runtime.kind.service().status_text.as_deref(), Some("there"));
}

#[test]
fn only_who_may_speaks_for_a_service() {
    let mut world = service("Type=notify\nExecStart=/bin/a\n");
    world.start("a.service");
    let child = world.fork(world.only("a.service"));
    world.notify(child, "READY=1");
    assert_eq!(world.state("a.service"), "activating (start)");
    assert!(world.logged("NotifyAccess=main does not let it"));
    let mut world = service("Type=notify\nNotifyAccess=all\nExecStart=/bin/a\n");
    world.start("a.service");
    let child = world.fork(world.only("a.service"));
    world.notify(child, "READY=1");
    assert_eq!(world.state("a.service"), "active (running)");
}

#[test]
fn a_notify_service_that_ends_before_it_is_ready_broke_its_promise() {
    let mut world = service("Type=notify\nExecStart=/bin/a\n");
    world.start("a.service");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert!(world.logged("result 'protocol'"));
}

#[test]
fn a_forking_service_is_up_when_its_parent_is_gone_and_its_child_is_the_main_process() {
    let mut world = service("Type=forking\nExecStart=/bin/a\n");
    world.start("a.service");
    let parent = world.only("a.service");
    let daemon = world.fork(parent);
    assert_eq!(world.state("a.service"), "activating (start)");
    world.exit(parent, OK);
    assert_eq!(world.state("a.service"), "active (running)");
    let id = world.id("a.service");
    assert_eq!(world.core.processes_of(id).0.map(|pid| pid.0), Some(daemon));
    world.exit(daemon, OK);
    assert_eq!(world.state("a.service"), "not there");
}

#[test]
fn a_pid_file_may_come_late_and_names_only_a_process_of_the_service() {
    let mut world = World::new(&[
        ("a.service", "[Service]\nType=forking\nPIDFile=/run/a.pid\nExecStart=/bin/a\n"),
        ("b.service", "[Service]\nExecStart=/bin/b\n"),
    ]);
    world.start("b.service");
    let stranger = world.only("b.service");
    world.start("a.service");
    let parent = world.only("a.service");
    let (daemon, _worker) = (world.fork(parent), world.fork(parent));
    world.state.borrow_mut().pid_files.insert("/run/a.pid".into(), stranger);
    world.exit(parent, OK);
    assert_eq!(world.state("a.service"), "activating (start)", "the file names somebody else's process");
    assert!(world.state.borrow().watched_pid_files.contains("a.service"));
    world.state.borrow_mut().pid_files.insert("/run/a.pid".into(), daemon);
    world.core.handle(ssi_manager::core::Event::PidFileChanged(double::name("a.service")));
    world.run();
    assert_eq!(world.state("a.service"), "active (running)");
    let id = world.id("a.service");
    assert_eq!(world.core.processes_of(id).0.map(|pid| pid.0), Some(daemon));
    assert!(world.state.borrow().watched_pid_files.is_empty());
}

#[test]
fn a_start_that_takes_too_long_is_ended_and_killed() {
    let mut world = service("Type=notify\nTimeoutStartSec=10\nTimeoutStopSec=5\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    world.pass(9.9);
    assert_eq!(world.signals(), []);
    world.pass(0.2);
    assert_eq!((world.state("a.service").as_str(), world.signals()), ("deactivating (stop-sigterm)", vec![(pid, 15)]));
    world.pass(5.0);
    assert_eq!(
        (world.state("a.service").as_str(), world.signals()),
        ("deactivating (stop-sigkill)", vec![(pid, 15), (pid, 9)])
    );
    world.exit(pid, Exit::Signal(9));
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert!(world.logged("result 'timeout'"));
}

#[test]
fn a_service_may_ask_for_more_time() {
    let mut world = service("Type=notify\nTimeoutStartSec=10\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    world.pass(8.0);
    world.notify(pid, "EXTEND_TIMEOUT_USEC=7000000");
    world.pass(6.0);
    assert_eq!(world.state("a.service"), "activating (start)");
    world.pass(1.5);
    assert_eq!(world.state("a.service"), "deactivating (stop-sigterm)");
}

#[test]
fn it_is_started_again_until_it_was_too_often() {
    let mut world = World::new(&[(
        "a.service",
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=60\n[Service]\nRestart=on-failure\nRestartSec=2\nExecStart=/bin/a\n",
    )]);
    world.start("a.service");
    for run in 0..3 {
        assert_eq!(world.state("a.service"), "active (running)", "run {run}");
        world.exit(world.only("a.service"), Exit::Code(1));
        assert_eq!(world.state("a.service"), "activating (auto-restart)");
        world.pass(2.0);
    }
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert_eq!(world.lines().len(), 3);
    assert!(world.logged("was started too often"));
    let id = world.id("a.service");
    world.core.reset_failed(id);
    world.start("a.service");
    assert_eq!(world.state("a.service"), "active (running)");
}

#[test]
fn who_stops_a_service_means_it() {
    let mut world = service("Restart=always\nExecStart=/bin/a\n");
    world.state.borrow_mut().obedient = true;
    world.start("a.service");
    world.stop("a.service");
    world.pass(10.0);
    assert_eq!((world.state("a.service").as_str(), world.lines().len()), ("not there", 1));
    // In the pause before a restart as well.
    world.start("a.service");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    world.stop("a.service");
    world.pass(10.0);
    assert_eq!((world.state("a.service").as_str(), world.lines().len()), ("not there", 2));
}

#[test]
fn what_decides_on_a_restart() {
    for (restart, exit, again) in [
        ("no", Exit::Code(1), false),
        ("on-success", OK, true),
        ("on-success", Exit::Code(1), false),
        ("on-success", Exit::Signal(15), true),
        ("on-failure", OK, false),
        ("on-failure", Exit::Signal(9), true),
        ("on-abnormal", Exit::Code(1), false),
        ("on-abnormal", Exit::Signal(9), true),
        ("on-abort", Exit::Dumped(6), true),
        ("always", OK, true),
        ("always\nRestartPreventExitStatus=4", Exit::Code(4), false),
        ("no\nRestartForceExitStatus=4", Exit::Code(4), true),
    ] {
        let mut world = service(&format!("Restart={restart}\nExecStart=/bin/a\n"));
        world.start("a.service");
        world.exit(world.only("a.service"), exit);
        world.pass(1.0);
        assert_eq!(world.lines().len(), 1 + usize::from(again), "Restart={restart}, {exit:?}");
    }
}

#[test]
fn a_watchdog_that_is_not_fed_bites() {
    let mut world = service("Type=notify\nWatchdogSec=10\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    world.notify(pid, "READY=1");
    for _ in 0..5 {
        world.pass(8.0);
        world.notify(pid, "WATCHDOG=1");
    }
    assert_eq!(world.state("a.service"), "active (running)");
    world.pass(10.0);
    assert_eq!((world.state("a.service").as_str(), world.signals()), ("deactivating (stop-watchdog)", vec![(pid, 6)]));
    world.exit(pid, Exit::Dumped(6));
    assert_eq!(world.state("a.service"), "failed (failed)");
    assert!(world.logged("result 'watchdog'"));
}

#[test]
fn modes_of_ending_its_processes() {
    for (mode, asked, killed) in [
        ("control-group", vec!["main", "child"], vec!["main", "child"]),
        ("mixed", vec!["main"], vec!["main", "child"]),
        ("process", vec!["main"], vec!["main"]),
        ("none", vec![], vec![]),
    ] {
        let mut world = service(&format!("KillMode={mode}\nTimeoutStopSec=5\nExecStart=/bin/a\n"));
        world.start("a.service");
        let main = world.only("a.service");
        let child = world.fork(main);
        let who = |pid: u32| if pid == main { "main" } else { "child" };
        world.stop("a.service");
        let got: Vec<&str> = world.signals().iter().map(|(pid, _)| who(*pid)).collect();
        assert_eq!(got, asked, "{mode}");
        world.state.borrow_mut().signals.clear();
        world.pass(5.0);
        let got: Vec<&str> =
            world.signals().iter().filter(|(_, signal)| *signal == 9).map(|(pid, _)| who(*pid)).collect();
        assert_eq!(got, killed, "{mode}");
        assert!(world.state.borrow().processes[&child].alive);
    }
}

#[test]
fn a_reload_runs_its_command_and_its_failure_is_no_failure_of_the_service() {
    let mut world = service("ExecStart=/bin/a\nExecReload=/bin/r $MAINPID\n");
    world.start("a.service");
    let main = world.only("a.service");
    for (code, result) in [(0, JobResult::Done), (1, JobResult::Failed)] {
        world.request(Request::Reload, "a.service");
        assert_eq!(world.state("a.service"), "reloading (reload)");
        let reload = world.live("a.service").into_iter().find(|(pid, _)| *pid != main).unwrap().0;
        assert_eq!(world.state.borrow().processes[&reload].environment["MAINPID"], main.to_string());
        world.exit(reload, Exit::Code(code));
        assert_eq!(world.state("a.service"), "active (running)");
        assert_eq!(world.results("a.service").last(), Some(&result));
    }
}

#[test]
fn a_notify_reload_service_is_asked_by_signal_and_says_when_it_has_reloaded() {
    let mut world = service("Type=notify-reload\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    world.notify(pid, "READY=1");
    world.request(Request::Reload, "a.service");
    assert_eq!((world.state("a.service").as_str(), world.signals()), ("reloading (reload-signal)", vec![(pid, 1)]));
    world.notify(pid, "RELOADING=1\nMONOTONIC_USEC=1");
    assert_eq!(world.state("a.service"), "reloading (reload-signal)", "that is about an earlier one");
    world.notify(pid, "RELOADING=1\nMONOTONIC_USEC=99000000");
    assert_eq!(world.state("a.service"), "reloading (reload-notify)");
    world.notify(pid, "READY=1");
    assert_eq!(world.state("a.service"), "active (running)");
    assert_eq!(world.results("a.service"), [JobResult::Done; 2]);
}

#[test]
fn a_service_says_that_it_goes() {
    let mut world = service("Type=notify\nTimeoutStopSec=5\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    world.notify(pid, "READY=1");
    world.notify(pid, "STOPPING=1");
    assert_eq!((world.state("a.service").as_str(), world.signals()), ("deactivating (stop-sigterm)", vec![]));
    world.exit(pid, OK);
    assert_eq!(world.state("a.service"), "not there");
}

#[test]
fn the_stop_commands_know_how_it_ended() {
    let mut world = service("ExecStart=/bin/a\nExecStopPost=/bin/after\n");
    world.start("a.service");
    world.exit(world.only("a.service"), Exit::Signal(11));
    let after = world.only("a.service");
    let environment = world.state.borrow().processes[&after].environment.clone();
    let told = ["SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"].map(|name| environment[name].clone());
    assert_eq!(told, ["signal", "killed", "SEGV"]);
}

#[test]
fn no_process_to_be_had_is_a_failure_and_no_loop() {
    let mut world = service("Restart=on-failure\nRestartSec=1\nExecStart=/bin/a\n");
    world.state.borrow_mut().no_processes = true;
    world.start("a.service");
    assert_eq!(world.results("a.service"), [JobResult::Failed]);
    world.state.borrow_mut().no_processes = false;
    world.pass(1.0);
    assert_eq!(world.state("a.service"), "active (running)");
}

#[test]
fn stored_descriptors_come_back_at_the_next_start() {
    use ssi_manager::core::Event;
    use ssi_manager::core::service::Notification;
    use ssi_manager::core::system::{FdKey, Pid};
    let mut world = service("FileDescriptorStoreMax=1\nRestart=always\nRestartSec=1\nExecStart=/bin/a\n");
    world.start("a.service");
    let pid = world.only("a.service");
    let keys = vec![FdKey("one".into()), FdKey("two".into())];
    world.state.borrow_mut().open.extend(keys.iter().cloned());
    world.core.handle(Event::Notified(Notification::parse(Some(Pid(pid)), b"FDSTORE=1\nFDNAME=x", keys)));
    assert_eq!(world.state.borrow().open.len(), 1, "more than one is not kept");
    world.exit(pid, OK);
    world.pass(1.0);
    let again = world.only("a.service");
    assert_eq!(world.state.borrow().processes[&again].stored, [(FdKey("one".into()), "x".to_owned())]);
    world.state.borrow_mut().obedient = true;
    world.stop("a.service");
    assert_eq!(world.state.borrow().open.len(), 0, "a service that is down keeps none");
}

#[test]
fn requirements_orders_and_failures_carry_on() {
    let mut world = World::new(&[
        ("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/a\n"),
        ("b.service", "[Unit]\nOnFailure=c.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/b\n"),
        ("c.service", "[Service]\nExecStart=/bin/c\n"),
    ]);
    world.start("a.service");
    assert_eq!(world.lines(), ["/bin/b"], "a waits");
    world.exit(world.only("b.service"), Exit::Code(1));
    assert_eq!(world.results("a.service"), [JobResult::Dependency]);
    assert_eq!(world.lines(), ["/bin/b", "/bin/c"]);
    world.start("a.service");
    world.exit(world.only("b.service"), OK);
    assert_eq!(
        (world.state("a.service"), world.state("b.service")),
        ("active (running)".into(), "active (exited)".into())
    );
    // What a requires goes down with a before it.
    world.state.borrow_mut().obedient = true;
    world.stop("b.service");
    assert_eq!((world.state("a.service"), world.state("b.service")), ("not there".into(), "not there".into()));
}

#[test]
fn bound_units_go_together_upheld_ones_come_back_and_unneeded_ones_go() {
    let mut world = World::new(&[
        ("a.service", "[Unit]\nBindsTo=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/a\n"),
        ("b.service", "[Service]\nExecStart=/bin/b\n"),
        ("up.target", "[Unit]\nUpholds=kept.service\nWants=needed.service\n"),
        ("kept.service", "[Service]\nExecStart=/bin/kept\n"),
        ("needed.service", "[Unit]\nStopWhenUnneeded=yes\n[Service]\nExecStart=/bin/needed\n"),
    ]);
    world.state.borrow_mut().obedient = true;
    world.start("a.service");
    world.exit(world.only("b.service"), OK);
    assert_eq!(world.state("a.service"), "not there", "b went without a job");
    world.start("up.target");
    assert_eq!(world.state("kept.service"), "active (running)");
    world.exit(world.only("kept.service"), OK);
    assert_eq!(world.state("kept.service"), "active (running)", "again");
    assert_eq!(world.state("needed.service"), "active (running)");
    world.stop("up.target");
    assert_eq!(world.state("needed.service"), "not there");
}

#[test]
fn conditions_and_assertions() {
    let unit = |line: &str| format!("[Unit]\n{line}\n[Service]\nExecStart=/bin/a\n");
    for (line, result, ran) in [
        ("ConditionPathExists=/not", JobResult::Done, false),
        ("ConditionPathExists=!/not", JobResult::Done, true),
        ("AssertPathExists=/not", JobResult::Assert, false),
        ("ConditionPathExists=/there", JobResult::Done, true),
    ] {
        let mut world = World::new(&[("a.service", &unit(line))]);
        world.state.borrow_mut().false_conditions.insert("/not".into());
        world.start("a.service");
        assert_eq!((world.results("a.service"), world.lines().len()), (vec![result], usize::from(ran)), "{line}");
    }
}

#[test]
fn another_manager_goes_on_where_one_stopped() {
    let mut world = World::new(&[
        ("a.service", "[Service]\nRestart=always\nRestartSec=5\nExecStart=/bin/a\n"),
        ("n.service", "[Service]\nType=notify\nTimeoutStartSec=20\nExecStart=/bin/n\n"),
        ("last.service", "[Unit]\nAfter=n.service\n[Service]\nExecStart=/bin/last\n"),
        ("f.service", "[Service]\nExecStart=/bin/f\n"),
    ]);
    for unit in ["a.service", "n.service", "last.service", "f.service"] {
        world.core.request(unit, Request::Start, ssi_manager::job::JobMode::Replace).unwrap();
    }
    world.run();
    world.exit(world.only("f.service"), Exit::Code(1));
    world.exit(world.only("a.service"), OK);
    world.pass(3.0);
    world.replace_manager();
    assert_eq!(world.state("f.service"), "failed (failed)");
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    assert_eq!(world.state("n.service"), "activating (start)");
    assert!(!world.lines().contains(&"/bin/last".to_owned()), "its job still waits");
    world.pass(2.0);
    assert_eq!(world.state("a.service"), "active (running)", "two of five seconds were left");
    world.replace_manager();
    world.notify(world.only("n.service"), "READY=1");
    assert_eq!(world.state("n.service"), "active (running)");
    assert_eq!(world.state("last.service"), "active (running)");
    world.replace_manager();
    world.exit(world.only("last.service"), Exit::Code(9));
    assert_eq!(world.state("last.service"), "failed (failed)", "its end is heard of by whoever is manager");
}

#[test]
fn names_that_are_one_unit_are_one_unit_with_one_job() {
    let mut world = World::new(&[
        ("a.service", "[Unit]\nWants=alias.service\n[Service]\nExecStart=/bin/a\n"),
        ("b.service", "[Service]\nExecStart=/bin/b\n[Install]\nAlias=alias.service\n"),
    ]);
    // No link yet: the other name is nobody's.
    world.start("a.service");
    assert_eq!(world.lines(), ["/bin/a"]);
    assert!(world.core.request("alias.service", Request::Start, ssi_manager::job::JobMode::Replace).is_err());
}

// ---- targets -----------------------------------------------------------------------------------------------------

#[test]
fn a_target_comes_after_what_it_wants_and_not_after_what_wants_it() {
    let mut world = World::new(&[
        ("t.target", "[Unit]\nWants=a.service\n"),
        ("a.service", "[Service]\nType=oneshot\nExecStart=/bin/a\n"),
        ("own.service", "[Unit]\nDefaultDependencies=no\nWants=t.target\n[Service]\nExecStart=/bin/own\n"),
        ("loose.target", "[Unit]\nDefaultDependencies=no\nWants=b.service\n"),
        ("b.service", "[Service]\nType=oneshot\nExecStart=/bin/b\n"),
    ]);
    world.start("own.service");
    assert_eq!(world.state("own.service"), "active (running)", "nothing orders it");
    assert_eq!(world.state("t.target"), "inactive (dead)");
    let pid = world.only("a.service");
    world.exit(pid, OK);
    assert_eq!(world.state("t.target"), "active (active)");
    world.start("loose.target");
    assert_eq!(world.state("loose.target"), "active (active)", "it asked for no order");
    assert_eq!(world.state("b.service"), "activating (start)");
}
