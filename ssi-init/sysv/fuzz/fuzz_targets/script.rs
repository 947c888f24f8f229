// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever an init script says of itself, and whatever it and its links are called: of it there is a unit, which says
//! what a generated unit says and no more, or none.
//!
//! The first line of an input is the script's name, the second that of a link, the rest the script.
//!
//! `cargo +nightly fuzz run script fuzz/corpus/script fuzz/seeds/script`, from `ssi-init/sysv/`.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ssi_sysv::generator::header::Header;
use ssi_sysv::generator::name::{is_hidden_or_backup, unit_of_facility, unit_of_script};
use ssi_sysv::generator::plan::{RunLevel, Script, StartLink, plan};
use ssi_unit::config::{ManagerDefaults, WarningKind};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::specifier::{Host, Specifiers};
use ssi_unit::{file, settings};

/// The lines that a generated unit may have, each by its key: how many at most; 0: any number.
const KEYS: [(&str, usize); 18] = [
    ("Documentation", 1),
    ("SourcePath", 1),
    ("Description", 1),
    ("Before", 0),
    ("After", 0),
    ("Wants", 0),
    ("Type", 1),
    ("Restart", 1),
    ("TimeoutSec", 1),
    ("IgnoreSIGPIPE", 1),
    ("KillMode", 1),
    ("GuessMainPID", 1),
    ("RemainAfterExit", 1),
    ("PIDFile", 1),
    ("SuccessExitStatus", 1),
    ("ExecStart", 1),
    ("ExecStop", 1),
    ("ExecReload", 1),
];

fn checked(name: &UnitName, text: &[u8]) {
    let mut seen = [0; KEYS.len()];
    for line in text.split(|byte| *byte == b'\n') {
        if matches!(line, b"" | b"[Unit]" | b"[Service]") || line.starts_with(b"# Automatically generated") {
            continue;
        }
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        let found = KEYS.iter().position(|(known, _)| known.as_bytes() == key);
        let Some(at) = found else { panic!("{name} says {:?}", String::from_utf8_lossy(line)) };
        seen[at] += 1;
        assert!(KEYS[at].1 == 0 || seen[at] <= KEYS[at].1, "{name} says {} twice", KEYS[at].0);
    }
    let file = file::parse(text, Path::new("/run/systemd/generator.late/x.service"));
    // What is no UTF-8 in the script is none in the unit, as with systemd's generator, and no manager reads that.
    assert!(file.error.is_none() || std::str::from_utf8(text).is_err(), "{:?}", file.error);
    let host = Host::default();
    let reading = settings::read(&Specifiers::of(&host, name), &ManagerDefaults::default(), Some(&file), []);
    // A script called `foo.socket` becomes a unit of that name all the same, which has no use for these settings.
    if name.unit_type() == UnitType::Service {
        let odd = reading.warnings.iter().find(|warning| warning.kind == WarningKind::UnknownKey);
        assert!(odd.is_none(), "{odd:?}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let (Some(name), Some(link), Some(text)) = (parts.next(), parts.next(), parts.next()) else { return };
    let _ = unit_of_facility(link, name);
    let links: Vec<StartLink> = RunLevel::ALL.into_iter().filter_map(|level| StartLink::read(level, link)).collect();
    // No file has a slash, or a NUL, in its name; one whose name holds the end of a line is passed over before this.
    if name.is_empty() || name.iter().any(|byte| matches!(byte, b'/' | 0 | b'\r')) || is_hidden_or_backup(name) {
        return;
    }
    let (Ok(unit), Ok(header)) = (unit_of_script(name), Header::read(text)) else { return };
    for text in header.description.iter().chain(&header.pid_file).chain(header.relations.iter().map(|(_, word)| word)) {
        assert!(!text.contains(&b'\n'), "{:?}", String::from_utf8_lossy(text));
    }
    let path = Path::new("/etc/init.d").join(OsStr::from_bytes(name));
    let scripts = vec![
        Script { unit: unit.clone(), path: path.clone(), header: header.clone() },
        Script { unit: unit.clone(), path, header },
    ];
    let plan = plan(scripts, &links);
    assert!(plan.units.len() == 1 && plan.units.contains_key(&unit), "{:?}", plan.units.keys());
    assert!(plan.aliases.keys().all(|alias| *alias != unit));
    for (name, text) in &plan.units {
        checked(name, text);
    }
});
