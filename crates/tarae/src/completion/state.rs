//! The state machine of a completion: a result that comes once, and one who wants it.
//!
//! Used by `operation` (the completing side) and by `Completion` (the handle). No stacks, system
//! calls or thread-locals in here, so that the model checker can run it. Cancellation is no state:
//! it makes the completing side complete earlier, with an error.
//!
//! ```text
//!                ┌────────────── complete ───────────────┐
//!   PENDING ─────┴─ react ─► REACTING ─── complete ───► COMPLETE ─ take ─► (taken)
//!      │  ▲                     │
//!      │  └────── withdraw ─────┘
//!      └─ detach ─► DETACHED ─── complete: the completing side takes the result and drops it
//! ```
//!
//! The words and the place of the reaction are those of `sched::join`, whose waiter is a reaction
//! here: somebody to be woken, or a function that is called with the result.
//!
//! Invariants: one handle, and one party that completes, once. The result is in its place from
//! COMPLETE on, until exactly one takes it: the handle, if there was no reaction or one that wakes;
//! whoever carries out the reaction, if that is a function; the completing side, if it finds
//! DETACHED. Once a function is left, the handle is gone; where it is to be carried out by somebody
//! else, it goes there by a place of its own: the waiter's may still be in the hands of a
//! completing side that wakes.

use crate::atomics::UnsafeCell;
use crate::sched::join::{JoinState, Joiner};

#[derive(Debug)]
pub(crate) struct State<T, W> {
    end: JoinState<W>,
    result: UnsafeCell<Option<T>>,
    /// A reaction on its way to whoever carries it out.
    handed_over: UnsafeCell<Option<W>>,
}

// SAFETY: result and reaction are handed from one side to the other by the state's word (above).
unsafe impl<T: Send, W: Send> Sync for State<T, W> {}

impl<T, W> State<T, W> {
    pub(crate) fn new() -> State<T, W> {
        State {
            end: JoinState::new(),
            result: UnsafeCell::new(None),
            handed_over: UnsafeCell::new(None),
        }
    }

    /// Whether the result has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.end.is_done()
    }

    /// The result has come. What this gives is the caller's to act on: a reaction is to be carried
    /// out, and the result of a completion that was detached is to be taken and dropped.
    ///
    /// # Safety
    /// Once.
    pub(crate) unsafe fn complete(&self, value: T) -> Joiner<W> {
        // SAFETY: before the end the place is the completing side's, and that is here, once.
        self.result
            .with_mut(|result| unsafe { *result = Some(value) });
        // SAFETY: the caller's promise.
        unsafe { self.end.complete() }
    }

    /// Takes the result out of its place.
    ///
    /// # Safety
    /// By the one whose turn it is (see the invariants), when it is complete.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        // SAFETY: the caller's promise.
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    /// Looks at the result.
    ///
    /// # Safety
    /// As for `take`.
    pub(crate) unsafe fn with_result<R>(&self, f: impl FnOnce(Option<&T>) -> R) -> R {
        // SAFETY: the caller's promise.
        self.result
            .with_mut(|result| f(unsafe { (*result).as_ref() }))
    }

    /// Leaves a reaction that wakes. False if the result has come.
    ///
    /// # Safety
    /// By the handle, and not again before `withdraw`.
    pub(crate) unsafe fn react(&self, reaction: W) -> bool {
        // SAFETY: the caller's promise: the handle is the one joiner.
        unsafe { self.end.register(reaction) }
    }

    /// Leaves a reaction that takes the result. False if that has come: the reaction is to be
    /// handed over then, as by `keep`.
    ///
    /// # Safety
    /// By the handle, which is gone with it; not after `react` without `withdraw`.
    pub(crate) unsafe fn react_last(&self, reaction: W) -> bool {
        // SAFETY: the caller's promise: the handle is the one joiner.
        match unsafe { self.end.leave(reaction) } {
            Ok(()) => true,
            Err(reaction) => {
                // SAFETY: nobody else hands this reaction over.
                unsafe { self.keep(reaction) };
                false
            }
        }
    }

    /// Takes the reaction of `react` back. False if the result has come.
    ///
    /// # Safety
    /// By the handle, after `react` gave true.
    pub(crate) unsafe fn withdraw(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.end.withdraw() }
    }

    /// The handle goes away, with no reaction left. False if the result has come: it is the
    /// handle's to drop.
    pub(crate) fn detach(&self) -> bool {
        self.end.detach()
    }

    /// Keeps a reaction that `complete` gave, for whoever is to carry it out.
    ///
    /// # Safety
    /// By the completing side, before it hands the reaction's work over.
    pub(crate) unsafe fn keep(&self, reaction: W) {
        // SAFETY: the caller alone has the reaction that takes the result, so the place is its own.
        self.handed_over
            .with_mut(|place| unsafe { *place = Some(reaction) });
    }

    /// Takes the reaction that was left by `react_last` too late, or kept.
    ///
    /// # Safety
    /// By the one who is to carry it out, once.
    pub(crate) unsafe fn reclaim(&self) -> Option<W> {
        // SAFETY: the place went from who left the reaction there to the caller.
        self.handed_over
            .with_mut(|place| unsafe { (*place).take() })
    }
}
