// SPDX-License-Identifier: GPL-2.0-or-later
//! What path units watch (systemd.path(5)), and the PID files of services.
//!
//! How a path is watched is [`crate::trail`]'s business; here is what counts as the thing that a path unit waits for:
//!
//! | setting | it has happened when |
//! | --- | --- |
//! | `PathExists=`, `PathExistsGlob=`, `DirectoryNotEmpty=` | something on the way or at the path changed, and it holds now |
//! | `PathChanged=`, `PathModified=` | something happened to the thing itself, or it is there and was not, or the reverse |

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::Path;

use ssi_manager::core::Event;
use ssi_unit::condition::{Condition, ConditionKind, ThisMachine};
use ssi_unit::config::path::{PathEvent, PathWatch};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

use crate::error::{Result, WatchError};
use crate::trail::{Interest, Trails};

/// Whom a trail is for.
#[derive(Debug)]
enum Purpose {
    Path { unit: UnitName, spec: PathWatch, existed: bool },
    PidFile { unit: UnitName },
}

/// The watched paths.
#[derive(Debug)]
pub struct Paths {
    trails: Trails,
    purposes: BTreeMap<u64, Purpose>,
    units: BTreeMap<UnitName, Vec<u64>>,
    pid_files: BTreeMap<UnitName, u64>,
    next: u64,
}

/// Whether what a path unit waits for is so now; of `PathChanged=` and `PathModified=`, never.
///
/// A directory with nothing but hidden files and those that editors and package managers leave counts as empty, as
/// systemd 252 has it.
pub fn holds(spec: &PathWatch) -> bool {
    let kind = match spec.event {
        PathEvent::Exists => ConditionKind::PathExists,
        PathEvent::ExistsGlob => ConditionKind::PathExistsGlob,
        PathEvent::DirectoryNotEmpty => ConditionKind::DirectoryNotEmpty,
        PathEvent::Changed | PathEvent::Modified => return false,
    };
    let condition = Condition { kind, trigger: false, negate: false, parameter: spec.path.clone() };
    // Who the host is matters to none of these.
    condition.holds(&ThisMachine::new(Host::default())).unwrap_or(false)
}

/// Whether something is there, as access(2) has it: at the end of a link that leads nowhere there is not.
fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

impl Paths {
    /// None yet.
    ///
    /// # Errors
    /// inotify_init1(2).
    pub fn new() -> Result<Self> {
        Ok(Self {
            trails: Trails::new()?,
            purposes: BTreeMap::new(),
            units: BTreeMap::new(),
            pid_files: BTreeMap::new(),
            next: 0,
        })
    }

    /// Readable when something happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.trails.fd()
    }

    /// Watches what a path unit names, in place of what was watched for it. What is so already is for [`holds`] to tell.
    ///
    /// # Errors
    /// When one of them cannot be watched; then none is.
    pub fn watch(&mut self, unit: &UnitName, specs: &[PathWatch]) -> Result<()> {
        let old = self.units.remove(unit).unwrap_or_default();
        let mut numbers = Vec::with_capacity(specs.len());
        let mut done = Ok(());
        for spec in specs {
            let interest = match spec.event {
                PathEvent::Exists | PathEvent::ExistsGlob => Interest::Presence,
                PathEvent::DirectoryNotEmpty => Interest::Entries,
                PathEvent::Changed => Interest::Changed,
                PathEvent::Modified => Interest::Modified,
            };
            let number = self.number();
            done = match spec.event {
                PathEvent::ExistsGlob => self.trails.watch_pattern(number, Path::new(&spec.path), interest),
                _ => self.trails.watch(number, Path::new(&spec.path), interest),
            };
            if done.is_err() {
                break;
            }
            let existed = is_there(&spec.path);
            self.purposes.insert(number, Purpose::Path { unit: unit.clone(), spec: spec.clone(), existed });
            numbers.push(number);
        }
        // Those from before go last: what both watch is watched without a gap.
        self.forget(&old);
        match done {
            Ok(()) => {
                self.units.insert(unit.clone(), numbers);
            }
            Err(_) => self.forget(&numbers),
        }
        done
    }

    /// Watches nothing for a path unit any more.
    pub fn unwatch(&mut self, unit: &UnitName) {
        let old = self.units.remove(unit).unwrap_or_default();
        self.forget(&old);
    }

    /// Watches a service's PID file. Writes are told as well: some daemons keep theirs open for as long as they run.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch_pid_file(&mut self, unit: &UnitName, path: &Path) -> Result<()> {
        let number = self.number();
        self.trails.watch(number, path, Interest::Modified)?;
        self.purposes.insert(number, Purpose::PidFile { unit: unit.clone() });
        let old = self.pid_files.insert(unit.clone(), number);
        self.forget(old.as_slice());
        Ok(())
    }

    /// Watches a service's PID file no more.
    pub fn unwatch_pid_file(&mut self, unit: &UnitName) {
        let old = self.pid_files.remove(unit);
        self.forget(old.as_slice());
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn forget(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.trails.unwatch(*number);
            self.purposes.remove(number);
        }
    }

    /// What happened since, once for each unit.
    pub fn events(&mut self) -> Vec<Event> {
        let mut units: BTreeSet<UnitName> = BTreeSet::new();
        let mut pid_files: BTreeSet<UnitName> = BTreeSet::new();
        for step in self.trails.events() {
            match self.purposes.get_mut(&step.trail) {
                Some(Purpose::PidFile { unit }) => {
                    pid_files.insert(unit.clone());
                }
                Some(Purpose::Path { unit, spec, existed }) => {
                    let happened = match spec.event {
                        PathEvent::Changed | PathEvent::Modified => {
                            let exists = is_there(&spec.path);
                            step.itself | (std::mem::replace(existed, exists) != exists)
                        }
                        _ => holds(spec),
                    };
                    if happened {
                        units.insert(unit.clone());
                    }
                }
                None => {}
            }
        }
        let paths = units.into_iter().map(Event::PathChanged);
        paths.chain(pid_files.into_iter().map(Event::PidFileChanged)).collect()
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        self.trails.troubles()
    }
}
