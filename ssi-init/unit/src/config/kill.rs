// SPDX-License-Identifier: GPL-2.0-or-later
//! How the processes of a unit are ended: systemd.kill(5).

use super::words::words;

words! {
    /// Which processes of the unit get the signals (`KillMode=`).
    pub enum KillMode {
        /// All that are in the unit's control group.
        ControlGroup = "control-group",
        /// Only the main process.
        Process = "process",
        /// The first signal goes to the main process, the last one to the whole control group.
        Mixed = "mixed",
        /// None: only the stop command is run.
        None = "none",
    }
}

/// How the processes of a unit are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillConfig {
    /// Which processes get the signals.
    pub mode: KillMode,
    /// Number of the signal that asks to end; SIGTERM (15) unless told.
    pub kill_signal: i32,
    /// Number of the signal that asks to end for a restart; `None`: `kill_signal`.
    pub restart_kill_signal: Option<i32>,
    /// Number of the signal that follows when time is up; SIGKILL (9) unless told.
    pub final_kill_signal: i32,
    /// Number of the signal at a missed watchdog; SIGABRT (6) unless told.
    pub watchdog_signal: i32,
    /// Whether `final_kill_signal` is sent at all.
    pub send_sigkill: bool,
    /// Whether SIGHUP follows right behind `kill_signal`, for shells.
    pub send_sighup: bool,
}

impl Default for KillConfig {
    fn default() -> KillConfig {
        KillConfig {
            mode: KillMode::ControlGroup,
            kill_signal: 15,
            restart_kill_signal: None,
            final_kill_signal: 9,
            watchdog_signal: 6,
            send_sigkill: true,
            send_sighup: false,
        }
    }
}
