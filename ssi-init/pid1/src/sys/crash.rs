// SPDX-License-Identifier: GPL-2.0-or-later
//! What happens when process 1 itself faults (SIGSEGV and its like): the kernel would panic. Here it is executed anew
//! with what it keeps; the manager and the services do not see it.
//!
//! The handlers run on a stack of their own, since a fault may be that of the stack.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;

/// The signals by which the kernel tells of a fault of the program's own; signal(7).
pub(crate) const FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS];

const STACK: usize = 64 * 1024;

/// What to call, and with what: a `fn(&mut T, signal)` and its `T`, with the type put aside.
static RESCUE: AtomicUsize = AtomicUsize::new(0);
static SUBJECT: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
static CALL: AtomicUsize = AtomicUsize::new(0);
static FAULTED: AtomicBool = AtomicBool::new(false);

/// From now on `rescue` is called with `subject` when this process faults. It must not return, and must do only what
/// signal-safety(7) allows: no allocation, no lock.
pub(crate) fn guard<T: 'static>(subject: &'static mut T, rescue: fn(&mut T, i32) -> !) -> &'static mut T {
    /// Puts the types back.
    fn call<T>(signal: i32) {
        let subject = SUBJECT.load(Ordering::SeqCst).cast::<T>();
        let rescue = RESCUE.load(Ordering::SeqCst);
        if subject.is_null() || rescue == 0 {
            return;
        }
        // SAFETY: `guard` stored a `fn(&mut T, i32) -> !` there, of this very T.
        let rescue: fn(&mut T, i32) -> ! = unsafe { std::mem::transmute(rescue) };
        // SAFETY: `subject` came from a `&'static mut T`. The program that holds the other reference to it was stopped
        // for good by the fault: it never runs again, since `rescue` does not return.
        rescue(unsafe { &mut *subject }, signal)
    }
    let pointer: *mut T = subject;
    SUBJECT.store(pointer.cast(), Ordering::SeqCst);
    RESCUE.store(rescue as usize, Ordering::SeqCst);
    CALL.store(call::<T> as fn(i32) as usize, Ordering::SeqCst);

    let stack: &'static mut [u8] = Box::leak(vec![0; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack is leaked, so it lives as long as the process.
    let _ = Errno::result(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) });
    // SAFETY: all-zero bytes are a sigaction: no flags, an empty mask, the default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
    for signal in FAULTS {
        // SAFETY: `on_fault` has the signature for a handler without SA_SIGINFO.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    // SAFETY: the same pointer as above; the reference that was given in is not used again.
    unsafe { &mut *pointer }
}

extern "C" fn on_fault(signal: libc::c_int) {
    // A fault in the rescue itself: nothing is left but to hold still, so that the kernel does not panic and what runs
    // runs on.
    if FAULTED.swap(true, Ordering::SeqCst) {
        loop {
            // SAFETY: takes nothing, returns when a signal comes.
            unsafe { libc::pause() };
        }
    }
    let call = CALL.load(Ordering::SeqCst);
    if call != 0 {
        // SAFETY: `guard` stored a `fn(i32)` there.
        let call: fn(i32) = unsafe { std::mem::transmute(call) };
        call(signal);
    }
}

/// Gives the faults their usual meaning back: for children.
pub(crate) fn leave() {
    CALL.store(0, Ordering::SeqCst);
    for signal in FAULTS {
        // SAFETY: sets the default action, which runs no code of this program.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
