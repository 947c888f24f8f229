// SPDX-License-Identifier: GPL-2.0-or-later
//! The `[Manager]` section of system.conf and its drop-ins: systemd-system.conf(5).

use std::path::{Path, PathBuf};

use super::value::boolean;
use super::{cgroup, exec, limits};
use crate::config::exec::{OutputTarget, Resource};
use crate::config::service::OomPolicy;
use crate::config::{ManagerDefaults, Warning, WarningKind};
use crate::environment;
use crate::file::{Assignment, UnitFile, parse};
use crate::files::Files;
use crate::time::parse_seconds;

/// Where system.conf is looked for, the first one found counts.
const MAIN_FILES: [&str; 4] = [
    "/etc/systemd/system.conf",
    "/run/systemd/system.conf",
    "/usr/local/lib/systemd/system.conf",
    "/usr/lib/systemd/system.conf",
];

/// Where its drop-ins are; of those with one name the first counts.
const DROPIN_FOLDERS: [&str; 5] = [
    "/etc/systemd/system.conf.d",
    "/run/systemd/system.conf.d",
    "/usr/local/lib/systemd/system.conf.d",
    "/usr/lib/systemd/system.conf.d",
    "/lib/systemd/system.conf.d",
];

/// Keys of `[Manager]` that are not about units: the manager reads them itself, from [`SystemConf::others`].
const OTHERS: [&str; 32] = [
    "LogLevel",
    "LogTarget",
    "LogColor",
    "LogLocation",
    "LogTime",
    "DumpCore",
    "ShowStatus",
    "CrashChangeVT",
    "CrashShell",
    "CrashReboot",
    "CtrlAltDelBurstAction",
    "CPUAffinity",
    "NUMAPolicy",
    "NUMAMask",
    "RuntimeWatchdogSec",
    "RuntimeWatchdogPreSec",
    "RuntimeWatchdogPreGovernor",
    "RebootWatchdogSec",
    "KExecWatchdogSec",
    "ShutdownWatchdogSec",
    "WatchdogDevice",
    "CapabilityBoundingSet",
    "NoNewPrivileges",
    "SystemCallArchitectures",
    "TimerSlackNSec",
    "StatusUnitFormat",
    "ManagerEnvironment",
    "DefaultSmackProcessLabel",
    "DefaultBlockIOAccounting",
    "ReloadLimitIntervalSec",
    "ReloadLimitBurst",
    "ConfirmSpawn",
];

/// What system.conf says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SystemConf {
    /// Defaults of units.
    pub defaults: ManagerDefaults,
    /// The other settings, as they were written; a later one of the same key holds.
    pub others: Vec<Assignment>,
    /// What was passed over.
    pub warnings: Vec<Warning>,
}

impl SystemConf {
    /// Reads system.conf and its drop-ins. What cannot be opened is passed over with a warning.
    pub fn load(files: &dyn Files) -> SystemConf {
        let mut conf = SystemConf::default();
        for path in MAIN_FILES {
            if conf.read_file(files, Path::new(path)) {
                break;
            }
        }
        let mut dropins: Vec<PathBuf> = Vec::new();
        for folder in DROPIN_FOLDERS {
            for entry in files.list(Path::new(folder)).unwrap_or_default() {
                let known = dropins.iter().any(|path| path.file_name() == Some(&entry.name));
                if Path::new(&entry.name).extension().is_some_and(|end| end == "conf") && !known {
                    dropins.push(Path::new(folder).join(entry.name));
                }
            }
        }
        dropins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        for path in dropins {
            conf.read_file(files, &path);
        }
        conf
    }

    /// Reads one file; says whether it was there.
    fn read_file(&mut self, files: &dyn Files, path: &Path) -> bool {
        match files.read(path) {
            Ok(text) => self.apply(&parse(&text, path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
            Err(error) => {
                let text = format!("{}: cannot be read: {error}; going on without it", path.display());
                self.warnings.push(Warning { at: None, kind: WarningKind::Syntax, text });
            }
        }
        true
    }

    /// Applies the settings of one file.
    pub fn apply(&mut self, file: &UnitFile) {
        self.warnings.extend(file.warnings.iter().cloned());
        if let Some(error) = &file.error {
            let text = format!("{error}; the rest of the file is ignored");
            self.warnings.push(Warning { at: None, kind: WarningKind::Syntax, text });
        }
        for assignment in file.assignments.iter().filter(|assignment| &*assignment.section == "Manager") {
            let (kind, text) = match apply(&mut self.defaults, &assignment.key, &assignment.value) {
                Some(true) => continue,
                Some(false) => {
                    let text = format!("{}={} cannot be read, ignoring", assignment.key, assignment.value);
                    (WarningKind::BadValue, text)
                }
                None if OTHERS.contains(&assignment.key.as_str()) || assignment.key.starts_with("X-") => {
                    self.others.push(assignment.clone());
                    continue;
                }
                None => (
                    WarningKind::UnknownKey,
                    format!("Unknown key {}= in section [Manager], ignoring.", assignment.key),
                ),
            };
            self.warnings.push(Warning { at: Some(assignment.at.clone()), kind, text });
        }
    }

    /// The value of one of the other settings.
    pub fn other(&self, key: &str) -> Option<&str> {
        self.others.iter().rev().find(|assignment| assignment.key == key).map(|assignment| assignment.value.as_str())
    }
}

/// Applies one setting: whether it could be read, or `None` for a key that is not about units.
fn apply(defaults: &mut ManagerDefaults, key: &str, value: &str) -> Option<bool> {
    fn set<T>(slot: &mut T, value: Option<T>) -> bool {
        let found = value.is_some();
        if let Some(value) = value {
            *slot = value;
        }
        found
    }
    let span = || parse_seconds(value).ok();
    // Zero switches these off.
    let timeout = || span().map(|span| span.filter(|span| !span.is_zero()));
    let stream = || exec::plain_output(value).filter(|target| *target != OutputTarget::Socket);
    Some(match key {
        "DefaultTimerAccuracySec" => set(&mut defaults.timer_accuracy, span()),
        "DefaultStandardOutput" => set(&mut defaults.standard_output, stream()),
        "DefaultStandardError" => set(&mut defaults.standard_error, stream()),
        "DefaultTimeoutStartSec" => set(&mut defaults.timeout_start, timeout()),
        "DefaultTimeoutStopSec" => set(&mut defaults.timeout_stop, timeout()),
        "DefaultTimeoutAbortSec" if value.is_empty() => set(&mut defaults.timeout_abort, Some(None)),
        "DefaultTimeoutAbortSec" => set(&mut defaults.timeout_abort, span().map(Some)),
        "DefaultDeviceTimeoutSec" => set(&mut defaults.device_timeout, timeout()),
        "DefaultRestartSec" => set(&mut defaults.restart, span()),
        "DefaultStartLimitInterval" | "DefaultStartLimitIntervalSec" => set(&mut defaults.start_limit_interval, span()),
        "DefaultStartLimitBurst" => set(&mut defaults.start_limit_burst, super::value::unsigned32(value)),
        "DefaultCPUAccounting" => set(&mut defaults.cpu_accounting, boolean(value)),
        "DefaultIOAccounting" => set(&mut defaults.io_accounting, boolean(value)),
        "DefaultIPAccounting" => set(&mut defaults.ip_accounting, boolean(value)),
        "DefaultMemoryAccounting" => set(&mut defaults.memory_accounting, boolean(value)),
        "DefaultTasksAccounting" => set(&mut defaults.tasks_accounting, boolean(value)),
        "DefaultTasksMax" => set(&mut defaults.tasks_max, cgroup::tasks(value)),
        "DefaultOOMPolicy" => set(&mut defaults.oom_policy, OomPolicy::from_word(value)),
        "DefaultOOMScoreAdjust" if value.is_empty() => set(&mut defaults.oom_score_adjust, Some(None)),
        "DefaultOOMScoreAdjust" => set(&mut defaults.oom_score_adjust, exec::oom_score(value).map(Some)),
        "DefaultEnvironment" if value.is_empty() => {
            defaults.environment.clear();
            true
        }
        "DefaultEnvironment" => {
            let found = environment::assignments::<std::convert::Infallible>(value, |word| Ok(word.to_vec()));
            defaults.environment.extend(found.set.into_iter().map(|(name, value)| format!("{name}={value}")));
            found.warnings.is_empty()
        }
        _ => {
            let resource = key.strip_prefix("DefaultLimit").and_then(Resource::from_word)?;
            let limit = limits::limit(resource, value);
            let found = limit.is_some();
            if let Some(limit) = limit {
                defaults.limits.insert(resource, limit);
            }
            found
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::MemoryFiles;

    #[test]
    fn dropins_come_after_the_file_in_the_order_of_their_names() {
        let mut files = MemoryFiles::new();
        files
            .file("/etc/systemd/system.conf", "[Manager]\nDefaultTimeoutStartSec=5\nShowStatus=no\nNope=1\n")
            .file("/usr/lib/systemd/system.conf.d/20-b.conf", "[Manager]\nDefaultTimeoutStartSec=20\n")
            .file(
                "/etc/systemd/system.conf.d/10-a.conf",
                "[Manager]\nDefaultTimeoutStartSec=10\nDefaultLimitCORE=0:infinity\n",
            )
            .file("/run/systemd/system.conf.d/10-a.conf", "[Manager]\nDefaultTimeoutStopSec=1\n");
        let conf = SystemConf::load(&files);
        assert_eq!(conf.defaults.timeout_start, Some(Duration::from_secs(20)));
        assert_eq!(conf.defaults.timeout_stop, Some(Duration::from_secs(90)));
        assert_eq!(conf.defaults.limits[&Resource::Core].hard, u64::MAX);
        assert_eq!(conf.other("ShowStatus"), Some("no"));
        assert_eq!(conf.warnings.len(), 1);
    }
}
