// SPDX-License-Identifier: GPL-2.0-or-later
//! Requests to devices: ioctl(2) numbers and layouts as the kernel's headers have them.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// `WDIOC_SETTIMEOUT`, `_IOWR('W', 6, int)`; `include/uapi/linux/watchdog.h`.
const WDIOC_SETTIMEOUT: libc::Ioctl = 0xc004_5706u32 as libc::Ioctl;
/// `WDIOC_GETTIMEOUT`, `_IOR('W', 7, int)`.
const WDIOC_GETTIMEOUT: libc::Ioctl = 0x8004_5707u32 as libc::Ioctl;
/// `LOOP_CLR_FD`; `include/uapi/linux/loop.h`.
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;
/// `DM_DEV_REMOVE`, `_IOWR(0xfd, 4, struct dm_ioctl)`; `include/uapi/linux/dm-ioctl.h`.
const DM_DEV_REMOVE: libc::Ioctl = 0xc138_fd04u32 as libc::Ioctl;
/// `KDSIGACCEPT`: the console's "keyboard signal" key sends this signal; ioctl_console(2).
const KDSIGACCEPT: libc::Ioctl = 0x4b4e;

fn with_int(fd: BorrowedFd<'_>, request: libc::Ioctl, value: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut value = value;
    // SAFETY: the watchdog requests that this is called with read and write one int through the pointer.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut value) })?;
    Ok(value)
}

/// Sets after how many seconds the watchdog resets; gives what the hardware took.
pub(crate) fn set_watchdog_timeout(fd: BorrowedFd<'_>, seconds: i32) -> Result<i32, Errno> {
    with_int(fd, WDIOC_SETTIMEOUT, seconds)
}

/// After how many seconds the watchdog resets.
pub(crate) fn watchdog_timeout(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    with_int(fd, WDIOC_GETTIMEOUT, 0)
}

/// Takes the file away from a loop device; loop(4).
pub(crate) fn detach_loop(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes no argument.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), LOOP_CLR_FD, 0) }).map(|_| ())
}

/// Lets the "keyboard signal" key (Alt-Up as a rule) send SIGWINCH to process 1, the sender of this request.
pub(crate) fn accept_keyboard_signal(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), KDSIGACCEPT, libc::SIGWINCH) }).map(|_| ())
}

/// `struct dm_ioctl`, without the data that only other requests have.
#[repr(C)]
struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<DmIoctl>() == 312);

/// Removes the device mapper's device of this name; `fd` is `/dev/mapper/control`.
pub(crate) fn remove_dm(fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    // SAFETY: numbers and bytes only: all-zero is a value.
    let mut request: DmIoctl = unsafe { std::mem::zeroed() };
    let place = request.name.get_mut(..name.len()).ok_or(Errno::ENAMETOOLONG)?;
    if name.len() >= 128 {
        return Err(Errno::ENAMETOOLONG);
    }
    place.copy_from_slice(name);
    request.version = [4, 0, 0];
    request.data_size = 312;
    // SAFETY: the request has the layout of `struct dm_ioctl` and says its own size.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), DM_DEV_REMOVE, &raw mut request) }).map(|_| ())
}

/// Brings the loopback device up; the kernel then gives it its addresses. `fd` is any socket; netdevice(7).
pub(crate) fn loopback_up(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: numbers and bytes only: all-zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *place = *byte as libc::c_char;
    }
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of a `struct ifreq`.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the call above has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    if flags & up != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS reads the name and the flags.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request) })
        .map(|_| ())
}
