// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl list`

use serde_json::json;

use super::{Env, Outcomes, Status, tell};
use crate::cli::List as Args;
use crate::inventory::{Entry, Mode, escape};
use crate::path::shown;
use crate::store;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    for entry in store::read(&env.site.root)? {
        let entry = entry?;
        if args.json {
            tell(&as_json(&entry).to_string());
        } else {
            let whose = match &entry.mode {
                Mode::Each => "each".to_owned(),
                Mode::Default => "default".to_owned(),
                Mode::Only(value) => format!("only {value}"),
            };
            let kept = if entry.kept { "  (removed; copies are kept)" } else { "" };
            tell(&format!("{}  {{{}}}  {whose}  {}{kept}", entry.path, entry.var, entry.origin));
        }
    }
    Ok(Status::Done)
}

/// An entry for programs. A path that is no UTF-8 is shown as for people, and given exactly as in the inventory.
pub(super) fn as_json(entry: &Entry) -> serde_json::Value {
    let (mode, only) = match &entry.mode {
        Mode::Each => ("each", None),
        Mode::Default => ("default", None),
        Mode::Only(value) => ("only", Some(value)),
    };
    let bytes = entry.path.as_bytes();
    let escaped = std::str::from_utf8(bytes).is_err().then(|| escape(bytes));
    json!({
        "path": path_json(bytes),
        "path_escaped": escaped,
        "var": entry.var.as_str(),
        "mode": mode,
        "only": only,
        "kind": entry.kind,
        "uid": entry.uid,
        "gid": entry.gid,
        "perm": format!("{:04o}", entry.perm),
        "made": entry.made.to_string(),
        "origin": entry.origin,
        "kept": entry.kept,
    })
}

/// A path for programs: as it is where it is UTF-8, else shown.
pub(super) fn path_json(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| shown(bytes), str::to_owned)
}
