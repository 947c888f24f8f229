// SPDX-License-Identifier: GPL-2.0-or-later
//! Executing process 1 anew: on SIGTERM or at the manager's wish, after an upgrade; and after a fault of its own.
//!
//! A new program that does not work would be a dead process 1, which the kernel answers with a panic. So it is first
//! tried in a child (`ssi-init --try=FORMAT`: can it be loaded, does it know the format of the state?), and only if that
//! ends well, executed.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::event::epoll;
use ssi_pid1::protocol::{Greeting, Name, Why};

use super::{LINK, Pid1, Stage, Trial};
use crate::manager::{Ending, Handover, Manager};
use crate::reap::Exits;
use crate::say::say;
use crate::state::{self, Carried, Writer};
use crate::sys::{Moment, process};
use crate::watchdog::Watchdog;

/// The kind of `ToPid1::Reexec`.
const REEXEC: u16 = 8;
/// How long a new program may take to say that it works.
const TRIAL: Duration = Duration::from_secs(10);
/// So many faults, each within [`FAULT_SPAN`] of the one before, and executing anew is no cure.
const FAULTS: u32 = 3;
const FAULT_SPAN: Duration = Duration::from_secs(60);

impl Pid1 {
    /// Tries the new program in a child; what follows is in [`Self::tried`].
    pub(super) fn try_new_program(&mut self, asked: bool) {
        if !matches!(self.stage, Stage::Serving { .. }) || self.trial.is_some() {
            return;
        }
        let program = self.itself.program();
        let child = process::fork(|| {
            process::plain_signals();
            let program = std::ffi::OsStr::from_bytes(program.to_bytes());
            let error = Command::new(program).arg(format!("--try={}", state::FORMAT)).exec();
            say!(Error, "trying {}: {error}", program.display());
            127
        });
        match child {
            Ok(child) => self.trial = Some(Trial { child, latest: Moment::now() + TRIAL, asked }),
            Err(error) => self.not_executed(asked, Why::System, Some(error)),
        }
    }

    /// The trial is over. Goes on as the new program, if that works.
    pub(super) fn tried(&mut self, works: bool) {
        let Some(trial) = self.trial.take() else { return };
        if works {
            let error = self.execute();
            self.not_executed(trial.asked, Why::System, Some(error));
        } else {
            // It may still run: its exit is then one like that of any other child.
            let _ = nix::sys::signal::kill(trial.child, nix::sys::signal::Signal::SIGKILL);
            self.not_executed(trial.asked, Why::NewProgramFails, None);
        }
    }

    fn not_executed(&mut self, asked: bool, why: Why, errno: Option<Errno>) {
        let said = errno.map_or("the new program does not work", Errno::desc);
        let program = std::ffi::OsStr::from_bytes(self.itself.program().to_bytes());
        say!(Error, "process 1 is not executed anew, {}: {said}; it goes on as it is", program.display());
        if asked && self.reply.is_none() {
            let errno = errno.map_or(0, |e| e as i32);
            self.reply =
                Some(ssi_pid1::protocol::FromPid1::Refused(ssi_pid1::protocol::Refusal { kind: REEXEC, why, errno }));
        }
    }

    /// Writes what is kept and becomes the new program. Returns only if that failed.
    fn execute(&mut self) -> Errno {
        // An answer that is on its way would be lost.
        self.speak();
        let error = match self.write_state() {
            Ok(()) => self.itself.execute(),
            Err(error) => error,
        };
        state::close_on_exec_again(self.carried_fds());
        error
    }

    fn write_state(&self) -> Result<(), Errno> {
        use std::os::fd::AsFd as _;
        let mut writer = Writer::begin(self.state.as_fd());
        let link = self.manager.as_ref().and_then(|manager| manager.link.as_ref());
        writer.numbers(&self.numbers(), link.map(|link| link.as_fd()));
        for place in 0..self.kept.len() {
            if let Some((name, fd)) = self.kept.at(place) {
                writer.kept(name, fd);
            }
        }
        if let Some(snapshot) = &self.kept.snapshot {
            writer.snapshot(snapshot.as_fd());
        }
        if let Some(watchdog) = self.watchdog.parts() {
            writer.watchdog(watchdog);
        }
        for signal in self.untold.iter() {
            writer.signal(signal);
        }
        writer.end()
    }

    /// Goes on with what the program before this one has carried over.
    pub(super) fn resume(&mut self, carried: Carried, now: Moment) {
        let numbers = carried.numbers;
        self.stage = Stage::Serving { start: now };
        self.starts = numbers.starts;
        self.exits = Exits::resume(numbers.seq, numbers.told);
        self.booted_us = numbers.booted_us;
        self.node = numbers.node;
        self.flags = numbers.flags | Greeting::REEXECUTED;
        self.shell = numbers.shell.map(Pid::from_raw);
        self.faults = numbers.faults;
        self.last_fault = numbers.last_fault;
        self.kept.snapshot = carried.snapshot;
        for (name, fd) in carried.kept {
            // Read from a table of the same size.
            if let Some(name) = Name::new(&name) {
                let _ = self.kept.keep(name, fd);
            }
        }
        for signal in carried.signals {
            self.untold.note(signal);
        }
        if let Some((device, timeout, until)) = carried.watchdog {
            self.watchdog = Watchdog::resume(device, timeout, until, now);
        }
        if let Some(manager) = numbers.manager {
            let mut manager = Manager {
                pid: Pid::from_raw(manager.pid),
                link: carried.link.map(Into::into),
                born: manager.born,
                greeted: manager.greeted,
                handover: manager.again.then_some(Handover::Hello),
                heard: now,
                ending: Ending::No,
                full: false,
            };
            let watched = manager.link.as_ref().is_some_and(|link| {
                epoll::add(&self.epoll, link, epoll::EventData::new_u64(LINK), epoll::EventFlags::IN).is_ok()
            });
            if !watched {
                say!(Error, "the link to the manager did not come through the exec: starting another manager");
                manager.kill();
            }
            self.manager = Some(manager);
        }
        say!(Note, "process 1 was executed anew; {} descriptors kept", self.kept.len());
    }

    /// Process 1 itself has a fault, and this is all that still runs of it. Executes it anew, with what is kept; if
    /// that does not help, leaves a shell on the console and everything else as it is.
    pub(crate) fn rescue(&mut self, signal: i32) -> ! {
        let now = Moment::now();
        self.faults = if now.since(self.last_fault) <= FAULT_SPAN { self.faults.saturating_add(1) } else { 1 };
        self.last_fault = now;
        say!(
            Emergency,
            "process 1 has a fault of its own ({}, {} in a row). Please report this. It is executed anew; services run on",
            if signal == 0 { "panic" } else { signal_name(signal) },
            self.faults
        );
        if self.faults <= FAULTS && matches!(self.stage, Stage::Serving { .. }) {
            let error = match self.write_state() {
                Ok(()) => self.itself.execute(),
                Err(error) => error,
            };
            say!(Emergency, "executing process 1 anew: {}", error.desc());
        }
        hold(self)
    }
}

/// A name without asking for memory.
fn signal_name(number: i32) -> &'static str {
    nix::sys::signal::Signal::try_from(number).map_or("a signal", nix::sys::signal::Signal::as_str)
}

/// Nothing else is left: a shell on the console for whoever comes, and the dead are taken away. The services that run
/// run on.
fn hold(pid1: &Pid1) -> ! {
    say!(Emergency, "process 1 starts nothing any more; there is a shell on the console to save what can be saved");
    loop {
        let shell = crate::console::start_shell(&pid1.settings);
        let mut there = shell.is_ok();
        let mut idle = 0;
        while there || idle < 30 {
            while let Some(exit) = process::reap(process::Whom::Any) {
                there &= shell.is_ok_and(|shell| shell.as_raw() != exit.pid);
            }
            idle += 1;
            let _ = rustix::thread::nanosleep(&rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 });
        }
    }
}
