// SPDX-License-Identifier: GPL-2.0-or-later
//! The calls that neither rustix nor nix has a safe form of: socket options by number, message queues of POSIX
//! (mq_overview(7)), and the control device of autofs (`linux/auto_dev-ioctl.h`).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;
use rustix::ioctl::{self, Updater};

/// setsockopt(2) with bytes.
///
/// # Errors
/// What the kernel said.
pub(crate) fn set_option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads no more than the slice's length.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// setsockopt(2) with a number.
///
/// # Errors
/// What the kernel said.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option_bytes(fd, level, name, &value.to_ne_bytes())
}

/// getsockopt(2) of numbers; as many as the kernel gave.
///
/// # Errors
/// What the kernel said.
pub(crate) fn options<const N: usize>(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<Vec<i32>> {
    let mut values = [0_i32; N];
    let mut length = libc::socklen_t::try_from(size_of_val(&values)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, which is the array's size, and any bytes are valid numbers.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, values.as_mut_ptr().cast(), &raw mut length) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(length).unwrap_or(0) / size_of::<i32>();
    Ok(values.into_iter().take(count).collect())
}

/// mq_open(3) for reading, without waiting; with `make`, a new queue of this mode and, if given, of so many messages of
/// such a length.
///
/// # Errors
/// What the kernel said; `EEXIST` with `make` when there is one.
pub(crate) fn queue(name: &CStr, make: Option<(u32, Option<(i64, i64)>)>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let fd = match make {
        // SAFETY: the name is a string with its end, and without O_CREAT no further argument is read.
        None => unsafe { libc::mq_open(name.as_ptr(), flags) },
        Some((mode, size)) => {
            let flags = flags | libc::O_CREAT | libc::O_EXCL;
            // SAFETY: a structure of numbers, of which all zeroes are a valid value.
            let mut wanted: libc::mq_attr = unsafe { std::mem::zeroed() };
            let wanted: *const libc::mq_attr = match size {
                None => std::ptr::null(),
                Some((messages, length)) => {
                    wanted.mq_maxmsg = messages as _;
                    wanted.mq_msgsize = length as _;
                    &raw const wanted
                }
            };
            // SAFETY: with O_CREAT the mode and a pointer follow, which is null or to a structure that outlives the call.
            unsafe { libc::mq_open(name.as_ptr(), flags, mode as libc::c_uint, wanted) }
        }
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, nobody else has it, and on Linux a queue is a descriptor (mq_overview(7)).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// mq_unlink(3).
///
/// # Errors
/// What the kernel said.
pub(crate) fn remove_queue(name: &CStr) -> io::Result<()> {
    // SAFETY: the name is a string with its end.
    let done = unsafe { libc::mq_unlink(name.as_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct autofs_dev_ioctl`, as long as the kernel's own and what may follow it.
///
/// ```text
///   0          4          8          12         16                 24
///   │ ver_major│ ver_minor│ size     │ ioctlfd  │ arguments, 8 bytes │ path, with its NUL │
/// ```
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct AutofsRequest {
    version: [u32; 2],
    /// Of the header and of the path, if there is one.
    size: u32,
    /// Descriptor of the mount that it is about.
    pub(crate) mount: i32,
    /// Two numbers, or one of the double width in the machine's order.
    pub(crate) arguments: [u32; 2],
    path: [u8; PATH_MAX],
}

const PATH_MAX: usize = 4096;
const HEADER: usize = std::mem::offset_of!(AutofsRequest, path);

impl AutofsRequest {
    /// For the mount that was opened as `mount`; -1 for none.
    pub(crate) fn new(mount: i32, arguments: [u32; 2]) -> Self {
        Self { version: [1, 0], size: HEADER as u32, mount, arguments, path: [0; PATH_MAX] }
    }

    /// With a path; `None` when it is too long.
    pub(crate) fn with_path(mut self, path: &[u8]) -> Option<Self> {
        // Its last byte stays the NUL at the end.
        let room = self.path.get_mut(..PATH_MAX - 1)?.get_mut(..path.len())?;
        room.copy_from_slice(path);
        self.size = u32::try_from(HEADER + path.len() + 1).ok()?;
        Some(self)
    }
}

/// Commands of `/dev/autofs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutofsCommand {
    /// Gives the version of the protocol that a mount speaks.
    ProtocolVersion,
    /// Opens a mount by its device number.
    OpenMount,
    /// What was asked for is mounted, or unmounted.
    Ready,
    /// It could not be.
    Fail,
    /// Another pipe, and the caller's group, for a mount that asks nobody.
    SetPipe,
    /// It asks nobody any more.
    Catatonic,
    /// After how long out of use it expires.
    Timeout,
    /// Looks whether it is out of use; waits until that is settled.
    Expire,
}

const fn number(command: u8) -> ioctl::Opcode {
    // The number is made with the length of the header alone.
    ioctl::opcode::read_write::<[u8; HEADER]>(0x93, command)
}

/// ioctl(2) on `/dev/autofs`.
///
/// # Errors
/// What the kernel said.
pub(crate) fn autofs(
    device: BorrowedFd<'_>,
    command: AutofsCommand,
    request: &mut AutofsRequest,
) -> rustix::io::Result<()> {
    macro_rules! call {
        ($number:expr) => {
            // SAFETY: these commands read `size` bytes, which are no more than the structure has, and write its header.
            unsafe { ioctl::ioctl(device, Updater::<{ number($number) }, AutofsRequest>::new(request)) }
        };
    }
    match command {
        AutofsCommand::ProtocolVersion => call!(0x72),
        AutofsCommand::OpenMount => call!(0x74),
        AutofsCommand::Ready => call!(0x76),
        AutofsCommand::Fail => call!(0x77),
        AutofsCommand::SetPipe => call!(0x78),
        AutofsCommand::Catatonic => call!(0x79),
        AutofsCommand::Timeout => call!(0x7a),
        AutofsCommand::Expire => call!(0x7c),
    }
}

/// Takes a descriptor that the kernel put into an answer.
pub(crate) fn opened_mount(request: &AutofsRequest) -> Option<OwnedFd> {
    // SAFETY: AUTOFS_DEV_IOCTL_OPENMOUNT has just made it for this caller, who takes it once.
    (request.mount >= 0).then(|| unsafe { OwnedFd::from_raw_fd(request.mount) })
}

/// Whether two descriptors are one open file, kcmp(2); `false` where the kernel does not tell.
pub fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let (one, other) = (one.as_raw_fd() as libc::c_ulong, other.as_raw_fd() as libc::c_ulong);
    // SAFETY: numbers alone go to the kernel, which writes nothing.
    unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, one, other) == 0 }
}
