// SPDX-License-Identifier: GPL-2.0-or-later
//! The processes of a unit: `systemctl status` shows them as a tree.

use std::collections::BTreeSet;

use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::Pid;
use ssi_manager::graph::UnitId;

use crate::dispatch::Scene;
use crate::reply::{Answer, Call, names};

/// Answers with the path of the control group, number and command line of each.
pub(crate) fn list(scene: &mut Scene<'_>, call: &Call, id: UnitId) -> Answer {
    let root = scene.host.facts().control_group;
    let full = |group: &str| format!("{}/{group}", root.trim_end_matches('/'));
    let mut found: Vec<(String, u32, String)> = Vec::new();
    let own = scene.core.unit(id).runtime.cgroup.clone();
    let mut pids: BTreeSet<Pid> = own.iter().flat_map(|group| scene.core.sys.group_processes(group)).collect();
    let (main, control) = scene.core.processes_of(id);
    pids.extend(main.into_iter().chain(control).filter(|pid| scene.core.sys.is_alive(*pid)));
    for pid in pids {
        let Some(group) = scene.core.sys.group_of(pid) else { continue };
        let line = scene.host.command_line(pid.0).unwrap_or_else(|| "(gone)".to_owned());
        found.push((full(&group), pid.0, line));
    }
    call.answer(&found)
}

/// Moves processes into a unit's control group, or one below it.
pub(crate) fn attach(scene: &mut Scene<'_>, call: &Call, id: UnitId, below: &str, pids: &[u32]) -> Answer {
    let unit = scene.core.unit(id);
    let invalid = |text: String| Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    if unit.active().is_inactive_or_deactivating() {
        return Err(CommandError::new(names::UNIT_INACTIVE, "Unit is not active, refusing."));
    }
    let Some(group) = unit.runtime.cgroup.clone() else {
        return Err(CommandError::new(errors::NOT_SUPPORTED, format!("{} has no control group of its own", unit.name)));
    };
    if below.split('/').any(|part| part == "." || part == "..") {
        return invalid(format!("Control group path is not normalized: {below}"));
    }
    let below = below.trim_matches('/');
    let group = if below.is_empty() { group } else { format!("{group}/{below}") };
    let mut moved = Vec::with_capacity(pids.len());
    for pid in pids {
        // 0 is who asks.
        let pid = if *pid == 0 { call.credentials.pid.unwrap_or(0) } else { *pid };
        if pid == 0 || !scene.core.sys.is_alive(Pid(pid)) {
            return Err(CommandError::new(errors::NO_SUCH_PROCESS, format!("Process with ID {pid} does not exist.")));
        }
        if pid == 1 {
            return invalid("Process 1 stays where it is.".to_owned());
        }
        moved.push(Pid(pid));
    }
    let told = scene.core.sys.move_to_group(&group, &moved);
    told.map_err(|error| CommandError::new(errors::FAILED, error.to_string()))?;
    call.done()
}
