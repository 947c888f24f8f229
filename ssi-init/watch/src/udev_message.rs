// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether a message is one of udevd's (systemd, `sd-device/device-monitor.c` and `device-private.c`).
//!
//! ```text
//!   0          8       12            16           20       24          28         32          40
//!   │ libudev\0│ magic │ header size │ properties │ length │ subsystem│ devtype  │ bloom, 8B │ properties, NUL behind each
//! ```
//!
//! libudev 252 believes these numbers and lists, and reads and writes astray in its own memory when they are wrong. Only
//! root may send to that group; what root's programs send by mistake shall not end a unit manager.

/// The header's size in bytes: that of every version since udev 174.
const HEADER: usize = 40;
const PREFIX: &[u8] = b"libudev\0";
/// Big-endian.
const MAGIC: [u8; 4] = 0xfeed_cafe_u32.to_be_bytes();

/// Whether libudev can read this message.
pub(crate) fn is_sound(message: &[u8]) -> bool {
    let number = |at: usize| -> Option<usize> {
        let bytes = message.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    let (Some(begin), Some(length)) = (number(16), number(20)) else { return false };
    message.starts_with(PREFIX)
        && message.get(8..12) == Some(&MAGIC)
        && begin >= HEADER
        && message.len().checked_sub(begin) == Some(length)
        && message.get(begin..).and_then(|properties| properties.strip_suffix(&[0])).is_some_and(are_properties)
}

fn are_properties(text: &[u8]) -> bool {
    text.split(|&byte| byte == 0).all(|property| {
        let Some(equals) = property.iter().position(|&byte| byte == b'=') else { return false };
        let (name, value) = property.split_at(equals);
        match name {
            b"" => false,
            b"TAGS" | b"CURRENT_TAGS" => value.strip_prefix(b"=").is_some_and(are_tags),
            _ => true,
        }
    })
}

/// `:systemd:seat:`.
fn are_tags(list: &[u8]) -> bool {
    let tags = list.strip_prefix(b":").and_then(|list| list.strip_suffix(b":"));
    let is_tag = |tag: &[u8]| !tag.is_empty() && tag.iter().all(u8::is_ascii_graphic);
    tags.is_some_and(|tags| tags.split(|&byte| byte == b':').all(is_tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(begin: u32, length: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = [PREFIX, &MAGIC].concat();
        for number in [40, begin, length] {
            bytes.extend(u32::to_ne_bytes(number));
        }
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_message_is_taken_and_what_is_none_is_not() {
        let body = b"ACTION=add\0TAGS=:systemd:\0CURRENT_TAGS=:systemd:seat:\0ID_MODEL=a\tb\0";
        let length = body.len() as u32;
        assert!(is_sound(&message(40, length, body)));
        for wrong in [
            message(39, length, body),
            message(41, length, body),
            message(u32::MAX, length, body),
            message(40, length + 1, body),
            message(40, length - 1, &body[..body.len() - 1]),
            [b"kernel@\0", &message(40, length, body)[8..]].concat(),
            message(40, length, body)[..30].to_vec(),
            Vec::new(),
        ] {
            assert!(!is_sound(&wrong), "{wrong:?}");
        }
        for tags in ["", ":", "::", "systemd", ":systemd", ":a::b:", ":a\rb:"] {
            let body = format!("ACTION=add\0CURRENT_TAGS={tags}\0");
            assert!(!is_sound(&message(40, body.len() as u32, body.as_bytes())), "{tags:?}");
        }
        assert!(!is_sound(&message(40, 4, b"ADD\0")) && !is_sound(&message(40, 3, b"=a\0")));
    }
}
