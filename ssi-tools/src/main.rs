// SPDX-License-Identifier: GPL-2.0-or-later
//! The program `ssi`. All of it is in the library [`ssi_tools`]; see there.

use std::process::ExitCode;

fn main() -> ExitCode {
    ssi_tools::run::main(std::env::args_os().collect())
}
