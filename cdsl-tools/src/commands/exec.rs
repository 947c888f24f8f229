// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl exec`: a program with a node's view of the tree. Its mounts are its own, nobody else sees them.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::context::own;
use super::{Env, Failure, Outcomes, Status};
use crate::cli::Exec as Args;
use crate::mounts;
use crate::tree::Root;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let (node, context) = own(env)?;
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Failure::Usage("there is no program to run".to_owned()));
    };
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Refused("only root may give a program other mounts than its own".to_owned()));
    }
    // Where the user is; a directory that was removed meanwhile has no name.
    let here = std::env::current_dir().ok();
    mounts::leave_others()?;
    // The old descriptor leads into the mounts that were left.
    let root = Root::open(env.site.root.directory())?;
    mounts::activate(&root, &context)?;
    if root.is_machine() {
        stay(here.as_deref());
    } else {
        let into = root.directory();
        rustix::process::chroot(into)
            .and_then(|()| rustix::process::chdir("/"))
            .map_err(|error| Failure::Failed(format!("cannot enter {}: {error}", into.display())))?;
    }
    let error = Command::new(program).args(arguments).env("SSI_NODE", node.to_string()).exec();
    // The statuses of env(1) and the shells.
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    eprintln!("cdsl: cannot run {}: {error}", program.display());
    Ok(Status::Of(status))
}

/// Goes to where the user is once more: a directory that is node-specific is that node's now.
fn stay(here: Option<&Path>) {
    let Some(here) = here else { return };
    if let Err(error) = std::env::set_current_dir(here) {
        eprintln!("cdsl: {} is not there on that node ({error}); the program starts in /", here.display());
        // The root is always there.
        let _ = std::env::set_current_dir("/");
    }
}
