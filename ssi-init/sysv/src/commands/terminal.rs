// SPDX-License-Identifier: GPL-2.0-or-later
//! What a command says to whoever called it. The standard macros panic where the terminal has hung up or the pipe's
//! reader is gone; a machine whose power runs out goes down even so.

use std::fmt::Display;
use std::io::{self, Write};

/// An answer, to standard output.
pub(super) fn answer(text: impl Display) {
    line(io::stdout().lock(), text);
}

/// A remark or a complaint, to standard error.
pub(super) fn remark(text: impl Display) {
    line(io::stderr().lock(), text);
}

fn line(mut to: impl Write, text: impl Display) {
    // Nobody is left who could be told of the failure.
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_no_panic() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        line(writer, "said into the void");
        let mut said = Vec::new();
        line(&mut said, "heard");
        assert_eq!(said, b"heard\n");
    }
}
