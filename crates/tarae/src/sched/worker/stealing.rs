//! Work for idle workers: coroutines that have not started.
//!
//! Called by the worker's loop. It never touches a coroutine that has started.

use std::sync::atomic::{Ordering, fence};

use super::{Ready, Worker};

/// Unstarted coroutines a thief takes at once.
const LOOT: usize = 32;

impl Worker {
    /// Wakes a sleeping worker, since there is more here than can be started at once.
    pub(super) fn call_thief(&self) {
        // Pairs with the fence in `begin_sleep`: either the sleeper sees the offer or we see it.
        fence(Ordering::SeqCst);
        if self.runtime.sleepers.load(Ordering::Relaxed) > 0 {
            let _ = self.runtime.workers.iter().any(|other| other.wake());
        }
    }

    /// Takes half of another worker's unstarted coroutines, up to a bound.
    pub(super) fn rob_somebody(&self) -> bool {
        for other in &self.runtime.workers {
            if std::ptr::eq(*other, self.shared) {
                continue;
            }
            let share = other.offered.len().div_ceil(2).min(LOOT);
            let before = self.ready.borrow().len();
            for task in std::iter::from_fn(|| other.steal()).take(share) {
                // Into the private queue: what was stolen once is not passed on.
                let task = Ready::Task(task.into_raw());
                self.ready.borrow_mut().push_back(task);
            }
            if self.ready.borrow().len() > before {
                return true;
            }
        }
        false
    }
}
