// SPDX-License-Identifier: GPL-2.0-or-later
//! Units: finding one, listing them, and what is done with one that is named.

use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::Pid;
use ssi_manager::core::unit::Unit;
use ssi_manager::graph::UnitId;
use ssi_unit::condition::matches_pattern;
use ssi_unit::load::LoadState;
use zbus::zvariant::OwnedObjectPath;

use crate::dispatch::{Scene, unknown_method};
use crate::paths;
use crate::reply::{Answer, Call, names};
use crate::unit_methods;

/// A unit as `systemctl list-units` shows it: name, description, load state, active state, fine state, the unit it
/// follows, path, and its job's number, type and path.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The word for how a unit's files were read.
pub(crate) fn load_word(unit: &Unit) -> &'static str {
    unit.load.map_or("stub", LoadState::as_str)
}

/// The unit the client itself belongs to.
pub(crate) fn of_client(core: &Core, call: &Call) -> Result<UnitId, CommandError> {
    let pid = call.credentials.pid.ok_or_else(|| {
        CommandError::new(errors::INVALID_ARGUMENTS, "no unit is named, and the client's own process is not known")
    })?;
    of_pid(core, pid)
}

fn of_pid(core: &Core, pid: u32) -> Result<UnitId, CommandError> {
    core.unit_of_process(Pid(pid)).ok_or_else(|| {
        CommandError::new(names::NO_UNIT_FOR_PID, format!("PID {pid} does not belong to any loaded unit."))
    })
}

/// The unit with the run of that id, 32 hexadecimal digits.
pub(crate) fn of_invocation(core: &Core, digits: &str) -> Option<UnitId> {
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let wanted = u128::from_str_radix(digits, 16).ok().filter(|id| *id != 0)?;
    core.table.iter().find(|unit| unit.runtime.invocation == wanted).map(|unit| unit.id)
}

/// A unit that is there; without a name the client's own.
fn there(scene: &Scene<'_>, call: &Call, name: &str) -> Result<UnitId, CommandError> {
    if name.is_empty() { of_client(scene.core, call) } else { scene.core.unit_there(name) }
}

/// A unit, loaded if it was not; without a name the client's own.
pub(crate) fn loaded(scene: &mut Scene<'_>, call: &Call, name: &str) -> Result<UnitId, CommandError> {
    if name.is_empty() { of_client(scene.core, call) } else { scene.core.unit_named(name) }
}

/// As [`loaded`], and there is something to be done with it.
fn usable(scene: &mut Scene<'_>, call: &Call, name: &str) -> Result<UnitId, CommandError> {
    let id = loaded(scene, call, name)?;
    let unit = scene.core.unit(id);
    let refuse = |name, text: String| Err(CommandError::new(name, text));
    match unit.load {
        Some(LoadState::NotFound) => refuse(errors::NO_SUCH_UNIT, format!("Unit {} not found.", unit.name)),
        Some(LoadState::Masked) => {
            refuse("org.freedesktop.systemd1.UnitMasked", format!("Unit {} is masked.", unit.name))
        }
        Some(LoadState::BadSetting) => refuse(
            "org.freedesktop.systemd1.BadUnitSetting",
            format!("Unit {} has a bad unit file setting.", unit.name),
        ),
        Some(LoadState::Error) => refuse(
            "org.freedesktop.systemd1.LoadFailed",
            format!("Unit {} failed to load properly, please adjust/correct and reload service manager.", unit.name),
        ),
        _ => Ok(id),
    }
}

/// The methods that answer with a unit's path.
pub(crate) fn path(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    let id = match member {
        "GetUnit" => there(scene, call, &call.body::<String>()?)?,
        "LoadUnit" => loaded(scene, call, &call.body::<String>()?)?,
        "GetUnitByPID" => match call.body::<u32>()? {
            0 => of_client(scene.core, call)?,
            pid => of_pid(scene.core, pid)?,
        },
        "GetUnitByInvocationID" => {
            let bytes: Vec<u8> = call.body()?;
            if bytes.is_empty() {
                of_client(scene.core, call)?
            } else {
                let bytes: [u8; 16] = bytes
                    .try_into()
                    .map_err(|_| CommandError::new(errors::INVALID_ARGUMENTS, "Invalid invocation ID"))?;
                let digits = format!("{:032x}", u128::from_be_bytes(bytes));
                of_invocation(scene.core, &digits).ok_or_else(|| {
                    let text = format!("No unit with the specified invocation ID {digits} known.");
                    CommandError::new(names::NO_UNIT_FOR_INVOCATION, text)
                })?
            }
        }
        "GetUnitByControlGroup" => {
            let group: String = call.body()?;
            let facts = scene.host.facts();
            let below = group.strip_prefix(facts.control_group.as_str()).unwrap_or(&group).trim_matches('/');
            scene.core.unit_of_group(below).ok_or_else(|| {
                let text = format!("Control group '{group}' is not valid or not managed by this instance");
                CommandError::new(errors::NO_SUCH_UNIT, text)
            })?
        }
        _ => return Err(unknown_method(member, Some(super::INTERFACE))),
    };
    call.answer(&paths::of_unit(&scene.core.unit(id).name))
}

fn listed(core: &Core, unit: &Unit) -> Listed {
    let job = core.queue.job_of(unit.id);
    (
        unit.name.to_string(),
        core.title_of(unit.id).into_owned(),
        load_word(unit).to_owned(),
        unit.active().word().to_owned(),
        unit.sub_state().to_owned(),
        core.unit_followed_by(unit.id).map(|other| core.unit(other).name.to_string()).unwrap_or_default(),
        paths::of_unit(&unit.name),
        job.map_or(0, |job| job.id.0),
        job.map(|job| job.kind.word().to_owned()).unwrap_or_default(),
        job.map_or_else(paths::root, |job| paths::of_job(job.id)),
    )
}

/// The methods that list units.
pub(crate) fn list(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    let (mut states, mut patterns): (Vec<String>, Vec<String>) = Default::default();
    match member {
        "ListUnits" => {}
        "ListUnitsFiltered" => states = call.body()?,
        "ListUnitsByPatterns" => (states, patterns) = call.body()?,
        _ => return list_by_names(scene, call),
    }
    let core = &*scene.core;
    let units = core.table.iter().filter(|unit| {
        let words = [load_word(unit), unit.sub_state(), unit.active().word()];
        (states.is_empty() || states.iter().any(|state| words.contains(&state.as_str())))
            && (patterns.is_empty() || patterns.iter().any(|pattern| matches_pattern(pattern, unit.name.as_str())))
    });
    call.answer(&units.map(|unit| listed(core, unit)).collect::<Vec<_>>())
}

fn list_by_names(scene: &mut Scene<'_>, call: &Call) -> Answer {
    let wanted: Vec<String> = call.body()?;
    let mut found = Vec::new();
    for name in wanted {
        // What is no unit's name names nothing.
        if let Ok(id) = scene.core.unit_named(&name) {
            found.push(listed(scene.core, scene.core.unit(id)));
        }
    }
    call.answer(&found)
}

/// The methods whose first argument is a unit's name and which do what a method of the unit does.
pub(crate) fn by_name(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    match member {
        "KillUnit" => {
            let (name, whom, signal): (String, String, i32) = call.body()?;
            let id = there(scene, call, &name)?;
            unit_methods::kill(scene, call, id, &whom, signal)
        }
        "CleanUnit" => {
            let (name, what): (String, Vec<String>) = call.body()?;
            let id = usable(scene, call, &name)?;
            unit_methods::clean(scene, call, id, &what)
        }
        "FreezeUnit" | "ThawUnit" => {
            let id = usable(scene, call, &call.body::<String>()?)?;
            unit_methods::freeze(scene, call, id, member == "FreezeUnit")
        }
        "ResetFailedUnit" => {
            let id = there(scene, call, &call.body::<String>()?)?;
            unit_methods::reset_failed(scene, call, id)
        }
        "RefUnit" => {
            let id = usable(scene, call, &call.body::<String>()?)?;
            unit_methods::hold(scene, call, id)
        }
        "UnrefUnit" => {
            let id = usable(scene, call, &call.body::<String>()?)?;
            unit_methods::release(scene, call, id)
        }
        "SetUnitProperties" => {
            let (name, runtime, properties): (String, bool, super::transient::Properties) = call.body()?;
            let id = usable(scene, call, &name)?;
            super::transient::set_properties(scene, call, id, runtime, properties)
        }
        "BindMountUnit" => {
            let (name, _, _, _, _): (String, String, String, bool, bool) = call.body()?;
            let id = usable(scene, call, &name)?;
            unit_methods::mount_into(scene, id)
        }
        "MountImageUnit" => {
            let (name, _, _, _, _, _): (String, String, String, bool, bool, Vec<(String, String)>) = call.body()?;
            let id = usable(scene, call, &name)?;
            unit_methods::mount_into(scene, id)
        }
        "AbandonScope" => {
            let id = there(scene, call, &call.body::<String>()?)?;
            unit_methods::abandon(scene, call, id)
        }
        "GetUnitProcesses" => {
            let id = there(scene, call, &call.body::<String>()?)?;
            super::processes::list(scene, call, id)
        }
        "AttachProcessesToUnit" => {
            let (name, below, pids): (String, String, Vec<u32>) = call.body()?;
            let id = there(scene, call, &name)?;
            super::processes::attach(scene, call, id, &below, &pids)
        }
        _ => Err(unknown_method(member, Some(super::INTERFACE))),
    }
}
