// SPDX-License-Identifier: GPL-2.0-or-later
//! The machine this runs on, as [`System`]: what the core asks for is done here, at once, or not at all.
//!
//! ```text
//!   Core ──System──▶ Machine ─┬─ processes.rs  spawn and signals       (ssi-launch, memory.rs: what is under way)
//!                             ├─ groups.rs     control groups          (ssi-launch)
//!                             ├─ kernel.rs     sockets, paths, autofs  (ssi-watch, kept.rs)
//!                             └─ files.rs      small things in the file system
//! ```
//!
//! The main loop and the core hold the same [`Inner`]; who borrows it lets go of it before the core is called.

mod files;
mod groups;
mod kernel;
mod names;
mod ports;
mod processes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use ssi_keep::link::Link;
use ssi_launch::cgroup::{Cgroups, Watch};
use ssi_launch::{Launcher, Reports};
use ssi_manager::core::exec::Start;
use ssi_manager::core::system::{Except, FdKey, Feature, Moment, Peer, Pid, Priority, Result, System, SystemError};
use ssi_unit::condition::{Condition, Evaluation, ThisMachine};
use ssi_unit::config::path::PathWatch;
use ssi_unit::config::{CgroupConfig, SocketConfig, UnitConfig};
use ssi_unit::name::UnitName;

use crate::journal::Journal;
use crate::kept::Kept;
use crate::memory::Memory;
use crate::poller::Poller;

pub(crate) use kernel::Kernel;
pub(crate) use processes::is_executor;

/// A start whose program does not run yet.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(crate) unit: UnitName,
    pub(crate) reports: Reports,
    /// The core is to be told when the program runs.
    pub(crate) tell: bool,
    /// What of its settings it does not get.
    pub(crate) warnings: Vec<String>,
}

/// All that acts.
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) memory: Memory,
    pub(crate) kept: Kept,
    pub(crate) poller: Poller,
    pub(crate) journal: Journal,
    pub(crate) launcher: Launcher,
    pub(crate) groups: Cgroups,
    pub(crate) groups_watch: Watch,
    pub(crate) kernel: Kernel,
    pub(crate) conditions: ThisMachine,
    pub(crate) starting: BTreeMap<u32, Starting>,
    /// Those of them that wait until this turn is on record.
    pub(crate) gated: Vec<u32>,
    /// Descriptors that services have stored and whose other ends are watched, by the numbers they are watched under.
    pub(crate) stored: BTreeMap<u32, FdKey>,
    /// Starting processes of an earlier manager, whose reports nobody reads any more.
    pub(crate) unheard: Vec<Pid>,
    /// Processes of an earlier manager that may wait for its word, which it did not live to give.
    pub(crate) orphaned: Vec<Pid>,
    /// What every process finds in its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// What processes wait for that are to begin when all is quiet (`Type=idle`): it is closed then.
    pub(crate) idle: Option<(OwnedFd, OwnedFd)>,
    pub(crate) notify_path: String,
    /// Where the machine's time stamps of timers are.
    pub(crate) stamps: PathBuf,
    /// The core cannot be told that a write to what keeps its state failed: the main loop looks here.
    pub(crate) broken: Option<anyhow::Error>,
}

/// [`Inner`] as the core sees it.
#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Rc<RefCell<Inner>>);

impl Inner {
    /// A line of the log.
    pub(crate) fn log(&mut self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        self.journal.write(priority, unit.map(UnitName::as_str), text);
    }

    /// What could not be told to process 1 ends this manager: the next one starts from what is written.
    pub(crate) fn told(&mut self, result: std::result::Result<(), ssi_keep::link::LinkError>) {
        if let Err(error) = result {
            self.broken.get_or_insert_with(|| anyhow::Error::new(error).context("telling process 1 what to keep"));
        }
    }

    /// Keeps a descriptor beyond this process.
    pub(crate) fn keep(&mut self, key: FdKey, fd: OwnedFd) {
        let told = self.kept.put(&mut self.link, key, fd);
        self.told(told);
    }

    /// Lets go of one.
    pub(crate) fn let_go(&mut self, key: &FdKey) {
        self.unwatch_stored(key);
        let told = self.kept.close(&mut self.link, key);
        self.told(told);
    }
}

/// What `error` says, as the core takes it.
pub(crate) fn failed(what: impl Into<String>, error: impl Into<std::io::Error>) -> SystemError {
    SystemError::new(what, &error.into())
}

/// What it is now by both clocks.
pub(crate) fn now() -> Moment {
    let usec = |clock| {
        let time = rustix::time::clock_gettime(clock);
        u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000)
            + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
    };
    Moment { realtime: usec(rustix::time::ClockId::Realtime), monotonic: usec(rustix::time::ClockId::Monotonic) }
}

/// Random bits; of a kernel that has none yet, what the clock gives.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(16) => u128::from_le_bytes(bytes),
        _ => {
            let moment = now();
            (u128::from(moment.realtime) << 64 | u128::from(moment.monotonic))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        }
    }
}

impl System for Machine {
    fn supports(&self, feature: Feature) -> bool {
        self.0.borrow().kernel.supports(feature)
    }

    fn now(&self) -> Moment {
        now()
    }

    fn boottime_ms(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
        seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
    }

    fn random(&mut self) -> u128 {
        random()
    }

    fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid> {
        self.0.borrow_mut().spawn(unit, start)
    }

    fn kill(&mut self, pid: Pid, signal: i32) -> Result<bool> {
        ssi_launch::cgroup::signal_process(pid.0, signal)
            .map_err(|errno| failed(format!("sending signal {signal} to process {pid}"), errno))
    }

    fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize> {
        self.0.borrow_mut().kill_group(cgroup, signal, except)
    }

    fn make_group(&mut self, cgroup: &str, limits: &CgroupConfig) -> Result<()> {
        self.0.borrow_mut().make_group(cgroup, limits)
    }

    fn remove_group(&mut self, cgroup: &str) {
        self.0.borrow_mut().remove_group(cgroup);
    }

    fn group_populated(&self, cgroup: &str) -> bool {
        self.0.borrow().groups.populated(cgroup)
    }

    fn group_processes(&self, cgroup: &str) -> Vec<Pid> {
        self.0.borrow().groups.processes(cgroup).into_iter().map(Pid).collect()
    }

    fn move_to_group(&mut self, cgroup: &str, pids: &[Pid]) -> Result<()> {
        let pids: Vec<u32> = pids.iter().map(|pid| pid.0).collect();
        let moved = self.0.borrow().groups.move_to(cgroup, &pids);
        moved.map_err(groups::refused)
    }

    fn is_alive(&self, pid: Pid) -> bool {
        processes::is_alive(pid)
    }

    fn read_pid_file(&self, path: &str) -> Result<Pid> {
        files::read_pid_file(path)
    }

    fn group_of(&self, pid: Pid) -> Option<String> {
        self.0.borrow().groups.group_of(pid.0)
    }

    fn is_same_file(&self, one: &FdKey, other: &FdKey) -> bool {
        let inner = self.0.borrow();
        match (inner.kept.get(one), inner.kept.get(other)) {
            (Some(one), Some(other)) => ssi_watch::is_same_file(one, other),
            _ => false,
        }
    }

    fn remove_path(&mut self, path: &str) {
        if let Err(error) = files::remove(path) {
            self.0.borrow_mut().log(Priority::Warning, None, &format!("cannot remove {path}: {error}"));
        }
    }

    fn log(&mut self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        self.0.borrow_mut().log(priority, unit, text);
    }

    fn open_ports(&mut self, unit: &UnitName, config: &SocketConfig, keys: &[FdKey]) -> Result<()> {
        self.0.borrow_mut().open_ports(unit, config, keys)
    }

    fn watch_ports(&mut self, unit: &UnitName, keys: &[FdKey], on: bool) {
        self.0.borrow_mut().watch_ports(unit, keys, on);
    }

    fn accept(&mut self, port: &FdKey, key: &FdKey) -> Result<Peer> {
        self.0.borrow_mut().accept(port, key)
    }

    fn flush(&mut self, port: &FdKey) {
        self.0.borrow_mut().flush(port);
    }

    fn close(&mut self, keys: &[FdKey]) {
        self.0.borrow_mut().close(keys);
    }

    fn remove_ports(&mut self, unit: &UnitName, config: &SocketConfig) {
        self.0.borrow_mut().remove_ports(unit, config);
    }

    fn watch_paths(&mut self, unit: &UnitName, specs: &[PathWatch]) -> Result<()> {
        self.0.borrow_mut().watch_paths(unit, specs)
    }

    fn unwatch_paths(&mut self, unit: &UnitName) {
        self.0.borrow_mut().unwatch_paths(unit);
    }

    fn path_holds(&self, spec: &PathWatch) -> bool {
        kernel::path_holds(spec)
    }

    fn stamp(&self, unit: &UnitName) -> Option<u64> {
        files::stamp(&self.0.borrow().stamps, unit)
    }

    fn set_stamp(&mut self, unit: &UnitName, at: u64) {
        let mut inner = self.0.borrow_mut();
        if let Err(error) = files::set_stamp(&inner.stamps, unit, at) {
            inner.log(
                Priority::Warning,
                Some(unit),
                &format!("when it elapsed cannot be noted for the next boot: {error}"),
            );
        }
    }

    fn fixed_number(&self, unit: &UnitName) -> u64 {
        files::fixed_number(unit)
    }

    fn time_zone(&self) -> jiff::tz::TimeZone {
        files::time_zone()
    }

    fn evaluate(&self, conditions: &[Condition]) -> Evaluation {
        ssi_unit::condition::evaluate(conditions, &self.0.borrow().conditions)
    }

    fn watch_pid_file(&mut self, unit: &UnitName, path: &str) -> Result<()> {
        self.0.borrow_mut().watch_pid_file(unit, path)
    }

    fn unwatch_pid_file(&mut self, unit: &UnitName) {
        self.0.borrow_mut().unwatch_pid_file(unit);
    }

    fn remove_directories(&mut self, unit: &UnitName, config: &UnitConfig, restart: bool) {
        let mut inner = self.0.borrow_mut();
        for problem in inner.launcher.remove_directories(unit, config, restart) {
            inner.log(Priority::Warning, Some(unit), &problem);
        }
    }

    fn make_directory(&mut self, path: &str, mode: u32) -> Result<()> {
        files::make_directory(path, mode)
    }

    fn autofs_open(
        &mut self,
        unit: &UnitName,
        place: &str,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<()> {
        self.0.borrow_mut().autofs_open(unit, place, key, options, expire_idle)
    }

    fn autofs_answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()> {
        self.0.borrow_mut().autofs_answer(key, tokens, status)
    }

    fn autofs_expire(&mut self, key: &FdKey) -> Result<()> {
        self.0.borrow_mut().autofs_expire(key)
    }

    fn autofs_close(&mut self, key: &FdKey) {
        self.0.borrow_mut().autofs_close(key);
    }
}
