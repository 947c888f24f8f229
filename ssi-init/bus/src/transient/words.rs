// SPDX-License-Identifier: GPL-2.0-or-later
//! Texts and words so that the reader of unit files gives back just what was meant: "Quoting" in systemd.service(5).

use std::fmt::Write as _;

/// `%` begins a specifier in nearly every setting.
pub(super) fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

/// Whether a value stays within its line. A backslash at the end would have the next line belong to it.
pub(super) fn is_one_line(value: &str) -> bool {
    !value.contains(['\n', '\r', '\0']) && !value.ends_with('\\')
}

fn needs_no_quotes(word: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_@:./-+=,~!^%*?[]{}".contains(&byte);
    !word.is_empty() && word.bytes().all(harmless)
}

/// A word of a list.
pub(super) fn word(word: &str) -> String {
    if needs_no_quotes(word) {
        return plain(word);
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for character in word.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '%' => quoted.push_str("%%"),
            control if control.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of words.
pub(super) fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> String {
    list.into_iter().map(word).collect::<Vec<_>>().join(" ")
}
