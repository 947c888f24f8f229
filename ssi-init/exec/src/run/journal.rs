// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal, from the executor's side: a stream for the program's output, and messages of our own.
//!
//! The stream's head is seven lines: identifier, unit, priority, whether lines may begin with `<N>`, and whether to
//! pass on to syslog, to the kernel's log and to the console. The native protocol for our own messages is
//! described at systemd.io/JOURNAL_NATIVE_PROTOCOL: `FIELD=value` lines in one datagram.

use crate::plan::{ExecPlan, LogStream, Messages};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, sendto, shutdown,
    socket_with,
};
use std::io::Write;
use std::os::fd::OwnedFd;

/// systemd's id for "a process could not be started".
const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";
/// As journald's own clients ask for, so that a burst of lines does not block the program.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// A descriptor that carries lines to the journal.
pub(super) fn open_stream(
    log: &LogStream,
    unit: &str,
    program: &str,
    kmsg: bool,
    console: bool,
) -> Result<OwnedFd, Errno> {
    let path = match &log.namespace {
        None => "/run/systemd/journal/stdout".to_owned(),
        Some(namespace) => format!("/run/systemd/journal.{namespace}/stdout"),
    };
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&stream, &SocketAddrUnix::new(path)?)?;
    shutdown(&stream, Shutdown::Read)?;
    grow_send_buffer(&stream);
    let identifier = log.identifier.as_deref().unwrap_or_else(|| program.rsplit('/').next().unwrap_or(program));
    // A newline in a name would shift the lines after it.
    let one_line = |text: &str| text.replace('\n', " ");
    let head = format!(
        "{}\n{}\n{}\n{}\n0\n{}\n{}\n",
        one_line(identifier),
        one_line(unit),
        log.priority,
        u8::from(log.level_prefix),
        u8::from(kmsg),
        u8::from(console)
    );
    let mut rest = head.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(&stream, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(stream)
}

fn grow_send_buffer(socket: &OwnedFd) {
    use rustix::net::sockopt::{
        set_socket_send_buffer_size, set_socket_send_buffer_size_force, socket_send_buffer_size,
    };
    if socket_send_buffer_size(socket).is_ok_and(|size| size >= SEND_BUFFER * 2) {
        return;
    }
    if set_socket_send_buffer_size_force(socket, SEND_BUFFER).is_err() {
        let _ = set_socket_send_buffer_size(socket, SEND_BUFFER);
    }
}

/// Says something for the log of the unit. `failed` marks it as the message of a failed start.
pub(super) fn say(plan: &ExecPlan, priority: u8, failed: bool, text: &str) {
    let line = format!("{}: {text}", plan.unit);
    match plan.messages {
        Messages::Silent => {}
        Messages::Stderr => to_stderr(&line),
        Messages::Journal => {
            if to_journal(plan, priority, failed, &line).is_err() && to_kernel(priority, &line).is_err() {
                to_stderr(&line);
            }
        }
    }
}

fn to_journal(plan: &ExecPlan, priority: u8, failed: bool, line: &str) -> Result<(), Errno> {
    let mut message = Vec::with_capacity(256);
    let mut field = |name: &str, value: &str| {
        message.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            message.push(b'\n');
            message.extend_from_slice(&(value.len() as u64).to_le_bytes());
            message.extend_from_slice(value.as_bytes());
        } else {
            message.push(b'=');
            message.extend_from_slice(value.as_bytes());
        }
        message.push(b'\n');
    };
    field("MESSAGE", line);
    field("PRIORITY", &priority.to_string());
    field("SYSLOG_IDENTIFIER", "ssi-init");
    field("UNIT", &plan.unit);
    field("EXECUTABLE", &plan.command.program);
    if failed {
        field("MESSAGE_ID", SPAWN_FAILED);
    }
    if let Some(id) = &plan.invocation_id {
        field("INVOCATION_ID", &id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let address = SocketAddrUnix::new("/run/systemd/journal/socket")?;
    // A journal that does not read must not hold up a start.
    sendto(&socket, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &address).map(drop)
}

fn to_kernel(priority: u8, line: &str) -> std::io::Result<()> {
    // daemon facility; one write is one record.
    let record = format!("<{}>ssi-init: {line}", (3 << 3) | priority);
    std::fs::OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(record.as_bytes())
}

fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "ssi-exec: {line}");
}

/// Reads a credential or such from a stream socket at `path`.
pub(super) fn read_socket(path: &str, limit: usize) -> Result<Vec<u8>, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::net::recv(&socket, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(bytes),
            Ok((count, _)) if bytes.len() + count > limit => return Err(Errno::TOOBIG),
            Ok((count, _)) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
