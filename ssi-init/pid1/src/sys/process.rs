// SPDX-License-Identifier: GPL-2.0-or-later
//! Processes: fork, exec, and looking at the dead.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};
use ssi_pid1::protocol::Exit;

use super::crash;

unsafe extern "C" {
    /// The environment; environ(7).
    static environ: *const *const libc::c_char;
}

/// Runs `child` in a new process, which ends with the status that it returns, or with 70 (`EX_SOFTWARE`) if it panics.
///
/// Process 1 has one thread, so the child may do all that a program may: allocate, open, wait.
///
/// # Errors
/// fork(2)'s: too many processes, or no memory.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: this process has one thread (nothing in the program starts another), so no lock can be held by one that
    // the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            crash::leave();
            let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(70);
            // SAFETY: ends the process without the exit handlers and buffers that are its parent's.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Lets all signals through again and gives SIGPIPE its meaning back, as programs expect it.
pub(crate) fn plain_signals() {
    // These can only fail for arguments that are no set and no signal.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    // SAFETY: sets the default action, which runs no code of this program.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Which of the dead to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// The first that the kernel has.
    Any,
    /// This one.
    One(Pid),
}

/// Looks at a dead child; it stays a zombie. `None`: none is dead.
pub(crate) fn peek(whom: Whom) -> Option<Exit> {
    wait(whom, libc::WNOWAIT)
}

/// Takes a dead child away; its number can be another's from now on. `None`: it is not dead.
pub(crate) fn reap(whom: Whom) -> Option<Exit> {
    wait(whom, 0)
}

/// waitid(2) as the kernel has it: with the resource usage, which the C library's leaves out.
fn wait(whom: Whom, flags: libc::c_int) -> Option<Exit> {
    let (kind, number) = match whom {
        Whom::Any => (libc::P_ALL, 0),
        Whom::One(pid) => (libc::P_PID, pid.as_raw()),
    };
    // SAFETY: both are plain memory for which all-zero bytes are a value.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    loop {
        // SAFETY: the two pointers are to memory of the right types that lives until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::c_long::from(kind),
                libc::c_long::from(number),
                &raw mut info,
                libc::c_long::from(libc::WEXITED | libc::WNOHANG | libc::__WALL | flags),
                &raw mut usage,
            )
        };
        match result {
            0 => break,
            _ if Errno::last() == Errno::EINTR => {}
            // ECHILD: there are no children at all.
            _ => return None,
        }
    }
    // SAFETY: waitid fills in these fields, or leaves the zeroes that are there.
    let (pid, status, uid) = unsafe { (info.si_pid(), info.si_status(), info.si_uid()) };
    let micros = |t: libc::timeval| {
        u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1_000_000) + u64::try_from(t.tv_usec).unwrap_or(0)
    };
    (pid != 0).then(|| Exit {
        seq: 0,
        pid,
        code: info.si_code,
        status,
        uid,
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    })
}

/// Makes a descriptor one of a fixed number, open across exec. To be called in a child, before exec.
pub(crate) fn place(fd: BorrowedFd<'_>, at: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == at {
        return across_exec(fd, true);
    }
    // SAFETY: plain numbers. What was open at `at` is closed: callers place descriptors only in a child about to exec,
    // where nothing uses the old one.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), at) }).map(|_| ())
}

/// Lets a descriptor stay open across exec, or not.
pub(crate) fn across_exec(fd: BorrowedFd<'_>, stay: bool) -> Result<(), Errno> {
    let flags = if stay { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    rustix::io::fcntl_setfd(fd, flags).map_err(|e| Errno::from_raw(e.raw_os_error()))
}

/// Takes over a descriptor that the program before this one left open, if it is; close-on-exec from here on.
pub(crate) fn adopt(number: RawFd) -> Option<OwnedFd> {
    if number < 0 {
        return None;
    }
    // SAFETY: only asked about; fails with EBADF where nothing is open.
    across_exec(unsafe { BorrowedFd::borrow_raw(number) }, false).ok()?;
    // SAFETY: it is open. The caller names each number once: they come from the state that the former program wrote,
    // whose numbers are told apart there.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives a descriptor up without closing it: it is to live as long as the process.
pub(crate) fn leave_open(fd: OwnedFd) {
    let _ = fd.into_raw_fd();
}

/// Everything that executing a program takes, made ready while memory can still be asked for.
pub(crate) struct Prepared {
    program: CString,
    // What `pointers` points to.
    _arguments: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Prepared {
    /// `arguments` without the program itself; NUL bytes, which no argument can have, are left out.
    pub(crate) fn new(program: &Path, arguments: impl Iterator<Item = std::ffi::OsString>) -> Self {
        let c_string = |mut bytes: Vec<u8>| {
            bytes.retain(|b| *b != 0);
            CString::new(bytes).unwrap_or_default()
        };
        let program = c_string(program.as_os_str().as_bytes().to_vec());
        let arguments: Vec<CString> =
            std::iter::once(program.clone()).chain(arguments.map(|a| c_string(a.into_vec()))).collect();
        let pointers = arguments.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
        Self { program, _arguments: arguments, pointers }
    }

    /// The program's path.
    pub(crate) fn program(&self) -> &CStr {
        &self.program
    }

    /// Becomes the program, with this one's environment. Returns only if that failed.
    pub(crate) fn execute(&self) -> Errno {
        // SAFETY: `program` and what `pointers` points to are strings that end with NUL and live in `self`; `pointers`
        // ends with null. `environ` is the C library's, and no other thread changes it.
        unsafe { libc::execve(self.program.as_ptr(), self.pointers.as_ptr(), environ) };
        Errno::last()
    }
}

/// Becomes a program with one argument, with this one's environment. Returns only if that failed.
pub(crate) fn execute(program: &CStr, argument: &CStr) -> Errno {
    let arguments = [program.as_ptr(), argument.as_ptr(), std::ptr::null()];
    // SAFETY: strings that end with NUL, an array that ends with null, and the C library's own environment, which no
    // other thread changes.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environ) };
    Errno::last()
}

/// Becomes the leader of a session whose terminal is standard input, taken from whoever had it.
pub(crate) fn take_terminal() -> Result<(), Errno> {
    // Already a leader is as good.
    let _ = nix::unistd::setsid();
    // SAFETY: TIOCSCTTY takes a number; 1 means to take the terminal from another session.
    Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 1) }).map(|_| ())
}
