// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of systemd.kill(5).

use super::{Outcome, Reader, Table};
use crate::config::KillConfig;
use crate::config::kill::KillMode;
use crate::process_end::signal_number;

/// The keys of systemd.kill(5).
pub(super) const KILL: Table<KillConfig> = &[
    ("KillMode", |kill, value, reader| {
        if value.is_empty() {
            kill.mode = KillMode::ControlGroup;
            return Ok(());
        }
        reader.set_word(&mut kill.mode, value, KillMode::from_word)?;
        if kill.mode == KillMode::None {
            reader.obsolete("none leaves processes behind that nobody ends; use control-group or mixed");
        }
        Ok(())
    }),
    ("KillSignal", |kill, value, reader| set_signal(&mut kill.kill_signal, value, reader)),
    ("RestartKillSignal", |kill, value, reader| {
        let mut signal = kill.kill_signal;
        set_signal(&mut signal, value, reader)?;
        kill.restart_kill_signal = Some(signal);
        Ok(())
    }),
    ("FinalKillSignal", |kill, value, reader| set_signal(&mut kill.final_kill_signal, value, reader)),
    ("WatchdogSignal", |kill, value, reader| set_signal(&mut kill.watchdog_signal, value, reader)),
    ("SendSIGKILL", |kill, value, reader| reader.set_bool(&mut kill.send_sigkill, value)),
    ("SendSIGHUP", |kill, value, reader| reader.set_bool(&mut kill.send_sighup, value)),
];

/// A signal, by name or number.
pub(super) fn set_signal(slot: &mut i32, value: &str, reader: &Reader<'_>) -> Outcome {
    *slot = signal_number(value).ok_or_else(|| reader.bad(value, "a signal"))?;
    Ok(())
}
