// SPDX-License-Identifier: GPL-2.0-or-later
//! Control groups.

use ssi_launch::cgroup::CgroupError;
use ssi_manager::core::system::{Except, Priority, Result, SystemError};
use ssi_unit::config::CgroupConfig;

use super::Inner;

/// What the tree refused, as the core takes it.
pub(super) fn refused(error: CgroupError) -> SystemError {
    SystemError {
        what: format!("{} {}", error.attempt, error.path.display()),
        said: error.errno.to_string(),
        errno: error.errno.raw_os_error(),
    }
}

impl Inner {
    pub(super) fn make_group(&mut self, cgroup: &str, limits: &CgroupConfig) -> Result<()> {
        let warnings = self.groups.make(cgroup, limits).map_err(refused)?;
        if !warnings.is_empty() {
            self.log(Priority::Warning, None, &format!("control group {cgroup}: {}", warnings.join("; ")));
        }
        // The root has no file that tells, and is never empty.
        if cgroup.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.groups_watch.add(cgroup) {
            self.log(Priority::Warning, None, &format!("will not be told when its last process ends: {error}"));
        }
        Ok(())
    }

    pub(super) fn remove_group(&mut self, cgroup: &str) {
        self.groups_watch.remove(cgroup);
        if let Err(error) = self.groups.remove(cgroup) {
            self.log(Priority::Debug, None, &format!("{error}; it stays for now"));
        }
    }

    pub(super) fn kill_group(&mut self, cgroup: &str, signal: i32, except: &Except) -> Result<usize> {
        let except: Vec<u32> = except.pids.iter().map(|pid| pid.0).collect();
        self.groups.kill(cgroup, signal, &except).map_err(refused)
    }
}
