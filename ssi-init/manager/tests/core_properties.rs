// SPDX-License-Identifier: GPL-2.0-or-later
//! Services by chance, to which things happen by chance: whatever it is, nothing panics, no process is lost sight of, and
//! a system that is asked to go down is down in the end.

mod double;

use double::World;
use proptest::prelude::*;
use ssi_manager::core::state::ActiveState;
use ssi_manager::core::system::Exit as E;
use ssi_manager::core::unit::Unit;
use ssi_manager::job::{JobMode, Request};
use ssi_unit::name::UnitType;

const UNITS: usize = 5;

fn service() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        Just("simple"),
        Just("oneshot"),
        Just("notify"),
        Just("forking"),
        Just("exec"),
        Just("notify-reload"),
        Just("idle")
    ];
    let lines = [
        "ExecStartPre=/bin/pre",
        "ExecStartPost=/bin/post",
        "ExecStop=/bin/stop",
        "ExecStopPost=/bin/after",
        "ExecReload=/bin/reload",
        "ExecCondition=/bin/condition",
        "RemainAfterExit=yes",
        "WatchdogSec=7",
        "TimeoutStartSec=5",
        "RuntimeMaxSec=9",
        "KillMode=mixed",
        "KillMode=process",
        "SendSIGKILL=no",
        "NotifyAccess=all",
        "GuessMainPID=no",
        "PIDFile=/run/x.pid",
    ];
    let restart = prop_oneof![Just("no"), Just("always"), Just("on-failure"), Just("on-success")];
    let unit = [
        "Wants=u0.service",
        "Requires=u1.service",
        "BindsTo=u2.service\nAfter=u2.service",
        "PartOf=u3.service",
        "Conflicts=u4.service",
        "After=u0.service u1.service",
        "Before=u3.service",
        "Upholds=u4.service",
        "OnFailure=u0.service",
        "StopWhenUnneeded=yes",
        "PropagatesReloadTo=u1.service",
    ];
    (
        kind,
        proptest::sample::subsequence(lines.to_vec(), 0..5),
        restart,
        proptest::sample::subsequence(unit.to_vec(), 0..4),
    )
        .prop_map(|(kind, lines, restart, unit)| {
            let restart = if kind == "oneshot" && restart != "no" { "on-failure" } else { restart };
            format!(
                "[Unit]\n{}\n[Service]\nType={kind}\nRestart={restart}\nRestartSec=1\nTimeoutStopSec=4\nExecStart=/bin/main\n{}\n",
                unit.join("\n"),
                lines.join("\n")
            )
        })
}

/// Two socket units: the one of `u0.service`, and one that takes connections for instances of a template.
fn sockets() -> impl Strategy<Value = (String, String)> {
    let lines = [
        "ExecStartPre=/bin/pre",
        "ExecStartPost=/bin/post",
        "ExecStopPre=-/bin/stop",
        "ExecStopPost=/bin/after",
        "TimeoutSec=3",
        "KillMode=mixed",
        "SendSIGKILL=no",
        "FlushPending=yes",
        "RemoveOnStop=yes",
        "TriggerLimitBurst=2",
        "MaxConnections=2",
        "MaxConnectionsPerSource=1",
    ];
    let socket = move || proptest::sample::subsequence(lines.to_vec(), 0..5).prop_map(|lines| lines.join("\n"));
    (socket(), socket()).prop_map(|(one, each)| {
        (
            format!("[Socket]\nListenStream=/run/u0\nListenDatagram=/run/d\n{one}\n"),
            format!("[Socket]\nListenStream=1\nAccept=yes\n{each}\n"),
        )
    })
}

#[derive(Clone, Debug)]
enum Happening {
    Ask(Request, usize),
    AskSocket(Request, bool),
    Connect(usize),
    ConnectFrom(u8),
    Exit(usize, E),
    Notify(usize, &'static str),
    Fork(usize),
    Pass(f64),
    NoProcesses(bool),
    ReplaceManager,
    Reload,
    Cancel,
    Obedient(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let request = prop_oneof![
        4 => Just(Request::Start),
        2 => Just(Request::Stop),
        1 => Just(Request::Restart),
        1 => Just(Request::Reload),
        1 => Just(Request::TryRestart),
        1 => Just(Request::ReloadOrStart)
    ];
    let exit = prop_oneof![Just(E::Code(0)), Just(E::Code(1)), Just(E::Signal(9)), Just(E::Dumped(6))];
    let text = prop_oneof![
        Just("READY=1"),
        Just("RELOADING=1\nMONOTONIC_USEC=999999999999"),
        Just("STOPPING=1"),
        Just("WATCHDOG=1"),
        Just("WATCHDOG=trigger"),
        Just("MAINPID=101"),
        Just("EXTEND_TIMEOUT_USEC=3000000"),
        Just("\u{fffd}=\n=\nREADY")
    ];
    prop_oneof![
        6 => (request.clone(), 0..UNITS).prop_map(|(request, unit)| Ask(request, unit)),
        4 => (request, any::<bool>()).prop_map(|(request, each)| AskSocket(request, each)),
        3 => (0..3_usize).prop_map(Connect),
        4 => (0..3_u8).prop_map(ConnectFrom),
        8 => (any::<usize>(), exit).prop_map(|(which, exit)| Exit(which, exit)),
        5 => (any::<usize>(), text).prop_map(|(which, text)| Notify(which, text)),
        2 => any::<usize>().prop_map(Fork),
        4 => (0.0..12.0).prop_map(Pass),
        1 => any::<bool>().prop_map(NoProcesses),
        1 => Just(ReplaceManager),
        1 => Just(Reload),
        1 => Just(Cancel),
        1 => any::<bool>().prop_map(Obedient),
    ]
}

fn live(world: &World) -> Vec<u32> {
    let state = world.state.borrow();
    state.processes.iter().filter(|(_, process)| process.alive).map(|(pid, _)| *pid).collect()
}

fn pick(world: &World, which: usize) -> Option<u32> {
    let live = live(world);
    (!live.is_empty()).then(|| live[which % live.len()])
}

/// Every process a unit believes to be its own lives; a unit that is down has none that it started and still waits for.
fn check(world: &World) -> Result<(), TestCaseError> {
    let live = live(world);
    for unit in world.core.table.iter() {
        let (main, control) = world.core.processes_of(unit.id);
        for pid in main.into_iter().chain(control) {
            prop_assert!(live.contains(&pid.0), "{} waits for {pid}, which is dead", unit.name);
        }
        if unit.active().is_inactive_or_failed() {
            prop_assert!(main.is_none() && control.is_none(), "{} is down and waits for a process", unit.name);
        }
        if unit.unit_type() == UnitType::Service && unit.runtime.kind.service().connection.is_some() {
            let waits = unit.active().is_inactive_or_failed() && world.core.queue.job_of(unit.id).is_none();
            prop_assert!(!waits, "{} is down and keeps its connection", unit.name);
        }
        let state = world.state.borrow();
        if unit.unit_type() == UnitType::Socket {
            let looked_at = unit.sub_state() == "listening";
            for port in &unit.runtime.kind.socket().ports {
                prop_assert!(state.open.contains(&port.key), "{} lost {:?}", unit.name, port);
                prop_assert_eq!(
                    state.watched_ports.contains(&port.key),
                    looked_at,
                    "{} {}",
                    unit.name,
                    unit.sub_state()
                );
            }
        }
    }
    // What is open is somebody's, and what somebody has is open.
    let in_use = world.core.descriptors_in_use();
    let state = world.state.borrow();
    for key in &state.open {
        prop_assert!(in_use.contains(key), "nobody has {key:?}");
    }
    for (key, peer) in &state.connections {
        let has = |unit: &Unit| unit.runtime.kind.service().connection.as_ref() == Some(key);
        let one = world.core.table.iter().filter(|unit| unit.unit_type() == UnitType::Service && has(unit)).count();
        prop_assert_eq!(one, 1, "{:?} of {:?}", key, peer);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_can_be_brought_down(
        services in proptest::collection::vec(service(), UNITS),
        (socket, each) in sockets(),
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let names: Vec<String> = (0..UNITS).map(|number| format!("u{number}.service")).collect();
        let mut files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(services.iter().map(String::as_str)).collect();
        let instance = "[Service]\nExecStart=/bin/main\nTimeoutStopSec=4\n";
        files.extend([("u0.socket", socket.as_str()), ("each.socket", &each), ("each@.service", instance)]);
        let mut world = World::new(&files);
        for happening in &happenings {
            match happening {
                Happening::Ask(request, unit) => {
                    let _ = world.core.request(&names[*unit], *request, JobMode::Replace);
                    world.run();
                }
                Happening::AskSocket(request, each) => {
                    let unit = if *each { "each.socket" } else { "u0.socket" };
                    let _ = world.core.request(unit, *request, JobMode::Replace);
                    world.run();
                }
                Happening::Connect(place) => { world.connect("u0.socket", *place); }
                Happening::ConnectFrom(address) => {
                    world.connect_from("each.socket", &format!("10.0.0.{address}"), 1);
                    world.state.borrow_mut().waiting.clear();
                }
                Happening::Exit(which, exit) => if let Some(pid) = pick(&world, *which) { world.exit(pid, *exit) },
                Happening::Notify(which, text) => if let Some(pid) = pick(&world, *which) { world.notify(pid, text) },
                Happening::Fork(which) => if let Some(pid) = pick(&world, *which) { world.fork(pid); },
                Happening::Pass(seconds) => world.pass(*seconds),
                Happening::NoProcesses(none) => world.state.borrow_mut().no_processes = *none,
                Happening::ReplaceManager => world.replace_manager(),
                Happening::Reload => { world.core.reload_files(); world.run(); }
                Happening::Cancel => { world.core.cancel_all_jobs(); world.run(); }
                Happening::Obedient(yes) => world.state.borrow_mut().obedient = *yes,
            }
            check(&world)?;
        }
        // What starts for a failure may come back for ever: each stop may fail anew.
        if services.iter().any(|service| service.contains("OnFailure=")) {
            return Ok(());
        }
        // What is upheld comes back as long as the one that wants it is there.
        world.state.borrow_mut().obedient = true;
        world.state.borrow_mut().no_processes = false;
        for _ in 0..20 {
            let there: Vec<String> = world.core.table.iter().map(|unit| unit.name.to_string()).collect();
            let ours = |name: &&String| name.ends_with(".socket") || name.starts_with("each@");
            for name in there.iter().filter(ours).chain(&names) {
                let _ = world.core.request(name, Request::Stop, JobMode::Replace);
            }
            world.run();
            for pid in live(&world) {
                if !world.state.borrow().processes[&pid].line.contains("main") {
                    world.exit(pid, E::Code(0));
                }
            }
            world.pass(30.0);
            check(&world)?;
        }
        for name in &names {
            if let Some(id) = world.core.table.find(&double::name(name)) {
                let active = world.core.unit(id).active();
                prop_assert!(
                    matches!(active, ActiveState::Inactive | ActiveState::Failed),
                    "{name} is {} ({})", active.word(), world.core.unit(id).sub_state()
                );
            }
        }
        for socket in ["u0.socket", "each.socket"] {
            let state = world.state(socket);
            prop_assert!(["not there", "inactive (dead)", "failed (failed)"].contains(&state.as_str()), "{socket} is {state}");
        }
        prop_assert!(world.state.borrow().open.is_empty(), "{:?} are open", world.state.borrow().open);
        prop_assert!(world.core.queue.is_empty(), "jobs are left: {:?}", world.core.queue.jobs().collect::<Vec<_>>());
    }
}
