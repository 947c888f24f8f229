// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the kernel's tables of mounts and of swap areas, and mount(8)'s notes, may hold: each line is an entry or told
//! of as one that is not understood.
//!
//! An input is the table of mounts, then behind a NUL mount(8)'s notes. All of it is read as the table of swap areas too.
//!
//! `cargo +nightly fuzz run tables fuzz/corpus/tables fuzz/seeds/tables`, from `ssi-init/watch/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_watch::tables::{mountinfo, swaps};

fn lines(table: &[u8]) -> usize {
    table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (table, notes) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (mut entries, wrong) = mountinfo::parse(table);
    assert_eq!(entries.len() + wrong.len(), lines(table));
    let before = entries.clone();
    for entry in &before {
        let options = &entry.mounted.options;
        assert!(options == "rw" || options == "ro" || options.starts_with("rw,") || options.starts_with("ro,"));
    }
    mountinfo::add_noted(&mut entries, notes);
    for (entry, before) in entries.iter().zip(&before) {
        let (noted, plain) = (&entry.mounted, &before.mounted);
        assert!(
            noted
                .options
                .strip_prefix(plain.options.as_str())
                .is_some_and(|more| { more.is_empty() || more.starts_with(',') })
        );
        assert_eq!((&noted.what, &noted.place, &noted.kind), (&plain.what, &plain.place, &plain.kind));
        assert_eq!((&entry.root, entry.device), (&before.root, before.device));
    }
    let (areas, wrong) = swaps::parse(bytes);
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    assert_eq!(areas.len() + wrong.len(), lines(&bytes[head.len()..]));
});
