//! Waiting while a panic unwinds the coroutine's stack, as a destructor may.
//!
//! Called by the waits of `worker`. It must never look at who else panics: it cannot.
//!
//! Std counts panics for each *thread*. Whoever runs while another coroutine of the thread is
//! suspended in the middle of its unwinding finds `std::thread::panicking()` true: a lock that it
//! releases is poisoned, a guard that acts on panics only acts. The count cannot be saved and
//! restored, it is std's own. So such a suspension is avoided wherever there is another way out:
//!
//! * A wait that can be cancelled is refused, as if its coroutine had been.
//! * Yielding does nothing, until the budget of operations is used up: a destructor that tries
//!   again and again must not hold its worker for ever.
//! * A wait that cannot be cancelled (for a lock) does suspend: to block the thread instead would
//!   be the end of the worker if the lock's holder is one of its coroutines.
//!
//! Invariant: `panicking` counts the coroutines that were suspended while the thread was panicking,
//! be it with their own panic or a suspended one's. While it is zero, none that is suspended is
//! unwinding, so a panic that there is belongs to the one who runs. While it is not, nobody can
//! tell, and nobody is refused.

use std::thread;

use super::Worker;

/// Takes the note back when the coroutine goes on.
pub(super) struct Noted<'a>(Option<&'a Worker>);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.0 {
            worker.panicking.set(worker.panicking.get() - 1);
        }
    }
}

impl Worker {
    /// Whether what runs here is known to be unwinding.
    pub(super) fn is_unwinding(&self) -> bool {
        thread::panicking() && self.panicking.get() == 0
    }

    /// A coroutine is about to be suspended, until the note is dropped.
    pub(super) fn note_panic(&self) -> Noted<'_> {
        if !thread::panicking() {
            return Noted(None);
        }
        self.panicking.set(self.panicking.get() + 1);
        Noted(Some(self))
    }

    /// Whether a yield is left out; it costs a unit of the budget then.
    pub(super) fn stays_while_unwinding(&self) -> bool {
        let left = self.budget.get();
        let stays = self.is_unwinding() && left > 1;
        if stays {
            self.budget.set(left - 1);
        }
        stays
    }
}
