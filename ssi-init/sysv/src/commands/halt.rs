// SPDX-License-Identifier: GPL-2.0-or-later
//! `halt`, `poweroff` and `reboot`: the machine goes down now (halt(8)).

use super::down::{self, AtOnce};
use crate::action::Action;
use crate::utmp::{self, Event};
use anyhow::{Context as _, Result};
use clap::{ArgAction, Parser};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
pub(super) struct Halt {
    /// What the boot loader or the firmware is told; for reboot alone
    #[arg(value_name = "ARGUMENT")]
    argument: Option<String>,
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Stop the machine and leave the power on
    #[arg(long, overrides_with = "reboot")]
    halt: bool,
    /// Stop the machine and switch the power off
    #[arg(short, long)]
    poweroff: bool,
    /// Start the machine again
    #[arg(long, overrides_with = "halt")]
    reboot: bool,
    /// Have the kernel do it at once: nothing is stopped or unmounted. Twice is the same
    #[arg(short, long, action = ArgAction::Count)]
    force: u8,
    /// Do nothing but write the record of a shutdown to /var/log/wtmp
    #[arg(short, long)]
    wtmp_only: bool,
    /// Do not write that record
    #[arg(short = 'd', long)]
    no_wtmp: bool,
    /// With -f: do not wait until what was written is on the disks
    #[arg(short, long)]
    no_sync: bool,
    /// Tell the users nothing
    #[arg(long)]
    no_wall: bool,
    /// sysvinit's: network interfaces and disks are the kernel's and the units' to bring down
    #[arg(short = 'i', hide = true)]
    interfaces: bool,
    #[arg(short = 'h', hide = true)]
    harddisks: bool,
}

pub(super) fn about(action: Action) -> &'static str {
    match action {
        Action::PowerOff => "Stop all services and switch the machine off",
        Action::Reboot => "Stop all services and start the machine again",
        Action::Halt => "Stop all services and the machine, and leave the power on",
    }
}

/// The way down of a command that is called by the name of one, and given options that name others: `halt -p` switches
/// off, but `reboot -p` reboots.
fn action(called: Action, halt: &Halt) -> Action {
    if halt.halt {
        Action::Halt
    } else if halt.reboot || called == Action::Reboot {
        Action::Reboot
    } else if halt.poweroff {
        Action::PowerOff
    } else {
        called
    }
}

pub(super) fn run(called: Action, halt: &Halt) -> Result<ExitCode> {
    let action = action(called, halt);
    if halt.argument.is_some() && action != Action::Reboot {
        eprintln!("{}: there is nobody to tell an argument to but at a reboot", called.word());
        return Ok(ExitCode::from(2));
    }
    if halt.wtmp_only {
        if !halt.no_wtmp {
            utmp::record(&Event::Shutdown, true).context("writing the record of a shutdown")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let argument = halt.argument.as_deref();
    if halt.force > 0 {
        down::at_once(action, AtOnce { sync: !halt.no_sync, record: !halt.no_wtmp }, argument)?;
    } else {
        if action == Action::Reboot {
            down::leave_reboot_argument(argument)?;
        }
        down::in_order(action, "", !halt.no_wall)?;
    }
    Ok(ExitCode::SUCCESS)
}
