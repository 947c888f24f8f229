// SPDX-License-Identifier: GPL-2.0-or-later
//! Runs one script of `nodeup.d` or `nodedown.d` to its end, whatever becomes of the daemon.
//!
//! The daemon starts this as a process of its own (`ssi-clusterd run-script`), in a process group of its own, so that a script
//! is not run twice because the daemon was killed in the middle of it. Two files tell how far it is:
//!
//! ```text
//! SCRIPT.run      locked by the runner for as long as it lives; holds its process number
//! SCRIPT.result   written whole when the script has ended: a [`ScriptResult`]
//! ```
//!
//! No lock and no result after the file is there: the runner was killed too.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::agreement::shared::{Outcome, tail};

/// Between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptResult {
    /// In one word.
    pub outcome: Outcome,
    /// Its exit status; 128 + n for signal n.
    pub status: i32,
    /// The last of what it printed.
    pub output: String,
}

/// The files of one script.
#[derive(Clone, Debug)]
pub struct ScriptFiles {
    /// Locked while its runner lives.
    pub run: PathBuf,
    /// There when it has ended.
    pub result: PathBuf,
}

/// What the files tell.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// It was never started.
    New,
    /// Its runner lives and has this process number.
    Running(i32),
    /// It came to an end.
    Ended(ScriptResult),
    /// Its runner was killed before it could tell.
    Vanished,
}

impl ScriptFiles {
    /// Those of `script` in the folder of its work.
    pub fn new(work_dir: &Path, script: &str) -> Self {
        Self { run: work_dir.join(format!("{script}.run")), result: work_dir.join(format!("{script}.result")) }
    }

    /// How far the script is.
    pub fn progress(&self) -> Progress {
        let result = || std::fs::read(&self.result).ok().and_then(|b| serde_json::from_slice(&b).ok());
        if let Some(ended) = result() {
            return Progress::Ended(ended);
        }
        let Ok(mut file) = File::open(&self.run) else { return Progress::New };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Progress::Running(text.trim().parse().unwrap_or(0));
        }
        // Unlocked: its runner is gone, and what it wanted to tell is told by now.
        match (result(), file.metadata().map(|m| m.len())) {
            (Some(ended), _) => Progress::Ended(ended),
            (None, Ok(0)) => Progress::New,
            (None, _) => Progress::Vanished,
        }
    }
}

/// Runs `script`, waits for it, and writes what became of it. This is the whole life of the runner process.
///
/// # Errors
/// When the files cannot be written; a script that cannot be started is a result, not an error.
pub fn run(files: &ScriptFiles, script: &Path, args: &[String], timeout: Duration) -> Result<()> {
    let shown = files.run.display();
    let mut lock = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(&files.run)
        .with_context(|| format!("cannot open {shown}"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).with_context(|| format!("{shown} is another runner's"))?;
    if files.progress_is_past(&lock) {
        anyhow::bail!("{shown} tells that the script was run already");
    }
    writeln!(lock, "{}", std::process::id()).with_context(|| format!("cannot write {shown}"))?;
    let result = run_to_end(script, args, timeout);
    let bytes = serde_json::to_vec(&result)?;
    crate::store::replace_file(&files.result, &bytes).context("cannot tell how the script ended")
}

impl ScriptFiles {
    fn progress_is_past(&self, lock: &File) -> bool {
        self.result.exists() || lock.metadata().is_ok_and(|m| m.len() > 0)
    }
}

fn run_to_end(script: &Path, args: &[String], timeout: Duration) -> ScriptResult {
    let failed = |status, output: String| ScriptResult { outcome: Outcome::Failed, status, output };
    // Output goes to a file without a name rather than a pipe: a child that the script leaves behind can hold it open
    // for ever without holding us.
    let Ok(mut output) = tempfile::tempfile() else {
        return failed(126, "cannot make a temporary file for its output".into());
    };
    let streams = output.try_clone().and_then(|out| Ok((out, output.try_clone()?)));
    let Ok((out, err)) = streams else { return failed(126, "out of file descriptors".into()) };
    let mut command = Command::new(script);
    command.args(args).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return failed(126, format!("cannot run {}: {e}", script.display())),
    };
    let timed_out = !wait_until(&mut child, Instant::now() + timeout);
    if timed_out || stop_asked() {
        end_group(&mut child);
    }
    let status = child.wait().map_or(126, |s| s.code().or(s.signal().map(|n| 128 + n)).unwrap_or(126));
    use std::io::{Seek, SeekFrom};
    let mut text = Vec::new();
    let from = output.seek(SeekFrom::End(0)).unwrap_or(0).saturating_sub(4096);
    let _ = output.seek(SeekFrom::Start(from)).and_then(|_| output.read_to_end(&mut text));
    let mut output = tail(&String::from_utf8_lossy(&text)).to_owned();
    let outcome = match (timed_out, stop_asked(), status) {
        (true, ..) => {
            output.push_str(&format!("\n(ended after {} s)", timeout.as_secs()));
            Outcome::TimedOut
        }
        (_, true, _) => Outcome::Lost,
        (_, _, 0) => Outcome::Done,
        _ => Outcome::Failed,
    };
    ScriptResult { outcome, status, output: tail(&output).to_owned() }
}

/// Whether the child ended before the time was over; also returns when a stop was asked for.
fn wait_until(child: &mut Child, deadline: Instant) -> bool {
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(None) => {}
            _ => return true,
        }
        if stop_asked() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn end_group(child: &mut Child) {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + TERM_GRACE;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// Whether the daemon told this runner that the work is no longer this node's. The signal is noticed by blocking it and
/// looking whether it waits: no handler, nothing that runs at an odd moment.
fn stop_asked() -> bool {
    nix::sys::signal::SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(nix::sys::signal::SIGTERM))
        && pending_term()
}

fn pending_term() -> bool {
    // `SigPnd`/`ShdPnd` of proc_pid_status(5): SIGTERM is bit 14.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter_map(|l| l.strip_prefix("ShdPnd:").or_else(|| l.strip_prefix("SigPnd:")))
        .filter_map(|v| u64::from_str_radix(v.trim(), 16).ok())
        .any(|set| set & (1 << 14) != 0)
}

/// Blocks SIGTERM for this process; to be called before anything else in the runner.
///
/// # Errors
/// What `sigprocmask(2)` says.
pub fn hold_term() -> Result<()> {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::SIGTERM);
    set.thread_block().context("cannot block SIGTERM")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn ended(text: &str, timeout: Duration) -> ScriptResult {
        let dir = tempfile::tempdir().unwrap();
        let files = ScriptFiles::new(dir.path(), "script");
        assert_eq!(files.progress(), Progress::New);
        run(&files, &script(dir.path(), text), &["3".into(), "node3".into()], timeout).unwrap();
        match files.progress() {
            Progress::Ended(result) => result,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_result_tells_status_and_output() {
        let minute = Duration::from_secs(60);
        assert_eq!(ended("exit 0", minute).outcome, Outcome::Done);
        let failed = ended("echo $1 $2 is broken; exit 9", minute);
        assert_eq!(
            (failed.outcome, failed.status, failed.output.as_str()),
            (Outcome::Failed, 9, "3 node3 is broken\n")
        );
        assert_eq!(ended("kill -9 $$", minute).status, 137);
    }

    #[test]
    fn a_script_that_takes_too_long_is_ended_with_its_children() {
        let result = ended("sleep 1000 & echo $!; wait", Duration::from_millis(300));
        assert_eq!(result.outcome, Outcome::TimedOut);
        let child: i32 = result.output.lines().next().unwrap().parse().unwrap();
        // The group was killed; what is left of the child is at most a zombie of init's.
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[test]
    fn a_child_left_behind_does_not_hold_the_result() {
        assert_eq!(ended("setsid sleep 5 & exit 0", Duration::from_secs(60)).outcome, Outcome::Done);
    }

    #[test]
    fn it_is_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = ScriptFiles::new(dir.path(), "script");
        let path = script(dir.path(), "echo x >>$0.count");
        run(&files, &path, &[], Duration::from_secs(9)).unwrap();
        assert!(run(&files, &path, &[], Duration::from_secs(9)).is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("script.count")).unwrap(), "x\n");
    }

    #[test]
    fn a_runner_that_vanished_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let files = ScriptFiles::new(dir.path(), "script");
        std::fs::write(&files.run, "4711\n").unwrap();
        assert_eq!(files.progress(), Progress::Vanished);
    }
}
