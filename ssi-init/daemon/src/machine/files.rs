// SPDX-License-Identifier: GPL-2.0-or-later
//! Small things in the file system that units have.

use std::fs::{self, DirBuilder, File, FileTimes};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::libc;
use sha2::{Digest as _, Sha256};
use ssi_manager::core::system::{Pid, Result, SystemError};
use ssi_unit::name::UnitName;

use super::failed;

/// A PID file holds a number and a line end; what is longer is none.
const PID_FILE_MAX: u64 = 64;

/// The number in a PID file.
pub(super) fn read_pid_file(path: &str) -> Result<Pid> {
    let what = || format!("reading the PID file {path}");
    // Not to wait for who writes into it, should it be a FIFO.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut text = String::new();
    file.and_then(|file| file.take(PID_FILE_MAX).read_to_string(&mut text)).map_err(|error| failed(what(), error))?;
    match text.trim().parse::<u32>() {
        Ok(pid @ 1..) if i32::try_from(pid).is_ok() => Ok(Pid(pid)),
        _ => Err(SystemError {
            what: what(),
            said: format!("'{}' is no number of a process", text.trim()),
            errno: libc::EINVAL,
        }),
    }
}

/// Removes a file, or an empty directory. One that is gone is fine.
pub(super) fn remove(path: &str) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory for a mount, as [`ssi_manager::core::system::System::make_directory`] has it.
pub(super) fn make_directory(path: &str, mode: u32) -> Result<()> {
    let what = || format!("making the directory {path}");
    let path = Path::new(path);
    if !path.exists() {
        let parent = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|error| failed(what(), error))?;
        match DirBuilder::new().mode(mode).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(what(), error)),
            _ => {}
        }
    }
    let real = fs::canonicalize(path).map_err(|error| failed(what(), error))?;
    if real != path {
        return Err(failed(what(), io::Error::from_raw_os_error(libc::ELOOP)));
    }
    let mut entries = fs::read_dir(path).map_err(|error| failed(what(), error))?;
    if entries.next().is_some() {
        return Err(failed(what(), io::Error::from_raw_os_error(libc::ENOTEMPTY)));
    }
    Ok(())
}

fn stamp_path(folder: &Path, unit: &UnitName) -> std::path::PathBuf {
    folder.join(format!("stamp-{unit}"))
}

/// When a timer elapsed last, by its stamp: the time of last change of an empty file, as systemd.timer(5) has it.
pub(super) fn stamp(folder: &Path, unit: &UnitName) -> Option<u64> {
    let changed = fs::metadata(stamp_path(folder, unit)).ok()?.modified().ok()?;
    let since = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

/// Notes that a timer elapsed.
pub(super) fn set_stamp(folder: &Path, unit: &UnitName, at: u64) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let file = File::options().write(true).create(true).truncate(false).mode(0o644).open(stamp_path(folder, unit))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(at);
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}

/// The machine's time zone as `/etc/localtime` has it now; UTC where it has none.
pub(super) fn time_zone() -> jiff::tz::TimeZone {
    let data = fs::read("/etc/localtime").ok();
    let name = fs::read_link("/etc/localtime").ok();
    let name = name.as_deref().and_then(Path::to_str).and_then(|path| path.split_once("zoneinfo/"));
    let name = name.map_or("Local", |(_, name)| name);
    data.and_then(|data| jiff::tz::TimeZone::tzif(name, &data).ok()).unwrap_or(jiff::tz::TimeZone::UTC)
}

/// A number that is the same for this unit on this machine each time, and another one elsewhere.
pub(super) fn fixed_number(unit: &UnitName) -> u64 {
    // A machine without an id has none of its own numbers either; the units of one still differ.
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let hash = Sha256::new().chain_update(machine.trim()).chain_update(unit.as_str()).finalize();
    let first: [u8; 8] = std::array::from_fn(|at| hash[at]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_a_number() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.pid");
        let path = path.to_str().unwrap();
        for (text, number) in
            [("12\n", Some(12)), (" 7 ", Some(7)), ("", None), ("0", None), ("-3", None), ("4 5", None)]
        {
            fs::write(path, text).unwrap();
            assert_eq!(read_pid_file(path).ok(), number.map(Pid), "{text:?}");
        }
        fs::remove_file(path).unwrap();
        assert_eq!(read_pid_file(path).unwrap_err().errno, libc::ENOENT);
    }

    #[test]
    fn a_directory_for_a_mount() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        make_directory(&path("a/b"), 0o700).unwrap();
        make_directory(&path("a/b"), 0o700).unwrap();
        assert_eq!(make_directory(&path("a"), 0o700).unwrap_err().errno, libc::ENOTEMPTY);
        std::os::unix::fs::symlink(path("a"), path("l")).unwrap();
        assert_eq!(make_directory(&path("l/c"), 0o700).unwrap_err().errno, libc::ELOOP);
    }

    #[test]
    fn stamps_are_found_again() {
        let place = tempfile::tempdir().unwrap();
        let unit = UnitName::new("a.timer").unwrap();
        let folder = place.path().join("timers");
        assert_eq!(stamp(&folder, &unit), None);
        set_stamp(&folder, &unit, 1_700_000_000_123_456).unwrap();
        assert_eq!(stamp(&folder, &unit), Some(1_700_000_000_123_456));
    }
}
