// SPDX-License-Identifier: GPL-2.0-or-later
//! How a setting's value falls apart into words: quotes, backslashes and separators.
//!
//! Settings differ in what a quote or a backslash means to them, so a [`Splitter`] is told by [`Rules`]; the named
//! constants are the combinations that unit files use. systemd.syntax(7), "Quoting", gives the rules and the table of
//! escapes.
//!
//! Words are bytes, not text: `"\xff"` is a valid argument of a program.

use std::fmt;

/// The separators of most settings: blank, tab, line feed, carriage return.
pub const WHITESPACE: &[u8] = b" \t\n\r";

/// What a backslash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backslash {
    /// Nothing: it stands for itself.
    Literal,
    /// It takes the meaning from the next character, and is gone.
    Quotes,
    /// It begins an escape of the C language; an unknown one is an error.
    C,
    /// As [`Backslash::C`], and also before a separator or another backslash.
    COrSeparator,
    /// As [`Backslash::C`], but an unknown escape stays as it was written.
    CRelaxed,
}

/// How words are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes between words.
    pub separators: &'static [u8],
    /// Whether `"` and `'` group and are taken away.
    pub unquote: bool,
    /// What a backslash means.
    pub backslash: Backslash,
    /// Whether a quote that is never closed, or a backslash at the end, is let pass.
    pub open_end: bool,
    /// Whether two separators in a row have an empty word between them.
    pub empty_words: bool,
}

impl Rules {
    /// Words between blanks; quotes and backslashes are ordinary characters.
    pub const PLAIN: Rules = Rules {
        separators: WHITESPACE,
        unquote: false,
        backslash: Backslash::Literal,
        open_end: false,
        empty_words: false,
    };
    /// Quotes group, backslashes are ordinary: lists of unit names, where `\x2d` is part of the name.
    pub const NAMES: Rules = Rules { unquote: true, ..Rules::PLAIN };
    /// Quotes group, a backslash protects the next character.
    pub const QUOTED: Rules = Rules { backslash: Backslash::Quotes, ..Rules::NAMES };
    /// Quotes group, escapes of C: command lines, `Environment=`.
    pub const C: Rules = Rules { backslash: Backslash::C, ..Rules::NAMES };
    /// A variable's value that `$NAME` breaks into arguments.
    pub const VARIABLE: Rules = Rules { open_end: true, ..Rules::QUOTED };
    /// Colon-separated parts of one word, such as `BindPaths=a:b`.
    pub const COLONS: Rules =
        Rules { separators: b":", backslash: Backslash::COrSeparator, empty_words: true, ..Rules::NAMES };

    /// These rules with unknown escapes left as written.
    #[must_use]
    pub const fn relaxed(self) -> Rules {
        Rules { backslash: Backslash::CRelaxed, ..self }
    }
}

/// Why a word could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWord {
    /// A quote is not closed, or a backslash is the last character.
    OpenEnd,
    /// A backslash is followed by what is not an escape.
    UnknownEscape,
}

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWord::OpenEnd => "a quote is not closed, or a backslash ends the line",
            BadWord::UnknownEscape => "a backslash is followed by what is not an escape",
        })
    }
}

impl std::error::Error for BadWord {}

/// Takes words off the front of a text, one at a time.
#[derive(Clone, Debug)]
pub struct Splitter<'a> {
    rest: &'a [u8],
    /// The text ended without a separator: nothing more comes, not even an empty word.
    finished: bool,
}

impl<'a> Splitter<'a> {
    /// Begins at the start of `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Splitter<'a> {
        Splitter { rest: text, finished: false }
    }

    /// What is left; after a word, the separators that follow it are gone too (all of them, unless empty words count).
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on at `bytes` from here, and past any blanks that follow.
    pub fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.skip_separators(WHITESPACE);
    }

    fn skip_separators(&mut self, separators: &[u8]) {
        while let [first, rest @ ..] = self.rest
            && separators.contains(first)
        {
            self.rest = rest;
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next word, or `None` at the end. After an error the splitter stands somewhere inside the bad word.
    ///
    /// # Errors
    /// [`BadWord`], as `rules` have it.
    pub fn next_word(&mut self, rules: Rules) -> Result<Option<Vec<u8>>, BadWord> {
        if self.finished {
            return Ok(None);
        }
        if !rules.empty_words {
            self.skip_separators(rules.separators);
            if self.rest.is_empty() {
                self.finished = true;
                return Ok(None);
            }
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            let Some(byte) = self.take() else {
                if quote.is_some() && !rules.open_end {
                    return Err(BadWord::OpenEnd);
                }
                self.finished = true;
                return Ok(Some(word));
            };
            match (quote, byte) {
                (_, b'\\') if rules.backslash != Backslash::Literal => {
                    self.escape(rules, quote.is_some(), &mut word)?
                }
                (Some(open), close) if open == close => quote = None,
                (Some(_), inside) => word.push(inside),
                (None, b'"' | b'\'') if rules.unquote => quote = Some(byte),
                (None, separator) if rules.separators.contains(&separator) => {
                    if !rules.empty_words {
                        self.skip_separators(rules.separators);
                    }
                    return Ok(Some(word));
                }
                (None, ordinary) => word.push(ordinary),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, rules: Rules, quoted: bool, word: &mut Vec<u8>) -> Result<(), BadWord> {
        let Some(&next) = self.rest.first() else {
            return match rules.backslash {
                Backslash::CRelaxed if !quoted || rules.open_end => {
                    word.push(b'\\');
                    Ok(())
                }
                _ if rules.open_end => Ok(()),
                _ => Err(BadWord::OpenEnd),
            };
        };
        let c = matches!(rules.backslash, Backslash::C | Backslash::COrSeparator | Backslash::CRelaxed);
        if c && let Some((length, meaning)) = c_escape(self.rest) {
            self.rest = self.rest.get(length..).unwrap_or_default();
            meaning.append_to(word);
            return Ok(());
        }
        match rules.backslash {
            Backslash::Literal | Backslash::Quotes => {}
            Backslash::COrSeparator if next == b'\\' || rules.separators.contains(&next) => {}
            Backslash::CRelaxed => word.push(b'\\'),
            Backslash::C | Backslash::COrSeparator => return Err(BadWord::UnknownEscape),
        }
        word.push(next);
        self.rest = self.rest.get(1..).unwrap_or_default();
        Ok(())
    }
}

/// What an escape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaped {
    /// This very byte.
    Byte(u8),
    /// This code point, in UTF-8. A lone surrogate is encoded as if it were a character, as systemd does.
    CodePoint(u32),
}

impl Escaped {
    fn append_to(self, word: &mut Vec<u8>) {
        let point = match self {
            Escaped::Byte(byte) => return word.push(byte),
            Escaped::CodePoint(point) => point,
        };
        let tail = |shift: u32| 0x80 | u8::try_from(point >> shift & 0x3f).unwrap_or_default();
        let head = |mark: u8, shift: u32| mark | u8::try_from(point >> shift).unwrap_or_default();
        match point {
            0..=0x7f => word.push(head(0, 0)),
            0x80..=0x7ff => word.extend([head(0xc0, 6), tail(0)]),
            0x800..=0xffff => word.extend([head(0xe0, 12), tail(6), tail(0)]),
            _ => word.extend([head(0xf0, 18), tail(12), tail(6), tail(0)]),
        }
    }
}

/// Reads one escape of C from what follows the backslash: its length and its meaning. A NUL is none.
#[must_use]
pub fn c_escape(text: &[u8]) -> Option<(usize, Escaped)> {
    let digits = |length: usize, radix: u32| -> Option<u32> {
        let skip = usize::from(radix == 16);
        let digits = text.get(skip..skip + length)?;
        digits.iter().try_fold(0u32, |sum, byte| Some(sum * radix + char::from(*byte).to_digit(radix)?))
    };
    let byte = |byte| Some((1, Escaped::Byte(byte)));
    match *text.first()? {
        b'a' => byte(0x07),
        b'b' => byte(0x08),
        b'f' => byte(0x0c),
        b'n' => byte(b'\n'),
        b'r' => byte(b'\r'),
        b't' => byte(b'\t'),
        b'v' => byte(0x0b),
        b's' => byte(b' '),
        own @ (b'\\' | b'"' | b'\'') => byte(own),
        b'x' => {
            let value = u8::try_from(digits(2, 16)?).ok()?;
            (value != 0).then_some((3, Escaped::Byte(value)))
        }
        b'0'..=b'7' => {
            let value = u8::try_from(digits(3, 8)?).ok()?;
            (value != 0).then_some((3, Escaped::Byte(value)))
        }
        b'u' => {
            let value = digits(4, 16)?;
            (value != 0).then_some((5, Escaped::CodePoint(value)))
        }
        b'U' => {
            // Eight digits may not overflow: char::from_u32 ends at 0x10ffff, and so do valid inputs.
            let text = std::str::from_utf8(text.get(1..9)?).ok()?;
            let value = u32::from_str_radix(text, 16).ok().filter(|_| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            (value != 0).then_some(())?;
            char::from_u32(value)?;
            Some((9, Escaped::CodePoint(value)))
        }
        _ => None,
    }
}

/// All words of `text`.
///
/// # Errors
/// [`BadWord`] of the first word that cannot be read.
pub fn split(text: &[u8], rules: Rules) -> Result<Vec<Vec<u8>>, BadWord> {
    let mut splitter = Splitter::new(text);
    let mut words = Vec::new();
    while let Some(word) = splitter.next_word(rules)? {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(rules: Rules, text: &str) -> Result<Vec<String>, BadWord> {
        let words = split(text.as_bytes(), rules)?;
        Ok(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn quotes_group_and_may_begin_inside_a_word() {
        assert_eq!(text(Rules::C, r#"a "b c" d'e f'g ''"#).unwrap(), ["a", "b c", "de fg", ""]);
        assert_eq!(text(Rules::PLAIN, r#"a "b c"#).unwrap(), ["a", "\"b", "c"]);
    }

    #[test]
    fn an_open_end_is_an_error_unless_allowed() {
        assert_eq!(text(Rules::C, "a 'b"), Err(BadWord::OpenEnd));
        assert_eq!(text(Rules::C, "a\\"), Err(BadWord::OpenEnd));
        assert_eq!(text(Rules::VARIABLE, "a 'b c").unwrap(), ["a", "b c"]);
        assert_eq!(text(Rules::VARIABLE, "a\\").unwrap(), ["a"]);
        assert_eq!(text(Rules::C.relaxed(), "a\\").unwrap(), ["a\\"]);
        assert_eq!(text(Rules::C.relaxed(), "'a\\"), Err(BadWord::OpenEnd));
    }

    #[test]
    fn escapes_of_c() {
        assert_eq!(text(Rules::C, r"\x41\102\u00e9\U0001F600\n\s|").unwrap(), ["AB\u{e9}\u{1f600}\n |"]);
        assert_eq!(split(br"\xff", Rules::C).unwrap(), [[0xff]]);
        for bad in [r"\q", r"\x4", r"\000", r"\400", r"\u00", r"\U00110000", r"\U+0000041", r"\x00", r"\-"] {
            assert_eq!(text(Rules::C, bad), Err(BadWord::UnknownEscape), "{bad}");
            assert_eq!(text(Rules::C.relaxed(), bad).unwrap(), [bad], "{bad}");
        }
    }

    #[test]
    fn names_keep_their_backslashes() {
        assert_eq!(text(Rules::NAMES, r"dev-a\x2db.device 'c d'").unwrap(), [r"dev-a\x2db.device", "c d"]);
        assert_eq!(text(Rules::QUOTED, r"a\ b").unwrap(), ["a b"]);
    }

    #[test]
    fn colons_have_empty_words_between_them() {
        assert_eq!(text(Rules::COLONS, r"a\:b::c:").unwrap(), ["a:b", "", "c", ""]);
        assert_eq!(text(Rules::COLONS, "").unwrap(), [""]);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_splitter(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for rules in [Rules::PLAIN, Rules::NAMES, Rules::QUOTED, Rules::C, Rules::VARIABLE, Rules::COLONS, Rules::C.relaxed()] {
                let _ = split(&bytes, rules);
            }
        }

        #[test]
        fn a_quoted_word_comes_back_whole(word in "[ -~]{0,40}") {
            let quoted = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(split(quoted.as_bytes(), Rules::C).unwrap(), [word.into_bytes()]);
        }
    }
}
