// SPDX-License-Identifier: GPL-2.0-or-later
//! Ending every process that is left: SIGTERM, some time, SIGKILL.
//!
//! Spared are kernel threads, and processes of root whose name begins with `@`: the root file system is served by them
//! (systemd's ROOT_STORAGE_DAEMONS document).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::say::say;
use crate::sys::Moment;

/// How long killed processes are waited for: they may hang in a system call for ever.
const KILLED: Duration = Duration::from_secs(5);

/// A process that is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doomed {
    pid: i32,
    name: String,
    /// It has a terminal: shells heed SIGHUP, and not SIGTERM.
    terminal: bool,
}

/// Ends all processes but process 1, this one and those that are spared.
pub(crate) fn end(term: Duration) {
    let told = signal_all(Signal::SIGTERM);
    if told > 0 {
        say!(Note, "{told} processes are left and have got SIGTERM; waiting up to {} ms for them", term.as_millis());
    }
    let left = wait_until_gone(term);
    if left.is_empty() {
        return;
    }
    let names: Vec<_> = left.iter().take(10).map(|doomed| format!("{} ({})", doomed.name, doomed.pid)).collect();
    say!(Warning, "{} processes do not heed SIGTERM and get SIGKILL: {}", left.len(), names.join(", "));
    let latest = Moment::now() + KILLED;
    // Again and again: what forks without end does so until it is all caught.
    while signal_all(Signal::SIGKILL) > 0 && Moment::now() < latest {
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = doomed();
    if !left.is_empty() {
        say!(Error, "{} processes cannot be killed, such as {} ({})", left.len(), left[0].name, left[0].pid);
    }
}

fn wait_until_gone(time: Duration) -> Vec<Doomed> {
    let latest = Moment::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        let left = doomed();
        if left.is_empty() || Moment::now() >= latest {
            return left;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Sends all of them a signal; gives how many there were.
fn signal_all(signal: Signal) -> usize {
    // While all stand still, none can fork between being seen and being told.
    let everybody = Pid::from_raw(-1);
    let stopped = kill(everybody, Signal::SIGSTOP);
    let doomed = doomed();
    for doomed in &doomed {
        let pid = Pid::from_raw(doomed.pid);
        // Gone meanwhile is as good.
        let _ = kill(pid, signal);
        if signal == Signal::SIGTERM && doomed.terminal {
            let _ = kill(pid, Signal::SIGHUP);
        }
    }
    if stopped != Err(Errno::ESRCH) {
        let _ = kill(everybody, Signal::SIGCONT);
    }
    doomed.len()
}

fn doomed() -> Vec<Doomed> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![] };
    let own = std::process::id();
    let parent = std::os::unix::process::parent_id();
    let mut doomed = vec![];
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Process 1 is the parent.
        if pid == 1 || pid == own || pid == parent {
            continue;
        }
        let path = entry.path();
        let (Ok(stat), Ok(meta)) = (fs::read(path.join("stat")), entry.metadata()) else { continue };
        let first = fs::read(path.join("cmdline")).ok().and_then(|line| line.first().copied());
        let spared = first == Some(b'@') && meta.uid() == 0;
        if !spared {
            doomed.extend(read_stat(&stat));
        }
    }
    doomed
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). `None`: a kernel thread, a zombie, or no such text.
fn read_stat(stat: &[u8]) -> Option<Doomed> {
    /// `PF_KTHREAD` of `include/linux/sched.h`.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    // The name is in parentheses, and may have some itself.
    let (open, close) = (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let terminal = fields.nth(3)?.parse::<i32>().ok()? != 0;
    let flags: u64 = fields.nth(1)?.parse().ok()?;
    let alive = !matches!(state, "Z" | "X") && flags & KERNEL_THREAD == 0;
    alive.then_some(Doomed { pid, name, terminal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn processes_are_told_from_threads_of_the_kernel_and_from_the_dead() {
        let stat =
            |state: &str, tty: i32, flags: u32| format!("42 (a) b) {state} 1 42 42 {tty} -1 {flags} 0 0").into_bytes();
        let sleeping = read_stat(&stat("S", 0, 0x0040_0100));
        assert_eq!(sleeping, Some(Doomed { pid: 42, name: "a) b".into(), terminal: false }));
        assert!(read_stat(&stat("R", 1025, 0)).unwrap().terminal);
        assert_eq!(read_stat(&stat("Z", 0, 0)), None);
        assert_eq!(read_stat(&stat("I", 0, 0x0020_8040)), None);
        assert_eq!(read_stat(b"42 (a"), None);
        let own = fs::read("/proc/self/stat").unwrap();
        assert_eq!(read_stat(&own).unwrap().pid, std::process::id() as i32);
        assert_eq!(read_stat(&fs::read("/proc/2/stat").unwrap_or_default()), None, "kthreadd, where it is seen");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, name in "[a-z() ]{0,9}") {
            read_stat(&bytes);
            let mut whole = format!("1 ({name}) ").into_bytes();
            whole.extend(bytes);
            read_stat(&whole);
        }
    }
}
