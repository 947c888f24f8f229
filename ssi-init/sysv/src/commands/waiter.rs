// SPDX-License-Identifier: GPL-2.0-or-later
//! `await-shutdown`: the process that `shutdown` leaves behind where there is no logind. It waits for the time in
//! /run/systemd/shutdown/scheduled and goes down then; see [`crate::schedule`].

use super::down;
use crate::schedule::{self, Waited};
use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

pub(super) const NAME: &str = "await-shutdown";

#[derive(Debug, Parser)]
#[command(about = "Wait for the time that shutdown has set", hide = true)]
pub(super) struct Await {}

/// This program, even if it was replaced on the disk meanwhile: proc(5).
const OWN: &str = "/proc/self/exe";

/// Leaves the process behind.
pub(super) fn start() -> io::Result<()> {
    let mut command = Command::new(OWN);
    // This process may be called by a link's name, which would be taken for the command.
    command.arg0(super::PROGRAM).arg(NAME).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

pub(super) fn run() -> Result<ExitCode> {
    ensure!(down::is_root(), "only root may do that");
    // Its parent's session, terminal and job control end without it. It fails only where it leads a group already.
    let _ = rustix::process::setsid();
    let outcome = wait();
    if let Err(error) = &outcome {
        say(&format!("{error:#}"));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn wait() -> Result<()> {
    let folder = Path::new(schedule::FOLDER);
    let waited = schedule::wait(folder).with_context(|| format!("waiting for the time in {}", folder.display()))?;
    let Waited::Due(schedule, no_login) = waited else { return Ok(()) };
    if schedule.dry {
        schedule::cancel(folder)?;
        return Ok(());
    }
    let gone_down = down::in_order(schedule.action, &schedule.message, schedule.wall);
    if gone_down.is_ok() {
        // Whoever goes down now wants nobody in.
        no_login.keep();
    } else {
        schedule::cancel(folder)?;
    }
    gone_down.with_context(|| format!("the time has come to {} the machine", schedule.action.word()))
}

/// To the kernel's log, which the journal reads: nobody is at its terminal.
fn say(sentence: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Severity "error" (3) of facility "daemon" (3): syslog(3).
        let _ = log.write_all(format!("<27>{}: {sentence}\n", super::PROGRAM).as_bytes());
    }
}
