// SPDX-License-Identifier: GPL-2.0-or-later
//! The one place where a process is made.
//!
//! Unsafe, because neither rustix nor nix offers clone3 with flags of one's own, and because a child that shares
//! the parent's memory must keep rules that no type enforces:
//!
//! - It runs on a stack of its own. The parent is stopped by CLONE_VFORK meanwhile, but its frames stay live.
//! - It allocates nothing, locks nothing, panics nowhere, and calls only thin wrappers of system calls: another
//!   thread of the parent may hold the allocator's lock, and there is no unwinding out of it.
//! - It gets no signal: all are blocked before, so no handler of the parent runs in the wrong process. The executor
//!   unblocks them, after execve has put all handlers back.
//!
//! What the child stores in [`Errand`] the parent reads afterwards: that is how a failure before the executor runs
//! comes back as an error of the spawn and not as a mystery exit status.
#![allow(unsafe_code)]

use super::{ChildOf, SpawnError};
use nix::libc;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const STACK_SIZE: usize = 64 * 1024;
const GUARD: usize = 64 * 1024;

/// The child's stack, mapped once, with a guard below it.
#[derive(Debug)]
pub(super) struct Stack {
    base: *mut c_void,
}

// SAFETY: the mapping belongs to this value alone, and is only used through `&mut`.
unsafe impl Send for Stack {}

impl Stack {
    pub(super) fn new() -> Result<Stack, Errno> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                GUARD + STACK_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let stack = Stack { base };
        // SAFETY: the range lies within the mapping just made.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } < 0 {
            return Err(last_errno());
        }
        Ok(stack)
    }

    fn bottom(&self) -> *mut c_void {
        self.base.wrapping_byte_add(GUARD)
    }

    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(GUARD + STACK_SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no child runs on it: every clone waits for its child's execve.
        unsafe { libc::munmap(self.base, GUARD + STACK_SIZE) };
    }
}

/// What this kernel was found to let us do.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) clone3: bool,
    into_cgroup: bool,
}

impl Default for Means {
    fn default() -> Means {
        // Other machines have the same system call and need the same dozen instructions; they take clone(2) until
        // somebody can try it there.
        Means { clone3: cfg!(target_arch = "x86_64"), into_cgroup: true }
    }
}

/// What is wanted.
pub(super) struct Birth<'a> {
    pub(super) executor: BorrowedFd<'a>,
    /// These descriptors become `first`, `first + 1`, …
    pub(super) sources: &'a [RawFd],
    pub(super) first: RawFd,
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    pub(super) parent: ChildOf,
}

pub(super) struct Born {
    pub(super) pid: Pid,
    pub(super) pidfd: Option<OwnedFd>,
}

/// What the child does, and how far it came. Shared memory of parent and child.
struct Errand {
    executor: RawFd,
    sources: *const RawFd,
    parked: *mut RawFd,
    count: usize,
    first: RawFd,
    /// The control group to move into, or -1.
    cgroup: RawFd,
    argv: *const *const c_char,
    envp: *const *const c_char,
    failed: Stage,
    errno: c_int,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Nothing,
    Cgroup,
    Fds,
    Executor,
}

/// Makes a process that becomes the executor, and waits until it has.
pub(super) fn run_executor(means: &mut Means, stack: &mut Stack, birth: Birth<'_>) -> Result<Born, SpawnError> {
    let name: &CStr = c"ssi-exec";
    let argv = [name.as_ptr(), std::ptr::null()];
    // An empty environment: nothing of the manager's leaks into what the plan says.
    let envp = [std::ptr::null()];
    let mut parked = vec![-1; birth.sources.len() + 1];
    let mut errand = Errand {
        executor: birth.executor.as_raw_fd(),
        sources: birth.sources.as_ptr(),
        parked: parked.as_mut_ptr(),
        count: birth.sources.len(),
        first: birth.first,
        cgroup: -1,
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        failed: Stage::Nothing,
        errno: 0,
    };

    let blocked = SignalsBlocked::all();
    let born = bear(means, stack, &birth, &mut errand);
    drop(blocked);
    let born = born.map_err(SpawnError::Clone)?;

    if errand.failed == Stage::Nothing {
        return Ok(born);
    }
    if birth.parent == ChildOf::Caller {
        // It has ended already: CLONE_VFORK let us go on by its exit.
        let wait = || rustix::process::waitid(WaitId::Pid(born.pid), WaitIdOptions::EXITED);
        while wait().is_err_and(|errno| errno == Errno::INTR) {}
    }
    let errno = Errno::from_raw_os_error(errand.errno);
    Err(match errand.failed {
        Stage::Cgroup => SpawnError::Cgroup(errno),
        Stage::Executor => SpawnError::Executor(errno),
        Stage::Fds | Stage::Nothing => SpawnError::Fds(errno),
    })
}

/// Tries the ways of making a process from the best down, and remembers what does not work here.
fn bear(means: &mut Means, stack: &mut Stack, birth: &Birth<'_>, errand: &mut Errand) -> Result<Born, Errno> {
    let parent = if birth.parent == ChildOf::CallersParent { libc::CLONE_PARENT } else { 0 };
    if means.clone3 {
        if let Some(cgroup) = birth.cgroup.filter(|_| means.into_cgroup) {
            match clone3(stack, errand, parent, Some(cgroup)) {
                // Too old for the flag: EINVAL, E2BIG. Kept from it by a sandbox: ENOSYS, EPERM. A way that can
                // still work, or tells better why not, is to move there by writing.
                Err(Errno::INVAL | Errno::TOOBIG | Errno::NOSYS) => means.into_cgroup = false,
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::BUSY) => {}
                done => return done,
            }
        }
        errand.cgroup = birth.cgroup.map_or(-1, |cgroup| cgroup.as_raw_fd());
        match clone3(stack, errand, parent, None) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => means.clone3 = false,
            done => return done,
        }
    }
    errand.cgroup = birth.cgroup.map_or(-1, |cgroup| cgroup.as_raw_fd());
    clone2(stack, errand, parent)
}

#[cfg(target_arch = "x86_64")]
fn clone3(
    stack: &mut Stack,
    errand: &mut Errand,
    parent: c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Born, Errno> {
    /// The fields of struct clone_args in <linux/sched.h>, the 88-byte version of Linux 5.7.
    #[repr(C, align(8))]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

    let mut pidfd: RawFd = -1;
    let base = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | parent) as u64;
    let arguments = CloneArgs {
        flags: base | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the kernel takes the caller's own exit signal, and wants none here.
        exit_signal: if parent == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: stack.bottom() as u64,
        stack_size: STACK_SIZE as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
    };
    // A kernel before 5.7 takes the shorter form when the last field is not used.
    let size = if cgroup.is_some() { size_of::<CloneArgs>() } else { size_of::<CloneArgs>() - 8 };

    let result: i64;
    // SAFETY: the arguments are a valid clone_args of `size` bytes whose pointers live until the call returns. The
    // parent comes back to the instruction after `syscall` with its registers kept (the clobbers are declared) and
    // its stack untouched: the child starts on `stack` (16-byte aligned at its top, as the ABI wants it at a call),
    // calls `errand_of_child` with the errand, and never returns; CLONE_VFORK holds the parent until the child has
    // left this memory, so what the errand points to outlives it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size,
            in("r12") std::ptr::from_mut(errand),
            in("r13") errand_of_child as extern "C" fn(*mut c_void) -> c_int,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if result < 0 {
        return Err(Errno::from_raw_os_error(-result as c_int));
    }
    born(result as c_int, pidfd)
}

#[cfg(not(target_arch = "x86_64"))]
fn clone3(_: &mut Stack, _: &mut Errand, _: c_int, _: Option<BorrowedFd<'_>>) -> Result<Born, Errno> {
    Err(Errno::NOSYS)
}

fn clone2(stack: &mut Stack, errand: &mut Errand, parent: c_int) -> Result<Born, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | parent;
    let flags = flags | if parent == 0 { libc::SIGCHLD } else { 0 };
    // SAFETY: the C library starts `errand_of_child` on the stack given; CLONE_VFORK holds the parent until the
    // child has left this memory, so what the errand points to outlives it. The pidfd goes where the parent's
    // thread number would.
    let pid =
        unsafe { libc::clone(errand_of_child, stack.top(), flags, std::ptr::from_mut(errand).cast(), &raw mut pidfd) };
    if pid < 0 {
        return Err(last_errno());
    }
    born(pid, pidfd)
}

fn born(pid: c_int, pidfd: RawFd) -> Result<Born, Errno> {
    let pid = Pid::from_raw(pid).ok_or(Errno::CHILD)?;
    // SAFETY: the kernel opened this descriptor for us a moment ago; nobody else knows it.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Born { pid, pidfd })
}

/// The child. Shares memory with its parent: see the head of this file for what it may do.
extern "C" fn errand_of_child(errand: *mut c_void) -> c_int {
    // SAFETY: the parent passed its own Errand and is stopped until this process has left its memory; nobody else
    // has a reference to it.
    let errand = unsafe { &mut *errand.cast::<Errand>() };
    let fail = |errand: &mut Errand, stage: Stage, status: c_int| -> ! {
        errand.failed = stage;
        // SAFETY: reads and ends; `_exit` runs no handlers of the parent's.
        unsafe {
            errand.errno = *libc::__errno_location();
            libc::_exit(status)
        }
    };
    if errand.cgroup >= 0 {
        // SAFETY: plain system calls on a descriptor of the parent's and on constants.
        let moved = unsafe {
            let procs = libc::openat(errand.cgroup, c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            procs >= 0 && libc::write(procs, c"0".as_ptr().cast(), 1) == 1
        };
        if !moved {
            fail(errand, Stage::Cgroup, 219);
        }
    }
    // First out of the way, then into place: a source may have the number that another one is to get.
    let beyond = errand.first + errand.count as RawFd;
    for index in 0..=errand.count {
        // SAFETY: `sources` has `count` elements and `parked` one more; the last is the executor's place.
        let parked = unsafe {
            let source = if index < errand.count { *errand.sources.add(index) } else { errand.executor };
            let parked = libc::fcntl(source, libc::F_DUPFD_CLOEXEC, beyond);
            *errand.parked.add(index) = parked;
            parked
        };
        if parked < 0 {
            fail(errand, Stage::Fds, 202);
        }
    }
    for index in 0..errand.count {
        // SAFETY: as above; the new number has no close-on-exec flag, which is the point.
        if unsafe { libc::dup2(*errand.parked.add(index), errand.first + index as RawFd) } < 0 {
            fail(errand, Stage::Fds, 202);
        }
    }
    // SAFETY: argv and envp are arrays of the parent's, ended by null; the path is empty, so the executor's
    // descriptor itself is run.
    unsafe {
        let executor = *errand.parked.add(errand.count);
        libc::syscall(libc::SYS_execveat, executor, c"".as_ptr(), errand.argv, errand.envp, libc::AT_EMPTY_PATH);
    }
    fail(errand, Stage::Executor, 203)
}

/// All signals blocked, until dropped.
struct SignalsBlocked {
    before: nix::sys::signal::SigSet,
}

impl SignalsBlocked {
    fn all() -> SignalsBlocked {
        use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
        let mut before = SigSet::empty();
        // Fails only for a wrong `how`.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
        SignalsBlocked { before }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(nix::errno::Errno::last_raw())
}
