// SPDX-License-Identifier: GPL-2.0-or-later
//! What is wrong in a configuration file, where, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many characters of the offending text are shown.
const SHOWN: usize = 60;

/// One mistake in `cluster.toml`.
///
/// Written as `file:line:column: what is wrong: 'offending text'; what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named to [`Config::parse`](super::Config::parse).
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in that line, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// The text that is wrong, cut to one line; `None` where something is missing altogether.
    pub offending: Option<String>,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.what)?;
        if let Some(offending) = &self.offending {
            write!(f, ": '{offending}'")?;
        }
        write!(f, "; {}", self.right)
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes found in one file, at least one, in the order of their places; one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes, in the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// The mistakes, in the order of their places.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A mistake while the text is at hand: its place is still a range of bytes.
struct Noted {
    span: Range<usize>,
    what: String,
    offending: Option<String>,
    right: String,
}

/// Collects mistakes while a text is read.
pub(super) struct Notebook<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    noted: Vec<Noted>,
}

impl<'t> Notebook<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { text, line_starts: std::iter::once(0).chain(after_newlines).collect(), noted: Vec::new() }
    }

    /// Notes that the text at `span` is wrong.
    pub(super) fn wrong(&mut self, span: Range<usize>, what: impl Into<String>, right: impl Into<String>) {
        let offending = self.text.get(span.clone()).unwrap_or_default();
        let offending = Some(one_line(offending)).filter(|o| !o.is_empty());
        self.noted.push(Noted { span, what: what.into(), offending, right: right.into() });
    }

    /// Notes that the value at `span`, which reads as `value`, is wrong.
    pub(super) fn wrong_value(
        &mut self,
        span: Range<usize>,
        value: &str,
        what: impl Into<String>,
        right: impl Into<String>,
    ) {
        self.noted.push(Noted { span, what: what.into(), offending: Some(one_line(value)), right: right.into() });
    }

    /// Notes that something is missing from the file as a whole.
    pub(super) fn missing(&mut self, what: impl Into<String>, right: impl Into<String>) {
        self.noted.push(Noted { span: 0..0, what: what.into(), offending: None, right: right.into() });
    }

    /// The line that this byte is in, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// What was noted, or `Ok` when nothing was.
    pub(super) fn close(mut self, file: &Path) -> Result<(), ConfigErrors> {
        self.noted.sort_by_key(|n| n.span.start);
        let mut mistakes = Vec::with_capacity(self.noted.len());
        // Places are sorted, so each line is counted through once, however many mistakes are in it.
        let (mut line, mut counted_to, mut column) = (1, 0, 1);
        for noted in std::mem::take(&mut self.noted) {
            let at = noted.span.start.min(self.text.len());
            let here = self.line(at);
            if here != line {
                (line, counted_to, column) = (here, self.line_starts.get(here - 1).copied().unwrap_or(0), 1);
            }
            column += self.text.get(counted_to..at).map_or(0, |passed| passed.chars().count());
            counted_to = at;
            let Noted { what, offending, right, .. } = noted;
            mistakes.push(ConfigError { file: file.to_owned(), line, column, what, offending, right });
        }
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors(mistakes)) }
    }
}

impl ConfigErrors {
    /// A mistake of the file as a whole, or in bytes that are not text.
    pub(super) fn one(
        file: &Path,
        (line, column): (usize, usize),
        what: String,
        offending: Option<String>,
        right: String,
    ) -> Self {
        Self(vec![ConfigError { file: file.to_owned(), line, column, what, offending, right }])
    }
}

/// The first line of `text`, cut to [`SHOWN`] characters, with what a terminal would not show spelled out.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = line.char_indices().nth(SHOWN).map(|(at, _)| at);
    let mut shown = String::new();
    for c in line[..cut.unwrap_or(line.len())].chars() {
        // Quotes and backslashes stay as they are; escape_debug's other subjects are what cannot be seen.
        if matches!(c, '"' | '\'' | '\\') { shown.push(c) } else { shown.extend(c.escape_debug()) }
    }
    if cut.is_some() || line.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}

/// The known name that was most likely meant, if any is near enough: one that it is the start of, the same letters in
/// another order, or at most two letters inserted, dropped or changed, and at most a third of the word.
///
/// Levenshtein's distance, some ten lines: a crate for it would be one more package on every machine.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name: Vec<char> = name.to_lowercase().chars().take(40).collect();
    let shortened = |whole: &str| name.len() >= 3 && name.iter().copied().eq(whole.chars().take(name.len()));
    if let Some(whole) = known.iter().find(|k| shortened(k)) {
        return Some(whole);
    }
    let letters = |word: &mut dyn Iterator<Item = char>| {
        let mut letters: Vec<char> = word.collect();
        letters.sort_unstable();
        letters
    };
    let own_letters = letters(&mut name.iter().copied());
    let distance = |other: &str| {
        if letters(&mut other.chars()) == own_letters {
            return usize::from(!name.iter().copied().eq(other.chars()));
        }
        let mut row: Vec<usize> = (0..=other.chars().count()).collect();
        for (i, a) in name.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, b) in other.chars().enumerate() {
                let changed = diagonal + usize::from(*a != b);
                diagonal = row[j + 1];
                row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
            }
        }
        row[row.len() - 1]
    };
    let (far, best) = known.iter().map(|k| (distance(k), *k)).min_by_key(|(far, _)| *far)?;
    (far <= 2 && far * 3 <= best.chars().count().max(name.len())).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_are_found_in_any_order() {
        let text = "ä = 1\n\nöö = 2, ü";
        let mut notebook = Notebook::new(text);
        let at = |what: &str| text.find(what).unwrap();
        notebook.wrong(at("ü")..text.len(), "c", "");
        notebook.wrong(at("2")..at("2") + 1, "b", "");
        notebook.wrong(at("=")..at("=") + 1, "a", "");
        let errors = notebook.close(Path::new("f")).unwrap_err();
        let places: Vec<_> = errors.iter().map(|e| (e.what.as_str(), e.line, e.column)).collect();
        assert_eq!(places, [("a", 1, 3), ("b", 3, 6), ("c", 3, 9)]);
    }

    #[test]
    fn a_typing_slip_is_recognised_and_another_word_is_not() {
        let known = ["address", "addresses", "name", "id", "mac"];
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("nmae", &known), Some("name"));
        assert_eq!(nearest("role", &known), None);
        assert_eq!(nearest("addr", &known), Some("address"));
        assert_eq!(nearest("Id", &known), Some("id"));
        assert_eq!(nearest("nam", &known), Some("name"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("ip", &known), None);
    }

    #[test]
    fn offending_text_is_one_short_printable_line() {
        assert_eq!(one_line("a\tb\nc"), "a\\tb…");
        assert_eq!(one_line(&"x".repeat(100)), format!("{}…", "x".repeat(60)));
        assert_eq!(one_line("say \"hi\""), "say \"hi\"");
        assert_eq!(one_line(""), "");
    }
}
