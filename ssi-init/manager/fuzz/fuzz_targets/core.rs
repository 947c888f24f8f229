// SPDX-License-Identifier: GPL-2.0-or-later
//! Units of all types, to which anything happens in any order: nothing panics or goes round in circles, and after each
//! happening all that is known of units, jobs, processes and descriptors fits together ([`check`]).
//!
//! ```text
//!   one number a unit: which lines its file has  (`files`)  │  happenings: one byte for what, more for the details
//! ```
//! Bytes that are not there are zeroes. The machine is the one of the crate's own tests, which only writes down what it
//! is asked to do.
//!
//! `cargo +nightly fuzz run core fuzz/corpus/core fuzz/seeds/core -- -max_len=600`, from `ssi-init/manager/`.
#![no_main]

#[path = "../../tests/double/mod.rs"]
mod double;

use std::collections::BTreeSet;

use double::World;
use libfuzzer_sys::fuzz_target;
use ssi_manager::core::automount::Ask;
use ssi_manager::core::commands::Whom;
use ssi_manager::core::device::DeviceChange;
use ssi_manager::core::mount::Mounted;
use ssi_manager::core::saved::SavedUnit;
use ssi_manager::core::service::Notification;
use ssi_manager::core::swap::InUse;
use ssi_manager::core::system::{Exit, Peer, Pid};
use ssi_manager::core::{Event, kinds};
use ssi_manager::graph::UnitId;
use ssi_manager::job::{JobId, JobMode, QueueSnapshot, Request};
use ssi_unit::name::UnitType;

/// More would only make an input slow.
const HAPPENINGS: usize = 150;

/// An input, taken from the front.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn yes(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Those of the lines whose bits are set.
    fn lines(&mut self, all: &[&str]) -> String {
        let bits = self.number();
        let chosen = all.iter().enumerate().filter(|(at, _)| bits >> (at % 16) & 1 == 1);
        chosen.map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// What any unit may say.
const UNIT: [&str; 16] = [
    "Wants=a.service x.target",
    "Requires=b.service",
    "BindsTo=c.service\nAfter=c.service",
    "PartOf=x.target",
    "Conflicts=b.service",
    "After=a.service net.mount",
    "Before=c.service",
    "Upholds=a.service",
    "OnFailure=c.service",
    "StopWhenUnneeded=yes",
    "PropagatesReloadTo=a.service",
    "RequiresMountsFor=/net/deep",
    "BindsTo=dev-sdb.device\nAfter=dev-sdb.device",
    "JobTimeoutSec=3\nCollectMode=inactive-or-failed",
    "OnSuccess=x.target\nDefaultDependencies=no",
    "StartLimitBurst=2\nConditionPathExists=/odd\nRequisite=a.service",
];

const SERVICE: [&str; 16] = [
    "ExecStartPre=/bin/pre",
    "ExecStartPost=-/bin/post",
    "ExecStop=/bin/stop",
    "ExecStopPost=/bin/after",
    "ExecReload=/bin/reload",
    "ExecCondition=/bin/condition",
    "RemainAfterExit=yes",
    "WatchdogSec=7",
    "TimeoutStartSec=5\nRuntimeMaxSec=9",
    "KillMode=mixed\nSlice=x.slice",
    "KillMode=process",
    "SendSIGKILL=no",
    "NotifyAccess=all",
    "GuessMainPID=no",
    "PIDFile=/run/x.pid",
    "FileDescriptorStoreMax=3\nOOMPolicy=stop",
];

const TYPES: [&str; 8] =
    ["simple", "exec", "forking", "oneshot", "dbus\nBusName=org.a", "notify", "notify-reload", "idle"];
const RESTARTS: [&str; 4] = ["no", "always", "on-failure", "on-success"];

const SOCKET: [&str; 12] = [
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

const TIMER: [&str; 12] = [
    "OnActiveSec=2",
    "OnBootSec=7",
    "OnStartupSec=1",
    "OnUnitActiveSec=3",
    "OnUnitInactiveSec=4",
    "OnCalendar=*:*:0/5",
    "OnCalendar=2023-11-15",
    "Persistent=yes",
    "RandomizedDelaySec=4",
    "AccuracySec=1us",
    "RemainAfterElapse=no\nFixedRandomDelay=yes",
    "OnClockChange=yes\nOnTimezoneChange=yes",
];

const PATH: [&str; 8] = [
    "PathExists=/p/a",
    "PathExistsGlob=/p/*",
    "PathChanged=/p/a",
    "PathModified=/p/b",
    "DirectoryNotEmpty=/p/a",
    "MakeDirectory=yes",
    "TriggerLimitBurst=2\nTriggerLimitIntervalSec=5",
    "Unit=b.service",
];

const MOUNT: [&str; 6] = [
    "TimeoutSec=3",
    "LazyUnmount=yes",
    "ForceUnmount=yes",
    "Options=nofail,noauto",
    "KillMode=mixed",
    "SendSIGKILL=no",
];

/// All that is asked for by name; the first ones have files.
const NAMES: [&str; 20] = [
    "a.service",
    "b.service",
    "c.service",
    "a.socket",
    "each.socket",
    "a.timer",
    "a.path",
    "net.mount",
    "net.automount",
    "dev-sdb.swap",
    "x.target",
    "x.slice",
    "dev-sdb.device",
    "each@1.service",
    "none.service",
    "shutdown.target",
    "x.scope",
    "-.mount",
    "-.slice",
    "sys-devices-sdb.device",
];

const REQUESTS: [Request; 9] = [
    Request::Start,
    Request::Stop,
    Request::Restart,
    Request::Reload,
    Request::TryRestart,
    Request::ReloadOrStart,
    Request::VerifyActive,
    Request::TryReload,
    Request::Nop,
];

const MODES: [JobMode; 8] = [
    JobMode::Replace,
    JobMode::Fail,
    JobMode::ReplaceIrreversibly,
    JobMode::Isolate,
    JobMode::Flush,
    JobMode::IgnoreDependencies,
    JobMode::IgnoreRequirements,
    JobMode::Triggering,
];

const WORDS: [&[u8]; 12] = [
    b"READY=1",
    b"RELOADING=1\nMONOTONIC_USEC=999999999999",
    b"STOPPING=1",
    b"WATCHDOG=1",
    b"WATCHDOG=trigger",
    b"MAINPID=101",
    b"EXTEND_TIMEOUT_USEC=3000000",
    b"WATCHDOG_USEC=1000000",
    b"ERRNO=2\nSTATUS=it is so\nBUSERROR=a.b",
    b"EXTEND_TIMEOUT_USEC=18446744073709551615",
    b"WATCHDOG_USEC=18446744073709551615",
    b"\xff=\n=\nREADY",
];

fn files(choices: &mut Choices<'_>) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for name in &NAMES[..3] {
        let (kind, restart) = (choices.of(&TYPES), choices.of(&RESTARTS));
        let restart = if kind == "oneshot" && restart != "no" { "on-failure" } else { restart };
        let (unit, service) = (choices.lines(&UNIT), choices.lines(&SERVICE));
        let fixed = format!("Type={kind}\nRestart={restart}\nRestartSec=1\nTimeoutStopSec=4\nExecStart=/bin/main\n");
        files.push((*name, format!("[Unit]\n{unit}[Service]\n{fixed}{service}")));
    }
    let mut file = |name, head: &str, section: &str, fixed: &str, lines: &[&str]| {
        let unit = choices.lines(&UNIT);
        let own = choices.lines(lines);
        files.push((name, format!("[Unit]\n{head}{unit}[{section}]\n{fixed}{own}")));
    };
    file("a.socket", "", "Socket", "ListenStream=/run/a\nListenDatagram=/run/d\n", &SOCKET);
    file("each.socket", "", "Socket", "ListenStream=1\nAccept=yes\n", &SOCKET);
    file("a.timer", "", "Timer", "", &TIMER);
    file("a.path", "", "Path", "", &PATH);
    file("net.mount", "", "Mount", "What=/dev/sdb\nWhere=/net\nType=ext4\n", &MOUNT);
    file("net.automount", "", "Automount", "Where=/net\nTimeoutIdleSec=5\n", &[]);
    file("dev-sdb.swap", "", "Swap", "What=/dev/sdb\nPriority=3\n", &["TimeoutSec=3", "SendSIGKILL=no"]);
    file("x.target", "AllowIsolate=yes\n", "Install", "", &[]);
    file("x.slice", "", "Slice", "", &[]);
    files.push(("each@.service", "[Service]\nExecStart=/bin/main\nTimeoutStopSec=4\n".to_owned()));
    files
}

fn live(world: &World) -> Vec<u32> {
    let state = world.state.borrow();
    state.processes.iter().filter(|(_, process)| process.alive).map(|(pid, _)| *pid).collect()
}

fn pick(world: &World, choices: &mut Choices<'_>) -> Option<u32> {
    let live = live(world);
    let which = usize::from(choices.byte());
    (!live.is_empty()).then(|| live[which % live.len()])
}

fn unit_of(world: &World, choices: &mut Choices<'_>) -> Option<UnitId> {
    let name = choices.of(&NAMES);
    world.core.table.find(&double::name(name))
}

fn mounts(bits: u8) -> Vec<Mounted> {
    let line = |what: &str, place: &str, kind: &str| Mounted {
        what: what.to_owned(),
        place: place.to_owned(),
        options: "rw".to_owned(),
        kind: kind.to_owned(),
    };
    let all = [
        line("/dev/vda1", "/", "ext4"),
        line("systemd-1", "/net", "autofs"),
        line("/dev/sdb", "/net", "ext4"),
        line("memory", "/net/deep", "tmpfs"),
        line("/dev/sdb", "/net", "ext4"),
        line("odd", "relative", ""),
        line("x", "/\u{fffd}/../ \n", "tmpfs"),
        line("far:/x", "/far", "nfs"),
    ];
    all.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, line)| line).collect()
}

fn device(bits: u8, choices: &mut Choices<'_>) -> DeviceChange {
    let has = |bit: u8| bits >> bit & 1 == 1;
    let syspath = if has(0) { "/sys/devices/sdb" } else { "/sys/devices/sdc" };
    DeviceChange {
        syspath: syspath.to_owned(),
        moved_from: has(1).then(|| "/sys/devices/sdc".to_owned()),
        devnode: Some(if has(2) { "/dev/sdb" } else { "/dev/sdc" }.to_owned()),
        links: if has(3) { vec!["/dev/sdb".to_owned(), "/dev/disk/by-label/a".to_owned()] } else { Vec::new() },
        aliases: if has(4) { vec!["/alias".to_owned(), "/".to_owned()] } else { Vec::new() },
        ready: has(5) && !has(6),
        wants: vec![choices.of(&NAMES).to_owned(), "each@.service".to_owned(), "no unit".to_owned()],
        description: None,
        binds_mounts: has(7),
        altered: choices.yes() && !has(6),
        gone: has(6),
    }
}

/// The manager dies and the next one goes on, from what was written down as text.
fn replace_manager(world: &mut World) {
    for unit in world.core.table.iter() {
        if let Some(saved) = world.core.saved(unit.id) {
            let text = serde_json::to_string(&saved).expect("a unit can be written down");
            let read: SavedUnit = serde_json::from_str(&text).expect("what was written is read");
            assert!(read == saved, "{text}\n{read:?}");
        }
    }
    let queue = world.core.saved_queue();
    let text = serde_json::to_string(&queue).expect("jobs can be written down");
    let read: QueueSnapshot = serde_json::from_str(&text).expect("what was written is read");
    assert!(read == queue, "{text}\n{read:?}");
    world.replace_manager();
}

fn happen(world: &mut World, choices: &mut Choices<'_>) {
    match choices.byte() % 28 {
        0..=4 => {
            let (name, request, mode) = (choices.of(&NAMES), choices.of(&REQUESTS), choices.of(&MODES));
            let _ = world.core.request(name, request, mode);
            world.run();
        }
        5..=7 => {
            let exit = choices.of(&[Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::Dumped(6), Exit::Code(200)]);
            if let Some(pid) = pick(world, choices) {
                world.exit(pid, exit);
            }
        }
        8 | 9 => {
            let text = choices.of(&WORDS);
            if let Some(pid) = pick(world, choices) {
                world.tell(Event::Notified(Notification::parse(Some(Pid(pid)), text, vec![])));
            }
        }
        10 => {
            let place = usize::from(choices.byte() % 3);
            world.connect("a.socket", place);
        }
        11 => {
            let from = choices.byte();
            let peer = match from % 4 {
                0 => Err(i32::from(choices.byte())),
                1 => Ok(Peer::default()),
                number => Ok(Peer {
                    instance: format!("10.0.0.1:22-10.0.0.{number}:{from}"),
                    address: Some(format!("10.0.0.{number}")),
                    port: Some(u16::from(from)),
                }),
            };
            world.state.borrow_mut().waiting.push_back(peer);
            world.connect("each.socket", 0);
            world.state.borrow_mut().waiting.clear();
        }
        12 | 13 => world.pass(f64::from(choices.byte()) / 16.0),
        14 => {
            if let Some(pid) = pick(world, choices) {
                world.fork(pid);
            }
        }
        15 => {
            let which = choices.byte();
            let mut state = world.state.borrow_mut();
            match which % 8 {
                0 => state.no_processes ^= true,
                1 => state.no_ports ^= true,
                2 => state.no_path_watches ^= true,
                3 => state.no_autofs ^= true,
                4 => {
                    state.pid_files.insert("/run/x.pid".to_owned(), 100 + u32::from(which));
                }
                5 => {
                    state.false_conditions.insert("/odd".to_owned());
                }
                6 => state.false_conditions.clear(),
                _ => state.obedient ^= true,
            }
        }
        16 => replace_manager(world),
        17 => {
            let new = files(choices);
            let which = usize::from(choices.byte()) % new.len();
            let text = choices.yes().then_some(new[which].1.as_str());
            world.rewrite(&[(new[which].0, text)]);
        }
        18 => {
            if choices.yes() {
                world.core.cancel_all_jobs();
            } else {
                let _ = world.core.cancel_job(JobId(u32::from(choices.byte())));
            }
            world.run();
        }
        19 => world.tell(Event::Mounts(mounts(choices.byte()))),
        20 => {
            let area = |what: &str, priority| InUse { what: what.to_owned(), priority };
            let all = [area("/dev/sdb", 3), area("/swap file", -2), area("/dev/disk/by-label/a", 0), area("", 0)];
            let bits = choices.byte();
            let table = all.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, area)| area);
            world.tell(Event::Swaps(table.collect()));
        }
        21 => {
            let change = device(choices.byte(), choices);
            world.tell(Event::Device(change));
        }
        22 => {
            let token = u32::from(choices.byte());
            let ask = match token % 4 {
                0 | 1 => Ask::Mount { token, by: choices.yes().then_some(Pid(77)) },
                2 => Ask::Expire { token },
                _ if choices.yes() => Ask::Unmounted,
                _ => Ask::Broken("it is odd".to_owned()),
            };
            world.tell(Event::AutomountAsked { unit: double::name("net.automount"), ask });
        }
        23 => {
            let (path, there) = (choices.of(&["/p/a", "/p/b", "/p/*"]), choices.byte());
            match there % 3 {
                0 => world.happens(path),
                other => world.set_there(path, other == 1),
            };
        }
        24 => {
            let by = u64::from(choices.number()) * 1_000_000;
            let forward = choices.yes();
            let mut state = world.state.borrow_mut();
            let realtime = state.now.realtime;
            state.now.realtime = if forward { realtime + by } else { realtime.saturating_sub(by) };
            drop(state);
            world.tell(if choices.yes() { Event::ClockSet } else { Event::TimeZoneChanged });
        }
        25 => {
            let owner = pick(world, choices).map(Pid).filter(|_| choices.yes());
            world.tell(Event::BusName { name: "org.a".to_owned(), owner, owned: choices.yes() });
        }
        26 => {
            let Some(id) = unit_of(world, choices) else { return };
            match (choices.byte() % 3, world.core.unit(id).runtime.cgroup.clone()) {
                (0, Some(group)) => world.tell(Event::OutOfMemory(group)),
                (1, _) => world.tell(Event::PidFileChanged(world.core.unit(id).name.clone())),
                _ => world.tell(Event::PathChanged(world.core.unit(id).name.clone())),
            }
        }
        _ => {
            let (name, what) = (choices.of(&NAMES), choices.byte());
            match (what % 6, world.core.table.find(&double::name(name))) {
                (0, _) => {
                    let whom = choices.of(&[Whom::Main, Whom::Control, Whom::All]);
                    let _ = world.core.kill(name, whom, i32::from(choices.byte()) - 3);
                }
                (1, Some(id)) => world.core.reset_failed(id),
                (2, Some(id)) => world.core.hold_unit(id, "who"),
                (3, Some(id)) => world.core.release_unit(id, "who"),
                (4, _) => world.core.client_waits(JobId(u32::from(choices.byte())), choices.yes()),
                _ => {
                    let _ = world.core.unit_named(name);
                }
            }
            world.run();
        }
    }
}

/// What must hold whatever happened.
fn check(world: &World) {
    let live: BTreeSet<u32> = live(world).into_iter().collect();
    let (core, state) = (&world.core, world.state.borrow());
    for unit in core.table.iter() {
        let name = &unit.name;
        assert_eq!(core.table.find(name), Some(unit.id), "{name} is not found by its name");
        for alias in &unit.aliases {
            assert_eq!(core.table.find(alias), Some(unit.id), "{name} is not found as {alias}");
        }
        assert_eq!(kinds::KindRuntime::new(unit.unit_type()).sub_state().is_empty(), unit.sub_state().is_empty());
        let down = unit.active().is_inactive_or_failed();
        let (main, control) = core.processes_of(unit.id);
        for pid in main.into_iter().chain(control) {
            assert!(live.contains(&pid.0), "{name} waits for {pid}, which is dead");
            assert!(!down, "{name} is down and waits for {pid}");
        }
        if unit.unit_type() == UnitType::Service && unit.runtime.kind.service().connection.is_some() {
            assert!(!down || core.queue.job_of(unit.id).is_some(), "{name} is down and keeps its connection");
        }
        if unit.unit_type() == UnitType::Socket {
            let listens = unit.sub_state() == "listening";
            for port in &unit.runtime.kind.socket().ports {
                assert!(state.open.contains(&port.key), "{name} lost {port:?}");
                assert_eq!(state.watched_ports.contains(&port.key), listens, "{name} is {}", unit.sub_state());
            }
        }
    }
    // One job, and one that does nothing, is all that a unit has.
    let units = core.table.len();
    assert!(core.queue.len() <= 2 * units, "{} jobs of {units} units", core.queue.len());
    for job in core.queue.jobs() {
        assert!(core.table.contains(job.unit), "{job:?} is of no unit");
        let own = [core.queue.job_of(job.unit), core.queue.nop_of(job.unit)];
        assert!(own.into_iter().flatten().any(|own| own.id == job.id), "{job:?} is not its unit's");
    }
    assert!(units < 200, "there are {units} units");
    // What is open is somebody's.
    let in_use = core.descriptors_in_use();
    for key in &state.open {
        assert!(in_use.contains(key), "nobody has {key:?}");
    }
    assert!(!core.system_state().is_empty());
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let texts = files(&mut choices);
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut world = World::new(&texts);
    for _ in 0..HAPPENINGS {
        if choices.0.is_empty() {
            break;
        }
        happen(&mut world, &mut choices);
        // The machine counts its lines to see what never ends: that is about one happening.
        world.state.borrow_mut().log.clear();
        world.told.clear();
        check(&world);
    }
});
