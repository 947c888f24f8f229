// SPDX-License-Identifier: GPL-2.0-or-later
//! Without a process 1: a manager that is run as an ordinary process, or as process 1 of a namespace of its own.
//!
//! This process becomes the subreaper of its children (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so that what its units
//! leave behind comes to it. It tells their exits in the same way: one at a time, a zombie until acknowledged. All
//! children are looked at: one that something else in this process waits for must be waited for before.
//!
//! Descriptors are kept for as long as this process lives.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::signal::{SigSet, Signal as Plain};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use ssi_pid1::protocol::{Exit, Greeting, Name, Refusal, Signal, ToPid1, VERSION, Why};

use super::{Event, Handover, LinkError};

mod dead;

/// The signals that are told, beside the real-time ones; SIGCHLD is for this module.
const TOLD: [Plain; 7] =
    [Plain::SIGTERM, Plain::SIGINT, Plain::SIGHUP, Plain::SIGUSR1, Plain::SIGUSR2, Plain::SIGWINCH, Plain::SIGPWR];

/// What stands for process 1. See [`super::Link`], which has the same calls.
#[derive(Debug)]
pub struct Standalone {
    /// Ready when one of the two below is.
    ready: OwnedFd,
    signals: SignalFd,
    /// Ready while something is to be received that no signal tells.
    more: OwnedFd,
    kept: BTreeMap<Vec<u8>, OwnedFd>,
    snapshot: Option<OwnedFd>,
    answers: VecDeque<Event>,
    /// The exit in flight.
    current: Option<Exit>,
    next_seq: u64,
    begun_us: u64,
}

impl AsFd for Standalone {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

impl Standalone {
    /// Becomes the reaper of what comes from this process, and takes its signals. To be called while there is one
    /// thread: signals are blocked in it and in those that it starts. Programs that it starts have to unblock them.
    ///
    /// # Errors
    /// [`LinkError::Standalone`].
    pub fn new() -> Result<Self, LinkError> {
        let step = |what| move |errno| LinkError::Standalone { what, errno };
        let plain = |what| move |errno: nix::errno::Errno| step(what)(Errno::from_raw_os_error(errno as i32));
        // Any number but 0 says yes; ours is at hand.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(step("becoming the reaper of orphans"))?;
        let mut set = SigSet::all();
        for signal in Plain::iterator().filter(|signal| *signal != Plain::SIGCHLD && !TOLD.contains(signal)) {
            set.remove(signal);
        }
        set.thread_block().map_err(plain("blocking signals"))?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(plain("taking signals"))?;
        let more = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(step("making an eventfd"))?;
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(step("making an epoll descriptor"))?;
        for fd in [signals.as_fd(), more.as_fd()] {
            epoll::add(&ready, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
                .map_err(step("waiting for signals"))?;
        }
        let now = clock_gettime(ClockId::Monotonic);
        let micros = |number: i64| u64::try_from(number).unwrap_or(0);
        let this = Self {
            ready,
            signals,
            more,
            kept: BTreeMap::new(),
            snapshot: None,
            answers: VecDeque::new(),
            current: None,
            next_seq: 0,
            begun_us: micros(now.tv_sec).saturating_mul(1_000_000) + micros(now.tv_nsec / 1000),
        };
        // Children that died before now.
        this.stir();
        Ok(this)
    }

    /// What is kept, as a manager that is started again would get it.
    pub fn hello(&mut self) -> Handover {
        let greeting = Greeting {
            version: VERSION,
            flags: Greeting::CONTAINER,
            kept: u32::try_from(self.kept.len()).unwrap_or(u32::MAX),
            booted_us: self.begun_us,
            ..Greeting::default()
        };
        let mut handover = Handover { greeting, ..Handover::default() };
        for (name, fd) in &self.kept {
            match fd.try_clone() {
                Ok(fd) => {
                    handover.kept.insert(name.clone(), fd);
                }
                Err(_) => handover.lost.push(name.clone()),
            }
        }
        handover.snapshot = self.snapshot.as_ref().and_then(|file| file.try_clone().ok());
        // As process 1 does: the exit in flight is told again.
        if let Some(exit) = self.current {
            self.answers.retain(|answer| !matches!(answer, Event::Exit(_)));
            self.answer(Event::Exit(exit));
        }
        handover
    }

    /// See [`super::Link::receive`].
    ///
    /// # Errors
    /// [`LinkError::Standalone`] where signals cannot be read.
    pub fn receive(&mut self) -> Result<Option<Event>, LinkError> {
        if let Some(answer) = self.answers.pop_front() {
            return Ok(Some(answer));
        }
        loop {
            match self.signals.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                    if number == libc::SIGCHLD {
                        continue;
                    }
                    let pid = i32::try_from(info.ssi_pid).unwrap_or(0);
                    return Ok(Some(Event::Signal(Signal { number, code: info.ssi_code, pid, uid: info.ssi_uid })));
                }
                Ok(None) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => {
                    let errno = Errno::from_raw_os_error(error as i32);
                    return Err(LinkError::Standalone { what: "reading signals", errno });
                }
            }
        }
        // Emptied before looking: what comes in between is told again.
        let _ = rustix::io::read(&self.more, &mut [0_u8; 8]);
        if self.current.is_none()
            && let Some(exit) = dead::peek()
        {
            let exit = Exit { seq: self.next_seq, ..exit };
            self.next_seq += 1;
            self.current = Some(exit);
            return Ok(Some(Event::Exit(exit)));
        }
        Ok(None)
    }

    /// See [`super::Link::keep`].
    ///
    /// # Errors
    /// [`LinkError::Duplicate`].
    pub fn keep(&mut self, name: Name<'_>, fd: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.kept.insert(name.as_bytes().to_vec(), copy(fd)?);
        Ok(())
    }

    /// See [`super::Link::forget`].
    pub fn forget(&mut self, name: Name<'_>) {
        self.kept.remove(name.as_bytes());
    }

    /// See [`super::Link::snapshot`].
    ///
    /// # Errors
    /// [`LinkError::Duplicate`].
    pub fn snapshot(&mut self, file: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.snapshot = Some(copy(file)?);
        self.answer(Event::SnapshotHeld);
        Ok(())
    }

    /// See [`super::Link::ack`].
    pub fn ack(&mut self, seq: u64) {
        if let Some(exit) = self.current.filter(|exit| exit.seq == seq) {
            dead::reap(exit.pid);
            self.current = None;
            self.stir();
        }
    }

    pub(super) fn refuse_watchdog(&mut self) {
        let kind = ToPid1::Watchdog { timeout_ms: 0, pet_for_ms: 0 }.kind();
        self.answer(Event::Refused(Refusal { kind, why: Why::System, errno: libc::EOPNOTSUPP }));
    }

    fn answer(&mut self, event: Event) {
        self.answers.push_back(event);
        self.stir();
    }

    /// Makes the descriptor ready.
    fn stir(&self) {
        // It takes 2^64 - 2 before it is full.
        let _ = rustix::io::write(&self.more, &1_u64.to_ne_bytes());
    }
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, LinkError> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(LinkError::Duplicate)
}
