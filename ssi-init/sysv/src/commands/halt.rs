// SPDX-License-Identifier: GPL-2.0-or-later
//! `halt`, `poweroff` and `reboot`: the machine goes down now (halt(8)).

use super::down::{self, AtOnce};
use super::terminal;
use crate::action::Action;
use crate::utmp::{self, Event};
use anyhow::{Context as _, Result};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Parser};
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
    #[arg(long)]
    halt: bool,
    /// Stop the machine and switch the power off
    #[arg(short, long)]
    poweroff: bool,
    /// Start the machine again
    #[arg(long)]
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

/// The way down of a command that is called by the name of one, and given options that name others, the last of which
/// counts. What would reboot is not made to switch off by `-p`, for which `reboot -p` is the usual case.
pub(super) fn action(called: Action, matches: &ArgMatches) -> Action {
    let typed = |id: &str| {
        let by_hand = matches.value_source(id) == Some(ValueSource::CommandLine);
        by_hand.then(|| matches.index_of(id)).flatten()
    };
    let options = [("halt", Action::Halt), ("poweroff", Action::PowerOff), ("reboot", Action::Reboot)];
    let mut options = options.map(|(id, action)| (typed(id), action));
    options.sort_by_key(|(place, _)| *place);
    options.into_iter().filter(|(place, _)| place.is_some()).fold(called, |so_far, (_, next)| match (so_far, next) {
        (Action::Reboot, Action::PowerOff) => Action::Reboot,
        (_, next) => next,
    })
}

pub(super) fn run(action: Action, halt: &Halt) -> Result<ExitCode> {
    if halt.argument.is_some() && action != Action::Reboot {
        terminal::remark(format_args!("{}: only a reboot takes an argument", action.word()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Name;
    use clap::FromArgMatches;

    fn read(called: Action, words: &str) -> (Action, Halt) {
        let given = std::iter::once(called.word()).chain(words.split_whitespace());
        let matches = Name::Halt(called).definition().try_get_matches_from(given).expect(words);
        (action(called, &matches), Halt::from_arg_matches(&matches).expect(words))
    }

    #[test]
    fn the_name_counts_unless_an_option_says_otherwise() {
        use Action::{Halt, PowerOff, Reboot};
        for (called, words, expected) in [
            (Halt, "", Halt),
            (PowerOff, "", PowerOff),
            (Reboot, "", Reboot),
            (Halt, "-p", PowerOff),
            (PowerOff, "--halt", Halt),
            (Reboot, "--halt", Halt),
            (Reboot, "-p", Reboot),
            (Halt, "--reboot -p", Reboot),
            (Halt, "-p --reboot", Reboot),
            (PowerOff, "--reboot --halt", Halt),
            (PowerOff, "--halt --reboot --halt", Halt),
            (Halt, "--halt -p", PowerOff),
            (Halt, "-p --halt", Halt),
            (Halt, "-fdnih", Halt),
        ] {
            assert_eq!(read(called, words).0, expected, "{} {words}", called.word());
        }
    }

    #[test]
    fn short_options_in_one_word() {
        let (_, halt) = read(Action::Reboot, "-fdn --no-wall -f bootloader");
        assert_eq!(halt.force, 2);
        assert!(halt.no_wtmp && halt.no_sync && halt.no_wall && !halt.wtmp_only);
        assert_eq!(halt.argument.as_deref(), Some("bootloader"));
    }
}
