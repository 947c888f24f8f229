// SPDX-License-Identifier: GPL-2.0-or-later
//! Running a program to its end with what it says kept in a file, and with a limit to its time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program that was asked to end may take before it is made to.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after the program's end its output may still be held open by something it left behind.
const LINGER: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Whether it returned 0, in time.
    pub(crate) success: bool,
    /// How it ended, for people.
    pub(crate) how: String,
    /// All it said, standard error and output as they came.
    pub(crate) output: String,
    /// Where that is kept.
    pub(crate) log: PathBuf,
}

/// Runs `command`, writes what it says to `log`, and hands each line to `hear`.
///
/// After `limit` the program and all it started get SIGTERM, so that a lab's owner can take its lab down, and SIGKILL
/// [`PATIENCE`] later.
pub(crate) fn run(mut command: Command, log: &Path, limit: Duration, hear: &mut dyn FnMut(&str)) -> Result<Finished> {
    let shown = shown(&command);
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    let mut file = File::create(log).with_context(|| format!("making {}", log.display()))?;
    let keeping = || format!("writing {}", log.display());
    writeln!(file, "$ {shown}").with_context(keeping)?;
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("making a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting `{shown}`"))?;
    // The command holds the pipe's writing end; while it does, the reader sees no end.
    drop(command);
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
            if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    let mut output = String::new();
    let mut watch = Watch::new(limit);
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                file.write_all(line.as_bytes()).with_context(keeping)?;
                hear(line.trim_end());
                output.push_str(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if watch.ended_long_ago(&mut child) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        watch.look(&child);
    }
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for `{shown}`"))? {
            break status;
        }
        watch.look(&child);
        std::thread::sleep(Duration::from_millis(20));
    };
    Ok(finished(status, watch.over, limit, output, log))
}

fn finished(status: ExitStatus, over: bool, limit: Duration, output: String, log: &Path) -> Finished {
    let how = if over { format!("stopped after {} s, its limit", limit.as_secs()) } else { status.to_string() };
    Finished { success: status.success() && !over, how, output, log: log.to_owned() }
}

/// The clock of a running program.
struct Watch {
    deadline: Instant,
    over: bool,
    ended: Option<Instant>,
}

impl Watch {
    fn new(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, over: false, ended: None }
    }

    /// Asks the program to end when its time is over, and makes it end when it does not.
    fn look(&mut self, child: &Child) {
        if self.ended.is_some() || Instant::now() < self.deadline {
            return;
        }
        let signal = if self.over { Signal::KILL } else { Signal::TERM };
        self.over = true;
        self.deadline = Instant::now() + PATIENCE;
        let Ok(own) = i32::try_from(child.id()) else { return };
        for process in family(own) {
            if let Some(pid) = Pid::from_raw(process) {
                // One that has ended meanwhile is what we want.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Whether the program ended [`LINGER`] ago.
    fn ended_long_ago(&mut self, child: &mut Child) -> bool {
        if self.ended.is_none() && matches!(child.try_wait(), Ok(Some(_))) {
            self.ended = Some(Instant::now());
        }
        self.ended.is_some_and(|ended| ended.elapsed() > LINGER)
    }
}

/// A process and all that descend from it.
fn family(first: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // proc_pid_stat(5): the name, in parentheses, may hold blanks; the parent is the second field after it.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut family = BTreeSet::new();
    let mut next = vec![first];
    while let Some(process) = next.pop() {
        if family.insert(process) {
            next.extend(children.get(&process).into_iter().flatten());
        }
    }
    family
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last `count` lines of a text, and how many were left out before them.
pub(crate) fn tail(text: &str, count: usize) -> (usize, Vec<&str>) {
    let lines: Vec<_> = text.lines().collect();
    let left = lines.len().saturating_sub(count);
    (left, lines[left..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, limit: Duration) -> Result<(Finished, Vec<String>)> {
        let place = tempfile::tempdir()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        let mut heard = Vec::new();
        let finished = run(command, &place.path().join("x/log"), limit, &mut |line| heard.push(line.to_owned()))?;
        assert!(fs::read_to_string(&finished.log)?.ends_with(&finished.output));
        Ok((finished, heard))
    }

    #[test]
    fn both_outputs_are_heard_line_by_line() -> Result<()> {
        let (finished, heard) = shell("echo a; echo b >&2; exit 3", Duration::from_secs(20))?;
        assert!(!finished.success && finished.how.contains('3'), "{finished:?}");
        assert_eq!(heard, ["a", "b"]);
        Ok(())
    }

    #[test]
    fn what_takes_too_long_is_stopped_with_all_it_started() -> Result<()> {
        let (finished, heard) = shell("sh -c 'echo $$; exec sleep 600' & wait", Duration::from_millis(300))?;
        assert!(!finished.success && finished.how.contains("limit"), "{finished:?}");
        let grandchild: i32 = heard[0].parse()?;
        for _ in 0..100 {
            let stat = fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("process {grandchild} is still there")
    }

    #[test]
    fn output_held_open_by_something_left_behind_does_not_hold_us() -> Result<()> {
        let begun = Instant::now();
        let (finished, _) = shell("sleep 20 & echo $!", Duration::from_secs(60))?;
        assert!(finished.success && begun.elapsed() < Duration::from_secs(15), "{finished:?}");
        let left: i32 = finished.output.trim().parse()?;
        if let Some(pid) = Pid::from_raw(left) {
            kill_process(pid, Signal::KILL)?;
        }
        Ok(())
    }

    #[test]
    fn a_tail_says_what_it_left_out() {
        assert_eq!(tail("a\nb\nc\n", 2), (1, vec!["b", "c"]));
        assert_eq!(tail("a\n", 2), (0, vec!["a"]));
    }
}
