// SPDX-License-Identifier: GPL-2.0-or-later
//! The hardware watchdog (Documentation/watchdog/watchdog-api.rst of the kernel): it resets the machine unless it is
//! petted in time.
//!
//! Process 1 pets it for as long as its own loop turns. A manager that dies does not reset the machine; a manager that
//! has to be sure that the machine stops unless it says otherwise (a node without quorum) asks for petting up to a
//! moment only, and renews that.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, open};

use crate::say::say;
use crate::sys::{Moment, device};

/// What is kept of the watchdog.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    device: OwnedFd,
    timeout: Duration,
    next: Moment,
    /// `None`: for ever.
    until: Option<Moment>,
}

impl Watchdog {
    /// Sets the time-out, opening the device if it is not open; zero disarms.
    ///
    /// # Errors
    /// What the system said to opening the device.
    pub(crate) fn set(
        &mut self,
        device: Option<&Path>,
        timeout: Duration,
        until: Option<Moment>,
        now: Moment,
    ) -> Result<(), Errno> {
        if timeout.is_zero() {
            self.disarm();
            return Ok(());
        }
        let fd = match self.armed.take() {
            Some(armed) => armed.device,
            None => open_device(device)?,
        };
        // Hardware counts in seconds and may round; what it really took is asked for.
        let seconds = i32::try_from(timeout.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let taken = device::set_watchdog_timeout(fd.as_fd(), seconds)
            .or_else(|error| {
                say!(Warning, "the watchdog does not take a time-out of {seconds} s: {}", error.desc());
                device::watchdog_timeout(fd.as_fd())
            })
            .unwrap_or(seconds);
        let timeout = Duration::from_secs(u64::try_from(taken).unwrap_or(1).max(1));
        self.armed = Some(Armed { device: fd, timeout, next: now, until });
        self.pet(now);
        Ok(())
    }

    /// Pets it, if it is time.
    pub(crate) fn pet(&mut self, now: Moment) {
        let Some(armed) = &mut self.armed else { return };
        if now < armed.next {
            return;
        }
        if armed.until.is_some_and(|until| now >= until) {
            say!(Emergency, "the watchdog is left alone, as the manager asked: it resets the machine");
            armed.next = now + Duration::from_secs(3600);
            return;
        }
        // Any byte but 'V' pets.
        if let Err(error) = rustix::io::write(&armed.device, b"\0") {
            say!(Error, "petting the watchdog: {}", Errno::from_raw(error.raw_os_error()).desc());
        }
        armed.next = now + armed.timeout / 4;
        if let Some(until) = armed.until {
            // Not past the moment: the last time-out begins with it.
            armed.next = armed.next.min(until);
        }
    }

    /// When it has to be petted next.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.armed.as_ref().map(|armed| armed.next)
    }

    /// Lets the machine live without it.
    pub(crate) fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            // 'V' before closing: this is meant (the "magic close").
            if rustix::io::write(&armed.device, b"V").is_err() {
                say!(Error, "the watchdog cannot be disarmed: it resets the machine in {:?}", armed.timeout);
            }
        }
    }

    /// For the state that goes through an exec: the device, the time-out, until when.
    pub(crate) fn parts(&self) -> Option<(BorrowedFd<'_>, Duration, Option<Moment>)> {
        self.armed.as_ref().map(|armed| (armed.device.as_fd(), armed.timeout, armed.until))
    }

    /// From that state.
    pub(crate) fn resume(device: OwnedFd, timeout: Duration, until: Option<Moment>, now: Moment) -> Self {
        Self { armed: Some(Armed { device, timeout, next: now, until }) }
    }
}

fn open_device(device: Option<&Path>) -> Result<OwnedFd, Errno> {
    // Process 1 never waits: whatever it was given for a device, nobody may be at its other end.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match device {
        Some(path) => open(path, flags, Mode::empty()),
        None => open("/dev/watchdog0", flags, Mode::empty()).or_else(|_| open("/dev/watchdog", flags, Mode::empty())),
    }
    .map_err(|error| Errno::from_raw(error.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::FileType;
    use std::io::Read as _;

    /// A named pipe takes bytes as a watchdog does, and knows none of its requests.
    fn scene() -> (tempfile::TempDir, std::fs::File, Watchdog) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let reader = std::fs::File::from(open(&path, flags, Mode::empty()).unwrap());
        (directory, reader, Watchdog::default())
    }

    fn read(file: &mut std::fs::File) -> Vec<u8> {
        let mut bytes = [0; 64];
        let count = file.read(&mut bytes).unwrap_or(0);
        bytes[..count].to_vec()
    }

    #[test]
    fn a_device_without_another_end_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut watchdog = Watchdog::default();
        let set = watchdog.set(Some(&path), Duration::from_secs(2), None, Moment::now());
        assert_eq!(set.unwrap_err(), Errno::ENXIO);
    }

    #[test]
    fn it_is_petted_four_times_in_its_time_and_disarmed_by_v() {
        let (directory, mut device, mut watchdog) = scene();
        let path = directory.path().join("device");
        let at = Moment::from_millis;
        assert_eq!(watchdog.due(), None);
        watchdog.set(Some(&path), Duration::from_secs(8), None, at(0)).unwrap();
        assert_eq!((read(&mut device), watchdog.due()), (b"\0".to_vec(), Some(at(2000))));
        watchdog.pet(at(1999));
        assert!(read(&mut device).is_empty());
        watchdog.pet(at(2000));
        assert_eq!(read(&mut device), b"\0");
        watchdog.set(Some(&path), Duration::ZERO, None, at(2500)).unwrap();
        assert_eq!((read(&mut device), watchdog.due()), (b"V".to_vec(), None));
    }

    #[test]
    fn it_is_petted_only_up_to_the_moment_asked_for() {
        let (directory, mut device, mut watchdog) = scene();
        let path = directory.path().join("device");
        let at = Moment::from_millis;
        watchdog.set(Some(&path), Duration::from_secs(8), Some(at(3000)), at(0)).unwrap();
        watchdog.pet(at(2000));
        assert_eq!((read(&mut device), watchdog.due()), (b"\0\0".to_vec(), Some(at(3000))));
        watchdog.pet(at(3000));
        watchdog.pet(at(9000));
        assert!(read(&mut device).is_empty(), "left alone");
        watchdog.set(Some(&path), Duration::from_secs(8), Some(at(20_000)), at(9500)).unwrap();
        assert_eq!(read(&mut device), b"\0", "asked for in time, it is petted again");
    }

    #[test]
    fn no_device_is_an_error() {
        let mut watchdog = Watchdog::default();
        let missing = Path::new("/nonexistent/watchdog");
        assert_eq!(watchdog.set(Some(missing), Duration::from_secs(8), None, Moment::default()), Err(Errno::ENOENT));
    }
}
