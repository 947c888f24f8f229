// SPDX-License-Identifier: GPL-2.0-or-later
//! What every unit shows.

use ssi_manager::core::system::Feature;
use ssi_manager::job::UnitStates as _;
use ssi_unit::condition::{Condition, Evaluation, Outcome};
use ssi_unit::config::exec::DirectoryKind;
use ssi_unit::dependency::Dependency;
use ssi_unit::load::LoadState;
use ssi_unit::name::UnitType;
use zbus::zvariant::Value;

use super::value::{maybe, monotonic, realtime, text, usec};
use super::{Property, View, fixed, invalidated, silent, told};
use crate::paths;

/// The names of the units at the other ends of a kind of dependency.
fn units(v: &View<'_>, kind: Dependency) -> Value<'static> {
    let edges = v.core.graph.edges(v.id, kind).iter();
    Value::from(edges.map(|edge| v.core.unit(edge.to).name.to_string()).collect::<Vec<_>>())
}

macro_rules! dependencies {
    ($($kind:ident),+) => { [$(fixed(stringify!($kind), "as", |v| units(v, Dependency::$kind)),)+] };
}

/// One moment as two properties.
macro_rules! moment {
    ($name:literal, $field:ident) => {
        [
            told(concat!($name, "Timestamp"), "t", |v| realtime(v.unit.runtime.times.$field)),
            told(concat!($name, "TimestampMonotonic"), "t", |v| monotonic(v.unit.runtime.times.$field)),
        ]
    };
}

/// `(sbbsi)`: what it is called, whether one of several is enough, whether it is turned round, what it looks for, and what
/// came of it: 1 it held, -1 it did not, 0 it was not looked at.
fn conditions(prefix: &str, all: &[Condition], evaluation: Option<&Evaluation>) -> Value<'static> {
    let row = |(place, condition): (usize, &Condition)| {
        let outcome = match evaluation.and_then(|evaluation| evaluation.outcomes.get(place)) {
            None | Some(Outcome::Untested) => 0,
            Some(Outcome::Holds) => 1,
            Some(Outcome::Fails | Outcome::Unknown(_)) => -1,
        };
        let name = format!("{prefix}{}", condition.kind.name());
        (name, condition.trigger, condition.negate, condition.parameter.clone(), outcome)
    };
    // The one that was read last stands first there.
    Value::from(all.iter().enumerate().rev().map(row).collect::<Vec<(String, bool, bool, String, i32)>>())
}

/// The name of an error and a sentence, both empty for a unit that can be used.
fn load_error(v: &View<'_>) -> (String, String) {
    let name = &v.unit.name;
    let (error, sentence) = match v.unit.load {
        Some(LoadState::Loaded) => return (String::new(), String::new()),
        Some(LoadState::NotFound) => ("NoSuchUnit", format!("Unit {name} not found.")),
        Some(LoadState::BadSetting) => ("BadUnitSetting", format!("Unit {name} has a bad unit file setting.")),
        Some(LoadState::Masked) => ("UnitMasked", format!("Unit {name} is masked.")),
        Some(LoadState::Error) => {
            let why = v.unit.load_error.as_deref().unwrap_or("unknown error");
            let text =
                format!("Unit {name} failed to load properly, please adjust/correct and reload service manager: {why}");
            return ("org.freedesktop.DBus.Error.Failed".to_owned(), text);
        }
        None => ("NoSuchUnit", format!("Unexpected load state of unit {name}")),
    };
    (format!("org.freedesktop.systemd1.{error}"), sentence)
}

/// What `systemctl clean` could remove.
fn cleanable(v: &View<'_>) -> Vec<&'static str> {
    if !v.unit.is_loaded() {
        return Vec::new();
    }
    if let Some(timer) = v.unit.config.timer() {
        return if timer.persistent { vec!["state"] } else { Vec::new() };
    }
    let Some(exec) = v.unit.config.exec() else { return Vec::new() };
    let kinds = [
        (DirectoryKind::Runtime, "runtime"),
        (DirectoryKind::State, "state"),
        (DirectoryKind::Cache, "cache"),
        (DirectoryKind::Logs, "logs"),
        (DirectoryKind::Configuration, "configuration"),
    ];
    kinds.into_iter().filter(|(kind, _)| !exec.directories(*kind).is_empty()).map(|(_, word)| word).collect()
}

/// Whether its processes can be stopped where they are: a slice's only if those of all in it can.
fn freezable(v: &View<'_>) -> bool {
    let mut next = vec![v.id];
    // A unit is in one slice, and slices are in one another as their names say: there is an end to this.
    while let Some(id) = next.pop() {
        match v.core.unit(id).unit_type() {
            UnitType::Service | UnitType::Scope => {}
            UnitType::Slice => next.extend(v.core.graph.edges(id, Dependency::SliceOf).iter().map(|edge| edge.to)),
            _ => return false,
        }
    }
    true
}

/// Whether units of its type work on this machine.
fn supported(v: &View<'_>) -> bool {
    match v.unit.unit_type() {
        UnitType::Automount => v.core.sys.supports(Feature::Automount),
        UnitType::Swap => v.core.sys.supports(Feature::Swap),
        UnitType::Device => v.core.sys.supports(Feature::Devices),
        _ => true,
    }
}

const BEGIN: [Property; 3] = [
    fixed("Id", "s", |v| text(v.unit.name.as_str())),
    fixed("Names", "as", |v| {
        let names = std::iter::once(&v.unit.name).chain(&v.unit.aliases);
        Value::from(names.map(ToString::to_string).collect::<Vec<_>>())
    }),
    silent("Following", "s", |v| {
        maybe(v.core.unit_followed_by(v.id).map(|followed| v.core.unit(followed).name.as_str()))
    }),
];

const DEPENDENCIES: [Property; 28] = dependencies![
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Upholds,
    RequiredBy,
    RequisiteOf,
    WantedBy,
    BoundBy,
    UpheldBy,
    ConsistsOf,
    Conflicts,
    ConflictedBy,
    Before,
    After,
    OnSuccess,
    OnSuccessOf,
    OnFailure,
    OnFailureOf,
    Triggers,
    TriggeredBy,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    JoinsNamespaceOf,
    SliceOf
];

const FILES_AND_STATES: [Property; 13] = [
    fixed("RequiresMountsFor", "as", |v| {
        let paths = v.unit.mounts_for.iter().filter(|path| path.kind == Dependency::Requires);
        Value::from(paths.map(|path| path.path.clone()).collect::<Vec<_>>())
    }),
    fixed("Documentation", "as", |v| {
        let told = v.unit.config.unit.documentation.clone();
        match v.unit.name.as_str() {
            "-.slice" | "system.slice" if told.is_empty() => vec!["man:systemd.special(7)".to_owned()],
            "init.scope" if told.is_empty() => vec!["man:systemd(1)".to_owned()],
            _ => told,
        }
        .into()
    }),
    fixed("Description", "s", |v| text(&v.core.title_of(v.id))),
    fixed("AccessSELinuxContext", "s", |_| text("")),
    fixed("LoadState", "s", |v| text(v.unit.load.map_or("stub", LoadState::as_str))),
    told("ActiveState", "s", |v| text(v.unit.active().word())),
    told("FreezerState", "s", |v| {
        text(v.unit.runtime.cgroup.as_deref().map_or("running", |group| v.figures.freezer_state(group)))
    }),
    told("SubState", "s", |v| text(v.unit.sub_state())),
    fixed("FragmentPath", "s", |v| {
        text(&v.unit.fragment.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default())
    }),
    fixed("SourcePath", "s", |v| maybe(v.unit.config.unit.source_path.as_deref())),
    fixed("DropInPaths", "as", |v| {
        Value::from(v.unit.dropins.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>())
    }),
    silent("UnitFileState", "s", |v| maybe(v.figures.unit_file_state(v.unit))),
    silent("UnitFilePreset", "s", |v| maybe(v.figures.unit_file_preset(v.unit))),
];

const ABLE: [Property; 7] = [
    fixed("CanStart", "b", |v| {
        // A scope is started once, by who made it.
        let over = v.unit.unit_type() == UnitType::Scope && v.unit.runtime.times.inactive_exit.is_set();
        let able = v.unit.is_loaded() && !over && supported(v) && v.unit.unit_type() != UnitType::Device;
        (able && !v.unit.config.unit.refuse_manual_start).into()
    }),
    fixed("CanStop", "b", |v| {
        (supported(v) && v.core.table.can_stop(v.id) && !v.unit.config.unit.refuse_manual_stop).into()
    }),
    fixed("CanReload", "b", |v| v.core.table.can_reload(v.id).into()),
    fixed("CanIsolate", "b", |v| (v.unit.config.unit.allow_isolate && !v.unit.config.unit.refuse_manual_start).into()),
    fixed("CanClean", "as", |v| cleanable(v).into()),
    fixed("CanFreeze", "b", |v| freezable(v).into()),
    told("Job", "(uo)", |v| match v.core.queue.job_of(v.id) {
        Some(job) => Value::from((job.id.0, paths::of_job(job.id))),
        None => Value::from((0u32, paths::root())),
    }),
];

const RULES: [Property; 14] = [
    fixed("StopWhenUnneeded", "b", |v| v.unit.config.unit.stop_when_unneeded.into()),
    fixed("RefuseManualStart", "b", |v| v.unit.config.unit.refuse_manual_start.into()),
    fixed("RefuseManualStop", "b", |v| v.unit.config.unit.refuse_manual_stop.into()),
    fixed("AllowIsolate", "b", |v| v.unit.config.unit.allow_isolate.into()),
    fixed("DefaultDependencies", "b", |v| {
        // What became of it is known once the unit could be read.
        let told = v.unit.config.unit.default_dependencies;
        if v.unit.is_loaded() { v.unit.default_dependencies } else { told }.into()
    }),
    fixed("OnSuccessJobMode", "s", |v| text(v.unit.config.unit.on_success_job_mode.as_str())),
    fixed("OnFailureJobMode", "s", |v| text(v.unit.config.unit.on_failure_job_mode.as_str())),
    fixed("IgnoreOnIsolate", "b", |v| v.unit.config.unit.ignore_on_isolate.into()),
    silent("NeedDaemonReload", "b", |v| v.figures.needs_daemon_reload(v.unit).into()),
    silent("Markers", "as", |v| v.unit.runtime.markers.iter().cloned().collect::<Vec<_>>().into()),
    fixed("JobTimeoutUSec", "t", |v| usec(v.unit.config.unit.job_timeout).into()),
    fixed("JobRunningTimeoutUSec", "t", |v| usec(v.unit.config.unit.job_running_timeout).into()),
    fixed("JobTimeoutAction", "s", |v| text(v.unit.config.unit.job_timeout_action.as_str())),
    fixed("JobTimeoutRebootArgument", "s", |v| maybe(v.unit.config.unit.job_timeout_reboot_argument.as_deref())),
];

const CHECKS: [Property; 2] = [
    told("ConditionResult", "b", |v| v.unit.runtime.conditions_hold.into()),
    told("AssertResult", "b", |v| v.unit.runtime.assertions_hold.into()),
];

const REST: [Property; 17] = [
    invalidated("Conditions", "a(sbbsi)", |v| {
        conditions("Condition", &v.unit.config.unit.conditions, v.unit.evaluations[0].as_ref())
    }),
    invalidated("Asserts", "a(sbbsi)", |v| {
        conditions("Assert", &v.unit.config.unit.asserts, v.unit.evaluations[1].as_ref())
    }),
    fixed("LoadError", "(ss)", |v| load_error(v).into()),
    fixed("Transient", "b", |v| {
        // Who looks for units without files of their own finds this one so.
        (v.unit.runtime.transient || v.unit.name.as_str() == "init.scope").into()
    }),
    fixed("Perpetual", "b", |v| v.core.table.is_perpetual(v.id).into()),
    fixed("StartLimitIntervalUSec", "t", |v| usec(v.unit.config.unit.start_limit_interval).into()),
    fixed("StartLimitBurst", "u", |v| v.unit.config.unit.start_limit_burst.into()),
    fixed("StartLimitAction", "s", |v| text(v.unit.config.unit.start_limit_action.as_str())),
    fixed("FailureAction", "s", |v| text(v.unit.config.unit.failure_action.as_str())),
    fixed("FailureActionExitStatus", "i", |v| {
        v.unit.config.unit.failure_action_exit_status.map_or(-1, i32::from).into()
    }),
    fixed("SuccessAction", "s", |v| text(v.unit.config.unit.success_action.as_str())),
    fixed("SuccessActionExitStatus", "i", |v| {
        v.unit.config.unit.success_action_exit_status.map_or(-1, i32::from).into()
    }),
    fixed("RebootArgument", "s", |v| maybe(v.unit.config.unit.reboot_argument.as_deref())),
    told("InvocationID", "ay", |v| match v.unit.runtime.invocation {
        0 => Vec::<u8>::new().into(),
        id => id.to_be_bytes().to_vec().into(),
    }),
    fixed("CollectMode", "s", |v| text(v.unit.config.unit.collect_mode.as_str())),
    silent("Refs", "as", |v| v.unit.runtime.held_by.iter().cloned().collect::<Vec<_>>().into()),
    // What triggered a start is not kept: its jobs are like any other.
    told("ActivationDetails", "a(ss)", |_| Vec::<(String, String)>::new().into()),
];

/// The properties, in systemd's order.
pub(super) static TABLE: std::sync::LazyLock<Vec<Property>> = std::sync::LazyLock::new(|| {
    let times = [
        moment!("StateChange", state_change),
        moment!("InactiveExit", inactive_exit),
        moment!("ActiveEnter", active_enter),
        moment!("ActiveExit", active_exit),
        moment!("InactiveEnter", inactive_enter),
    ];
    let checked = [moment!("Condition", condition), moment!("Assert", assertion)];
    let parts: [&[Property]; 9] = [
        &BEGIN,
        &DEPENDENCIES,
        &FILES_AND_STATES,
        times.as_flattened(),
        &ABLE,
        &RULES,
        &CHECKS,
        checked.as_flattened(),
        &REST,
    ];
    parts.concat()
});
