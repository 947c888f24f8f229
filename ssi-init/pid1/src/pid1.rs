// SPDX-License-Identifier: GPL-2.0-or-later
//! The loop of process 1. One thread; it waits in epoll_wait(2) alone, and asks for no memory.
//!
//! ```text
//!   Booting ──> Serving ──> Ending ──> (reboot, or exec of the initramfs's /shutdown)
//! ```
//!
//! *Booting*: a child mounts and names ([`crate::boot`]); *Serving*: a manager runs, or is about to be started again;
//! *Ending*: a child kills and unmounts ([`crate::shutdown`]). What can fail or hang is done by children, so that
//! process 1 goes on to reap, to pet the watchdog and to answer Ctrl-Alt-Del.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use rustix::event::{Timespec, epoll};
use ssi_pid1::link::Packet;
use ssi_pid1::protocol::{FromPid1, How, Signal, ToPid1};

use crate::boot::{self, Machine};
use crate::console;
use crate::keep::Kept;
use crate::manager::{Ending, Manager};
use crate::reap::Exits;
use crate::restart::Deaths;
use crate::say::say;
use crate::settings::Settings;
use crate::shutdown;
use crate::signals::{self, Meaning, Presses, Untold};
use crate::state::{Carried, Numbers};
use crate::sys::process::{Prepared, Whom, reap};
use crate::sys::{Moment, counted};
use crate::watchdog::Watchdog;

mod link;
mod reexec;

/// What process 1 is about.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would be asked for while the loop runs")]
pub(crate) enum Stage {
    /// The child that boots, and the pipe through which it tells what it found.
    Booting {
        child: Pid,
        found: OwnedFd,
    },
    /// A manager runs, or the next is started at `start`.
    Serving {
        start: Moment,
    },
    Ending(End),
}

/// How it ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) how: How,
    pub(crate) status: u8,
    pub(crate) argument: shutdown::Argument,
    /// The child that kills and unmounts; `None`: it could not be started.
    pub(crate) child: Option<Pid>,
    /// When the machine is ended regardless.
    pub(crate) latest: Moment,
}

/// A new program that is tried before it is executed.
#[derive(Debug)]
struct Trial {
    child: Pid,
    latest: Moment,
    /// Did the manager ask for it? Then it is told if it fails.
    asked: bool,
}

/// Process 1.
pub(crate) struct Pid1 {
    settings: Settings,
    machine: Machine,
    stage: Stage,
    epoll: OwnedFd,
    signals: SignalFd,
    manager: Option<Manager>,
    deaths: Deaths,
    starts: u32,
    kept: Kept,
    exits: Exits,
    untold: Untold,
    presses: Presses,
    /// The one answer that is on its way: while it is, nothing more is read from the manager.
    reply: Option<FromPid1<'static>>,
    packet: Packet,
    watchdog: Watchdog,
    /// The console, watched for the Enter key.
    offer: Option<OwnedFd>,
    shell: Option<Pid>,
    trial: Option<Trial>,
    /// The dead are to be looked at again, without a signal.
    look: bool,
    node: u32,
    flags: u32,
    booted_us: u64,
    faults: u32,
    last_fault: Moment,
    state: OwnedFd,
    itself: Prepared,
    allocated_before: u64,
}

const SIGNALS: u64 = 0;
const LINK: u64 = 1;
const CONSOLE: u64 = 2;

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

impl Pid1 {
    /// Process 1 at its start, or with what it carried through an exec.
    ///
    /// # Errors
    /// No descriptors, no memory: at a start there is no way on from that.
    pub(crate) fn new(
        settings: Settings,
        machine: Machine,
        itself: Prepared,
        state: OwnedFd,
        carried: Option<Carried>,
    ) -> Result<Self, Errno> {
        let now = Moment::now();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?;
        let signals = signals::take_all()?;
        epoll::add(&epoll, signals.as_fd(), epoll::EventData::new_u64(SIGNALS), epoll::EventFlags::IN)
            .map_err(errno)?;
        let mut pid1 = Self {
            settings,
            machine,
            stage: Stage::Serving { start: now },
            epoll,
            signals,
            manager: None,
            deaths: Deaths::default(),
            starts: 0,
            kept: Kept::new(),
            exits: Exits::default(),
            untold: Untold::default(),
            presses: Presses::default(),
            reply: None,
            packet: Packet::new(),
            watchdog: Watchdog::default(),
            offer: None,
            shell: None,
            trial: None,
            look: false,
            node: 0,
            flags: 0,
            booted_us: now.millis().saturating_mul(1000),
            faults: 0,
            last_fault: Moment::default(),
            state,
            itself,
            allocated_before: 0,
        };
        match carried {
            Some(carried) => pid1.resume(carried, now),
            None => {
                let timeout = pid1.settings.watchdog;
                pid1.watch(timeout, None);
                pid1.begin_boot()?;
            }
        }
        Ok(pid1)
    }

    fn watch(&mut self, timeout: Duration, until: Option<Moment>) -> Option<Errno> {
        if self.machine.container && self.settings.watchdog_device.is_none() {
            return (!timeout.is_zero()).then_some(Errno::EOPNOTSUPP);
        }
        let device = self.settings.watchdog_device.as_deref();
        let error = self.watchdog.set(device, timeout, until, Moment::now()).err()?;
        say!(Error, "opening the hardware watchdog: {}; the machine is not watched", error.desc());
        Some(error)
    }

    fn begin_boot(&mut self) -> Result<(), Errno> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(errno)?;
        let child = boot::start(&self.settings, &self.machine, &write)?;
        self.stage = Stage::Booting { child, found: read };
        Ok(())
    }

    /// Runs for ever.
    pub(crate) fn run(&mut self) -> ! {
        self.allocated_before = counted::allocations();
        let mut children = true;
        loop {
            let now = Moment::now();
            if std::mem::take(&mut self.look) || children {
                self.bury(now);
            }
            self.act(now);
            self.speak();
            children = self.wait();
        }
    }

    /// Waits for the next thing to happen. Has a child died?
    fn wait(&mut self) -> bool {
        let now = Moment::now();
        let next = if self.look { Some(now) } else { self.next_moment() };
        let timeout = next.map(|moment| {
            // The clock counts whole ms: one more, so as not to wake just before and turn.
            let span = moment.since(now) + Duration::from_millis(u64::from(moment > now));
            Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), tv_nsec: span.subsec_nanos().into() }
        });
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 4];
        let count = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => {
                // Only a kernel without memory. Better late than busy.
                say!(Error, "waiting for events: {}", errno(error).desc());
                let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 });
                return true;
            }
        };
        let mut children = false;
        for event in events.iter().take(count) {
            match event.data.u64() {
                SIGNALS => children |= self.read_signals(),
                LINK => self.hear(),
                CONSOLE => self.accept_offer(),
                _ => {}
            }
        }
        children
    }

    /// Reads what signals there are. Has a child died?
    fn read_signals(&mut self) -> bool {
        let mut children = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            // A process that is not in this pid namespace has the number 0 here.
            let pid = i32::try_from(info.ssi_pid).unwrap_or(0);
            let signal = Signal { number, code: info.ssi_code, pid, uid: info.ssi_uid };
            match signals::meaning(number) {
                Meaning::Child => children = true,
                Meaning::Reexecute => {
                    self.untold.note(signal);
                    self.try_new_program(false);
                }
                Meaning::CtrlAltDel => {
                    if self.presses.press(Moment::now()) {
                        say!(Emergency, "Ctrl-Alt-Del seven times within 2 s: rebooting now");
                        shutdown::finish_at_once(&self.settings, self.machine.container);
                    }
                    match self.stage {
                        // There are no units to stop.
                        Stage::Booting { .. } => self.end(How::Reboot, 0, None),
                        _ => self.untold.note(signal),
                    }
                }
                Meaning::Now(how) => self.end(how, 0, None),
                Meaning::Tell => self.untold.note(signal),
                Meaning::Nothing => {}
            }
        }
        children
    }

    /// Looks after the children that have died.
    fn bury(&mut self, now: Moment) {
        if let Some(manager) = &self.manager
            && let Some(exit) = reap(Whom::One(manager.pid))
        {
            self.manager_died(exit, now);
        }
        if let Some(shell) = self.shell
            && reap(Whom::One(shell)).is_some()
        {
            self.shell = None;
        }
        if let Some(trial) = &self.trial
            && let Some(exit) = reap(Whom::One(trial.child))
        {
            self.tried(exit.code == nix::libc::CLD_EXITED && exit.status == 0);
        }
        match &self.stage {
            Stage::Serving { .. } => self.look_for_exits(),
            Stage::Booting { child, .. } => {
                let child = *child;
                while let Some(exit) = reap(Whom::Any) {
                    if exit.pid == child.as_raw() {
                        self.booted(exit, now);
                        // From here on exits are the manager's.
                        self.look_for_exits();
                        break;
                    }
                }
            }
            Stage::Ending(end) => {
                let child = end.child;
                while let Some(exit) = reap(Whom::Any) {
                    if child.is_some_and(|child| child.as_raw() == exit.pid) {
                        self.ended(exit);
                    }
                }
            }
        }
    }

    fn look_for_exits(&mut self) {
        let own = [
            self.manager.as_ref().map(|manager| manager.pid),
            self.shell,
            self.trial.as_ref().map(|trial| trial.child),
        ];
        // One of its own may have died since it was looked for by its number.
        self.look |= !self.exits.look(|pid| own.into_iter().flatten().any(|own| own.as_raw() == pid));
    }

    fn booted(&mut self, exit: ssi_pid1::protocol::Exit, now: Moment) {
        let Stage::Booting { found, .. } = &self.stage else { return };
        if exit.status == boot::NO_WAY && self.machine.container {
            shutdown::finish(How::Exit, 1, &shutdown::Argument::default(), true);
        }
        match boot::found(found) {
            Some(found) => {
                self.node = found.node;
                self.flags = found.flags;
            }
            // It tells before it ends, whatever happens; so it was killed, or there is a fault in it.
            None => say!(
                Emergency,
                "the child that boots ended ({} {}) without a word; going on without what it should have done",
                shutdown::way_of(exit.code),
                exit.status
            ),
        }
        self.stage = Stage::Serving { start: now };
    }

    fn manager_died(&mut self, exit: ssi_pid1::protocol::Exit, now: Moment) {
        // What it said before it died counts.
        self.hear_all();
        let Some(manager) = self.manager.take() else { return };
        self.reply = None;
        self.exits.tell_again();
        let Stage::Serving { start } = &mut self.stage else { return };
        let pause = self.deaths.died(manager.born, now, self.settings.restart_max);
        *start = now + pause;
        say!(
            Error,
            "the manager (process {}) has ended ({} {}); services run on, it is started again in {} ms",
            exit.pid,
            shutdown::way_of(exit.code),
            exit.status,
            pause.as_millis()
        );
        if self.settings.quick_deaths != 0 && self.deaths.quick().is_multiple_of(self.settings.quick_deaths) {
            self.offer_shell();
        }
    }

    /// Does what its time has come for.
    fn act(&mut self, now: Moment) {
        self.watchdog.pet(now);
        self.look_after_manager(now);
        if self.trial.as_ref().is_some_and(|trial| now >= trial.latest) {
            self.tried(false);
        }
        match &self.stage {
            Stage::Serving { start } if self.manager.is_none() && now >= *start => self.start_manager(now),
            Stage::Ending(end) if now >= end.latest || end.child.is_none() => {
                say!(Emergency, "the shutdown did not come to its end in time: ending the machine as it is");
                let (how, status, argument) = (end.how, end.status, end.argument);
                shutdown::finish(how, status, &argument, self.machine.container);
            }
            _ => {}
        }
    }

    fn look_after_manager(&mut self, now: Moment) {
        let Some(manager) = &mut self.manager else { return };
        if self.offer.is_some() && manager.greeted && Deaths::is_well(manager.born, now) {
            self.offer = None;
        }
        if manager.deadline(&self.settings).is_none_or(|deadline| now < deadline) {
            return;
        }
        match manager.ending {
            Ending::No => {
                let what = if manager.greeted { "is silent" } else { "does not say hello" };
                let span = now.since(if manager.greeted { manager.heard } else { manager.born });
                say!(Error, "the manager (process {}) {what} for {} ms: ending it", manager.pid, span.as_millis());
                manager.abort(now);
            }
            Ending::Aborted(_) | Ending::Leaving(_) => manager.kill(),
            Ending::Killed => {}
        }
    }

    fn start_manager(&mut self, now: Moment) {
        let started = Manager::start(&self.settings, &self.machine, self.node).and_then(|manager| {
            let data = epoll::EventData::new_u64(LINK);
            let link = manager.link.as_ref().map(|link| epoll::add(&self.epoll, link, data, epoll::EventFlags::IN));
            self.manager = Some(manager);
            link.unwrap_or(Ok(())).map_err(errno)
        });
        match started {
            Ok(()) => self.starts = self.starts.saturating_add(1),
            Err(error) => {
                if let Some(manager) = &mut self.manager {
                    manager.kill();
                }
                let pause = self.deaths.died(now, now, self.settings.restart_max).max(Duration::from_millis(100));
                say!(Error, "starting the manager: {}; trying again in {} ms", error.desc(), pause.as_millis());
                self.stage = Stage::Serving { start: now + pause };
            }
        }
    }

    /// When something is to be done next.
    fn next_moment(&self) -> Option<Moment> {
        let manager = match (&self.stage, &self.manager) {
            (_, Some(manager)) => {
                let offer = self.offer.is_some().then(|| manager.born + Duration::from_secs(10));
                [manager.deadline(&self.settings), offer].into_iter().flatten().min()
            }
            (Stage::Serving { start }, None) => Some(*start),
            _ => None,
        };
        let latest = match &self.stage {
            Stage::Ending(end) => Some(end.latest),
            _ => None,
        };
        let trial = self.trial.as_ref().map(|trial| trial.latest);
        [self.watchdog.due(), manager, latest, trial].into_iter().flatten().min()
    }

    fn offer_shell(&mut self) {
        if self.offer.is_some() || self.shell.is_some() {
            return;
        }
        say!(
            Emergency,
            "the manager {} has died {} times in a row. It is tried on; for a shell press Enter here; Ctrl-Alt-Del \
             seven times within 2 s reboots",
            self.settings.manager.display(),
            self.deaths.quick()
        );
        let Ok(console) = console::open_console(rustix::fs::OFlags::NONBLOCK) else { return };
        let data = epoll::EventData::new_u64(CONSOLE);
        if epoll::add(&self.epoll, &console, data, epoll::EventFlags::IN).is_ok() {
            self.offer = Some(console);
        }
    }

    fn accept_offer(&mut self) {
        let Some(console) = self.offer.take() else { return };
        let mut bytes = [0; 256];
        match rustix::io::read(&console, &mut bytes) {
            Ok(count) if count > 0 => {}
            // A console that is gone, or that had nothing after all.
            _ => return,
        }
        drop(console);
        match console::start_shell(&self.settings) {
            Ok(shell) => self.shell = Some(shell),
            Err(error) => say!(Error, "starting a shell on the console: {}", error.desc()),
        }
    }

    /// Begins the shutdown.
    pub(crate) fn end(&mut self, how: How, status: u8, argument: Option<OwnedFd>) {
        if matches!(self.stage, Stage::Ending(_)) {
            return;
        }
        let argument = shutdown::Argument::read(argument);
        say!(Note, "shutting down: {}", how.word());
        // Kept files would hold file systems busy.
        self.kept.clear();
        self.offer = None;
        if let Some(manager) = self.manager.take() {
            // It is ended with all others; what it may still say is not wanted. Its exit is reaped with theirs.
            drop(manager);
        }
        self.reply = None;
        let child = shutdown::start(&self.settings, how, self.machine.container);
        if let Err(error) = &child {
            say!(Error, "starting the child that kills and unmounts: {}", error.desc());
        }
        let latest = Moment::now() + self.settings.shutdown;
        self.stage = Stage::Ending(End { how, status, argument, child: child.ok(), latest });
    }

    fn ended(&mut self, exit: ssi_pid1::protocol::Exit) {
        let Stage::Ending(end) = &self.stage else { return };
        let (how, status, argument) = (end.how, end.status, end.argument);
        if how == How::Halt {
            // A machine that stands still with its power on must not be reset by its watchdog.
            self.watchdog.disarm();
        }
        if exit.code == nix::libc::CLD_EXITED && exit.status == shutdown::BACK_TO_INITRAMFS {
            shutdown::become_initramfs(how);
        }
        shutdown::finish(how, status, &argument, self.machine.container);
    }

    /// The numbers that are carried through an exec.
    fn numbers(&self) -> Numbers {
        let (seq, told) = self.exits.carried();
        Numbers {
            starts: self.starts,
            seq,
            told,
            booted_us: self.booted_us,
            node: self.node,
            flags: self.flags,
            shell: self.shell.map(Pid::as_raw),
            faults: self.faults,
            last_fault: self.last_fault,
            manager: self.manager.as_ref().map(|manager| crate::state::CarriedManager {
                pid: manager.pid.as_raw(),
                greeted: manager.greeted,
                again: manager.handover.is_some(),
                born: manager.born,
            }),
        }
    }

    /// All that stays open across exec.
    fn carried_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let kept = (0..self.kept.len()).filter_map(|place| self.kept.at(place)).map(|(_, fd)| fd);
        let link = self.manager.as_ref().and_then(|manager| manager.link.as_ref());
        kept.chain(self.kept.snapshot.as_ref().map(OwnedFd::as_fd))
            .chain(link.map(|link| link.as_fd()))
            .chain(self.watchdog.parts().map(|(fd, ..)| fd))
            .chain([self.state.as_fd()])
    }

    /// Answers one message of the manager.
    fn answer(&mut self, message: &ToPid1<'_>, fd: Option<OwnedFd>, lost: bool) {
        link::answer(self, message, fd, lost);
    }
}
