// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever process 1 hands over as the manager's log: it is refused, or it is a log whose values can be read, that
//! reads the same when it is opened again, and that can be written to and compacted.
//!
//! No checksum is hit by chance, so an input is not the file itself. It says how the file is made:
//!
//! ```text
//!   0 │ the file, byte by byte
//!   1 │ size u16 │ records  size u16 │ records …      behind a right head, each batch with right checksums
//!   2 │ as 1; then the last 4 bytes are u16 place, u8 mask, u8 cut: one byte is changed, and the end cut off
//!   3 │ orders: put, remove, commit, open again, compact; a map beside it must hold the same
//! ```
//!
//! `cargo +nightly fuzz run log fuzz/corpus/log fuzz/seeds/log`, from `ssi-init/keep/`.
#![no_main]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::fuzz_target;
use ssi_keep::exits::Exits;
use ssi_keep::log::{Log, LogError};

/// CRC-32 of IEEE 802.3, bit by bit: written apart from the crate's own, which it is to agree with.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn head() -> Vec<u8> {
    let mut head = b"SSI-LOG\n\x01\0\0\0".to_vec();
    head.extend(crc32(&head).to_le_bytes());
    head
}

/// A file of these batches, as the drawing in `src/log/layout.rs` has it.
fn file_of(mut rest: &[u8]) -> Vec<u8> {
    let mut file = head();
    while let Some((size, more)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_le_bytes(*size)).min(more.len());
        let (records, more) = more.split_at(size);
        rest = more;
        let place = (file.len() as u64).to_le_bytes();
        let mut head = (size as u32).to_le_bytes().to_vec();
        head.extend(crc32(records).to_le_bytes());
        head.extend([0; 4]);
        let sum = crc32(&[&place[..], &head].concat());
        file.extend(head);
        file.extend(sum.to_le_bytes());
        file.extend(records);
    }
    file
}

fn file_with(bytes: &[u8]) -> File {
    let file = tempfile::tempfile_in("/dev/shm").expect("a file");
    file.write_all_at(bytes, 0).expect("writes");
    file
}

fn contents(log: &Log) -> BTreeMap<String, Vec<u8>> {
    let keys: Vec<String> = log.keys("").map(str::to_owned).collect();
    assert!(keys.is_sorted_by(|one, other| one < other), "{keys:?}");
    let value = |key: &String| log.get(key).expect("reads").expect("a key has a value");
    keys.iter().map(|key| (key.clone(), value(key))).collect()
}

fn opened(bytes: &[u8]) {
    let file = file_with(bytes);
    let again = file.try_clone().expect("a descriptor");
    let (mut log, loaded) = match Log::open(file) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(matches!(error, LogError::NotALog(_) | LogError::Version(_) | LogError::Unknown(_)), "{error}");
            assert_eq!(again.metadata().expect("a size").len(), bytes.len() as u64, "a file that is refused stays");
            return;
        }
    };
    let before = contents(&log);
    assert_eq!(before.len(), loaded.keys);
    if let Some(dropped) = &loaded.dropped {
        assert_eq!(dropped.at + dropped.bytes, bytes.len() as u64);
        assert!(!dropped.to_string().is_empty());
    }
    let _ = Exits::load(&log, 5).expect("reads");
    // The end was cut off, and what is left is whole.
    let (same, loaded) = Log::open(again.try_clone().expect("a descriptor")).expect("opens again");
    assert!(loaded.dropped.is_none() && contents(&same) == before);
    let mut expected = before;
    expected.insert("fuzz/key".to_owned(), b"value".to_vec());
    log.put("fuzz/key", b"value").expect("a key");
    let _ = log.commit().expect("writes");
    assert_eq!(contents(&log), expected);
    assert_eq!(contents(&Log::open(again).expect("opens once more").0), expected);
    log.compact_into(file_with(b"")).expect("compacts");
    assert_eq!(contents(&log), expected);
    assert!(log.dead() <= 32 * expected.len() as u64 + 32, "{} bytes are dead", log.dead());
}

fn ordered(orders: &[u8]) {
    let mut file = file_with(b"");
    let mut log = Log::create_in(file.try_clone().expect("a descriptor")).expect("a log");
    let mut now: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut committed = now.clone();
    for order in orders.chunks(3) {
        let &[what, key, value] = order else { break };
        let key = format!("unit/{}", key % 16);
        match what % 8 {
            0..=2 => {
                let value = vec![value; usize::from(value)];
                log.put(&key, &value).expect("a key");
                now.insert(key, value);
            }
            3 => {
                log.remove(&key).expect("removes");
                now.remove(&key);
            }
            4 => {
                let _ = log.commit().expect("writes");
                committed = now.clone();
            }
            // Killed: what was not committed is gone.
            5 => {
                log = Log::open(file.try_clone().expect("a descriptor")).expect("opens").0;
                now = committed.clone();
            }
            6 => {
                let new = file_with(b"");
                let into = new.try_clone().expect("a descriptor");
                match log.compact_into(into) {
                    Ok(()) => {
                        // It holds what was committed; what was not waits on.
                        file = new;
                        assert_eq!(
                            contents(&Log::open(file.try_clone().expect("a descriptor")).expect("opens").0),
                            committed
                        );
                    }
                    Err(error) => assert!(matches!(error, LogError::NotHeld), "{error}"),
                }
            }
            _ => {
                let _ = log.to_hand_over().map(|_| ());
                if value % 2 == 0 { log.held() } else { log.not_held() }
            }
        }
        assert_eq!(contents(&log), now);
        assert!(log.is_changed() || now == committed, "all was committed, and is another");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => opened(rest),
        1 => opened(&file_of(rest)),
        2 => {
            let Some((batches, damage)) = rest.split_last_chunk::<4>() else { return };
            let mut file = file_of(batches);
            let place = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % file.len();
            file[place] ^= damage[2];
            file.truncate(file.len() - usize::from(damage[3]).min(file.len()));
            opened(&file);
        }
        _ => ordered(rest),
    }
});
