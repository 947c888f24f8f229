// SPDX-License-Identifier: GPL-2.0-or-later
//! Where text goes: standard output, with colour when it is a terminal, and standard error for remarks.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::outcome::Failure;

/// What a piece of text means; the terminal shows it as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// All is well.
    Good,
    /// On its way, or worth a look.
    Notice,
    /// Wrong.
    Bad,
    /// Of less interest.
    Quiet,
    /// A heading, or what to look at first.
    Strong,
}

/// Puts colour on text, or leaves it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    /// No colour at all.
    pub const PLAIN: Paint = Paint { colour: false };
    /// Colour always.
    pub const COLOUR: Paint = Paint { colour: true };

    /// Colour if standard output is a terminal that can show it and the user did not set `NO_COLOR`
    /// (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        Paint { colour: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    /// The text in its tone.
    pub fn put(self, tone: Tone, text: &str) -> String {
        // ECMA-48, 8.3.117, SGR.
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Notice => "33",
            Tone::Bad => "1;31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Standard output.
#[derive(Debug)]
pub struct Output {
    /// How to colour what goes there.
    pub paint: Paint,
    /// Whether a person looks at it.
    pub terminal: bool,
}

impl Output {
    /// Standard output as it is.
    pub fn stdout() -> Self {
        Output { paint: Paint::of_stdout(), terminal: std::io::stdout().is_terminal() }
    }

    /// Writes a text as it is, and has it seen at once.
    ///
    /// # Errors
    /// [`Failure::ReaderGone`] when the pipe is closed; the system's word for anything else (a full disk, say).
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::failed(format!("writing to standard output: {e}")),
        })
    }

    /// Writes a line.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn line(&self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Writes a value as JSON, over several lines.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::failed(format!("writing JSON: {e}")))?;
        self.line(&text)
    }

    /// Writes a value as JSON on one line, for streams of them.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|e| Failure::failed(format!("writing JSON: {e}")))?;
        self.line(&text)
    }

    /// Says something beside the output, on standard error. That it cannot be said is no failure.
    pub fn remark(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
