// SPDX-License-Identifier: GPL-2.0-or-later
//! CRC-32 as of IEEE 802.3 (reflected, polynomial 0x04c11db7): enough to tell a torn write, no defence against intent.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

/// The checksum of these bytes, one part after the other.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut value = u32::MAX;
    for part in parts {
        for byte in *part {
            let [low, ..] = (value ^ u32::from(*byte)).to_le_bytes();
            value = (value >> 8) ^ TABLE[usize::from(low)];
        }
    }
    !value
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn it_is_the_one_of_the_standard() {
        // The check value that catalogues of CRCs give for CRC-32/ISO-HDLC.
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[]), 0);
    }
}
