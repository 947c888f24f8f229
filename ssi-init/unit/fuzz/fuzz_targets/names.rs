// SPDX-License-Identifier: GPL-2.0-or-later
//! Any text as a name or a path: what has a name gets it back.
//!
//! `cargo +nightly fuzz run names`, from `ssi-init/unit/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_unit::name::{UnitName, UnitType, escape, unescape_bytes, unescape_path};

fuzz_target!(|bytes: &[u8]| {
    if !bytes.contains(&0) {
        assert_eq!(unescape_bytes(&escape(bytes)).as_deref(), Ok(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = unescape_path(text);
    if let Ok(name) = UnitName::new(text) {
        assert_eq!(name.as_str(), text);
        let _ = (name.to_path(), name.parent_slice(), name.template(), name.dash_prefixes());
    }
    if let Ok(name) = UnitName::from_path(text, UnitType::Mount) {
        assert!(name.is_hashed() || name.to_path().is_ok());
    }
});
