//! The end of a coroutine and the one who waits for it: one state word and one place for a waiter.
//!
//! Called by `sched::task`, and by `completion::state`, which keeps a result beside it. No stacks,
//! system calls or thread-locals in here.
//!
//! ```text
//!   RUNNING ── register ──► WAITING ── withdraw ──► RUNNING ── detach ──► DETACHED
//!      └──────── complete ──────┴──► DONE                     (and stays: nobody asks again)
//! ```
//!
//! Invariants: the waiter's place belongs to the joiner in RUNNING and to the completer from
//! WAITING → DONE on. There is one joiner and one completer. The result is written before
//! `complete` and read after `is_done`, `register` or `withdraw` has told of DONE. Exactly one side
//! disposes of the result: the joiner if `detach` fails, the completer if it finds DETACHED.

use crate::atomics::{AtomicU32, Ordering, UnsafeCell};

const RUNNING: u32 = 0;
const WAITING: u32 = 1;
const DONE: u32 = 2;
const DETACHED: u32 = 3;

#[derive(Debug)]
pub(crate) struct JoinState<W> {
    state: AtomicU32,
    waiter: UnsafeCell<Option<W>>,
}

/// Whom the completer found.
#[derive(Debug, PartialEq)]
pub(crate) enum Joiner<W> {
    /// Nobody waits now; the result stays in place.
    Absent,
    /// This one waits: wake it.
    Waiting(W),
    /// The handle is gone: the completer drops the result.
    Detached,
}

// SAFETY: the waiter's place is handed from joiner to completer by the state word (see above).
unsafe impl<W: Send> Sync for JoinState<W> {}

impl<W> JoinState<W> {
    pub(crate) fn new() -> JoinState<W> {
        JoinState {
            state: AtomicU32::new(RUNNING),
            waiter: UnsafeCell::new(None),
        }
    }

    /// Of a coroutine that nobody will join.
    pub(crate) fn detached() -> JoinState<W> {
        let join = JoinState::new();
        join.state.store(DETACHED, Ordering::Relaxed);
        join
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Whether nobody will join it.
    pub(crate) fn is_detached(&self) -> bool {
        self.state.load(Ordering::Acquire) == DETACHED
    }

    /// Whether the joiner waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// Leaves a waiter to be woken. False if the end has come already.
    ///
    /// # Safety
    /// By the one joiner, and not again before `withdraw`.
    pub(crate) unsafe fn register(&self, waiter: W) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.leave(waiter) }.is_ok()
    }

    /// As `register`; gives the waiter back if the end has come.
    ///
    /// # Safety
    /// As for `register`.
    pub(crate) unsafe fn leave(&self, waiter: W) -> Result<(), W> {
        if self.is_done() {
            return Err(waiter);
        }
        // SAFETY: in RUNNING the place is the joiner's, who is alone by the caller's promise.
        self.waiter
            .with_mut(|place| unsafe { *place = Some(waiter) });
        if self.exchange(RUNNING, WAITING) {
            return Ok(());
        }
        // SAFETY: the completer has found RUNNING, so that the place stays the joiner's.
        let waiter = self.waiter.with_mut(|place| unsafe { (*place).take() });
        Err(waiter.expect("left just now"))
    }

    /// Takes the waiter back. False if the end has come.
    ///
    /// # Safety
    /// By the joiner, after it registered.
    pub(crate) unsafe fn withdraw(&self) -> bool {
        let withdrawn = self.exchange(WAITING, RUNNING);
        if withdrawn {
            // SAFETY: RUNNING again, so the place is the joiner's.
            self.waiter.with_mut(|place| unsafe { *place = None });
        }
        withdrawn
    }

    /// The joiner goes away. False if the end has come: the result is the joiner's to drop.
    pub(crate) fn detach(&self) -> bool {
        self.exchange(RUNNING, DETACHED)
    }

    /// The end, or that there will be none: the result is in place.
    ///
    /// # Safety
    /// Called once.
    pub(crate) unsafe fn complete(&self) -> Joiner<W> {
        // DETACHED is final, so that there is nobody to be told.
        if self.state.load(Ordering::Acquire) == DETACHED {
            return Joiner::Detached;
        }
        match self.state.swap(DONE, Ordering::AcqRel) {
            WAITING => {
                // SAFETY: WAITING → DONE makes the place the completer's.
                let waiter = self.waiter.with_mut(|place| unsafe { (*place).take() });
                waiter.map_or(Joiner::Absent, Joiner::Waiting)
            }
            DETACHED => Joiner::Detached,
            _ => Joiner::Absent,
        }
    }

    fn exchange(&self, from: u32, to: u32) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
