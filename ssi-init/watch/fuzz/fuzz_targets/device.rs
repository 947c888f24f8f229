// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever a device's properties are: what units follow of it holds together.
//!
//! The first line of an input is the action, the others are `NAME=value`.
//!
//! `cargo +nightly fuzz run device fuzz/corpus/device fuzz/seeds/device`, from `ssi-init/watch/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_watch::devices::change;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let action = lines.next().unwrap_or_default();
    let properties: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('=')).collect();
    let property =
        |name: &str| properties.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let device = change(action, "/sys/devices/x", Some("/dev/x"), &property);
    assert_eq!(device.gone, action == "remove");
    assert!(!(device.gone && device.ready) && !(device.gone && device.altered));
    assert!(device.moved_from.is_none() || action == "move");
    assert!(device.aliases.iter().all(|alias| alias.starts_with('/')), "{:?}", device.aliases);
    if device.ready {
        let tags = property("CURRENT_TAGS").or_else(|| property("TAGS")).unwrap_or_default();
        assert!(tags.split(':').any(|tag| tag == "systemd"), "{tags:?}");
    }
});
