// SPDX-License-Identifier: GPL-2.0-or-later
//! What the kernel writes into the pipe of an autofs: `struct autofs_v5_packet` of `linux/auto_fs.h`.
//!
//! ```text
//!   0         4     8      12    16          24    28    32    36     40    44         300
//!   │ version │ type│ token│ dev │ ino       │ uid │ gid │ pid │ tgid │ len │ name[256]│ (4 bytes of padding
//!                                                                                       where 8 bytes are aligned so)
//! ```

use ssi_manager::core::automount::Ask;
use ssi_manager::core::system::Pid;

/// Its length: the kernel writes the padding too.
pub const PACKET: usize = if align_of::<u64>() == 8 { 304 } else { 300 };

const MISSING_DIRECT: u32 = 5;
const EXPIRE_DIRECT: u32 = 6;

/// Reads a packet.
pub fn ask(packet: &[u8]) -> Ask {
    let number = |at: usize| {
        let bytes = packet.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let whole = packet.len() == PACKET;
    let (Some(version), Some(kind), Some(token), Some(by)) = (number(0), number(4), number(8), number(32)) else {
        return Ask::Broken(format!("a packet of {} bytes came from autofs, which is too short", packet.len()));
    };
    match (whole, version, kind) {
        (true, 5, MISSING_DIRECT) => Ask::Mount { token, by: Some(Pid(by)).filter(|by| by.0 > 0) },
        (true, 5, EXPIRE_DIRECT) => Ask::Expire { token },
        _ => Ask::Broken(format!(
            "a packet of {} bytes, version {version} and type {kind}, came from autofs, which is not understood",
            packet.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(version: u32, kind: u32, token: u32, pid: u32) -> Vec<u8> {
        let mut bytes = vec![0; PACKET];
        for (at, number) in [(0, version), (4, kind), (8, token), (32, pid)] {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn what_the_kernel_asks() {
        assert_eq!(ask(&packet(5, 5, 7, 42)), Ask::Mount { token: 7, by: Some(Pid(42)) });
        assert_eq!(ask(&packet(5, 5, 7, 0)), Ask::Mount { token: 7, by: None });
        assert_eq!(ask(&packet(5, 6, 8, 42)), Ask::Expire { token: 8 });
        assert!(matches!(ask(&packet(4, 5, 8, 42)), Ask::Broken(_)));
        assert!(matches!(ask(&packet(5, 3, 8, 42)), Ask::Broken(_)));
        assert!(matches!(ask(&packet(5, 5, 8, 42)[..200]), Ask::Broken(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = ask(&bytes);
        }
    }
}
