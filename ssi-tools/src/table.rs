// SPDX-License-Identifier: GPL-2.0-or-later
//! Tables: cells of text in columns. Widths are counted before colour is put on, so colour does not shift them.

use crate::output::{Paint, Tone};

/// On which side a column's cells begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone. What would break the line or the terminal is shown as a question mark.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Cell { text: text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::new(Tone::Plain, text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::new(Tone::Plain, text)
    }
}

/// The lines of a table, its heading first, two spaces between columns and none at the end of a line. A row that is
/// shorter than the heading ends there; what is over is left out.
pub fn render(heading: &[(&str, Side)], rows: &[Vec<Cell>], paint: Paint) -> String {
    let width_of = |text: &str| text.chars().count();
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(i, (title, _))| {
            rows.iter().filter_map(|r| r.get(i)).map(|c| width_of(&c.text)).fold(width_of(title), usize::max)
        })
        .collect();
    let mut text = String::new();
    let mut put_row = |cells: Vec<(&str, Tone)>| {
        let mut line = String::new();
        let mut pending = 0;
        for (i, (content, tone)) in cells.iter().enumerate().take(heading.len()) {
            let gap = widths[i] - width_of(content);
            let (before, after) = if heading[i].1 == Side::Right { (gap, 0) } else { (0, gap) };
            pending += before;
            if !content.is_empty() {
                line.extend(std::iter::repeat_n(' ', pending));
                line.push_str(&paint.put(*tone, content));
                pending = 0;
            } else {
                pending += width_of(content);
            }
            pending += after + 2;
        }
        text.push_str(&line);
        text.push('\n');
    };
    put_row(heading.iter().map(|(title, _)| (*title, Tone::Quiet)).collect());
    for row in rows {
        put_row(row.iter().map(|c| (c.text.as_str(), c.tone)).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADING: [(&str, Side); 3] = [("N", Side::Right), ("NAME", Side::Left), ("LOAD", Side::Right)];

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let rows = vec![
            vec!["1".into(), Cell::new(Tone::Good, "alpha"), "0.1".into()],
            vec!["10".into(), "b\n".into(), "".into()],
        ];
        let plain = render(&HEADING, &rows, Paint::PLAIN);
        assert_eq!(plain, " N  NAME   LOAD\n 1  alpha   0.1\n10  b?\n");
        let coloured = render(&HEADING, &rows, Paint::COLOUR);
        assert!(coloured.contains("\x1b[32malpha\x1b[0m   0.1"));
    }

    proptest! {
        #[test]
        fn a_row_is_one_line_whatever_is_in_it(cells in prop::collection::vec(prop::collection::vec(".*", 0..5), 0..5)) {
            let rows: Vec<Vec<Cell>> =
                cells.iter().map(|r| r.iter().map(|c| Cell::from(c.as_str())).collect()).collect();
            let text = render(&HEADING, &rows, Paint::PLAIN);
            prop_assert_eq!(text.matches('\n').count(), rows.len() + 1);
        }
    }
}
