// SPDX-License-Identifier: GPL-2.0-or-later
//! How processes are ended: systemd.kill(5).

use super::value::text;
use super::{Property, fixed};

pub(super) const TABLE: &[Property] = &[
    fixed("KillMode", "s", |v| text(v.kill().mode.as_str())),
    fixed("KillSignal", "i", |v| v.kill().kill_signal.into()),
    fixed("RestartKillSignal", "i", |v| v.kill().restart_kill_signal.unwrap_or(v.kill().kill_signal).into()),
    fixed("FinalKillSignal", "i", |v| v.kill().final_kill_signal.into()),
    fixed("SendSIGKILL", "b", |v| v.kill().send_sigkill.into()),
    fixed("SendSIGHUP", "b", |v| v.kill().send_sighup.into()),
    fixed("WatchdogSignal", "i", |v| v.kill().watchdog_signal.into()),
];
