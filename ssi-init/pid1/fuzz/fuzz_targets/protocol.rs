// SPDX-License-Identifier: GPL-2.0-or-later
//! Any packet is a message or an error, and a message has no other bytes than those it was read from.
//!
//! `cargo +nightly fuzz run protocol`, from `ssi-init/pid1/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_pid1::protocol::{FromPid1, ToPid1};

fuzz_target!(|bytes: &[u8]| {
    match ToPid1::decode(bytes) {
        Ok(message) => assert_eq!(message.encode().as_bytes(), bytes),
        Err(bad) => assert!(!bad.to_string().is_empty()),
    }
    match FromPid1::decode(bytes) {
        Ok(message) => assert_eq!(message.encode().as_bytes(), bytes),
        Err(bad) => assert!(!bad.to_string().is_empty()),
    }
});
