// SPDX-License-Identifier: GPL-2.0-or-later
//! What can be asked of a unit at its own path: `org.freedesktop.systemd1.Unit`, and the interface of its type.

use ssi_manager::core::commands::{CommandError, Whom, errors};
use ssi_manager::core::scope;
use ssi_manager::graph::UnitId;
use ssi_unit::name::UnitType;

use crate::dispatch::{Scene, unknown_method};
use crate::interface::{Method, Signal};
use crate::introspect::MethodTable;
use crate::manager::{jobs, processes, transient};
use crate::properties;
use crate::reply::{Answer, Call, names};

/// The interface that all units have.
pub(crate) const INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";

const METHODS: &[Method] = &[
    Method::change("Start", &[("mode", "s")], &[("job", "o")]),
    Method::change("Stop", &[("mode", "s")], &[("job", "o")]),
    Method::change("Reload", &[("mode", "s")], &[("job", "o")]),
    Method::change("Restart", &[("mode", "s")], &[("job", "o")]),
    Method::change("TryRestart", &[("mode", "s")], &[("job", "o")]),
    Method::change("ReloadOrRestart", &[("mode", "s")], &[("job", "o")]),
    Method::change("ReloadOrTryRestart", &[("mode", "s")], &[("job", "o")]),
    Method::change(
        "EnqueueJob",
        &[("job_type", "s"), ("job_mode", "s")],
        &[
            ("job_id", "u"),
            ("job_path", "o"),
            ("unit_id", "s"),
            ("unit_path", "o"),
            ("job_type", "s"),
            ("affected_jobs", "a(uosos)"),
        ],
    ),
    Method::change("Kill", &[("whom", "s"), ("signal", "i")], &[]),
    Method::change("ResetFailed", &[], &[]),
    Method::change("SetProperties", &[("runtime", "b"), ("properties", "a(sv)")], &[]),
    Method::change("Ref", &[], &[]),
    Method::everybody("Unref", &[], &[]),
    Method::change("Clean", &[("mask", "as")], &[]),
    Method::change("Freeze", &[], &[]),
    Method::change("Thaw", &[], &[]),
];

const GET_PROCESSES: Method = Method::everybody("GetProcesses", &[], &[("processes", "a(sus)")]);
const ATTACH: Method = Method::change("AttachProcesses", &[("subcgroup", "s"), ("pids", "au")], &[]);

const SERVICE: &[Method] = &[
    Method::change("BindMount", &[("source", "s"), ("destination", "s"), ("read_only", "b"), ("mkdir", "b")], &[]),
    Method::change(
        "MountImage",
        &[("source", "s"), ("destination", "s"), ("read_only", "b"), ("mkdir", "b"), ("options", "a(ss)")],
        &[],
    ),
    GET_PROCESSES,
    ATTACH,
];
const SCOPE_METHODS: &[Method] = &[Method::change("Abandon", &[], &[]), GET_PROCESSES, ATTACH];
/// Of those types that have processes and nothing else.
const PROCESSES: &[Method] = &[GET_PROCESSES, ATTACH];
const SCOPE_SIGNALS: &[Signal] = &[Signal { name: "RequestStop", carries: &[] }];

/// The interfaces of a unit of this type.
pub(crate) fn tables(kind: UnitType) -> Vec<MethodTable> {
    let of_type = match kind {
        UnitType::Service => SERVICE,
        UnitType::Scope => SCOPE_METHODS,
        UnitType::Slice | UnitType::Socket | UnitType::Mount | UnitType::Swap => PROCESSES,
        _ => &[],
    };
    let own = properties::interfaces(kind).iter().copied().filter(|name| *name != INTERFACE);
    let mut tables: Vec<MethodTable> = vec![(INTERFACE, METHODS)];
    tables.extend(own.map(|name| (name, of_type)));
    tables
}

/// The signals of an interface of units.
pub(crate) fn signals(interface: &str) -> &'static [Signal] {
    if interface == SCOPE { SCOPE_SIGNALS } else { &[] }
}

/// Answers a call whose arguments fit and whose client may.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, id: UnitId, member: &str) -> Answer {
    if let Some(wanted) = jobs::Wanted::of_method(member) {
        return jobs::queue_and_answer(scene, call, id, wanted, &call.body::<String>()?);
    }
    match member {
        "EnqueueJob" => {
            let (word, mode): (String, String) = call.body()?;
            jobs::enqueue(scene, call, id, &word, &mode)
        }
        "Kill" => {
            let (whom, signal): (String, i32) = call.body()?;
            kill(scene, call, id, &whom, signal)
        }
        "ResetFailed" => reset_failed(scene, call, id),
        "SetProperties" => {
            let (runtime, properties) = call.body()?;
            transient::set_properties(scene, call, id, runtime, properties)
        }
        "Ref" => hold(scene, call, id),
        "Unref" => release(scene, call, id),
        "Clean" => clean(scene, call, id, &call.body::<Vec<String>>()?),
        "Freeze" => freeze(scene, call, id, true),
        "Thaw" => freeze(scene, call, id, false),
        "BindMount" | "MountImage" => mount_into(scene, id),
        "Abandon" => abandon(scene, call, id),
        "GetProcesses" => processes::list(scene, call, id),
        "AttachProcesses" => {
            let (below, pids): (String, Vec<u32>) = call.body()?;
            processes::attach(scene, call, id, &below, &pids)
        }
        _ => Err(unknown_method(member, None)),
    }
}

fn name(scene: &Scene<'_>, id: UnitId) -> String {
    scene.core.unit(id).name.to_string()
}

/// `systemctl kill`. The words that end in `-fail` ask for an error where nobody got the signal.
pub(crate) fn kill(scene: &mut Scene<'_>, call: &Call, id: UnitId, whom: &str, signal: i32) -> Answer {
    let (word, fail) = match whom.strip_suffix("-fail") {
        Some(word) => (word, true),
        None => (whom, false),
    };
    let whom = match word {
        "" | "all" => Whom::All,
        "main" => Whom::Main,
        "control" => Whom::Control,
        _ => {
            let text = format!("Invalid whom argument: {whom}");
            return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
        }
    };
    if !(1..=64).contains(&signal) {
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, "Signal number out of range."));
    }
    let (main, control) = scene.core.processes_of(id);
    let populated =
        scene.core.unit(id).runtime.cgroup.as_ref().is_some_and(|group| scene.core.sys.group_populated(group));
    if fail && whom == Whom::All && main.is_none() && control.is_none() && !populated {
        return Err(CommandError::new(errors::NO_SUCH_PROCESS, "No matching processes to kill"));
    }
    let name = name(scene, id);
    scene.core.kill(&name, whom, signal)?;
    scene.core.settle();
    call.done()
}

/// `systemctl reset-failed`.
pub(crate) fn reset_failed(scene: &mut Scene<'_>, call: &Call, id: UnitId) -> Answer {
    scene.core.reset_failed(id);
    scene.core.settle();
    call.done()
}

/// The client does not want the unit forgotten.
pub(crate) fn hold(scene: &mut Scene<'_>, call: &Call, id: UnitId) -> Answer {
    scene.clients.hold(scene.core, &call.client, id);
    call.done()
}

/// It does not care any more.
pub(crate) fn release(scene: &mut Scene<'_>, call: &Call, id: UnitId) -> Answer {
    if !scene.clients.release(scene.core, &call.client, id) {
        return Err(CommandError::new(names::NOT_REFERENCED, "Unit has not been referenced yet."));
    }
    scene.core.settle();
    call.done()
}

/// `systemctl clean`.
pub(crate) fn clean(scene: &mut Scene<'_>, call: &Call, id: UnitId, what: &[String]) -> Answer {
    const KNOWN: [&str; 7] = ["all", "cache", "configuration", "fdstore", "logs", "runtime", "state"];
    if let Some(wrong) = what.iter().find(|word| !KNOWN.contains(&word.as_str())) {
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("Invalid resource type: {wrong}")));
    }
    let unit = scene.core.unit(id);
    if !unit.active().is_inactive_or_failed() || scene.core.queue.job_of(id).is_some() {
        return Err(CommandError::new("org.freedesktop.systemd1.UnitBusy", "Unit is not inactive or has pending job."));
    }
    scene.host.clean(scene.core, id, what)?;
    call.done()
}

/// `systemctl freeze` and `thaw`.
pub(crate) fn freeze(scene: &mut Scene<'_>, call: &Call, id: UnitId, frozen: bool) -> Answer {
    let unit = scene.core.unit(id);
    if !unit.active().is_active_or_reloading() {
        return Err(CommandError::new(names::UNIT_INACTIVE, "Unit is inactive."));
    }
    let Some(group) = unit.runtime.cgroup.clone() else {
        let text = format!("{} has no control group of its own", unit.name);
        return Err(CommandError::new(errors::NOT_SUPPORTED, text));
    };
    scene.host.freeze(&group, frozen)?;
    call.done()
}

/// A scope's maker has no more to do with it.
pub(crate) fn abandon(scene: &mut Scene<'_>, call: &Call, id: UnitId) -> Answer {
    let unit = scene.core.unit(id);
    if unit.unit_type() != UnitType::Scope {
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("{} is not a scope unit.", unit.name)));
    }
    if !scope::abandon(scene.core, id) {
        let text = format!("Scope {} is not running, cannot abandon.", name(scene, id));
        return Err(CommandError::new(names::SCOPE_NOT_RUNNING, text));
    }
    scene.core.settle();
    call.done()
}

/// Mounts into the namespace of a running service are refused, and said to be.
pub(crate) fn mount_into(scene: &Scene<'_>, id: UnitId) -> Answer {
    let text =
        format!("mounting into the namespace of {}, while it runs, is not supported by this manager", name(scene, id));
    Err(CommandError::new(errors::NOT_SUPPORTED, text))
}
