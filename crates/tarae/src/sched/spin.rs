//! A lock for a handful of instructions: channels keep their state in one.
//!
//! Called by `sync`. One word, no queue: whoever finds it taken spins, then gives its time away, so
//! a thread that lost the processor inside is waited for without burning it.
//!
//! ```text
//!   FREE ── with: compare-and-swap (Acquire) ──► TAKEN ── end of with (Release) ──► FREE
//! ```
//!
//! Invariants: the value is touched by the one who took the word to TAKEN and by nobody else until
//! it is FREE again. What runs inside never waits, never switches to another coroutine and never
//! runs a user's code (a destructor, a waker): it would wait for the lock its own worker holds.

use crate::atomics::{AtomicU32, Ordering, UnsafeCell, pause};

const FREE: u32 = 0;
const TAKEN: u32 = 1;

#[derive(Debug)]
pub(crate) struct Spin<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the state word gives the value to one thread at a time.
unsafe impl<T: Send> Sync for Spin<T> {}
// SAFETY: it owns its value.
unsafe impl<T: Send> Send for Spin<T> {}

/// Frees the lock, after a panic too.
struct Taken<'a>(&'a AtomicU32);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

impl<T> Spin<T> {
    pub(crate) fn new(value: T) -> Spin<T> {
        Spin {
            state: AtomicU32::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` on the value, alone.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        if !self.take() {
            self.wait_and_take();
        }
        let _taken = Taken(&self.state);
        // SAFETY: FREE → TAKEN made it ours until `_taken` is dropped.
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }

    #[inline]
    fn take(&self) -> bool {
        self.state
            .compare_exchange_weak(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn wait_and_take(&self) {
        let mut tries = 0;
        while !self.take() {
            pause(tries);
            tries += 1;
        }
    }
}
