// SPDX-License-Identifier: GPL-2.0-or-later
//! Stock systemd as a referee: unit files of Debian packages, and what systemd 252 makes of them.
//!
//! `systemd --test` loads units as PID 1 would, starts nothing, and prints everything it knows of each one. It refuses
//! to do so as root, so it is run as nobody.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages whose units every reader of unit files must take.
const PACKAGES: [&str; 10] = [
    "systemd",
    "udev",
    "openssh-server",
    "nginx-common",
    "postgresql-common",
    "redis-server",
    "rsyslog",
    "cron",
    "chrony",
    "dbus",
];

const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// The user and group nobody of Debian.
const NOBODY: u32 = 65534;

/// Whether systemd 252 is on this machine; says so when it is not.
pub(crate) fn has_systemd_252() -> bool {
    let version = Command::new(SYSTEMD).arg("--version").output();
    let found = version.is_ok_and(|output| output.stdout.starts_with(b"systemd 252"));
    if !found {
        eprintln!("skipped: there is no systemd 252 at {SYSTEMD} to compare with");
    }
    found
}

/// A folder with the unit files of the packages, drop-in and dependency folders included. Fetched once; when that is
/// not possible, the units of this machine.
pub(crate) fn package_units() -> PathBuf {
    static FOLDER: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FOLDER.get_or_init(fetch_units).clone()
}

fn fetch_units() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-units");
    let units = cache.join("units");
    if units.join("ssh.service").exists() {
        return units;
    }
    let work = cache.join(format!("work-{}", std::process::id()));
    fs::create_dir_all(work.join("root")).unwrap();
    let fetched = Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&work).output();
    if !fetched.is_ok_and(|output| output.status.success()) {
        eprintln!("the packages cannot be fetched; using the units of this machine");
        return PathBuf::from("/lib/systemd/system");
    }
    for package in fs::read_dir(&work).unwrap().filter_map(Result::ok) {
        if package.path().extension().is_some_and(|end| end == "deb") {
            let unpacked = Command::new("dpkg").arg("-x").arg(package.path()).arg(work.join("root")).status();
            assert!(unpacked.unwrap().success(), "{:?} cannot be unpacked", package.path());
        }
    }
    for folder in ["lib/systemd/system", "usr/lib/systemd/system"] {
        let from = work.join("root").join(folder);
        if from.exists() {
            fs::create_dir_all(work.join("units")).unwrap();
            let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(work.join("units")).status();
            assert!(copied.unwrap().success());
        }
    }
    // Put in place at once, so that a test in another process sees all of it or nothing.
    let _ = fs::rename(work.join("units"), &units);
    let _ = fs::remove_dir_all(&work);
    units
}

/// What systemd says of units.
pub(crate) struct Verdict {
    /// For each unit its lines `key: value`, in order.
    pub(crate) units: BTreeMap<String, Vec<(String, String)>>,
    /// Places `file:line` of which systemd had something to say, with what it said.
    pub(crate) complaints: BTreeMap<(PathBuf, u32), String>,
}

impl Verdict {
    /// The values of one key.
    pub(crate) fn values(&self, unit: &str, key: &str) -> Vec<&str> {
        let lines = self.units.get(unit).into_iter().flatten();
        lines.filter(|(found, _)| found == key).map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a key.
    pub(crate) fn value(&self, unit: &str, key: &str) -> Option<&str> {
        self.values(unit, key).first().copied()
    }
}

/// Has systemd load these units from these folders.
pub(crate) fn ask(folders: &[&Path], units: &BTreeSet<String>) -> Verdict {
    let root = tempfile_in(Path::new("/tmp"));
    // The build folder may be closed to nobody: the units are copied to where all can read them.
    let mut search = Vec::new();
    let mut origins = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        let copy = root.join(index.to_string());
        let copied = Command::new("cp").arg("-a").arg(folder).arg(&copy).status();
        assert!(copied.unwrap().success());
        search.push(copy.to_str().unwrap().to_owned());
        origins.push((copy, folder.to_path_buf()));
    }
    let wants: Vec<&str> = units.iter().map(String::as_str).collect();
    let ask_for = root.join("ask");
    fs::create_dir_all(&ask_for).unwrap();
    let text = format!("[Unit]\nDefaultDependencies=no\nWants={}\n", wants.join(" \\\n "));
    fs::write(ask_for.join("referee-all.target"), text).unwrap();
    // These must be there or systemd refuses to go on.
    for name in ["emergency.target", "rescue.target"] {
        if !folders.iter().any(|folder| folder.join(name).exists()) {
            fs::write(ask_for.join(name), "[Unit]\nDefaultDependencies=no\n").unwrap();
        }
    }
    search.push(ask_for.to_str().unwrap().to_owned());
    let open = Command::new("chmod").arg("-R").arg("a+rX").arg(&root).status();
    assert!(open.unwrap().success());
    let mut command = Command::new(SYSTEMD);
    command.args(["--test", "--system", "--no-pager", "--unit=referee-all.target"]);
    command.env_clear().env("SYSTEMD_UNIT_PATH", search.join(":")).env("SYSTEMD_LOG_LEVEL", "notice");
    command.env("SYSTEMD_LOG_TARGET", "console").env("SYSTEMD_LOG_COLOR", "0");
    command.env("HOME", "/tmp").env("XDG_RUNTIME_DIR", "/tmp").env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "systemd --test failed: {}", String::from_utf8_lossy(&output.stderr));
    let back = |path: &str| {
        let path = Path::new(path);
        let found = origins.iter().find_map(|(copy, folder)| Some(folder.join(path.strip_prefix(copy).ok()?)));
        found.unwrap_or_else(|| path.to_owned())
    };
    let mut verdict = Verdict { units: BTreeMap::new(), complaints: BTreeMap::new() };
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let mut parts = line.splitn(3, ':');
        if let (Some(file), Some(number), Some(text)) = (parts.next(), parts.next(), parts.next())
            && let Ok(number) = number.parse()
        {
            verdict.complaints.insert((back(file), number), text.trim().to_owned());
        }
    }
    let mut unit = None;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("-> Unit ") {
            unit = Some(name.trim_end_matches(':').to_owned());
            verdict.units.insert(name.trim_end_matches(':').to_owned(), Vec::new());
        } else if let Some(lines) = unit.as_ref().and_then(|unit| verdict.units.get_mut(unit)) {
            match line.split_once(": ") {
                Some((key, value)) => lines.push((key.to_owned(), origins_back(value, &origins))),
                None => lines.push((line.trim_end_matches(':').to_owned(), String::new())),
            }
        }
    }
    let _ = fs::remove_dir_all(root);
    verdict
}

fn origins_back(value: &str, origins: &[(PathBuf, PathBuf)]) -> String {
    origins.iter().fold(value.to_owned(), |value, (copy, folder)| {
        value.replace(&format!("{}/", copy.display()), &format!("{}/", folder.display()))
    })
}

/// A new folder of its own.
pub(crate) fn tempfile_in(parent: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = parent.join(format!("ssi-unit-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&path).unwrap();
    path
}
