// SPDX-License-Identifier: GPL-2.0-or-later
//! How the kernel, and libmount after it, write a path into a table: what separates fields is told in octal (`\040` is a
//! blank; proc_pid_mountinfo(5)).

/// Takes the escapes back. A backslash that begins none stands for itself.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = (*byte == b'\\').then(|| after.first_chunk::<3>()).flatten().and_then(|digits| value(*digits));
        match octal {
            Some(value) => {
                plain.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

fn value(digits: [u8; 3]) -> Option<u8> {
    let text = std::str::from_utf8(&digits).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()))?;
    u8::from_str_radix(text, 8).ok()
}

/// As text; what is no UTF-8 can be no name of a unit.
pub(crate) fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(unescape(field)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octal_and_nothing_else() {
        assert_eq!(unescape(br"/a\040b\134\011"), b"/a b\\\t");
        assert_eq!(unescape(br"\04"), br"\04");
        assert_eq!(unescape(br"\999\+12\x"), br"\999\+12\x");
        assert_eq!(unescape(br"\400"), br"\400");
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut escaped = Vec::new();
            for byte in &plain {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
                    other => escaped.push(*other),
                }
            }
            prop_assert_eq!(unescape(&escaped), plain);
        }
    }
}
