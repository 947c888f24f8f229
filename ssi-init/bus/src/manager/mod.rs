// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.freedesktop.systemd1.Manager`: what clients can ask of the manager, org.freedesktop.systemd1(5).
//!
//! | file | subject |
//! | --- | --- |
//! | `table.rs` | which methods and signals there are |
//! | `units.rs` | units: finding, listing, what is done with one by its name |
//! | `jobs.rs` | jobs: how they come to be, listing, taking back |
//! | `files.rs` | unit files: `enable`, `mask`, `preset`, … |
//! | `transient.rs` | units made over the bus, settings changed over the bus |
//! | `processes.rs` | the processes of a unit |
//! | `whole.rs` | the manager itself: reload, environment, end, dump |
//! | `properties.rs` | its properties |

pub(crate) mod files;
pub(crate) mod jobs;
pub(crate) mod processes;
pub(crate) mod properties;
mod table;
pub(crate) mod transient;
pub(crate) mod units;
mod whole;

use crate::dispatch::{Scene, unknown_method};
use crate::reply::{Answer, Call};
pub(crate) use table::{METHODS, SIGNALS};

/// Its name.
pub(crate) const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// Answers a call whose arguments fit and whose client may.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    match member {
        "GetUnit" | "GetUnitByPID" | "GetUnitByInvocationID" | "GetUnitByControlGroup" | "LoadUnit" => {
            units::path(scene, call, member)
        }
        "ListUnits" | "ListUnitsFiltered" | "ListUnitsByPatterns" | "ListUnitsByNames" => {
            units::list(scene, call, member)
        }
        "KillUnit"
        | "CleanUnit"
        | "FreezeUnit"
        | "ThawUnit"
        | "ResetFailedUnit"
        | "RefUnit"
        | "UnrefUnit"
        | "SetUnitProperties"
        | "BindMountUnit"
        | "MountImageUnit"
        | "AbandonScope"
        | "GetUnitProcesses"
        | "AttachProcessesToUnit" => units::by_name(scene, call, member),
        "StartUnit"
        | "StartUnitWithFlags"
        | "StartUnitReplace"
        | "StopUnit"
        | "ReloadUnit"
        | "RestartUnit"
        | "TryRestartUnit"
        | "ReloadOrRestartUnit"
        | "ReloadOrTryRestartUnit"
        | "EnqueueUnitJob"
        | "EnqueueMarkedJobs"
        | "GetJob"
        | "GetJobAfter"
        | "GetJobBefore"
        | "CancelJob"
        | "ClearJobs"
        | "ListJobs" => jobs::call(scene, call, member),
        "StartTransientUnit" => transient::start(scene, call),
        "ListUnitFiles" | "ListUnitFilesByPatterns" | "GetUnitFileState" | "GetDefaultTarget" | "GetUnitFileLinks" => {
            files::ask(scene, call, member)
        }
        "EnableUnitFiles"
        | "DisableUnitFiles"
        | "EnableUnitFilesWithFlags"
        | "DisableUnitFilesWithFlags"
        | "ReenableUnitFiles"
        | "LinkUnitFiles"
        | "PresetUnitFiles"
        | "PresetUnitFilesWithMode"
        | "MaskUnitFiles"
        | "UnmaskUnitFiles"
        | "RevertUnitFiles"
        | "SetDefaultTarget"
        | "PresetAllUnitFiles"
        | "AddDependencyUnitFiles" => files::change(scene, call, member),
        "ResetFailed"
        | "SetShowStatus"
        | "Subscribe"
        | "Unsubscribe"
        | "Dump"
        | "DumpUnitsMatchingPatterns"
        | "DumpByFileDescriptor"
        | "DumpUnitsMatchingPatternsByFileDescriptor"
        | "Reload"
        | "Reexecute"
        | "Exit"
        | "Reboot"
        | "PowerOff"
        | "Halt"
        | "KExec"
        | "SwitchRoot"
        | "SetEnvironment"
        | "UnsetEnvironment"
        | "UnsetAndSetEnvironment"
        | "SetExitCode"
        | "LookupDynamicUserByName"
        | "LookupDynamicUserByUID"
        | "GetDynamicUsers" => whole::call(scene, call, member),
        _ => Err(unknown_method(member, Some(INTERFACE))),
    }
}
