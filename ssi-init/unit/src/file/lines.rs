// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines as unit files have them: ends of any system, comments out, continued lines joined.

use std::borrow::Cow;

use super::LINE_MAX;

/// The byte order mark some editors put at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line, or the lines of one assignment, are longer than [`LINE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// A line with its number.
type Line<'a> = (u32, Result<Cow<'a, [u8]>, TooLong>);

/// The lines of a text as its bytes have them, without their ends.
///
/// A line ends at `\n`, `\r`, NUL, or a run of them in which none comes twice, a NUL last: `\r\n` is one end, `\n\n`
/// are two.
struct PhysicalLines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PhysicalLines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
        let length = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (line, mut rest) = self.rest.split_at(length);
        let mut seen: Vec<u8> = Vec::with_capacity(3);
        while let Some((&byte, after)) = rest.split_first()
            && is_end(&byte)
            && !seen.contains(&byte)
            && seen.last() != Some(&0)
        {
            seen.push(byte);
            rest = after;
        }
        self.rest = rest;
        Some(line)
    }
}

/// Lines with comments out and continued lines joined, each with the number of its last line.
pub(super) struct LogicalLines<'a> {
    lines: PhysicalLines<'a>,
    number: u32,
    mark_seen: bool,
    failed: bool,
}

impl<'a> LogicalLines<'a> {
    pub(super) fn new(text: &'a [u8]) -> LogicalLines<'a> {
        LogicalLines { lines: PhysicalLines { rest: text }, number: 0, mark_seen: false, failed: false }
    }

    fn too_long(&mut self) -> Option<Line<'a>> {
        self.failed = true;
        Some((self.number, Err(TooLong)))
    }
}

impl<'a> Iterator for LogicalLines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.failed {
            return None;
        }
        let mut joined: Option<Vec<u8>> = None;
        // Whether a backslash waits for the character it belongs to. Over joined lines it counts from the first one
        // on: the backslashes at their ends have become blanks.
        loop {
            let Some(line) = self.lines.next() else {
                // The file ends within a continued line.
                self.number = self.number.saturating_add(1);
                return joined.map(|text| (self.number, Ok(Cow::Owned(text))));
            };
            self.number = self.number.saturating_add(1);
            if line.len() >= LINE_MAX {
                return self.too_long();
            }
            // A mark is looked for until one was found, not on the first line alone: files are glued together.
            let unmarked = if self.mark_seen { None } else { line.strip_prefix(BYTE_ORDER_MARK) };
            if matches!(line.trim_ascii_start().first(), Some(b'#' | b';')) {
                continue;
            }
            self.mark_seen |= unmarked.is_some();
            let line = unmarked.unwrap_or(line);
            let continued = line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
            match &mut joined {
                Some(text) if text.len() + line.len() > LINE_MAX => return self.too_long(),
                Some(text) => text.extend_from_slice(line),
                None if continued => joined = Some(line.to_vec()),
                None => return Some((self.number, Ok(Cow::Borrowed(line)))),
            }
            match &mut joined {
                Some(text) if continued => {
                    if let Some(last) = text.last_mut() {
                        *last = b' ';
                    }
                }
                _ => return joined.map(|text| (self.number, Ok(Cow::Owned(text)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, String)> {
        LogicalLines::new(text.as_bytes())
            .map(|(number, line)| (number, String::from_utf8(line.unwrap().into_owned()).unwrap()))
            .collect()
    }

    #[test]
    fn ends_of_every_system() {
        let ends: Vec<&[u8]> = PhysicalLines { rest: b"a\nb\r\nc\rd\0e\n\nf\n\r\0\0g" }.collect();
        assert_eq!(ends, [&b"a"[..], b"b", b"c", b"d", b"e", b"", b"f", b"", b"g"]);
    }

    #[test]
    fn comments_may_stand_inside_an_assignment() {
        assert_eq!(lines("a=1 \\\n# x\n;y\n 2\nb=3"), [(4, "a=1   2".to_owned()), (5, "b=3".to_owned())]);
        // A backslash in a comment continues nothing.
        assert_eq!(lines("# x \\\na=1"), [(2, "a=1".to_owned())]);
    }

    #[test]
    fn an_even_number_of_backslashes_continues_nothing() {
        assert_eq!(lines("a\\\\\nb\\\\\\\nc"), [(1, "a\\\\".to_owned()), (3, "b\\\\ c".to_owned())]);
    }

    #[test]
    fn a_blank_line_or_the_end_of_the_file_ends_an_assignment() {
        assert_eq!(lines("a\\\n\nb"), [(2, "a ".to_owned()), (3, "b".to_owned())]);
        assert_eq!(lines("a\\\n"), [(2, "a ".to_owned())]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_line() {
        assert_eq!(lines("\u{feff}[Unit]"), [(1, "[Unit]".to_owned())]);
    }

    #[test]
    fn a_line_too_long_ends_the_file() {
        let text = [vec![b'a'; LINE_MAX], b"\nb".to_vec()].concat();
        let all: Vec<_> = LogicalLines::new(&text).collect();
        assert_eq!(all, [(1, Err(TooLong))]);
    }
}
