// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi.init1.Inspection`: what this manager can be asked beyond systemd's interface, for those who look for a mistake.
//!
//! | method | takes | gives |
//! | --- | --- | --- |
//! | `Describe` | | `s`: all units and jobs, JSON |
//! | `Record` | `s`: a file that is not there yet, `t`: most bytes in it | |
//! | `Recording` | | `s`: how the recording stands, JSON |
//! | `StopRecording` | | `s`: how it ended, JSON |
//!
//! It is answered whatever the path, as `Ping()` is, and not introspected: objects show what systemd's show. Root only.

use ssi_manager::core::commands::{CommandError, errors};

use crate::dispatch::{Scene, unknown_method};
use crate::host::Inspection;
use crate::reply::{Answer, Call, names};

/// Its name.
pub(crate) const INTERFACE: &str = "ssi.init1.Inspection";

/// Answers a call.
pub(crate) fn call(scene: &mut Scene<'_>, call: &Call, member: &str) -> Answer {
    if !call.is_root() {
        return Err(CommandError::new(names::ACCESS_DENIED, "Permission denied"));
    }
    let given = call.message.body().signature().to_string_no_parens();
    let wanted = match member {
        "Describe" | "Recording" | "StopRecording" => "",
        "Record" => "st",
        _ => return Err(unknown_method(member, Some(INTERFACE))),
    };
    if given != wanted {
        let text = format!("Invalid arguments '{given}' to call {INTERFACE}.{member}(), expecting '{wanted}'.");
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    }
    let what = match member {
        "Describe" => Inspection::State,
        "Recording" => Inspection::Recording,
        "StopRecording" => Inspection::StopRecording,
        _ => {
            let (file, limit): (String, u64) = call.body()?;
            scene.host.inspect(scene.core, Inspection::Record { file, limit })?;
            return call.done();
        }
    };
    let text = scene.host.inspect(scene.core, what)?;
    call.answer(&text)
}
