// SPDX-License-Identifier: GPL-2.0-or-later
//! Any bytes as the file of a unit of any type: reading ends with settings or a reason, and never otherwise.
//!
//! `cargo +nightly fuzz run unit_file fuzz/corpus/unit_file /lib/systemd/system`, from `ssi-init/unit/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::specifier::Host;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else { return };
    let kind = UnitType::ALL[usize::from(*first) % UnitType::ALL.len()];
    let Ok(name) = UnitName::new(&format!("a.{kind}")) else { return };
    let mut files = MemoryFiles::new();
    files.file(format!("/etc/systemd/system/{name}"), text).file(format!("/etc/systemd/system/{name}.d/x.conf"), text);
    let mut loader = Loader::new(files, SearchPath::system(), Host::default(), ManagerDefaults::default());
    let loaded = loader.load(&name);
    assert!(loaded.names.contains(&loaded.id));
});
