// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi completions`.

use clap::CommandFactory;

use crate::cli::{Completions, Ssi};
use crate::outcome::{Ending, Exit};
use crate::output::Output;

/// Writes the completions for a shell.
///
/// # Errors
/// When they cannot be written.
pub fn run(args: &Completions, out: &Output) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Ssi::command(), "ssi", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
