// SPDX-License-Identifier: GPL-2.0-or-later
//! What a starting process tells the manager, over a pipe that closes by itself when the program runs.
//!
//! ```text
//!   +--------+------------------+
//!   | length | postcard(Report) |   length: u16, little endian, of what follows; at most 4094, so that
//!   +--------+------------------+   each write to the pipe is whole (PIPE_BUF)
//! ```
//!
//! The last word decides. [`Report::Executing`] and then the end of the pipe: the program runs (execve closed the
//! pipe). [`Report::Failed`] or [`Report::Skipped`]: it does not. The end without a last word: the process was
//! killed on its way. `Type=exec` is just this.

use crate::step::Step;
use serde::{Deserialize, Serialize};

/// The longest body of a report, in bytes.
pub const LONGEST: usize = 4094;

/// One word from a starting process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Whom `User=` and `Group=` turned out to be: for what the manager removes afterwards.
    Identity {
        /// The user's number, when one was asked for.
        uid: Option<u32>,
        /// The group's number, when one was asked for.
        gid: Option<u32>,
    },
    /// Something that a start goes on in spite of.
    Warning(String),
    /// All steps are done; execve(2) comes next.
    Executing,
    /// The program is missing and the command's prefix is `-`: the process ends with status 0.
    Skipped(String),
    /// A step failed; the process ends with the step's exit status.
    Failed(Failure),
}

/// The step that failed, and what the system said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("failed to {}{}{message}", .step.attempt(), if .message.is_empty() { "" } else { ": " })]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// errno(3), where a system call failed.
    pub errno: Option<i32>,
    /// On what, and why.
    pub message: String,
}

impl Report {
    /// The bytes for the pipe. Texts that are too long are cut.
    pub fn encode(&self) -> Vec<u8> {
        let body = match postcard::to_stdvec(self) {
            Ok(body) if body.len() <= LONGEST => body,
            _ => postcard::to_stdvec(&self.shortened()).unwrap_or_default(),
        };
        let mut bytes = Vec::with_capacity(2 + body.len());
        bytes.extend_from_slice(&(body.len().min(LONGEST) as u16).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn shortened(&self) -> Report {
        let cut = |text: &str| text.chars().take(LONGEST / 8).collect::<String>();
        match self {
            Report::Warning(text) => Report::Warning(cut(text)),
            Report::Skipped(text) => Report::Skipped(cut(text)),
            Report::Failed(failure) => Report::Failed(Failure { message: cut(&failure.message), ..failure.clone() }),
            other => other.clone(),
        }
    }
}

/// How a start ended, as far as the pipe tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program runs.
    Running,
    /// The program was missing and that was allowed.
    Skipped(String),
    /// It does not run.
    Failed(Failure),
    /// The process ended without a word: killed, or its executor could not even start.
    Vanished,
}

/// Puts reports together from what reads of the pipe give. Pure: the reading is the caller's.
#[derive(Debug, Default)]
pub struct ReportReader {
    bytes: Vec<u8>,
    last: Option<Report>,
    damaged: bool,
}

impl ReportReader {
    /// Takes bytes from the pipe and gives the reports that are complete with them. After bytes that are no report
    /// nothing is taken any more.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Report> {
        let mut reports = Vec::new();
        if self.damaged {
            return reports;
        }
        self.bytes.extend_from_slice(bytes);
        while let Some((head, rest)) = self.bytes.split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes(*head));
            if length > LONGEST {
                self.damaged = true;
                break;
            }
            let Some(body) = rest.get(..length) else { break };
            match postcard::from_bytes::<Report>(body) {
                Ok(report) => {
                    self.last = Some(report.clone());
                    reports.push(report);
                    self.bytes.drain(..2 + length);
                }
                Err(_) => {
                    self.damaged = true;
                    break;
                }
            }
        }
        if self.damaged {
            self.bytes = Vec::new();
        }
        reports
    }

    /// How the start ended: to be asked at the end of the pipe.
    pub fn outcome(&self) -> Outcome {
        match &self.last {
            Some(Report::Executing) => Outcome::Running,
            Some(Report::Skipped(text)) => Outcome::Skipped(text.clone()),
            Some(Report::Failed(failure)) => Outcome::Failed(failure.clone()),
            _ => Outcome::Vanished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_through_in_any_pieces() {
        let sent = [
            Report::Identity { uid: Some(1), gid: None },
            Report::Warning("odd".into()),
            Report::Executing,
            Report::Failed(Failure { step: Step::Exec, errno: Some(2), message: "x".into() }),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Report::encode).collect();
        for piece in 1..bytes.len() {
            let mut reader = ReportReader::default();
            let got: Vec<Report> = bytes.chunks(piece).flat_map(|chunk| reader.feed(chunk)).collect();
            assert_eq!(got, sent);
            assert!(matches!(reader.outcome(), Outcome::Failed(Failure { step: Step::Exec, .. })));
        }
    }

    #[test]
    fn a_long_text_is_cut_and_still_a_report() {
        let bytes = Report::Warning("ü".repeat(9000)).encode();
        assert!(bytes.len() <= 2 + LONGEST);
        let reports = ReportReader::default().feed(&bytes);
        assert!(matches!(&reports[..], [Report::Warning(text)] if text.starts_with("üü")));
    }

    #[test]
    fn silence_is_no_success() {
        assert_eq!(ReportReader::default().outcome(), Outcome::Vanished);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut reader = ReportReader::default();
            for chunk in bytes.chunks(7) { reader.feed(chunk); }
            let _ = reader.outcome();
        }
    }
}
