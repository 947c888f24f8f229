// SPDX-License-Identifier: GPL-2.0-or-later
//! What cargo's test programs report, read from their output. Pure.

use serde::Serialize;

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Those that held.
    pub(crate) passed: u64,
    /// Those that did not.
    pub(crate) failed: u64,
    /// Those that the source marks to be left out.
    pub(crate) ignored: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.ignored += more.ignored;
    }
}

/// Adds up all `test result:` lines of an output.
pub(crate) fn count(output: &str) -> Counts {
    let mut sum = Counts::default();
    for line in output.lines() {
        if let Some(counts) = result_line(line) {
            sum += counts;
        }
    }
    sum
}

/// The numbers of `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`.
fn result_line(line: &str) -> Option<Counts> {
    let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split(';') {
        let Some((number, what)) = part.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match what {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.ignored = number,
            _ => {}
        }
    }
    Some(counts)
}

/// The names of the tests that failed.
pub(crate) fn failed_names(output: &str) -> Vec<String> {
    let names = output.lines().filter_map(|line| line.trim().strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    names.map(str::to_owned).collect()
}

/// What the failed tests printed: the `failures:` parts of an output, without the lists of names that end them.
/// Empty when something else failed.
pub(crate) fn failures(output: &str) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for line in output.lines() {
        match line {
            "failures:" => inside = false,
            _ if line.starts_with("---- ") && line.ends_with(" stdout ----") => inside = true,
            _ => {}
        }
        if inside {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 2 tests
test a::b ... ok
test c ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out; finished in 1.25s
";

    #[test]
    fn all_programs_are_added_up() {
        assert_eq!(count(OUTPUT), Counts { passed: 41, failed: 1, ignored: 2 });
        assert_eq!(failed_names(OUTPUT), ["c"]);
    }

    #[test]
    fn what_only_looks_like_a_result_counts_nothing() {
        let odd = "test result: \ntest result: ok\nthe test result: ok. 3 passed;\ntest result: ok. x passed; 1\n";
        assert_eq!(count(odd), Counts::default());
    }

    #[test]
    fn what_failed_is_shown_and_what_passed_is_not() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\nat b.rs:1\n\n\n\
                      failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed;\n";
        assert_eq!(failures(output), "---- b stdout ----\n\nat b.rs:1\n\n\n");
        assert_eq!(failures("error[E0425]: no such thing\n"), "");
    }
}
