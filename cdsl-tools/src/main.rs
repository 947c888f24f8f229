// SPDX-License-Identifier: GPL-2.0-or-later
//! The program `cdsl`. All of it is in the library [`cdsl_tools`]; see there.

use std::process::ExitCode;

use cdsl_tools::commands::compat;
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match compat::called_as(&arguments) {
        Some(name) => compat::run(name, arguments),
        None => cdsl_tools::commands::run(cdsl_tools::cli::Cdsl::parse_from(arguments)),
    }
}
