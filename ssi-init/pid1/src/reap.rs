// SPDX-License-Identifier: GPL-2.0-or-later
//! Exits: none is lost, whichever side dies when.
//!
//! A unit's processes are children of process 1 from birth: the manager makes them with `CLONE_PARENT` (clone(2)). What
//! they leave behind, and what the manager leaves behind when it dies, becomes process 1's by the kernel's own rule. So
//! all exits that count come here, and the manager's death takes none with it.
//!
//! The queue of exits is the kernel's list of zombies; there is no other:
//!
//! ```text
//!   child dies ──> zombie ──peek (WNOWAIT)──> told ──Exit{seq}──> manager
//!                    ^                          │                    │ has it in its snapshot
//!                    └── told again to the next │ manager            v
//!                                               └───── reap <──── Ack{seq}
//! ```
//!
//! Only after the acknowledgement is the zombie reaped. So nothing has to be stored that could be full or be lost, and
//! the process's number cannot be given to another process while its exit is still on its way: the manager never has
//! to ask itself which of two processes of one number has ended. The price is one exit in flight at a time, a round
//! trip of some 20 microseconds each, which is little beside what starting a process costs.
//!
//! The manager's own death is looked for by its number, before and beside this queue. During boot and shutdown nobody
//! asks for exits, and all are reaped at once.

use nix::unistd::Pid;
use ssi_pid1::protocol::Exit;

use crate::sys::process::{Whom, peek, reap};

/// The exit in flight, and counters.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    next: u64,
    current: Option<Current>,
    reaped: u64,
    told: u64,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    exit: Exit,
    sent: bool,
}

impl Exits {
    /// Goes on after an exec: the next number, and the exit that was in flight (number, process, was it sent).
    pub(crate) fn resume(next: u64, told: Option<(u64, i32, bool)>) -> Self {
        // By its process: another zombie may be the first of the list by now, and must not get this number.
        let current = told.and_then(|(seq, pid, sent)| {
            let exit = peek(Whom::One(Pid::from_raw(pid)))?;
            Some(Current { exit: Exit { seq, ..exit }, sent })
        });
        Self { next, current, ..Self::default() }
    }

    /// Looks for the next exit if none is in flight. `false`: the first of the dead is a child of process 1's `own`, to
    /// be reaped by it before.
    pub(crate) fn look(&mut self, own: impl FnOnce(i32) -> bool) -> bool {
        if self.current.is_some() {
            return true;
        }
        let Some(exit) = peek(Whom::Any) else { return true };
        if own(exit.pid) {
            return false;
        }
        self.current = Some(Current { exit: Exit { seq: self.next, ..exit }, sent: false });
        self.next += 1;
        true
    }

    /// The exit that is to be told now.
    pub(crate) fn to_tell(&self) -> Option<Exit> {
        self.current.filter(|current| !current.sent).map(|current| current.exit)
    }

    /// It was told.
    pub(crate) fn was_told(&mut self) {
        if let Some(current) = &mut self.current {
            current.sent = true;
            self.told += 1;
        }
    }

    /// There is another manager: the exit in flight is to be told again.
    pub(crate) fn tell_again(&mut self) {
        if let Some(current) = &mut self.current {
            current.sent = false;
        }
    }

    /// The manager has acknowledged this number. Of another one than that in flight nothing is known any more: it was
    /// acknowledged before. Is it time to look for the next?
    pub(crate) fn acknowledged(&mut self, seq: u64) -> bool {
        let Some(current) = self.current.filter(|current| current.exit.seq == seq) else { return false };
        // It is there: nobody else reaps it.
        let _ = reap(Whom::One(Pid::from_raw(current.exit.pid)));
        self.current = None;
        self.reaped += 1;
        true
    }

    /// For the state that goes through an exec.
    pub(crate) fn carried(&self) -> (u64, Option<(u64, i32, bool)>) {
        (self.next, self.current.map(|c| (c.exit.seq, c.exit.pid, c.sent)))
    }

    /// How many were reaped and how many told, since this program was executed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.reaped, self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork;

    /// In a process of its own: the children of a process are one list, and tests run beside each other.
    #[test]
    fn the_dead_stay_until_acknowledged() {
        let child = fork(|| {
            the_scene();
            0
        })
        .unwrap();
        let ended = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
    }

    fn the_scene() {
        let dead = |status| {
            let pid = fork(|| status).unwrap();
            while peek(Whom::One(pid)).is_none() {
                std::thread::yield_now();
            }
            pid.as_raw()
        };
        let first = dead(7);
        let second = dead(8);
        let mut exits = Exits::default();
        assert!(!exits.look(|_| true), "one's own is not told");
        assert_eq!(exits.to_tell(), None);
        assert!(exits.look(|_| false));
        let told = exits.to_tell().unwrap();
        assert_eq!((told.seq, told.code, told.uid), (0, nix::libc::CLD_EXITED, nix::unistd::getuid().as_raw()));
        assert!(told.max_rss_kib > 0, "its resource usage is known");
        exits.was_told();
        assert_eq!(exits.to_tell(), None);
        assert!(!exits.acknowledged(5));
        assert!(peek(Whom::One(Pid::from_raw(told.pid))).is_some(), "another number takes nothing away");
        exits.tell_again();
        assert_eq!(exits.to_tell(), Some(told));

        // Over an exec, with the one in flight not the first of the list.
        let other = if told.pid == first { second } else { first };
        let (next, _) = exits.carried();
        let mut exits = Exits::resume(next, Some((0, other, true)));
        assert_eq!(exits.to_tell(), None, "it was sent");
        exits.tell_again();
        let again = exits.to_tell().unwrap();
        assert_eq!((again.seq, again.pid, again.status), (0, other, if other == first { 7 } else { 8 }));
        assert!(exits.acknowledged(0) && exits.look(|_| false));
        assert!(peek(Whom::One(Pid::from_raw(other))).is_none(), "reaped");
        let last = exits.to_tell().unwrap();
        assert_eq!((last.seq, last.pid), (1, told.pid));
        assert!(exits.acknowledged(1) && !exits.acknowledged(1));
        assert_eq!(exits.counts().0, 2);
        assert!(peek(Whom::One(Pid::from_raw(told.pid))).is_none());
    }
}
