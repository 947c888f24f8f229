// SPDX-License-Identifier: GPL-2.0-or-later
//! What is to be said of a unit before anybody starts it: what `ssi-init verify` prints.
//!
//! A unit is looked at together with the units it names and the programs it runs. Nothing here stops a unit from being
//! used: load errors do that by themselves, and a protection that cannot be held to is the administrator's to weigh.

use std::fmt;
use std::path::Path;

use crate::config::{KindConfig, Protection, UnitConfig, WarningKind};
use crate::dependency::Atoms;
use crate::exec_line::ExecCommand;
use crate::files::{FileKind, Files};
use crate::load::{LoadState, Loaded};
use crate::name::UnitName;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The unit cannot be used, or its start must fail.
    Error,
    /// A protection the unit asks for is not held to.
    Unprotected,
    /// Something was passed over.
    Warning,
    /// Worth a word.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Unprotected => "unprotected",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One thing to be said of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The unit.
    pub unit: UnitName,
    /// How much it matters.
    pub severity: Severity,
    /// A sentence, with the place in the file where there is one.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.unit, self.severity, self.text)
    }
}

/// What the rest of the system says to the questions a unit raises.
pub trait Surroundings {
    /// How loading another unit ends.
    fn load_state(&mut self, unit: &UnitName) -> LoadState;

    /// Whether the executor and this kernel hold to a protection.
    fn holds(&self, protection: Protection) -> bool;
}

/// Looks a loaded unit over. The gravest findings come first, and otherwise in the order of the files.
pub fn verify(unit: &Loaded, files: &dyn Files, surroundings: &mut dyn Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |severity, text: String| findings.push(Finding { unit: unit.id.clone(), severity, text });
    match (unit.state, &unit.error) {
        (LoadState::Loaded | LoadState::Masked, _) | (_, None) => {}
        (_, Some(error)) => say(Severity::Error, error.clone()),
    }
    for warning in &unit.warnings {
        let severity = match warning.kind {
            // Said by the load state already.
            WarningKind::Fatal => continue,
            WarningKind::Obsolete | WarningKind::Note => Severity::Note,
            WarningKind::UnknownSection | WarningKind::UnknownKey | WarningKind::BadValue | WarningKind::Syntax => {
                Severity::Warning
            }
        };
        say(severity, warning.to_string());
    }
    if unit.state == LoadState::Loaded {
        for protection in unit.config.exec().map(|exec| exec.sandbox.protections()).unwrap_or_default() {
            if !surroundings.holds(protection) {
                say(Severity::Unprotected, format!("{protection}= is set, and this system does not hold to it"));
            }
        }
        for command in commands(&unit.config) {
            if let Some(text) = missing_program(command, &unit.config, files) {
                let severity = if command.ignore_failure { Severity::Note } else { Severity::Error };
                say(severity, text);
            }
        }
        for (kind, other) in unit.dependencies() {
            if kind.atoms().intersects(Atoms::PULL_IN_START) {
                match surroundings.load_state(other) {
                    LoadState::Loaded => {}
                    LoadState::Masked => {
                        say(Severity::Error, format!("{kind}={other} is masked, so no start succeeds"))
                    }
                    state => say(
                        Severity::Error,
                        format!("{kind}={other} cannot be loaded ({}), so no start succeeds", state.as_str()),
                    ),
                }
            }
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Every command a unit may run.
fn commands(config: &UnitConfig) -> Vec<&ExecCommand> {
    let lists: Vec<&Vec<ExecCommand>> = match &config.kind {
        KindConfig::Service(service) => vec![
            &service.exec_condition,
            &service.exec_start_pre,
            &service.exec_start,
            &service.exec_start_post,
            &service.exec_reload,
            &service.exec_stop,
            &service.exec_stop_post,
        ],
        KindConfig::Socket(socket) => {
            vec![&socket.exec_start_pre, &socket.exec_start_post, &socket.exec_stop_pre, &socket.exec_stop_post]
        }
        _ => Vec::new(),
    };
    lists.into_iter().flatten().collect()
}

/// A sentence when a command's program is not there. Programs in a root of the unit's own, and those looked for in the
/// search path, are not looked at.
fn missing_program(command: &ExecCommand, config: &UnitConfig, files: &dyn Files) -> Option<String> {
    let sandbox = &config.exec()?.sandbox;
    if sandbox.root_directory.is_some() || sandbox.root_image.is_some() || !command.program.starts_with('/') {
        return None;
    }
    match files.facts(Path::new(&command.program)) {
        Ok(facts) if facts.kind == FileKind::Regular => None,
        Ok(_) => Some(format!("{} is not a program that can be run", command.program)),
        Err(error) => Some(format!("{} cannot be run: {error}", command.program)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ManagerDefaults;
    use crate::files::MemoryFiles;
    use crate::load::{Loader, SearchPath};
    use crate::specifier::Host;

    struct Bare;

    impl Surroundings for Bare {
        fn load_state(&mut self, unit: &UnitName) -> LoadState {
            if unit.as_str().starts_with("gone") { LoadState::NotFound } else { LoadState::Loaded }
        }

        fn holds(&self, protection: Protection) -> bool {
            protection != Protection::SystemCallFilter
        }
    }

    fn findings(text: &str) -> Vec<(Severity, String)> {
        let mut files = MemoryFiles::new();
        files.file("/etc/systemd/system/x.service", text).file("/bin/true", "x");
        let mut loader = Loader::new(files.clone(), SearchPath::system(), Host::default(), ManagerDefaults::default());
        let loaded = loader.load(&UnitName::new("x.service").unwrap());
        verify(&loaded, &files, &mut Bare).into_iter().map(|finding| (finding.severity, finding.text)).collect()
    }

    #[test]
    fn nothing_is_said_of_a_sound_unit() {
        assert_eq!(findings("[Unit]\nRequires=a.service\nWants=gone.service\n[Service]\nExecStart=/bin/true\n"), []);
    }

    #[test]
    fn what_is_missing_unknown_and_unprotected() {
        let found = findings(
            "[Unit]\nRequires=gone.service\nBogus=1\n[Service]\nExecStart=/bin/true\nExecStopPost=-/bin/gone\n\
             SystemCallFilter=@system-service\nPrivateTmp=yes\n",
        );
        let severities: Vec<Severity> = found.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(
            severities,
            [Severity::Error, Severity::Unprotected, Severity::Warning, Severity::Note],
            "{found:?}"
        );
        assert!(found[0].1.contains("gone.service") && found[1].1.contains("SystemCallFilter="));
        assert!(found[2].1.contains("x.service:3:") && found[3].1.contains("/bin/gone"));
    }

    #[test]
    fn a_unit_that_cannot_be_used() {
        let found = findings("[Service]\nType=simple\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Severity::Error);
    }
}
