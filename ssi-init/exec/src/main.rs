// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-exec`: the process between the manager and a unit's program. See the library's first page.
//!
//! Not for use by hand: it reads its plan at descriptor 3, where the manager puts it.

use ssi_exec::step::Step;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A defect must look like one: 255/EXCEPTION, and never like an exit of the unit's program.
    let status = std::panic::catch_unwind(ssi_exec::run::main).unwrap_or(Step::Exception.exit_status());
    ExitCode::from(status)
}
