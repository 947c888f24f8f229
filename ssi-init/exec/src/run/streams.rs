// SPDX-License-Identifier: GPL-2.0-or-later
//! Standard input, output and error. systemd.exec(5), "Logging and Standard Input/Output".

use super::slots::{Slots, set_nonblocking};
use super::trouble::{At, plain};
use super::{journal, sys, terminal};
use crate::plan::{ExecPlan, FileMode, Input, Output, Streams, Tty};
use crate::report::Failure;
use crate::step::Step;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with};
use std::os::fd::{AsFd, OwnedFd};

/// What the streams turned out to be.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Device and inode of a stream to the journal, for `JOURNAL_STREAM`: standard error's, or output's.
    pub(super) journal: Option<(u64, u64)>,
}

/// Sets up all three. Warnings go to `warn`.
pub(super) fn set_up(plan: &ExecPlan, slots: &Slots, warn: &mut dyn FnMut(String)) -> Result<Opened, Failure> {
    let streams = effective(&plan.streams);
    input(plan, &streams, slots)?;
    let mut opened = Opened::default();
    output(plan, &streams, slots, false, &mut opened, warn)?;
    output(plan, &streams, slots, true, &mut opened, warn)?;
    Ok(opened)
}

/// A socket that was not brought along is /dev/null as input, and as output what is inherited.
fn effective(streams: &Streams) -> Streams {
    let mut streams = streams.clone();
    if streams.socket.is_none() {
        if streams.input == Input::Socket {
            streams.input = Input::Null;
        }
        for output in [&mut streams.output, &mut streams.error] {
            if *output == Output::Socket {
                *output = Output::Inherit;
            }
        }
    }
    streams
}

fn null(access: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", access | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
}

fn input(plan: &ExecPlan, streams: &Streams, slots: &Slots) -> Result<(), Failure> {
    let step = Step::Stdin;
    match &streams.input {
        Input::Parent => Ok(()),
        Input::Null => {
            let fd = null(OFlags::RDONLY).at(step, || "/dev/null".into())?;
            sys::place(fd, 0).at(step, String::new)
        }
        Input::Tty(how) => {
            let path = streams.tty.device();
            let fd = terminal::acquire(path, *how).at(step, || path.to_owned())?;
            let _ = terminal::resize(&fd, &streams.tty);
            sys::place(fd, 0).at(step, String::new)
        }
        Input::Socket => {
            let Some(slot) = streams.socket else { return Ok(()) };
            sys::place(slots.get(slot)?, 0).at(step, || "the socket".into())
        }
        Input::Fd(slot) => {
            let fd = slots.get(*slot)?;
            set_nonblocking(fd, false).at(step, || "the descriptor passed".into())?;
            sys::place(fd, 0).at(step, || "the descriptor passed".into())
        }
        Input::Bytes(bytes) => {
            let fd = bytes_as_file(bytes).at(step, || "the text of StandardInputText=".into())?;
            sys::place(fd, 0).at(step, String::new)
        }
        Input::File(path) => {
            let both = shares_file(streams, &streams.output) || shares_file(streams, &streams.error);
            let access = if both { OFlags::RDWR } else { OFlags::RDONLY };
            let fd = open_file(path, access, plan.umask).at(step, || path.clone())?;
            sys::place(fd, 0).at(step, String::new)
        }
    }
}

/// Whether an output is the file that input is, so that one open file serves both.
fn shares_file(streams: &Streams, output: &Output) -> bool {
    matches!((&streams.input, output),
        (Input::File(from), Output::File { path, mode: FileMode::Write | FileMode::Truncate }) if from == path)
}

/// Whether error goes where output goes, so that one open file serves both.
fn follows_output(streams: &Streams) -> bool {
    match (&streams.output, &streams.error) {
        (_, Output::Inherit) => true,
        (Output::Parent, _) | (_, Output::Parent) => false,
        (one, other) => one == other,
    }
}

fn output(
    plan: &ExecPlan,
    streams: &Streams,
    slots: &Slots,
    is_error: bool,
    opened: &mut Opened,
    warn: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let (step, number, what) = match is_error {
        false => (Step::Stdout, 1, &streams.output),
        true => (Step::Stderr, 2, &streams.error),
    };
    if is_error && follows_output(streams) {
        return sys::place(rustix::stdio::stdout(), number).at(step, || "as standard output".into());
    }
    let put = |fd: Result<OwnedFd, Errno>, on: &str| -> Result<(), Failure> {
        let fd = fd.at(step, || on.to_owned())?;
        sys::place(fd, number).at(step, || on.to_owned())
    };
    match what {
        Output::Parent => Ok(()),
        Output::Null => put(null(OFlags::WRONLY), "/dev/null"),
        // Error that inherits has followed output above, so this is output: it is what input is.
        Output::Inherit => match &streams.input {
            Input::Null | Input::Bytes(_) => put(null(OFlags::WRONLY), "/dev/null"),
            Input::Tty(_) | Input::File(_) | Input::Socket | Input::Fd(_) | Input::Parent => {
                sys::place(rustix::stdio::stdin(), number).at(step, || "as standard input".into())
            }
        },
        Output::Tty => tty(streams, &streams.tty, number, step),
        Output::Socket => match streams.socket {
            Some(slot) => sys::place(slots.get(slot)?, number).at(step, || "the socket".into()),
            None => Ok(()),
        },
        Output::Fd(slot) => {
            let fd = slots.get(*slot)?;
            set_nonblocking(fd, false).at(step, || "the descriptor passed".into())?;
            sys::place(fd, number).at(step, || "the descriptor passed".into())
        }
        Output::File { path, mode } => {
            if shares_file(streams, what) {
                return sys::place(rustix::stdio::stdin(), number).at(step, || path.clone());
            }
            let flags = match mode {
                FileMode::Write => OFlags::empty(),
                FileMode::Append => OFlags::APPEND,
                FileMode::Truncate => OFlags::TRUNC,
            };
            put(open_file(path, OFlags::WRONLY | flags, plan.umask), path)
        }
        Output::Journal { kmsg, console } => {
            match journal::open_stream(&streams.log, &plan.unit, &plan.command.program, *kmsg, *console) {
                Ok(stream) => {
                    if let Ok(stat) = rustix::fs::fstat(&stream) {
                        opened.journal = Some((stat.st_dev, stat.st_ino));
                    }
                    sys::place(stream, number).at(step, || "the journal's stream".into())
                }
                // A service must start though the log does not take its lines, early in boot above all.
                Err(errno) => {
                    warn(format!(
                        "{} goes to /dev/null: the journal takes no stream: {}",
                        if is_error { "standard error" } else { "standard output" },
                        plain(errno)
                    ));
                    put(null(OFlags::WRONLY), "/dev/null")
                }
            }
        }
    }
}

fn tty(streams: &Streams, tty: &Tty, number: i32, step: Step) -> Result<(), Failure> {
    if matches!(streams.input, Input::Tty(_)) {
        return sys::place(rustix::stdio::stdin(), number).at(step, || tty.device().to_owned());
    }
    let fd = terminal::open(tty.device(), OFlags::WRONLY).at(step, || tty.device().to_owned())?;
    let _ = terminal::resize(&fd, tty);
    sys::place(fd, number).at(step, || tty.device().to_owned())
}

/// Opens or creates a file; a path that is a socket is connected to.
fn open_file(path: &str, access: OFlags, umask: u32) -> Result<OwnedFd, Errno> {
    // The process' own umask is not the unit's yet.
    let mode = Mode::from_raw_mode((0o666 & !umask) as _);
    let opened = rustix::fs::open(path, access | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC, mode);
    if opened.as_ref().err() != Some(&Errno::NXIO) {
        return opened;
    }
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let socket = match connect(&socket, &address) {
        Ok(()) => socket,
        Err(Errno::PROTOTYPE) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
            connect(&socket, &address)?;
            socket
        }
        Err(Errno::INVAL) => return opened,
        Err(errno) => return Err(errno),
    };
    if access.contains(OFlags::WRONLY) {
        shutdown(&socket, Shutdown::Read)?;
    } else if !access.contains(OFlags::RDWR) {
        shutdown(&socket, Shutdown::Write)?;
    }
    Ok(socket)
}

/// A descriptor to read `bytes` from.
fn bytes_as_file(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let memfd = rustix::fs::memfd_create("standard-input", MemfdFlags::CLOEXEC)?;
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(&memfd, bytes.get(written..).unwrap_or_default(), written as u64) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // Opened anew for reading alone, as a program expects of its input.
    use std::os::fd::AsRawFd;
    rustix::fs::open(
        format!("/proc/self/fd/{}", memfd.as_fd().as_raw_fd()),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .or(Ok(memfd))
}

/// The terminal that standard input is belongs to the user of the program.
pub(super) fn own_terminal(plan: &ExecPlan, uid: u32) -> Result<(), Failure> {
    let stdin = rustix::stdio::stdin();
    if !matches!(plan.streams.input, Input::Tty(_)) || !rustix::termios::isatty(stdin) {
        return Ok(());
    }
    let step = Step::Stdin;
    rustix::fs::fchown(stdin, Some(rustix::fs::Uid::from_raw(uid)), None)
        .at(step, || "taking over the terminal".into())?;
    rustix::fs::fchmod(stdin, Mode::from_raw_mode(0o600)).at(step, || "taking over the terminal".into())
}
