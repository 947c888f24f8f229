// SPDX-License-Identifier: GPL-2.0-or-later
//! Unit files and the links between them: `systemctl enable`, `disable`, `mask`, `preset` and their kin. What is to be
//! linked is worked out by [`ssi_unit::install`]; here it is done, and told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ssi_manager::core::commands::{CommandError, errors};
use ssi_unit::condition::matches_pattern;
use ssi_unit::files::{FileKind, Files as _, RootFiles};
use ssi_unit::install::{Change, InstallError, Installer, Notice, Outcome, PresetMode, UnitFileState, apply};
use ssi_unit::name::UnitName;

use crate::dispatch::{Scene, unknown_method};
use crate::host::UnitFiles;
use crate::reply::{Answer, Call, names};

/// Flags of `EnableUnitFilesWithFlags`: until the next boot, replace what is in the way, and one that is about portable
/// services and changes nothing here.
const RUNTIME: u64 = 1;
const FORCE: u64 = 2;
const PORTABLE: u64 = 4;

/// What was done: `symlink` or `unlink` or what else there is to say, the path, the link's text.
type Told = (String, String, String);

/// The files of a system, opened for one call.
pub(crate) struct Opened {
    files: RootFiles,
    place: UnitFiles,
}

impl Opened {
    /// Those of the host.
    pub(crate) fn new(place: UnitFiles) -> Self {
        Self { files: RootFiles::below(&place.root), place }
    }

    /// What works on them.
    pub(crate) fn installer(&self, runtime: bool, force: bool) -> Installer<'_> {
        Installer { files: &self.files, folders: &self.place.folders, host: &self.place.machine, runtime, force }
    }

    /// All unit files, each of those that count, with its path.
    fn all(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        for folder in &self.place.folders.search {
            for entry in self.files.list(folder).unwrap_or_default() {
                let name = entry.name.to_string_lossy().into_owned();
                let fits = matches!(entry.kind, FileKind::Regular | FileKind::Link) && UnitName::new(&name).is_ok();
                if fits && !found.contains_key(&name) {
                    found.insert(name, folder.join(&entry.name));
                }
            }
        }
        found
    }
}

/// Why a change cannot be made, in the words systemctl has always shown.
fn refused(error: &InstallError) -> CommandError {
    let text = match error {
        InstallError::Exists(path, Some(target)) => {
            format!("File {} already exists and is a symlink to {}.", path.display(), target.display())
        }
        InstallError::Exists(path, None) => format!("File {} already exists.", path.display()),
        InstallError::Masked(unit) => format!("Unit file {unit} is masked."),
        InstallError::Generated(unit) => format!("Unit file {unit} is transient or generated."),
        InstallError::UnderFolders(path) => {
            format!("File {} is under the systemd unit hierarchy already.", path.display())
        }
        InstallError::NotFound(unit) => format!("Unit file {unit} does not exist."),
        InstallError::Linked(unit) => format!("Refusing to operate on alias name or linked unit file: {unit}"),
        InstallError::BadName(unit) => format!("\"{unit}\" is not a valid unit name."),
        InstallError::CannotAlias { alias, unit } => format!("Cannot alias {unit} as {alias}."),
        other => format!("{other}."),
    };
    CommandError::new(error.bus_name(), text)
}

fn flags(value: u64) -> Result<(bool, bool), CommandError> {
    if value & !(RUNTIME | FORCE | PORTABLE) != 0 {
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("{value:#x} has a flag that nobody knows")));
    }
    Ok((value & RUNTIME != 0, value & FORCE != 0))
}

fn preset_mode(word: &str) -> Result<PresetMode, CommandError> {
    match word {
        "" | "full" => Ok(PresetMode::Full),
        "enable-only" => Ok(PresetMode::EnableOnly),
        "disable-only" => Ok(PresetMode::DisableOnly),
        _ => Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("\"{word}\" is no mode of presets"))),
    }
}

/// The methods that only look.
pub(crate) fn ask(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    let opened = Opened::new(scene.host.unit_files());
    let installer = opened.installer(false, false);
    match member {
        "GetUnitFileState" => {
            let name: String = call.body()?;
            let state = installer.state(&name).map_err(|error| refused(&error))?;
            call.answer(&state.as_str())
        }
        "GetDefaultTarget" => call.answer(&installer.get_default().map_err(|error| refused(&error))?),
        "GetUnitFileLinks" => {
            let (name, runtime): (String, bool) = call.body()?;
            let outcome = opened.installer(runtime, false).disable(&[&name]);
            if let Some(error) = outcome.errors.first() {
                return Err(refused(error));
            }
            let links = outcome.changes.iter().filter_map(|change| match change {
                Change::Unlink(path) => Some(path.display().to_string()),
                _ => None,
            });
            call.answer(&links.collect::<Vec<_>>())
        }
        "ListUnitFiles" | "ListUnitFilesByPatterns" => {
            let (states, patterns): (Vec<String>, Vec<String>) =
                if member == "ListUnitFiles" { Default::default() } else { call.body()? };
            let mut found: Vec<(String, String)> = Vec::new();
            for (name, path) in opened.all() {
                if !patterns.is_empty() && !patterns.iter().any(|pattern| matches_pattern(pattern, &name)) {
                    continue;
                }
                let state = installer.state(&name).unwrap_or(UnitFileState::Bad).as_str();
                if states.is_empty() || states.iter().any(|wanted| wanted == state) {
                    found.push((path.display().to_string(), state.to_owned()));
                }
            }
            call.answer(&found)
        }
        _ => Err(unknown_method(member, Some(super::INTERFACE))),
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// The methods that change links.
pub(crate) fn change(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    let opened = Opened::new(scene.host.unit_files());
    // Whether the answer says that a unit had something to install.
    let mut with_info = true;
    let outcome = match member {
        "EnableUnitFiles" | "ReenableUnitFiles" | "PresetUnitFiles" => {
            let (units, runtime, force): (Vec<String>, bool, bool) = call.body()?;
            let installer = opened.installer(runtime, force);
            match member {
                "EnableUnitFiles" => installer.enable(&strs(&units)),
                "ReenableUnitFiles" => installer.reenable(&strs(&units)),
                _ => installer.preset(&strs(&units), PresetMode::Full),
            }
        }
        "EnableUnitFilesWithFlags" => {
            let (units, value): (Vec<String>, u64) = call.body()?;
            let (runtime, force) = flags(value)?;
            opened.installer(runtime, force).enable(&strs(&units))
        }
        "PresetUnitFilesWithMode" => {
            let (units, mode, runtime, force): (Vec<String>, String, bool, bool) = call.body()?;
            opened.installer(runtime, force).preset(&strs(&units), preset_mode(&mode)?)
        }
        _ => {
            with_info = false;
            without_info(&opened, call, member)?
        }
    };
    let told = make(scene, &opened, &outcome)?;
    if with_info { call.answer(&(outcome.carries_install_info > 0, told)) } else { call.answer(&told) }
}

fn without_info(opened: &Opened, call: &Call, member: &str) -> Result<Outcome, CommandError> {
    Ok(match member {
        "DisableUnitFiles" => {
            let (units, runtime): (Vec<String>, bool) = call.body()?;
            opened.installer(runtime, false).disable(&strs(&units))
        }
        "DisableUnitFilesWithFlags" => {
            let (units, value): (Vec<String>, u64) = call.body()?;
            let (runtime, force) = flags(value)?;
            opened.installer(runtime, force).disable(&strs(&units))
        }
        "LinkUnitFiles" => {
            let (paths, runtime, force): (Vec<String>, bool, bool) = call.body()?;
            let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
            opened.installer(runtime, force).link(&paths)
        }
        "MaskUnitFiles" => {
            let (units, runtime, force): (Vec<String>, bool, bool) = call.body()?;
            opened.installer(runtime, force).mask(&strs(&units))
        }
        "UnmaskUnitFiles" => {
            let (units, runtime): (Vec<String>, bool) = call.body()?;
            opened.installer(runtime, false).unmask(&strs(&units))
        }
        "RevertUnitFiles" => opened.installer(false, false).revert(&strs(&call.body::<Vec<String>>()?)),
        "SetDefaultTarget" => {
            let (name, force): (String, bool) = call.body()?;
            opened.installer(false, force).set_default(&name)
        }
        "PresetAllUnitFiles" => {
            let (mode, runtime, force): (String, bool, bool) = call.body()?;
            opened.installer(runtime, force).preset_all(preset_mode(&mode)?)
        }
        "AddDependencyUnitFiles" => {
            let (units, target, kind, runtime, force): (Vec<String>, String, String, bool, bool) = call.body()?;
            let requires = match kind.as_str() {
                "Requires" => true,
                "Wants" => false,
                _ => {
                    let text = format!("\"{kind}\" is no kind of dependency that can be added; Wants and Requires are");
                    return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
                }
            };
            opened.installer(runtime, force).add_dependency(&strs(&units), &target, requires)
        }
        _ => return Err(unknown_method(member, Some(super::INTERFACE))),
    })
}

/// Makes the changes; what was found before an error is made all the same, as with systemd.
fn make(scene: &mut Scene<'_>, opened: &Opened, outcome: &Outcome) -> Result<Vec<Told>, CommandError> {
    if !outcome.changes.is_empty() {
        let made = apply(&outcome.changes, &opened.place.root);
        scene.clients.files_changed = true;
        made.map_err(|error| CommandError::new(names::IO_ERROR, error.to_string()))?;
    }
    match outcome.errors.first() {
        Some(error) => Err(refused(error)),
        None => Ok(told(outcome)),
    }
}

fn told(outcome: &Outcome) -> Vec<Told> {
    let words = |kind: &str, path: String, source: String| (kind.to_owned(), path, source);
    let text = |path: &Path| path.display().to_string();
    let changes = outcome.changes.iter().map(|change| match change {
        Change::Link { path, target } => words("symlink", text(path), text(target)),
        Change::Unlink(path) | Change::RemoveFolder(path) => words("unlink", text(path), String::new()),
    });
    let notices = outcome.notices.iter().filter_map(|notice| {
        Some(match notice {
            Notice::Masked(unit) => words("masked", unit.clone(), String::new()),
            Notice::MaskedByGenerator(unit) => words("masked by generator", unit.clone(), String::new()),
            Notice::Dangling(unit) => words("dangling", unit.clone(), String::new()),
            Notice::NoDestination(unit, to) => words("destination not present", to.clone(), unit.clone()),
            Notice::NoAuxiliary(unit) => words("auxiliary unit failed", unit.clone(), String::new()),
            Notice::Unusable(_) => return None,
        })
    });
    changes.chain(notices).collect()
}
