// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever comes out of an autofs' pipe: what is asked has the token that stands there, and nothing but a whole packet
//! asks for anything.
//!
//! `cargo +nightly fuzz run autofs fuzz/corpus/autofs fuzz/seeds/autofs`, from `ssi-init/watch/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssi_manager::core::automount::Ask;
use ssi_watch::autofs::packet::{PACKET, ask};

fuzz_target!(|bytes: &[u8]| {
    let number = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]));
    match ask(bytes) {
        Ask::Mount { token, by } => {
            assert!(bytes.len() == PACKET && number(8) == Some(token));
            assert!(by.is_none_or(|by| by.0 > 0));
        }
        Ask::Expire { token } => assert!(bytes.len() == PACKET && number(8) == Some(token)),
        Ask::Broken(why) => assert!(!why.is_empty()),
        Ask::Unmounted => panic!("a pipe that was written to has not come to its end"),
    }
});
