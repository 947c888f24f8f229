// SPDX-License-Identifier: GPL-2.0-or-later
//! The console: making it usable at boot, and a shell on it when nothing else goes on.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, open};
use rustix::termios;

use crate::say::say;
use crate::settings::Settings;
use crate::sys::process;

/// Opens the console for reading and writing, without making it the controlling terminal.
pub(crate) fn open_console(more: OFlags) -> Result<OwnedFd, Errno> {
    open("/dev/console", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | more, Mode::empty())
        .map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// Sets the line discipline to what a person expects, whatever the boot loader or a crashed program left.
pub(crate) fn reset() {
    let Ok(console) = open_console(OFlags::NONBLOCK) else { return };
    let Ok(mut settings) = termios::tcgetattr(&console) else { return };
    settings.input_modes |= termios::InputModes::ICRNL | termios::InputModes::IXON;
    settings.input_modes -= termios::InputModes::IGNBRK | termios::InputModes::BRKINT | termios::InputModes::INLCR;
    settings.output_modes |= termios::OutputModes::OPOST | termios::OutputModes::ONLCR;
    settings.local_modes |= termios::LocalModes::ISIG
        | termios::LocalModes::ICANON
        | termios::LocalModes::ECHO
        | termios::LocalModes::ECHOE
        | termios::LocalModes::ECHOK
        | termios::LocalModes::IEXTEN;
    // A console that does not take it stays as it is.
    let _ = termios::tcsetattr(&console, termios::OptionalActions::Now, &settings);
}

/// The terminal that a person can be at: the console; in a container without one, standard input.
fn terminal() -> Option<OwnedFd> {
    let console = open_console(OFlags::empty()).ok().filter(|console| termios::isatty(console));
    console.or_else(|| {
        let stdin = rustix::stdio::stdin();
        termios::isatty(stdin).then(|| stdin.try_clone_to_owned().ok()).flatten()
    })
}

/// Is there a terminal to offer a shell on?
pub(crate) fn is_there() -> bool {
    terminal().is_some()
}

/// Starts a shell on the console, as the leader of a session of its own.
///
/// # Errors
/// No terminal ([`Errno::ENOTTY`]), or fork(2)'s.
pub(crate) fn start_shell(settings: &Settings) -> Result<Pid, Errno> {
    let terminal = terminal().ok_or(Errno::ENOTTY)?;
    process::fork(|| become_shell(terminal.as_fd(), settings.shell.as_deref()))
}

/// Becomes a shell; the returned status is that of a child that could not.
fn become_shell(terminal: BorrowedFd<'_>, chosen: Option<&Path>) -> i32 {
    process::plain_signals();
    let placed = (0..=2).try_for_each(|number| process::place(terminal, number));
    if let Err(error) = placed.and_then(|()| process::take_terminal()) {
        // A shell without job control is better than none.
        say!(Warning, "taking the console for the shell: {}", error.desc());
    }
    let shells: Vec<PathBuf> = match chosen {
        Some(shell) => vec![shell.into()],
        None => ["/usr/sbin/sulogin", "/sbin/sulogin", "/bin/sh"].map(Into::into).to_vec(),
    };
    for shell in shells {
        let error = Command::new(&shell).env("HOME", "/root").env("TERM", term()).current_dir("/").exec();
        say!(Warning, "starting {} on the console: {error}", shell.display());
    }
    127
}

/// What kind of terminal the console is: `TERM` as the kernel or the boot loader said, else what any terminal can.
fn term() -> String {
    std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned())
}
