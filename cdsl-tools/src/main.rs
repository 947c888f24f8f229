// SPDX-License-Identifier: GPL-2.0-or-later
//! The program `cdsl`. All of it is in the library [`cdsl_tools`]; see there.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cdsl_tools::commands::run(cdsl_tools::cli::Cdsl::parse())
}
