// SPDX-License-Identifier: GPL-2.0-or-later
//! A machine that is none: processes are entries in a table. A program called `true` ends well at once and one called
//! `false` does not; what gets a signal that ends processes ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use ssi_manager::core::exec::Start;
use ssi_manager::core::system::{
    Except, Exit, FdKey, Feature, Moment, Peer, Pid, Priority, Result, System, SystemError,
};
use ssi_unit::condition::{Condition, Evaluation, Outcome};
use ssi_unit::config::path::PathWatch;
use ssi_unit::config::{CgroupConfig, SocketConfig, UnitConfig};
use ssi_unit::name::UnitName;

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    pub unit: String,
    pub line: String,
    pub group: String,
    pub alive: bool,
}

/// All there is.
#[derive(Debug, Default)]
pub struct State {
    random: u128,
    next_pid: u32,
    pub processes: BTreeMap<u32, Process>,
    pub groups: BTreeSet<String>,
    pub signals: Vec<(u32, i32)>,
    pub ended: Vec<(u32, Exit)>,
    pub log: Vec<String>,
}

impl State {
    fn signal(&mut self, pid: u32, signal: i32) -> bool {
        let Some(process) = self.processes.get_mut(&pid).filter(|process| process.alive) else { return false };
        self.signals.push((pid, signal));
        if !matches!(signal, 1 | 10 | 12 | 18) {
            process.alive = false;
            self.ended.push((pid, Exit::Signal(signal)));
        }
        true
    }

    fn below(&self, group: &str) -> Vec<u32> {
        let inside = |own: &str| own == group || own.strip_prefix(group).is_some_and(|rest| rest.starts_with('/'));
        let found = self.processes.iter().filter(|(_, process)| process.alive && inside(&process.group));
        found.map(|(pid, _)| *pid).collect()
    }

    /// A process that nobody here started.
    pub fn stranger(&mut self, pid: u32) {
        let process = Process { unit: String::new(), line: "stranger".into(), group: "user.slice".into(), alive: true };
        self.processes.insert(pid, process);
    }
}

/// The machine.
#[derive(Clone)]
pub struct Double(pub Arc<Mutex<State>>);

impl Double {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn unable(what: &str) -> SystemError {
    SystemError { what: what.to_owned(), said: "the test does not let it".to_owned(), errno: 11 }
}

impl System for Double {
    fn supports(&self, _: Feature) -> bool {
        true
    }

    fn now(&self) -> Moment {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = monotonic.tv_sec as u64 * 1_000_000 + monotonic.tv_nsec as u64 / 1000;
        let realtime = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        Moment { realtime, monotonic }
    }

    fn boottime_ms(&self) -> u64 {
        self.now().monotonic / 1000
    }

    fn random(&mut self) -> u128 {
        let mut state = self.state();
        state.random = state.random.wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5679);
        state.random
    }

    fn spawn(&mut self, unit: &UnitName, start: &Start) -> Result<Pid> {
        let mut state = self.state();
        state.next_pid += 1;
        let pid = 4_000_000 + state.next_pid;
        let words: Vec<_> = start.command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let group =
            start.subgroup.as_ref().map_or_else(|| start.cgroup.clone(), |sub| format!("{}/{sub}", start.cgroup));
        let ends = match words.first().and_then(|word| word.rsplit('/').next()) {
            Some("true") => Some(Exit::Code(0)),
            Some("false") => Some(Exit::Code(1)),
            _ => None,
        };
        let process = Process { unit: unit.to_string(), line: words.join(" "), group, alive: ends.is_none() };
        state.processes.insert(pid, process);
        state.ended.extend(ends.map(|exit| (pid, exit)));
        Ok(Pid(pid))
    }

    fn kill(&mut self, pid: Pid, signal: i32) -> Result<bool> {
        Ok(self.state().signal(pid.0, signal))
    }

    fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize> {
        let mut state = self.state();
        let pids: Vec<u32> = state.below(cgroup).into_iter().filter(|pid| !except.pids.contains(&Pid(*pid))).collect();
        Ok(pids.into_iter().filter(|pid| state.signal(*pid, signal)).count())
    }

    fn make_group(&mut self, cgroup: &str, _: &CgroupConfig) -> Result<()> {
        self.state().groups.insert(cgroup.to_owned());
        Ok(())
    }

    fn remove_group(&mut self, cgroup: &str) {
        self.state().groups.remove(cgroup);
    }

    fn group_populated(&self, cgroup: &str) -> bool {
        !self.state().below(cgroup).is_empty()
    }

    fn group_processes(&self, cgroup: &str) -> Vec<Pid> {
        self.state().below(cgroup).into_iter().map(Pid).collect()
    }

    fn move_to_group(&mut self, cgroup: &str, pids: &[Pid]) -> Result<()> {
        for pid in pids {
            match self.state().processes.get_mut(&pid.0) {
                Some(process) if process.alive => cgroup.clone_into(&mut process.group),
                _ => return Err(unable(&format!("moving process {pid}"))),
            }
        }
        Ok(())
    }

    fn is_alive(&self, pid: Pid) -> bool {
        self.state().processes.get(&pid.0).is_some_and(|process| process.alive)
    }

    fn read_pid_file(&self, path: &str) -> Result<Pid> {
        Err(unable(&format!("reading {path}")))
    }

    fn group_of(&self, pid: Pid) -> Option<String> {
        self.state().processes.get(&pid.0).filter(|process| process.alive).map(|process| process.group.clone())
    }

    fn remove_path(&mut self, _: &str) {}

    fn log(&mut self, _: Priority, unit: Option<&UnitName>, text: &str) {
        let unit = unit.map_or_else(String::new, |unit| format!("{unit}: "));
        self.state().log.push(format!("{unit}{text}"));
    }

    fn open_ports(&mut self, _: &UnitName, _: &SocketConfig, _: &[FdKey]) -> Result<()> {
        Ok(())
    }

    fn watch_ports(&mut self, _: &UnitName, _: &[FdKey], _: bool) {}

    fn accept(&mut self, _: &FdKey, _: &FdKey) -> Result<Peer> {
        Ok(Peer::default())
    }

    fn flush(&mut self, _: &FdKey) {}

    fn close(&mut self, _: &[FdKey]) {}

    fn watch_paths(&mut self, _: &UnitName, _: &[PathWatch]) -> Result<()> {
        Ok(())
    }

    fn path_holds(&self, _: &PathWatch) -> bool {
        false
    }

    fn remove_ports(&mut self, _: &UnitName, _: &SocketConfig) {}

    fn stamp(&self, _: &UnitName) -> Option<u64> {
        None
    }

    fn set_stamp(&mut self, _: &UnitName, _: u64) {}

    fn fixed_number(&self, _: &UnitName) -> u64 {
        7
    }

    fn time_zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::UTC
    }

    fn unwatch_paths(&mut self, _: &UnitName) {}

    fn evaluate(&self, conditions: &[Condition]) -> Evaluation {
        Evaluation { holds: true, outcomes: conditions.iter().map(|_| Outcome::Holds).collect() }
    }

    fn watch_pid_file(&mut self, _: &UnitName, _: &str) -> Result<()> {
        Ok(())
    }

    fn unwatch_pid_file(&mut self, _: &UnitName) {}

    fn remove_directories(&mut self, _: &UnitName, _: &UnitConfig, _: bool) {}

    fn make_directory(&mut self, _: &str, _: u32) -> Result<()> {
        Ok(())
    }

    fn autofs_open(&mut self, _: &UnitName, place: &str, _: &FdKey, _: Option<&str>, _: Option<u64>) -> Result<()> {
        Err(unable(&format!("mounting autofs at {place}")))
    }

    fn autofs_answer(&mut self, _: &FdKey, _: &[u32], _: i32) -> Result<()> {
        Ok(())
    }

    fn autofs_expire(&mut self, _: &FdKey) -> Result<()> {
        Ok(())
    }

    fn autofs_close(&mut self, _: &FdKey) {}
}
