// SPDX-License-Identifier: GPL-2.0-or-later
//! Terminals: cleaning them up before use and getting them as controlling terminal. ioctl_tty(2), termios(3).

use super::sys;
use crate::plan::{TerminalAcquire, Tty};
use nix::libc;
use rustix::fs::inotify;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, SpecialCodeIndex, isatty,
    tcflush, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Opens a terminal without taking it. EIO means that it is just being hung up by somebody: tried again for a second.
pub(super) fn open(path: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    let fd = loop {
        match rustix::fs::open(path, access | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::IO) if tries < 20 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            done => break done?,
        }
    };
    if isatty(&fd) { Ok(fd) } else { Err(Errno::NOTTY) }
}

/// What the unit wants done to its terminal before anything else: hang up whoever has it, reset its modes, clear it.
/// Errors are passed over: the terminal may be gone, and the start says so when it needs it.
pub(super) fn clean(tty: &Tty) {
    let path = tty.device();
    if tty.vhangup
        && let Ok(fd) = open(path, OFlags::RDWR)
    {
        let _ = sys::terminal_ioctl(&fd, TIOCVHANGUP, 0);
    }
    if tty.reset
        && let Ok(fd) = open(path, OFlags::RDWR | OFlags::NONBLOCK)
    {
        let _ = reset(&fd);
    }
    if (tty.rows.is_some() || tty.columns.is_some())
        && let Ok(fd) = open(path, OFlags::RDWR | OFlags::NONBLOCK)
    {
        let _ = resize(&fd, tty);
    }
    if tty.disallocate {
        disallocate(path);
    }
}

/// `TTYRows=`, `TTYColumns=`.
pub(super) fn resize(fd: impl AsFd, tty: &Tty) -> Result<(), Errno> {
    if tty.rows.is_none() && tty.columns.is_none() {
        return Ok(());
    }
    let mut size = tcgetwinsize(&fd)?;
    size.ws_row = tty.rows.unwrap_or(size.ws_row);
    size.ws_col = tty.columns.unwrap_or(size.ws_col);
    tcsetwinsize(&fd, size)
}

/// Back to a terminal one can work at: cooked, echoing, with the usual keys.
fn reset(fd: &OwnedFd) -> Result<(), Errno> {
    let _ = rustix::termios::ioctl_tiocnxcl(fd);
    // Both fail on what is no virtual console: text mode, Unicode keyboard.
    let _ = sys::terminal_ioctl(fd, KDSETMODE, KD_TEXT);
    let _ = sys::terminal_ioctl(fd, KDSKBMODE, K_UNICODE);
    let mut modes = tcgetattr(fd)?;
    modes.input_modes -= InputModes::IGNBRK
        | InputModes::BRKINT
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::IUCLC;
    modes.input_modes |= InputModes::ICRNL | InputModes::IMAXBEL | InputModes::IUTF8;
    modes.output_modes |= OutputModes::ONLCR | OutputModes::OPOST;
    modes.control_modes |= ControlModes::CREAD;
    modes.local_modes = LocalModes::ISIG
        | LocalModes::ICANON
        | LocalModes::IEXTEN
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::ECHOCTL
        | LocalModes::ECHOKE;
    for (key, code) in [
        (SpecialCodeIndex::VINTR, 0x03),
        (SpecialCodeIndex::VQUIT, 0x1c),
        (SpecialCodeIndex::VERASE, 0x7f),
        (SpecialCodeIndex::VKILL, 0x15),
        (SpecialCodeIndex::VEOF, 0x04),
        (SpecialCodeIndex::VSTART, 0x11),
        (SpecialCodeIndex::VSTOP, 0x13),
        (SpecialCodeIndex::VSUSP, 0x1a),
        (SpecialCodeIndex::VLNEXT, 0x16),
        (SpecialCodeIndex::VWERASE, 0x17),
        (SpecialCodeIndex::VREPRINT, 0x12),
        (SpecialCodeIndex::VEOL, 0),
        (SpecialCodeIndex::VEOL2, 0),
        (SpecialCodeIndex::VTIME, 0),
        (SpecialCodeIndex::VMIN, 1),
    ] {
        modes.special_codes[key] = code;
    }
    let set = tcsetattr(fd, OptionalActions::Now, &modes);
    let _ = tcflush(fd, QueueSelector::IOFlush);
    set
}

/// Frees the memory of a virtual console, or at least clears the screen.
fn disallocate(path: &str) {
    let number = path.strip_prefix("/dev/tty").and_then(|number| number.parse::<libc::c_ulong>().ok());
    if let Some(number) = number.filter(|number| *number > 0)
        && let Ok(console) =
            rustix::fs::open("/dev/tty0", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        && sys::terminal_ioctl(&console, VT_DISALLOCATE, number).is_ok()
    {
        return;
    }
    if let Ok(fd) = open(path, OFlags::WRONLY | OFlags::NONBLOCK) {
        // Scroll region off, cursor home, clear, clear what was scrolled away.
        let _ = rustix::io::write(&fd, b"\x1b[r\x1b[H\x1b[2J\x1b[3J");
    }
}

/// Opens a terminal and makes it the session's.
pub(super) fn acquire(path: &str, how: TerminalAcquire) -> Result<OwnedFd, Errno> {
    let watch = match how {
        TerminalAcquire::Wait => {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            // Before the first try: a close between the try and the watch would be waited for in vain.
            inotify::add_watch(&watch, path, inotify::WatchFlags::CLOSE)?;
            Some(watch)
        }
        TerminalAcquire::Force | TerminalAcquire::Fail => None,
    };
    loop {
        let fd = open(path, OFlags::RDWR)?;
        // Taking a terminal away from a session sends SIGHUP, which is not meant for us.
        sys::ignore_signal(libc::SIGHUP, true);
        let taken = sys::terminal_ioctl(&fd, TIOCSCTTY, u64::from(how == TerminalAcquire::Force) as _);
        sys::ignore_signal(libc::SIGHUP, false);
        match (taken, &watch) {
            (Ok(()), _) => return Ok(fd),
            (Err(Errno::PERM), Some(watch)) => {
                drop(fd);
                let mut events = [std::mem::MaybeUninit::<u8>::uninit(); 4096];
                // The drop above is an event too: one more turn of the loop, then the wait is real.
                match rustix::io::read(watch, &mut events) {
                    Ok(_) | Err(Errno::INTR) => std::thread::sleep(Duration::from_millis(10)),
                    Err(errno) => return Err(errno),
                }
            }
            (Err(errno), _) => return Err(errno),
        }
    }
}

const TIOCVHANGUP: libc::c_ulong = 0x5437;
const TIOCSCTTY: libc::c_ulong = 0x540e;
const KDSETMODE: libc::c_ulong = 0x4b3a;
const KD_TEXT: libc::c_ulong = 0;
const KDSKBMODE: libc::c_ulong = 0x4b45;
const K_UNICODE: libc::c_ulong = 3;
const VT_DISALLOCATE: libc::c_ulong = 0x5608;
