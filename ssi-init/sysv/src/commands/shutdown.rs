// SPDX-License-Identifier: GPL-2.0-or-later
//! `shutdown`: the machine goes down now or at a time, with a message to the users (shutdown(8)).

use super::{down, waiter};
use crate::action::Action;
use crate::logind::Logind;
use crate::schedule::{self, Schedule};
use crate::wall;
use crate::when::When;
use anyhow::{Context as _, Result, ensure};
use clap::{ArgAction, Parser};
use jiff::Zoned;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, Parser)]
#[command(about = "Stop all services and the machine, now or at a time", disable_help_flag = true)]
pub(super) struct Shutdown {
    /// now, +MINUTES, or HH:MM on the clock; +1 if nothing is said
    #[arg(value_name = "TIME")]
    time: Option<String>,
    /// What the users are told. With -c it comes first, there is no TIME then
    #[arg(value_name = "MESSAGE")]
    message: Vec<String>,
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Leave the power on
    #[arg(short = 'H', long, overrides_with_all = ["poweroff", "reboot"])]
    halt: bool,
    /// Switch the power off, which is also what is done if nothing is said
    #[arg(short = 'P', long, overrides_with_all = ["halt", "reboot"])]
    poweroff: bool,
    /// Start the machine again
    #[arg(short = 'r', long, overrides_with_all = ["halt", "poweroff", "down"])]
    reboot: bool,
    /// Switch the power off, unless -H is there too
    #[arg(short = 'h', overrides_with = "reboot")]
    down: bool,
    /// Warn the users and do nothing
    #[arg(short = 'k')]
    warn_only: bool,
    /// Tell the users nothing
    #[arg(long)]
    no_wall: bool,
    /// Take back what is to come
    #[arg(short = 'c')]
    cancel: bool,
    /// Show what is to come
    #[arg(long, conflicts_with_all = ["cancel", "warn_only"])]
    show: bool,
    /// sysvinit's: how long services have is each unit's own matter
    #[arg(short = 't', hide = true, value_name = "SECONDS")]
    patience: Option<String>,
    #[arg(short = 'a', hide = true)]
    allowed: bool,
    #[arg(short = 'f', hide = true)]
    no_fsck: bool,
    #[arg(short = 'F', hide = true)]
    fsck: bool,
}

impl Shutdown {
    fn action(&self) -> Action {
        if self.halt {
            Action::Halt
        } else if self.reboot {
            Action::Reboot
        } else {
            Action::PowerOff
        }
    }
}

pub(super) fn run(asked: &Shutdown) -> Result<ExitCode> {
    if asked.show {
        return Ok(show());
    }
    if asked.cancel {
        // With -c, there is no time to be given: all words are the message.
        let words: Vec<&str> = asked.time.iter().chain(&asked.message).map(String::as_str).collect();
        cancel(&words.join(" "), !asked.no_wall)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Zoned::now();
    let when = match When::read(asked.time.as_deref().unwrap_or("+1"), &now) {
        Ok(when) => when,
        Err(error) => {
            eprintln!("shutdown: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let message = asked.message.join(" ");
    let (action, wall) = (asked.action(), !asked.no_wall);
    match when {
        When::Now if asked.warn_only => {
            if wall {
                let sentence = format!("{} now!", action.sentence());
                let text = if message.is_empty() { sentence } else { format!("{message}\n{sentence}") };
                wall::write(&text, &now);
            }
        }
        When::Now => {
            if action == Action::Reboot {
                down::leave_reboot_argument(None)?;
            }
            down::in_order(action, &message, wall)?;
        }
        When::At(time) => {
            plan(&Schedule { time: SystemTime::from(time.timestamp()), action, dry: asked.warn_only, wall, message })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has somebody wait for the time: logind, or where it is not or cannot, a process of ours.
fn plan(schedule: &Schedule) -> Result<()> {
    match Logind::connect()? {
        Some(logind) => match logind.schedule(schedule) {
            Ok(()) => {}
            Err(error) if down::is_root() => {
                eprintln!("shutdown: {error}; a process waits for the time instead");
                wait_ourselves(schedule)?;
            }
            Err(error) => return Err(error.into()),
        },
        None => {
            ensure!(down::is_root(), "there is no logind to be asked, so only root may do that");
            wait_ourselves(schedule)?;
        }
    }
    eprintln!("{}", announcement(schedule));
    Ok(())
}

fn wait_ourselves(schedule: &Schedule) -> Result<()> {
    let folder = Path::new(schedule::FOLDER);
    schedule.store(folder).with_context(|| format!("keeping the time in {}", folder.display()))?;
    if let Err(error) = waiter::start() {
        // Nobody waits: what is kept would be a lie.
        let _ = schedule::cancel(folder);
        return Err(error).context("starting the process that waits for the time");
    }
    if schedule.wall {
        wall::write(&schedule.warning(), &Zoned::now());
    }
    Ok(())
}

fn cancel(message: &str, wall: bool) -> Result<()> {
    let mut by_logind = false;
    let mut refused = None;
    match Logind::connect()? {
        Some(logind) => match logind.cancel(message, wall) {
            Ok(there) => by_logind = there,
            Err(error) => refused = Some(error),
        },
        None => ensure!(down::is_root(), "there is no logind to be asked, so only root may do that"),
    }
    if !down::is_root() {
        return refused.map_or(Ok(()), |error| Err(error.into()));
    }
    let folder = Path::new(schedule::FOLDER);
    let by_us = schedule::cancel(folder).with_context(|| format!("forgetting what is kept in {}", folder.display()))?;
    if by_us && !by_logind && wall {
        let sentence = "The system shutdown has been cancelled.";
        let text = if message.is_empty() { sentence.to_owned() } else { format!("{message}\n{sentence}") };
        wall::write(&text, &Zoned::now());
    }
    match refused {
        // It was not logind's, then.
        Some(_) if by_us => Ok(()),
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn show() -> ExitCode {
    match Schedule::load(Path::new(schedule::FOLDER)) {
        Some(schedule) => {
            println!("{}", announcement(&schedule));
            ExitCode::SUCCESS
        }
        None => {
            println!("No shutdown is to come.");
            ExitCode::FAILURE
        }
    }
}

fn announcement(schedule: &Schedule) -> String {
    let what = match (schedule.dry, schedule.action) {
        (true, _) => "A warning of a shutdown that is none",
        (false, Action::PowerOff) => "Shutdown",
        (false, Action::Reboot) => "Reboot",
        (false, Action::Halt) => "Halt",
    };
    format!("{what} scheduled for {}, use 'shutdown -c' to cancel.", schedule.local_time())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn action(words: &str) -> Action {
        let definition = super::super::Name::Shutdown.definition();
        let matches = definition.try_get_matches_from(std::iter::once("shutdown").chain(words.split_whitespace()));
        Shutdown::from_arg_matches(&matches.expect(words)).expect(words).action()
    }

    #[test]
    fn the_last_word_counts_but_h_leaves_a_halt_a_halt() {
        for (words, expected) in [
            ("", Action::PowerOff),
            ("-h now", Action::PowerOff),
            ("-H -h", Action::Halt),
            ("-hH now", Action::Halt),
            ("-r -h", Action::PowerOff),
            ("-h -r +5 a message", Action::Reboot),
            ("-H -r", Action::Reboot),
            ("-r -P", Action::PowerOff),
            ("-P -H", Action::Halt),
            ("-r -r -t 5 -f now", Action::Reboot),
        ] {
            assert_eq!(action(words), expected, "{words}");
        }
    }
}
