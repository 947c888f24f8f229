// SPDX-License-Identifier: GPL-2.0-or-later
//! All that the manager knows, at one moment: for people (`ssi-init dump`, `systemd-analyze dump`) and for programs.
//!
//! It is what `Dump()` of org.freedesktop.systemd1(5) answers. Its text is no interface: it may be another one in the
//! next version. Programs take the JSON, [`Snapshot`], to which fields may be added.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Value, json};
use ssi_manager::core::kinds::KindRuntime;
use ssi_manager::core::system::{Clock, Moment};
use ssi_manager::core::unit::Unit;
use ssi_manager::core::{Core, Deadline};
use ssi_unit::load::LoadState;

/// What the core does not know of the manager.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Around {
    /// Which program, and of which version.
    pub program: String,
    /// Which build of it ([`crate::record::build_id`]).
    pub build: String,
    /// How many managers there were since the boot before this one.
    pub restarts: u32,
    /// Descriptors that process 1 keeps, by their keys.
    pub descriptors: Vec<String>,
    /// How a recording stands, if there is one.
    pub recording: Option<crate::record::Standing>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// What the core does not know.
    pub manager: Around,
    /// `systemctl is-system-running`
    pub state: &'static str,
    /// When it was.
    pub at: Moment,
    /// When user space began.
    pub started: Moment,
    /// Jobs, in the order of their numbers.
    pub jobs: Vec<JobShown>,
    /// Units, in the order of their names.
    pub units: Vec<UnitShown>,
}

/// A job.
#[derive(Clone, Debug, Serialize)]
pub struct JobShown {
    /// Its number.
    pub id: u32,
    /// Its unit.
    pub unit: String,
    /// What it does.
    pub kind: String,
    /// `waiting`, `running`
    pub state: String,
    /// Jobs that have to end first.
    pub waits_for: Vec<u32>,
    /// Jobs that wait for its end.
    pub holds_up: Vec<u32>,
    /// Microseconds until it ends with `timeout`.
    pub time_left: Option<u64>,
}

/// Something a unit waits for.
#[derive(Clone, Debug, Serialize)]
pub struct DeadlineShown {
    /// What is due then.
    pub what: String,
    /// By which clock.
    pub clock: Clock,
    /// When, in microseconds of that clock.
    pub at: u64,
    /// In how many microseconds; 0: it is due.
    pub time_left: u64,
}

/// A unit.
#[derive(Clone, Debug, Serialize)]
pub struct UnitShown {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What to call it in front of people.
    pub description: String,
    /// How its files were read.
    pub load: String,
    /// Why not.
    pub load_error: Option<String>,
    /// Its coarse state.
    pub active: &'static str,
    /// Its fine state.
    pub sub: &'static str,
    /// Its job.
    pub job: Option<u32>,
    /// Its main process.
    pub main: Option<u32>,
    /// The command that runs beside it.
    pub control: Option<u32>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// What it waits for.
    pub deadlines: Vec<DeadlineShown>,
    /// How often it was started again by itself, where it can be.
    pub restarts: Option<u32>,
    /// How its last run ended, where its type knows that.
    pub result: Option<&'static str>,
    /// Its files.
    pub files: Vec<String>,
    /// When it changed; what never happened is left out.
    pub times: BTreeMap<&'static str, Moment>,
    /// This run of it.
    pub invocation: Option<String>,
    /// All that goes on with it, as it is kept for the next manager.
    pub runtime: Value,
    /// What it is to other units.
    pub edges: BTreeMap<String, Vec<String>>,
}

impl Snapshot {
    /// Of a core; with `patterns` (fnmatch(3)) only units whose names fit one of them.
    pub fn new(core: &Core, manager: Around, patterns: &[String]) -> Self {
        let now = core.now();
        let shown = |unit: &&Unit| {
            let matches = |pattern: &String| ssi_unit::condition::matches_pattern(pattern, unit.name.as_str());
            patterns.is_empty() || patterns.iter().any(matches)
        };
        let mut units: Vec<UnitShown> =
            core.table.iter().filter(shown).map(|unit| UnitShown::new(core, unit, now)).collect();
        units.sort_by(|one, other| one.name.cmp(&other.name));
        let mut jobs: Vec<JobShown> = core.queue.jobs().map(|job| JobShown::new(core, job, now)).collect();
        jobs.sort_by_key(|job| job.id);
        Self { manager, state: core.system_state(), at: now, started: core.started, jobs, units }
    }

    /// For programs.
    ///
    /// # Errors
    /// When something cannot be put into JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl JobShown {
    fn new(core: &Core, job: &ssi_manager::job::Job, now: Moment) -> Self {
        Self {
            id: job.id.0,
            unit: core.unit(job.unit).name.to_string(),
            kind: job.kind.to_string(),
            state: format!("{:?}", job.state).to_lowercase(),
            waits_for: core.queue.waits_for(&core.graph, job.id).into_iter().map(|id| id.0).collect(),
            holds_up: core.queue.holds_up(&core.graph, job.id).into_iter().map(|id| id.0).collect(),
            time_left: job.deadline.map(|at| at.saturating_sub(now.monotonic)),
        }
    }
}

impl UnitShown {
    fn new(core: &Core, unit: &Unit, now: Moment) -> Self {
        let runtime = &unit.runtime;
        let (main, control) = core.processes_of(unit.id);
        let deadline = |(which, clock, at): (Deadline, Clock, u64)| {
            let so_late = match clock {
                Clock::Monotonic => now.monotonic,
                Clock::Realtime => now.realtime,
            };
            DeadlineShown {
                what: format!("{which:?}").to_lowercase(),
                clock,
                at,
                time_left: at.saturating_sub(so_late),
            }
        };
        let times = &runtime.times;
        let times = [
            ("state-change", times.state_change),
            ("inactive-exit", times.inactive_exit),
            ("active-enter", times.active_enter),
            ("active-exit", times.active_exit),
            ("inactive-enter", times.inactive_enter),
            ("condition", times.condition),
            ("assertion", times.assertion),
        ];
        let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (kind, edge) in core.graph.all_edges(unit.id) {
            edges.entry(kind.to_string()).or_default().push(core.unit(edge.to).name.to_string());
        }
        edges.values_mut().for_each(|names| names.sort());
        let mut deadlines: Vec<DeadlineShown> = core.deadlines_of(unit.id).into_iter().map(deadline).collect();
        deadlines.sort_by_key(|deadline| deadline.time_left);
        Self {
            name: unit.name.to_string(),
            aliases: unit.aliases.iter().map(ToString::to_string).collect(),
            description: unit.description().to_owned(),
            load: unit.load.map_or("not-read", LoadState::as_str).to_owned(),
            load_error: unit.load_error.clone(),
            active: unit.active().word(),
            sub: unit.sub_state(),
            job: core.queue.job_of(unit.id).or_else(|| core.queue.nop_of(unit.id)).map(|job| job.id.0),
            main: main.map(|pid| pid.0),
            control: control.map(|pid| pid.0),
            cgroup: runtime.cgroup.clone(),
            deadlines,
            restarts: match &runtime.kind {
                KindRuntime::Service(service) => Some(service.restarts),
                _ => None,
            },
            result: result(&runtime.kind),
            files: unit.fragment.iter().chain(&unit.dropins).map(|path| path.display().to_string()).collect(),
            times: times.into_iter().filter(|(_, at)| at.is_set()).collect(),
            invocation: (runtime.invocation != 0).then(|| format!("{:032x}", runtime.invocation)),
            runtime: json!({
                "kind": runtime.kind,
                "conditions_hold": runtime.conditions_hold,
                "assertions_hold": runtime.assertions_hold,
                "starts": runtime.starts,
                "start_limit_hit": runtime.start_limit_hit,
                "transient": runtime.transient,
                "needs_reload": runtime.needs_reload,
                "markers": runtime.markers,
                "held_by": runtime.held_by,
            }),
            edges,
        }
    }
}

/// How the last run ended, in the words of the `Result` property.
fn result(kind: &KindRuntime) -> Option<&'static str> {
    Some(match kind {
        KindRuntime::Service(unit) => unit.result.word(),
        KindRuntime::Socket(unit) => unit.result.word(),
        KindRuntime::Mount(unit) => unit.result.word(),
        KindRuntime::Swap(unit) => unit.result.word(),
        KindRuntime::Automount(unit) => unit.result.word(),
        KindRuntime::Timer(unit) => unit.result.word(),
        KindRuntime::Path(unit) => unit.result.word(),
        KindRuntime::Scope(unit) => unit.result.word(),
        _ => return None,
    })
}

/// A span of time for people.
fn span(us: u64) -> String {
    if us >= u64::MAX / 8 { "for ever".to_owned() } else { format!("{:.3} s", us as f64 / 1e6) }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manager = &self.manager;
        writeln!(f, "{}, build {}", manager.program, manager.build)?;
        writeln!(f, "restarts of the manager since boot: {}", manager.restarts)?;
        if let Some(recording) = &manager.recording {
            let how = recording.ended.as_deref().unwrap_or("goes on");
            writeln!(f, "recording: {how}; {} bytes of at most {}", recording.bytes, recording.limit)?;
        }
        let since = self.at.monotonic.saturating_sub(self.started.monotonic);
        writeln!(f, "state: {}, {} after user space began", self.state, span(since))?;
        writeln!(
            f,
            "units: {}; jobs: {}; kept descriptors: {}",
            self.units.len(),
            self.jobs.len(),
            manager.descriptors.len()
        )?;
        for job in &self.jobs {
            write!(f, "job {}: {} {}, {}", job.id, job.kind, job.unit, job.state)?;
            if let Some(left) = job.time_left {
                write!(f, ", times out in {}", span(left))?;
            }
            for (what, ids) in [("waits for", &job.waits_for), ("holds up", &job.holds_up)] {
                if !ids.is_empty() {
                    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    write!(f, ", {what} {}", ids.join(" "))?;
                }
            }
            writeln!(f)?;
        }
        for key in &manager.descriptors {
            writeln!(f, "descriptor {key}")?;
        }
        self.units.iter().try_for_each(|unit| unit.write(f, self.at))
    }
}

impl UnitShown {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Moment) -> fmt::Result {
        writeln!(f, "unit {}: {}, {} ({})", self.name, self.load, self.active, self.sub)?;
        let mut field = |name: &str, value: &str| {
            if value.is_empty() { Ok(()) } else { writeln!(f, "  {name}: {value}") }
        };
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        field("description", if self.description == self.name { "" } else { &self.description })?;
        field("names", &self.aliases.join(" "))?;
        field("not loaded", self.load_error.as_deref().unwrap_or_default())?;
        field("files", &self.files.join(" "))?;
        field("job", &number(self.job))?;
        field("main process", &number(self.main))?;
        field("control process", &number(self.control))?;
        field("control group", self.cgroup.as_deref().unwrap_or_default())?;
        field("result", self.result.unwrap_or_default())?;
        field("restarts", &number(self.restarts.filter(|count| *count > 0)))?;
        field("invocation", self.invocation.as_deref().unwrap_or_default())?;
        for deadline in &self.deadlines {
            field("deadline", &format!("{} in {}", deadline.what, span(deadline.time_left)))?;
        }
        for (what, at) in &self.times {
            field(what, &format!("{} ago", span(now.monotonic.saturating_sub(at.monotonic))))?;
        }
        let mut more = String::new();
        leaves(&self.runtime, "", &mut more);
        more.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        self.edges.iter().try_for_each(|(kind, names)| writeln!(f, "  {kind}: {}", names.join(" ")))
    }
}

/// All that goes on with a unit's type and is not nothing, one thing a line.
fn leaves(value: &Value, name: &str, text: &mut String) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                leaves(value, &name, text);
            }
        }
        Value::Null | Value::Bool(false) => {}
        Value::Number(number) if number.as_u64() == Some(0) => {}
        Value::Array(items) if items.is_empty() => {}
        Value::String(said) if said.is_empty() => {}
        other => {
            // To a String nothing fails.
            let _ = writeln!(text, "{name}: {other}");
        }
    }
}
