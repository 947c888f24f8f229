// SPDX-License-Identifier: GPL-2.0-or-later
//! The commands, one module each.
//!
//! ```text
//!   argv[0], or the first argument behind "ssi-sysv"
//!     init, telinit           telinit    a run level, or units read anew; as process 1: ssi-init takes over
//!     halt, poweroff, reboot  halt   ─┐
//!     shutdown                shutdown ├─► down    the manager, logind, process 1 or the kernel is told
//!     await-shutdown          waiter ─┘            (started by shutdown, where no logind waits for the time)
//!     runlevel                level      what utmp, else the manager, knows
//!     service                 service    one unit or one script
//! ```
//! Exit statuses: 0 done, 1 failed, 2 wrong use; `service NAME status` has LSB's own.

mod down;
mod halt;
mod level;
mod service;
mod shutdown;
mod telinit;
mod waiter;

use crate::action::Action;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

/// The program's own name, behind which a command is named.
const PROGRAM: &str = "ssi-sysv";

/// Where process 1's program is installed. /proc, which would tell where this one is, may not be mounted yet.
const PROCESS_1: [&str; 2] = ["/usr/sbin/ssi-init", "/sbin/ssi-init"];

/// One of the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `init`: [`Name::Telinit`], unless it is process 1.
    Init,
    /// `telinit`.
    Telinit,
    /// `shutdown`.
    Shutdown,
    /// `halt`, `poweroff` and `reboot`.
    Halt(Action),
    /// `runlevel`.
    Runlevel,
    /// `service`.
    Service,
    /// `await-shutdown`: for `shutdown` itself, not for people.
    AwaitShutdown,
}

impl Name {
    /// What people call.
    pub const ALL: [Name; 8] = [
        Name::Init,
        Name::Telinit,
        Name::Shutdown,
        Name::Halt(Action::Halt),
        Name::Halt(Action::PowerOff),
        Name::Halt(Action::Reboot),
        Name::Runlevel,
        Name::Service,
    ];

    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Name::Init => "init",
            Name::Telinit => "telinit",
            Name::Shutdown => "shutdown",
            Name::Halt(action) => action.word(),
            Name::Runlevel => "runlevel",
            Name::Service => "service",
            Name::AwaitShutdown => waiter::NAME,
        }
    }

    /// The opposite of [`Name::word`].
    pub fn from_word(word: &OsStr) -> Option<Name> {
        Name::ALL.into_iter().chain([Name::AwaitShutdown]).find(|name| word == name.word())
    }

    /// The command's definition, for its usage, manual page and completions.
    pub fn definition(self) -> clap::Command {
        let definition = match self {
            Name::Init | Name::Telinit => telinit::Telinit::command(),
            Name::Shutdown => shutdown::Shutdown::command(),
            Name::Halt(action) => halt::Halt::command().about(halt::about(action)),
            Name::Runlevel => level::Runlevel::command(),
            Name::Service => service::Service::command(),
            Name::AwaitShutdown => waiter::Await::command(),
        };
        // As with getopt(3), an option that is given twice is no mistake.
        definition.name(self.word()).bin_name(self.word()).args_override_self(true)
    }

    fn run(self, arguments: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
        let own = OsString::from(self.word());
        let matches = match self.definition().try_get_matches_from(std::iter::once(own).chain(arguments)) {
            Ok(matches) => matches,
            Err(error) => {
                // Nothing is left to do if the terminal is gone.
                let _ = error.print();
                return Ok(ExitCode::from(if error.use_stderr() { 2 } else { 0 }));
            }
        };
        match self {
            Name::Init | Name::Telinit => telinit::run(&read(&matches)?),
            Name::Shutdown => shutdown::run(&read(&matches)?),
            Name::Halt(action) => halt::run(action, &read(&matches)?),
            Name::Runlevel => level::run(),
            Name::Service => service::run(&read(&matches)?),
            Name::AwaitShutdown => waiter::run(),
        }
    }
}

fn read<T: Parser>(matches: &ArgMatches) -> Result<T, clap::Error> {
    <T as FromArgMatches>::from_arg_matches(matches)
}

/// Does what the arguments, of which the first is the program's own name, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let called = arguments.next().unwrap_or_default();
    let word = Path::new(&called).file_name().unwrap_or_default().to_owned();
    // As process 1 it is called "init" by the kernel, whatever it was told to say.
    if std::process::id() == 1 && Name::from_word(&word) == Some(Name::Init) {
        return become_process_1(arguments.collect());
    }
    let name = match Name::from_word(&word) {
        Some(name) => name,
        None => match arguments.next().as_deref().map(|first| (first, Name::from_word(first))) {
            Some((_, Some(name))) => name,
            Some((first, None)) if first == "--help" || first == "help" => {
                println!("{}", usage());
                return ExitCode::SUCCESS;
            }
            Some((first, None)) if first == "--version" => {
                println!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            Some((first, None)) => {
                eprintln!("{PROGRAM}: \"{}\" is no command.\n{}", first.to_string_lossy(), usage());
                return ExitCode::from(2);
            }
            None => {
                eprintln!("{}", usage());
                return ExitCode::from(2);
            }
        },
    };
    name.run(arguments).unwrap_or_else(|error| {
        eprintln!("{}: {error:#}", name.word());
        ExitCode::FAILURE
    })
}

fn usage() -> String {
    let words: Vec<&str> = Name::ALL.iter().map(|name| name.word()).collect();
    format!(
        "Usage: {PROGRAM} COMMAND [ARGUMENT...]\n\nCommands: {}.\nA link to {PROGRAM} of a command's name is that \
         command. COMMAND --help tells more.",
        words.join(", ")
    )
}

/// Hands process 1 over to the program that is made for it. Comes back only if that fails.
fn become_process_1(arguments: Vec<OsString>) -> ExitCode {
    for program in PROCESS_1 {
        let error = std::process::Command::new(program).args(&arguments).exec();
        eprintln!("init: cannot become {program}: {error}");
    }
    eprintln!("init: boot with init=PATH, where PATH is the program ssi-init or a shell");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for name in Name::ALL {
            assert_eq!(Name::from_word(OsStr::new(name.word())), Some(name));
            name.definition().debug_assert();
        }
        assert_eq!(Name::from_word(OsStr::new("ssi-sysv")), None);
    }
}
