// SPDX-License-Identifier: GPL-2.0-or-later
//! Sockets: who connects gets a service, and is not turned away by anything that happens to the manager meanwhile.

mod double;

use double::{World, name};
use ssi_manager::core::Event;
use ssi_manager::core::socket::{SocketResult, SocketRuntime};
use ssi_manager::core::system::{Exit, FdKey, Peer};
use ssi_manager::job::{JobResult, Request};

const OK: Exit = Exit::Code(0);
const SERVICE: &str = "[Service]\nExecStart=/bin/a\n";

fn key(text: &str) -> FdKey {
    FdKey(text.to_owned())
}

/// `a.socket` with these lines, and `a.service`.
fn files(lines: &str) -> World {
    World::new(&[("a.socket", &format!("[Socket]\nListenStream=/run/a\n{lines}")), ("a.service", SERVICE)])
}

/// The same, listening.
fn listening(lines: &str) -> World {
    let mut world = files(lines);
    world.start("a.socket");
    assert_eq!(world.state("a.socket"), "active (listening)");
    world
}

/// `a.socket` of `Accept=yes` with these lines, listening, and `a@.service`.
fn accepting(lines: &str) -> World {
    let socket = format!("[Socket]\nListenStream=22\nAccept=yes\n{lines}");
    let service =
        "[Unit]\nDescription=One call\n[Service]\nStandardInput=socket\nExecStartPre=/bin/pre\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.socket", &socket), ("a@.service", service)]);
    world.start("a.socket");
    assert_eq!(world.state("a.socket"), "active (listening)");
    world
}

fn runtime(world: &World) -> SocketRuntime {
    world.core.unit(world.id("a.socket")).runtime.kind.socket().clone()
}

fn connections(world: &World) -> usize {
    ssi_manager::core::socket::connections(&world.core, world.id("a.socket")).count()
}

/// The names of the instances that have a process, with it.
fn instances(world: &World) -> Vec<(String, u32)> {
    let state = world.state.borrow();
    let alive = state.processes.iter().filter(|(_, process)| process.alive);
    alive.map(|(pid, process)| (process.unit.clone(), *pid)).collect()
}

#[test]
fn who_connects_starts_the_service_which_gets_the_ports_by_name() {
    let mut world = files("ListenDatagram=/run/b\nFileDescriptorName=talk\n");
    world.start("a.socket");
    assert_eq!(world.results("a.socket"), [JobResult::Done]);
    assert_eq!(world.lines(), [""; 0]);
    assert!(world.connect("a.socket", 1));
    assert_eq!(world.state("a.socket"), "active (running)");
    assert_eq!(world.state("a.service"), "active (running)");
    let pid = world.only("a.service");
    let passed = world.state.borrow().processes[&pid].sockets.clone();
    let talk = |number: u32| (key(&format!("socket/a.socket/{number}")), "talk".to_owned());
    assert_eq!(passed, [talk(0), talk(1)]);
    assert!(!world.connect("a.socket", 0), "that is the service's business now");
    world.exit(pid, OK);
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert!(world.connect("a.socket", 0), "what waits there starts it once more");
    assert_eq!(world.live("a.service").len(), 1);
}

#[test]
fn a_service_that_is_started_by_hand_gets_the_ports_of_all_its_sockets() {
    let mut world = World::new(&[
        ("a.socket", "[Socket]\nListenStream=/run/a\n"),
        ("b.socket", "[Socket]\nListenFIFO=/run/b\nService=a.service\nFileDescriptorName=second\n"),
        ("c.socket", "[Socket]\nListenStream=1\nService=a.service\n"),
        ("d.socket", "[Socket]\nListenStream=2\n"),
        ("a.service", "[Service]\nExecStart=/bin/a\nSockets=d.socket\n"),
        ("d.service", SERVICE),
    ]);
    for socket in ["a.socket", "b.socket"] {
        world.start(socket);
    }
    world.start("a.service");
    let pid = world.only("a.service");
    let mut names: Vec<String> =
        world.state.borrow().processes[&pid].sockets.iter().map(|(_, name)| name.clone()).collect();
    names.sort();
    assert_eq!(names, ["a.socket", "d.socket", "second"], "c.socket is not up, and d.socket is pulled in");
    assert_eq!(world.state("b.socket"), "active (running)");
    assert_eq!(world.state("d.socket"), "active (running)");
    world.start("d.service");
    assert_eq!(world.live("d.service").len(), 1);
}

#[test]
fn a_socket_is_not_put_below_a_service_that_is_up() {
    let mut world = files("");
    world.start("a.service");
    world.start("a.socket");
    assert_eq!(world.results("a.socket"), [JobResult::Failed]);
    assert!(world.logged("its service a.service is up already"));
    assert!(world.state.borrow().open.is_empty());
    assert_eq!(world.state("a.socket"), "not there");
}

#[test]
fn a_socket_without_a_service_does_not_start() {
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/run/a\n")]);
    world.start("a.socket");
    assert_eq!(world.results("a.socket"), [JobResult::Failed]);
    assert!(world.state.borrow().open.is_empty());
}

#[test]
fn a_service_that_waits_for_its_restart_is_no_hindrance() {
    let service = "[Service]\nExecStart=/bin/a\nRestart=always\nRestartSec=5\n";
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/run/a\n"), ("a.service", service)]);
    world.start("a.service");
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    world.start("a.socket");
    assert_eq!(world.state("a.socket"), "active (listening)");
    // It is on its way up, so nothing is asked for; and then it is up.
    assert!(world.connect("a.socket", 0));
    assert_eq!(world.state("a.socket"), "active (running)");
    assert_eq!(world.live("a.service"), []);
    world.pass(5.0);
    let pid = world.only("a.service");
    assert_eq!(world.state.borrow().processes[&pid].sockets, [(key("socket/a.socket/0"), "a.socket".to_owned())]);
    assert_eq!(world.state("a.socket"), "active (running)");
}

#[test]
fn all_commands_run_in_their_order_and_the_ports_are_open_between_them() {
    let mut world = files(
        "ExecStartPre=/bin/p1\nExecStartPre=/bin/p2\nExecStartPost=/bin/q\nExecStopPre=/bin/t\nExecStopPost=/bin/u\n",
    );
    world.start("a.socket");
    for (state, open) in [("start-pre", 0), ("start-pre", 0), ("start-post", 1)] {
        assert_eq!(world.state("a.socket"), format!("activating ({state})"));
        assert_eq!(world.state.borrow().open.len(), open, "{state}");
        assert!(world.state.borrow().watched_ports.is_empty());
        assert_eq!(world.results("a.socket"), []);
        world.exit(world.only("a.socket"), OK);
    }
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert_eq!(world.state.borrow().watched_ports.len(), 1);
    world.stop("a.socket");
    for (state, open) in [("stop-pre", 1), ("stop-post", 0)] {
        assert_eq!(world.state("a.socket"), format!("deactivating ({state})"));
        assert_eq!(world.state.borrow().open.len(), open, "{state}");
        assert!(world.state.borrow().watched_ports.is_empty());
        world.exit(world.only("a.socket"), OK);
    }
    assert_eq!(world.results("a.socket"), [JobResult::Done; 2]);
    assert_eq!(world.lines(), ["/bin/p1", "/bin/p2", "/bin/q", "/bin/t", "/bin/u"]);
    assert!(world.state.borrow().groups.iter().all(|group| !group.ends_with("a.socket")));
}

#[test]
fn a_command_that_fails_is_the_end_of_it_unless_it_may() {
    for (lines, exit, result, ran) in [
        ("ExecStartPre=/bin/p\nExecStopPost=/bin/u\n", Exit::Code(2), "exit-code", vec!["/bin/p"]),
        ("ExecStartPost=/bin/q\nExecStopPost=/bin/u\n", Exit::Signal(15), "signal", vec!["/bin/q", "/bin/u"]),
        ("ExecStartPost=/bin/q\n", Exit::Dumped(6), "core-dump", vec!["/bin/q"]),
    ] {
        let mut world = files(lines);
        world.start("a.socket");
        world.exit(world.only("a.socket"), exit);
        if let [(pid, _)] = world.live("a.socket")[..] {
            world.exit(pid, OK);
        }
        assert_eq!(world.state("a.socket"), "failed (failed)", "{lines}");
        assert_eq!(runtime(&world).result.word(), result);
        assert_eq!(world.lines(), ran);
        assert_eq!(world.results("a.socket"), [JobResult::Failed]);
        assert!(world.state.borrow().open.is_empty());
    }
    let mut world = files("ExecStartPre=-/bin/p\n");
    world.start("a.socket");
    world.exit(world.only("a.socket"), Exit::Code(1));
    assert_eq!(world.state("a.socket"), "active (listening)");
}

#[test]
fn a_command_that_takes_too_long_is_ended_then_killed_then_left() {
    let mut world = files("ExecStartPre=/bin/p\nTimeoutSec=10\n");
    world.start("a.socket");
    let pid = world.only("a.socket");
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "deactivating (final-sigterm)");
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "deactivating (final-sigkill)");
    assert_eq!(world.signals(), [(pid, 15), (pid, 9)]);
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(runtime(&world).result, SocketResult::Timeout);
    // The stop commands, with a group that may not be killed.
    let mut world = listening("ExecStopPre=/bin/t\nExecStopPost=/bin/u\nTimeoutSec=10\nSendSIGKILL=no\n");
    world.stop("a.socket");
    let first = world.only("a.socket");
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "deactivating (stop-pre-sigterm)");
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "deactivating (stop-post)");
    let second = world.live("a.socket").iter().find(|(_, line)| line == "/bin/u").unwrap().0;
    world.pass(10.0);
    assert_eq!(world.state("a.socket"), "deactivating (final-sigterm)");
    world.exit(second, Exit::Signal(15));
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(world.signals(), [(first, 9), (second, 15), (first, 15)]);
}

#[test]
fn a_stop_in_the_middle_of_its_start_ends_the_command() {
    let mut world = files("ExecStartPost=/bin/q\nExecStopPre=/bin/t\n");
    world.start("a.socket");
    let pid = world.only("a.socket");
    world.stop("a.socket");
    assert_eq!(world.state("a.socket"), "deactivating (stop-pre-sigterm)");
    assert_eq!(world.state.borrow().open.len(), 1);
    assert_eq!(world.signals(), [(pid, 9)]);
    world.exit(pid, Exit::Signal(9));
    assert!(world.state.borrow().open.is_empty());
    assert_eq!(world.lines(), ["/bin/q"]);
    assert_eq!((world.state("a.socket").as_str(), runtime(&world).result), ("failed (failed)", SocketResult::Signal));
    assert_eq!(world.results("a.socket"), [JobResult::Canceled, JobResult::Done]);
}

#[test]
fn without_ports_or_processes_it_fails() {
    let mut world = files("ExecStopPre=/bin/t\n");
    world.state.borrow_mut().no_ports = true;
    world.start("a.socket");
    world.exit(world.only("a.socket"), OK);
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(runtime(&world).result, SocketResult::Resources);
    assert!(world.logged("cannot listen: opening the ports of a.socket: the test does not let it"));
    let mut world = files("ExecStartPre=/bin/p\n");
    world.state.borrow_mut().no_processes = true;
    world.start("a.socket");
    assert_eq!(runtime(&world).result, SocketResult::Resources);
    assert_eq!(world.results("a.socket"), [JobResult::Failed]);
    let id = world.id("a.socket");
    world.core.reset_failed(id);
    world.run();
    assert_eq!(world.state("a.socket"), "not there");
}

#[test]
fn its_end_leaves_the_service_and_the_paths_unless_they_are_to_go() {
    for (lines, removed) in [("", false), ("RemoveOnStop=yes\n", true)] {
        let mut world = listening(lines);
        world.connect("a.socket", 0);
        world.stop("a.socket");
        assert_eq!(world.state("a.service"), "active (running)");
        assert!(world.state.borrow().open.is_empty());
        let said = world.state.borrow().removed.contains(&"ports of a.socket".to_owned());
        assert_eq!(said, removed);
    }
}

#[test]
fn what_waits_is_dropped_where_that_is_asked_for() {
    let mut world = listening("FlushPending=yes\n");
    assert_eq!(world.state.borrow().flushed, [key("socket/a.socket/0")]);
    world.connect("a.socket", 0);
    world.exit(world.only("a.service"), OK);
    assert!(world.state.borrow().flushed.len() > 1, "and again when the service is down");
    let mut world = listening("");
    world.connect("a.socket", 0);
    world.exit(world.only("a.service"), OK);
    assert_eq!(world.state.borrow().flushed, []);
}

#[test]
fn who_connects_to_a_socket_that_is_to_be_stopped_is_dropped() {
    let mut world = World::new(&[
        ("a.socket", "[Socket]\nListenStream=/run/a\n"),
        ("a.service", SERVICE),
        ("d.service", "[Unit]\nAfter=a.socket\nPartOf=a.socket\n[Service]\nExecStart=/bin/d\n"),
    ]);
    world.start("a.socket");
    world.start("d.service");
    // The stop of the socket waits for that of what is ordered after it.
    world.stop("a.socket");
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert!(world.connect("a.socket", 0));
    assert_eq!(world.state.borrow().flushed, [key("socket/a.socket/0")]);
    assert_eq!(world.live("a.service"), []);
    world.exit(world.only("d.service"), OK);
    assert!(world.state.borrow().open.is_empty());
}

#[test]
fn a_service_that_takes_nothing_from_the_port_ends_it() {
    let mut world = listening("");
    // Each time it ends and leaves what is there: five starts are allowed in ten seconds.
    for _ in 0..5 {
        assert!(world.connect("a.socket", 0));
        world.exit(world.only("a.service"), OK);
        assert_eq!(world.state("a.socket"), "active (listening)");
    }
    world.connect("a.socket", 0);
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(runtime(&world).result, SocketResult::ServiceStartLimitHit);
    assert_eq!(world.state("a.service"), "failed (failed)");
}

#[test]
fn too_many_triggers_end_it() {
    let service = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/a\n";
    for (lines, burst) in [("", 20), ("TriggerLimitBurst=3\n", 3)] {
        let socket = format!("[Socket]\nListenStream=/run/a\n{lines}");
        let mut world = World::new(&[("a.socket", &socket), ("a.service", service)]);
        world.start("a.socket");
        for round in 0..=burst {
            assert!(world.connect("a.socket", 0), "{round}");
            if round < burst {
                world.exit(world.only("a.service"), OK);
            }
        }
        assert_eq!(world.state("a.socket"), "failed (failed)");
        assert_eq!((runtime(&world).result, runtime(&world).refused), (SocketResult::TriggerLimitHit, 1));
        assert_eq!(world.lines().len(), burst);
    }
    // Two seconds later the count begins anew.
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/run/a\n"), ("a.service", service)]);
    world.start("a.socket");
    for _ in 0..60 {
        assert!(world.connect("a.socket", 0));
        world.exit(world.only("a.service"), OK);
        world.pass(0.11);
    }
    assert_eq!(world.state("a.socket"), "active (listening)");
}

#[test]
fn started_too_often_it_fails() {
    let mut world = files("");
    for _ in 0..5 {
        world.start("a.socket");
        // Kept in the table by nothing but its socket, it would forget its count.
        world.core.load(&name("a.socket"));
        let id = world.id("a.socket");
        world.core.unit_mut(id).runtime.held_by.insert("a client".to_owned());
        world.stop("a.socket");
    }
    world.start("a.socket");
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(runtime(&world).result, SocketResult::StartLimitHit);
}

#[test]
fn each_connection_gets_an_instance_of_its_own() {
    let mut world = accepting("");
    assert!(world.connect_from("a.socket", "10.0.0.2", 5000));
    assert!(world.connect_from("a.socket", "10.0.0.3", 6000));
    assert_eq!(world.state("a.socket"), "active (listening)");
    let [first, second] = ["a@0-10.0.0.1:22-10.0.0.2:5000.service", "a@1-10.0.0.1:22-10.0.0.3:6000.service"];
    let names: Vec<String> = instances(&world).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [first, second]);
    assert_eq!((connections(&world), runtime(&world).accepted), (2, 2));
    // Every command of it talks over the connection.
    for pid in [world.only(first), {
        world.exit(world.only(first), OK);
        world.only(first)
    }] {
        let process = world.state.borrow().processes[&pid].clone();
        assert_eq!(process.sockets, [(key("socket/a.socket/connection/0"), "connection".to_owned())]);
        assert_eq!(
            (process.environment["REMOTE_ADDR"].as_str(), process.environment["REMOTE_PORT"].as_str()),
            ("10.0.0.2", "5000")
        );
    }
    assert_eq!(world.core.unit(world.id(first)).description(), "One call (10.0.0.2:5000)");
    world.exit(world.only(first), OK);
    assert_eq!(world.state(first), "not there");
    assert_eq!(connections(&world), 1);
    assert!(!world.state.borrow().open.contains(&key("socket/a.socket/connection/0")));
    assert!(world.state.borrow().open.contains(&key("socket/a.socket/connection/1")));
}

#[test]
fn a_local_client_is_told_by_process_and_user() {
    let mut world = accepting("");
    let peer = Peer { instance: "812-1000".to_owned(), address: None, port: None };
    world.state.borrow_mut().waiting.push_back(Ok(peer));
    world.connect("a.socket", 0);
    let pid = world.only("a@0-812-1000.service");
    assert!(!world.state.borrow().processes[&pid].environment.contains_key("REMOTE_ADDR"));
    let id = world.id("a@0-812-1000.service");
    assert_eq!(world.core.unit(id).description(), "One call (PID 812/UID 1000)");
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let mut world = accepting("MaxConnections=3\nMaxConnectionsPerSource=2\n");
    for port in 1..=3 {
        world.connect_from("a.socket", "10.0.0.2", port);
    }
    assert_eq!((connections(&world), runtime(&world).refused), (2, 1));
    assert!(world.logged("there are 2 connections from 10.0.0.2 already"));
    world.connect_from("a.socket", "10.0.0.3", 4);
    world.connect_from("a.socket", "10.0.0.4", 5);
    assert_eq!((connections(&world), runtime(&world).refused, runtime(&world).accepted), (3, 2, 3));
    assert_eq!(world.state.borrow().connections.len(), 3, "those that were refused are closed");
    let (_, pid) = instances(&world)[0];
    world.exit(pid, Exit::Code(1));
    assert_eq!(connections(&world), 2, "a failed instance has none");
    world.connect_from("a.socket", "10.0.0.2", 6);
    assert_eq!(connections(&world), 3);
    assert_eq!(world.state("a.socket"), "active (listening)");
}

#[test]
fn a_client_that_is_gone_is_no_failure_and_a_broken_port_is() {
    for errno in [11, 4, 103, 107] {
        let mut world = accepting("");
        world.state.borrow_mut().waiting.push_back(Err(errno));
        world.connect("a.socket", 0);
        assert_eq!(world.state("a.socket"), "active (listening)", "{errno}");
        assert_eq!((runtime(&world).accepted, runtime(&world).refused), (0, 0));
    }
    let mut world = accepting("");
    world.state.borrow_mut().waiting.push_back(Err(24));
    world.connect("a.socket", 0);
    assert_eq!(runtime(&world).result, SocketResult::Resources);
    assert_eq!(world.state("a.socket"), "failed (failed)");
}

#[test]
fn a_connection_whose_service_cannot_be_started_is_closed() {
    // No template at all.
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=22\nAccept=yes\n")]);
    world.start("a.socket");
    world.connect_from("a.socket", "10.0.0.2", 1);
    assert_eq!(runtime(&world).result, SocketResult::Resources);
    assert!(world.state.borrow().open.is_empty());
    // A requirement that is not there.
    let socket = "[Socket]\nListenStream=22\nAccept=yes\n";
    let service = "[Unit]\nRequires=gone.service\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.socket", socket), ("a@.service", service)]);
    world.start("a.socket");
    world.connect_from("a.socket", "10.0.0.2", 1);
    assert_eq!(runtime(&world).result, SocketResult::Resources);
    assert!(world.state.borrow().open.is_empty());
    // A condition that does not hold: that is no failure of the socket's.
    let service = "[Unit]\nConditionPathExists=/no\n[Service]\nExecStart=/bin/a\n";
    let mut world = World::new(&[("a.socket", socket), ("a@.service", service)]);
    world.state.borrow_mut().false_conditions.insert("/no".to_owned());
    world.start("a.socket");
    world.connect_from("a.socket", "10.0.0.2", 1);
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert_eq!((connections(&world), world.state.borrow().connections.len()), (0, 0));
    assert_eq!(world.state("a@0-10.0.0.1:22-10.0.0.2:1.service"), "not there");
}

#[test]
fn a_restart_of_an_instance_goes_on_with_its_connection_and_a_failure_does_not() {
    let mut world = accepting("");
    world.connect_from("a.socket", "10.0.0.2", 1);
    let unit = "a@0-10.0.0.1:22-10.0.0.2:1.service";
    world.exit(world.only(unit), OK);
    world.state.borrow_mut().obedient = true;
    world.request(Request::Restart, unit);
    let pid = world.only(unit);
    assert_eq!(
        world.state.borrow().processes[&pid].sockets,
        [(key("socket/a.socket/connection/0"), "connection".to_owned())]
    );
    assert_eq!(connections(&world), 1);
    world.exit(pid, Exit::Code(1));
    assert_eq!(world.state(unit), "failed (failed)");
    assert_eq!((connections(&world), world.state.borrow().connections.len()), (0, 0));
}

#[test]
fn the_socket_outlives_its_file_as_long_as_there_are_connections() {
    let mut world = accepting("");
    world.connect_from("a.socket", "10.0.0.2", 1);
    world.stop("a.socket");
    assert_eq!(world.state("a.socket"), "inactive (dead)", "a connection of it is open");
    assert_eq!(connections(&world), 1);
    world.exit(instances(&world)[0].1, OK);
    world.exit(instances(&world)[0].1, OK);
    assert_eq!(world.state("a.socket"), "not there");
}

#[test]
fn a_reload_keeps_what_is_open() {
    let mut world = listening("ListenStream=/run/b\n");
    let other = "[Socket]\nListenStream=/run/b\nListenStream=/run/c\nFileDescriptorName=new\n";
    world.rewrite(&[("a.socket", Some(other))]);
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert!(world.logged("asks for ports that are not open"));
    let open: Vec<FdKey> = world.state.borrow().open.iter().cloned().collect();
    assert_eq!(open, [key("socket/a.socket/1")], "/run/a is closed, /run/b is what it was");
    assert!(world.connect("a.socket", 0));
    let pid = world.only("a.service");
    assert_eq!(world.state.borrow().processes[&pid].sockets, [(key("socket/a.socket/1"), "new".to_owned())]);
    // A file that cannot be used closes nothing.
    world.exit(pid, OK);
    world.rewrite(&[("a.socket", Some("[Socket]\n"))]);
    assert_eq!(world.state.borrow().open.len(), 1);
    world.stop("a.socket");
    assert!(world.state.borrow().open.is_empty());
}

#[test]
fn a_reload_keeps_instances_tied_to_their_socket() {
    let mut world = accepting("MaxConnections=1\n");
    world.connect_from("a.socket", "10.0.0.2", 1);
    world.core.reload_files();
    world.run();
    assert_eq!(connections(&world), 1);
    assert_eq!(world.core.unit(world.id("a@0-10.0.0.1:22-10.0.0.2:1.service")).description(), "One call (10.0.0.2:1)");
    world.connect_from("a.socket", "10.0.0.2", 2);
    assert_eq!((connections(&world), runtime(&world).refused), (1, 1));
}

#[test]
fn the_next_manager_listens_on_and_knows_who_runs() {
    let mut world = listening("ExecStopPost=/bin/u\n");
    world.replace_manager();
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert!(world.connect("a.socket", 0));
    world.replace_manager();
    assert_eq!(world.state("a.socket"), "active (running)");
    assert!(!world.connect("a.socket", 0));
    world.exit(world.only("a.service"), OK);
    world.replace_manager();
    assert!(world.connect("a.socket", 0));
    world.stop("a.socket");
    world.replace_manager();
    assert_eq!(world.state("a.socket"), "deactivating (stop-post)");
    world.exit(world.only("a.socket"), Exit::Code(1));
    assert_eq!(runtime(&world).result, SocketResult::ExitCode);
}

#[test]
fn a_manager_that_ends_between_accept_and_start_loses_nobody() {
    // Before anything was written down: the connection is in process 1, under the name the next one would have.
    let mut world = accepting("");
    let peer = Peer { instance: "7-0".to_owned(), address: None, port: None };
    let taken = key("socket/a.socket/connection/0");
    assert!(world.core.descriptors_in_use().contains(&taken));
    world.state.borrow_mut().open.insert(taken.clone());
    world.state.borrow_mut().connections.insert(taken.clone(), peer);
    world.replace_manager();
    let pid = world.only("a@0-7-0.service");
    assert_eq!(world.state.borrow().processes[&pid].sockets, [(taken.clone(), "connection".to_owned())]);
    assert_eq!((connections(&world), runtime(&world).accepted), (1, 1));
    // After the instance was written down, and before its job was.
    let mut world = accepting("");
    world.connect_from("a.socket", "10.0.0.2", 1);
    let unit = "a@0-10.0.0.1:22-10.0.0.2:1.service";
    world.exit(world.only(unit), OK);
    let id = world.id(unit);
    let running = world.only(unit);
    let before = ssi_manager::core::service::ServiceRuntime {
        connection: Some(taken.clone()),
        accepted_by: Some(name("a.socket")),
        ..Default::default()
    };
    *world.core.unit_mut(id).runtime.kind.service_mut() = before;
    world.state.borrow_mut().processes.get_mut(&running).unwrap().alive = false;
    world.replace_manager();
    let pid = world.only(unit);
    assert_eq!(world.state.borrow().processes[&pid].sockets, [(taken, "connection".to_owned())]);
    assert_eq!(connections(&world), 1);
}

#[test]
fn a_start_that_was_lost_with_the_manager_is_asked_for_again() {
    let mut world = listening("");
    let id = world.id("a.socket");
    world.core.unit_mut(id).runtime.kind.socket_mut().state = ssi_manager::core::state::SocketState::Running;
    world.replace_manager();
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert!(world.connect("a.socket", 0));
    assert_eq!(world.live("a.service").len(), 1);
}

#[test]
fn an_event_that_is_out_of_date_does_nothing() {
    let mut world = listening("");
    let port = key("socket/a.socket/0");
    world.connect("a.socket", 0);
    world.tell(Event::Port { unit: name("a.socket"), port: port.clone() });
    world.stop("a.socket");
    world.tell(Event::Port { unit: name("a.socket"), port });
    world.tell(Event::Port { unit: name("a.service"), port: key("socket/a.socket/0") });
    assert_eq!(world.lines(), ["/bin/a"]);
}
