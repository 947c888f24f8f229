// SPDX-License-Identifier: GPL-2.0-or-later
//! What an init script says of itself in its comments.
//!
//! ```text
//!   ### BEGIN INIT INFO            LSB's block: names, order, descriptions
//!   # Provides:       foo
//!   # Required-Start: $network     what must be started before
//!   # Description:    Long text
//!   #   that goes on when indented by two blanks or a tab
//!   ### END INIT INFO
//!   # description: text \          chkconfig's comments, outside of the block
//!   #   that goes on after a backslash
//!   # pidfile: /run/foo.pid
//!   echo "Usage: $0 {start|stop|reload}"      the only place that tells whether it can reload
//! ```
//! `Required-Stop:`, `Default-Start:` and `Default-Stop:` count only for the links in the run levels' folders, which
//! are read themselves.

use ssi_unit::words::{Rules, Splitter, WHITESPACE};

/// How `Provides:` and the others break into words: quotes group, a backslash protects, an open end is let pass.
const WORDS: Rules = Rules { open_end: true, ..Rules::QUOTED };

/// Longest line in bytes; more is not a script.
pub const LINE_MAX: usize = 1024 * 1024;

/// What a line of LSB's block says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The script is (also) this.
    Provides,
    /// The script starts after this.
    After,
    /// The script starts before this.
    Before,
}

/// A script's comments. Texts are bytes: nobody promises UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// LSB's block is there.
    pub has_lsb: bool,
    /// Names and what they are to the script, as they come.
    pub relations: Vec<(Relation, Vec<u8>)>,
    /// The short description, else chkconfig's, else the long one.
    pub description: Option<Vec<u8>>,
    /// Where the daemon writes its process number.
    pub pid_file: Option<Vec<u8>>,
    /// Its usage message names `reload`.
    pub reload: bool,
    /// What was passed over, for the log.
    pub remarks: Vec<String>,
}

/// A line was longer than [`LINE_MAX`]; its number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is longer than {LINE_MAX} bytes; this is no script")]
pub struct LineTooLong(pub usize);

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of LSB's block.
    Script,
    /// In chkconfig's description, the last line of which ended in a backslash.
    ChkconfigDescription,
    /// In LSB's block.
    Lsb,
    /// In LSB's block, behind `Description:`.
    LsbDescription,
    /// In a usage message, the last line of which ended in a backslash.
    Usage,
}

impl Header {
    /// Reads the text of a script.
    ///
    /// # Errors
    /// [`LineTooLong`].
    pub fn read(text: &[u8]) -> Result<Header, LineTooLong> {
        let mut reader = Reader::default();
        for (index, line) in Lines(text).enumerate() {
            if line.len() >= LINE_MAX {
                return Err(LineTooLong(index + 1));
            }
            reader.line(index + 1, trim_end(line));
        }
        let Reader { mut header, short, long, chkconfig, .. } = reader;
        header.description = short.or(chkconfig).or(long);
        Ok(header)
    }
}

struct Reader {
    header: Header,
    state: State,
    short: Option<Vec<u8>>,
    long: Option<Vec<u8>>,
    chkconfig: Option<Vec<u8>>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { header: Header::default(), state: State::Script, short: None, long: None, chkconfig: None }
    }
}

impl Reader {
    /// `raw` has no blanks at its end, but may begin with some.
    fn line(&mut self, number: usize, raw: &[u8]) {
        let stripped = trim_start(raw);
        let Some(comment) = stripped.strip_prefix(b"#") else {
            self.command(stripped);
            return;
        };
        if self.state == State::Script && stripped == b"### BEGIN INIT INFO" {
            self.state = State::Lsb;
            self.header.has_lsb = true;
            return;
        }
        let in_block = matches!(self.state, State::Lsb | State::LsbDescription);
        if in_block && stripped == b"### END INIT INFO" {
            self.state = State::Script;
            return;
        }
        let comment = trim_start(comment);
        match self.state {
            State::Script => self.chkconfig_line(number, comment),
            State::ChkconfigDescription => self.chkconfig_more(comment),
            State::Lsb | State::LsbDescription => self.lsb_line(raw, comment),
            State::Usage => {}
        }
    }

    /// A line that is no comment: of interest only for the word `reload` in a usage message.
    fn command(&mut self, line: &[u8]) {
        let usage = match self.state {
            State::Usage => true,
            State::Script => contains_ignoring_case(line, b"usage"),
            _ => false,
        };
        if !usage {
            return;
        }
        if offers_reload(line) {
            self.header.reload = true;
            self.state = State::Script;
        } else if line.ends_with(b"\\") {
            self.state = State::Usage;
        } else {
            self.state = State::Script;
        }
    }

    fn chkconfig_line(&mut self, number: usize, comment: &[u8]) {
        if let Some(mut text) = after_key(comment, b"description:") {
            if let Some(cut) = text.strip_suffix(b"\\") {
                self.state = State::ChkconfigDescription;
                text = cut;
            }
            self.chkconfig = non_empty(text);
        } else if let Some(path) = after_key(comment, b"pidfile:") {
            let path = trim(path);
            if path.starts_with(b"/") {
                self.header.pid_file = Some(path.to_vec());
            } else {
                let path = String::from_utf8_lossy(path);
                self.header.remarks.push(format!(
                    "line {number}: \"pidfile: {path}\" is passed over: the path of a PID file begins with a slash"
                ));
            }
        }
    }

    fn chkconfig_more(&mut self, comment: &[u8]) {
        let text = match comment.strip_suffix(b"\\") {
            Some(cut) => cut,
            None => {
                self.state = State::Script;
                comment
            }
        };
        append(&mut self.chkconfig, text);
    }

    fn lsb_line(&mut self, raw: &[u8], comment: &[u8]) {
        const RELATIONS: [(&[u8], Relation); 5] = [
            (b"Provides:", Relation::Provides),
            (b"Required-Start:", Relation::After),
            (b"Should-Start:", Relation::After),
            (b"X-Start-Before:", Relation::Before),
            (b"X-Start-After:", Relation::After),
        ];
        for (key, relation) in RELATIONS {
            if let Some(words) = after_key(comment, key) {
                self.state = State::Lsb;
                self.relate(relation, words);
                return;
            }
        }
        if let Some(text) = after_key(comment, b"Description:") {
            self.state = State::LsbDescription;
            self.long = non_empty(text);
        } else if let Some(text) = after_key(comment, b"Short-Description:") {
            self.state = State::Lsb;
            self.short = non_empty(text);
        } else if self.state == State::LsbDescription {
            if raw.starts_with(b"#\t") || raw.starts_with(b"#  ") {
                append(&mut self.long, comment);
            } else {
                self.state = State::Lsb;
            }
        }
    }

    fn relate(&mut self, relation: Relation, words: &[u8]) {
        let mut splitter = Splitter::new(words);
        // With an open end let pass no word is an error; should one be, the rest of the line is not understood.
        while let Ok(Some(word)) = splitter.next_word(WORDS) {
            self.header.relations.push((relation, word));
        }
    }
}

/// Whether a line of a usage message has `reload` among the verbs: `{start|reload}`.
fn offers_reload(line: &[u8]) -> bool {
    [b"{", b"|"].iter().any(|before| {
        [b"|", b"}", b"\""]
            .iter()
            .any(|after| contains_ignoring_case(line, &[before.as_slice(), b"reload", after.as_slice()].concat()))
    })
}

fn contains_ignoring_case(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}

/// What follows `key`, in whichever case it is written.
fn after_key<'a>(comment: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = comment.split_at_checked(key.len())?;
    start.eq_ignore_ascii_case(key).then_some(rest)
}

/// Joins a further line with a blank; an empty one adds nothing.
fn append(text: &mut Option<Vec<u8>>, line: &[u8]) {
    let Some(line) = non_empty(line) else { return };
    match text {
        Some(text) => {
            text.push(b' ');
            text.extend_from_slice(&line);
        }
        None => *text = Some(line),
    }
}

fn non_empty(text: &[u8]) -> Option<Vec<u8>> {
    let text = trim(text);
    (!text.is_empty()).then(|| text.to_vec())
}

fn trim(text: &[u8]) -> &[u8] {
    trim_start(trim_end(text))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !WHITESPACE.contains(byte)).unwrap_or(text.len());
    &text[start..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !WHITESPACE.contains(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

/// A text's lines. A line ends at a line feed, a carriage return or a NUL, or at several different ones in a row, so
/// that DOS's pairs are one end; nothing is paired behind a NUL.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
        let Some(end) = self.0.iter().position(is_end) else {
            return Some(std::mem::take(&mut self.0));
        };
        let (line, mut rest) = self.0.split_at(end);
        let mut seen: Vec<u8> = Vec::with_capacity(3);
        while let Some((first, after)) = rest.split_first() {
            if !is_end(first) || seen.contains(first) || seen.contains(&0) {
                break;
            }
            seen.push(*first);
            rest = after;
        }
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(text: &str) -> Option<String> {
        let header = Header::read(text.as_bytes()).expect("short lines");
        header.description.map(|text| String::from_utf8(text).expect("UTF-8"))
    }

    #[test]
    fn the_short_description_wins_then_chkconfigs_then_the_long_one() {
        let lsb = "### BEGIN INIT INFO\n# Description: long\n#  text\n# Short-Description: short\n### END INIT INFO\n";
        assert_eq!(description(lsb).as_deref(), Some("short"));
        let long = lsb.replace("# Short-Description: short\n", "");
        assert_eq!(description(&long).as_deref(), Some("long text"));
        assert_eq!(description(&format!("{long}# description: a \\\n#  b\n# c\n")).as_deref(), Some("a b"));
        assert_eq!(description("#!/bin/sh\n"), None);
    }

    #[test]
    fn names_come_in_the_order_they_are_written() {
        let text = "### BEGIN INIT INFO\n# provides: a 'b c'\n# X-Start-Before: d\n# Required-Start: e\\f \"g\n";
        let header = Header::read(text.as_bytes()).expect("short lines");
        let words: Vec<(Relation, &[u8])> = header.relations.iter().map(|(r, w)| (*r, w.as_slice())).collect();
        assert_eq!(
            words,
            [
                (Relation::Provides, b"a".as_slice()),
                (Relation::Provides, b"b c"),
                (Relation::Before, b"d"),
                (Relation::After, b"ef"),
                (Relation::After, b"g"),
            ]
        );
    }

    #[test]
    fn reload_counts_in_a_usage_message_only() {
        let reloads = |text: &str| Header::read(text.as_bytes()).expect("short lines").reload;
        assert!(reloads("echo \"Usage: $0 {start|stop|reload|restart}\""));
        assert!(reloads("echo USAGE: \\\n  start\\\n 'x|RELOAD\"'"));
        assert!(!reloads("echo {start|reload}"));
        assert!(!reloads("echo usage: {start|force-reload}"));
        assert!(!reloads("### BEGIN INIT INFO\nusage: {reload}\n"));
    }

    #[test]
    fn line_ends_of_all_kinds() {
        let lines = |text: &'static [u8]| Lines(text).collect::<Vec<_>>();
        assert_eq!(lines(b"a\r\nb\n\nc"), [b"a".as_slice(), b"b", b"", b"c"]);
        assert_eq!(lines(b"a\n\0\nb"), [b"a".as_slice(), b"", b"b"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut text = vec![b'x'; LINE_MAX];
        assert_eq!(Header::read(&text), Err(LineTooLong(1)));
        text.pop();
        assert!(Header::read(&text).is_ok());
    }
}
