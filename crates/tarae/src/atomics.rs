//! Atomics and the `UnsafeCell` of the lock-free protocols (`sched::{inbox, park, join, ring}`).
//!
//! Those modules name their primitives through this one only, so that the model checker's crate
//! (`tarae-loom`) can compile the same files over `loom`'s types. Never use anything here that
//! `loom` has no twin of.

pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// `core`'s `UnsafeCell` with `loom`'s access functions.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(core::cell::UnsafeCell::new(value))
    }

    /// Hands out the raw pointer for exclusive access; the caller's protocol makes it exclusive.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Lets some time pass for whoever holds a lock: spins first, then gives the processor away.
pub(crate) fn pause(tries: u32) {
    if tries < 64 {
        core::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}
