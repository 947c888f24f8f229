// SPDX-License-Identifier: GPL-2.0-or-later
//! The records of utmp(5): who is logged in, the run level, when the machine came up and went down, which sessions are
//! over. utmp has what is, wtmp what was. A machine that keeps neither file is whole: nothing is made that is not there.
//!
//! ```text
//!   0      4      8          40   44        76         332       336        340           348      364   384
//!   | type | pid  | line[32] | id | user[32]| host[256]| exit    | session  | sec    usec | addr[4]| unused |
//!     i16+2  i32                                        i16 i16   i32        i32    i32    4 × i32
//! ```
//! That is the layout on x86-64, where 32-bit programs share the files. `library` takes each architecture's from the
//! C library; a test holds it to this drawing.

mod library;

use crate::runlevel::Levels;
use nix::libc;
use std::io;
use std::mem::offset_of;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the machine writes of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It came up then.
    Boot(SystemTime),
    /// It goes down.
    Shutdown,
    /// It changed its run level.
    Level(Levels),
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The terminal, as under /dev: `pts/3`.
    pub line: String,
    /// The process of the session.
    pub process: i32,
}

/// How a session's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// The signal that killed it; 0 if none did.
    pub signal: i16,
    /// Its exit status.
    pub status: i16,
}

/// Who is logged in at a terminal. None where there is no utmp.
pub fn logins() -> Vec<Login> {
    library::records(|record| {
        (record.ut_type == libc::USER_PROCESS)
            .then(|| Login { line: text(&record.ut_line), process: record.ut_pid })
            .filter(|login| !login.line.is_empty())
    })
}

/// The last run level that was recorded.
pub fn levels() -> Option<Levels> {
    library::records(|record| (record.ut_type == libc::RUN_LVL).then_some(record.ut_pid))
        .into_iter()
        .rev()
        .find_map(Levels::from_record)
}

/// Records an event: in wtmp, and unless `wtmp_only` in utmp.
///
/// # Errors
/// The first of the two that could not be written. A file that is not there is not kept, which is no error.
pub fn record(event: &Event, wtmp_only: bool) -> io::Result<()> {
    let host = rustix::system::uname().release().to_string_lossy().into_owned();
    let record = of_event(event, &host, SystemTime::now());
    let utmp = if wtmp_only { Ok(()) } else { library::put(&record) };
    // Both are tried, whatever became of the first.
    let wtmp = library::append(Path::new(library::WTMP), &bytes(&record));
    utmp.and(wtmp)
}

/// Records that a session's process is dead: the unit's `UtmpIdentifier=` and the process its record was written for.
/// Whether there was such a record; that of a later process stays as it is.
///
/// # Errors
/// As [`record`].
pub fn record_end(id: &str, process: i32, end: End) -> io::Result<bool> {
    let mut wanted = library::empty();
    // Any of the four types of a process will do: getutxent(3).
    wanted.ut_type = libc::DEAD_PROCESS;
    let room = wanted.ut_id.len();
    fill(&mut wanted.ut_id, last(id, room));
    let Some(found) = library::of_process(&wanted).filter(|record| record.ut_pid == process) else { return Ok(false) };
    let in_utmp = dead(found, end);
    let mut in_wtmp = in_utmp;
    set_time(&mut in_wtmp, SystemTime::now());
    let utmp = library::put(&in_utmp);
    let wtmp = library::append(Path::new(library::WTMP), &bytes(&in_wtmp));
    utmp.and(wtmp).map(|()| true)
}

fn of_event(event: &Event, host: &str, now: SystemTime) -> libc::utmpx {
    let (kind, user, process, time) = match *event {
        Event::Boot(time) => (libc::BOOT_TIME, "reboot", 0, time),
        Event::Shutdown => (libc::RUN_LVL, "shutdown", 0, now),
        Event::Level(levels) => (libc::RUN_LVL, "runlevel", levels.to_record(), now),
    };
    let mut record = library::empty();
    record.ut_type = kind;
    record.ut_pid = process;
    fill(&mut record.ut_user, user);
    fill(&mut record.ut_line, "~");
    fill(&mut record.ut_id, "~~");
    fill(&mut record.ut_host, host);
    set_time(&mut record, time);
    record
}

/// A dead process' record: utmp(5) has user, host and time cleared; line and id tell whose it was.
fn dead(mut record: libc::utmpx, end: End) -> libc::utmpx {
    record.ut_type = libc::DEAD_PROCESS;
    record.ut_exit.e_termination = end.signal;
    record.ut_exit.e_exit = end.status;
    record.ut_user.fill(0);
    record.ut_host.fill(0);
    record.ut_tv.tv_sec = 0;
    record.ut_tv.tv_usec = 0;
    record
}

/// A record as it is in the file. Between the fields there are gaps, which have no value in memory and are zero here.
fn bytes(record: &libc::utmpx) -> [u8; size_of::<libc::utmpx>()] {
    let mut bytes = [0; size_of::<libc::utmpx>()];
    let mut place = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    let plain = |field: &[libc::c_char]| field.iter().map(|character| *character as u8).collect::<Vec<u8>>();
    place(offset_of!(libc::utmpx, ut_type), &record.ut_type.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_pid), &record.ut_pid.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_line), &plain(&record.ut_line));
    place(offset_of!(libc::utmpx, ut_id), &plain(&record.ut_id));
    place(offset_of!(libc::utmpx, ut_user), &plain(&record.ut_user));
    place(offset_of!(libc::utmpx, ut_host), &plain(&record.ut_host));
    place(offset_of!(libc::utmpx, ut_exit.e_termination), &record.ut_exit.e_termination.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_exit.e_exit), &record.ut_exit.e_exit.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_session), &record.ut_session.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_tv.tv_sec), &record.ut_tv.tv_sec.to_ne_bytes());
    place(offset_of!(libc::utmpx, ut_tv.tv_usec), &record.ut_tv.tv_usec.to_ne_bytes());
    let address = offset_of!(libc::utmpx, ut_addr_v6);
    for (index, part) in record.ut_addr_v6.iter().enumerate() {
        place(address + index * size_of_val(part), &part.to_ne_bytes());
    }
    bytes
}

fn set_time(record: &mut libc::utmpx, time: SystemTime) {
    // A clock before 1970 has no time that a record could hold.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // The fields are 32 or 64 bits, by architecture; the cast is the C library's own rule for it.
    record.ut_tv.tv_sec = since.as_secs() as _;
    record.ut_tv.tv_usec = since.subsec_micros() as _;
}

/// What does not fit is cut off. Where all fits exactly there is no NUL at the end, which readers know: utmp(5).
fn fill(field: &mut [libc::c_char], text: &str) {
    for (place, byte) in field.iter_mut().zip(text.bytes()) {
        *place = byte as libc::c_char;
    }
}

/// The last `count` bytes, which tell terminals apart: of "console-tty1" it is "tty1".
fn last(text: &str, count: usize) -> &str {
    let start = text.len().saturating_sub(count);
    let start = (start..=text.len()).find(|start| text.is_char_boundary(*start));
    start.map_or("", |start| &text[start..])
}

fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|character| *character as u8).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> i64 {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_layout_is_that_of_the_drawing() {
        let time = UNIX_EPOCH + Duration::new(0x5a5b_5c5d, 123_456_000);
        let levels = Levels { previous: Some('3'), current: '5' };
        let mut record = of_event(&Event::Level(levels), "6.1.0-some", time);
        record.ut_session = 77;
        record.ut_addr_v6 = [1, 2, 3, 4];
        let bytes = super::bytes(&record);
        assert_eq!(bytes.len(), 384);
        assert_eq!(number(&bytes[0..4]), 1, "RUN_LVL");
        assert_eq!(number(&bytes[4..8]), i64::from(b'5') | i64::from(b'3') << 8);
        assert_eq!(&bytes[8..40], b"~\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&bytes[40..44], b"~~\0\0");
        assert_eq!(&bytes[44..54], b"runlevel\0\0");
        assert_eq!(&bytes[76..87], b"6.1.0-some\0");
        assert_eq!(number(&bytes[336..340]), 77);
        assert_eq!(number(&bytes[340..344]), 0x5a5b_5c5d);
        assert_eq!(number(&bytes[344..348]), 123_456);
        assert_eq!([348, 352, 356, 360].map(|at| number(&bytes[at..at + 4])), [1, 2, 3, 4]);
        assert_eq!(bytes[364..], [0; 20]);
        let ended = dead(record, End { signal: 15, status: 3 });
        let bytes = super::bytes(&ended);
        assert_eq!(number(&bytes[0..4]), 8, "DEAD_PROCESS");
        assert_eq!(number(&bytes[332..334]), 15);
        assert_eq!(number(&bytes[334..336]), 3);
        assert_eq!(bytes[44..332], [0; 288], "user and host");
        assert_eq!(bytes[340..348], [0; 8], "the time");
        assert_eq!(&bytes[40..44], b"~~\0\0");
    }

    #[test]
    fn identifiers_are_cut_at_the_front() {
        assert_eq!(last("tty1", 4), "tty1");
        assert_eq!(last("console-tty1", 4), "tty1");
        assert_eq!(last("1", 4), "1");
        assert_eq!(last("aäää", 4), "ää");
        assert_eq!(last("aäab€", 4), "b€");
        assert_eq!(last("", 4), "");
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut() {
        let mut field = [0; 4];
        fill(&mut field, "abcdef");
        assert_eq!(text(&field), "abcd");
    }

    fn login(id: &str, line: &str, user: &str, process: i32, time: SystemTime) -> libc::utmpx {
        let mut record = library::empty();
        record.ut_type = libc::USER_PROCESS;
        record.ut_pid = process;
        fill(&mut record.ut_id, id);
        fill(&mut record.ut_line, line);
        fill(&mut record.ut_user, user);
        fill(&mut record.ut_host, "far.example");
        set_time(&mut record, time);
        record
    }

    /// What a program of another house says of `file`; none, and a line, where the program is not installed.
    fn said(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
        use std::io::Write as _;
        let mut command = std::process::Command::new(program);
        match command.args(arguments).arg(file).env("LC_ALL", "C").env("TZ", "UTC").output() {
            Ok(output) => {
                assert!(output.status.success(), "{program}: {output:?}");
                Some(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Err(error) => {
                // Past the test's own capture, or nobody would know.
                let _ = writeln!(io::stderr(), "what {program} reads is not compared: {error}");
                None
            }
        }
    }

    /// A boot, a login of an hour and a quarter, another one that stays, and the way down.
    fn a_days_records() -> Vec<libc::utmpx> {
        let at = |minutes: u64| UNIX_EPOCH + Duration::from_secs(1_790_000_000 + minutes * 60);
        let first = login("ts/7", "pts/7", "maria", 4242, at(10));
        let mut over = dead(first, End { signal: 1, status: 0 });
        set_time(&mut over, at(85));
        vec![
            of_event(&Event::Boot(at(0)), "6.1.0-some", at(1)),
            of_event(&Event::Level(Levels { previous: None, current: '5' }), "6.1.0-some", at(2)),
            first,
            over,
            login("ts/8", "pts/8", "nina", std::process::id() as i32, at(90)),
            of_event(&Event::Shutdown, "6.1.0-some", at(100)),
        ]
    }

    #[test]
    fn others_read_what_is_appended() {
        let folder = tempfile::tempdir().expect("a folder");
        let wtmp = folder.path().join("wtmp");
        std::fs::write(&wtmp, "").expect("a file");
        for record in a_days_records() {
            library::append(&wtmp, &bytes(&record)).expect("appends");
        }
        let has = |text: &str, words: &[&str]| {
            let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
            assert!(found, "no line with {words:?}:\n{text}");
        };
        if let Some(last) = said("last", &["-x", "-f"], &wtmp) {
            has(&last, &["reboot", "system boot", "6.1.0-some", "Mon Sep 21 14:13"]);
            has(&last, &["runlevel", "(to lvl 5)"]);
            has(&last, &["maria", "pts/7", "far.example", "(01:15)"]);
            has(&last, &["nina", "pts/8", "down"]);
            has(&last, &["shutdown", "system down"]);
        }
        if let Some(dump) = said("utmpdump", &[], &wtmp) {
            has(&dump, &["[2] [00000] [~~  ] [reboot", "2026-09-21T14:13:20"]);
            has(&dump, &["[8] [04242] [ts/7] [ ", "[pts/7", "2026-09-21T15:38:20"]);
            assert_eq!(dump.lines().filter(|line| line.starts_with('[')).count(), 6, "{dump}");
        }
        if let Some(who) = said("who", &["-a"], &wtmp) {
            has(&who, &["system boot", "Sep 21 14:13"]);
            has(&who, &["run-level 5", "Sep 21 14:15"]);
            has(&who, &["nina", "pts/8", "Sep 21 15:43", "(far.example)"]);
            has(&who, &["pts/7", "4242", "id=ts/7", "term=1 exit=0"]);
        }
    }

    #[test]
    fn a_file_that_is_not_kept_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let wtmp = folder.path().join("wtmp");
        library::append(&wtmp, &[1; 384]).expect("no error");
        assert!(!wtmp.exists());
        assert!(library::append(folder.path(), &[1; 384]).is_err());
    }

    /// The only test that asks the library for a file: where it looks is one word for the whole process.
    #[test]
    fn the_library_finds_what_it_has_put() {
        let folder = tempfile::tempdir().expect("a folder");
        let utmp = folder.path().join("utmp");
        library::use_file(&utmp);
        let records = a_days_records();
        library::put(&records[0]).expect("a file that is not there is no error");
        assert!(!utmp.exists() && logins().is_empty() && levels().is_none());
        std::fs::write(&utmp, "").expect("a file");
        for record in &records[..3] {
            library::put(record).expect("puts");
        }
        library::put(&records[4]).expect("puts");
        assert_eq!(levels(), Some(Levels { previous: None, current: '5' }));
        let lines = || logins().into_iter().map(|login| (login.line, login.process)).collect::<Vec<_>>();
        let own = ("pts/8".to_owned(), std::process::id() as i32);
        assert_eq!(lines(), [("pts/7".to_owned(), 4242), own.clone()]);

        let mut wanted = library::empty();
        wanted.ut_type = libc::DEAD_PROCESS;
        fill(&mut wanted.ut_id, "ts/7");
        let found = library::of_process(&wanted).expect("the record");
        assert_eq!((found.ut_pid, text(&found.ut_user).as_str()), (4242, "maria"));
        library::put(&dead(found, End::default())).expect("puts");
        assert_eq!(lines(), [own]);
        assert_eq!(std::fs::metadata(&utmp).expect("the file").len(), 4 * size_of::<libc::utmpx>() as u64);
        if let Some(who) = said("who", &[], &utmp) {
            assert!(who.contains("nina") && !who.contains("maria"), "{who}");
        }
        library::use_file(Path::new("/var/run/utmp"));
    }
}
