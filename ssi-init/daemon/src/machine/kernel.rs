// SPDX-License-Identifier: GPL-2.0-or-later
//! What the kernel is watched for beside processes and control groups: ports, paths, mounts, swap, devices, automounts,
//! the clock.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result as AnyResult};
use ssi_manager::core::Event;
use ssi_manager::core::system::{FdKey, Feature, Priority, Result, SystemError};
use ssi_unit::config::path::PathWatch;
use ssi_unit::name::UnitName;
use ssi_watch::autofs::Autofs;
use ssi_watch::clock::Clock;
use ssi_watch::devices::Devices;
use ssi_watch::error::WatchError;
use ssi_watch::notify::NotifySocket;
use ssi_watch::paths::{self, Paths};
use ssi_watch::ports::Ports;
use ssi_watch::tables::{Mounts, Swaps};

use super::Inner;
use crate::poller::{Poller, Source};

const MOUNTS: &str = "/proc/self/mountinfo";
/// What mount(8) notes of options that are not the kernel's.
const UTAB: &str = "/run/mount/utab";
const SWAPS: &str = "/proc/swaps";
const ZONE: &str = "/etc/localtime";

/// The watches. What a machine does not have is not there.
pub(crate) struct Kernel {
    pub(super) ports: Ports,
    pub(super) notifications: Option<NotifySocket>,
    paths: Paths,
    mounts: Mounts,
    swaps: Option<Swaps>,
    devices: Option<Devices>,
    autofs: Option<Autofs>,
    clock: Clock,
}

impl Kernel {
    /// Begins to watch; with what cannot be watched on this machine, in sentences.
    ///
    /// # Errors
    /// When something cannot be watched that every machine has.
    pub(crate) fn new(poller: &mut Poller, container: bool) -> AnyResult<(Self, Vec<String>)> {
        let mut troubles = Vec::new();
        let mut tried = |what: &str, error: WatchError| {
            // A container has neither swap areas nor devices nor automounts of its own; that is no news.
            if !container {
                troubles.push(format!("{what}: {error}"));
            }
        };
        let swaps = Swaps::new(Path::new(SWAPS)).map_err(|error| tried("swap units will not work", error)).ok();
        let devices = Devices::new().map_err(|error| tried("device units will not work", error)).ok();
        let autofs = Autofs::new(Path::new(MOUNTS)).map_err(|error| tried("automount units will not work", error)).ok();
        let kernel = Self {
            ports: Ports::new()?,
            notifications: None,
            paths: Paths::new()?,
            mounts: Mounts::new(Path::new(MOUNTS), Path::new(UTAB))?,
            swaps,
            devices,
            autofs,
            clock: Clock::new(Path::new(ZONE))?,
        };
        let mut set = |source, fd: BorrowedFd<'_>| poller.set(source, fd, false).context("watching the kernel");
        set(Source::Ports, kernel.ports.fd())?;
        set(Source::Paths, kernel.paths.fd())?;
        set(Source::Mounts, kernel.mounts.fd())?;
        set(Source::Clock, kernel.clock.fd())?;
        if let Some(swaps) = &kernel.swaps {
            set(Source::Swaps, swaps.fd())?;
        }
        if let Some(devices) = &kernel.devices {
            set(Source::Devices, devices.fd())?;
        }
        if let Some(autofs) = &kernel.autofs {
            set(Source::Autofs, autofs.fd())?;
        }
        Ok((kernel, troubles))
    }

    pub(super) fn supports(&self, feature: Feature) -> bool {
        match feature {
            Feature::Automount => self.autofs.is_some(),
            Feature::Swap => self.swaps.is_some(),
            Feature::Devices => self.devices.is_some(),
        }
    }

    /// Whether udev tells of devices.
    pub(crate) fn has_devices(&self) -> bool {
        self.devices.is_some()
    }
}

pub(super) fn path_holds(spec: &PathWatch) -> bool {
    paths::holds(spec)
}

fn no_autofs(key: &FdKey) -> SystemError {
    SystemError {
        what: format!("automount {}", key.0),
        said: "this machine has no autofs".to_owned(),
        errno: nix::libc::EOPNOTSUPP,
    }
}

impl Inner {
    /// What happened at one of them.
    pub(crate) fn kernel_events(&mut self, source: Source) -> Vec<Event> {
        let kernel = &mut self.kernel;
        let (events, troubles) = match source {
            Source::Ports => (kernel.ports.events(), Vec::new()),
            Source::Paths => (kernel.paths.events(), kernel.paths.troubles()),
            Source::Mounts => (kernel.mounts.events(), kernel.mounts.troubles()),
            Source::Swaps => kernel.swaps.as_mut().map(|swaps| (swaps.events(), swaps.troubles())).unwrap_or_default(),
            Source::Devices => kernel.devices.as_mut().map(|udev| (udev.events(), udev.troubles())).unwrap_or_default(),
            Source::Autofs => {
                kernel.autofs.as_mut().map(|autofs| (autofs.events(), autofs.troubles())).unwrap_or_default()
            }
            Source::Clock => (kernel.clock.events(), kernel.clock.troubles()),
            Source::Link | Source::Groups | Source::Notify | Source::Report(_) | Source::Stored(_) => {
                Default::default()
            }
        };
        for trouble in troubles {
            self.log(Priority::Warning, None, &trouble.to_string());
        }
        events
    }

    /// All there is now, for a core that knows nothing of it yet.
    pub(crate) fn all_of_kernel(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(devices) = &mut self.kernel.devices {
            match devices.enumerate() {
                Ok(devices) => events.extend(devices),
                Err(error) => self.log(Priority::Warning, None, &error.to_string()),
            }
        }
        for source in [Source::Mounts, Source::Swaps] {
            events.extend(self.kernel_events(source));
        }
        events
    }

    pub(super) fn watch_paths(&mut self, unit: &UnitName, specs: &[PathWatch]) -> Result<()> {
        Ok(self.kernel.paths.watch(unit, specs)?)
    }

    pub(super) fn unwatch_paths(&mut self, unit: &UnitName) {
        self.kernel.paths.unwatch(unit);
    }

    pub(super) fn watch_pid_file(&mut self, unit: &UnitName, path: &str) -> Result<()> {
        Ok(self.kernel.paths.watch_pid_file(unit, Path::new(path))?)
    }

    pub(super) fn unwatch_pid_file(&mut self, unit: &UnitName) {
        self.kernel.paths.unwatch_pid_file(unit);
    }

    pub(super) fn autofs_open(
        &mut self,
        unit: &UnitName,
        place: &str,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<()> {
        let kept = self.kept.get(key).and_then(|fd| fd.try_clone_to_owned().ok());
        let Some(autofs) = &mut self.kernel.autofs else { return Err(no_autofs(key)) };
        let place = Path::new(place);
        match kept {
            Some(pipe) => {
                // With another pipe, where somebody else has taken ours away from the mount meanwhile.
                if let Some(pipe) = autofs.adopt(unit, place, key, pipe, expire_idle)? {
                    self.keep(key.clone(), pipe);
                }
                Ok(())
            }
            None => {
                let pipe = autofs.open(unit, place, key, options, expire_idle)?;
                self.keep(key.clone(), pipe);
                Ok(())
            }
        }
    }

    pub(super) fn autofs_answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()> {
        Ok(self.kernel.autofs.as_mut().ok_or_else(|| no_autofs(key))?.answer(key, tokens, status)?)
    }

    pub(super) fn autofs_expire(&mut self, key: &FdKey) -> Result<()> {
        Ok(self.kernel.autofs.as_mut().ok_or_else(|| no_autofs(key))?.expire(key)?)
    }

    pub(super) fn autofs_close(&mut self, key: &FdKey) {
        let closed = self.kernel.autofs.as_mut().map_or(Ok(()), |autofs| autofs.close(key));
        if let Err(error) = closed {
            self.log(Priority::Warning, None, &error.to_string());
        }
        self.let_go(key);
    }
}
