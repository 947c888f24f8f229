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
mod terminal;
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
            Name::Init | Name::Telinit => telinit::run(self.word(), &read(&matches)?),
            Name::Shutdown => shutdown::run(&read(&matches)?),
            Name::Halt(called) => halt::run(halt::action(called, &matches), &read(&matches)?),
            Name::Runlevel => level::run(),
            Name::Service => service::run(&read(&matches)?),
            Name::AwaitShutdown => waiter::run(),
        }
    }
}

fn read<T: Parser>(matches: &ArgMatches) -> Result<T, clap::Error> {
    <T as FromArgMatches>::from_arg_matches(matches)
}

/// What the first arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Called {
    /// A command; the arguments behind its name are its own.
    Command(Name),
    /// As process 1, under the name that the kernel knows it by.
    Process1,
    Help,
    Version,
    /// A word that is no command.
    Unknown(OsString),
    /// The program's own name and nothing else.
    Nothing,
}

impl Called {
    /// Takes the program's name off `arguments`, and the word behind it where the name is no command's.
    fn read(arguments: &mut impl Iterator<Item = OsString>, process: u32) -> Called {
        let called = arguments.next().unwrap_or_default();
        match Name::from_word(Path::new(&called).file_name().unwrap_or_default()) {
            Some(Name::Init) if process == 1 => return Called::Process1,
            Some(name) => return Called::Command(name),
            None => {}
        }
        let Some(word) = arguments.next() else { return Called::Nothing };
        match Name::from_word(&word) {
            Some(name) => Called::Command(name),
            None if word == "--help" || word == "help" => Called::Help,
            None if word == "--version" => Called::Version,
            None => Called::Unknown(word),
        }
    }
}

/// Does what the arguments, of which the first is the program's own name, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = match Called::read(&mut arguments, std::process::id()) {
        Called::Command(name) => name,
        Called::Process1 => return become_process_1(arguments.collect()),
        Called::Help => {
            terminal::answer(usage());
            return ExitCode::SUCCESS;
        }
        Called::Version => {
            terminal::answer(format_args!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Called::Unknown(word) => {
            terminal::remark(format_args!("{PROGRAM}: \"{}\" is no command.\n{}", word.to_string_lossy(), usage()));
            return ExitCode::from(2);
        }
        Called::Nothing => {
            terminal::remark(usage());
            return ExitCode::from(2);
        }
    };
    name.run(arguments).unwrap_or_else(|error| {
        terminal::remark(format_args!("{}: {error:#}", name.word()));
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
        terminal::remark(format_args!("init: cannot become {program}: {error}"));
    }
    terminal::remark("init: boot with init=PATH, where PATH is the program ssi-init or a shell");
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

    /// What is called, and the arguments that are left for it.
    fn called(words: &[&str], process: u32) -> (Called, Vec<String>) {
        let mut words = words.iter().map(OsString::from);
        let called = Called::read(&mut words, process);
        (called, words.map(|word| word.into_string().expect("UTF-8")).collect())
    }

    #[test]
    fn a_link_is_called_by_its_name() {
        for (link, name) in [
            ("init", Name::Init),
            ("/sbin/telinit", Name::Telinit),
            ("/sbin/shutdown", Name::Shutdown),
            ("./halt", Name::Halt(Action::Halt)),
            ("/usr/sbin/poweroff", Name::Halt(Action::PowerOff)),
            ("reboot", Name::Halt(Action::Reboot)),
            ("/sbin/runlevel", Name::Runlevel),
            ("../sbin/service", Name::Service),
            ("await-shutdown", Name::AwaitShutdown),
        ] {
            let (called, left) = called(&[link, "halt", "x"], 7);
            assert_eq!(called, Called::Command(name), "{link}");
            assert_eq!(left, ["halt", "x"], "{link}");
        }
    }

    #[test]
    fn the_program_itself_takes_the_command_as_a_word() {
        for name in Name::ALL {
            let (called, left) = called(&["/usr/bin/ssi-sysv", name.word(), "x"], 7);
            assert_eq!((called, left.as_slice()), (Called::Command(name), ["x".to_owned()].as_slice()));
        }
        assert_eq!(called(&["ssi-sysv", "--help", "x"], 7).0, Called::Help);
        assert_eq!(called(&["ssi-sysv", "--version"], 7).0, Called::Version);
        assert_eq!(called(&["ssi-sysv", "HALT"], 7).0, Called::Unknown("HALT".into()));
        assert_eq!(called(&["ssi-sysv"], 7).0, Called::Nothing);
        assert_eq!(called(&[], 7).0, Called::Nothing);
        assert_eq!(called(&["/", ""], 7).0, Called::Unknown("".into()));
    }

    #[test]
    fn only_init_is_process_1() {
        assert_eq!(called(&["/sbin/init", "single"], 1), (Called::Process1, vec!["single".to_owned()]));
        assert_eq!(called(&["/sbin/telinit", "1"], 1).0, Called::Command(Name::Telinit));
        assert_eq!(called(&["ssi-sysv", "init", "1"], 1).0, Called::Command(Name::Init));
    }

    #[test]
    fn wrong_words_are_refused_and_nothing_is_done() {
        for (name, words) in [
            (Name::Telinit, ""),
            (Name::Telinit, "3 5"),
            (Name::Telinit, "--halt"),
            (Name::Halt(Action::Halt), "-x"),
            (Name::Halt(Action::Reboot), "one two"),
            (Name::Halt(Action::PowerOff), "--when=now"),
            (Name::Shutdown, "-x now"),
            (Name::Shutdown, "--show -c"),
            (Name::Shutdown, "now -t"),
            (Name::Runlevel, "3"),
            (Name::Service, ""),
            (Name::Service, "--status-all cron"),
        ] {
            let given = std::iter::once(name.word()).chain(words.split_whitespace());
            let refused = name.definition().try_get_matches_from(given).expect_err(words);
            assert!(refused.use_stderr(), "{} {words}: {refused}", name.word());
        }
    }
}
