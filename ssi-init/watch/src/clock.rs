// SPDX-License-Identifier: GPL-2.0-or-later
//! The clock of the day being set, and the machine's time zone becoming another one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use ssi_manager::core::Event;

use crate::error::{Result, Tried, WatchError};
use crate::nest::Nest;
use crate::trail::{Interest, Trails};

const TIMER: u64 = 0;
const ZONE: u64 = 1;

/// What tells of both.
#[derive(Debug)]
pub struct Clock {
    nest: Nest,
    timer: OwnedFd,
    zone: Trails,
}

impl Clock {
    /// Watches the clock, and the time zone at this path (`/etc/localtime`), link and file.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn new(zone: &Path) -> Result<Self> {
        let nest = Nest::new()?;
        let what = || "cannot watch the clock of the day".to_owned();
        let timer =
            timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).tried(what)?;
        arm(timer.as_fd()).tried(what)?;
        nest.add(timer.as_fd(), TIMER, EventFlags::IN).tried(what)?;
        let mut trails = Trails::new()?;
        trails.watch(0, zone, Interest::Changed)?;
        nest.add(trails.fd(), ZONE, EventFlags::IN).tried(|| "cannot watch the time zone".to_owned())?;
        Ok(Self { nest, timer, zone: trails })
    }

    /// Readable when something happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.nest.fd()
    }

    /// What happened since.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for number in self.nest.ready() {
            match number {
                TIMER => {
                    let mut count = [0_u8; 8];
                    match rustix::io::read(&self.timer, &mut count) {
                        // The clock was set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
                        Err(Errno::CANCELED) => events.push(Event::ClockSet),
                        // The end of time came; only a clock that was set gets there.
                        Ok(_) => events.push(Event::ClockSet),
                        Err(_) => {}
                    }
                    // It was armed like this before, so it can be again.
                    let _ = arm(self.timer.as_fd());
                }
                _ => {
                    if !self.zone.events().is_empty() {
                        events.push(Event::TimeZoneChanged);
                    }
                }
            }
        }
        events
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        self.zone.troubles()
    }
}

/// A time that never comes, given up when the clock is set.
fn arm(timer: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: i64::MAX / 1_000_000_000, tv_nsec: 0 },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    match timerfd_settime(timer, flags, &never) {
        // It was set between two calls; the timer is armed all the same.
        Ok(_) | Err(Errno::CANCELED) => Ok(()),
        Err(error) => Err(error),
    }
}
