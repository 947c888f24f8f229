// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl own`

use super::{Env, Outcomes, Status};
use crate::cli::Own as Args;
use crate::ops::plan_own;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let lock = env.lock_unless(args.dry_run)?;
    let mut steps = Vec::new();
    for entry in env.entries(&args.paths)? {
        let value = env.site.own_value(&entry.var)?;
        match plan_own(&env.site, &entry, &value)? {
            Some(step) => steps.push(step),
            None => env.say(&format!("{}: {{{}}} {value} has a copy of its own already", entry.path, entry.var)),
        }
    }
    let outcome = env.carry_out(lock.as_ref(), &steps)?;
    for path in &outcome.changed {
        env.say(&format!("{path}: this node has a copy of its own now"));
    }
    Ok(Status::Done)
}
