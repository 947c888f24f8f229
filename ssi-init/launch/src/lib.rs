// SPDX-License-Identifier: GPL-2.0-or-later
//! From a unit's settings to a running process, and the control group it runs in.
pub mod cgroup;
mod environment;
mod launcher;
mod plan;
mod request;
mod runtime;

pub use launcher::Launcher;
pub use request::{LaunchError, Launched, Progress, Reports, Request};
pub use ssi_exec::plan::Messages;
pub use ssi_exec::report::{Failure, Outcome, Report};
pub use ssi_exec::spawn::{ChildOf, SpawnError};

/// The settings of a unit that confine or protect it and that the executor does not hold to, at least not wholly: the
/// directive, and what is missing.
pub fn shortfalls(exec: &ssi_unit::config::ExecConfig) -> Vec<(String, &'static str)> {
    use ssi_exec::plan::Support;
    let missing = |protection: ssi_exec::plan::Protection| match protection.supported() {
        Support::Full => None,
        Support::Partial(what) | Support::None(what) => Some((protection.directive().to_owned(), what)),
    };
    plan::all_protections(exec, true).into_iter().filter_map(missing).collect()
}
