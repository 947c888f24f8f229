// SPDX-License-Identifier: GPL-2.0-or-later
//! The system's allocator, counted: process 1 promises not to allocate once its loop runs, and this is how it is seen
//! ([`ssi_pid1::protocol::Counters::allocations`]).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Passes all on to the system's and counts what asks for memory.
pub(crate) struct Counted;

// SAFETY: every call is passed on unchanged to `System`, which keeps the trait's contract; the counter does not touch
// what is allocated.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `pointer` is from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract, and `pointer` is from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often memory was asked for since the program began.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}
