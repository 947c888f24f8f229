// SPDX-License-Identifier: GPL-2.0-or-later
//! `telinit` and `init`: another run level, or units read anew (telinit(8)).

use super::{down, terminal};
use crate::manager::{Manager, ManagerError, Verb};
use crate::runlevel::Request;
use anyhow::{Context as _, Result};
use clap::{ArgAction, Parser};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Change the run level", disable_help_flag = true)]
pub(super) struct Telinit {
    /// 0 switches off, 6 reboots; 1 and s are the rescue mode, 2, 3 and 4 many users, 5 many users and a graphical
    /// login; q reads the units anew, u executes the manager anew
    #[arg(value_name = "LEVEL")]
    level: String,
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Tell the users nothing
    #[arg(long)]
    no_wall: bool,
    /// sysvinit's: how long services have is each unit's own matter
    #[arg(short = 't', hide = true, value_name = "SECONDS")]
    patience: Option<String>,
}

pub(super) fn run(called: &str, asked: &Telinit) -> Result<ExitCode> {
    let Some(request) = Request::read(&asked.level) else {
        terminal::remark(format_args!("{called}: \"{}\" is none of 0 to 6, s, q and u", asked.level));
        return Ok(ExitCode::from(2));
    };
    match request {
        Request::Down(action) => down::in_order(action, "", !asked.no_wall)?,
        Request::Isolate { own, usual } => {
            let manager = Manager::connect()?;
            let target = match own {
                Some(own) if is_there(&manager, own)? => own,
                _ => usual,
            };
            // Not waited for: the caller's own session may be what ends.
            manager
                .queue(Verb::Start, target, "isolate")
                .with_context(|| format!("going to run level {}, which is {target}", asked.level))?;
        }
        Request::Reload => Manager::connect()?.reload()?,
        Request::Reexecute => Manager::connect()?.reexecute()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_there(manager: &Manager, target: &str) -> Result<bool, ManagerError> {
    Ok(manager.state(target)?.load != "not-found")
}
