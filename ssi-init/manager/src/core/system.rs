// SPDX-License-Identifier: GPL-2.0-or-later
//! What the core needs done, as a trait: the real machine implements it at the edge (`sys/`), a double that records
//! and answers as it is told implements it for tests and for replay.
//!
//! A call is an act that is over when it returns, and quick: nothing here waits for a process, a disk of somebody else
//! or a name service. What takes time comes back as an [`Event`](super::Event).

use std::fmt;

use serde::{Deserialize, Serialize};
use ssi_unit::name::UnitName;

use super::entry::Entry;
use super::exec::Start;

/// A process. Numbers are used anew once a process was reaped; PID 1 does that only after its exit was taken note of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended (`waitid(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// It ended by itself, with this status.
    Code(u8),
    /// A signal ended it.
    Signal(i32),
    /// A signal ended it, and the kernel wrote its memory to a file.
    Dumped(i32),
}

/// A moment, told by two clocks. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Of the day; jumps when it is set (`CLOCK_REALTIME`).
    pub realtime: u64,
    /// Since the boot, without the time asleep; never jumps (`CLOCK_MONOTONIC`).
    pub monotonic: u64,
}

impl Moment {
    /// Whether it ever was.
    pub fn is_set(self) -> bool {
        self.realtime != 0
    }
}

/// Which clock a deadline goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Clock {
    /// The monotonic one, as all time-outs do.
    Monotonic,
    /// The time of day, as calendar timers do.
    Realtime,
}

/// The name under which a descriptor is kept, by this process and by PID 1: it is the same after a restart of either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FdKey(pub String);

/// Why something could not be done: what was tried, on what, and what the system said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {said}")]
pub struct SystemError {
    /// What was tried, and on what.
    pub what: String,
    /// What the system said.
    pub said: String,
    /// Its number for it (`errno(3)`); 0 when it has none.
    pub errno: i32,
}

impl SystemError {
    /// From an error of the system.
    pub fn new(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self { what: what.into(), said: error.to_string(), errno: error.raw_os_error().unwrap_or(0) }
    }
}

/// A result of the machine.
pub type Result<T> = std::result::Result<T, SystemError>;

/// Which processes of a control group a signal is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Except {
    /// These are left alone.
    pub pids: Vec<Pid>,
}

/// What not every machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feature {
    /// autofs is in the kernel, and its device is there.
    Automount,
    /// Swap areas may be used.
    Swap,
    /// udev tells of devices.
    Devices,
}

/// The machine.
pub trait System {
    /// Whether it can do that.
    fn supports(&self, feature: Feature) -> bool;

    /// What time it is.
    fn now(&self) -> Moment;

    /// How long ago the machine was started, the time asleep included (`CLOCK_BOOTTIME`); milliseconds.
    fn boottime_ms(&self) -> u64;

    /// Bytes nobody can guess, for invocation ids and random delays.
    fn random(&mut self) -> u128;

    /// A number that is the same for this unit on this machine each time, and another one elsewhere.
    fn fixed_number(&self, unit: &UnitName) -> u64;

    /// Starts a process in the unit's control group. It is a child of PID 1 from the start.
    ///
    /// # Errors
    /// When there is no new process. What goes wrong between the process and its program is its exit status.
    fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid>;

    /// Sends a signal to one process; `Ok(false)` when it is gone.
    ///
    /// # Errors
    /// What the kernel refused.
    fn kill(&mut self, pid: Pid, signal: i32) -> Result<bool>;

    /// Sends a signal to the processes of a control group and of those below it; how many got it.
    ///
    /// # Errors
    /// When the group could not be read.
    fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize>;

    /// Makes a control group, with the limits of its configuration.
    ///
    /// # Errors
    /// When it could not be made. A limit this kernel does not have is logged, not an error.
    fn make_group(&mut self, cgroup: &str, limits: &ssi_unit::config::CgroupConfig) -> Result<()>;

    /// Removes a control group, if nothing is in it.
    fn remove_group(&mut self, cgroup: &str);

    /// Whether a process is in the group or below it. A group that is not there is empty.
    fn group_populated(&self, cgroup: &str) -> bool;

    /// The processes in the group and below it.
    fn group_processes(&self, cgroup: &str) -> Vec<Pid>;

    /// Moves processes into a group.
    ///
    /// # Errors
    /// The first one that could not be moved, and why; the others are moved.
    fn move_to_group(&mut self, cgroup: &str, pids: &[Pid]) -> Result<()>;

    /// Whether a process is there, and a zombie counts as gone.
    fn is_alive(&self, pid: Pid) -> bool;

    /// Reads a PID file below the root; the number in it.
    ///
    /// # Errors
    /// When there is none, or what it holds is no number of a process.
    fn read_pid_file(&self, path: &str) -> Result<Pid>;

    /// The control group a process is in, if it is there.
    fn group_of(&self, pid: Pid) -> Option<String>;

    /// Whether two descriptors are one open file; `false` where that cannot be told.
    fn is_same_file(&self, one: &FdKey, other: &FdKey) -> bool {
        let _ = (one, other);
        false
    }

    /// Removes a file or an empty tree that belongs to a unit (a PID file, a runtime directory).
    fn remove_path(&mut self, path: &str);

    /// Writes a line to the log, about a unit if one is given. `priority` is syslog's.
    fn log(&mut self, priority: Priority, unit: Option<&UnitName>, text: &str);

    /// Opens what a socket unit listens on, under these keys; those that are kept from before are used as they are.
    ///
    /// # Errors
    /// The first that could not be opened; the others are closed again.
    fn open_ports(&mut self, unit: &UnitName, config: &ssi_unit::config::SocketConfig, keys: &[FdKey]) -> Result<()>;

    /// Watches descriptors for something to read, or stops that.
    fn watch_ports(&mut self, unit: &UnitName, keys: &[FdKey], on: bool);

    /// Takes a connection from a listening socket, to be kept under `key`, and never waits for one. One that is kept
    /// under that key already, because a manager took it and ended before anybody got it, is given instead.
    ///
    /// # Errors
    /// What `accept(2)` said, or getpeername(2); `EAGAIN` when nobody waits there.
    fn accept(&mut self, port: &FdKey, key: &FdKey) -> Result<Peer>;

    /// Reads and drops what is waiting at a socket (`FlushPending=`).
    fn flush(&mut self, port: &FdKey);

    /// Closes kept descriptors.
    fn close(&mut self, keys: &[FdKey]);

    /// Watches what a path unit names; the event is [`super::Event::PathChanged`]. Watching again replaces.
    ///
    /// # Errors
    /// When it cannot be watched.
    fn watch_paths(&mut self, unit: &UnitName, specs: &[ssi_unit::config::path::PathWatch]) -> Result<()>;

    /// Whether what a path unit waits for is so now; of `PathChanged=` and `PathModified=`, never.
    fn path_holds(&self, spec: &ssi_unit::config::path::PathWatch) -> bool;

    /// Removes a unit's sockets, FIFOs, queues and links from the file system (`RemoveOnStop=`). What cannot be removed
    /// is logged.
    fn remove_ports(&mut self, unit: &UnitName, config: &ssi_unit::config::SocketConfig);

    /// When a timer with `Persistent=` elapsed last, by its stamp file: microseconds of the day. `None`: never, or no
    /// stamp could be read.
    fn stamp(&self, unit: &UnitName) -> Option<u64>;

    /// Notes that such a timer elapsed at this time of day, in microseconds. What cannot be noted is logged.
    fn set_stamp(&mut self, unit: &UnitName, at: u64);

    /// The machine's time zone, which calendar times without one are in.
    fn time_zone(&self) -> jiff::tz::TimeZone;

    /// Stops watching for a path unit.
    fn unwatch_paths(&mut self, unit: &UnitName);

    /// Looks whether a list of conditions, or of assertions, holds.
    fn evaluate(&self, conditions: &[ssi_unit::condition::Condition]) -> ssi_unit::condition::Evaluation;

    /// Watches for a PID file; the event is [`super::Event::PidFileChanged`].
    ///
    /// # Errors
    /// When it cannot be watched.
    fn watch_pid_file(&mut self, unit: &UnitName, path: &str) -> Result<()>;

    /// Stops watching for a PID file.
    fn unwatch_pid_file(&mut self, unit: &UnitName);

    /// Removes what a unit had for as long as it ran: `RuntimeDirectory=`, private temporary directories, credentials.
    /// `restart`: it is about to be started again.
    fn remove_directories(&mut self, unit: &UnitName, config: &ssi_unit::config::UnitConfig, restart: bool);

    /// Makes a directory, and those above it, for something to be mounted on. One that is there is left as it is.
    ///
    /// # Errors
    /// `ELOOP` when a link is on the way, so that the mount would come to lie elsewhere; `ENOTEMPTY` when it was there
    /// and holds something, which the mount would hide; else what the kernel refused.
    fn make_directory(&mut self, path: &str, mode: u32) -> Result<()>;

    /// Mounts autofs (the kernel's `Documentation/filesystems/autofs.rst`) as a direct mount and keeps its pipe under
    /// `key`; what the kernel asks comes as [`super::Event::AutomountAsked`]. With a key that is kept from before, only
    /// listens again. `options`: more options for the mount, between commas. `expire_idle`: how long it is to be out of
    /// use, in microseconds, before [`System::autofs_expire`] finds something to do.
    ///
    /// # Errors
    /// What the kernel refused; nothing is mounted then.
    fn autofs_open(
        &mut self,
        unit: &UnitName,
        place: &str,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<()>;

    /// Answers what the kernel asked for at an autofs: 0, or a negative `errno(3)`; those who wait go on.
    ///
    /// # Errors
    /// What the kernel refused; the other tokens are answered.
    fn autofs_answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()>;

    /// Has the kernel look whether what is mounted there is out of use. It asks for the end of that if so. The call in
    /// the kernel waits for the answer, so the edge makes it elsewhere.
    ///
    /// # Errors
    /// What the kernel refused.
    fn autofs_expire(&mut self, key: &FdKey) -> Result<()>;

    /// Closes the pipe and takes the autofs away. A file system on top of it stays.
    fn autofs_close(&mut self, key: &FdKey);

    /// The core was entered so, and nothing is done about it yet. Nothing is to follow from this: it is for those who
    /// record.
    fn entered(&mut self, _entry: &Entry<'_>) {}

    /// All that follows from what [`System::entered`] told last is done.
    fn left(&mut self) {}
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// For the name of the instance: addresses and ports, or pid and uid.
    pub instance: String,
    /// `REMOTE_ADDR`, of an internet socket.
    pub address: Option<String>,
    /// `REMOTE_PORT`.
    pub port: Option<u16>,
}

/// How important a line of the log is (`syslog(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Priority {
    /// The machine cannot go on.
    Emergency = 0,
    /// Something failed.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// Normal, and worth knowing.
    Notice = 5,
    /// Normal.
    Info = 6,
    /// For those who look for a mistake.
    Debug = 7,
}
