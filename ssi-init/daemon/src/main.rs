// SPDX-License-Identifier: GPL-2.0-or-later
//! The unit manager as a program: `ssi-init-manager`, started by process 1.
//!
//! ```text
//!   process 1 ──link──▶ run.rs: the main loop ──events──▶ ssi_manager::core (pure) ──System──▶ machine/
//!   systemctl ──bus───▶    │                                                                  (ssi-launch, ssi-watch)
//!                          └─ memory.rs: each turn is committed before anybody hears of it
//! ```
//!
//! | file | subject |
//! | --- | --- |
//! | `startup.rs`, `boot/` | settings, generators, what to boot into |
//! | `takeover.rs` | undoing what an earlier manager had not written down |
//! | `run.rs`, `poller.rs` | the loop |
//! | `machine.rs`, `machine/` | what acts for the core |
//! | `kept.rs`, `memory.rs` | what outlives this process |
//! | `host.rs`, `endings.rs` | what clients and signals ask of the manager as a whole |
//! | `dead_man.rs` | the watchdog as the last guard of what the cluster runs here |
//! | `journal.rs` | lines of the log |
//! | `recording.rs` | a recording of this manager, [`ssi_init_manager::record`] |
//!
//! The same program answers people: `ssi-init verify`, `dump`, `record`, `replay` ([`ask`], [`inspect`]).

mod ask;
mod boot;
mod dead_man;
mod endings;
mod host;
mod inspect;
mod journal;
mod kept;
mod machine;
mod memory;
mod poller;
mod readable;
mod recording;
mod run;
mod startup;
mod takeover;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ssi_bus::Bus;
use ssi_keep::exits::Exits;
use ssi_keep::link::{Greeting, Handover, Link};
use ssi_keep::log::Log;
use ssi_launch::cgroup::Cgroups;
use ssi_launch::{ChildOf, Launcher};
use ssi_manager::core::system::{FdKey, Moment, Priority};
use ssi_manager::core::{Core, Event};
use ssi_manager::job::{JobMode, Request};
use ssi_unit::condition::ThisMachine;

use crate::dead_man::Switch;
use crate::host::Host;
use crate::journal::Journal;
use crate::kept::Kept;
use crate::machine::{Inner, Kernel, Machine, now};
use crate::memory::{Memory, Remembered, Whole};
use crate::poller::{Poller, Source};
use crate::recording::Recording;
use crate::run::{Manager, Over};
use crate::startup::Settings;

/// How long process 1 may take to hand over what it keeps.
const HANDOVER: Duration = Duration::from_secs(30);
/// How long a replacement of this program waits for what is to be sent before.
const BEFORE_EXEC: Duration = Duration::from_secs(10);
/// The group of process 1 and of this one, systemd.special(7).
const OWN_GROUP: &str = "init.scope";
/// Where programs of ours are that nobody calls by name.
const PRIVATE: &str = "/usr/lib/ssi";
/// Where services tell what they are about, sd_notify(3).
const NOTIFY: &str = "/run/systemd/notify";
/// Where root's systemctl asks, without the bus.
const PRIVATE_BUS: &str = "/run/systemd/private";
/// Where timers note when they elapsed last.
const STAMPS: &str = "/var/lib/systemd/timers";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(status) = ask::answer(&arguments) {
        return status;
    }
    match manage() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let mut journal = Journal::new(Priority::Error);
            journal.write(
                Priority::Emergency,
                None,
                &format!("the unit manager ends: {error:#}; process 1 starts it again"),
            );
            ExitCode::FAILURE
        }
    }
}

/// This program's siblings: beside it where it lies, so that a tree under test uses its own; else where they are
/// installed.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(name)));
    own.filter(|path| path.exists()).unwrap_or_else(|| Path::new(PRIVATE).join(name))
}

fn manage() -> Result<u8> {
    // Before anything is opened: descriptor 3 is the link.
    let mut link = Link::find().context("finding the way to process 1")?;
    startup::raise_limits();
    rustix::process::umask(rustix::fs::Mode::empty());
    std::env::set_current_dir("/").context("going to /")?;
    let mut handover = link.hello(HANDOVER).context("saying hello to process 1")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("making the main loop")?;
    let _inside = runtime.enter();
    let manager = begin(link, &mut handover)?;
    let manager = runtime.block_on(manager.run())?;
    match manager.over {
        Some(Over::Exit(status)) => Ok(status),
        Some(Over::Reexecute) | None => Err(reexecute(&manager)),
    }
}

/// Becomes the program that is installed now. Returns only if that failed.
fn reexecute(manager: &Manager) -> anyhow::Error {
    let inner = &mut *manager.inner.borrow_mut();
    let path = std::env::current_exe().unwrap_or_else(|_| beside("ssi-init-manager"));
    // Of a package that was upgraded the file that runs is gone, and the kernel says so behind its name.
    let path = path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    if let Err(error) = inner.link.reexec() {
        return anyhow::Error::new(error).context("asking process 1 to execute itself anew");
    }
    if let Err(error) = inner.link.before_exec(BEFORE_EXEC) {
        return anyhow::Error::new(error).context("getting ready to execute anew");
    }
    let error = Command::new(&path).args(std::env::args_os().skip(1)).exec();
    inner.link.exec_failed();
    anyhow::Error::new(error).context(format!("executing {path}"))
}

/// Sets everything up, and has the units where they are to be: at the begin of a boot, or where the last manager left
/// them.
fn begin(link: Link, handover: &mut Handover) -> Result<Manager> {
    let greeting = handover.greeting;
    let container = greeting.flags & Greeting::CONTAINER != 0;
    let mut journal = Journal::new(Priority::Info);
    let log = match handover.snapshot.take() {
        Some(file) => {
            let (log, loaded) = Log::open(file.into()).context("reading the log of states")?;
            if let Some(dropped) = loaded.dropped {
                journal.write(Priority::Warning, None, &format!("the log of states: {dropped}"));
            }
            log
        }
        None => Log::create().context("making a log of states")?,
    };
    let exits = Exits::load(&log, greeting.booted_us).context("reading the log of states")?;
    let mut memory = Memory::new(log, exits);
    let remembered = memory.read()?;
    for line in &remembered.lost {
        journal.write(Priority::Error, None, line);
    }

    let groups = Cgroups::find(OWN_GROUP).context("finding the control-group tree")?;
    groups.settle(OWN_GROUP).context("moving into the manager's own control group")?;
    let groups_watch = groups.watch().context("watching control groups")?;
    let kept = Kept::adopt(std::mem::take(&mut handover.kept));
    for name in &handover.lost {
        let text = format!("the descriptor {} could not be taken over", String::from_utf8_lossy(name));
        journal.write(Priority::Error, None, &text);
    }
    let launcher = Launcher::new(&beside("ssi-exec"), groups.root()).context("opening the executor ssi-exec")?;
    let mut launcher = launcher.gated(true);
    if !link.units_are_siblings() {
        launcher = launcher.children_of(ChildOf::Caller);
    }
    let shared: Vec<FdKey> = kept.keys().filter(|key| key.0.starts_with("namespace/")).cloned().collect();
    for key in shared {
        if let Some(fd) = kept.get(&key).and_then(|fd| fd.try_clone_to_owned().ok())
            && launcher.adopt(&key.0, fd).is_err()
        {
            journal.write(Priority::Warning, None, &format!("nobody knows the descriptor {}", key.0));
        }
    }

    let mut poller = Poller::new().context("making an epoll descriptor")?;
    poller.set(Source::Groups, groups_watch.as_fd(), false).context("watching control groups")?;
    let (kernel, troubles) = Kernel::new(&mut poller, container)?;
    let settings =
        Settings::read(container, kernel.has_devices(), groups.controllers().iter().any(|name| name == "memory"));
    journal.set_least(settings.log_least);
    for text in troubles {
        journal.write(Priority::Warning, None, &text);
    }
    startup::make_places(&settings).context("making the places in /run")?;
    for warning in &settings.conf.warnings {
        journal.write(Priority::Warning, None, &warning.to_string());
    }

    let first = remembered.whole.is_none();
    let whole = remembered.whole.clone().unwrap_or_else(|| Whole {
        // Process 1's own beginning is that of user space.
        started: {
            let now = now();
            let ago = now.monotonic.saturating_sub(greeting.booted_us);
            Moment { realtime: now.realtime.saturating_sub(ago), monotonic: greeting.booted_us }
        },
        environment: settings.environment(),
        ..Whole::default()
    });
    let inner = Inner {
        link,
        memory,
        kept,
        poller,
        journal,
        launcher,
        groups,
        groups_watch,
        kernel,
        conditions: ThisMachine::new(settings.host.clone()),
        starting: BTreeMap::new(),
        gated: Vec::new(),
        stored: BTreeMap::new(),
        unheard: Vec::new(),
        orphaned: Vec::new(),
        environment: whole.environment.clone(),
        idle: None,
        notify_path: NOTIFY.to_owned(),
        stamps: STAMPS.into(),
        broken: None,
    };
    let inner = Rc::new(RefCell::new(inner));
    inner.borrow_mut().listen_for_notifications(NOTIFY)?;
    let private = inner.borrow_mut().listener(PRIVATE_BUS)?;
    let mut bus = Bus::new(private, ssi_bus::Options::default()).context("serving systemctl")?;
    let recording =
        Recording::go_on(&mut inner.borrow_mut(), remembered.recording.clone(), &settings, greeting.starts)?;
    let core = settings.core(Box::new(Machine(Rc::clone(&inner))), recording.as_ref().map(|recording| &recording.tape));
    bus.subscribe_again(whole.subscribers.iter().cloned());
    let host = Host::new(Rc::clone(&inner), settings, whole.clone(), greeting.starts, recording);
    let mut manager = Manager { core, inner, bus, whole, host, dead_man: Switch::default(), over: None };
    manager.core.started = manager.whole.started;
    manager.core.finished_starting = manager.whole.finished.is_some();
    if first {
        boot(&mut manager);
    } else {
        go_on(&mut manager, remembered);
    }
    Ok(manager)
}

/// The begin of a boot.
fn boot(manager: &mut Manager) {
    let Manager { core, inner, host, .. } = manager;
    let goal = host.settings.goal();
    let text = format!("{} {} begins: {goal}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    core.sys.log(Priority::Info, None, &text);
    host.run_generators();
    core.refresh_files();
    core.begin();
    let events = inner.borrow_mut().all_of_kernel();
    for event in events {
        core.handle(event);
    }
    for unit in [goal.as_str(), "rescue.target", "emergency.target"] {
        // One that may not be isolated is started beside what is there, which is next to nothing.
        for mode in [JobMode::Isolate, JobMode::Replace] {
            match core.request(unit, Request::Start, mode) {
                Ok(_) => return,
                Err(error) => {
                    let text = format!("cannot boot into {unit} (mode {mode}): {error}");
                    core.sys.log(Priority::Error, None, &text);
                }
            }
        }
    }
    core.sys.log(
        Priority::Emergency,
        None,
        "nothing to boot into; the manager goes on and can be asked to start units",
    );
}

/// Going on where an earlier manager stopped.
fn go_on(manager: &mut Manager, remembered: Remembered) {
    let Manager { core, inner, .. } = manager;
    let count = remembered.units.len();
    let intents = remembered.intents;
    core.restore(remembered.units, remembered.jobs);
    if let Some(cluster) = remembered.cluster {
        core.restore_cluster(cluster);
    }
    let known: BTreeSet<u32> = core.watched_processes().map(|pid| pid.0).collect();
    takeover::undo(&mut inner.borrow_mut(), &intents, &known);
    inner.borrow_mut().orphaned = known.into_iter().map(ssi_manager::core::system::Pid).collect();
    inner.borrow_mut().release_orphaned();
    core.sys.log(Priority::Notice, None, &format!("takes over {count} units from an earlier manager"));
    drop_unused_descriptors(core, &mut inner.borrow_mut());
    inner.borrow_mut().watch_all_stored();
    let events = inner.borrow_mut().all_of_kernel();
    for event in events {
        core.handle(event);
    }
    // What no watch tells any more: it happened before there was a watch.
    let groups: Vec<String> = core.groups_in_use().map(str::to_owned).collect();
    for group in groups {
        let populated = {
            let inner = &mut *inner.borrow_mut();
            if let Err(error) = inner.groups_watch.add(&group) {
                inner.journal.write(Priority::Debug, None, &error.to_string());
            }
            inner.groups.populated(&group)
        };
        if !populated {
            core.handle(Event::GroupEmpty(group));
        }
    }
    inner.borrow_mut().unheard = core.processes_not_yet_executed().into_iter().map(|(_, pid)| pid).collect();
}

/// Closes what is kept for units that do not have it any more: what an earlier manager was about to give one.
fn drop_unused_descriptors(core: &Core, inner: &mut Inner) {
    let used = core.descriptors_in_use();
    let own = ["namespace/", "ssi/"];
    let unused = |key: &&FdKey| {
        !used.contains(*key) && !own.iter().any(|prefix| key.0.starts_with(prefix)) && !key.0.starts_with("hash/")
    };
    let unused: Vec<FdKey> = inner.kept.keys().filter(unused).cloned().collect();
    for key in unused {
        inner.let_go(&key);
    }
}
