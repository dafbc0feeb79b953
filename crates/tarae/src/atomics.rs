//! Atomics, the lock and the `UnsafeCell` of the protocols that are model-checked: those of `sched`
//! (`inbox`, `mailbox`, `park`, `join`, `ring`), of `offload`, `completion` and `sync`.
//!
//! Those modules name their primitives through this one only, so that the model checker's crate
//! (`tarae-loom`) can compile the same files over `loom`'s types. Never use anything here that
//! `loom` has no twin of.

pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// A `const fn` here, a plain one in the twin: `loom`'s types cannot be made in constants.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        $(#[$meta])* $vis const fn $($rest)*
    };
}
pub(crate) use const_fn;

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
