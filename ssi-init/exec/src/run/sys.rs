// SPDX-License-Identifier: GPL-2.0-or-later
//! System calls that neither rustix nor nix offers as safe functions. Each wrapper here is safe to call; what it
//! leans on is that the executor has one thread.
#![allow(unsafe_code)]

use crate::plan::{IoPriority, NumaPolicy, Resource, Scheduler};
use nix::libc;
use rustix::io::Errno;
use std::ffi::{CStr, CString, c_int, c_long, c_ulong};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw())) } else { Ok(result) }
}

/// Takes over a descriptor that the spawner put at a number, as one above `beyond`.
pub(super) fn adopt(number: RawFd, beyond: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: duplicates a number; a wrong one is EBADF.
    let fd = check(c_long::from(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, beyond) }))?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Closes all descriptors from `first` to `last`. close_range(2), or one by one before Linux 5.9.
pub(super) fn close_range(first: RawFd, last: Option<RawFd>) -> Result<(), Errno> {
    if last.is_some_and(|last| last < first) {
        return Ok(());
    }
    let end = last.map_or(u32::MAX, |last| last as u32);
    // SAFETY: at the two places where this is called the executor owns no descriptor in the range.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first as u32, end, 0u32) }) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        done => return done.map(drop),
    }
    let mut open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    open.retain(|fd| *fd >= first && last.is_none_or(|last| *fd <= last));
    for fd in open {
        // SAFETY: as above; the one the listing itself used is closed by now (EBADF).
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Puts a copy of `fd` at `number`, without close-on-exec; what is there is closed.
pub(super) fn place(fd: impl AsFd, number: RawFd) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    if fd == number {
        // SAFETY: clears a flag of a descriptor we have.
        return check(c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })).map(drop);
    }
    // SAFETY: the callers place only at 0, 1, 2 and at the numbers of passed descriptors, where nothing that the
    // executor still uses lies.
    check(c_long::from(unsafe { libc::dup2(fd, number) })).map(drop)
}

/// All signals to their default action, except SIGPIPE when it is to be ignored, and none blocked.
pub(super) fn reset_signals(ignore_sigpipe: bool) -> Result<(), Errno> {
    // The kernel's struct sigaction, larger than any machine's: all zero is the default action. By the system call
    // itself, because the C library keeps two signals from its users, and a parent may have ignored those too.
    let default = [0u64; 8];
    let set_size = 8usize;
    for signal in 1..=64 {
        // SAFETY: reads the structure, which lives through the call; the default action runs no code of ours.
        // SIGKILL and SIGSTOP refuse.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), set_size);
        }
    }
    ignore_signal(libc::SIGPIPE, ignore_sigpipe);
    nix::sys::signal::SigSet::empty().thread_set_mask().map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

/// A signal that is waited for, and not lost while it is not.
pub(super) struct Awaited(nix::sys::signal::SigSet);

impl Awaited {
    /// Blocks it, and nothing else.
    pub(super) fn new(signal: nix::sys::signal::Signal) -> Result<Self, Errno> {
        let mut set = nix::sys::signal::SigSet::empty();
        set.add(signal);
        set.thread_set_mask().map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        Ok(Self(set))
    }

    /// Until it comes.
    pub(super) fn wait(&self) {
        while let Err(nix::errno::Errno::EINTR) = self.0.wait() {}
    }

    /// Nothing is blocked any more.
    pub(super) fn over(self) -> Result<(), Errno> {
        nix::sys::signal::SigSet::empty().thread_set_mask().map_err(|errno| Errno::from_raw_os_error(errno as i32))
    }
}

/// Sets the disposition of one signal to ignore, or back.
pub(super) fn ignore_signal(signal: c_int, ignore: bool) {
    // SAFETY: default and ignore run no code of ours.
    unsafe { libc::signal(signal, if ignore { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

/// ioprio_set(2) for this process.
pub(super) fn set_io_priority(io: IoPriority) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: c_int = 1;
    let value = (io.class as c_int) << 13 | c_int::from(io.level);
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
}

/// sched_setscheduler(2) for this process.
pub(super) fn set_scheduler(scheduler: Scheduler) -> Result<(), Errno> {
    const SCHED_RESET_ON_FORK: c_int = 0x4000_0000;
    let policy = scheduler.policy | if scheduler.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 };
    let parameter = scheduler.priority;
    // SAFETY: struct sched_param is one int, which lives through the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameter) }).map(drop)
}

/// set_mempolicy(2).
pub(super) fn set_memory_policy(policy: NumaPolicy, nodes: &[u32]) -> Result<(), Errno> {
    let mut mask = [0 as c_ulong; 16];
    let bits = c_ulong::BITS;
    for node in nodes {
        let word = mask.get_mut((node / bits) as usize).ok_or(Errno::INVAL)?;
        *word |= 1 << (node % bits);
    }
    let none = matches!(policy, NumaPolicy::Default | NumaPolicy::Local);
    let pointer = if none { std::ptr::null() } else { mask.as_ptr() };
    let count = if none { 0 } else { mask.len() as u32 * bits + 1 };
    // SAFETY: the mask has the number of bits told (the kernel takes one less) and lives through the call.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, policy as c_int, pointer, c_ulong::from(count)) }).map(drop)
}

/// sched_setaffinity(2), for as many processors as the kernel can have.
pub(super) fn set_affinity(processors: &[u32]) -> Result<(), Errno> {
    let mut mask = [0u8; 1024];
    for processor in processors {
        let byte = mask.get_mut((processor / 8) as usize).ok_or(Errno::INVAL)?;
        *byte |= 1 << (processor % 8);
    }
    if cfg!(target_endian = "big") {
        // The kernel reads longs.
        mask.as_chunks_mut::<{ size_of::<c_ulong>() }>().0.iter_mut().for_each(|long| long.reverse());
    }
    // SAFETY: the mask has the size told and lives through the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, mask.len(), mask.as_ptr()) }).map(drop)
}

/// personality(2).
pub(super) fn set_personality(persona: c_ulong) -> Result<(), Errno> {
    // SAFETY: a number only.
    check(c_long::from(unsafe { libc::personality(persona) })).map(drop)
}

/// The kernel's own number for a limit.
pub(super) fn resource_number(resource: Resource) -> c_int {
    (match resource {
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::As => libc::RLIMIT_AS,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
    }) as c_int
}

/// getrlimit(2).
pub(super) fn get_limit(resource: Resource) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads nothing, writes the limit, which lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource_number(resource),
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// setrlimit(2).
pub(super) fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the limit lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource_number(resource),
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })
    .map(drop)
}

/// A new, empty session keyring. keyctl(2) KEYCTL_JOIN_SESSION_KEYRING.
pub(super) fn join_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: no name is given.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>(), 0, 0, 0) })
        .map(drop)
}

/// The user's keyring into the session's. keyctl(2) KEYCTL_LINK.
pub(super) fn link_user_keyring() -> Result<(), Errno> {
    const KEYCTL_LINK: c_long = 8;
    const SESSION: c_long = -3;
    const USER: c_long = -4;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_LINK, USER, SESSION, 0, 0) }).map(drop)
}

/// A key "user" in the session keyring, which its possessor and its user may see and read, and nobody may change.
pub(super) fn add_session_key(name: &CStr, value: &[u8]) -> Result<(), Errno> {
    const SESSION: c_long = -3;
    const KEYCTL_SETPERM: c_long = 5;
    const VIEW_READ_SEARCH: c_long = 0x0b0b_0000;
    // SAFETY: name, type and value live through the call, and the length is the value's.
    let key = check(unsafe {
        libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), SESSION)
    })?;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, VIEW_READ_SEARCH, 0, 0) }).map(drop)
}

/// setresuid(2) and setresgid(2) of the real ids alone, for the keyrings.
pub(super) fn set_real_ids(uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let keep = u32::MAX;
    if let Some(gid) = gid {
        // SAFETY: numbers only.
        check(unsafe { libc::syscall(libc::SYS_setregid, gid, keep) })?;
    }
    if let Some(uid) = uid {
        // SAFETY: numbers only.
        check(unsafe { libc::syscall(libc::SYS_setreuid, uid, keep) })?;
    }
    Ok(())
}

/// An ioctl that takes a number, of the terminal or a virtual console.
pub(super) fn terminal_ioctl(fd: impl AsFd, request: c_ulong, argument: c_ulong) -> Result<(), Errno> {
    // SAFETY: the callers use requests of ioctl_tty(2) and ioctl_console(2) that take a number and write nothing:
    // TIOCVHANGUP, TIOCSCTTY, KDSETMODE, KDSKBMODE, VT_DISALLOCATE.
    check(c_long::from(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, argument) })).map(drop)
}

/// unshare(2).
pub(super) fn unshare(flags: c_int) -> Result<(), Errno> {
    // SAFETY: the callers ask for namespaces only, never for CLONE_FILES, which would part shared descriptors.
    check(c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// setns(2).
pub(super) fn enter_namespace(fd: impl AsFd, kind: c_int) -> Result<(), Errno> {
    // SAFETY: a descriptor and a number.
    check(c_long::from(unsafe { libc::setns(fd.as_fd().as_raw_fd(), kind) })).map(drop)
}

/// pivot_root(2): the working directory becomes the root, and the old root lies on top of it.
pub(super) fn pivot_root_stacked() -> Result<(), Errno> {
    // SAFETY: two constant strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// mount_setattr(2): sets and clears attributes of a mount, and of those below it when `recursive`.
pub(super) fn set_mount_attributes(path: &CStr, set: u64, clear: u64, recursive: bool) -> Result<(), Errno> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attributes = MountAttr { set, clear, propagation: 0, userns: 0 };
    let flags = libc::AT_SYMLINK_NOFOLLOW | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the attributes live through the call, and the size is theirs.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// fork(2), for the few things that need a process beside this one. The child runs `work` and ends with its status.
pub(super) fn fork_and(work: impl FnOnce() -> u8) -> Result<rustix::process::Pid, Errno> {
    // SAFETY: one thread, so the child's memory is whole.
    let pid = check(c_long::from(unsafe { libc::fork() }))?;
    if pid == 0 {
        let status = work();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(c_int::from(status)) };
    }
    rustix::process::Pid::from_raw(pid as i32).ok_or(Errno::CHILD)
}

/// Switches the loopback interface of a new network namespace on. netdevice(7).
pub(super) fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives through the call.
    check(c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }))
        .map(drop)
}

/// A record for utmp(5): pututxline(3), and a copy at the end of wtmp when asked.
pub(super) fn put_utmp(kind: i16, identifier: &str, line: &str, user: &str, session: i32, wtmp: bool) {
    // SAFETY: a structure of numbers and arrays of them, for which zero is a value.
    let mut record: libc::utmpx = unsafe { std::mem::zeroed() };
    fn fill(field: &mut [libc::c_char], text: &str) {
        for (place, byte) in field.iter_mut().zip(text.bytes()) {
            *place = byte as libc::c_char;
        }
    }
    record.ut_type = kind as _;
    record.ut_pid = rustix::process::getpid().as_raw_nonzero().get();
    record.ut_session = session as _;
    fill(&mut record.ut_id, identifier);
    fill(&mut record.ut_line, line);
    fill(&mut record.ut_user, user);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    record.ut_tv.tv_sec = now.tv_sec as _;
    record.ut_tv.tv_usec = (now.tv_nsec / 1000) as _;
    // SAFETY: the record lives through the calls; the C library's static state is ours alone.
    unsafe {
        libc::setutxent();
        libc::pututxline(&raw const record);
        libc::endutxent();
    }
    if wtmp {
        // SAFETY: the record is plain bytes.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of::<libc::utmpx>()) };
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open("/var/log/wtmp") {
            let _ = std::io::Write::write_all(&mut file, bytes);
        }
    }
}

/// execve(2). Comes back only with an error.
pub(super) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    match nix::unistd::execve(program, arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => Errno::from_raw_os_error(errno as i32),
    }
}
