// SPDX-License-Identifier: GPL-2.0-or-later
//! Looking at dead children; waitid(2).
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use ssi_pid1::protocol::Exit;

/// Looks at the first dead child; it stays a zombie. Its number is 0. `None`: none is dead.
pub(super) fn peek() -> Option<Exit> {
    wait(libc::P_ALL, 0, libc::WNOWAIT)
}

/// Takes this dead child away.
pub(super) fn reap(pid: i32) {
    // Nothing is to be done if somebody else has: it is gone either way.
    let _ = wait(libc::P_PID, pid, 0);
}

/// The system call itself: the C library's has no resource usage.
fn wait(kind: libc::idtype_t, number: i32, flags: libc::c_int) -> Option<Exit> {
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
        if result == 0 {
            break;
        }
        if Errno::last() != Errno::EINTR {
            // ECHILD: there are no children at all.
            return None;
        }
    }
    // SAFETY: waitid has filled in these fields, or left the zeroes that are there.
    let (pid, status, uid) = unsafe { (info.si_pid(), info.si_status(), info.si_uid()) };
    let micros = |time: libc::timeval| {
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        part(time.tv_sec).saturating_mul(1_000_000) + part(time.tv_usec)
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
