// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask test`: everything that says whether this checkout is good, from the format of the sources to clusters
//! of virtual machines.
//!
//! The steps are a list in `steps.rs`. All of them run, whatever becomes of the others, but for those whose
//! foundation is missing. The last line tells how many tests passed and failed, for machines to read; a step that
//! failed without a test of its own failing (a warning of the compiler, a test program that crashed) counts as one
//! that failed.

mod counts;
mod licences;
mod steps;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::command::tail;
use crate::place::Place;
use crate::progress::{Mark, Progress, line};
use counts::{Counts, failed_names, failures};
use steps::{Scene, Verdict};

/// How many lines of a failed step's output are shown; the rest is in its log.
const SHOWN: usize = 150;

/// A step's line in the table, and in the JSON file.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    result: &'static str,
    seconds: f64,
    #[serde(flatten)]
    counts: Counts,
    note: String,
}

/// Runs all steps (without `quick`, those with virtual machines too) and tells whether all is well.
pub(crate) fn run(place: &Place, quick: bool, json: Option<&Path>) -> Result<bool> {
    let begun = Instant::now();
    let mut lines: Vec<Line> = Vec::new();
    let mut failed = Vec::new();
    for step in steps::steps(place, quick)? {
        let bad = |name: &str| lines.iter().any(|line| line.name == name && line.result != "passed");
        if let Some(needs) = step.needs.filter(|needs| bad(needs)) {
            let note = format!("not run: '{needs}' did not succeed");
            Progress::begin(&step.name).end(Mark::Left, &note);
            lines.push(Line { name: step.name, result: "left out", seconds: 0.0, counts: Counts::default(), note });
            continue;
        }
        let progress = Progress::begin(&step.name);
        let verdict = (step.act)(&Scene { place, progress: &progress });
        let seconds = progress.elapsed().as_secs_f64();
        let judged = judge(verdict.unwrap_or_else(|error| Verdict::Bad(format!("{error:#}"))));
        progress.end(judged.mark, &judged.note);
        let result = match judged.mark {
            Mark::Good => "passed",
            Mark::Bad => "FAILED",
            Mark::Left => "left out",
        };
        if let Some(output) = judged.output {
            show(&step.name, &output);
            failed.push(step.name.clone());
        }
        lines.push(Line { name: step.name, result, seconds, counts: judged.counts, note: judged.note });
    }
    let total = sum(&lines);
    table(&lines, begun.elapsed().as_secs_f64());
    if !failed.is_empty() {
        line(&format!("what failed, with its output above: {}", failed.join(", ")));
    }
    if let Some(file) = json {
        let report = serde_json::json!({ "passed": total.passed, "failed": total.failed, "steps": lines });
        let text = serde_json::to_string_pretty(&report).context("writing the report")?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    line(&format!("{} passed, {} failed", total.passed, total.failed));
    Ok(total.failed == 0)
}

/// A verdict as it is shown.
struct Judged {
    mark: Mark,
    counts: Counts,
    note: String,
    output: Option<String>,
}

fn judge(verdict: Verdict) -> Judged {
    let none = Counts::default();
    let failed = Counts { failed: 1, ..none };
    match verdict {
        Verdict::Good(note) => Judged { mark: Mark::Good, counts: none, note, output: None },
        Verdict::Left(note) => Judged { mark: Mark::Left, counts: none, note, output: None },
        Verdict::Bad(output) => {
            let note = output.lines().next().unwrap_or_default().chars().take(120).collect();
            Judged { mark: Mark::Bad, counts: failed, note, output: Some(output) }
        }
        Verdict::Ran(finished, mut counts) => {
            // A program of tests in which no test ran has shown nothing.
            let empty = finished.success && counts == none;
            if finished.success && counts.failed == 0 && !empty {
                return Judged { mark: Mark::Good, counts, note: told(counts), output: None };
            }
            counts.failed = counts.failed.max(1);
            let names = failed_names(&finished.output);
            let what = match (empty, names.is_empty()) {
                (true, _) => "no test was found in it".to_owned(),
                (_, true) => finished.how,
                (_, false) => names.join(", "),
            };
            let note = format!("{}; {what}; all of it is in {}", told(counts), finished.log.display());
            Judged { mark: Mark::Bad, counts, note, output: Some(finished.output) }
        }
    }
}

fn told(counts: Counts) -> String {
    let ignored = if counts.ignored > 0 { format!(", {} ignored", counts.ignored) } else { String::new() };
    let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
    format!("{} passed{failed}{ignored}", counts.passed)
}

fn sum(lines: &[Line]) -> Counts {
    let mut total = Counts::default();
    for line in lines {
        total += line.counts;
    }
    total
}

fn show(name: &str, output: &str) {
    let failures = failures(output);
    let output = if failures.is_empty() { output } else { &failures };
    let (left, lines) = tail(output, SHOWN);
    line(&format!(
        "---- what '{name}' said{}",
        if left > 0 { format!(", without its first {left} lines") } else { String::new() }
    ));
    for text in lines {
        line(text);
    }
    line("----");
}

fn table(lines: &[Line], seconds: f64) {
    line("");
    line(&format!("{:<28} {:<9} {:>8}  ", "step", "result", "seconds"));
    for step in lines {
        line(format!("{:<28} {:<9} {:>8.1}  {}", step.name, step.result, step.seconds, step.note).trim_end());
    }
    line(&format!("{:<28} {:<9} {seconds:>8.1}", "all", ""));
    line("");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Finished;

    fn ran(success: bool, output: &str) -> Judged {
        let finished = Finished { success, how: "exit status: 101".into(), output: output.into(), log: "/x".into() };
        let counts = counts::count(&finished.output);
        judge(Verdict::Ran(finished, counts))
    }

    #[test]
    fn a_program_that_crashed_counts_as_a_failure() {
        let judged = ran(false, "signal: 6\n");
        assert_eq!((judged.mark, judged.counts.failed), (Mark::Bad, 1));
        let judged = ran(false, "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n");
        assert_eq!((judged.mark, judged.counts.passed, judged.counts.failed), (Mark::Bad, 3, 1));
    }

    #[test]
    fn a_program_without_tests_shows_nothing() {
        assert_eq!(ran(true, "").mark, Mark::Bad);
        assert_eq!(ran(true, "test result: ok. 1 passed; 0 failed; 0 ignored;\n").mark, Mark::Good);
    }
}
