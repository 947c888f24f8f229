// SPDX-License-Identifier: GPL-2.0-or-later
//! `cdsl revert --all`

use super::{Env, Outcomes, Status};
use crate::cli::Revert as Args;
use crate::store;

pub(super) fn run(env: &Env, args: &Args) -> Outcomes {
    let lock = env.lock_unless(args.dry_run)?;
    let mut entries = store::read(&env.site.root)?.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| !entry.kept);
    let steps = super::remove::plan(env, &entries, args.from.as_deref(), args.purge, args.force)?;
    let outcome = env.carry_out(lock.as_ref(), &steps)?;
    super::remove::tell_removed(env, &steps, &outcome.changed);
    super::remove::undivert(env, &steps, &outcome.changed);
    if !args.dry_run {
        env.say(&format!("{} CDSLs are shared files again, and none is left", outcome.changed.len()));
    }
    Ok(Status::Done)
}
