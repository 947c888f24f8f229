// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl edit`: an editor for a node's copy.

use std::process::Command;

use super::{Env, Failure, Outcomes, Status};
use crate::cli::Edit as Args;
use crate::layout::copy_of;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let entry = env.entry(&args.path)?;
    let value = env.site.own_value(&entry.var)?;
    let copy = copy_of(&entry.var, &value, &entry.path);
    if !env.site.root.exists(&copy).map_err(|error| Failure::Failed(error.to_string()))? {
        return Err(Failure::Refused(format!("{} is not there; `cdsl own` makes it", env.site.root.shown(&copy))));
    }
    if env.site.root.readlink(&copy).map_err(|error| Failure::Failed(error.to_string()))?.as_deref()
        == Some(crate::layout::template_of(&entry.path).as_bytes())
    {
        return Err(Failure::Refused(format!(
            "{}: this node shares the template's content; `cdsl own {0}` gives it a copy of its own first",
            entry.path
        )));
    }
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os).unwrap_or_else(|| "editor".into());
    // An editor's setting may have arguments in it, as everywhere.
    let ended = Command::new("sh")
        .args(["-c", "exec $0 \"$1\""])
        .arg(&editor)
        .arg(env.site.root.directory().join(copy.relative()))
        .status()
        .map_err(|error| Failure::Failed(format!("cannot run {}: {error}", editor.display())))?;
    Ok(if ended.success() { Status::Done } else { Status::Found })
}
