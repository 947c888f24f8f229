// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that are made over the bus, and settings that are changed over the bus. Both become files, in folders that unit
//! files are read from: the next manager reads them like any other.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::Pid;
use ssi_manager::graph::UnitId;
use ssi_manager::job::Request;
use ssi_unit::load::LoadState;
use ssi_unit::name::{UnitName, UnitType};
use zbus::zvariant::{OwnedValue, Value};

use super::jobs::{self, Wanted};
use crate::dispatch::Scene;
use crate::paths;
use crate::reply::{Answer, Call, names};
use crate::transient::{may_be_changed, unit_text};

/// Names and values of properties.
pub(crate) type Properties = Vec<(String, OwnedValue)>;

/// What a new unit is given that is in no file.
#[derive(Debug, Default)]
struct Beside {
    /// The processes a scope begins with.
    pids: Vec<Pid>,
    /// Who is told that a scope is to stop.
    controller: Option<String>,
    /// The client holds the unit from the start.
    hold: bool,
    /// The rest, which goes into the file.
    file: Properties,
}

fn invalid(text: String) -> CommandError {
    CommandError::new(errors::INVALID_ARGUMENTS, text)
}

fn write_failed(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(names::IO_ERROR, format!("cannot write {}: {error}", path.display()))
}

/// The process a pidfd is of, by proc_pid_fdinfo(5).
fn pid_of(fd: BorrowedFd<'_>) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// Takes the processes out of a list of numbers, or of descriptors of processes.
fn processes(call: &Call, name: &str, value: &OwnedValue) -> Result<Vec<Pid>, CommandError> {
    let wrong = || invalid(format!("{name} is not a list of processes"));
    let Value::Array(array) = &**value else { return Err(wrong()) };
    let mut pids = Vec::with_capacity(array.len());
    for item in array.iter() {
        let pid = match item {
            // 0 is who asks.
            Value::U32(0) => {
                call.credentials.pid.ok_or_else(|| invalid("the client's own process is not known".to_owned()))?
            }
            Value::U32(pid) => *pid,
            Value::Fd(fd) => pid_of(std::os::fd::AsFd::as_fd(fd))
                .ok_or_else(|| invalid(format!("a descriptor in {name} is not of a process that lives")))?,
            _ => return Err(wrong()),
        };
        if pid == 1 {
            return Err(invalid("Process 1 stays where it is.".to_owned()));
        }
        if !pids.contains(&Pid(pid)) {
            pids.push(Pid(pid));
        }
    }
    Ok(pids)
}

fn sort(call: &Call, kind: UnitType, properties: Properties) -> Result<Beside, CommandError> {
    let mut beside = Beside::default();
    for (name, value) in properties {
        let wrong = |_| invalid(format!("{name} cannot be that"));
        match (name.as_str(), kind) {
            ("PIDs" | "PIDFDs", UnitType::Scope) => beside.pids.extend(processes(call, &name, &value)?),
            ("Controller", UnitType::Scope) => beside.controller = Some(value.downcast_ref::<String>().map_err(wrong)?),
            ("AddRef", _) => beside.hold = value.downcast_ref::<bool>().map_err(wrong)?,
            _ => beside.file.push((name, value)),
        }
    }
    Ok(beside)
}

/// Writes a file so that it is there whole or not at all, even when power is lost.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut name = std::ffi::OsString::from(".#");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    let beside = folder.join(name);
    let mut file = fs::File::create(&beside)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    // In /run, where most of these are, this costs nothing.
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Removes what a transient unit had in the folder of such units.
pub(crate) fn forget(folder: &Path, name: &UnitName) {
    // Most units have nothing there.
    let path = folder.join(name.as_str());
    let _ = fs::remove_file(&path);
    let dropins = folder.join(format!("{name}.d"));
    let _ = fs::remove_dir_all(dropins);
}

/// `StartTransientUnit`.
pub(crate) fn start(scene: &mut Scene<'_>, call: &Call) -> Answer {
    let (name, mode, properties, others): (String, String, Properties, Vec<(String, Properties)>) = call.body()?;
    let mode = jobs::mode(&mode)?;
    let mut made = Vec::new();
    let outcome = (|| {
        // Those that the unit needs come first.
        for (name, properties) in others {
            made.push(make(scene, call, &name, properties)?);
        }
        let id = make(scene, call, &name, properties)?;
        made.push(id);
        jobs::queue(scene, call, id, Wanted { request: Request::Start, prefer_reload: false }, mode)
    })();
    match outcome {
        Ok(job) => call.answer(&paths::of_job(job)),
        Err(error) => {
            for id in made {
                unmake(scene, id);
            }
            Err(error)
        }
    }
}

/// Takes back a unit that was made and not started.
fn unmake(scene: &mut Scene<'_>, id: UnitId) {
    let place = scene.host.unit_files();
    let name = scene.core.unit(id).name.clone();
    forget(&below(&place.root, &place.folders.transient), &name);
    scene.core.unit_mut(id).runtime.transient = false;
    scene.core.reread_unit(&name);
    scene.core.settle();
}

/// Makes a unit of properties.
fn make(scene: &mut Scene<'_>, call: &Call, name: &str, properties: Properties) -> Result<UnitId, CommandError> {
    let name = UnitName::new(name).map_err(|error| invalid(format!("Invalid unit name or type: {error}")))?;
    let kind = name.unit_type();
    if matches!(kind, UnitType::Target | UnitType::Device | UnitType::Swap) || name.is_template() {
        return Err(invalid(format!("Unit type {kind} does not support transient units.")));
    }
    let id = scene.core.load(&name);
    let unit = scene.core.unit(id);
    let pristine = matches!(unit.load, Some(LoadState::NotFound | LoadState::Loaded))
        && unit.fragment.is_none()
        && unit.active().is_inactive_or_failed()
        && scene.core.queue.job_of(id).is_none();
    if !pristine {
        let text = format!("Unit {name} was already loaded or has a fragment file.");
        return Err(CommandError::new(names::UNIT_EXISTS, text));
    }
    let beside = sort(call, kind, properties)?;
    let text = unit_text(&name, beside.file)?;
    let place = scene.host.unit_files();
    let path = below(&place.root, &place.folders.transient).join(name.as_str());
    write(&path, &text).map_err(|error| write_failed(&path, &error))?;
    let id = scene.core.reread_unit(&name);
    let unit = scene.core.unit_mut(id);
    unit.runtime.transient = true;
    if kind == UnitType::Scope {
        let scope = unit.runtime.kind.scope_mut();
        scope.pids = beside.pids;
        scope.controller = beside.controller;
    }
    let loaded = unit.is_loaded();
    if !loaded {
        let why = unit.load_error.clone().unwrap_or_else(|| "its settings do not fit together".to_owned());
        unmake(scene, id);
        return Err(CommandError::new("org.freedesktop.systemd1.BadUnitSetting", format!("{name}: {why}")));
    }
    if beside.hold {
        scene.clients.hold(scene.core, &call.client, id);
    }
    Ok(id)
}

/// `SetUnitProperties` and `SetProperties`: each becomes a drop-in of its own, so that setting it again replaces it.
pub(crate) fn set_properties(
    scene: &mut Scene<'_>,
    call: &Call,
    id: UnitId,
    runtime: bool,
    properties: Properties,
) -> Answer {
    let unit = scene.core.unit(id);
    let (name, transient) = (unit.name.clone(), unit.runtime.transient);
    let place = scene.host.unit_files();
    let [kept, until_boot] = &place.folders.control;
    let folder = match (transient, runtime) {
        (true, _) => &place.folders.transient,
        (false, true) => until_boot,
        (false, false) => kept,
    };
    let folder = below(&place.root, folder).join(format!("{name}.d"));
    let mut texts = Vec::new();
    let mut markers = None;
    for (property, value) in properties {
        if property == "Markers" {
            markers = Some(read_markers(scene.core, id, &value)?);
            continue;
        }
        if !may_be_changed(name.unit_type(), &property) {
            return Err(CommandError::new(
                names::PROPERTY_READ_ONLY,
                format!("Cannot set property {property}, or unknown property."),
            ));
        }
        let text = unit_text(&name, vec![(property.clone(), value)])?;
        texts.push((folder.join(format!("50-{property}.conf")), text));
    }
    for (path, text) in &texts {
        write(path, text).map_err(|error| write_failed(path, &error))?;
    }
    if let Some(markers) = markers {
        scene.core.unit_mut(id).runtime.markers = markers;
    }
    if !texts.is_empty() {
        scene.core.reread_unit(&name);
    }
    scene.core.settle();
    call.done()
}

/// `Markers`: words that replace what is there, or, with a sign before each, that are put in or taken out.
fn read_markers(
    core: &Core,
    id: UnitId,
    value: &OwnedValue,
) -> Result<std::collections::BTreeSet<String>, CommandError> {
    let wrong =
        || invalid("Markers is a list of needs-restart and needs-reload, with + or - before all or none".to_owned());
    let Value::Array(array) = &**value else { return Err(wrong()) };
    let mut signed = None;
    let mut markers = core.unit(id).runtime.markers.clone();
    for item in array.iter() {
        let Value::Str(word) = item else { return Err(wrong()) };
        let (sign, bare) = match word.as_str().split_at_checked(1) {
            Some((sign @ ("+" | "-"), bare)) => (Some(sign), bare),
            _ => (None, word.as_str()),
        };
        if !matches!(bare, "needs-restart" | "needs-reload") || signed.is_some_and(|signed| signed != sign.is_some()) {
            return Err(wrong());
        }
        if signed.is_none() && sign.is_none() {
            markers.clear();
        }
        signed = Some(sign.is_some());
        match sign {
            Some("-") => {
                markers.remove(bare);
            }
            _ => {
                markers.insert(bare.to_owned());
            }
        }
    }
    if array.is_empty() {
        markers.clear();
    }
    Ok(markers)
}
