// SPDX-License-Identifier: GPL-2.0-or-later
//! Speaking with the manager: what is said in which order, and what is done about what is heard.
//!
//! Nothing is queued here. The handover is a place in the table of what is kept, signals are one slot a number, the
//! exit in flight is one, and so is the answer: while that is not on its way, no more is read. So a manager that asks
//! without listening stops itself, and takes no memory here.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use rustix::event::epoll;
use ssi_pid1::link::{LinkError, Packet};
use ssi_pid1::protocol::{Counters, FromPid1, Greeting, Refusal, ToPid1, VERSION, Why};

use super::{LINK, Pid1};
use crate::manager::{Ending, Handover, Manager};
use crate::say::say;
use crate::sys::{Moment, counted};

/// How many messages are read before anything else is looked at again.
const AT_ONCE: usize = 256;

impl Pid1 {
    /// Reads what the manager says, as long as there is room for an answer.
    pub(super) fn hear(&mut self) {
        for _ in 0..AT_ONCE {
            if !self.may_hear() || !self.hear_one() {
                return;
            }
            if std::mem::take(&mut self.look) {
                self.look_for_exits();
            }
            self.speak();
        }
    }

    /// Reads all that a manager said before it died; there is nobody to answer.
    pub(super) fn hear_all(&mut self) {
        loop {
            self.reply = None;
            if let Some(manager) = &mut self.manager {
                manager.handover = None;
            }
            if !self.hear_one() {
                return;
            }
        }
    }

    fn may_hear(&self) -> bool {
        self.reply.is_none() && self.manager.as_ref().is_some_and(|m| m.link.is_some() && m.handover.is_none())
    }

    /// Reads one message and does what it asks for. `false`: there was none.
    fn hear_one(&mut self) -> bool {
        let Some(manager) = &mut self.manager else { return false };
        let Some(link) = &manager.link else { return false };
        match link.receive(&mut self.packet) {
            Ok(true) => {}
            Err(error) if error.would_block() => return false,
            gone => {
                lose(manager, gone.err());
                return false;
            }
        }
        manager.heard = Moment::now();
        let fd = self.packet.take_fd();
        // Taken out while its message is borrowed from it.
        let packet = std::mem::take(&mut self.packet);
        match ToPid1::decode(packet.bytes()) {
            Ok(message) => self.answer(&message, fd, packet.lost_descriptors()),
            Err(bad) => self.refuse(bad.kind(), Why::BadMessage, None),
        }
        self.packet = packet;
        true
    }

    fn refuse(&mut self, kind: u16, why: Why, errno: Option<Errno>) {
        self.reply = Some(FromPid1::Refused(Refusal { kind, why, errno: errno.map_or(0, |e| e as i32) }));
    }

    fn counters(&self, number: u64) -> Counters {
        let (reaped, told) = self.exits.counts();
        Counters {
            number,
            reaped,
            told,
            starts: self.starts,
            kept: u32::try_from(self.kept.len()).unwrap_or(u32::MAX),
            allocations: counted::allocations() - self.allocated_before,
        }
    }

    fn greeting(&self) -> Greeting {
        let container = if self.machine.container { Greeting::CONTAINER } else { 0 };
        Greeting {
            version: VERSION,
            node: self.node,
            flags: self.flags | container,
            starts: self.starts.saturating_sub(1),
            kept: u32::try_from(self.kept.len()).unwrap_or(u32::MAX),
            silence_ms: u32::try_from(self.settings.silence.as_millis()).unwrap_or(u32::MAX),
            booted_us: self.booted_us,
        }
    }

    /// Says what there is to say until nothing is left or the link takes no more.
    pub(super) fn speak(&mut self) {
        while self.speak_once() {}
        self.listen_accordingly();
    }

    fn speak_once(&mut self) -> bool {
        let Some(manager) = &self.manager else { return false };
        let (greeted, handover) = (manager.greeted, manager.handover);
        let (message, fd): (FromPid1<'_>, Option<BorrowedFd<'_>>) = if let Some(step) = handover {
            match step {
                Handover::Hello => (FromPid1::Hello(self.greeting()), None),
                Handover::Kept(place) => match self.kept.at(place) {
                    Some((name, fd)) => (FromPid1::Kept { name }, Some(fd)),
                    None => return self.step(Handover::Snapshot),
                },
                Handover::Snapshot => match &self.kept.snapshot {
                    Some(fd) => (FromPid1::Snapshot, Some(fd.as_fd())),
                    None => return self.step(Handover::End),
                },
                Handover::End => (FromPid1::HandedOver, None),
            }
        } else if let Some(reply) = self.reply {
            (reply, None)
        } else if !greeted {
            return false;
        } else if let Some(signal) = self.untold.next() {
            (FromPid1::Signal(signal), None)
        } else if let Some(exit) = self.exits.to_tell() {
            (FromPid1::Exit(exit), None)
        } else {
            return false;
        };
        let Some(link) = &manager.link else { return false };
        let sent = link.send(&message.encode(), fd);
        let said = message.kind();
        let signal = if let FromPid1::Signal(signal) = message { signal.number } else { 0 };
        let Some(manager) = &mut self.manager else { return false };
        manager.full = false;
        match sent {
            Ok(()) => {}
            Err(error) if error.would_block() => {
                manager.full = true;
                return false;
            }
            // Too many descriptors on their way (ETOOMANYREFS), or no memory: the manager has to read first.
            Err(error) if matches!(error.errno(), rustix::io::Errno::TOOMANYREFS | rustix::io::Errno::NOBUFS) => {
                manager.full = true;
                return false;
            }
            Err(error) => {
                lose(manager, Some(error));
                return false;
            }
        }
        if let Some(step) = handover {
            let next = match step {
                Handover::Hello => Some(Handover::Kept(0)),
                Handover::Kept(place) => Some(Handover::Kept(place + 1)),
                Handover::Snapshot => Some(Handover::End),
                Handover::End => None,
            };
            manager.handover = next;
        } else if self.reply.take().is_none() {
            match said {
                70 => self.untold.told(signal),
                _ => self.exits.was_told(),
            }
        }
        true
    }

    fn step(&mut self, next: Handover) -> bool {
        if let Some(manager) = &mut self.manager {
            manager.handover = Some(next);
        }
        true
    }

    /// Waits for reading and writing only where that is wanted: epoll would not cease to tell.
    fn listen_accordingly(&mut self) {
        let may_hear = self.may_hear();
        let Some(manager) = &mut self.manager else { return };
        let Some(link) = &manager.link else { return };
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, may_hear);
        flags.set(epoll::EventFlags::OUT, manager.full);
        if let Err(error) = epoll::modify(&self.epoll, link, epoll::EventData::new_u64(LINK), flags) {
            say!(Error, "watching the link to the manager: {}", super::errno(error).desc());
        }
    }
}

/// The link is of no use any more, and without it the manager is of none. It gets a moment to end by itself, so that
/// its own exit status is seen.
fn lose(manager: &mut Manager, error: Option<LinkError>) {
    manager.link = None;
    match error.map(|error| super::errno(error.errno())) {
        // It is ending as a rule, and that is told when it is reaped.
        None | Some(Errno::EPIPE | Errno::ECONNRESET) => {}
        Some(error) => say!(Error, "the link to the manager (process {}): {}", manager.pid, error.desc()),
    }
    if manager.ending == Ending::No {
        manager.ending = Ending::Leaving(Moment::now());
    }
}

/// Does what a message asks for.
pub(super) fn answer(pid1: &mut Pid1, message: &ToPid1<'_>, fd: Option<OwnedFd>, lost: bool) {
    let kind = message.kind();
    let greeted = pid1.manager.as_ref().is_some_and(|manager| manager.greeted);
    if !greeted && !matches!(message, ToPid1::Hello { .. }) {
        return pid1.refuse(kind, Why::NotGreeted, None);
    }
    match *message {
        ToPid1::Hello { version: _ } => {
            // Version 1 is the first: there is no lower one to speak.
            pid1.exits.tell_again();
            if let Some(manager) = &mut pid1.manager {
                manager.greeted = true;
                manager.handover = Some(Handover::Hello);
            }
        }
        ToPid1::Keep { name } => match fd {
            Some(fd) => {
                if pid1.kept.keep(name, fd).is_err() {
                    pid1.refuse(kind, Why::Full, None);
                }
            }
            None => pid1.refuse(kind, Why::NoDescriptor, None),
        },
        ToPid1::Drop { name } => pid1.kept.forget(name),
        // A file that got lost on its way is not the wish to have none.
        ToPid1::Snapshot if fd.is_none() && lost => pid1.refuse(kind, Why::NoDescriptor, None),
        ToPid1::Snapshot => pid1.kept.snapshot = fd,
        ToPid1::Ack { seq } => pid1.look |= pid1.exits.acknowledged(seq),
        ToPid1::Ping { number } => pid1.reply = Some(FromPid1::Pong(pid1.counters(number))),
        ToPid1::Shutdown { how, status } => pid1.end(how, status, fd),
        ToPid1::Reexec => pid1.try_new_program(true),
        ToPid1::Watchdog { timeout_ms, pet_for_ms } => {
            let until =
                (pet_for_ms != ToPid1::PET_FOR_EVER).then(|| Moment::now() + Duration::from_millis(pet_for_ms.into()));
            let timeout = match timeout_ms {
                0 if until.is_none() => pid1.settings.watchdog,
                ms => Duration::from_millis(ms.into()),
            };
            if let Some(error) = pid1.watch(timeout, until) {
                pid1.refuse(kind, Why::System, Some(error));
            }
        }
    }
}

/// Fits the buffer that is swapped in while a message is looked at.
const _: () = assert!(size_of::<Packet>() < 1024);
