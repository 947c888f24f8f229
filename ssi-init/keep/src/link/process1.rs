// SPDX-License-Identifier: GPL-2.0-or-later
//! The link to the real process 1, over descriptor 3.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use ssi_pid1::link::{Link as Socket, LinkError as SocketError, Packet};
use ssi_pid1::protocol::{FromPid1, How, Name, Refusal, ToPid1, VERSION};

use super::outbox::Outbox;
use super::{Event, Handover, Interest, LinkError};

/// The link to process 1. See [`super::Link`], which has the same calls.
#[derive(Debug)]
pub struct Process1 {
    socket: Socket,
    outbox: Outbox,
    packet: Box<Packet>,
    /// What came before the handover and is still to be given to the caller.
    early: VecDeque<Event>,
    /// The numbers of the pings behind snapshots, oldest first. Process 1 answers in order: when such a ping is
    /// answered, the fate of its snapshot is known.
    snapshots: VecDeque<u64>,
    /// What process 1 said of the oldest of these snapshots.
    refused: Option<Refusal>,
    next_number: u64,
    silence: Duration,
}

/// What a packet was.
enum Heard {
    Event(Event),
    Handover(Step),
    /// Something that is this module's own.
    Nothing,
}

/// A step of the handover.
enum Step {
    Hello(super::Greeting),
    Kept(Vec<u8>),
    Snapshot,
    Over,
}

impl AsFd for Process1 {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Process1 {
    /// Takes descriptor 3. To be called once.
    ///
    /// # Errors
    /// [`LinkError::Pid1`] where it is not the link to process 1.
    pub fn inherited() -> Result<Self, LinkError> {
        Self::over(Socket::inherited()?)
    }

    /// The link over this socket.
    ///
    /// # Errors
    /// [`LinkError::Pid1`].
    pub fn over(socket: Socket) -> Result<Self, LinkError> {
        ioctl_fionbio(&socket, true).map_err(SocketError::NotInherited)?;
        Ok(Self {
            socket,
            outbox: Outbox::new(Instant::now()),
            packet: Box::default(),
            early: VecDeque::new(),
            snapshots: VecDeque::new(),
            refused: None,
            next_number: 1,
            silence: Duration::ZERO,
        })
    }

    /// See [`super::Link::hello`].
    ///
    /// # Errors
    /// As there.
    pub fn hello(&mut self, timeout: Duration) -> Result<Handover, LinkError> {
        let begun = Instant::now();
        let silent = LinkError::Silent { what: "hand over what it keeps", after: timeout };
        self.say(&ToPid1::Hello { version: VERSION }, None)?;
        let mut handover = Handover::default();
        let mut greeted = false;
        let mut lost = false;
        loop {
            self.outbox.flush(&self.socket)?;
            let Some(heard) = self.hear()? else {
                let left = timeout.checked_sub(begun.elapsed()).ok_or(silent)?;
                self.wait(left)?;
                continue;
            };
            match heard {
                Heard::Handover(Step::Hello(greeting)) => {
                    greeted = true;
                    self.silence = Duration::from_millis(greeting.silence_ms.into());
                    lost = false;
                    // What came before it was a handover to the program from before an exec.
                    handover = Handover { greeting, ..Handover::default() };
                }
                Heard::Handover(Step::Kept(name)) => match self.packet.take_fd() {
                    Some(fd) => {
                        handover.kept.insert(name, fd);
                    }
                    None => handover.lost.push(name),
                },
                Heard::Handover(Step::Snapshot) => {
                    handover.snapshot = self.packet.take_fd();
                    lost = handover.snapshot.is_none();
                }
                Heard::Handover(Step::Over) if !greeted => {}
                Heard::Handover(Step::Over) if lost => return Err(LinkError::SnapshotLost),
                Heard::Handover(Step::Over) => return Ok(handover),
                // Said to the program that this process was before an exec. Exits are told again after the handover, as
                // if nothing had been told; signals are not.
                Heard::Event(Event::Exit(_) | Event::Pong(_)) if !greeted => {}
                Heard::Event(Event::Unreadable(bad)) if !greeted => return Err(LinkError::Greeting(bad)),
                Heard::Event(event) => self.early.push_back(event),
                Heard::Nothing => {}
            }
        }
    }

    /// See [`super::Link::receive`].
    ///
    /// # Errors
    /// As there.
    pub fn receive(&mut self) -> Result<Option<Event>, LinkError> {
        if let Some(event) = self.early.pop_front() {
            return Ok(Some(event));
        }
        // A socket that cannot be sent to any more may have something to read still.
        let flushed = self.outbox.flush(&self.socket);
        loop {
            match self.hear()? {
                Some(Heard::Event(event)) => return Ok(Some(event)),
                Some(Heard::Handover(_) | Heard::Nothing) => {}
                None => return flushed.map(|()| None),
            }
        }
    }

    /// See [`super::Link::interest`].
    pub fn interest(&self) -> Interest {
        Interest { read: true, write: !self.outbox.is_empty() && self.outbox.pause().is_none() }
    }

    /// See [`super::Link::next_deadline`].
    pub fn next_deadline(&self) -> Option<Instant> {
        let ping = (!self.silence.is_zero()).then(|| self.outbox.sent() + self.silence / 4);
        [ping, self.outbox.pause()].into_iter().flatten().min()
    }

    /// See [`super::Link::tick`].
    ///
    /// # Errors
    /// As there.
    pub fn tick(&mut self, now: Instant) -> Result<(), LinkError> {
        self.outbox.flush(&self.socket)?;
        // Whatever waits says that the manager lives, once it is read.
        let due = !self.silence.is_zero() && now.saturating_duration_since(self.outbox.sent()) >= self.silence / 4;
        if due && self.outbox.is_empty() {
            self.ping()?;
        }
        Ok(())
    }

    /// See [`super::Link::is_flushed`].
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// See [`super::Link::keep`].
    ///
    /// # Errors
    /// As there.
    pub fn keep(&mut self, name: Name<'_>, fd: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.if_room()?;
        self.say(&ToPid1::Keep { name }, Some(fd))
    }

    /// See [`super::Link::forget`].
    ///
    /// # Errors
    /// As there.
    pub fn forget(&mut self, name: Name<'_>) -> Result<(), LinkError> {
        self.if_room()?;
        self.say(&ToPid1::Drop { name }, None)
    }

    /// See [`super::Link::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(&mut self, file: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.say(&ToPid1::Snapshot, Some(file))?;
        let number = self.ping()?;
        self.snapshots.push_back(number);
        Ok(())
    }

    /// See [`super::Link::ack`].
    ///
    /// # Errors
    /// As there.
    pub fn ack(&mut self, seq: u64) -> Result<(), LinkError> {
        self.say(&ToPid1::Ack { seq }, None)
    }

    /// Asks process 1 for a sign of life; the number by which it answers.
    ///
    /// # Errors
    /// [`LinkError::Gone`]; [`LinkError::Pid1`].
    pub fn ping(&mut self) -> Result<u64, LinkError> {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        self.say(&ToPid1::Ping { number }, None)?;
        Ok(number)
    }

    /// See [`super::Link::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&mut self, how: How, status: u8, argument: Option<&[u8]>) -> Result<(), LinkError> {
        let file = argument.map(file_of).transpose().map_err(LinkError::Argument)?;
        self.say(&ToPid1::Shutdown { how, status }, file.as_ref().map(AsFd::as_fd))
    }

    /// See [`super::Link::reexec`].
    ///
    /// # Errors
    /// As there.
    pub fn reexec(&mut self) -> Result<(), LinkError> {
        self.say(&ToPid1::Reexec, None)
    }

    /// See [`super::Link::watchdog`].
    ///
    /// # Errors
    /// As there.
    pub fn watchdog(&mut self, timeout: Duration, pet_for: Option<Duration>) -> Result<(), LinkError> {
        // The greatest number means for ever; a time as long as that is cut just below.
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).min(ToPid1::PET_FOR_EVER - 1);
        let pet_for_ms = pet_for.map_or(ToPid1::PET_FOR_EVER, ms);
        self.say(&ToPid1::Watchdog { timeout_ms: ms(timeout), pet_for_ms }, None)
    }

    /// See [`super::Link::before_exec`].
    ///
    /// # Errors
    /// As there.
    pub fn before_exec(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let begun = Instant::now();
        loop {
            self.outbox.flush(&self.socket)?;
            if self.outbox.is_empty() {
                break;
            }
            // It may read only when its own answers are read.
            if let Some(Heard::Event(event)) = self.hear()? {
                self.early.push_back(event);
                continue;
            }
            let silent = LinkError::Silent { what: "take what it was to be told before an exec", after: timeout };
            let left = timeout.checked_sub(begun.elapsed()).ok_or(silent)?;
            self.wait(left)?;
        }
        fcntl_setfd(&self.socket, FdFlags::empty()).map_err(SocketError::NotInherited)?;
        Ok(())
    }

    /// See [`super::Link::exec_failed`].
    pub fn exec_failed(&mut self) {
        // It is open: nothing else can be wrong with it.
        let _ = fcntl_setfd(&self.socket, FdFlags::CLOEXEC);
    }

    fn say(&mut self, message: &ToPid1<'_>, fd: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        self.outbox.send(&self.socket, message, fd)
    }

    fn if_room(&mut self) -> Result<(), LinkError> {
        if self.outbox.is_full() {
            self.outbox.flush(&self.socket)?;
        }
        if self.outbox.is_full() { Err(LinkError::Full) } else { Ok(()) }
    }

    /// Waits until something can be read or, if something waits, be sent.
    fn wait(&self, at_most: Duration) -> Result<(), LinkError> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, self.interest().write);
        let pause = self.outbox.pause().map_or(at_most, |until| until.saturating_duration_since(Instant::now()));
        let span = at_most.min(pause);
        let time =
            Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), tv_nsec: span.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.socket, flags)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(LinkError::Wait(error)),
        }
    }

    /// Reads one packet; `None`: there is none now.
    fn hear(&mut self) -> Result<Option<Heard>, LinkError> {
        match self.socket.receive(&mut self.packet) {
            Ok(true) => {}
            Ok(false) | Err(SocketError::Receive(Errno::CONNRESET)) => return Err(LinkError::Gone),
            Err(error) if error.would_block() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(match FromPid1::decode(self.packet.bytes()) {
            Ok(FromPid1::Hello(greeting)) => Heard::Handover(Step::Hello(greeting)),
            Ok(FromPid1::Kept { name }) => Heard::Handover(Step::Kept(name.as_bytes().to_vec())),
            Ok(FromPid1::Snapshot) => Heard::Handover(Step::Snapshot),
            Ok(FromPid1::HandedOver) => Heard::Handover(Step::Over),
            Ok(FromPid1::Exit(exit)) => Heard::Event(Event::Exit(exit)),
            Ok(FromPid1::Signal(signal)) => Heard::Event(Event::Signal(signal)),
            Ok(FromPid1::Pong(counters)) if self.snapshots.front() == Some(&counters.number) => {
                self.snapshots.pop_front();
                Heard::Event(self.refused.take().map_or(Event::SnapshotHeld, Event::SnapshotRefused))
            }
            Ok(FromPid1::Pong(counters)) => Heard::Event(Event::Pong(counters)),
            Ok(FromPid1::Refused(refusal)) if refusal.kind == ToPid1::Snapshot.kind() && !self.snapshots.is_empty() => {
                self.refused = Some(refusal);
                Heard::Nothing
            }
            Ok(FromPid1::Refused(refusal)) => Heard::Event(Event::Refused(refusal)),
            Err(bad) => Heard::Event(Event::Unreadable(bad)),
        }))
    }
}

fn file_of(bytes: &[u8]) -> Result<File, Errno> {
    let mut file = File::from(memfd_create("reboot-argument", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(file)
}

#[cfg(test)]
mod tests;
