// SPDX-License-Identifier: GPL-2.0-or-later
//! Sentences for the administrator, said without asking for memory: into the kernel's log (`/dev/kmsg`, whence they
//! reach console and journal), in a container to standard error.

use std::fmt::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, open};

/// How grave; the numbers of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grave {
    /// The machine does not get further by itself. Said on the console too.
    Emergency = 0,
    /// Something that should work does not.
    Error = 3,
    /// Something to look at.
    Warning = 4,
    /// What is going on.
    Note = 5,
}

static KERNEL_LOG: OnceLock<OwnedFd> = OnceLock::new();

/// From here on into the kernel's log. Until then, and without one, to standard error.
pub(crate) fn use_kernel_log() {
    if let Ok(log) = open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()) {
        // Set already: it is the same file.
        let _ = KERNEL_LOG.set(log);
    }
}

/// A line of bounded length; what does not fit is cut off.
struct Line {
    // The kernel takes at most 1024 - PREFIX_MAX bytes in one record (kernel/printk/internal.h).
    bytes: [u8; 960],
    size: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte is kept for the newline.
        let room = self.bytes.len() - 1 - self.size;
        let part = text.as_bytes().get(..text.len().min(room)).unwrap_or_default();
        self.bytes[self.size..self.size + part.len()].copy_from_slice(part);
        self.size += part.len();
        Ok(())
    }
}

impl Line {
    fn of(prefix: fmt::Arguments<'_>, sentence: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; 960], size: 0 };
        // Writing into a line does not fail.
        let _ = line.write_fmt(prefix);
        let _ = line.write_fmt(sentence);
        line.bytes[line.size] = b'\n';
        line.size += 1;
        line
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Says one sentence; use the macro.
pub(crate) fn sentence(grave: Grave, sentence: fmt::Arguments<'_>) {
    // Where nothing takes it there is nobody to tell.
    match KERNEL_LOG.get() {
        Some(log) => {
            // Facility "daemon" (3): a record of facility 0 would count as the kernel's own.
            let line = Line::of(format_args!("<{}>ssi-init: ", 3 * 8 + grave as u8), sentence);
            let _ = rustix::io::write(log, line.as_bytes());
            if grave == Grave::Emergency {
                on_console(Line::of(format_args!("\r\nssi-init: "), sentence).as_bytes());
            }
        }
        None => {
            let line = Line::of(format_args!("ssi-init: "), sentence);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
    }
}

fn on_console(line: &[u8]) {
    // A console that does not take it (flow control) must not hold process 1 up.
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        let _ = rustix::io::write(&console, line);
        let _ = rustix::io::write(&console, b"\r");
    }
}

/// `say!(Warning, "the manager {pid} …")`
macro_rules! say {
    ($grave:ident, $($sentence:tt)*) => {
        $crate::say::sentence($crate::say::Grave::$grave, format_args!($($sentence)*))
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut_and_still_a_line() {
        let long = "ä".repeat(2000);
        let line = Line::of(format_args!("<3>"), format_args!("{long}"));
        assert_eq!(line.as_bytes().len(), 960);
        assert!(line.as_bytes().starts_with("<3>ä".as_bytes()) && line.as_bytes().ends_with(b"\n"));
        let line = Line::of(format_args!("a"), format_args!("b{}", 1));
        assert_eq!(line.as_bytes(), b"ab1\n");
    }
}
