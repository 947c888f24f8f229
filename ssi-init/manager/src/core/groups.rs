// SPDX-License-Identifier: GPL-2.0-or-later
//! Control groups: where a unit's is, and whose one is. Paths are below the manager's own root of the hierarchy:
//! `system.slice/ssh.service`.

use ssi_unit::dependency::Dependency;
use ssi_unit::name::UnitType;

use super::system::{Priority, Result};
use super::{Core, kinds};
use crate::graph::UnitId;

/// Slices cannot be nested deeper than their names are long; a longer way up is a mistake of ours.
const DEEPEST: usize = 128;

/// The name of a unit's group: one that the kernel might take for a file of its own gets an underscore.
fn escaped(name: &str) -> String {
    const OWN: [&str; 4] = ["notify_on_release", "release_agent", "tasks", "cgroup"];
    const CONTROLLERS: [&str; 11] =
        ["cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids", "hugetlb", "rdma", "misc"];
    let first = name.split('.').next().unwrap_or_default();
    let clash = name.starts_with(['_', '.'])
        || OWN.contains(&name)
        || (name.contains('.') && (first == "cgroup" || CONTROLLERS.contains(&first)));
    if clash { format!("_{name}") } else { name.to_owned() }
}

impl Core {
    /// The slice a unit is in.
    pub fn slice_of(&self, id: UnitId) -> Option<UnitId> {
        self.graph.edges(id, Dependency::InSlice).iter().find(|edge| !edge.asked.is_empty()).map(|edge| edge.to)
    }

    /// Where its control group is, or would be.
    pub fn group_path(&self, id: UnitId) -> String {
        let mut parts = Vec::new();
        let mut at = Some(id);
        while let Some(unit) = at
            && parts.len() < DEEPEST
        {
            let name = self.unit(unit).name.as_str();
            if name == "-.slice" {
                break;
            }
            parts.push(escaped(name));
            at = self.slice_of(unit);
        }
        parts.reverse();
        parts.join("/")
    }

    /// Makes a unit's control group, and those it is in. Its path.
    pub(super) fn realize_group(&mut self, id: UnitId) -> Result<String> {
        if let Some(path) = self.unit(id).runtime.cgroup.clone() {
            return Ok(path);
        }
        let mut chain = vec![id];
        while let Some(slice) = self.slice_of(*chain.last().unwrap_or(&id))
            && chain.len() < DEEPEST
        {
            chain.push(slice);
        }
        for unit in chain.into_iter().rev() {
            if self.unit(unit).runtime.cgroup.is_some() {
                continue;
            }
            let path = self.group_path(unit);
            let config = std::rc::Rc::clone(&self.unit(unit).config);
            if let Some(limits) = config.cgroup() {
                self.sys.make_group(&path, limits)?;
            }
            self.groups.insert(path.clone(), unit);
            self.unit_mut(unit).runtime.cgroup = Some(path);
        }
        Ok(self.group_path(id))
    }

    /// Applies the limits of a unit's configuration to the group it has.
    pub(super) fn limit_group(&mut self, id: UnitId) {
        let Some(path) = self.unit(id).runtime.cgroup.clone() else { return };
        let config = std::rc::Rc::clone(&self.unit(id).config);
        if let Some(limits) = config.cgroup()
            && let Err(error) = self.sys.make_group(&path, limits)
        {
            self.log(Priority::Warning, id, &error.to_string());
        }
    }

    /// Removes its control group, if nothing is in it.
    pub(super) fn drop_group(&mut self, id: UnitId) {
        let Some(path) = self.unit(id).runtime.cgroup.clone() else { return };
        if path.is_empty() || self.sys.group_populated(&path) {
            return;
        }
        self.sys.remove_group(&path);
        self.groups.remove(&path);
        self.unit_mut(id).runtime.cgroup = None;
    }

    /// Whether a process is in its group.
    pub(super) fn group_populated(&self, id: UnitId) -> bool {
        self.unit(id).runtime.cgroup.as_ref().is_some_and(|path| self.sys.group_populated(path))
    }

    /// Whether a group is the unit's, or below it.
    pub(super) fn owns_group(&self, id: UnitId, group: &str) -> bool {
        self.unit(id).runtime.cgroup.as_ref().is_some_and(|own| {
            group == own || group.strip_prefix(own.as_str()).is_some_and(|rest| own.is_empty() || rest.starts_with('/'))
        })
    }

    /// The unit a group belongs to: that of the nearest group above that is a unit's.
    pub fn unit_of_group(&self, group: &str) -> Option<UnitId> {
        let mut at = group;
        loop {
            if let Some(id) = self.groups.get(at) {
                return Some(*id);
            }
            at = at.rsplit_once('/')?.0;
        }
    }

    /// Takes up a group that was there before this manager.
    pub(super) fn adopt_group(&mut self, id: UnitId) {
        if let Some(path) = self.unit(id).runtime.cgroup.clone() {
            self.groups.insert(path, id);
        }
    }

    /// The last process of a group is gone.
    pub(super) fn group_empty(&mut self, group: &str) {
        let Some(id) = self.groups.get(group).copied() else { return };
        // It may have got another process since the kernel told.
        if self.sys.group_populated(group) {
            return;
        }
        match self.unit(id).unit_type() {
            UnitType::Slice => {}
            _ => kinds::group_empty(self, id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_would_take_for_its_own_is_escaped() {
        for (name, group) in [
            ("ssh.service", "ssh.service"),
            ("cpu.service", "_cpu.service"),
            ("cgroup.service", "_cgroup.service"),
            ("_x.service", "__x.service"),
            (".x.service", "_.x.service"),
            ("cpus.service", "cpus.service"),
        ] {
            assert_eq!(escaped(name), group);
        }
    }
}
