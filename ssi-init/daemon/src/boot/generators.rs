// SPDX-License-Identifier: GPL-2.0-or-later
//! Generators: programs that turn other configuration, `/etc/fstab` above all, into unit files: systemd.generator(7).
//!
//! All of them run at once, each is told three folders, and none may take for ever. Of several with one name the one in
//! the most important folder counts, and a link to `/dev/null` there switches it off.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where generators are, the most important folder first.
pub(crate) const FOLDERS: [&str; 5] = [
    "/run/systemd/system-generators",
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
];

/// Where they put units: of middling, of highest and of lowest importance, in the order they are told.
pub(crate) const OUTPUTS: [&str; 3] =
    ["/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late"];

/// How long all of them together may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked whether they are done.
const PAUSE: Duration = Duration::from_millis(2);

/// The programs to run.
pub(crate) fn find(folders: &[&str]) -> Vec<PathBuf> {
    let mut found: BTreeMap<std::ffi::OsString, Option<PathBuf>> = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let off = fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/null"));
            let runs =
                fs::metadata(&path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0);
            if off || runs {
                found.entry(entry.file_name()).or_insert((!off).then_some(path));
            }
        }
    }
    found.into_values().flatten().collect()
}

/// Empties the three folders and runs the generators. `meanwhile` is called every few milliseconds while they run. What
/// went wrong, for the log; a generator that fails is no reason not to boot.
pub(crate) fn run(environment: &BTreeMap<String, String>, mut meanwhile: impl FnMut()) -> Vec<String> {
    let mut troubles = Vec::new();
    for output in OUTPUTS {
        if let Err(error) = empty(Path::new(output)) {
            troubles.push(format!("cannot make {output} for the generators: {error}"));
        }
    }
    let mut running: Vec<(PathBuf, Child)> = Vec::new();
    for path in find(&FOLDERS) {
        let started = Command::new(&path)
            .args(OUTPUTS)
            .env_clear()
            .envs(environment)
            .env("SYSTEMD_SCOPE", "system")
            .env("SYSTEMD_IN_INITRD", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .current_dir("/")
            .spawn();
        match started {
            Ok(child) => running.push((path, child)),
            Err(error) => troubles.push(format!("cannot run the generator {}: {error}", path.display())),
        }
    }
    let begun = Instant::now();
    while !running.is_empty() {
        running.retain_mut(|(path, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                if !status.success() {
                    troubles.push(format!("the generator {} failed: {status}", path.display()));
                }
                false
            }
            Err(error) => {
                troubles.push(format!("the generator {}: its end is not to be had: {error}", path.display()));
                false
            }
        });
        if begun.elapsed() > LIMIT {
            for (path, child) in &mut running {
                troubles.push(format!("the generator {} took longer than {LIMIT:?}; it is killed", path.display()));
                // It is ours, and waited for below.
                let _ = child.kill();
                let _ = child.wait();
            }
            break;
        }
        if !running.is_empty() {
            meanwhile();
            std::thread::sleep(PAUSE);
        }
    }
    for output in OUTPUTS {
        // An empty folder would be listed at every reload for nothing.
        let _ = fs::remove_dir(output);
    }
    troubles
}

fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_of_a_name_counts_and_null_switches_off() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        for folder in [&one, &two] {
            fs::create_dir(folder).unwrap();
            for name in ["both", "off"] {
                fs::write(folder.join(name), "#!/bin/sh\n").unwrap();
                fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::write(two.join("notes.txt"), "no program").unwrap();
        fs::remove_file(one.join("off")).unwrap();
        std::os::unix::fs::symlink("/dev/null", one.join("off")).unwrap();
        let folders = [one.to_str().unwrap(), two.to_str().unwrap(), "/nowhere"];
        assert_eq!(find(&folders), [one.join("both")]);
    }
}
