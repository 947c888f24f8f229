// SPDX-License-Identifier: GPL-2.0-or-later
//! Texts and words so that the reader of unit files gives back just what was meant. Settings differ in what a quote and a
//! backslash mean to them ([`Rules`](ssi_unit::words::Rules)); there is a writer here for each kind of word that is read.
//!
//! What no kind of quoting can say, such as the end of a line where backslashes are not escapes, is left as it is:
//! [`is_one_line`] has it refused.

use std::fmt::Write as _;

use super::Refusal;

/// How the words of a list are told apart by who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// Nothing but blanks parts words, and nothing can protect a blank: names of units.
    Names,
    /// A backslash protects the next character, quotes are ordinary.
    Bare,
    /// Quotes group, a backslash protects the next character.
    Quotes,
    /// Quotes group, escapes of C.
    C,
    /// Words in quotes that fall apart at colons once more, and only then have escapes of C.
    Colons,
}

impl Quoting {
    /// A word of such a list.
    pub(super) fn word(self, word: &str) -> Result<String, Refusal> {
        let blank = |character: char| matches!(character, ' ' | '\t');
        match self {
            Quoting::C => Ok(c_word(word.as_bytes())),
            Quoting::Quotes => Ok(quoted(word)),
            _ if word.is_empty() => Err(Refusal::Wrong("an empty word cannot be in this list".to_owned())),
            Quoting::Names if word.contains(blank) => {
                Err(Refusal::Wrong(format!("\"{word}\" has a blank, which would part it")))
            }
            Quoting::Names => Ok(plain(word)),
            Quoting::Bare => Ok(protected(word, |character| blank(character) || character == '\\')),
            Quoting::Colons => Ok(colon_part(word)),
        }
    }

    /// A list of words.
    pub(super) fn words<'a>(self, list: impl IntoIterator<Item = &'a str>) -> Result<String, Refusal> {
        let words: Result<Vec<String>, Refusal> = list.into_iter().map(|word| self.word(word)).collect();
        Ok(words?.join(" "))
    }
}

/// `%` begins a specifier in nearly every setting.
pub(super) fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

/// Whether a value stays within its line and is read whole. A backslash at the end would have the next line belong to
/// it, and blanks at the ends are not read.
pub(super) fn is_one_line(value: &str) -> bool {
    !value.contains(['\n', '\r', '\0']) && !value.ends_with('\\') && value.trim() == value
}

/// A text for people, in one line.
pub(super) fn in_one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

fn needs_no_quotes(word: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@:./-+=,~!^%*?[]{}".contains(byte);
    !word.is_empty() && word.iter().all(harmless)
}

/// A word with escapes of C.
pub(super) fn c_word(word: &[u8]) -> String {
    let quotes = if needs_no_quotes(word) { "" } else { "\"" };
    format!("{quotes}{}{quotes}", c_escaped(word, "\"\\", "%%"))
}

/// Bytes with escapes of C: those that are no text, and these characters.
pub(super) fn c_escaped(bytes: &[u8], special: &str, percent: &str) -> String {
    let mut escaped = String::with_capacity(bytes.len() + 2);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '%' => escaped.push_str(percent),
                odd if odd.is_ascii() && (odd.is_ascii_control() || special.contains(odd)) => {
                    let _ = match odd {
                        '"' | '\\' => write!(escaped, "\\{odd}"),
                        other => write!(escaped, "\\x{:02x}", other as u32),
                    };
                }
                other => escaped.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped
}

/// Protects characters with backslashes.
fn protected(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if special(character) {
            written.push('\\');
        }
        written.push(character);
    }
    plain(&written)
}

/// A word in quotes, in which a backslash protects the next character.
pub(super) fn quoted(word: &str) -> String {
    if needs_no_quotes(word.as_bytes()) {
        return plain(word);
    }
    format!("\"{}\"", protected(word, |character| matches!(character, '"' | '\\')))
}

/// A part between colons of a word that has no quotes around it: `BindPaths=`.
pub(super) fn protected_part(text: &str) -> String {
    protected(text, |character| matches!(character, ' ' | '\t' | ':' | '"' | '\'' | '\\'))
}

/// A part between colons of a word that was taken out of its quotes before: what would end either is written as its
/// number.
pub(super) fn colon_part(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => written.push_str("%%"),
            ':' => written.push_str("\\:"),
            odd if odd.is_ascii_control() || matches!(odd, ' ' | '"' | '\'' | '\\') => {
                let _ = write!(written, "\\x{:02x}", odd as u32);
            }
            other => written.push(other),
        }
    }
    written
}

/// RFC 4648.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, place| word << 8 | u32::from(group.get(place).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::words::{Rules, split};

    const ODD: [&str; 12] =
        ["a", "a b", "", "\"", "'it''s'", "\\", "a\\ b", "x\\x20", ";", "#[a]", "tab\there", "\u{e9}\u{1f600} ~!"];

    /// Words by those rules, `%%` taken for one.
    fn read(line: &str, rules: Rules) -> Vec<String> {
        let words = split(line.as_bytes(), rules).unwrap();
        words.into_iter().map(|word| String::from_utf8(word).unwrap().replace("%%", "%")).collect()
    }

    #[test]
    fn words_come_back_as_they_were() {
        let bare = Rules { unquote: false, ..Rules::QUOTED };
        for (quoting, rules) in [(Quoting::C, Rules::C), (Quoting::Quotes, Rules::QUOTED), (Quoting::Bare, bare)] {
            let words: Vec<&str> =
                ODD.into_iter().filter(|word| quoting != Quoting::Bare || !word.is_empty()).collect();
            let line = quoting.words(words.iter().copied()).unwrap();
            assert_eq!(read(&line, rules), words, "{quoting:?}: {line}");
        }
        assert_eq!(read(&c_word(b"line\nend\r\x01 100%"), Rules::C), ["line\nend\r\x01 100%"]);
        assert_eq!(split(c_word(b"\xff a").as_bytes(), Rules::C).unwrap(), [b"\xff a"]);
        for word in ["a b:c", "'\"\\", "%h\n", "a"] {
            let line = Quoting::Colons.words([word, "next"]).unwrap();
            let outer = split(line.as_bytes(), Rules::NAMES).unwrap();
            let inner = String::from_utf8(outer[0].clone()).unwrap();
            assert_eq!((outer.len(), read(&inner, Rules::COLONS)), (2, vec![word.to_owned()]), "{line}");
        }
        assert!(Quoting::Names.word("a b").is_err() && Quoting::Names.word("").is_err());
        assert_eq!(Quoting::Names.word("dev-a\\x2d%.device").unwrap(), "dev-a\\x2d%%.device");
    }

    #[test]
    fn digits_of_base64() {
        let of = |text: &str| base64(text.as_bytes());
        assert_eq!(
            (of(""), of("h"), of("he"), of("hel")),
            (String::new(), "aA==".into(), "aGU=".into(), "aGVs".into())
        );
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0xfc]), "//79/A==");
    }

    #[test]
    fn a_line_is_one() {
        for bad in ["a\nb", "a\r", "\0", "a\\", " a", "a\t"] {
            assert!(!is_one_line(bad), "{bad:?}");
        }
        assert!(is_one_line("") && is_one_line("a \\ b"));
        assert_eq!(in_one_line(" sh -c a\n\tb\n"), "sh -c a  b");
    }
}
