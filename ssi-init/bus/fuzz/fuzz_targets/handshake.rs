// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever a client says at the manager's own socket: it hears lines of the handshake, messages only once it was let in,
//! and is cut off when it has no more to say.
//!
//! `cargo +nightly fuzz run handshake fuzz/corpus/handshake fuzz/seeds/handshake`, from `ssi-init/bus/`.
#![no_main]

mod scene;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let heard = scene::heard(bytes);
    let (lines, rest) = scene::lines(&heard);
    let let_in = lines.iter().any(|line| line.starts_with("OK "));
    assert!(rest.is_empty() || let_in, "{:?}", String::from_utf8_lossy(&heard));
    assert!(scene::are_messages(rest), "{:?}", String::from_utf8_lossy(&heard));
    // A line for each line at most, and of these there are not many.
    let said = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines.len() <= said.min(16), "{lines:?}");
});
