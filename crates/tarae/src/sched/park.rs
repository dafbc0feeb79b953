//! The token by which anybody wakes a parked coroutine: one state word, no stacks, no system calls.
//!
//! Called by `sched::task`. Only waits for *other coroutines and threads* (join, locks, channels,
//! `park`) use it; waits for sockets and time are the worker's own business and touch no atomics.
//!
//! ```text
//!   TOKEN   an unpark came and no park has used it up yet
//!   PARKED  the owner has suspended the coroutine, or is about to
//!   QUEUED  the coroutine's node stands in its worker's inbox
//!
//!   owner:   begin()    TOKEN → none, do not park        none → PARKED
//!            dequeued() clears QUEUED;  PARKED|TOKEN → none, make it ready
//!            end()      clears PARKED (time-out, cancellation); a TOKEN stays for the next park
//!   owner's thread:  unpark_local()   PARKED → none, make it ready;  else sets TOKEN
//!   other threads:   unpark_remote()  sets TOKEN; with PARKED and no QUEUED sets QUEUED: push it
//! ```
//!
//! Invariants: a coroutine stands in the inbox at most once (QUEUED). PARKED and TOKEN together
//! imply QUEUED, so a token never lies unseen beside a parked coroutine. What was written before an
//! unpark is seen after the park that it ends.

use crate::atomics::{AtomicU32, Ordering};

const TOKEN: u32 = 1;
const PARKED: u32 = 2;
const QUEUED: u32 = 4;

#[derive(Debug)]
pub(crate) struct ParkState(AtomicU32);

impl ParkState {
    pub(crate) fn new() -> ParkState {
        ParkState(AtomicU32::new(0))
    }

    /// Changes the word by `f` and gives what it was.
    fn update(&self, f: impl Fn(u32) -> u32) -> u32 {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            match self
                .0
                .compare_exchange_weak(state, f(state), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return state,
                Err(now) => state = now,
            }
        }
    }

    /// Owner: uses up a token and gives false, or marks the coroutine as parked and gives true:
    /// suspend it.
    pub(crate) fn begin(&self) -> bool {
        self.update(|s| {
            if s & TOKEN != 0 {
                s & !TOKEN
            } else {
                s | PARKED
            }
        }) & TOKEN
            == 0
    }

    /// Owner: the wait ended for another reason.
    pub(crate) fn end(&self) {
        self.update(|s| s & !PARKED);
    }

    /// Owner: the node came out of the inbox. True: make the coroutine ready.
    pub(crate) fn dequeued(&self) -> bool {
        let wake = |s| s & (PARKED | TOKEN) == PARKED | TOKEN;
        let before = self.update(|s| if wake(s) { 0 } else { s & !QUEUED });
        wake(before)
    }

    /// On the owner's thread. True: make the coroutine ready.
    pub(crate) fn unpark_local(&self) -> bool {
        let before = self.update(|s| match s & (PARKED | TOKEN) {
            PARKED => s & !PARKED,
            // With a token the node is in the inbox already and will be seen there.
            _ => s | TOKEN,
        });
        before & (PARKED | TOKEN) == PARKED
    }

    /// On any thread. True: push the node to the owner's inbox.
    pub(crate) fn unpark_remote(&self) -> bool {
        let push = |s| s & PARKED != 0 && s & (TOKEN | QUEUED) == 0;
        let before = self.update(|s| {
            if push(s) {
                s | TOKEN | QUEUED
            } else {
                s | TOKEN
            }
        });
        push(before)
    }
}
