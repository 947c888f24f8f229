// SPDX-License-Identifier: GPL-2.0-or-later
//! `shutdown`: the machine goes down now or at a time, with a message to the users (shutdown(8)).

use super::{down, terminal, waiter};
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

    /// With -c, there is no time to be given: all words are the message.
    fn words_of_cancel(&self) -> String {
        let words: Vec<&str> = self.time.iter().chain(&self.message).map(String::as_str).collect();
        words.join(" ")
    }
}

pub(super) fn run(asked: &Shutdown) -> Result<ExitCode> {
    if asked.show {
        return Ok(show());
    }
    if asked.cancel {
        cancel(&asked.words_of_cancel(), !asked.no_wall)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Zoned::now();
    let when = match When::read(asked.time.as_deref().unwrap_or("+1"), &now) {
        Ok(when) => when,
        Err(error) => {
            terminal::remark(format_args!("shutdown: {error}"));
            return Ok(ExitCode::from(2));
        }
    };
    let message = asked.message.join(" ");
    let (action, wall) = (asked.action(), !asked.no_wall);
    match when {
        When::Now if asked.warn_only => {
            ensure!(down::is_root(), "only root may write to the terminals of all");
            if wall {
                wall::write(&down::told(action, &message), &now);
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
                terminal::remark(format_args!("shutdown: {error}; a process waits for the time instead"));
                wait_ourselves(schedule)?;
            }
            Err(error) => return Err(error.into()),
        },
        None => {
            ensure!(down::is_root(), "there is no logind to be asked, so only root may do that");
            wait_ourselves(schedule)?;
        }
    }
    terminal::remark(announcement(schedule));
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
        let sentence = "The system shutdown has been cancelled.".to_owned();
        wall::write(&down::behind(message, sentence), &Zoned::now());
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
            terminal::answer(announcement(&schedule));
            ExitCode::SUCCESS
        }
        None => {
            terminal::remark("No shutdown is to come.");
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
    use std::time::{Duration, UNIX_EPOCH};

    fn read(words: &str) -> Shutdown {
        let definition = super::super::Name::Shutdown.definition();
        let matches = definition.try_get_matches_from(std::iter::once("shutdown").chain(words.split_whitespace()));
        Shutdown::from_arg_matches(&matches.expect(words)).expect(words)
    }

    #[test]
    fn the_time_comes_before_the_message() {
        let asked = read("-r +5 kernel update, -k back soon");
        assert_eq!(asked.time.as_deref(), Some("+5"));
        assert_eq!(asked.message, ["kernel", "update,", "back", "soon"]);
        assert!(asked.reboot && asked.warn_only && !asked.no_wall && !asked.cancel);
        let asked = read("--no-wall now -- -c");
        assert_eq!((asked.time.as_deref(), asked.message.as_slice()), (Some("now"), ["-c".to_owned()].as_slice()));
        assert!(asked.no_wall && !asked.cancel);
        assert_eq!(read("").time, None);
    }

    #[test]
    fn taking_back_has_a_message_and_no_time() {
        let asked = read("-c not today after all");
        assert!(asked.cancel);
        assert_eq!(asked.words_of_cancel(), "not today after all");
        assert_eq!(read("-c").words_of_cancel(), "");
        assert_eq!(read("+5 -c").words_of_cancel(), "+5");
    }

    #[test]
    fn what_is_to_come_is_announced() {
        let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let said = |action, dry| announcement(&Schedule { time, action, dry, wall: true, message: String::new() });
        assert!(said(Action::PowerOff, false).starts_with("Shutdown scheduled for "));
        assert!(said(Action::Reboot, false).starts_with("Reboot scheduled for "));
        assert!(said(Action::Halt, false).starts_with("Halt scheduled for "));
        assert!(said(Action::Halt, true).starts_with("A warning "));
        assert!(said(Action::Reboot, false).contains("2027-01-1"), "{}", said(Action::Reboot, false));
        assert!(said(Action::Reboot, false).ends_with(", use 'shutdown -c' to cancel."));
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
            assert_eq!(read(words).action(), expected, "{words}");
        }
    }
}
