// SPDX-License-Identifier: GPL-2.0-or-later
//! Whatever the bytes of utmp, which every member of its group may write: those who are logged in, each at a terminal,
//! and run levels that are told as they were recorded.
//!
//! Reads only: what is written goes to the machine's own wtmp.
//!
//! `cargo +nightly fuzz run utmp fuzz/corpus/utmp fuzz/seeds/utmp`, from `ssi-init/sysv/`.
#![no_main]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ssi_sysv::runlevel::Levels;
use ssi_sysv::utmp::{levels, logins};

/// The file that the C library reads from now on in place of the machine's.
fn utmp() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| {
        // SAFETY: the name is a string with an end; what comes back is a descriptor of nobody else's, or an error.
        let file = unsafe { libc::memfd_create(c"utmp".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(file >= 0, "memfd_create: {}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let file = unsafe { File::from_raw_fd(file) };
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("no NUL");
        // SAFETY: the name lives through the call, which copies it.
        assert_eq!(unsafe { libc::utmpxname(path.as_ptr()) }, 0);
        file
    })
}

fuzz_target!(|bytes: &[u8]| {
    let file = utmp();
    file.set_len(0).and_then(|()| file.write_all_at(bytes, 0)).expect("writes");
    let records = bytes.len() / size_of::<libc::utmpx>();
    let logins = logins();
    assert!(logins.len() <= records, "{} of {records}", logins.len());
    for login in &logins {
        // 32 bytes of the field, each of which may stand for a character of three where it is no UTF-8.
        assert!(!login.line.is_empty() && login.line.len() <= 96 && !login.line.contains('\0'), "{login:?}");
    }
    if let Some(levels) = levels() {
        assert!(records > 0);
        assert_eq!(Levels::from_record(levels.to_record()), Some(levels));
    }
});
