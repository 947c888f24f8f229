// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl exec`: a program with a node's view of the tree. Its mounts are its own, nobody else sees them.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Env, Failure, Outcomes};
use crate::cli::Exec as Args;
use crate::mounts;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let node = env.site.node()?;
    let context = env.site.contexts()?.remove(&node);
    let context = context.ok_or_else(|| Failure::Failed(format!("there is no node {node} in cluster.toml")))?;
    mounts::leave_others()?;
    mounts::activate(&env.site.root, &context)?;
    if !env.site.root.is_machine() {
        let into = env.site.root.directory();
        rustix::process::chroot(into)
            .and_then(|()| rustix::process::chdir("/"))
            .map_err(|error| Failure::Failed(format!("cannot enter {}: {error}", into.display())))?;
    }
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Failure::Usage("there is no program to run".to_owned()));
    };
    let error = Command::new(program).args(arguments).env("SSI_NODE", node.to_string()).exec();
    // The statuses of env(1) and the shells.
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    eprintln!("cdsl: cannot run {}: {error}", program.display());
    Ok(super::Status::Of(status))
}
