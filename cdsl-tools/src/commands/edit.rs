// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl edit`: an editor for a node's copy.

use std::ffi::OsString;
use std::process::Command;

use super::copies::Copy;
use super::{Env, Failure, Outcomes, Status};
use crate::cli::Edit as Args;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let entry = env.entry(&args.path)?;
    let copy = Copy::own(env, &entry)?;
    if copy.shares {
        return Err(Failure::Refused(format!(
            "{path}: node {node} shares the template's content with others; `cdsl own --node {node} {path}` gives it a \
             copy of its own first",
            path = entry.path,
            node = env.site.node()?,
        )));
    }
    if !copy.there {
        let shown = env.site.root.shown(&copy.at);
        return Err(Failure::Refused(format!("{shown} is not there; `cdsl own` makes it")));
    }
    if copy.nodes.len() > 1 {
        env.say(&format!("{} has one copy for {}", entry.path, copy.owner(&entry)));
    }
    let editor = editor();
    // An editor's setting may have arguments in it, as everywhere.
    let ended = Command::new("sh")
        .args(["-c", "exec $0 \"$1\""])
        .arg(&editor)
        .arg(copy.file(env))
        .status()
        .map_err(|error| Failure::Failed(format!("cannot run {}: {error}", editor.display())))?;
    if !ended.success() {
        eprintln!("cdsl: {} ended with {ended}", editor.display());
    }
    Ok(if ended.success() { Status::Done } else { Status::Found })
}

/// What the user wants, else what the distribution has.
fn editor() -> OsString {
    let set = |name: &str| std::env::var_os(name).filter(|editor| !editor.is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| {
        // Debian's alternative; POSIX has vi.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let debian = std::env::split_paths(&path).any(|directory| directory.join("editor").exists());
        if debian { "editor" } else { "vi" }.into()
    })
}
