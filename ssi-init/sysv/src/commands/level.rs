// SPDX-License-Identifier: GPL-2.0-or-later
//! `runlevel`: the run level before, and the one now (runlevel(8)).

use crate::manager::{Manager, ManagerError};
use crate::runlevel::{KNOWN_BY, Levels};
use crate::utmp;
use anyhow::Result;
use clap::{ArgAction, Parser};
use std::env;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Show the run level before, or N, and the one now", disable_help_flag = true)]
pub(super) struct Runlevel {
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(super) fn run() -> Result<ExitCode> {
    // A script of a run level is told by its environment; utmp may be about the next one already.
    let levels = match from_environment().or_else(utmp::levels) {
        Some(levels) => Some(levels),
        None => from_manager()?,
    };
    match levels {
        Some(levels) => {
            println!("{levels}");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("unknown");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn from_environment() -> Option<Levels> {
    let character = |variable| env::var(variable).ok()?.chars().next().filter(char::is_ascii_graphic);
    let previous = character("PREVLEVEL").filter(|previous| *previous != 'N');
    Some(Levels { previous, current: character("RUNLEVEL")? })
}

/// Where no utmp is kept, which many distributions have given up, the targets are what is known. What was before is not.
fn from_manager() -> Result<Option<Levels>> {
    let manager = match Manager::connect() {
        Err(ManagerError::Absent { .. }) => return Ok(None),
        outcome => outcome?,
    };
    for (target, level) in KNOWN_BY {
        if manager.state(target)?.active == "active" {
            return Ok(Some(Levels { previous: None, current: level }));
        }
    }
    Ok(None)
}
