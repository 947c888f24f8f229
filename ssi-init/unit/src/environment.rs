// SPDX-License-Identifier: GPL-2.0-or-later
//! Environment variables: assignments in unit files, files of assignments, and their place in command lines.
//!
//! `Environment=` is read with [`assignments`], a file that `EnvironmentFile=` names with [`parse_file`] (the same
//! reader does for os-release(5) and machine-info(5)), and [`expand_arguments`] replaces `$NAME` and `${NAME}` when a
//! service is about to run. systemd.exec(5) and systemd.service(5), "Command lines", describe the three.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use crate::words::{self, BadWord, Rules, Splitter};

/// Variables in the order in which they were first set; a name occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// No variables.
    #[must_use]
    pub fn new() -> Environment {
        Environment::default()
    }

    /// Sets a variable; one that was set keeps its place.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Sets every variable of `other`.
    pub fn extend(&mut self, other: &Environment) {
        for (name, value) in &other.0 {
            self.set(name.as_str(), value.as_str());
        }
    }

    /// Removes by `UnsetEnvironment=`'s rule: `NAME` in any case, `NAME=value` only when the value is this one.
    pub fn unset(&mut self, pattern: &str) {
        match pattern.split_once('=') {
            Some((name, value)) => self.0.retain(|(known, set)| known != name || set != value),
            None => self.0.retain(|(known, _)| known != pattern),
        }
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The variables in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Forgets all variables.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many variables there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Environment {
        let mut environment = Environment::new();
        for (name, value) in pairs {
            environment.set(name, value);
        }
        environment
    }
}

/// The longest block the kernel takes for arguments and environment together, as sysconf(_SC_ARG_MAX) has it.
const ARG_MAX: usize = 2 * 1024 * 1024;

/// Whether `name` can be a variable of a service: letters, digits and `_`, no digit first.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= ARG_MAX - 2
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Cuts `NAME=value`; `None` when the name is not one or the value is not UTF-8.
#[must_use]
pub fn assignment(word: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = std::str::from_utf8(word).ok()?.split_once('=')?;
    (is_name(name) && word.len() < ARG_MAX).then_some((name, value))
}

/// What an `Environment=` line gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// The assignments, in order; a name may come twice.
    pub set: Vec<(String, String)>,
    /// What was passed over, and why.
    pub warnings: Vec<String>,
}

/// Reads the value of `Environment=`; `expand` resolves the specifiers of each word.
///
/// A bad word is passed over; from a word whose quotes or escapes are broken on, the rest of the line is.
pub fn assignments<E: fmt::Display>(value: &str, expand: impl Fn(&[u8]) -> Result<Vec<u8>, E>) -> Assignments {
    let mut found = Assignments::default();
    let mut splitter = Splitter::new(value.as_bytes());
    loop {
        let word = match splitter.next_word(Rules::C) {
            Ok(Some(word)) => word,
            Ok(None) => return found,
            Err(bad) => {
                found.warnings.push(format!("cannot take \"{value}\" apart ({bad}); the rest of the line is ignored"));
                return found;
            }
        };
        let shown = String::from_utf8_lossy(&word).into_owned();
        match expand(&word) {
            Err(error) => found.warnings.push(format!("\"{shown}\" is ignored: {error}")),
            Ok(word) => match assignment(&word) {
                Some((name, value)) => found.set.push((name.to_owned(), value.to_owned())),
                None => found.warnings.push(format!("\"{shown}\" is not an assignment NAME=value; ignored")),
            },
        }
    }
}

/// Why a file of assignments cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A NUL in the file.
    #[error("byte {0} is a NUL: this is not a text file")]
    Nul(usize),
    /// A name or value is not UTF-8.
    #[error("line {0}: not UTF-8")]
    NotUtf8(usize),
}

/// One assignment of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The line it begins on, from 1.
    pub line: usize,
    /// What stands before the `=`; any text, see [`is_name`].
    pub name: String,
    /// The value, quotes and escapes resolved.
    pub value: String,
}

/// Reads a file of shell-like assignments.
///
/// Blank lines, lines without `=` and lines that begin with `#` or `;` are passed over; a backslash at the end of a
/// line joins it with the next, in comments too. `'…'` is verbatim; in `"…"` a backslash protects only `"`, `\`,
/// `` ` `` and `$`; outside quotes it protects any character. Nothing is expanded.
///
/// # Errors
/// [`FileError`]; names are not checked, the caller does that with [`is_name`].
pub fn parse_file(text: &[u8]) -> Result<Vec<FileEntry>, FileError> {
    if let Some(place) = text.iter().position(|byte| *byte == 0) {
        return Err(FileError::Nul(place));
    }
    let mut reader = FileReader { rest: text, line: 1 };
    let mut entries = Vec::new();
    while let Some((line, name)) = reader.name() {
        let value = reader.value();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| FileError::NotUtf8(line));
        entries.push(FileEntry { line, name: text(name)?, value: text(value)? });
    }
    Ok(entries)
}

struct FileReader<'a> {
    rest: &'a [u8],
    line: usize,
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_blank(byte: u8) -> bool {
    words::WHITESPACE.contains(&byte)
}

fn trim_end(mut text: Vec<u8>, kept: usize) -> Vec<u8> {
    while text.len() > kept && text.last().copied().is_some_and(is_blank) {
        text.pop();
    }
    text
}

impl FileReader<'_> {
    fn take(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    /// Goes on to the next line that has a `=`, and reads up to it.
    fn name(&mut self) -> Option<(usize, Vec<u8>)> {
        loop {
            let (line, first) = (self.line, self.take()?);
            match first {
                b'#' | b';' => self.comment(),
                blank if is_blank(blank) => {}
                // Even a "=" at the start belongs to the name; a second one ends it.
                first => {
                    let mut name = vec![first];
                    loop {
                        match self.take()? {
                            b'=' => return Some((line, trim_end(name, 0))),
                            end if is_newline(end) => break,
                            byte => name.push(byte),
                        }
                    }
                }
            }
        }
    }

    fn comment(&mut self) {
        while let Some(byte) = self.take() {
            match byte {
                b'\\' => {
                    self.take();
                }
                end if is_newline(end) => return,
                _ => {}
            }
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        // Quotes count only before the first bare character; after it they are ordinary.
        loop {
            let Some(byte) = self.take() else { return value };
            match byte {
                end if is_newline(end) => return value,
                blank if is_blank(blank) => {}
                b'\'' => self.single_quoted(&mut value),
                b'"' => self.double_quoted(&mut value),
                b'\\' => {
                    let kept = self.escaped(&mut value);
                    return self.bare(value, kept);
                }
                byte => {
                    value.push(byte);
                    let kept = value.len();
                    return self.bare(value, kept);
                }
            }
        }
    }

    /// Reads a value without quotes; blanks at its end go, but not within the first `kept` bytes.
    fn bare(&mut self, mut value: Vec<u8>, mut kept: usize) -> Vec<u8> {
        while let Some(byte) = self.take() {
            match byte {
                end if is_newline(end) => break,
                b'\\' => kept = self.escaped(&mut value),
                byte => value.push(byte),
            }
        }
        trim_end(value, kept)
    }

    fn escaped(&mut self, value: &mut Vec<u8>) -> usize {
        if let Some(byte) = self.take().filter(|byte| !is_newline(*byte)) {
            value.push(byte);
        }
        value.len()
    }

    fn single_quoted(&mut self, value: &mut Vec<u8>) {
        while let Some(byte) = self.take().filter(|byte| *byte != b'\'') {
            value.push(byte);
        }
    }

    fn double_quoted(&mut self, value: &mut Vec<u8>) {
        while let Some(byte) = self.take().filter(|byte| *byte != b'"') {
            match byte {
                b'\\' => match self.take() {
                    Some(own @ (b'"' | b'\\' | b'`' | b'$')) => value.push(own),
                    Some(b'\n') | None => {}
                    Some(other) => value.extend([b'\\', other]),
                },
                byte => value.push(byte),
            }
        }
    }
}

/// Replaces variables in a command line's arguments.
///
/// An argument that is `$NAME` as a whole becomes as many arguments as the value has words (none when it is not set);
/// `${NAME}` inside an argument becomes the value as it is; `$$` becomes `$`.
///
/// # Errors
/// [`BadWord`] when the value behind a `$NAME` cannot be taken apart.
pub fn expand_arguments(arguments: &[OsString], variables: &Environment) -> Result<Vec<OsString>, BadWord> {
    let mut expanded = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match argument.as_bytes() {
            [b'$', name @ ..] if !matches!(name.first(), Some(b'{' | b'$')) => {
                let value = std::str::from_utf8(name).ok().and_then(|name| variables.get(name)).unwrap_or_default();
                let words = words::split(value.as_bytes(), Rules::VARIABLE)?;
                expanded.extend(words.into_iter().map(OsString::from_vec));
            }
            bytes => expanded.push(OsString::from_vec(expand_in_place(bytes, variables))),
        }
    }
    Ok(expanded)
}

/// Replaces `${NAME}` and `$$`; what is neither stays as it is.
#[must_use]
pub fn expand_in_place(text: &[u8], variables: &Environment) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        let (before, after) = rest.split_at(dollar);
        expanded.extend_from_slice(before);
        match after {
            [_, b'$', tail @ ..] => {
                expanded.push(b'$');
                rest = tail;
            }
            [_, b'{', tail @ ..] => match tail.iter().position(|byte| matches!(byte, b'}' | b':')) {
                Some(end) if tail.get(end) == Some(&b'}') => {
                    let (name, close) = tail.split_at(end);
                    let value = std::str::from_utf8(name).ok().and_then(|name| variables.get(name));
                    expanded.extend_from_slice(value.unwrap_or_default().as_bytes());
                    rest = close.get(1..).unwrap_or_default();
                }
                // "${NAME:" is a shell's way to say more, which command lines do not have: plain text.
                Some(colon) => {
                    let (kept, tail) = after.split_at(colon + 3);
                    expanded.extend_from_slice(kept);
                    rest = tail;
                }
                None => {
                    expanded.extend_from_slice(after);
                    rest = &[];
                }
            },
            // The character after a lone dollar cannot begin another variable.
            [_, _, tail @ ..] => {
                let (kept, _) = after.split_at(2);
                expanded.extend_from_slice(kept);
                rest = tail;
            }
            _ => {
                expanded.push(b'$');
                rest = &[];
            }
        }
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// A command line as one line of text, quoted where a shell would need it; for logs and the D-Bus properties' users.
#[must_use]
pub fn quote_arguments<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let mut line = String::new();
    for argument in arguments {
        let text = argument.as_ref().to_string_lossy();
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_alphanumeric() || "_-+=.,:/@%^".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            line.push_str(&text);
            continue;
        }
        line.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' | '`' | '$' => line.extend(['\\', character]),
                '\n' => line.push_str("\\n"),
                '\t' => line.push_str("\\t"),
                control if control.is_control() => line.push_str(&format!("\\x{:02x}", u32::from(control))),
                other => line.push(other),
            }
        }
        line.push('"');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Vec<(String, String)> {
        parse_file(text.as_bytes()).unwrap().into_iter().map(|entry| (entry.name, entry.value)).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn files_of_assignments() {
        let text = concat!(
            "# comment that goes on \\\nSTILL=comment\n; another\nA=1\n  B = two words  \nC='a b'\"c \\\" \\d\" \n",
            "D=x\\\ny\nE=\nnot an assignment\nF=a\"b\nG=end\\ \nexport H=1\n=odd=2\nI='over\nlines'"
        );
        let want = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a bc \" \\d"),
            ("D", "xy"),
            ("E", ""),
            ("F", "a\"b"),
            ("G", "end "),
            ("export H", "1"),
            ("=odd", "2"),
            ("I", "over\nlines"),
        ];
        assert_eq!(file(text), pairs(&want));
        assert_eq!(parse_file(b"A=1\nB=\xff"), Err(FileError::NotUtf8(2)));
        assert_eq!(parse_file(b"A=\0"), Err(FileError::Nul(2)));
        assert_eq!(parse_file(b"A='\n\n'\nB=2").unwrap()[1].line, 4);
    }

    #[test]
    fn assignments_of_a_unit_file() {
        let keep = |word: &[u8]| Ok::<_, BadWord>(word.to_vec());
        let found = assignments(r#"A=1 "B=x y" C='$A' 1D=no E"#, keep);
        assert_eq!(found.set, pairs(&[("A", "1"), ("B", "x y"), ("C", "$A")]));
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        let found = assignments("A=1 'B=2", keep);
        assert_eq!((found.set.len(), found.warnings.len()), (1, 1));
    }

    #[test]
    fn variables_in_command_lines() {
        let variables: Environment = [("ONE", "one"), ("TWO", "two 'and more' "), ("EMPTY", "")].into_iter().collect();
        let expand = |argument: &str| -> Vec<String> {
            let words = expand_arguments(&[argument.into()], &variables).unwrap();
            words.into_iter().map(|word| word.into_string().unwrap()).collect()
        };
        assert_eq!(expand("$ONE"), ["one"]);
        assert_eq!(expand("$TWO"), ["two", "and more"]);
        assert_eq!(expand("${TWO}"), ["two 'and more' "]);
        assert_eq!(expand("a${ONE}b$$ONE$ONE"), ["aoneb$ONE$ONE"]);
        assert_eq!(expand("$NONE"), [""; 0]);
        assert_eq!(expand("$EMPTY"), [""; 0]);
        assert_eq!(expand("${NONE}"), [""]);
        assert_eq!(expand("${ONE"), ["${ONE"]);
        assert_eq!(expand("${A:${ONE}}"), ["${A:one}"]);
        assert_eq!(expand("x$"), ["x$"]);
        assert_eq!(expand("$"), [""; 0]);
        assert_eq!(expand("$a$$b"), [""; 0]);
        assert_eq!(expand("x$a$$b"), ["x$a$b"]);
    }

    #[test]
    fn setting_and_unsetting() {
        let mut variables: Environment = [("A", "1"), ("B", "2"), ("A", "3")].into_iter().collect();
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("A", "3"), ("B", "2")]);
        variables.unset("A=1");
        variables.unset("B=2");
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("A", "3")]);
        variables.unset("A");
        assert!(variables.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_file_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_file(&bytes);
            let _ = expand_in_place(&bytes, &Environment::new());
        }

        #[test]
        fn text_without_dollars_is_left_alone(text in "[^$]{0,60}") {
            prop_assert_eq!(expand_in_place(text.as_bytes(), &Environment::new()), text.into_bytes());
        }
    }
}
