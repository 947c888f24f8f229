// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs run for a call: with pipes, or on a pseudo terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::protocol::{Exec, Exit, Message, Outcome, PIECE};

use super::children::Children;
use super::{Call, Event};

/// How long after the program's end its pipes may stay quiet before they are left to whatever
/// background process still holds them.
const QUIET: Duration = Duration::from_millis(100);

/// Runs a program to its end.
pub(super) fn run(call: &Call, exec: &Exec, children: &Children) -> Result<Outcome, String> {
    let (program, arguments) = exec.argv.split_first().ok_or_else(|| "no program was named".to_owned())?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&exec.env)
        .current_dir(exec.directory.as_deref().unwrap_or("/"))
        .process_group(0)
        .stdin(if exec.input { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let over = over_word()?;
    let sender = call.sender.clone();
    let mut started = children
        .spawn(&mut command, move |exit| sender.send(Event::Ended(exit)).unwrap_or_default())
        .map_err(|error| format!("'{program}' could not be started: {error}"))?;
    let mut pumps = Vec::new();
    let pipes = [
        (started.child.stdout.take().map(OwnedFd::from), Message::Output),
        (started.child.stderr.take().map(OwnedFd::from), Message::ErrorOutput),
    ];
    for (pipe, message) in pipes {
        let Some(pipe) = pipe else { continue };
        let (channel, id, over) = (call.channel.clone(), call.id, over.clone());
        pumps.push(std::thread::spawn(move || {
            pump(pipe, &over, |piece| channel.send(id, message.clone(), piece).is_ok());
        }));
    }
    // Input has a writer of its own: a program that does not read must not stop the call's clock.
    let input = started.child.stdin.take().map(|stdin| feeder(stdin.into()));
    let exit = attend(call, started.pid, exec.timeout_ms, |message, bytes| {
        match message {
            Message::Input => input.as_ref().is_some_and(|input| input.send(Some(bytes)).is_ok()),
            Message::InputEnd => input.as_ref().is_some_and(|input| input.send(None).is_ok()),
            _ => false,
        };
    });
    say_over(&over);
    for pump in pumps {
        // A pump does not panic.
        let _ = pump.join();
    }
    Ok(Outcome::Exited(exit))
}

/// Runs a login shell on a pseudo terminal.
pub(super) fn shell(call: &Call, rows: u16, columns: u16, children: &Children) -> Result<Outcome, String> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let say = |error: rustix::io::Errno| format!("no pseudo terminal: {error}");
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).map_err(say)?;
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).map_err(say)?;
    let peer = ioctl_tiocgptpeer(&terminal, flags).map_err(say)?;
    resize(&terminal, rows, columns);
    let ends = [peer.try_clone(), peer.try_clone()];
    let [Ok(output), Ok(errors)] = ends else { return Err("no pseudo terminal: out of descriptors".to_owned()) };
    // setsid(1) makes the session and takes the terminal, which fork and exec alone cannot.
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait", "/bin/bash", "-l"])
        .current_dir("/root")
        .env("TERM", "xterm")
        .stdin(peer)
        .stdout(output)
        .stderr(errors);
    let over = over_word()?;
    let sender = call.sender.clone();
    let started = children
        .spawn(&mut command, move |exit| sender.send(Event::Ended(exit)).unwrap_or_default())
        .map_err(|error| format!("the shell could not be started: {error}"))?;
    drop(command);
    let reader = terminal.try_clone().map_err(|error| format!("no pseudo terminal: {error}"))?;
    let pump = {
        let (channel, id, over) = (call.channel.clone(), call.id, over.clone());
        std::thread::spawn(move || pump(reader, &over, |piece| channel.send(id, Message::Output, piece).is_ok()))
    };
    let keys = terminal.try_clone().map(feeder).map_err(|error| format!("no pseudo terminal: {error}"))?;
    let exit = attend(call, started.pid, None, |message, bytes| match message {
        Message::Input => drop(keys.send(Some(bytes))),
        Message::Resize { rows, columns } => resize(&terminal, rows, columns),
        _ => {}
    });
    say_over(&over);
    let _ = pump.join();
    Ok(Outcome::Exited(exit))
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A wrong size is a blemish, not a failure.
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

/// Waits for the program's end, handing on what the caller says, and killing it when told to.
fn attend(call: &Call, pid: Pid, timeout_ms: Option<u64>, mut hear: impl FnMut(Message, Vec<u8>)) -> Exit {
    let mut deadline = timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let mut timed_out = false;
    loop {
        let event = match deadline {
            Some(deadline) => call.events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => call.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Event::Ended(_)) if timed_out => return Exit::TimedOut,
            Ok(Event::Ended(exit)) => return exit,
            Ok(Event::Said(message, bytes)) => hear(message, bytes),
            // Nobody wants the result any more; its end is waited for all the same.
            Ok(Event::Cancelled) => end(pid),
            Err(RecvTimeoutError::Timeout) => {
                timed_out = true;
                deadline = None;
                end(pid);
            }
            // The call holds a sender itself, so this cannot be.
            Err(RecvTimeoutError::Disconnected) => return Exit::Code(-1),
        }
    }
}

fn end(pid: Pid) {
    // Already gone is as good.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Moves a descriptor's bytes to `send` until its end, or until it is quiet after the program's end,
/// which `over` tells by becoming readable.
fn pump(from: OwnedFd, over: &OwnedFd, mut send: impl FnMut(Vec<u8>) -> bool) {
    let mut file = File::from(from);
    let quiet = Timespec { tv_sec: 0, tv_nsec: i64::from(QUIET.subsec_nanos()) };
    let mut ended = false;
    loop {
        let readable = {
            let mut fds = [PollFd::new(&file, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
            let (watched, wait) = if ended { (&mut fds[..1], Some(&quiet)) } else { (&mut fds[..], None) };
            match poll(watched, wait) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let [output, over] = &fds;
            ended |= !over.revents().is_empty();
            !output.revents().is_empty()
        };
        if !readable {
            continue;
        }
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece) {
            // A pseudo terminal says EIO when its last user is gone.
            Ok(0) | Err(_) => return,
            Ok(n) => {
                piece.truncate(n);
                if !send(piece) {
                    return;
                }
            }
        }
    }
}

/// The word that a program is over, for all its pumps.
fn over_word() -> Result<Arc<OwnedFd>, String> {
    use rustix::event::{EventfdFlags, eventfd};
    eventfd(0, EventfdFlags::CLOEXEC).map(Arc::new).map_err(|error| format!("no event descriptor: {error}"))
}

/// Says it.
fn say_over(over: &OwnedFd) {
    // A fresh counter takes one.
    let _ = rustix::io::write(over, &1u64.to_ne_bytes());
}

/// A thread that writes what it is sent; `None` closes.
fn feeder(to: OwnedFd) -> Sender<Option<Vec<u8>>> {
    let (sender, pieces) = channel::<Option<Vec<u8>>>();
    std::thread::spawn(move || {
        let mut file = File::from(to);
        while let Ok(Some(bytes)) = pieces.recv() {
            if file.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    sender
}
