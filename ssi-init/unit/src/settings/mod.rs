// SPDX-License-Identifier: GPL-2.0-or-later
//! How each setting is read: from assignments to a [`UnitConfig`].
//!
//! One table a section: a key and what is done with its value. A table's function changes the section's struct or
//! says why it cannot, and nothing else; everything it may ask (specifiers, the unit's type) is in the `Reader`.
//!
//! ```text
//!   [Service] UMask = 0027 ──► SERVICE table? no ──► EXEC table: "UMask" ──► exec.umask = 0o027
//! ```
//!
//! What is said of a key is systemd.directives(7) and the man page of its section; where those leave a question open
//! (what an empty value does, which mistakes are fatal), the answer is that of systemd 252.

mod cgroup;
mod check;
mod credentials;
mod exec;
mod install;
mod kill;
mod limits;
mod mount;
mod sandbox;
mod service;
mod socket;
mod timer;
mod unit;
mod value;

pub mod manager;

pub(crate) use value::unsigned;

use std::time::Duration;

use crate::condition::ConditionKind;
use crate::config::{KindConfig, ManagerDefaults, UnitConfig, Warning, WarningKind};
use crate::file::{Assignment, FileError, UnitFile};
use crate::name::{UnitName, UnitType};
use crate::specifier::Specifiers;
use crate::time::parse_seconds;
use crate::words::{Rules, Splitter};

/// Why a value is not taken.
#[derive(Debug)]
enum Problem {
    /// The setting stays as it was.
    Ignored(String),
    /// The unit cannot be used.
    Fatal(String),
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Ignored(text)
    }
}

/// What comes of applying a value.
type Outcome = Result<(), Problem>;

/// What is done with the value of one key.
type Apply<T> = fn(&mut T, &str, &mut Reader<'_>) -> Outcome;

/// The keys of a section, each with what is done with its value.
type Table<T> = &'static [(&'static str, Apply<T>)];

/// What a table's function may ask and say.
struct Reader<'a> {
    /// What `%` sequences stand for.
    specifiers: &'a Specifiers<'a>,
    /// The unit's type.
    kind: UnitType,
    /// The assignment that is read.
    assignment: &'a Assignment,
    warnings: &'a mut Vec<Warning>,
}

impl Reader<'_> {
    /// The key that is read.
    fn key(&self) -> &str {
        &self.assignment.key
    }

    /// Says something about the value and goes on.
    fn say(&mut self, kind: WarningKind, text: String) {
        self.warnings.push(Warning { at: Some(self.assignment.at.clone()), kind, text });
    }

    /// Says that a part of the value is passed over.
    fn skip(&mut self, text: String) {
        self.say(WarningKind::BadValue, text);
    }

    /// Says that a setting is out of date.
    fn obsolete(&mut self, text: &str) {
        let text = format!("{}= {text}", self.key());
        self.say(WarningKind::Obsolete, text);
    }

    /// The problem of a value that is not what it should be.
    fn bad(&self, value: &str, wanted: &str) -> Problem {
        Problem::Ignored(format!("{}={value} is not {wanted}, ignoring", self.key()))
    }

    /// Specifiers replaced in a text.
    fn text(&self, value: &str) -> Result<String, Problem> {
        self.specifiers
            .text(value)
            .map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))
    }

    /// Specifiers replaced in an absolute path, which is tidied.
    fn path(&self, value: &str) -> Result<String, Problem> {
        let expanded = self
            .specifiers
            .path(value)
            .map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))?;
        let path = value::simple_path(&expanded);
        if !path.starts_with('/') {
            return Err(self.bad(&expanded, "an absolute path"));
        }
        if !value::is_normal_path(&path) {
            return Err(self.bad(&expanded, "a path without \"..\" that the kernel would take"));
        }
        Ok(path)
    }

    /// Specifiers replaced in a path that must not be absolute.
    fn relative_path(&self, value: &str) -> Result<String, Problem> {
        let expanded = self
            .specifiers
            .path(value)
            .map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))?;
        let path = value::simple_path(&expanded);
        if path.starts_with('/') || !value::is_normal_path(&path) {
            return Err(self.bad(&expanded, "a relative path without \"..\""));
        }
        Ok(path)
    }

    /// A unit's name, specifiers replaced.
    fn unit(&self, value: &str) -> Result<UnitName, Problem> {
        let expanded = self
            .specifiers
            .name(value)
            .map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))?;
        UnitName::new(&expanded).map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))
    }

    /// The name of a unit this one has to do with: a template's stands for the instance that goes with this unit.
    fn other_unit(&self, value: &str) -> Result<UnitName, Problem> {
        self.unit(value)?
            .resolve_for(self.specifiers.name)
            .map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))
    }

    /// The words of a value. From a word that cannot be read on, the rest is passed over.
    fn words(&mut self, value: &str, rules: Rules) -> Vec<String> {
        let mut splitter = Splitter::new(value.as_bytes());
        let mut words = Vec::new();
        loop {
            match splitter.next_word(rules) {
                Ok(None) => return words,
                Ok(Some(word)) => match String::from_utf8(word) {
                    Ok(word) => words.push(word),
                    Err(_) => self.skip(format!("{}={value} holds what is not UTF-8, ignoring that", self.key())),
                },
                Err(error) => {
                    self.skip(format!("{}={value}: {error}, ignoring the rest", self.key()));
                    return words;
                }
            }
        }
    }

    /// For each word of the value something new for a list; words that give none are passed over. An empty value
    /// empties the list.
    fn extend<T>(
        &mut self,
        list: &mut Vec<T>,
        value: &str,
        rules: Rules,
        mut read: impl FnMut(&mut Self, &str) -> Result<T, Problem>,
    ) -> Outcome {
        if value.is_empty() {
            list.clear();
            return Ok(());
        }
        for word in self.words(value, rules) {
            match read(self, &word) {
                Ok(item) => list.push(item),
                Err(Problem::Ignored(text)) => self.skip(text),
                Err(fatal) => return Err(fatal),
            }
        }
        Ok(())
    }

    /// Yes or no.
    fn set_bool(&self, slot: &mut bool, value: &str) -> Outcome {
        *slot = value::boolean(value).ok_or_else(|| self.bad(value, "yes or no"))?;
        Ok(())
    }

    /// A span of time; a number alone is seconds, `infinity` is `None`.
    fn span(&self, value: &str) -> Result<Option<Duration>, Problem> {
        parse_seconds(value).map_err(|error| Problem::Ignored(format!("{}={value}: {error}, ignoring", self.key())))
    }

    /// A span of time.
    fn set_span(&self, slot: &mut Option<Duration>, value: &str) -> Outcome {
        *slot = self.span(value)?;
        Ok(())
    }

    /// A span of time that cannot be for ever.
    fn set_finite_span(&self, slot: &mut Duration, value: &str) -> Outcome {
        *slot = self.span(value)?.unwrap_or(Duration::MAX);
        Ok(())
    }

    /// A limit in time; zero is none, as it was long ago.
    fn set_timeout(&self, slot: &mut Option<Duration>, value: &str) -> Outcome {
        *slot = self.span(value)?.filter(|span| !span.is_zero());
        Ok(())
    }

    /// A word of a list.
    fn set_word<T>(&self, slot: &mut T, value: &str, from_word: fn(&str) -> Option<T>) -> Outcome {
        *slot = from_word(value).ok_or_else(|| self.bad(value, "a word this setting knows"))?;
        Ok(())
    }

    /// A text with specifiers; empty is none.
    fn set_text(&self, slot: &mut Option<String>, value: &str) -> Outcome {
        *slot = if value.is_empty() { None } else { Some(self.text(value)?) };
        Ok(())
    }

    /// An absolute path with specifiers; empty is none.
    fn set_path(&self, slot: &mut Option<String>, value: &str) -> Outcome {
        // A specifier may leave nothing as well.
        let is_empty = value.is_empty() || self.specifiers.path(value).is_ok_and(|path| path.is_empty());
        *slot = if is_empty { None } else { Some(self.path(value)?) };
        Ok(())
    }

    /// An access mode.
    fn set_mode(&self, slot: &mut u32, value: &str) -> Outcome {
        *slot = value::mode(value).ok_or_else(|| self.bad(value, "an access mode in octal"))?;
        Ok(())
    }

    /// A number.
    fn set_unsigned(&self, slot: &mut u32, value: &str) -> Outcome {
        *slot = value::unsigned32(value).ok_or_else(|| self.bad(value, "a number"))?;
        Ok(())
    }

    /// A number of bytes.
    fn set_size(&self, slot: &mut u64, value: &str) -> Outcome {
        *slot = value::size(value, 1024).ok_or_else(|| self.bad(value, "a number of bytes"))?;
        Ok(())
    }
}

/// Makes a failure that would be passed over one that makes the unit unusable.
fn fatal(problem: Problem) -> Problem {
    match problem {
        Problem::Ignored(text) | Problem::Fatal(text) => Problem::Fatal(text),
    }
}

/// What reading a unit's files gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The settings.
    pub config: UnitConfig,
    /// What was passed over, or is worth a word.
    pub warnings: Vec<Warning>,
    /// Why the unit cannot be used as its files have it (load state `bad-setting`).
    pub bad_setting: Option<String>,
    /// Why the unit's own file could not be read to its end (load state `error`).
    pub error: Option<FileError>,
}

/// Reads a unit's own file and its drop-ins, in this order, and decides what they left open.
///
/// `fragment` is `None` for units that live without a file. A mistake that is fatal in the unit's own file ends the
/// reading of a drop-in, and the unit goes without the rest of that.
pub fn read<'f>(
    specifiers: &Specifiers<'_>,
    defaults: &ManagerDefaults,
    fragment: Option<&UnitFile>,
    dropins: impl IntoIterator<Item = &'f UnitFile>,
) -> Reading {
    let kind = specifiers.name.unit_type();
    let mut reading =
        Reading { config: UnitConfig::new(kind, defaults), warnings: Vec::new(), bad_setting: None, error: None };
    if let Some(file) = fragment {
        reading.bad_setting = read_file(&mut reading.config, &mut reading.warnings, file, specifiers);
        reading.error = file.error.clone();
        if reading.bad_setting.is_some() || reading.error.is_some() {
            return reading;
        }
    }
    for file in dropins {
        if let Some(text) = read_file(&mut reading.config, &mut reading.warnings, file, specifiers) {
            let at = file.assignments.first().map(|assignment| assignment.at.clone());
            let text = format!("{text}; the rest of this drop-in is ignored");
            reading.warnings.push(Warning { at, kind: WarningKind::BadValue, text });
        }
        if let Some(error) = &file.error {
            let text = format!("{error}; the rest of this drop-in is ignored");
            reading.warnings.push(Warning { at: None, kind: WarningKind::Syntax, text });
        }
    }
    check::finish(&mut reading.config, defaults, specifiers.name);
    reading.bad_setting = check::check(&reading.config, specifiers.name, &mut reading.warnings);
    reading
}

/// Applies all assignments of a file; gives the first fatal mistake, at which it stops.
fn read_file(
    config: &mut UnitConfig,
    warnings: &mut Vec<Warning>,
    file: &UnitFile,
    specifiers: &Specifiers<'_>,
) -> Option<String> {
    let kind = specifiers.name.unit_type();
    warnings.extend(file.warnings.iter().cloned());
    for (section, at) in &file.sections {
        if !is_section(kind, section) && !section.starts_with("X-") {
            let text = format!("Unknown section [{section}] for a {kind} unit, ignoring.");
            warnings.push(Warning { at: Some(at.clone()), kind: WarningKind::UnknownSection, text });
        }
    }
    for assignment in &file.assignments {
        if !is_section(kind, &assignment.section) {
            continue;
        }
        let mut reader = Reader { specifiers, kind, assignment, warnings };
        match apply(config, &mut reader) {
            Some(Ok(())) => {}
            Some(Err(Problem::Ignored(text))) => reader.skip(text),
            Some(Err(Problem::Fatal(text))) => return Some(format!("{}: {text}", assignment.at)),
            None if assignment.key.starts_with("X-") => {}
            None => {
                let text = format!("Unknown key {}= in section [{}], ignoring.", assignment.key, assignment.section);
                reader.say(WarningKind::UnknownKey, text);
            }
        }
    }
    None
}

/// Whether a unit of this type may have this section.
fn is_section(kind: UnitType, section: &str) -> bool {
    match section {
        "Unit" | "Install" | "X-SSI" => true,
        "Target" => kind == UnitType::Target,
        "Device" => kind == UnitType::Device,
        _ => kind.section() == Some(section),
    }
}

/// Looks the key up in the tables of its section and applies its value; `None` for a key nobody knows.
fn apply(config: &mut UnitConfig, reader: &mut Reader<'_>) -> Option<Outcome> {
    match &*reader.assignment.section {
        "Unit" => unit::apply(&mut config.unit, reader),
        "Install" => look_up(install::INSTALL, &mut config.install, reader),
        "X-SSI" => look_up(install::CLUSTER, &mut config.cluster, reader),
        "Target" | "Device" => None,
        _ => apply_kind(config, reader),
    }
}

/// As [`apply`], for the section of the unit's own type.
fn apply_kind(config: &mut UnitConfig, reader: &mut Reader<'_>) -> Option<Outcome> {
    let unit = &mut config.unit;
    match &mut config.kind {
        KindConfig::Service(service) => look_up(service::SERVICE, service, reader)
            .or_else(|| look_up(service::IN_UNIT, unit, reader))
            .or_else(|| exec::apply(&mut service.exec, reader))
            .or_else(|| look_up(kill::KILL, &mut service.kill, reader))
            .or_else(|| look_up(cgroup::CGROUP, &mut service.cgroup, reader)),
        KindConfig::Socket(socket) => look_up(socket::SOCKET, socket, reader)
            .or_else(|| exec::apply(&mut socket.exec, reader))
            .or_else(|| look_up(kill::KILL, &mut socket.kill, reader))
            .or_else(|| look_up(cgroup::CGROUP, &mut socket.cgroup, reader)),
        KindConfig::Mount(mount) => look_up(mount::MOUNT, mount, reader)
            .or_else(|| exec::apply(&mut mount.exec, reader))
            .or_else(|| look_up(kill::KILL, &mut mount.kill, reader))
            .or_else(|| look_up(cgroup::CGROUP, &mut mount.cgroup, reader)),
        KindConfig::Swap(swap) => look_up(mount::SWAP, swap, reader)
            .or_else(|| exec::apply(&mut swap.exec, reader))
            .or_else(|| look_up(kill::KILL, &mut swap.kill, reader))
            .or_else(|| look_up(cgroup::CGROUP, &mut swap.cgroup, reader)),
        KindConfig::Automount(automount) => look_up(mount::AUTOMOUNT, automount, reader),
        KindConfig::Timer(timer) => look_up(timer::TIMER, timer, reader),
        KindConfig::Path(path) => look_up(timer::PATH, path, reader),
        KindConfig::Slice(slice) => look_up(cgroup::CGROUP, &mut slice.cgroup, reader),
        KindConfig::Scope(scope) => look_up(service::SCOPE, scope, reader)
            .or_else(|| look_up(kill::KILL, &mut scope.kill, reader))
            .or_else(|| look_up(cgroup::CGROUP, &mut scope.cgroup, reader)),
        KindConfig::Target | KindConfig::Device => None,
    }
}

/// Applies the value to `target` when the table has the key.
fn look_up<T>(table: Table<T>, target: &mut T, reader: &mut Reader<'_>) -> Option<Outcome> {
    let (_, apply) = table.iter().find(|(key, _)| *key == reader.assignment.key)?;
    Some(apply(target, &reader.assignment.value, reader))
}

/// Every key of a section of this type, for tools that list them.
pub fn keys(kind: UnitType, section: &str) -> Vec<String> {
    fn of<T>(table: Table<T>) -> impl Iterator<Item = &'static str> {
        table.iter().map(|(key, _)| *key)
    }
    let mut keys: Vec<&'static str> = Vec::new();
    match section {
        "Unit" => keys.extend(unit::keys()),
        "Install" => keys.extend(of(install::INSTALL)),
        "X-SSI" => keys.extend(of(install::CLUSTER)),
        _ if kind.section() != Some(section) => {}
        _ => {
            match kind {
                UnitType::Service => keys.extend(of(service::SERVICE).chain(of(service::IN_UNIT))),
                UnitType::Socket => keys.extend(of(socket::SOCKET)),
                UnitType::Mount => keys.extend(of(mount::MOUNT)),
                UnitType::Swap => keys.extend(of(mount::SWAP)),
                UnitType::Automount => keys.extend(of(mount::AUTOMOUNT)),
                UnitType::Timer => keys.extend(of(timer::TIMER)),
                UnitType::Path => keys.extend(of(timer::PATH)),
                UnitType::Scope => keys.extend(of(service::SCOPE)),
                UnitType::Slice | UnitType::Target | UnitType::Device => {}
            }
            if matches!(kind, UnitType::Service | UnitType::Socket | UnitType::Mount | UnitType::Swap) {
                keys.extend(exec::keys());
            }
            if !matches!(kind, UnitType::Automount | UnitType::Timer | UnitType::Path) {
                keys.extend(of(cgroup::CGROUP));
                if kind != UnitType::Slice {
                    keys.extend(of(kill::KILL));
                }
            }
        }
    }
    let mut keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    if section == "Unit" {
        let kinds = ConditionKind::ALL.iter().map(|kind| kind.name());
        keys.extend(kinds.flat_map(|kind| [format!("Condition{kind}"), format!("Assert{kind}")]));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
