//! How many still run in a scope, and who waits for the last of them.
//!
//! Called by `scope`. No stacks, system calls or thread-locals in here, so that the model checker
//! can run it.
//!
//! ```text
//!   1 (the body) ── enter ──► n + 1 ── leave ──► n … ── close (the body leaves) ──► 0: over
//! ```
//!
//! Invariants: only somebody inside lets another in, so nothing enters once the count is 0. The
//! waiter's place is the body's until `close` and then that of the last to leave. What was done
//! before a `leave` is seen by who sees that it is over.

use crate::atomics::{AtomicU32, Ordering, UnsafeCell};

#[derive(Debug)]
pub(crate) struct Count<W> {
    inside: AtomicU32,
    waiter: UnsafeCell<Option<W>>,
}

// SAFETY: the waiter's place is handed from the body to the last to leave by the count (see above).
unsafe impl<W: Send> Sync for Count<W> {}

impl<W> Count<W> {
    /// With the body inside.
    pub(crate) fn new() -> Count<W> {
        Count {
            inside: AtomicU32::new(1),
            waiter: UnsafeCell::new(None),
        }
    }

    /// By somebody inside, for another. False if there are too many.
    #[must_use]
    pub(crate) fn enter(&self) -> bool {
        // Ordered by what hands the other over.
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        if before > u32::MAX / 2 {
            self.inside.fetch_sub(1, Ordering::Relaxed);
        }
        before <= u32::MAX / 2
    }

    /// One that entered goes, the body not included. Some: it was the last, wake that one.
    ///
    /// # Safety
    /// Once for each `enter`.
    pub(crate) unsafe fn leave(&self) -> Option<W> {
        if self.inside.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        // SAFETY: the body has left its waiter before it left, and nobody else is inside.
        self.waiter.with_mut(|place| unsafe { (*place).take() })
    }

    /// The body goes, and `waiter` is woken when all have. True if they have: it is not woken.
    ///
    /// # Safety
    /// Once, by the body.
    pub(crate) unsafe fn close(&self, waiter: W) -> bool {
        // SAFETY: the body is inside, so the place is its own.
        self.waiter
            .with_mut(|place| unsafe { *place = Some(waiter) });
        self.inside.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether all have gone.
    pub(crate) fn is_over(&self) -> bool {
        self.inside.load(Ordering::Acquire) == 0
    }
}
