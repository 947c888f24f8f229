// SPDX-License-Identifier: GPL-2.0-or-later
//! What the core asks of the machine, as values: with as much of each question as tells it from others, and nothing
//! that is to stay where it is.

use std::fmt;

use jiff::tz::{Offset, TimeZone};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ssi_manager::core::entry::Entry;
use ssi_manager::core::exec::Start;
use ssi_manager::core::system::{Except, FdKey, Feature, Moment, Peer, Pid, Priority, Result, System, SystemError};
use ssi_unit::condition::{Condition, ConditionKind, Evaluation, Outcome};
use ssi_unit::config::path::PathWatch;
use ssi_unit::config::{CgroupConfig, SocketConfig, UnitConfig};
use ssi_unit::name::UnitName;

/// A process that is to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its unit.
    pub unit: UnitName,
    /// The program, and its arguments as the unit file has them.
    pub line: Vec<String>,
    /// The control group.
    pub group: String,
    /// One below that.
    pub subgroup: Option<String>,
    /// Variables beside the unit's own, without their values.
    pub variables: Vec<String>,
    /// Sockets, stored descriptors and the connection it gets.
    pub descriptors: Vec<FdKey>,
    /// It gets a notification socket.
    pub notify: bool,
    /// Its watchdog's interval in microseconds.
    pub watchdog: Option<u64>,
    /// It waits until the machine has nothing else to do.
    pub idle: bool,
    /// It counts as started once its program runs.
    pub wait_for_exec: bool,
}

impl Started {
    fn new(unit: &UnitName, start: &Start) -> Self {
        let fds = &start.fds;
        let keys = fds.sockets.iter().chain(&fds.stored).map(|(key, _)| key).chain(&fds.connection);
        Self {
            unit: unit.clone(),
            line: start.command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            group: start.cgroup.clone(),
            subgroup: start.subgroup.clone(),
            variables: start.environment.iter().map(|(name, _)| name.clone()).collect(),
            descriptors: keys.cloned().collect(),
            notify: start.notify,
            watchdog: start.watchdog,
            idle: start.idle,
            wait_for_exec: start.wait_for_exec,
        }
    }
}

/// A question to the machine, or an act of it: the functions of [`System`] by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Call {
    Supports(Feature),
    Boottime,
    Random,
    FixedNumber(UnitName),
    Spawn(Box<Started>),
    Kill { pid: Pid, signal: i32 },
    KillGroup { group: String, signal: i32, except: Vec<Pid> },
    MakeGroup(String),
    RemoveGroup(String),
    GroupPopulated(String),
    GroupProcesses(String),
    MoveToGroup { group: String, pids: Vec<Pid> },
    IsAlive(Pid),
    ReadPidFile(String),
    GroupOf(Pid),
    IsSameFile { one: FdKey, other: FdKey },
    RemovePath(String),
    OpenPorts { unit: UnitName, keys: Vec<FdKey> },
    WatchPorts { unit: UnitName, keys: Vec<FdKey>, on: bool },
    Accept { port: FdKey, key: FdKey },
    Flush(FdKey),
    Close(Vec<FdKey>),
    WatchPaths { unit: UnitName, paths: Vec<String> },
    UnwatchPaths(UnitName),
    PathHolds(String),
    RemovePorts(UnitName),
    Stamp(UnitName),
    SetStamp { unit: UnitName, at: u64 },
    TimeZone,
    Evaluate(Vec<ConditionKind>),
    WatchPidFile { unit: UnitName, path: String },
    UnwatchPidFile(UnitName),
    RemoveDirectories { unit: UnitName, restart: bool },
    MakeDirectory { path: String, mode: u32 },
    AutofsOpen { unit: UnitName, place: String, key: FdKey, options: Option<String>, expire_idle: Option<u64> },
    AutofsAnswer { key: FdKey, tokens: Vec<u32>, status: i32 },
    AutofsExpire(FdKey),
    AutofsClose(FdKey),
}

impl Call {
    /// Whether the machine is another one after it, so that people want to hear of it.
    pub fn is_act(&self) -> bool {
        use Call::*;
        if matches!(self, Close(keys) if keys.is_empty()) {
            return false;
        }
        !matches!(
            self,
            Supports(_)
                | Random
                | FixedNumber(_)
                | GroupPopulated(_)
                | GroupProcesses(_)
                | IsAlive(_)
                | ReadPidFile(_)
                | GroupOf(_)
                | IsSameFile { .. }
                | PathHolds(_)
                | Stamp(_)
                | TimeZone
                | Evaluate(_)
        )
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Spawn(start) => write!(f, "starts `{}` for {} in {}", start.line.join(" "), start.unit, start.group),
            Call::Kill { pid, signal } => write!(f, "sends signal {signal} to process {pid}"),
            Call::KillGroup { group, signal, .. } => write!(f, "sends signal {signal} to the processes of {group}"),
            Call::MakeGroup(group) => write!(f, "makes the control group {group}"),
            Call::RemoveGroup(group) => write!(f, "removes the control group {group}"),
            other => match serde_json::to_string(other) {
                Ok(text) => f.write_str(&text),
                Err(_) => fmt::Debug::fmt(other, f),
            },
        }
    }
}

/// The machine's time zone, by its name, and by how far it was ahead of UTC for where that name is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Zone {
    name: Option<String>,
    seconds: i32,
}

impl Zone {
    fn of(zone: &TimeZone, now: Moment) -> Self {
        let at = i64::try_from(now.realtime).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
        let seconds = zone.to_offset(at.unwrap_or_default()).seconds();
        Self { name: zone.iana_name().map(str::to_owned), seconds }
    }

    fn zone(&self) -> TimeZone {
        let named = self.name.as_deref().and_then(|name| TimeZone::get(name).ok());
        named.unwrap_or_else(|| Offset::from_seconds(self.seconds).map_or(TimeZone::UTC, TimeZone::fixed))
    }
}

/// What comes of a call.
pub(crate) trait Answer: Serialize + DeserializeOwned {
    /// What is answered where a recording knows no answer: it is over, or it was left.
    fn none(call: &Call) -> Self;
}

macro_rules! none {
    ($($kind:ty: $value:expr;)+) => { $(impl Answer for $kind { fn none(_: &Call) -> Self { $value } })+ };
}

none! {
    (): ();
    bool: false;
    u64: 0;
    String: String::new();
    Option<u64>: None;
    Option<String>: None;
    Vec<Pid>: Vec::new();
    Zone: Zone { name: None, seconds: 0 };
}

impl<T: Serialize + DeserializeOwned> Answer for Result<T> {
    fn none(call: &Call) -> Self {
        let said = "the recording has no answer".to_owned();
        Err(SystemError { what: call.to_string(), said, errno: 5 })
    }
}

impl Answer for Evaluation {
    fn none(call: &Call) -> Self {
        let count = if let Call::Evaluate(kinds) = call { kinds.len() } else { 0 };
        Evaluation { holds: false, outcomes: vec![Outcome::Untested; count] }
    }
}

/// What stands between a core and a machine.
pub(crate) trait Deck {
    /// Has it answered.
    fn ask<T: Answer>(&self, call: impl FnOnce() -> Call, act: impl FnOnce(&mut dyn System) -> T) -> T;
    /// What time it is.
    fn now(&self) -> Moment;
    /// A line of the log.
    fn log(&self, priority: Priority, unit: Option<&UnitName>, text: &str);
    /// [`System::entered`]
    fn entered(&self, entry: &Entry<'_>);
    /// [`System::left`]
    fn left(&self);
}

/// A deck as the core sees it.
pub(crate) struct Tapped<D>(pub(crate) D);

impl<D: Deck> System for Tapped<D> {
    fn supports(&self, feature: Feature) -> bool {
        self.0.ask(|| Call::Supports(feature), |sys| sys.supports(feature))
    }

    fn now(&self) -> Moment {
        self.0.now()
    }

    fn boottime_ms(&self) -> u64 {
        self.0.ask(|| Call::Boottime, |sys| sys.boottime_ms())
    }

    fn random(&mut self) -> u128 {
        // As text: what reads JSON takes numbers of this size for something else.
        let digits = self.0.ask(|| Call::Random, |sys| format!("{:032x}", sys.random()));
        u128::from_str_radix(&digits, 16).unwrap_or(0)
    }

    fn fixed_number(&self, unit: &UnitName) -> u64 {
        self.0.ask(|| Call::FixedNumber(unit.clone()), |sys| sys.fixed_number(unit))
    }

    fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid> {
        self.0.ask(|| Call::Spawn(Box::new(Started::new(unit, start))), |sys| sys.spawn(unit, start))
    }

    fn kill(&mut self, pid: Pid, signal: i32) -> Result<bool> {
        self.0.ask(|| Call::Kill { pid, signal }, |sys| sys.kill(pid, signal))
    }

    fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize> {
        self.0.ask(
            || Call::KillGroup { group: cgroup.to_owned(), signal, except: except.pids.clone() },
            |sys| sys.kill_group(cgroup, signal, except),
        )
    }

    fn make_group(&mut self, cgroup: &str, limits: &CgroupConfig) -> Result<()> {
        self.0.ask(|| Call::MakeGroup(cgroup.to_owned()), |sys| sys.make_group(cgroup, limits))
    }

    fn remove_group(&mut self, cgroup: &str) {
        self.0.ask(|| Call::RemoveGroup(cgroup.to_owned()), |sys| sys.remove_group(cgroup));
    }

    fn group_populated(&self, cgroup: &str) -> bool {
        self.0.ask(|| Call::GroupPopulated(cgroup.to_owned()), |sys| sys.group_populated(cgroup))
    }

    fn group_processes(&self, cgroup: &str) -> Vec<Pid> {
        self.0.ask(|| Call::GroupProcesses(cgroup.to_owned()), |sys| sys.group_processes(cgroup))
    }

    fn move_to_group(&mut self, cgroup: &str, pids: &[Pid]) -> Result<()> {
        self.0.ask(
            || Call::MoveToGroup { group: cgroup.to_owned(), pids: pids.to_vec() },
            |sys| sys.move_to_group(cgroup, pids),
        )
    }

    fn is_alive(&self, pid: Pid) -> bool {
        self.0.ask(|| Call::IsAlive(pid), |sys| sys.is_alive(pid))
    }

    fn read_pid_file(&self, path: &str) -> Result<Pid> {
        self.0.ask(|| Call::ReadPidFile(path.to_owned()), |sys| sys.read_pid_file(path))
    }

    fn group_of(&self, pid: Pid) -> Option<String> {
        self.0.ask(|| Call::GroupOf(pid), |sys| sys.group_of(pid))
    }

    fn is_same_file(&self, one: &FdKey, other: &FdKey) -> bool {
        self.0.ask(|| Call::IsSameFile { one: one.clone(), other: other.clone() }, |sys| sys.is_same_file(one, other))
    }

    fn remove_path(&mut self, path: &str) {
        self.0.ask(|| Call::RemovePath(path.to_owned()), |sys| sys.remove_path(path));
    }

    fn log(&mut self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        self.0.log(priority, unit, text);
    }

    fn open_ports(&mut self, unit: &UnitName, config: &SocketConfig, keys: &[FdKey]) -> Result<()> {
        self.0.ask(
            || Call::OpenPorts { unit: unit.clone(), keys: keys.to_vec() },
            |sys| sys.open_ports(unit, config, keys),
        )
    }

    fn watch_ports(&mut self, unit: &UnitName, keys: &[FdKey], on: bool) {
        self.0.ask(
            || Call::WatchPorts { unit: unit.clone(), keys: keys.to_vec(), on },
            |sys| sys.watch_ports(unit, keys, on),
        );
    }

    fn accept(&mut self, port: &FdKey, key: &FdKey) -> Result<Peer> {
        self.0.ask(|| Call::Accept { port: port.clone(), key: key.clone() }, |sys| sys.accept(port, key))
    }

    fn flush(&mut self, port: &FdKey) {
        self.0.ask(|| Call::Flush(port.clone()), |sys| sys.flush(port));
    }

    fn close(&mut self, keys: &[FdKey]) {
        self.0.ask(|| Call::Close(keys.to_vec()), |sys| sys.close(keys));
    }

    fn watch_paths(&mut self, unit: &UnitName, specs: &[PathWatch]) -> Result<()> {
        let paths = || specs.iter().map(|spec| spec.path.clone()).collect();
        self.0.ask(|| Call::WatchPaths { unit: unit.clone(), paths: paths() }, |sys| sys.watch_paths(unit, specs))
    }

    fn path_holds(&self, spec: &PathWatch) -> bool {
        self.0.ask(|| Call::PathHolds(spec.path.clone()), |sys| sys.path_holds(spec))
    }

    fn remove_ports(&mut self, unit: &UnitName, config: &SocketConfig) {
        self.0.ask(|| Call::RemovePorts(unit.clone()), |sys| sys.remove_ports(unit, config));
    }

    fn stamp(&self, unit: &UnitName) -> Option<u64> {
        self.0.ask(|| Call::Stamp(unit.clone()), |sys| sys.stamp(unit))
    }

    fn set_stamp(&mut self, unit: &UnitName, at: u64) {
        self.0.ask(|| Call::SetStamp { unit: unit.clone(), at }, |sys| sys.set_stamp(unit, at));
    }

    fn time_zone(&self) -> TimeZone {
        self.0.ask(|| Call::TimeZone, |sys| Zone::of(&sys.time_zone(), sys.now())).zone()
    }

    fn unwatch_paths(&mut self, unit: &UnitName) {
        self.0.ask(|| Call::UnwatchPaths(unit.clone()), |sys| sys.unwatch_paths(unit));
    }

    fn evaluate(&self, conditions: &[Condition]) -> Evaluation {
        let kinds = || conditions.iter().map(|condition| condition.kind).collect();
        self.0.ask(|| Call::Evaluate(kinds()), |sys| sys.evaluate(conditions))
    }

    fn watch_pid_file(&mut self, unit: &UnitName, path: &str) -> Result<()> {
        self.0.ask(
            || Call::WatchPidFile { unit: unit.clone(), path: path.to_owned() },
            |sys| sys.watch_pid_file(unit, path),
        )
    }

    fn unwatch_pid_file(&mut self, unit: &UnitName) {
        self.0.ask(|| Call::UnwatchPidFile(unit.clone()), |sys| sys.unwatch_pid_file(unit));
    }

    fn remove_directories(&mut self, unit: &UnitName, config: &UnitConfig, restart: bool) {
        self.0.ask(
            || Call::RemoveDirectories { unit: unit.clone(), restart },
            |sys| sys.remove_directories(unit, config, restart),
        );
    }

    fn make_directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.0.ask(|| Call::MakeDirectory { path: path.to_owned(), mode }, |sys| sys.make_directory(path, mode))
    }

    fn autofs_open(
        &mut self,
        unit: &UnitName,
        place: &str,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<()> {
        let call = || Call::AutofsOpen {
            unit: unit.clone(),
            place: place.to_owned(),
            key: key.clone(),
            options: options.map(str::to_owned),
            expire_idle,
        };
        self.0.ask(call, |sys| sys.autofs_open(unit, place, key, options, expire_idle))
    }

    fn autofs_answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()> {
        self.0.ask(
            || Call::AutofsAnswer { key: key.clone(), tokens: tokens.to_vec(), status },
            |sys| sys.autofs_answer(key, tokens, status),
        )
    }

    fn autofs_expire(&mut self, key: &FdKey) -> Result<()> {
        self.0.ask(|| Call::AutofsExpire(key.clone()), |sys| sys.autofs_expire(key))
    }

    fn autofs_close(&mut self, key: &FdKey) {
        self.0.ask(|| Call::AutofsClose(key.clone()), |sys| sys.autofs_close(key));
    }

    fn entered(&mut self, entry: &Entry<'_>) {
        self.0.entered(entry);
    }

    fn left(&mut self) {
        self.0.left();
    }
}
