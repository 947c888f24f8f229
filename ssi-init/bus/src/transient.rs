// SPDX-License-Identifier: GPL-2.0-or-later
//! Properties that a client sets, as the text of a unit file: `StartTransientUnit` and `SetUnitProperties` of
//! org.freedesktop.systemd1(5).
//!
//! What a client says is written as the settings that say the same, and those are read by the one reader of unit files
//! there is. So this knows only of which type a property is ([`table`]) and how a value is written so that it is read as
//! it was ([`form`], [`rows`], [`words`]); what it is worth the reader decides: what that passes over or takes only in part
//! is refused here.
//!
//! ```text
//!   ("RuntimeMaxUSec", t 5000000) ──▶ a row of the table, or as it is shown: t, in microseconds
//!                                 ──▶ RuntimeMaxSec=5000000us ──▶ [Service] knows it ──▶ read for a trial ──▶ the file
//! ```

mod bits;
mod command;
mod form;
mod limit;
mod rows;
mod table;
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
use zbus::zvariant::{OwnedValue, Value};

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

/// The beginnings of the names of what systemd.resource-control(5) has.
const CONTROL: [&str; 33] = [
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "BPFProgram",
    "BlockIO",
    "CPUAccounting",
    "CPUQuota",
    "CPUShares",
    "CPUWeight",
    "DefaultMemory",
    "DefaultStartupMemory",
    "DeviceAllow",
    "DevicePolicy",
    "DisableControllers",
    "IOAccounting",
    "IODevice",
    "IORead",
    "IOWeight",
    "IOWrite",
    "IPAccounting",
    "IPAddress",
    "IPEgress",
    "IPIngress",
    "ManagedOOM",
    "Memory",
    "NFTSet",
    "RestrictNetworkInterfaces",
    "SocketBind",
    "StartupAllowed",
    "StartupBlockIO",
    "StartupCPU",
    "StartupIO",
    "StartupMemory",
    "Tasks",
];
/// Not of it, though they begin like one of those.
const NOT_CONTROL: [&str; 2] = ["MemoryDenyWriteExecute", "MemoryKSM"];

/// Whether a property can be changed while the unit is there: how much it may use, and what it is called
/// (org.freedesktop.systemd1(5), "SetUnitProperties"). All else takes a new unit, or a file and `daemon-reload`.
pub(crate) fn may_be_changed(kind: UnitType, property: &str) -> bool {
    let has_group = matches!(
        kind,
        UnitType::Service | UnitType::Socket | UnitType::Mount | UnitType::Swap | UnitType::Slice | UnitType::Scope
    );
    property == "Description"
        || has_group && CONTROL.iter().any(|name| property.starts_with(name)) && !NOT_CONTROL.contains(&property)
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
    fn section_of(&self, key: &str, of_any_unit: bool) -> Option<&'static str> {
        let has = |keys: &[String]| keys.iter().any(|known| known == key);
        match (has(&self.unit), has(&self.own)) {
            // Some stood in [Service] once, and are known there still.
            (true, own) if of_any_unit || !own => Some("Unit"),
            (_, true) => Some(self.section),
            _ => None,
        }
    }
}

/// Refuses a value that is of none of these types.
fn wrong_type(value: &Value<'_>, wanted: &[&str]) -> Refusal {
    Refusal::Wrong(format!("it is of the type {}, and not {}", value.value_signature(), wanted.join(" or ")))
}

/// The lines of a property, and whether they are of units of any type.
fn lines(
    kind: UnitType,
    (name, value): &(String, OwnedValue),
    all: &[(String, OwnedValue)],
) -> Result<(Vec<Line>, bool), Refusal> {
    if limit::of(name).is_some() {
        return Ok((limit::lines(name, value, all)?, false));
    }
    let found = table::find(kind, name).ok_or(Refusal::Unknown)?;
    let own = value.value_signature().to_string();
    if !found.signatures.contains(&own.as_str()) {
        return Err(wrong_type(value, &found.signatures));
    }
    Ok(((found.write)(&found.key, value)?, found.of_any_unit))
}

/// The text of a file with these properties.
///
/// # Errors
/// Which property is refused, and why: there is no such setting, or the value is none that it takes.
pub fn unit_text(name: &UnitName, properties: Vec<(String, OwnedValue)>) -> Result<String, CommandError> {
    let known = Known::of(name.unit_type());
    let (mut unit, mut own) = (String::new(), String::new());
    for property in &properties {
        let refused = |refusal| refused(&property.0, refusal);
        let (lines, of_any_unit) = lines(name.unit_type(), property, &properties).map_err(refused)?;
        for (key, value) in lines {
            let section = known.section_of(&key, of_any_unit).ok_or_else(|| refused(Refusal::Unknown))?;
            if !words::is_one_line(&value) {
                let why = "a value may not end a line, lead on to the next one, or have blanks at its ends".to_owned();
                return Err(refused(Refusal::Wrong(why)));
            }
            try_out(name, section, &key, &value).map_err(|why| refused(Refusal::Wrong(why)))?;
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
    if let Some(error) = &file.error {
        return Err(error.to_string());
    }
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
