// SPDX-License-Identifier: GPL-2.0-or-later
//! Which signals process 1 takes, and what they mean: systemd(1)'s, so that what sends them does not notice.
//!
//! ```text
//!   SIGCHLD                a child is dead
//!   SIGTERM                execute yourself anew; and the manager is told, to do the same
//!   SIGINT                 Ctrl-Alt-Del: told to the manager; 7 within 2 s: reboot now, units or not
//!   SIGRTMIN+13 to +16     halt, power off, reboot, kexec now, without stopping units first
//!   SIGHUP SIGUSR1 SIGUSR2 SIGWINCH SIGPWR, the other SIGRTMIN+n     told to the manager
//!   anything else          nothing
//! ```

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Plain, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ssi_pid1::protocol::{How, Signal};

use crate::sys::Moment;
use crate::sys::crash::FAULTS;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Look at the children.
    Child,
    /// Execute yourself anew, and tell the manager.
    Reexecute,
    /// Count it, and tell the manager.
    CtrlAltDel,
    /// End the machine without stopping units.
    Now(How),
    /// Tell the manager.
    Tell,
    /// Nothing.
    Nothing,
}

/// What this signal means. Real-time signals are counted from the C library's SIGRTMIN, as senders do.
pub(crate) fn meaning(number: i32) -> Meaning {
    match number {
        libc::SIGCHLD => Meaning::Child,
        libc::SIGTERM => Meaning::Reexecute,
        libc::SIGINT => Meaning::CtrlAltDel,
        libc::SIGHUP | libc::SIGUSR1 | libc::SIGUSR2 | libc::SIGWINCH | libc::SIGPWR => Meaning::Tell,
        _ => match number - libc::SIGRTMIN() {
            13 => Meaning::Now(How::Halt),
            14 => Meaning::Now(How::PowerOff),
            15 => Meaning::Now(How::Reboot),
            16 => Meaning::Now(How::Kexec),
            0..=30 => Meaning::Tell,
            _ => Meaning::Nothing,
        },
    }
}

/// Blocks all signals but those of faults, and gives the descriptor from which they are read.
pub(crate) fn take_all() -> Result<SignalFd, Errno> {
    let mut set = SigSet::all();
    for fault in FAULTS.into_iter().chain([libc::SIGTRAP]) {
        if let Ok(fault) = Plain::try_from(fault) {
            set.remove(fault);
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Signals that the manager has not been told yet: of each number the last.
#[derive(Debug)]
pub(crate) struct Untold([Option<Signal>; 65]);

impl Default for Untold {
    fn default() -> Self {
        Self([None; 65])
    }
}

impl Untold {
    /// Takes note of one.
    pub(crate) fn note(&mut self, signal: Signal) {
        if let Some(place) = usize::try_from(signal.number).ok().and_then(|n| self.0.get_mut(n)) {
            *place = Some(signal);
        }
    }

    /// The next to tell: the one of the lowest number.
    pub(crate) fn next(&self) -> Option<Signal> {
        self.iter().next()
    }

    /// That one was told.
    pub(crate) fn told(&mut self, number: i32) {
        if let Some(place) = usize::try_from(number).ok().and_then(|n| self.0.get_mut(n)) {
            *place = None;
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Signal> + '_ {
        self.0.iter().flatten().copied()
    }
}

/// Presses of Ctrl-Alt-Del.
#[derive(Debug, Default)]
pub(crate) struct Presses {
    first: Option<Moment>,
    count: u32,
}

impl Presses {
    const SPAN: Duration = Duration::from_secs(2);
    const ENOUGH: u32 = 7;

    /// Was this the last of 7 within 2 s? As with systemd, the 2 s begin with the first press after a pause.
    pub(crate) fn press(&mut self, now: Moment) -> bool {
        match self.first {
            Some(first) if now.since(first) <= Self::SPAN => self.count += 1,
            _ => {
                self.first = Some(now);
                self.count = 1;
            }
        }
        self.count >= Self::ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_they_mean_to_systemd() {
        assert_eq!(meaning(libc::SIGCHLD), Meaning::Child);
        assert_eq!(meaning(libc::SIGTERM), Meaning::Reexecute);
        assert_eq!(meaning(libc::SIGINT), Meaning::CtrlAltDel);
        for told in
            [libc::SIGPWR, libc::SIGHUP, libc::SIGWINCH, libc::SIGRTMIN(), libc::SIGRTMIN() + 3, libc::SIGRTMIN() + 24]
        {
            assert_eq!(meaning(told), Meaning::Tell, "{told}");
        }
        assert_eq!(meaning(libc::SIGRTMIN() + 13), Meaning::Now(How::Halt));
        assert_eq!(meaning(libc::SIGRTMIN() + 15), Meaning::Now(How::Reboot));
        for nothing in [libc::SIGPIPE, libc::SIGALRM, libc::SIGTSTP, libc::SIGTTIN, 32, 33] {
            assert_eq!(meaning(nothing), Meaning::Nothing, "{nothing}");
        }
    }

    #[test]
    fn of_each_number_the_last_is_told() {
        let mut untold = Untold::default();
        let signal = |number, pid| Signal { number, code: 0, pid, uid: 0 };
        for (number, pid) in [(34, 1), (2, 2), (2, 3), (64, 4), (65, 5), (-1, 6)] {
            untold.note(signal(number, pid));
        }
        let mut told = vec![];
        while let Some(signal) = untold.next() {
            told.push((signal.number, signal.pid));
            untold.told(signal.number);
        }
        assert_eq!(told, [(2, 3), (34, 1), (64, 4)]);
    }

    #[test]
    fn seven_presses_within_two_seconds() {
        let at = |presses: &mut Presses, millis: u64| presses.press(Moment::from_millis(millis));
        let mut presses = Presses::default();
        assert!((0..6).all(|n| !at(&mut presses, 1000 + n * 300)));
        assert!(at(&mut presses, 3000));
        let mut presses = Presses::default();
        assert!((0..40).all(|n| !at(&mut presses, 1000 + n * 400)), "too slow");
    }
}
