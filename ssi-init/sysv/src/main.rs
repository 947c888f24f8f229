// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-sysv`: init, telinit, shutdown, halt, poweroff, reboot, runlevel and service in one program, which is called by
//! the name of a link to it or by its first argument. [`ssi_sysv::commands`] is all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ssi_sysv::commands::run(std::env::args_os())
}
