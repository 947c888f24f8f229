// SPDX-License-Identifier: GPL-2.0-or-later
//! Properties that a client sets, as the text of a unit file: `StartTransientUnit` and `SetUnitProperties` of
//! org.freedesktop.systemd1(5).
//!
//! What a client says is written as the settings that say the same, and those are read by the one reader of unit files
//! there is. So this knows only how a value is written ([`setting`]), and the reader decides what it is worth: what it
//! passes over or takes only in part is refused here.
//!
//! ```text
//!   ("RuntimeMaxUSec", t 5000000) ──▶ RuntimeMaxSec=5000000us ──▶ [Service] knows it ──▶ read for a trial ──▶ the file
//! ```

mod bits;
mod command;
mod setting;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write as _;
use std::path::Path;

use ssi_manager::core::commands::{CommandError, errors};
use ssi_unit::config::{ManagerDefaults, WarningKind};
use ssi_unit::file;
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::settings;
use ssi_unit::specifier::{Host, Specifiers};
use zbus::zvariant::OwnedValue;

use crate::reply::names;

/// A setting and its value, as they stand in a file.
type Line = (String, String);

/// Why a property is not written.
#[derive(Debug)]
enum Refusal {
    /// There is no setting for it.
    Unknown,
    /// It is not of the type it has, or no value of that setting.
    Wrong(String),
}

fn refused(property: &str, refusal: Refusal) -> CommandError {
    match refusal {
        Refusal::Unknown => CommandError::new(
            names::PROPERTY_READ_ONLY,
            format!("Cannot set property {property}, or unknown property."),
        ),
        Refusal::Wrong(why) => CommandError::new(errors::INVALID_ARGUMENTS, format!("Property {property}: {why}")),
    }
}

/// The section that has what only units of that type have.
fn own_section(kind: UnitType) -> &'static str {
    match kind {
        UnitType::Service => "Service",
        UnitType::Socket => "Socket",
        UnitType::Mount => "Mount",
        UnitType::Automount => "Automount",
        UnitType::Swap => "Swap",
        UnitType::Timer => "Timer",
        UnitType::Path => "Path",
        UnitType::Slice => "Slice",
        UnitType::Scope => "Scope",
        UnitType::Target | UnitType::Device => "Unit",
    }
}

/// The settings of a unit type's sections.
struct Known {
    unit: Vec<String>,
    own: Vec<String>,
    section: &'static str,
}

impl Known {
    fn of(kind: UnitType) -> Self {
        let section = own_section(kind);
        Self { unit: settings::keys(kind, "Unit"), own: settings::keys(kind, section), section }
    }

    /// The section that has a setting.
    fn section_of(&self, key: &str) -> Option<&'static str> {
        let has = |keys: &[String]| keys.iter().any(|known| known == key);
        // Its own comes first: what both have belongs to what it is.
        if has(&self.own) {
            Some(self.section)
        } else if has(&self.unit) {
            Some("Unit")
        } else {
            None
        }
    }
}

/// The text of a file with these properties.
///
/// # Errors
/// Which property is refused, and why: there is no such setting, or the value is none that it takes.
pub fn unit_text(name: &UnitName, properties: Vec<(String, OwnedValue)>) -> Result<String, CommandError> {
    let known = Known::of(name.unit_type());
    let (mut unit, mut own) = (String::new(), String::new());
    for (property, lines) in setting::all(&properties) {
        for (key, value) in lines.map_err(|refusal| refused(&property, refusal))? {
            let section = known.section_of(&key).ok_or_else(|| refused(&property, Refusal::Unknown))?;
            if !words::is_one_line(&value) {
                let why = "a value may not end a line, or lead on to the next one".to_owned();
                return Err(refused(&property, Refusal::Wrong(why)));
            }
            try_out(name, section, &key, &value).map_err(|why| refused(&property, Refusal::Wrong(why)))?;
            let text = if section == "Unit" { &mut unit } else { &mut own };
            let _ = writeln!(text, "{key}={value}");
        }
    }
    let mut text = String::from("# This is a transient unit file, created programmatically via the systemd API.\n");
    for (section, lines) in [("Unit", unit), (known.section, own)] {
        if !lines.is_empty() {
            let _ = write!(text, "\n[{section}]\n{lines}");
        }
    }
    Ok(text)
}

/// Has a line read as it will be. Whether all of them fit together shows when the unit is loaded.
fn try_out(name: &UnitName, section: &str, key: &str, value: &str) -> Result<(), String> {
    let text = format!("[{section}]\n{key}={value}\n");
    let file = file::parse(text.as_bytes(), Path::new("the message"));
    let host = Host::default();
    let reading = settings::read(&Specifiers::of(&host, name), &ManagerDefaults::default(), None, [&file]);
    let about = |place: &Option<file::Place>| place.as_ref().is_some_and(|place| place.line == 2);
    let bad = reading.warnings.iter().find(|warning| {
        let kinds = [WarningKind::UnknownKey, WarningKind::BadValue, WarningKind::Syntax, WarningKind::Fatal];
        about(&warning.at) && kinds.contains(&warning.kind)
    });
    match bad {
        Some(warning) => Err(warning.text.clone()),
        None => Ok(()),
    }
}
