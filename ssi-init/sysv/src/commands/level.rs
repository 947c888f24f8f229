// SPDX-License-Identifier: GPL-2.0-or-later
//! `runlevel`: the run level before, and the one now (runlevel(8)).

use super::terminal;
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
    let levels = match from_environment(|variable| env::var(variable).ok()).or_else(utmp::levels) {
        Some(levels) => Some(levels),
        None => from_manager()?,
    };
    match levels {
        Some(levels) => {
            terminal::answer(levels);
            Ok(ExitCode::SUCCESS)
        }
        None => {
            terminal::answer("unknown");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What the level before was counts only beside what is now.
fn from_environment(value: impl Fn(&str) -> Option<String>) -> Option<Levels> {
    let character = |variable| value(variable)?.chars().next().filter(char::is_ascii_graphic);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(now: Option<&str>, before: Option<&str>) -> Option<String> {
        let value = |variable: &str| match variable {
            "RUNLEVEL" => now.map(str::to_owned),
            "PREVLEVEL" => before.map(str::to_owned),
            _ => None,
        };
        from_environment(value).map(|levels| levels.to_string())
    }

    #[test]
    fn the_environment_of_a_script_tells_both_levels() {
        assert_eq!(said(Some("3"), Some("5")).as_deref(), Some("5 3"));
        assert_eq!(said(Some("3"), Some("N")).as_deref(), Some("N 3"));
        assert_eq!(said(Some("S"), None).as_deref(), Some("N S"));
        assert_eq!(said(Some("35"), Some("")).as_deref(), Some("N 3"));
        for now in [None, Some(""), Some(" "), Some("\u{7}"), Some("ä")] {
            assert_eq!(said(now, Some("2")), None, "{now:?}");
        }
    }
}
