// SPDX-License-Identifier: GPL-2.0-or-later
//! The ways down, and what each is called where.

use rustix::system::RebootCommand;

/// How the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop, and switch the power off.
    PowerOff,
    /// Stop, and start again.
    Reboot,
    /// Stop, with the power on.
    Halt,
}

impl Action {
    /// The target that stops everything first.
    pub fn target(self) -> &'static str {
        match self {
            Action::PowerOff => "poweroff.target",
            Action::Reboot => "reboot.target",
            Action::Halt => "halt.target",
        }
    }

    /// What logind's ScheduleShutdown and the file /run/systemd/shutdown/scheduled call it.
    pub fn word(self) -> &'static str {
        match self {
            Action::PowerOff => "poweroff",
            Action::Reboot => "reboot",
            Action::Halt => "halt",
        }
    }

    /// The opposite of [`Action::word`].
    pub fn from_word(word: &str) -> Option<Action> {
        [Action::PowerOff, Action::Reboot, Action::Halt].into_iter().find(|action| action.word() == word)
    }

    /// The signal for process 1, counted from SIGRTMIN: systemd(1), "Signals". It kills and unmounts, but stops no units.
    pub fn signal(self) -> i32 {
        match self {
            Action::Halt => 13,
            Action::PowerOff => 14,
            Action::Reboot => 15,
        }
    }

    /// logind's method that does it at once: org.freedesktop.login1(5).
    pub fn logind_method(self) -> &'static str {
        match self {
            Action::PowerOff => "PowerOff",
            Action::Reboot => "Reboot",
            Action::Halt => "Halt",
        }
    }

    /// reboot(2)'s word for it.
    pub fn kernel_command(self) -> RebootCommand {
        match self {
            Action::PowerOff => RebootCommand::PowerOff,
            Action::Reboot => RebootCommand::Restart,
            Action::Halt => RebootCommand::Halt,
        }
    }

    /// What the system does then, in a message.
    pub fn sentence(self) -> &'static str {
        match self {
            Action::PowerOff => "The system will power off",
            Action::Reboot => "The system will reboot",
            Action::Halt => "The system will halt",
        }
    }
}
