//! A thread whose leaked stacks are still lent to offloaded jobs must keep its thread-locals.
//!
//! Called by `runtime` at the end of `run`, on the caller's thread. (The threads of the workers
//! beyond the first never end when they have leaked a stack.) A job may have borrowed a
//! thread-local by way of `LocalKey::with`, and the frame that should have kept the thread alive
//! will never return.

use std::cell::Cell;
use std::time::Duration;

use super::shared::Shared;

/// Waits, when the thread ends, for the jobs it has lent to.
struct Lent(Cell<Option<&'static Shared>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(shared) = self.0.get() {
            wait(shared);
        }
    }
}

thread_local! {
    /// Thread-locals are dropped in the reverse order of their first use, and this one is first
    /// used when all those that a leaked frame knows have been.
    static LENT: Lent = const { Lent(Cell::new(None)) };
}

/// Sees to it that no thread-local of this thread goes before the jobs that borrow from `shared`'s
/// leaked coroutines have ended.
pub(super) fn keep_thread_locals(shared: &'static Shared) {
    if !shared.is_lent() {
        return;
    }
    let kept =
        LENT.try_with(|lent| lent.0.get().is_none() && lent.0.replace(Some(shared)).is_none());
    // A second time the order would not hold any more: wait here.
    if !kept.unwrap_or(false) {
        wait(shared);
    }
}

/// Looks again and again: nobody tells of it, since the coroutine that is told never runs again.
fn wait(shared: &Shared) {
    while shared.is_lent() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
