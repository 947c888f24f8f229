// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi doctor`: what commonly goes wrong, found out without a person who knows where to look.
//!
//! ```text
//!   facts::gather ── looks at the machine, asks the daemon ──▶ Facts ──▶ checks::all ──▶ Findings
//!        acts, never judges                                               judges, never acts
//! ```
//!
//! A fact that cannot be had is a fact too: each check says that it was skipped and why. To add a check, add what it
//! needs to [`facts::Facts`] and a function to [`checks`], with a test that makes it find something.

pub mod checks;
pub mod facts;
pub mod firewall;

use serde::Serialize;

use crate::output::{Paint, Tone};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    Skipped,
    /// Works, but not for long or not well.
    Warn,
    /// Does not work.
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How grave it is.
    pub level: Level,
    /// What was found, a sentence.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding { check, level: Level::Ok, found: found.into(), advice: None }
    }

    /// Could not be looked at, and why.
    pub fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Finding { check, level: Level::Skipped, found: why.into(), advice: None }
    }

    /// Works, but.
    pub fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { check, level: Level::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    /// Does not work.
    pub fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { check, level: Level::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// The findings as text, and a last line that sums them up.
pub fn text(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let (mark, tone) = match finding.level {
            Level::Ok => ("ok  ", Tone::Good),
            Level::Skipped => ("skip", Tone::Quiet),
            Level::Warn => ("WARN", Tone::Notice),
            Level::Fail => ("FAIL", Tone::Bad),
        };
        let indented = |text: &str| text.trim_end().replace('\n', "\n      ");
        text.push_str(&format!("{}  {}: {}\n", paint.put(tone, mark), finding.check, indented(&finding.found)));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("      {} {}\n", paint.put(Tone::Strong, "->"), indented(advice)));
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    text.push_str(&format!(
        "\n{} checks: {} ok, {} to look at, {} failed, {} skipped\n",
        findings.len(),
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail),
        count(Level::Skipped)
    ));
    text
}
