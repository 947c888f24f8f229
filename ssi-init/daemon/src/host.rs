// SPDX-License-Identifier: GPL-2.0-or-later
//! What clients ask of the manager as a whole: to read its files again, to end the machine, what it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use std::collections::BTreeMap;

use ssi_bus::{BootTimes, End, Facts, Inspection, Setting, UnitFiles};
use ssi_init_manager::dump::{Around, Snapshot};
use ssi_init_manager::record::own_build;
use ssi_keep::link::How;
use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::{Moment, Priority};
use ssi_unit::config::cgroup::TasksMax;
use ssi_unit::install::Folders;

use crate::boot::generators;
use crate::endings::Asked;
use crate::machine::{Inner, now};
use crate::memory::Whole;
use crate::recording::{self, Recording};
use crate::startup::Settings;

/// Whose interface is spoken: programs read a systemd's version from the digits at the begin.
const VERSION: &str = concat!("252 (ssi-init ", env!("CARGO_PKG_VERSION"), ")");

/// The manager, but for its units.
pub(crate) struct Host {
    pub(crate) inner: Rc<RefCell<Inner>>,
    pub(crate) settings: Settings,
    pub(crate) whole: Whole,
    /// Whether the system bus was served when it was looked at last.
    pub(crate) bus_was_up: bool,
    /// When generators ran and units were read last.
    loaded: BootTimes,
    asked: Option<Asked>,
    end: Option<How>,
    exit_status: u8,
    /// How many managers there were since the boot before this one.
    starts: u32,
    recording: Option<Recording>,
}

impl Host {
    pub(crate) fn new(
        inner: Rc<RefCell<Inner>>,
        settings: Settings,
        whole: Whole,
        starts: u32,
        recording: Option<Recording>,
    ) -> Self {
        Self {
            inner,
            settings,
            whole,
            bus_was_up: false,
            loaded: BootTimes::default(),
            asked: None,
            end: None,
            exit_status: 0,
            starts,
            recording,
        }
    }

    /// What a client asked for that the main loop is to do.
    pub(crate) fn take_asked(&mut self) -> Option<Asked> {
        self.asked.take()
    }

    /// The end that a client asked for (`systemctl --force poweroff`).
    pub(crate) fn take_end(&mut self) -> Option<How> {
        self.end.take()
    }

    /// The status that the manager ends with where it is told to (`systemctl exit 3`).
    pub(crate) fn exit_status(&self) -> u8 {
        self.exit_status
    }

    /// The boot is done.
    pub(crate) fn finished(&mut self, at: Moment) {
        self.whole.finished = Some(at);
    }

    /// Runs the generators. Process 1 hears that the manager lives meanwhile.
    pub(crate) fn run_generators(&mut self) {
        self.loaded.generators_start = now();
        let environment = self.inner.borrow().environment.clone();
        let container = self.settings.surroundings.container;
        let virtualization = self.settings.virtualization;
        let inner = Rc::clone(&self.inner);
        let mut lost = None;
        let more = [
            ("SYSTEMD_FIRST_BOOT", "0".to_owned()),
            ("SYSTEMD_ARCHITECTURE", self.settings.host.architecture.clone()),
            (
                "SYSTEMD_VIRTUALIZATION",
                match (virtualization, container) {
                    ("", _) => String::new(),
                    (kind, true) => format!("container:{kind}"),
                    (kind, false) => format!("vm:{kind}"),
                },
            ),
        ];
        let mut environment = environment;
        environment.extend(
            more.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)),
        );
        let troubles = generators::run(&environment, || {
            if let Err(error) = inner.borrow_mut().link.tick(Instant::now()) {
                lost.get_or_insert(error);
            }
        });
        self.loaded.generators_finish = now();
        let mut inner = self.inner.borrow_mut();
        for text in troubles {
            inner.log(Priority::Warning, None, &text);
        }
        if let Some(error) = lost {
            inner.told(Err(error));
        }
    }

    /// Reads everything again: `systemctl daemon-reload`.
    pub(crate) fn read_again(&mut self, core: &mut Core) {
        core.sys.log(Priority::Info, None, "reads unit files again");
        self.run_generators();
        self.loaded.units_load_start = now();
        self.loaded.units_load = now();
        core.reload_files();
        self.loaded.units_load_finish = now();
    }

    /// The state of all units and jobs, for those who look for a mistake.
    pub(crate) fn snapshot(&self, core: &Core, patterns: &[String]) -> Snapshot {
        let around = Around {
            program: format!("ssi-init {}", env!("CARGO_PKG_VERSION")),
            build: own_build(),
            restarts: self.starts,
            descriptors: self.inner.borrow().kept.keys().map(|key| key.0.clone()).collect(),
            recording: self.recording.as_ref().map(|recording| recording.tape.standing()),
        };
        Snapshot::new(core, around, patterns)
    }

    /// Lets go of a recording that ended, and says so.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) fn tend_recording(&mut self) -> anyhow::Result<()> {
        match &mut self.recording {
            Some(recording) => recording.tend(&mut self.inner.borrow_mut()),
            None => Ok(()),
        }
    }

    /// When what happened.
    fn times(&self) -> BootTimes {
        BootTimes {
            // The clock of the day when the kernel began: user space began so much later.
            kernel: Moment {
                realtime: self.whole.started.realtime.saturating_sub(self.whole.started.monotonic),
                monotonic: 0,
            },
            userspace: self.whole.started,
            finish: self.whole.finished.unwrap_or_default(),
            ..self.loaded
        }
    }

    /// Ends the machine this instant, with nothing written back. Returns only if that is not to be.
    pub(crate) fn immediately(&self, how: How) {
        use rustix::system::{RebootCommand, reboot};
        if self.settings.surroundings.container {
            return;
        }
        let command = match how {
            How::Halt => RebootCommand::Halt,
            How::PowerOff => RebootCommand::PowerOff,
            How::Reboot | How::Exit => RebootCommand::Restart,
            How::Kexec => RebootCommand::Kexec,
        };
        if let Err(errno) = reboot(command) {
            self.inner.borrow_mut().log(Priority::Error, None, &format!("ending the machine at once: {errno}"));
        }
    }
}

impl ssi_bus::Host for Host {
    fn facts(&self) -> Facts {
        let inner = self.inner.borrow();
        let defaults = self.settings.conf.defaults.clone();
        let tasks_max = match defaults.tasks_max {
            TasksMax::Count(count) => count,
            TasksMax::Percent { hundredths } => {
                inner.groups.most_tasks().saturating_mul(u64::from(hundredths)) / 10_000
            }
            TasksMax::Infinity => u64::MAX,
        };
        Facts {
            version: VERSION.to_owned(),
            features: "default-hierarchy=unified".to_owned(),
            virtualization: self.settings.virtualization.to_owned(),
            architecture: self.settings.host.architecture.clone(),
            tainted: tainted(),
            times: self.times(),
            log_level: inner.journal.level().to_owned(),
            unit_path: Folders::system(true).search.iter().map(|path| path.display().to_string()).collect(),
            exit_code: self.exit_status,
            defaults,
            tasks_max,
            ..Facts::default()
        }
    }

    fn environment(&self) -> Vec<String> {
        self.inner.borrow().environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn set_environment(&mut self, unset: &[String], set: &[String]) -> Result<(), CommandError> {
        let mut inner = self.inner.borrow_mut();
        for word in unset {
            match word.split_once('=') {
                Some((name, value)) if inner.environment.get(name).is_some_and(|now| now == value) => {
                    inner.environment.remove(name);
                }
                Some(_) => {}
                None => {
                    inner.environment.remove(word);
                }
            }
        }
        for word in set {
            if let Some((name, value)) = word.split_once('=') {
                inner.environment.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    fn reload(&mut self, core: &mut Core) -> Result<(), CommandError> {
        self.read_again(core);
        Ok(())
    }

    fn reexecute(&mut self, _core: &mut Core) -> Result<(), CommandError> {
        self.asked = Some(Asked::Reexecute);
        Ok(())
    }

    fn end(&mut self, _core: &mut Core, end: End) -> Result<(), CommandError> {
        self.end = Some(match end {
            End::Exit => How::Exit,
            End::Reboot => How::Reboot,
            End::PowerOff => How::PowerOff,
            End::Halt => How::Halt,
            End::Kexec => How::Kexec,
        });
        Ok(())
    }

    fn set_exit_code(&mut self, status: u8) -> Result<(), CommandError> {
        self.exit_status = status;
        Ok(())
    }

    fn set(&mut self, setting: Setting) -> Result<(), CommandError> {
        match setting {
            Setting::LogLevel(level) => {
                self.inner.borrow_mut().journal.set_level(&level);
                Ok(())
            }
            // Lines go to the journal, and until it is there to the kernel's; there is nothing to choose.
            Setting::LogTarget(_) => Err(unsupported("choosing where the manager logs to")),
            Setting::ShowStatus(_) => Ok(()),
            _ => Err(unsupported("this setting")),
        }
    }

    fn unit_files(&self) -> UnitFiles {
        UnitFiles { root: "/".into(), folders: Folders::system(true), machine: self.settings.host.clone() }
    }

    fn command_line(&self, pid: u32) -> Option<String> {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if bytes.is_empty() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            return Some(format!("[{}]", name.trim_end()));
        }
        let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        Some(words.join(" ").trim_end().to_owned())
    }

    fn figures(&self, group: &str) -> BTreeMap<&'static str, u64> {
        let groups = &self.inner.borrow().groups;
        let mut figures = BTreeMap::new();
        let mut put = |name, figure: Option<u64>| {
            if let Some(figure) = figure {
                figures.insert(name, figure);
            }
        };
        put("MemoryCurrent", groups.figure(group, "memory.current"));
        put("MemoryAvailable", None);
        put("TasksCurrent", groups.figure(group, "pids.current"));
        let usec = groups.figure_of(group, "cpu.stat", "usage_usec");
        put("CPUUsageNSec", usec.map(|usec| usec.saturating_mul(1000)));
        figures
    }

    fn freeze(&mut self, group: &str, frozen: bool) -> Result<(), CommandError> {
        let done = self.inner.borrow().groups.freeze(group, frozen);
        done.map_err(|error| CommandError::new(errors::FAILED, error.to_string()))
    }

    fn dump(&self, core: &Core, patterns: &[String]) -> String {
        self.snapshot(core, patterns).to_string()
    }

    fn inspect(&mut self, core: &mut Core, what: Inspection) -> Result<String, CommandError> {
        let failed = |error: serde_json::Error| CommandError::new(errors::FAILED, format!("writing JSON: {error}"));
        match what {
            Inspection::State => return self.snapshot(core, &[]).json().map_err(failed),
            Inspection::Record { file, limit } => {
                if self.recording.as_ref().is_some_and(|recording| recording.tape.standing().recording) {
                    return Err(CommandError::new(
                        errors::FAILED,
                        "a recording goes on; `ssi-init record stop` ends it",
                    ));
                }
                recording::prepare(&mut self.inner.borrow_mut(), &file, limit)?;
                self.asked = Some(Asked::Reexecute);
                return Ok(String::new());
            }
            Inspection::StopRecording => match &self.recording {
                Some(recording) => recording.tape.end(recording::ON_REQUEST),
                None => return Err(CommandError::new(errors::FAILED, "there is no recording")),
            },
            Inspection::Recording => {}
        }
        let told = self.recording.as_ref().map(|recording| recording.told());
        serde_json::to_string(&told).map_err(failed)
    }
}

fn unsupported(what: &str) -> CommandError {
    CommandError::new(errors::NOT_SUPPORTED, format!("{what} is not supported by this manager"))
}

/// What about the system is odd, in systemd's words: what makes unit files that count on it fail.
fn tainted() -> String {
    let mut words = Vec::new();
    if std::fs::symlink_metadata("/bin").is_ok_and(|facts| facts.is_dir()) {
        words.push("unmerged-usr");
    }
    if std::fs::read_link("/var/run")
        .is_ok_and(|target| target != std::path::Path::new("../run") && target != std::path::Path::new("/run"))
    {
        words.push("var-run-bad");
    }
    for (file, word) in [
        ("/proc/sys/kernel/overflowuid", "overflowuid-not-65534"),
        ("/proc/sys/kernel/overflowgid", "overflowgid-not-65534"),
    ] {
        if std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "65534") {
            words.push(word);
        }
    }
    words.join(":")
}
