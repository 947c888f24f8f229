// SPDX-License-Identifier: GPL-2.0-or-later
//! Jobs: how a client's wish becomes one, which there are, and taking them back.

use std::cmp::Ordering;

use ssi_manager::core::Core;
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::graph::UnitId;
use ssi_manager::job::types::Side;
use ssi_manager::job::{Job, JobId, JobMode, JobType, Request, UnitStates as _, Wish};
use ssi_unit::dependency::Atoms;
use ssi_unit::load::LoadState;
use zbus::zvariant::OwnedObjectPath;

use super::units;
use crate::dispatch::{Scene, unknown_method};
use crate::paths;
use crate::reply::{Answer, Call, names};

/// A job as `systemctl list-jobs` shows it: number, unit, type, state, path, the unit's path.
pub(crate) type Listed = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);
/// A job that came along: number, path, unit, the unit's path, type.
type Affected = (u32, OwnedObjectPath, String, OwnedObjectPath, String);

/// A wish: what is asked for, and whether a reload will do where the unit can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) request: Request,
    pub(crate) prefer_reload: bool,
}

impl Wanted {
    const fn plain(request: Request) -> Self {
        Self { request, prefer_reload: false }
    }

    const fn gently(request: Request) -> Self {
        Self { request, prefer_reload: true }
    }

    /// What a method asks for, by its name without `Unit` at the end.
    pub(crate) fn of_method(name: &str) -> Option<Self> {
        Some(match name {
            "Start" => Self::plain(Request::Start),
            "Stop" => Self::plain(Request::Stop),
            "Reload" => Self::plain(Request::Reload),
            "Restart" => Self::plain(Request::Restart),
            "TryRestart" => Self::plain(Request::TryRestart),
            "ReloadOrRestart" => Self::gently(Request::Restart),
            "ReloadOrTryRestart" => Self::gently(Request::TryRestart),
            _ => return None,
        })
    }

    /// What a word asks for (`EnqueueUnitJob`).
    fn of_word(word: &str) -> Result<Self, CommandError> {
        match word {
            "reload-or-restart" => Ok(Self::gently(Request::Restart)),
            "reload-or-try-restart" => Ok(Self::gently(Request::TryRestart)),
            _ => Request::from_word(word)
                .map(Self::plain)
                .ok_or_else(|| CommandError::new(errors::INVALID_ARGUMENTS, format!("Job type {word} invalid"))),
        }
    }
}

/// Reads a job mode.
pub(crate) fn mode(word: &str) -> Result<JobMode, CommandError> {
    JobMode::from_word(word)
        .ok_or_else(|| CommandError::new(errors::INVALID_ARGUMENTS, format!("Job mode {word} invalid")))
}

/// Makes the job; nothing runs yet.
pub(crate) fn install(core: &mut Core, unit: UnitId, wanted: Wanted, mode: JobMode) -> Result<JobId, CommandError> {
    let reload = wanted.prefer_reload && core.table.can_reload(unit);
    let request = if reload { wanted.request.prefer_reload() } else { wanted.request };
    let known = core.unit(unit);
    let unfit = matches!(known.load, Some(LoadState::NotFound | LoadState::Error | LoadState::BadSetting));
    if request == Request::Stop && unfit && known.active() == ssi_manager::core::state::ActiveState::Inactive {
        return Err(CommandError::new(errors::NO_SUCH_UNIT, format!("Unit {} not loaded.", known.name)));
    }
    Ok(core.wish(Wish { unit, request, mode, manual: true })?)
}

/// Has a unit do something for a client.
pub(crate) fn queue(
    scene: &mut Scene<'_>,
    call: &Call,
    unit: UnitId,
    wanted: Wanted,
    mode: JobMode,
) -> Result<JobId, CommandError> {
    let job = install(scene.core, unit, wanted, mode)?;
    scene.clients.wait(scene.core, &call.client, job);
    scene.core.settle();
    Ok(job)
}

/// As [`queue`], and answers with the job's path.
pub(crate) fn queue_and_answer(scene: &mut Scene<'_>, call: &Call, unit: UnitId, wanted: Wanted, word: &str) -> Answer {
    let job = queue(scene, call, unit, wanted, mode(word)?)?;
    call.answer(&paths::of_job(job))
}

/// `EnqueueUnitJob` and `EnqueueJob`: answers with the job, its unit, and the jobs that came along.
pub(crate) fn enqueue(scene: &mut Scene<'_>, call: &Call, unit: UnitId, word: &str, mode_word: &str) -> Answer {
    let (wanted, mode) = (Wanted::of_word(word)?, mode(mode_word)?);
    let before = scene.core.queue.jobs().map(|job| job.id).max();
    let id = install(scene.core, unit, wanted, mode)?;
    scene.clients.wait(scene.core, &call.client, id);
    let core = &*scene.core;
    let name = |unit: UnitId| core.unit(unit).name.clone();
    let others: Vec<Affected> = core
        .queue
        .jobs()
        .filter(|job| job.id != id && before.is_none_or(|before| job.id > before))
        .map(|job| {
            let unit = name(job.unit);
            (job.id.0, paths::of_job(job.id), unit.to_string(), paths::of_unit(&unit), job.kind.word().to_owned())
        })
        .collect();
    let kind = core.queue.get(id).map_or(JobType::Nop, |job| job.kind);
    let unit = name(unit);
    let answer = call.answer(&(id.0, paths::of_job(id), unit.as_str(), paths::of_unit(&unit), kind.word(), others));
    scene.core.settle();
    answer
}

/// A job as clients see it.
pub(crate) fn listed(core: &Core, job: &Job) -> Listed {
    let name = &core.unit(job.unit).name;
    (
        job.id.0,
        name.to_string(),
        job.kind.word().to_owned(),
        job.state.word().to_owned(),
        paths::of_job(job.id),
        paths::of_unit(name),
    )
}

/// The jobs that wait for this one, or those that it waits for.
pub(crate) fn neighbours(core: &Core, id: JobId, waiting_for_it: bool) -> Result<Vec<Listed>, CommandError> {
    let job = get(core, id)?;
    let wanted = if waiting_for_it { Ordering::Less } else { Ordering::Greater };
    let mut found: Vec<&Job> = Vec::new();
    for (side, atom) in [(Side::Before, Atoms::BEFORE), (Side::After, Atoms::AFTER)] {
        for other in core.graph.with(job.unit, atom).filter_map(|unit| core.queue.job_of(unit)) {
            let heeds = if waiting_for_it { !other.ignore_order } else { !job.ignore_order };
            if heeds && job.kind.order(side, other.kind) == wanted && found.iter().all(|known| known.id != other.id) {
                found.push(other);
            }
        }
    }
    Ok(found.into_iter().map(|job| listed(core, job)).collect())
}

fn get(core: &Core, id: JobId) -> Result<&Job, CommandError> {
    core.queue.get(id).ok_or_else(|| CommandError::new(errors::NO_SUCH_JOB, format!("Job {id} does not exist.")))
}

/// Takes a job back for a client.
pub(crate) fn cancel(scene: &mut Scene<'_>, call: &Call, id: JobId) -> Answer {
    get(scene.core, id)?;
    // Whoever asked for it may take it back.
    if !call.is_root() && !scene.clients.is_waiter(id, &call.client) {
        return Err(CommandError::new(names::ACCESS_DENIED, "Permission denied"));
    }
    scene.core.cancel_job(id)?;
    call.done()
}

/// The methods about jobs.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    match member {
        "EnqueueUnitJob" => {
            let (name, word, mode): (String, String, String) = call.body()?;
            let unit = units::loaded(scene, call, &name)?;
            enqueue(scene, call, unit, &word, &mode)
        }
        "EnqueueMarkedJobs" => enqueue_marked(scene, call),
        "StartUnitWithFlags" => {
            let (name, mode, flags): (String, String, u64) = call.body()?;
            if flags != 0 {
                return Err(CommandError::new(errors::INVALID_ARGUMENTS, "Invalid 'flags' parameter"));
            }
            let unit = units::loaded(scene, call, &name)?;
            queue_and_answer(scene, call, unit, Wanted::plain(Request::Start), &mode)
        }
        "StartUnitReplace" => {
            let (old, new, mode): (String, String, String) = call.body()?;
            let replaced = scene.core.unit_there(&old).ok().and_then(|id| scene.core.queue.job_of(id));
            if replaced.is_none_or(|job| job.kind != JobType::Start) {
                return Err(CommandError::new(errors::NO_SUCH_JOB, format!("No job queued for unit {old}")));
            }
            let unit = units::loaded(scene, call, &new)?;
            queue_and_answer(scene, call, unit, Wanted::plain(Request::Start), &mode)
        }
        "GetJob" => {
            let id = JobId(call.body()?);
            get(scene.core, id)?;
            call.answer(&paths::of_job(id))
        }
        "GetJobAfter" => call.answer(&neighbours(scene.core, JobId(call.body()?), true)?),
        "GetJobBefore" => call.answer(&neighbours(scene.core, JobId(call.body()?), false)?),
        "CancelJob" => cancel(scene, call, JobId(call.body()?)),
        "ClearJobs" => {
            scene.core.cancel_all_jobs();
            call.done()
        }
        "ListJobs" => {
            let core = &*scene.core;
            call.answer(&core.queue.jobs().map(|job| listed(core, job)).collect::<Vec<_>>())
        }
        _ => match member.strip_suffix("Unit").and_then(Wanted::of_method) {
            Some(wanted) => {
                let (name, mode): (String, String) = call.body()?;
                let unit = units::loaded(scene, call, &name)?;
                queue_and_answer(scene, call, unit, wanted, &mode)
            }
            None => Err(unknown_method(member, Some(super::INTERFACE))),
        },
    }
}

/// Restarts or reloads what package scripts have marked for that (`systemctl reload-or-restart --marked`).
fn enqueue_marked(scene: &mut Scene<'_>, call: &Call) -> Answer {
    let marked = scene.core.table.iter().filter(|unit| !unit.runtime.markers.is_empty());
    let marked: Vec<(UnitId, bool)> =
        marked.map(|unit| (unit.id, unit.runtime.markers.contains("needs-restart"))).collect();
    let (mut jobs, mut trouble) = (Vec::new(), None);
    for (id, restart) in marked {
        let wanted = if restart { Wanted::plain(Request::TryRestart) } else { Wanted::gently(Request::TryRestart) };
        match install(scene.core, id, wanted, JobMode::Fail) {
            Ok(job) => {
                scene.clients.wait(scene.core, &call.client, job);
                scene.core.unit_mut(id).runtime.markers.clear();
                jobs.push(paths::of_job(job));
            }
            Err(error) => trouble = Some(error),
        }
    }
    scene.core.settle();
    match trouble {
        Some(error) => Err(error),
        None => call.answer(&jobs),
    }
}
