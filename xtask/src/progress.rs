// SPDX-License-Identifier: GPL-2.0-or-later
//! A step as the person at the terminal sees it: a spinner while it runs, one line with a mark and the time at its
//! end. Into a pipe (a CI's log) it is one line at the start and one at the end, without escape sequences.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should.
    Good,
    /// Not as it should.
    Bad,
    /// It was left out.
    Left,
}

impl Mark {
    fn sign(self, colour: bool) -> &'static str {
        match (self, colour) {
            (Mark::Good, true) => "\x1b[32m✓\x1b[0m",
            (Mark::Bad, true) => "\x1b[31m✗\x1b[0m",
            (Mark::Left, true) => "\x1b[33m-\x1b[0m",
            (Mark::Good, false) => "✓",
            (Mark::Bad, false) => "✗",
            (Mark::Left, false) => "-",
        }
    }
}

/// A step that is running.
pub(crate) struct Progress {
    name: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Progress {
    /// Tells that a step begins.
    pub(crate) fn begin(name: &str) -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}") {
                spinner.set_style(style);
            }
            spinner.set_prefix(name.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        if spinner.is_none() {
            line(&format!("· {name} ..."));
        }
        Self { name: name.to_owned(), started: Instant::now(), spinner }
    }

    /// Tells what it is at; shown on a terminal only.
    pub(crate) fn say(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(what.trim().to_owned());
        }
    }

    /// A way to tell what it is at that outlives this borrow, for what keeps its listener.
    pub(crate) fn listener(&self) -> impl FnMut(&str) + 'static {
        let spinner = self.spinner.clone();
        move |what| {
            if let Some(spinner) = &spinner {
                spinner.set_message(what.trim().to_owned());
            }
        }
    }

    /// How long it has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells how it ended, with a few words about what came of it.
    pub(crate) fn end(self, mark: Mark, note: &str) {
        let elapsed = self.elapsed();
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let sign = mark.sign(std::io::stdout().is_terminal());
        let gap = if note.is_empty() { "" } else { "  " };
        line(&format!("{sign} {:<28} {:>7.1} s{gap}{note}", self.name, elapsed.as_secs_f64()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A step that an error cut short leaves no half-drawn line behind.
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// Writes a line to standard output, at once. Whoever closed our output does not want to hear of it.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
