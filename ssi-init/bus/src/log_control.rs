// SPDX-License-Identifier: GPL-2.0-or-later
//! `org.freedesktop.LogControl1`: what the manager logs, and where to (`systemctl service-log-level`).

use zbus::zvariant::{OwnedValue, Str};

use crate::dispatch::Scene;
use crate::interface::{Emits, Property};

pub(crate) const INTERFACE: &str = "org.freedesktop.LogControl1";

/// Its properties. Those that can be set are the manager's own by the same names.
pub(crate) const PROPERTIES: &[Property] = &[
    Property::writable("LogLevel", "s"),
    Property::writable("LogTarget", "s"),
    Property::new("SyslogIdentifier", "s", Emits::Nothing),
];

/// The value of a property.
pub(crate) fn get(scene: &Scene<'_>, name: &str) -> Option<OwnedValue> {
    let text = match name {
        "LogLevel" => scene.host.facts().log_level,
        "LogTarget" => scene.host.facts().log_target,
        "SyslogIdentifier" => "systemd".to_owned(),
        _ => return None,
    };
    Some(OwnedValue::from(Str::from(text)))
}
