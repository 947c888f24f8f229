// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever properties a client sets: they are refused by name, or are settings that the reader of unit files knows, in
//! the sections that the unit has, and no line beside them.
//!
//! `cargo +nightly fuzz run transient fuzz/corpus/transient fuzz/seeds/transient`, from `ssi-init/bus/`.
#![no_main]

#[path = "scene/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ssi_bus::transient::unit_text;
use ssi_unit::config::{ManagerDefaults, WarningKind};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::specifier::{Host, Specifiers};
use ssi_unit::{file, settings};
use wire::{Choices, Writer};
use zbus::zvariant::OwnedValue;
use zbus::zvariant::serialized::{Context, Data};

/// Names of properties that are no setting's.
const PROPERTIES: [&str; 40] = [
    "ExecStart",
    "ExecStartEx",
    "ExecStop",
    "ExecReload",
    "Environment",
    "EnvironmentFiles",
    "RuntimeMaxUSec",
    "TimeoutStopUSec",
    "WatchdogUSec",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "MemoryMax",
    "MemoryMaxScale",
    "TasksMax",
    "TasksMaxScale",
    "LimitNOFILE",
    "LimitNOFILESoft",
    "DeviceAllow",
    "IODeviceWeight",
    "IOReadBandwidthMax",
    "IPAddressAllow",
    "IPAddressDeny",
    "SystemCallFilter",
    "RestrictNamespaces",
    "CapabilityBoundingSet",
    "CPUAffinity",
    "NUMAMask",
    "SocketBindAllow",
    "BindPaths",
    "TemporaryFileSystem",
    "Conditions",
    "TimersMonotonic",
    "TimersCalendar",
    "Paths",
    "Listen",
    "RootImageOptions",
    "MountImages",
    "LogExtraFields",
    "SetCredential",
    "OpenFile",
];

const TEXTS: [&str; 40] = [
    "",
    "a",
    "yes",
    "no",
    "oneshot",
    "a.service",
    "b.target c.target",
    "x.slice",
    "/bin/true",
    "/",
    "relative",
    "%h %n %%",
    "$HOME",
    ";",
    "a b",
    "\"",
    "'",
    "\\",
    "line\nend",
    "a\n[Service]\nExecStart=/bin/sh",
    "x\\",
    "#",
    "[Install]",
    "A=b c",
    "A=\"b",
    "\t",
    " x ",
    "127.0.0.1",
    "::1",
    "any",
    "@clock",
    "mount",
    "Stream",
    "OnActiveSec",
    "OnCalendar",
    "PathExists",
    "*-*-* 03:00:00",
    "rw",
    "-/x:/y",
    "\u{fffd}",
];

fn name(kind: UnitType) -> UnitName {
    UnitName::new(&format!("a.{kind}")).expect("a name")
}

fn section(kind: UnitType) -> String {
    let word = kind.to_string();
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn checked(name: &UnitName, text: &str) {
    let kind = name.unit_type();
    let known: BTreeSet<String> = ["Unit".to_owned(), section(kind)]
        .into_iter()
        .flat_map(|section| settings::keys(kind, &section).into_iter().map(move |key| format!("{section}/{key}")))
        .collect();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_end_matches(']').to_owned();
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        assert!(known.contains(&format!("{section}/{key}")), "{line:?} in [{section}] of\n{text}");
    }
    let file = file::parse(text.as_bytes(), Path::new("x"));
    assert!(file.error.is_none(), "{:?} in\n{text}", file.error);
    let host = Host::default();
    let reading = settings::read(&Specifiers::of(&host, name), &ManagerDefaults::default(), Some(&file), []);
    let odd = [WarningKind::UnknownKey, WarningKind::Syntax];
    let odd = reading.warnings.iter().find(|warning| odd.contains(&warning.kind));
    assert!(odd.is_none(), "{odd:?} in\n{text}");
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let kind = choices.of(&UnitType::ALL);
    let name = name(kind);
    let mut keys = settings::keys(kind, "Unit");
    keys.extend(settings::keys(kind, &section(kind)));
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(PROPERTIES).collect();
    let mut properties: Vec<(String, OwnedValue)> = Vec::new();
    while !choices.0.is_empty() && properties.len() < 8 {
        let property = match usize::from(choices.byte()) | usize::from(choices.byte()) << 8 {
            0xff00.. => choices.text(&[]),
            number => keys[number % keys.len()].to_owned(),
        };
        let mut writer = Writer { bytes: Vec::new(), choices: &mut choices, known: &TEXTS };
        writer.value("v", 0);
        // As it would come in a message.
        let data = Data::new(writer.bytes, Context::new_dbus(zbus::zvariant::LE, 0));
        if let Ok((value, _)) = data.deserialize::<OwnedValue>() {
            properties.push((property, value));
        }
    }
    let names: Vec<String> = properties.iter().map(|(name, _)| name.clone()).collect();
    match unit_text(&name, properties) {
        Ok(text) => checked(&name, &text),
        Err(error) => {
            assert!(names.iter().any(|name| error.message.contains(name.as_str())), "{error} of {names:?}");
        }
    }
});
