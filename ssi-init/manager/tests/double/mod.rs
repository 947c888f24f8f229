// SPDX-License-Identifier: GPL-2.0-or-later
//! A machine that only writes down what it is asked to do, with a clock that a test moves, and a core on top of it whose
//! unit files are texts in the test.
//!
//! Processes do nothing by themselves: a test says how one ends ([`World::exit`]), or that they obey signals
//! ([`State::obedient`]); then those a signal ends are dead at the next [`World::run`].

#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ssi_manager::core::exec::Start;
use ssi_manager::core::service::Notification;
use ssi_manager::core::system::{
    Except, Exit, FdKey, Feature, Moment, Peer, Pid, Priority, Result, System, SystemError,
};
use ssi_manager::core::{Core, Event, FileLoads, Outgoing};
use ssi_manager::graph::UnitId;
use ssi_manager::job::{JobMode, JobResult, Request};
use ssi_unit::condition::{Condition, ConditionKind, Evaluation, Outcome};
use ssi_unit::config::path::{PathEvent, PathWatch};
use ssi_unit::config::{CgroupConfig, ManagerDefaults, SocketConfig, UnitConfig};
use ssi_unit::files::{DirEntry, FileFacts, Files, MemoryFiles};
use ssi_unit::implicit::Surroundings;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

/// A process that was started.
#[derive(Clone, Debug)]
pub struct Process {
    pub unit: String,
    /// The program and its arguments.
    pub line: String,
    pub group: String,
    pub environment: BTreeMap<String, String>,
    pub sockets: Vec<(FdKey, String)>,
    pub stored: Vec<(FdKey, String)>,
    pub alive: bool,
}

/// What the machine is in and has been asked.
#[derive(Debug, Default)]
pub struct State {
    pub now: Moment,
    random: u128,
    next_pid: u32,
    pub processes: BTreeMap<u32, Process>,
    pub groups: BTreeSet<String>,
    pub log: Vec<(Priority, String, String)>,
    /// Process and signal.
    pub signals: Vec<(u32, i32)>,
    /// Signals that end a process do.
    pub obedient: bool,
    ended: Vec<(u32, Exit)>,
    /// No process can be made.
    pub no_processes: bool,
    pub pid_files: BTreeMap<String, u32>,
    pub watched_pid_files: BTreeSet<String>,
    pub removed: Vec<String>,
    /// Open descriptors.
    pub open: BTreeSet<FdKey>,
    /// Ports somebody looks at.
    pub watched_ports: BTreeSet<FdKey>,
    /// No port can be opened.
    pub no_ports: bool,
    /// Who waits to be accepted, at any port; those whose turn is not a connection are errors of accept(2).
    pub waiting: std::collections::VecDeque<std::result::Result<Peer, i32>>,
    /// Connections that were taken and are open.
    pub connections: BTreeMap<FdKey, Peer>,
    /// Ports whose data was dropped, in order.
    pub flushed: Vec<FdKey>,
    /// Conditions that do not hold, as they are written.
    pub false_conditions: BTreeSet<String>,
    /// Paths that are files, where a condition asks for a directory.
    pub plain_files: BTreeSet<String>,
    /// Paths at which what a path unit waits for is so, where that can be so.
    pub paths_that_hold: BTreeSet<String>,
    /// What is watched for which path unit.
    pub watched_paths: BTreeMap<String, Vec<PathWatch>>,
    /// What comes to be in the very moment in which the paths of some unit begin to be watched.
    pub comes_when_watched: Option<String>,
    /// No path can be watched.
    pub no_path_watches: bool,
    /// When timers elapsed last, by their stamp files.
    pub stamps: BTreeMap<String, u64>,
    /// UTC when there is none.
    pub time_zone: Option<jiff::tz::TimeZone>,
    /// Directories that were made, with their modes.
    pub directories: Vec<(String, u32)>,
    /// Directories that cannot be made, or are there, and the `errno(3)` that says so.
    pub odd_directories: BTreeMap<String, i32>,
    /// autofs mounts, by key: the place, more options, and the idle time.
    pub autofs: BTreeMap<FdKey, (String, Option<String>, Option<u64>)>,
    /// No autofs can be mounted.
    pub no_autofs: bool,
    /// Tokens that were answered, and how.
    pub answers: Vec<(u32, i32)>,
    /// How often the kernel was to look for idle mounts.
    pub expiries: u32,
}

impl State {
    fn signal(&mut self, pid: u32, signal: i32) -> bool {
        let Some(process) = self.processes.get_mut(&pid).filter(|process| process.alive) else { return false };
        self.signals.push((pid, signal));
        if self.obedient && !matches!(signal, 1 | 18) {
            process.alive = false;
            self.ended.push((pid, Exit::Signal(signal)));
        }
        true
    }

    fn holds(&self, spec: &PathWatch) -> bool {
        !matches!(spec.event, PathEvent::Changed | PathEvent::Modified) && self.paths_that_hold.contains(&spec.path)
    }

    fn below(&self, group: &str) -> Vec<u32> {
        let inside = |own: &str| own == group || own.strip_prefix(group).is_some_and(|rest| rest.starts_with('/'));
        self.processes
            .iter()
            .filter(|(_, process)| process.alive && inside(&process.group))
            .map(|(pid, _)| *pid)
            .collect()
    }
}

#[derive(Clone)]
struct Double(Rc<RefCell<State>>);

fn unable(what: &str) -> SystemError {
    SystemError { what: what.to_owned(), said: "the test does not let it".to_owned(), errno: 11 }
}

impl System for Double {
    fn supports(&self, _: Feature) -> bool {
        true
    }

    fn now(&self) -> Moment {
        self.0.borrow().now
    }

    fn boottime_ms(&self) -> u64 {
        self.0.borrow().now.monotonic / 1000
    }

    fn random(&mut self) -> u128 {
        let mut state = self.0.borrow_mut();
        state.random =
            state.random.wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
        state.random
    }

    fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid> {
        let mut state = self.0.borrow_mut();
        if state.no_processes {
            return Err(unable(&format!("making a process for {unit}")));
        }
        state.next_pid += 1;
        let pid = 100 + state.next_pid;
        let words = start.command.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let group = match &start.subgroup {
            Some(below) => format!("{}/{below}", start.cgroup),
            None => start.cgroup.clone(),
        };
        assert!(state.groups.contains(&start.cgroup), "{unit} starts in {}, which nobody made", start.cgroup);
        let process = Process {
            unit: unit.to_string(),
            line: words.collect::<Vec<_>>().join(" "),
            group,
            environment: start.environment.iter().cloned().collect(),
            sockets: start.fds.sockets.clone(),
            stored: start.fds.stored.clone(),
            alive: true,
        };
        state.processes.insert(pid, process);
        Ok(Pid(pid))
    }

    fn kill(&mut self, pid: Pid, signal: i32) -> Result<bool> {
        Ok(self.0.borrow_mut().signal(pid.0, signal))
    }

    fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize> {
        let mut state = self.0.borrow_mut();
        let pids: Vec<u32> = state.below(cgroup).into_iter().filter(|pid| !except.pids.contains(&Pid(*pid))).collect();
        Ok(pids.into_iter().filter(|pid| state.signal(*pid, signal)).count())
    }

    fn make_group(&mut self, cgroup: &str, _: &CgroupConfig) -> Result<()> {
        self.0.borrow_mut().groups.insert(cgroup.to_owned());
        Ok(())
    }

    fn remove_group(&mut self, cgroup: &str) {
        self.0.borrow_mut().groups.remove(cgroup);
    }

    fn group_populated(&self, cgroup: &str) -> bool {
        !self.0.borrow().below(cgroup).is_empty()
    }

    fn group_processes(&self, cgroup: &str) -> Vec<Pid> {
        self.0.borrow().below(cgroup).into_iter().map(Pid).collect()
    }

    fn move_to_group(&mut self, cgroup: &str, pids: &[Pid]) -> Result<()> {
        for pid in pids {
            match self.0.borrow_mut().processes.get_mut(&pid.0) {
                Some(process) if process.alive => cgroup.clone_into(&mut process.group),
                _ => return Err(unable(&format!("moving process {pid}"))),
            }
        }
        Ok(())
    }

    fn is_alive(&self, pid: Pid) -> bool {
        self.0.borrow().processes.get(&pid.0).is_some_and(|process| process.alive)
    }

    fn read_pid_file(&self, path: &str) -> Result<Pid> {
        self.0.borrow().pid_files.get(path).copied().map(Pid).ok_or_else(|| unable(&format!("reading {path}")))
    }

    fn group_of(&self, pid: Pid) -> Option<String> {
        self.0.borrow().processes.get(&pid.0).filter(|process| process.alive).map(|process| process.group.clone())
    }

    fn remove_path(&mut self, path: &str) {
        let mut state = self.0.borrow_mut();
        state.pid_files.remove(path);
        state.removed.push(path.to_owned());
    }

    fn log(&mut self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        let unit = unit.map_or_else(String::new, ToString::to_string);
        let mut state = self.0.borrow_mut();
        state.log.push((priority, unit, text.to_owned()));
        let count = state.log.len();
        assert!(count < 20_000, "it goes round and round: {:#?}", &state.log[count - 30..]);
    }

    fn open_ports(&mut self, unit: &UnitName, config: &SocketConfig, keys: &[FdKey]) -> Result<()> {
        let mut state = self.0.borrow_mut();
        assert_eq!(config.listen.len(), keys.len(), "{unit} has a key for each port");
        if state.no_ports {
            return Err(unable(&format!("opening the ports of {unit}")));
        }
        state.open.extend(keys.iter().cloned());
        Ok(())
    }

    fn watch_ports(&mut self, _: &UnitName, keys: &[FdKey], on: bool) {
        let mut state = self.0.borrow_mut();
        for key in keys {
            if on {
                assert!(state.open.contains(key), "{key:?} is to be watched and is not open");
                state.watched_ports.insert(key.clone());
            } else {
                state.watched_ports.remove(key);
            }
        }
    }

    fn accept(&mut self, port: &FdKey, key: &FdKey) -> Result<Peer> {
        let mut state = self.0.borrow_mut();
        assert!(state.open.contains(port), "a connection is taken from {port:?}, which is not open");
        if let Some(peer) = state.connections.get(key) {
            return Ok(peer.clone());
        }
        match state.waiting.pop_front() {
            Some(Ok(peer)) => {
                state.open.insert(key.clone());
                state.connections.insert(key.clone(), peer.clone());
                Ok(peer)
            }
            Some(Err(errno)) => Err(SystemError { errno, ..unable("accept(2)") }),
            None => Err(unable("accept(2), of nobody")),
        }
    }

    fn flush(&mut self, port: &FdKey) {
        self.0.borrow_mut().flushed.push(port.clone());
    }

    fn close(&mut self, keys: &[FdKey]) {
        let mut state = self.0.borrow_mut();
        for key in keys {
            state.open.remove(key);
            state.watched_ports.remove(key);
            state.connections.remove(key);
        }
    }

    fn watch_paths(&mut self, unit: &UnitName, specs: &[PathWatch]) -> Result<()> {
        let mut state = self.0.borrow_mut();
        if state.no_path_watches {
            return Err(unable(&format!("watching the paths of {unit}")));
        }
        let comes = state.comes_when_watched.take();
        state.paths_that_hold.extend(comes);
        state.watched_paths.insert(unit.to_string(), specs.to_vec());
        Ok(())
    }

    fn unwatch_paths(&mut self, unit: &UnitName) {
        self.0.borrow_mut().watched_paths.remove(unit.as_str());
    }

    fn path_holds(&self, spec: &PathWatch) -> bool {
        self.0.borrow().holds(spec)
    }

    fn remove_ports(&mut self, unit: &UnitName, _: &SocketConfig) {
        self.0.borrow_mut().removed.push(format!("ports of {unit}"));
    }

    fn stamp(&self, unit: &UnitName) -> Option<u64> {
        self.0.borrow().stamps.get(unit.as_str()).copied()
    }

    fn set_stamp(&mut self, unit: &UnitName, at: u64) {
        self.0.borrow_mut().stamps.insert(unit.to_string(), at);
    }

    fn fixed_number(&self, unit: &UnitName) -> u64 {
        unit.as_str().bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    fn time_zone(&self) -> jiff::tz::TimeZone {
        self.0.borrow().time_zone.clone().unwrap_or(jiff::tz::TimeZone::UTC)
    }

    fn evaluate(&self, conditions: &[Condition]) -> Evaluation {
        let state = self.0.borrow();
        let is_true = |condition: &Condition| {
            let file =
                condition.kind == ConditionKind::PathIsDirectory && state.plain_files.contains(&condition.parameter);
            !file && !state.false_conditions.contains(&condition.parameter)
        };
        let holds = |condition: &Condition| is_true(condition) != condition.negate;
        let outcomes = conditions.iter().map(|c| if holds(c) { Outcome::Holds } else { Outcome::Fails }).collect();
        Evaluation { holds: conditions.iter().all(holds), outcomes }
    }

    fn watch_pid_file(&mut self, unit: &UnitName, _: &str) -> Result<()> {
        self.0.borrow_mut().watched_pid_files.insert(unit.to_string());
        Ok(())
    }

    fn unwatch_pid_file(&mut self, unit: &UnitName) {
        self.0.borrow_mut().watched_pid_files.remove(unit.as_str());
    }

    fn remove_directories(&mut self, unit: &UnitName, _: &UnitConfig, restart: bool) {
        self.0
            .borrow_mut()
            .removed
            .push(format!("directories of {unit}{}", if restart { ", for a restart" } else { "" }));
    }

    fn make_directory(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut state = self.0.borrow_mut();
        if let Some(errno) = state.odd_directories.get(path) {
            return Err(SystemError { errno: *errno, ..unable(&format!("making the directory {path}")) });
        }
        state.directories.push((path.to_owned(), mode));
        Ok(())
    }

    fn autofs_open(
        &mut self,
        unit: &UnitName,
        place: &str,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<()> {
        let mut state = self.0.borrow_mut();
        if state.no_autofs {
            return Err(unable(&format!("mounting autofs for {unit}")));
        }
        state.open.insert(key.clone());
        state.autofs.insert(key.clone(), (place.to_owned(), options.map(str::to_owned), expire_idle));
        Ok(())
    }

    fn autofs_answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()> {
        let mut state = self.0.borrow_mut();
        assert!(state.autofs.contains_key(key), "tokens are answered at {key:?}, which is not open");
        state.answers.extend(tokens.iter().map(|token| (*token, status)));
        Ok(())
    }

    fn autofs_expire(&mut self, key: &FdKey) -> Result<()> {
        let mut state = self.0.borrow_mut();
        assert!(state.autofs.contains_key(key), "{key:?} is to expire, which is not open");
        state.expiries += 1;
        Ok(())
    }

    fn autofs_close(&mut self, key: &FdKey) {
        let mut state = self.0.borrow_mut();
        state.open.remove(key);
        state.autofs.remove(key);
    }
}

/// The targets that default dependencies name.
const TARGETS: [&str; 8] = ["sysinit", "basic", "shutdown", "sockets", "timers", "paths", "umount", "local-fs"];

/// A core on a machine that is none.
pub struct World {
    pub core: Core,
    pub state: Rc<RefCell<State>>,
    files: Vec<(String, String)>,
    disk: Rc<RefCell<MemoryFiles>>,
    surroundings: Surroundings,
    pub told: Vec<Outgoing>,
    cluster: Option<ssi_manager::core::cluster::SavedCluster>,
}

/// Files that change while somebody has them.
struct Disk(Rc<RefCell<MemoryFiles>>);

impl Files for Disk {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.borrow().list(directory)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.0.borrow().read(file)
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        self.0.borrow().read_link(link)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        self.0.borrow().facts(path)
    }
}

pub fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

impl World {
    /// One with these files in `/etc/systemd/system`.
    pub fn new(files: &[(&str, &str)]) -> Self {
        Self::in_surroundings(files, Surroundings::default())
    }

    /// As [`World::new`], on some other machine.
    pub fn in_surroundings(files: &[(&str, &str)], surroundings: Surroundings) -> Self {
        let state = Rc::new(RefCell::new(State::default()));
        state.borrow_mut().now = Moment { realtime: 1_700_000_000_000_000, monotonic: 5_000_000 };
        let files: Vec<(String, String)> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let disk = Self::disk_of(&files);
        let mut core = Self::core_of(&state, &disk, &surroundings);
        core.begin();
        let mut world = Self { core, state, files, disk, surroundings, told: Vec::new(), cluster: None };
        world.run();
        world
    }

    fn disk_of(texts: &[(String, String)]) -> Rc<RefCell<MemoryFiles>> {
        let mut files = MemoryFiles::new();
        for target in TARGETS {
            let more = if target == "shutdown" { "DefaultDependencies=no\n" } else { "" };
            files.file(format!("/usr/lib/systemd/system/{target}.target"), format!("[Unit]\n{more}"));
        }
        for (name, text) in texts {
            files.file(format!("/etc/systemd/system/{name}"), text.clone());
        }
        Rc::new(RefCell::new(files))
    }

    fn core_of(state: &Rc<RefCell<State>>, disk: &Rc<RefCell<MemoryFiles>>, surroundings: &Surroundings) -> Core {
        let loader =
            Loader::new(Disk(Rc::clone(disk)), SearchPath::system(), Host::default(), ManagerDefaults::default());
        Core::new(Box::new(Double(Rc::clone(state))), Box::new(FileLoads(loader)), surroundings.clone())
    }

    /// Other files are there from now on, instead of those of these names or beside them, and are read
    /// (`daemon-reload`). Without a text: the file is gone.
    pub fn rewrite(&mut self, files: &[(&str, Option<&str>)]) {
        for (name, text) in files {
            self.files.retain(|(known, _)| known != name);
            self.files.extend(text.map(|text| ((*name).to_owned(), text.to_owned())));
        }
        let disk = Self::disk_of(&self.files).take();
        self.disk.replace(disk);
        self.core.reload_files();
        self.run();
    }

    /// Another manager takes over from what this one has written down.
    pub fn replace_manager(&mut self) {
        let ids: Vec<UnitId> = self.core.table.iter().map(|unit| unit.id).collect();
        let units = ids.into_iter().filter_map(|id| self.core.saved(id)).collect();
        let queue = self.core.saved_queue();
        // What is watched is this process's business; what is open is process 1's.
        self.state.borrow_mut().watched_ports.clear();
        self.state.borrow_mut().watched_paths.clear();
        let mut core = Self::core_of(&self.state, &self.disk, &self.surroundings);
        // The system has not come up anew.
        core.started = self.core.started;
        core.begin();
        core.restore(units, queue);
        self.cluster = self.core.take_cluster().or(self.cluster.take());
        if let Some(cluster) = self.cluster.clone() {
            core.restore_cluster(cluster);
        }
        core.settle();
        self.core = core;
        self.run();
    }

    /// Lets the core take in what happened by itself: those that a signal ended.
    pub fn run(&mut self) {
        loop {
            self.core.settle();
            // What is left of a large turn comes in turns of its own, at once.
            let now = self.state.borrow().now.monotonic;
            while self.core.next_due().0.is_some_and(|at| at <= now) {
                self.core.settle();
            }
            let ended = std::mem::take(&mut self.state.borrow_mut().ended);
            self.told.extend(self.core.take_outgoing());
            if ended.is_empty() {
                break;
            }
            for (pid, exit) in ended {
                self.tell_exit(pid, exit);
            }
        }
    }

    fn tell_exit(&mut self, pid: u32, exit: Exit) {
        let group = self.state.borrow().processes[&pid].group.clone();
        self.core.handle(Event::Exited { pid: Pid(pid), exit });
        let mut at = group.as_str();
        loop {
            if self.state.borrow().below(at).is_empty() {
                self.core.handle(Event::GroupEmpty(at.to_owned()));
            }
            match at.rsplit_once('/') {
                Some((above, _)) => at = above,
                None => break,
            }
        }
    }

    /// Something happens.
    pub fn tell(&mut self, event: Event) {
        self.core.handle(event);
        self.run();
    }

    /// A process ends.
    pub fn exit(&mut self, pid: u32, exit: Exit) {
        self.state.borrow_mut().processes.get_mut(&pid).unwrap().alive = false;
        self.tell_exit(pid, exit);
        self.run();
    }

    /// Somebody connects at a unit's port: the event comes if the port is watched, as it would from the kernel.
    pub fn connect(&mut self, unit: &str, place: usize) -> bool {
        let Some(id) = self.core.table.find(&name(unit)) else { return false };
        let ports = &self.core.unit(id).runtime.kind.socket().ports;
        let Some(port) = ports.get(place).map(|port| port.key.clone()) else { return false };
        let watched = self.state.borrow().watched_ports.contains(&port);
        if watched {
            self.tell(Event::Port { unit: name(unit), port });
        }
        watched
    }

    /// Something happens at a path: the units that watch it for that are told, as the kernel's word would be passed on.
    /// How many.
    pub fn happens(&mut self, path: &str) -> usize {
        let state = self.state.borrow();
        let counts = |watch: &PathWatch| {
            let is_event = matches!(watch.event, PathEvent::Changed | PathEvent::Modified);
            watch.path == path && (is_event || state.holds(watch))
        };
        let watched = state.watched_paths.iter().filter(|(_, watches)| watches.iter().any(counts));
        let units: Vec<String> = watched.map(|(unit, _)| unit.clone()).collect();
        drop(state);
        for unit in &units {
            self.tell(Event::PathChanged(name(unit)));
        }
        units.len()
    }

    /// Something is there, or is not any more.
    pub fn set_there(&mut self, path: &str, there: bool) -> usize {
        let mut state = self.state.borrow_mut();
        if there {
            state.paths_that_hold.insert(path.to_owned());
        } else {
            state.paths_that_hold.remove(path);
        }
        drop(state);
        self.happens(path)
    }

    /// As [`World::connect`], from an internet address to a port of `Accept=yes`.
    pub fn connect_from(&mut self, unit: &str, address: &str, port: u16) -> bool {
        let instance = format!("10.0.0.1:22-{address}:{port}");
        let peer = Peer { instance, address: Some(address.to_owned()), port: Some(port) };
        self.state.borrow_mut().waiting.push_back(Ok(peer));
        self.connect(unit, 0)
    }

    /// A process of nobody's making: a child that a service made.
    pub fn fork(&mut self, parent: u32) -> u32 {
        let mut state = self.state.borrow_mut();
        state.next_pid += 1;
        let pid = 100 + state.next_pid;
        let process = state.processes[&parent].clone();
        state.processes.insert(pid, process);
        pid
    }

    /// Time passes; what becomes due meanwhile is done when it is.
    pub fn pass(&mut self, seconds: f64) {
        let mut left = (seconds * 1e6) as u64;
        loop {
            let now = self.state.borrow().now;
            let (monotonic, realtime) = self.core.next_due();
            let wait = [
                monotonic.map(|at| at.saturating_sub(now.monotonic)),
                realtime.map(|at| at.saturating_sub(now.realtime)),
            ];
            let step = wait.into_iter().flatten().min().unwrap_or(u64::MAX).min(left);
            let mut state = self.state.borrow_mut();
            state.now = Moment { realtime: now.realtime + step, monotonic: now.monotonic + step };
            drop(state);
            left -= step;
            self.core.handle(Event::Tick);
            self.run();
            if left == 0 {
                break;
            }
        }
    }

    /// As `systemctl VERB UNIT`.
    pub fn request(&mut self, request: Request, unit: &str) {
        self.core.request(unit, request, JobMode::Replace).unwrap();
        self.run();
    }

    pub fn start(&mut self, unit: &str) {
        self.request(Request::Start, unit);
    }

    pub fn stop(&mut self, unit: &str) {
        self.request(Request::Stop, unit);
    }

    /// A message at the notification socket.
    pub fn notify(&mut self, pid: u32, text: &str) {
        self.core.handle(Event::Notified(Notification::parse(Some(Pid(pid)), text.as_bytes(), vec![])));
        self.run();
    }

    /// The coarse state and the fine one: `active (running)`.
    pub fn state(&self, unit: &str) -> String {
        let Some(id) = self.core.table.find(&name(unit)) else { return "not there".to_owned() };
        let unit = self.core.unit(id);
        format!("{} ({})", unit.active().word(), unit.sub_state())
    }

    pub fn id(&self, unit: &str) -> UnitId {
        self.core.table.find(&name(unit)).unwrap()
    }

    /// The processes of a unit that live, with their command lines.
    pub fn live(&self, unit: &str) -> Vec<(u32, String)> {
        let state = self.state.borrow();
        let of_unit = |process: &&Process| process.alive && process.unit == unit;
        state.processes.iter().filter(|(_, p)| of_unit(p)).map(|(pid, p)| (*pid, p.line.clone())).collect()
    }

    /// The only process of a unit that lives.
    pub fn only(&self, unit: &str) -> u32 {
        let live = self.live(unit);
        assert_eq!(live.len(), 1, "{unit}: {live:?}");
        live[0].0
    }

    /// The command lines that were run, in their order.
    pub fn lines(&self) -> Vec<String> {
        self.state.borrow().processes.values().map(|process| process.line.clone()).collect()
    }

    /// How jobs of a unit ended, in their order.
    pub fn results(&self, unit: &str) -> Vec<JobResult> {
        let of_unit = |told: &Outgoing| match told {
            Outgoing::JobRemoved { unit: known, result, .. } if known.as_str() == unit => Some(*result),
            _ => None,
        };
        self.told.iter().filter_map(of_unit).collect()
    }

    /// Signals that were sent, but for SIGCONT.
    pub fn signals(&self) -> Vec<(u32, i32)> {
        self.state.borrow().signals.iter().copied().filter(|(_, signal)| *signal != 18).collect()
    }

    /// Whether a line of the log has these words.
    pub fn logged(&self, words: &str) -> bool {
        self.state.borrow().log.iter().any(|(_, unit, text)| format!("{unit}: {text}").contains(words))
    }
}
