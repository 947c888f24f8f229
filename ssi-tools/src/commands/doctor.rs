// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi doctor`.

use crate::cli::{Doctor, Places};
use crate::doctor::{self, Level};
use crate::outcome::{Ending, Exit};
use crate::output::Output;

/// Checks, and tells what was found.
///
/// # Errors
/// When that cannot be written; what is wrong with the cluster is no error of this command.
pub async fn run(args: &Doctor, places: &Places, out: &Output) -> Ending {
    let findings = doctor::checks::all(&doctor::facts::gather(places).await);
    if args.json {
        out.json(&findings)?;
    } else {
        out.text(&doctor::text(&findings, out.paint))?;
    }
    let failed = findings.iter().any(|f| f.level == Level::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
