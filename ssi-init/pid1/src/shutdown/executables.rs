// SPDX-License-Identifier: GPL-2.0-or-later
//! The executables that packages put into `/usr/lib/systemd/system-shutdown` (systemd-shutdown(8)): all are started at
//! once, with one argument: halt, poweroff, reboot, kexec or exit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::say::say;
use crate::sys::Moment;

/// Where they are.
pub(crate) const DIRECTORY: &str = "/usr/lib/systemd/system-shutdown";

/// Runs them; those that take longer than `limit` are killed.
pub(crate) fn run(directory: &Path, word: &str, limit: Duration) {
    let mut running: Vec<(std::path::PathBuf, Child)> = vec![];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // Links count as what they lead to.
        let fits = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        if !fits {
            continue;
        }
        match Command::new(&path).arg(word).stdin(Stdio::null()).spawn() {
            Ok(child) => running.push((path, child)),
            Err(error) => say!(Warning, "starting {}: {error}", path.display()),
        }
    }
    let latest = Moment::now() + limit;
    while !running.is_empty() {
        running.retain_mut(|(path, child)| match child.try_wait() {
            Ok(Some(status)) => {
                if !status.success() {
                    say!(Warning, "{} {word} ended with {status}", path.display());
                }
                false
            }
            Ok(None) => true,
            Err(_) => false,
        });
        if Moment::now() >= latest {
            for (path, child) in &mut running {
                say!(Warning, "{} {word} takes longer than {} ms: ending it", path.display(), limit.as_millis());
                let _ = child.kill();
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_get_the_word_and_one_that_hangs_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let script = |name: &str, text: &str, mode: u32| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        script("one", &format!("echo one $1 >> {}", out.display()), 0o755);
        script("hangs", "exec sleep 60", 0o755);
        script("not-executable", &format!("echo no >> {}", out.display()), 0o644);
        let begun = Moment::now();
        run(directory.path(), "reboot", Duration::from_millis(500));
        assert!(Moment::now().since(begun) < Duration::from_secs(20));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "one reboot\n");
        run(Path::new("/nonexistent"), "halt", Duration::from_secs(1));
    }
}
