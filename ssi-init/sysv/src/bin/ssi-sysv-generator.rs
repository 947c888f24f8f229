// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-sysv-generator NORMAL EARLY LATE`: makes units of the init scripts in /etc/init.d. The manager runs it at boot
//! and at each daemon-reload; `ssi_sysv::generator` is all of it.

use ssi_sysv::generator::folders::Sources;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    // systemd.generator(7): three folders; with one, all three are the same.
    let late = match (folders.len(), folders.pop()) {
        (1 | 3, Some(late)) => late,
        _ => {
            say("Usage: ssi-sysv-generator [NORMAL EARLY] LATE\nUnits are written to the folder LATE.");
            return ExitCode::from(2);
        }
    };
    // Units are for everyone to read, whatever the caller's mask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let plan = Sources::from_environment().plan();
    for remark in &plan.remarks {
        say(format_args!("ssi-sysv-generator: {remark}"));
    }
    match plan.write(&late) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("ssi-sysv-generator: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// To standard error. Whoever reads it may be gone, as the manager's log is early at boot; units are made even so.
fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
