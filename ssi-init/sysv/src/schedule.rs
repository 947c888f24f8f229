// SPDX-License-Identifier: GPL-2.0-or-later
//! A shutdown at a time, where there is no logind to wait for it.
//!
//! ```text
//!   shutdown +10 ──► /run/systemd/shutdown/scheduled      what is to come; shutdown --show and logind's clients read it
//!               └──► ssi-sysv await-shutdown              a process that belongs to nobody and waits
//!                      │  warns; forbids logins for the last five minutes (/run/nologin)
//!                      └► goes down, if the file is still the one it was started for
//!   shutdown -c  ──► removes the file; the waiting process sees it and ends
//! ```
//! The file is the only thing they share, so it does not matter who dies. The wait is for a time on the wall clock, as
//! logind's is: a clock that is set moves the shutdown with it.

use crate::action::Action;
use crate::{wall, warning};
use jiff::{Timestamp, Zoned};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the schedule is kept.
pub const FOLDER: &str = "/run/systemd/shutdown";
/// Its name there.
const FILE: &str = "scheduled";
/// While it is there, pam_nologin(8) lets root in alone, and shows everyone else what it says.
const NO_LOGIN: &str = "/run/nologin";

/// A shutdown to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When.
    pub time: SystemTime,
    /// How.
    pub action: Action,
    /// Users are warned, and nothing happens then.
    pub dry: bool,
    /// Whether users are warned.
    pub wall: bool,
    /// What they are told beside the time.
    pub message: String,
}

impl Schedule {
    /// The time in microseconds since 1970.
    pub fn microseconds(&self) -> u64 {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// What logind's ScheduleShutdown calls it.
    pub fn mode(&self) -> String {
        format!("{}{}", if self.dry { "dry-" } else { "" }, self.action.word())
    }

    /// The text of the file: logind's variables, with C's escapes in the message.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("USEC={}\nWARN_WALL={}\nMODE={}\n", self.microseconds(), u8::from(self.wall), self.action.word());
        if self.dry {
            text.push_str("DRY_RUN=1\n");
        }
        if !self.message.is_empty() {
            text.push_str("WALL_MESSAGE=");
            for byte in self.message.bytes() {
                match byte {
                    b'\n' => text.push_str("\\n"),
                    b'\\' => text.push_str("\\\\"),
                    b'"' => text.push_str("\\\""),
                    b' '..=b'~' => text.push(char::from(byte)),
                    // Three digits always, so that a digit of the text behind it stays one. Writing to a String cannot
                    // fail.
                    _ => drop(write!(text, "\\{byte:03o}")),
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads the file's text; `None` if the time or the action is not there.
    pub fn from_text(text: &str) -> Option<Schedule> {
        let value = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            // A quote of the text itself has a backslash before it.
            Some(value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value))
        };
        let microseconds = value("USEC")?.parse().ok()?;
        Some(Schedule {
            time: UNIX_EPOCH.checked_add(Duration::from_micros(microseconds))?,
            action: Action::from_word(value("MODE")?)?,
            dry: value("DRY_RUN") == Some("1"),
            wall: value("WARN_WALL") == Some("1"),
            message: value("WALL_MESSAGE").map(unescape).unwrap_or_default(),
        })
    }

    /// The time on this machine's clock.
    pub fn local_time(&self) -> String {
        match Timestamp::try_from(self.time) {
            Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
            Err(_) => "a time beyond the calendar".to_owned(),
        }
    }

    /// What users are told of it.
    pub fn warning(&self) -> String {
        let mut text = self.message.clone();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{} at {}!", self.action.sentence(), self.local_time()));
        text
    }

    /// Writes the file in `folder`, in the place of the one that may be there.
    ///
    /// # Errors
    /// What the system says.
    pub fn store(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let new = folder.join(format!(".{FILE}.{}", std::process::id()));
        let mut file = fs::File::create(&new)?;
        file.write_all(self.to_text().as_bytes())?;
        fs::rename(&new, folder.join(FILE))
    }

    /// What is scheduled, by logind or by us.
    pub fn load(folder: &Path) -> Option<Schedule> {
        Schedule::from_text(&fs::read_to_string(folder.join(FILE)).ok()?)
    }
}

/// Takes back what was scheduled; whether there was something. The waiting process removes /run/nologin.
///
/// # Errors
/// What the system says.
pub fn cancel(folder: &Path) -> io::Result<bool> {
    match fs::remove_file(folder.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes C's escapes away: logind writes all but printable ASCII as one, a byte each.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'\\' {
            plain.push(first);
            continue;
        }
        let Some((&kind, behind)) = rest.split_first() else { break };
        let byte = match kind {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => {
                let Some(byte) = number(behind.get(..2), 16) else {
                    // Not ours and not logind's; as it stands is the best that can be made of it.
                    plain.push(first);
                    continue;
                };
                rest = &behind[2..];
                plain.push(byte);
                continue;
            }
            b'0'..=b'7' => {
                let Some(byte) = number(rest.get(..3), 8) else {
                    plain.push(first);
                    continue;
                };
                rest = &rest[3..];
                plain.push(byte);
                continue;
            }
            other => other,
        };
        plain.push(byte);
        rest = behind;
    }
    String::from_utf8(plain).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A byte written in digits and nothing else.
fn number(digits: Option<&[u8]>, radix: u32) -> Option<u8> {
    let digits = std::str::from_utf8(digits?).ok()?;
    let all_digits = digits.chars().all(|digit| digit.is_digit(radix));
    all_digits.then(|| u8::from_str_radix(digits, radix).ok()).flatten()
}

/// How the waiting ended.
#[derive(Debug)]
pub enum Waited {
    /// The time has come; nobody may log in until the second is gone.
    Due(Schedule, NoLogin),
    /// It was taken back, or replaced by another.
    Cancelled,
}

/// Waits for what is scheduled in `folder`, and warns meanwhile.
///
/// # Errors
/// What the system says. /run/nologin is gone then.
pub fn wait(folder: &Path) -> io::Result<Waited> {
    let file = folder.join(FILE);
    let Some(own) = identity(&file) else { return Ok(Waited::Cancelled) };
    let Some(schedule) = Schedule::load(folder) else { return Ok(Waited::Cancelled) };
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(
        &watch,
        folder,
        inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::MOVED_FROM,
    )?;
    let mut no_login = NoLogin(None);
    loop {
        // Looked at after the watch began, and again after each change: no change is missed.
        if identity(&file) != Some(own) {
            return Ok(Waited::Cancelled);
        }
        let Ok(left) = schedule.time.duration_since(SystemTime::now()) else {
            return Ok(Waited::Due(schedule, no_login));
        };
        if left <= warning::NO_LOGIN && !schedule.dry {
            no_login.make(&schedule);
        }
        let next = warning::next(left).unwrap_or(Duration::ZERO);
        if sleep(schedule.time - next, &watch)? && schedule.wall && !next.is_zero() && identity(&file) == Some(own) {
            wall::write(&schedule.warning(), &Zoned::now());
        }
    }
}

/// Sleeps until a time on the wall clock, or a change that `watch` sees; whether the time came.
fn sleep(until: SystemTime, watch: &std::os::fd::OwnedFd) -> io::Result<bool> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let since = until.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timespec {
        tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // A timer set to zero never comes; a nanosecond later is soon enough.
        tv_nsec: i64::from(since.subsec_nanos().max(1)),
    };
    let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
    // A clock that is set ends the sleep too, and what is left is counted anew.
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    rustix::time::timerfd_settime(&timer, flags, &spec)?;
    let mut ready = [PollFd::new(&timer, PollFlags::IN), PollFd::new(watch, PollFlags::IN)];
    match poll(&mut ready, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let elapsed = ready[0].revents().contains(PollFlags::IN) && {
        let mut count = [0; 8];
        rustix::io::read(&timer, &mut count).is_ok()
    };
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events.next().is_ok() {}
    Ok(elapsed)
}

/// What tells one file from the next of the same name.
fn identity(file: &Path) -> Option<(u64, u64, i64)> {
    let status = fs::symlink_metadata(file).ok()?;
    Some((status.dev(), status.ino(), status.ctime_nsec()))
}

/// /run/nologin, which is gone when this is.
#[derive(Debug)]
pub struct NoLogin(Option<PathBuf>);

impl NoLogin {
    /// Somebody else's file stays theirs. One that cannot be made is let be: a login too many is no reason to stay up.
    fn make(&mut self, schedule: &Schedule) {
        if self.0.is_none()
            && let Ok(mut file) = fs::File::create_new(NO_LOGIN)
        {
            self.0 = Some(PathBuf::from(NO_LOGIN));
            let text = format!("{}. Logging in is no longer possible.\n", schedule.action.sentence());
            let _ = file.write_all(text.as_bytes());
        }
    }

    /// Has the file stay.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for NoLogin {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            microseconds in 0..4_000_000_000_000_000u64,
            action in prop::sample::select(vec![Action::PowerOff, Action::Reboot, Action::Halt]),
            (dry, wall) in any::<(bool, bool)>(),
            message in "[ -!#-~äß\n\t\"\\\\]*",
        ) {
            let time = UNIX_EPOCH + Duration::from_micros(microseconds);
            let schedule = Schedule { time, action, dry, wall, message };
            prop_assert_eq!(Schedule::from_text(&schedule.to_text()), Some(schedule));
        }

        #[test]
        fn any_message_is_one_line_of_ascii(message in any::<String>()) {
            let schedule = Schedule { time: UNIX_EPOCH, action: Action::Halt, dry: false, wall: true, message };
            let text = schedule.to_text();
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')), "{}", text);
            prop_assert!(text.lines().count() <= 4, "{}", text);
            prop_assert_eq!(Schedule::from_text(&text), Some(schedule));
        }

        #[test]
        fn any_text_is_answered(text in "(USEC|MODE|WALL_MESSAGE|=|\\\\x?|[0-9]|reboot|\n|\\PC)*") {
            let _ = Schedule::from_text(&text);
        }
    }

    #[test]
    fn what_logind_writes_is_read() {
        let text = "# This is private data. Do not parse.\nUSEC=1800000000000000\nWARN_WALL=1\nMODE=reboot\nDRY_RUN=0\n\
                    UID=0\nTTY=pts/0\nWALL_MESSAGE=caf\\303\\251\\tat \\\"six\\\"\\n\\x41\\0011\\\\\n";
        let schedule = Schedule::from_text(text).expect("a schedule");
        assert_eq!(schedule.message, "café\tat \"six\"\nA\u{1}1\\");
        assert_eq!((schedule.action, schedule.dry, schedule.wall), (Action::Reboot, false, true));
        assert_eq!(schedule.microseconds(), 1_800_000_000_000_000);
        assert_eq!(schedule.mode(), "reboot");
        assert_eq!(Schedule { dry: true, ..schedule }.mode(), "dry-reboot");
    }

    #[test]
    fn half_an_escape_is_no_harm() {
        for (text, plain) in [
            ("a\\", "a"),
            ("\\x4", "\\x4"),
            ("\\x+1", "\\x+1"),
            ("\\77", "\\77"),
            ("\\777", "\\777"),
            ("\\xff", "\u{fffd}"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
    }

    #[test]
    fn without_a_time_or_an_action_there_is_no_schedule() {
        for text in
            ["", "USEC=1\n", "MODE=reboot\n", "USEC=x\nMODE=reboot\n", "USEC=-1\nMODE=halt\n", "USEC=1\nMODE=kexec\n"]
        {
            assert_eq!(Schedule::from_text(text), None, "{text}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Schedule::load(folder.path()), None);
        assert!(matches!(wait(folder.path()), Ok(Waited::Cancelled)));
    }

    fn in_folder(milliseconds: u64) -> (tempfile::TempDir, Schedule) {
        let folder = tempfile::tempdir().expect("a folder");
        // Far from the last five minutes' rule, which would write to the machine's own /run, unless it is due at once.
        let time = SystemTime::now() + Duration::from_millis(milliseconds);
        let schedule = Schedule { time, action: Action::Reboot, dry: false, wall: false, message: String::new() };
        schedule.store(folder.path()).expect("a schedule");
        (folder, schedule)
    }

    #[test]
    fn a_time_gone_by_is_due() {
        let (folder, schedule) = in_folder(0);
        assert_eq!(Schedule::load(folder.path()).map(|loaded| loaded.action), Some(schedule.action));
        let waited = wait(folder.path()).expect("waits");
        assert!(matches!(&waited, Waited::Due(due, _) if due.action == schedule.action), "{waited:?}");
    }

    #[test]
    fn cancelling_ends_the_wait() {
        let (folder, _) = in_folder(3_600_000);
        let path = folder.path().to_path_buf();
        let waiting = std::thread::spawn(move || wait(&path));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        assert!(cancel(folder.path()).expect("removes"));
        assert!(matches!(waiting.join().expect("no panic").expect("waits"), Waited::Cancelled));
        assert!(!cancel(folder.path()).expect("nothing to remove"));
    }

    #[test]
    fn another_schedule_ends_the_wait() {
        let (folder, schedule) = in_folder(3_600_000);
        let path = folder.path().to_path_buf();
        let waiting = std::thread::spawn(move || wait(&path));
        std::thread::sleep(Duration::from_millis(100));
        schedule.store(folder.path()).expect("another one");
        assert!(matches!(waiting.join().expect("no panic").expect("waits"), Waited::Cancelled));
    }
}
