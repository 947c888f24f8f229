// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines of the log: to the journal once it listens, to the kernel's ring until then, where journald finds them.
//!
//! A line about a unit has the field `UNIT=`, so that `journalctl -u` and `systemctl status` show it. They look for it
//! among the lines of process 1, so ours are sent in its name (unix(7), `SCM_CREDENTIALS`; only root may): to who reads
//! the log, process 1 and the manager are one thing, "init".
//!
//! A log that is full or gone must not hold up the manager: a line that cannot be written at once goes to the kernel's
//! ring, and if that does not take it either it is counted and lost.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    UCred, sendmsg_addr, socket_with,
};
use ssi_manager::core::system::Priority;

/// Where journald listens, `systemd-journald.service(8)`.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The kernel's ring of messages.
const RING: &str = "/dev/kmsg";
/// How we call ourselves.
const NAME: &str = "ssi-init";
/// The kernel cuts longer lines (`LOG_LINE_MAX` in kernel/printk); the journal gets them whole.
const RING_LINE_MAX: usize = 900;
/// `LOG_DAEMON` of syslog(3), by which journald tells our lines in the ring from the kernel's.
const FACILITY: u8 = 3;

/// The log.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: Option<OwnedFd>,
    ring: Option<File>,
    as_process1: bool,
    /// Lines of less importance are not written.
    least: Priority,
    lost: u64,
}

impl Journal {
    /// One that writes lines of at least this importance.
    pub(crate) fn new(least: Priority) -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Self {
            socket: socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok(),
            ring: OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(RING).ok(),
            as_process1: rustix::process::getuid().is_root(),
            least,
            lost: 0,
        }
    }

    /// From which importance on lines are written.
    pub(crate) fn set_least(&mut self, least: Priority) {
        self.least = least;
    }

    /// systemd's word for what is written, and what is more important.
    pub(crate) fn level(&self) -> &'static str {
        match self.least {
            Priority::Emergency => "emerg",
            Priority::Error => "err",
            Priority::Warning => "warning",
            Priority::Notice => "notice",
            Priority::Info => "info",
            Priority::Debug => "debug",
        }
    }

    /// Takes one of syslog's words, or numbers, for it; others are passed over.
    pub(crate) fn set_level(&mut self, word: &str) {
        self.least = match word {
            "emerg" | "alert" | "crit" | "0" | "1" | "2" => Priority::Emergency,
            "err" | "3" => Priority::Error,
            "warning" | "4" => Priority::Warning,
            "notice" | "5" => Priority::Notice,
            "info" | "6" => Priority::Info,
            "debug" | "7" => Priority::Debug,
            _ => return,
        };
    }

    /// Whether lines for those who look for a mistake are written.
    pub(crate) fn set_debug(&mut self, on: bool) {
        self.least = if on { Priority::Debug } else { Priority::Info };
    }

    /// Writes a line, about a unit if one is named.
    pub(crate) fn write(&mut self, priority: Priority, unit: Option<&str>, text: &str) {
        if priority > self.least {
            return;
        }
        if !self.write_to_journal(priority, unit, text) && !self.write_to_ring(priority, unit, text) {
            self.lost += 1;
        }
    }

    fn write_to_journal(&mut self, priority: Priority, unit: Option<&str>, text: &str) -> bool {
        let (Some(socket), Ok(address)) = (&self.socket, SocketAddrUnix::new(SOCKET)) else { return false };
        let text = format!("{}{text}", prefix(unit));
        let mut message = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={NAME}\n", priority as u8);
        if let Some(unit) = unit {
            message.push_str(&format!("UNIT={unit}\n"));
        }
        let mut message = message.into_bytes();
        // A field with line ends in it is told with its length, systemd.journal-fields(7).
        if text.contains('\n') {
            message.extend_from_slice(b"MESSAGE\n");
            message.extend_from_slice(&(text.len() as u64).to_le_bytes());
        } else {
            message.extend_from_slice(b"MESSAGE=");
        }
        message.extend_from_slice(text.as_bytes());
        message.push(b'\n');
        let parts = [IoSlice::new(&message)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if self.as_process1 {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let credentials = UCred {
                pid: rustix::process::Pid::INIT,
                uid: rustix::process::getuid(),
                gid: rustix::process::getgid(),
            };
            control.push(SendAncillaryMessage::ScmCredentials(credentials));
            match sendmsg_addr(socket.as_fd(), &address, &parts, &mut control, flags) {
                Ok(_) => return true,
                Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => self.as_process1 = false,
                Err(_) => return false,
            }
        }
        sendmsg_addr(socket.as_fd(), &address, &parts, &mut SendAncillaryBuffer::default(), flags).is_ok()
    }

    fn write_to_ring(&mut self, priority: Priority, unit: Option<&str>, text: &str) -> bool {
        let Some(ring) = &mut self.ring else {
            // A namespace node has no ring; what reads our error output is the lab, or a person.
            return writeln!(std::io::stderr(), "{NAME}: {}{text}", prefix(unit)).is_ok();
        };
        let level = u32::from(FACILITY) * 8 + u32::from(priority as u8);
        let mut text = format!("{}{}", prefix(unit), text.replace('\n', " "));
        if text.len() > RING_LINE_MAX {
            let end = (0..=RING_LINE_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        ring.write_all(format!("<{level}>{NAME}[1]: {text}\n").as_bytes()).is_ok()
    }
}

fn prefix(unit: Option<&str>) -> String {
    unit.map_or_else(String::new, |unit| format!("{unit}: "))
}
