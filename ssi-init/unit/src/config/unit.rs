// SPDX-License-Identifier: GPL-2.0-or-later
//! The sections every unit may have: `[Unit]` and `[Install]` (systemd.unit(5)), and `[X-SSI]`.

use std::time::Duration;

use super::manager::ManagerDefaults;
use super::words::words;
use crate::condition::Condition;
use crate::dependency::Dependency;
use crate::name::UnitName;

words! {
    /// What to do with jobs that stand in the way of a new one (systemctl(1), `--job-mode=`).
    pub enum JobMode {
        /// Refuse the new job.
        Fail = "fail",
        /// Cancel what stands in the way.
        Replace = "replace",
        /// As replace, and the new jobs cannot be replaced themselves.
        ReplaceIrreversibly = "replace-irreversibly",
        /// Stop all that the new job does not need.
        Isolate = "isolate",
        /// Cancel everything that is queued.
        Flush = "flush",
        /// Heed no dependency at all.
        IgnoreDependencies = "ignore-dependencies",
        /// Heed order, but no requirement.
        IgnoreRequirements = "ignore-requirements",
        /// Stop what triggers the unit as well.
        Triggering = "triggering",
    }
}

words! {
    /// What happens to the machine (`FailureAction=` and its kin).
    pub enum EmergencyAction {
        /// Nothing.
        None = "none",
        /// Restart, the ordered way.
        Reboot = "reboot",
        /// Restart with all processes killed.
        RebootForce = "reboot-force",
        /// Restart at once, with nothing written back.
        RebootImmediate = "reboot-immediate",
        /// Power off, the ordered way.
        Poweroff = "poweroff",
        /// Power off with all processes killed.
        PoweroffForce = "poweroff-force",
        /// Power off at once, with nothing written back.
        PoweroffImmediate = "poweroff-immediate",
        /// End the manager, the ordered way: of a container, the container.
        Exit = "exit",
        /// End the manager with all processes killed.
        ExitForce = "exit-force",
        /// Start again in user space, the ordered way.
        SoftReboot = "soft-reboot",
        /// Start again in user space with all processes killed.
        SoftRebootForce = "soft-reboot-force",
        /// Start the loaded kernel, the ordered way.
        Kexec = "kexec",
        /// Start the loaded kernel with all processes killed.
        KexecForce = "kexec-force",
        /// Halt, the ordered way.
        Halt = "halt",
        /// Halt with all processes killed.
        HaltForce = "halt-force",
        /// Halt at once, with nothing written back.
        HaltImmediate = "halt-immediate",
    }
}

words! {
    /// When a unit that is no longer needed is forgotten (`CollectMode=`).
    pub enum CollectMode {
        /// When it is inactive; one that failed is kept until it is reset.
        Inactive = "inactive",
        /// Also when it failed.
        InactiveOrFailed = "inactive-or-failed",
    }
}

/// The `[Unit]` section.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitSection {
    /// One line for people.
    pub description: Option<String>,
    /// URIs of documents about the unit.
    pub documentation: Vec<String>,
    /// The file this unit was made from by a generator.
    pub source_path: Option<String>,
    /// `Requires=`, `After=` and so on, in the order they were written; nothing implicit.
    pub dependencies: Vec<(Dependency, UnitName)>,
    /// Paths whose mounts are required, and ordered before.
    pub requires_mounts_for: Vec<String>,
    /// Paths whose mounts are wanted, and ordered before.
    pub wants_mounts_for: Vec<String>,
    /// Stop when nothing needs the unit any more.
    pub stop_when_unneeded: bool,
    /// Only a dependency may start it, no person.
    pub refuse_manual_start: bool,
    /// Only a dependency may stop it, no person.
    pub refuse_manual_stop: bool,
    /// `systemctl isolate` may name it.
    pub allow_isolate: bool,
    /// Whether the default dependencies of its type are added.
    pub default_dependencies: bool,
    /// Not stopped when another unit is isolated.
    pub ignore_on_isolate: bool,
    /// How the units of `OnSuccess=` are started.
    pub on_success_job_mode: JobMode,
    /// How the units of `OnFailure=` are started.
    pub on_failure_job_mode: JobMode,
    /// A job of this unit fails after that long; `None`: never.
    pub job_timeout: Option<Duration>,
    /// A job of this unit fails after running that long; `None`: never.
    pub job_running_timeout: Option<Duration>,
    /// What happens when a job timed out.
    pub job_timeout_action: EmergencyAction,
    /// Argument of the reboot a job's time-out makes.
    pub job_timeout_reboot_argument: Option<String>,
    /// Starts are counted over this time; zero switches the limit off, `None` is for ever.
    pub start_limit_interval: Option<Duration>,
    /// Starts allowed in `start_limit_interval`.
    pub start_limit_burst: u32,
    /// What happens when the start limit is hit.
    pub start_limit_action: EmergencyAction,
    /// What happens when the unit fails.
    pub failure_action: EmergencyAction,
    /// What happens when the unit ends well.
    pub success_action: EmergencyAction,
    /// Exit status of the manager when `failure_action` ends it; `None`: that of the unit.
    pub failure_action_exit_status: Option<u8>,
    /// Exit status of the manager when `success_action` ends it; `None`: that of the unit.
    pub success_action_exit_status: Option<u8>,
    /// Argument of the reboot an action makes.
    pub reboot_argument: Option<String>,
    /// When the unit is forgotten.
    pub collect_mode: CollectMode,
    /// All must hold (of those with `|`: one) for a start to do something; else the start is skipped.
    pub conditions: Vec<Condition>,
    /// All must hold (of those with `|`: one) or the start fails.
    pub asserts: Vec<Condition>,
    /// Whether a file told `job_running_timeout` by its own name.
    pub(crate) job_running_timeout_told: bool,
}

impl UnitSection {
    /// The section before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> UnitSection {
        UnitSection {
            description: None,
            documentation: Vec::new(),
            source_path: None,
            dependencies: Vec::new(),
            requires_mounts_for: Vec::new(),
            wants_mounts_for: Vec::new(),
            stop_when_unneeded: false,
            refuse_manual_start: false,
            refuse_manual_stop: false,
            allow_isolate: false,
            default_dependencies: true,
            ignore_on_isolate: false,
            on_success_job_mode: JobMode::Fail,
            on_failure_job_mode: JobMode::Replace,
            job_timeout: None,
            job_running_timeout: None,
            job_timeout_action: EmergencyAction::None,
            job_timeout_reboot_argument: None,
            start_limit_interval: defaults.start_limit_interval,
            start_limit_burst: defaults.start_limit_burst,
            start_limit_action: EmergencyAction::None,
            failure_action: EmergencyAction::None,
            success_action: EmergencyAction::None,
            failure_action_exit_status: None,
            success_action_exit_status: None,
            reboot_argument: None,
            collect_mode: CollectMode::Inactive,
            conditions: Vec::new(),
            asserts: Vec::new(),
            job_running_timeout_told: false,
        }
    }

    /// The units of one kind of dependency, in the order they were written.
    pub fn units(&self, kind: Dependency) -> impl Iterator<Item = &UnitName> {
        self.dependencies.iter().filter(move |(found, _)| *found == kind).map(|(_, unit)| unit)
    }
}

/// The `[Install]` section: what `systemctl enable` does. The manager itself never acts on it.
///
/// The words are kept with their specifiers: [`crate::install`] expands them for the instance that is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallSection {
    /// Other names that get a link to this file.
    pub alias: Vec<String>,
    /// Units that get a link to this one in their `.wants/`.
    pub wanted_by: Vec<String>,
    /// Units that get a link to this one in their `.requires/`.
    pub required_by: Vec<String>,
    /// Units that get a link to this one in their `.upholds/`.
    pub upheld_by: Vec<String>,
    /// Units enabled and disabled along with this one.
    pub also: Vec<String>,
    /// The instance that enabling a template enables.
    pub default_instance: Option<String>,
}

words! {
    /// Where a unit runs.
    pub enum Scope {
        /// Each node for itself.
        Node = "node",
        /// On all nodes that are up.
        All = "all",
        /// So many instances in the whole cluster, moved when a node is lost.
        Cluster = "cluster",
    }
}

words! {
    /// Whether an instance goes back to a node it prefers when that comes back (`Failback=`).
    pub enum Failback {
        /// It stays where it is.
        No = "no" | "false" | "off" | "0" | "n" | "f",
        /// At once.
        Yes = "yes" | "true" | "on" | "1" | "y" | "t",
        /// As soon as it has nothing to do.
        WhenIdle = "when-idle",
    }
}

/// The `[X-SSI]` section: where in the cluster a unit runs. systemd skips it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSection {
    /// Where it runs.
    pub scope: Scope,
    /// Numbers or names of the nodes it may run on, the preferred ones first; empty: all.
    pub nodes: Vec<String>,
    /// Numbers or names of the nodes it never runs on.
    pub avoid: Vec<String>,
    /// Only on nodes where these units of the cluster run.
    pub with: Vec<UnitName>,
    /// Only on nodes where none of these does.
    pub apart: Vec<UnitName>,
    /// How many instances run at one time in the cluster.
    pub instances: u32,
    /// Whether it goes back to a more preferred node.
    pub failback: Failback,
    /// No two instances on one node.
    pub spread: bool,
    /// Choose the least loaded of the nodes rather than the first.
    pub least_loaded: bool,
    /// A node that lost quorum has stopped the unit after this long, and the others start it no sooner. `None`: the
    /// cluster's value.
    pub takeover: Option<Duration>,
    /// For how long a node where an instance failed is given none. `None`: the cluster's value.
    pub probation: Option<Duration>,
    /// How often an instance may fail in that time before it is left alone. `None`: the cluster's value.
    pub error_limit: Option<u32>,
}

impl Default for ClusterSection {
    fn default() -> ClusterSection {
        ClusterSection {
            scope: Scope::Node,
            nodes: Vec::new(),
            avoid: Vec::new(),
            with: Vec::new(),
            apart: Vec::new(),
            instances: 1,
            failback: Failback::No,
            spread: false,
            least_loaded: false,
            takeover: None,
            probation: None,
            error_limit: None,
        }
    }
}
