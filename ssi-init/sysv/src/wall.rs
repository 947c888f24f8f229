// SPDX-License-Identifier: GPL-2.0-or-later
//! Messages to everyone who is logged in: wall(1).

use crate::utmp;
use jiff::Zoned;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Where logind keeps its sessions: what sd_session_get_tty(3) reads.
const SESSIONS: &str = "/run/systemd/sessions";

/// Writes `message` to the terminals of all logins. A terminal that cannot be written to is passed over: nobody there
/// would read of it.
pub fn write(message: &str, now: &Zoned) {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let text = text(message, &host, now);
    let mut lines: BTreeSet<String> = utmp::logins().into_iter().map(|login| login.line).collect();
    lines.extend(lines_of_sessions(Path::new(SESSIONS)));
    for line in lines {
        write_to(&line, &text);
    }
}

/// Terminals of logind's sessions: some distributions keep no utmp any more.
fn lines_of_sessions(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| line_of_session(&fs::read_to_string(entry.ok()?.path()).ok()?)).collect()
}

/// From the text of a session's file; none where it has no terminal, is a greeter's or about to end.
fn line_of_session(text: &str) -> Option<String> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let of_a_user = value("CLASS")?.starts_with("user") && value("STATE") != Some("closing");
    let line = value("TTY").filter(|line| of_a_user && !line.is_empty())?;
    Some(line.to_owned())
}

/// The message as it stands on a terminal: a bell, who says it and when, then the lines without control characters,
/// which could do more to a terminal than be read.
fn text(message: &str, host: &str, now: &Zoned) -> String {
    let time = now.strftime("%a %Y-%m-%d %H:%M:%S %Z");
    let mut text = format!("\x07\r\nBroadcast message from root@{host} ({time}):\r\n\r\n");
    for line in message.lines() {
        text.extend(line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }));
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

fn write_to(line: &str, text: &str) {
    // utmp is written by many; a line is a terminal under /dev or nothing.
    if line.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return;
    }
    let path = Path::new("/dev").join(line);
    if !path.metadata().is_ok_and(|status| status.file_type().is_char_device()) {
        return;
    }
    // Not to wait for one whose output is stopped, nor to make a terminal of ours of it.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    if let Ok(mut terminal) = OpenOptions::new().write(true).custom_flags(flags as i32).open(path)
        // Memory and sound cards are character devices too.
        && terminal.is_terminal()
    {
        let _ = terminal.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_users_have_terminals() {
        let line = |text: &str| line_of_session(text);
        assert_eq!(line("UID=0\nCLASS=user\nSTATE=active\nTTY=pts/3\n").as_deref(), Some("pts/3"));
        assert_eq!(line("TTY=tty1\nCLASS=user-early\n").as_deref(), Some("tty1"));
        for without in [
            "",
            "CLASS=user\n",
            "CLASS=user\nTTY=\n",
            "CLASS=greeter\nTTY=tty1\n",
            "CLASS=user\nTTY=a\nSTATE=closing\n",
        ] {
            assert_eq!(line(without), None, "{without}");
        }
    }

    #[test]
    fn a_message_can_be_read_and_do_nothing_else() {
        let now: Zoned = "2026-03-28T12:00:30+01:00[Europe/Berlin]".parse().expect("a time");
        let text = super::text("one\nt\x1b[2Jwo", "node1", &now);
        assert_eq!(
            text,
            "\x07\r\nBroadcast message from root@node1 (Sat 2026-03-28 12:00:30 CET):\r\n\r\none\r\nt?[2Jwo\r\n\r\n"
        );
        let odd = super::text("\u{9b}31m\ttab\r\nüber\n\nend\u{7f}", "n", &now);
        assert!(odd.ends_with(":\r\n\r\n?31m\ttab\r\nüber\r\n\r\nend?\r\n\r\n"), "{odd:?}");
    }

    /// What arrives at a terminal of our own, whose line is given to `act`.
    fn at_a_terminal(act: impl FnOnce(&str)) -> Option<String> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).ok()?;
        grantpt(&controller).ok()?;
        unlockpt(&controller).ok()?;
        let name = ptsname(&controller, Vec::new()).expect("a name").into_string().expect("UTF-8");
        // Held open: with nobody at the other end the controller could not read.
        let _session = OpenOptions::new().read(true).write(true).open(&name).ok()?;
        act(name.strip_prefix("/dev/").expect("under /dev"));
        rustix::fs::fcntl_setfl(&controller, rustix::fs::OFlags::NONBLOCK).expect("flags");
        let mut arrived = [0; 1024];
        let count = rustix::io::read(&controller, &mut arrived).unwrap_or(0);
        Some(String::from_utf8_lossy(&arrived[..count]).into_owned())
    }

    #[test]
    fn a_terminal_shows_the_message() {
        let Some(arrived) = at_a_terminal(|line| write_to(line, "\x07\r\nhello\r\n")) else {
            eprintln!("a_terminal_shows_the_message: skipped, no terminal can be made here");
            return;
        };
        assert!(arrived.contains("hello"), "{arrived:?}");
        let astray = at_a_terminal(|line| {
            write_to(&format!("../dev/{line}"), "astray");
            write_to(&format!("/{line}"), "astray");
            write_to("", "astray");
            write_to("pts/none", "astray");
            write_to("null", "astray");
        });
        assert_eq!(astray.as_deref(), Some(""));
    }
}
