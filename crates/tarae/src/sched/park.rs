//! What anybody wakes a parked coroutine by: a notice from other threads and a token of its own.
//! No stacks, no system calls.
//!
//! Called by `sched::worker`. Only waits for *other coroutines and threads* (join, locks, channels,
//! `park`) use it; waits for sockets and time are the worker's own business.
//!
//! ```text
//!   Token, the owner's thread only               Notice, any thread
//!     NONE ── unpark ──► GIVEN                     0 ── leave: push the node ──► 1 (in the inbox)
//!      │ ▲                 │                       ▲                             │ leave: nothing
//!      │ └── begin: false ─┘                       └── taken, then unpark ───────┘
//!      │ begin: true
//!      └──► PARKED ── unpark: make it ready, or end (time-out, cancellation) ──► NONE
//! ```
//!
//! So a coroutine and whoever wakes it on its own worker touch no atomics: other threads never
//! write the token, they send the node to those who may. Invariants: a coroutine stands in the
//! inbox at most once. A notice that was left is taken after it, so its token comes at some time: a
//! park that begins between the two is ended by it. What was written before an unpark is seen after
//! the park that it ends. (`Token` is not `Sync`, so that the compiler knows it as well.)

use core::cell::Cell;

use crate::atomics::{AtomicU32, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    /// An unpark came and no park has used it up yet.
    Given,
    /// The owner has suspended the coroutine, or is about to.
    Parked,
}

/// The owner's side.
#[derive(Debug)]
pub(crate) struct Token(Cell<State>);

impl Token {
    pub(crate) fn new() -> Token {
        Token(Cell::new(State::None))
    }

    /// Uses up a token and gives false, or marks the coroutine as parked and gives true: suspend
    /// it.
    pub(crate) fn begin(&self) -> bool {
        let given = self.0.get() == State::Given;
        self.0.set(if given { State::None } else { State::Parked });
        !given
    }

    /// The wait ended for another reason.
    pub(crate) fn end(&self) {
        self.0.set(State::None);
    }

    /// True: make the coroutine ready.
    pub(crate) fn unpark(&self) -> bool {
        let parked = self.0.get() == State::Parked;
        self.0.set(if parked { State::None } else { State::Given });
        parked
    }
}

/// Everybody else's side.
#[derive(Debug)]
pub(crate) struct Notice(AtomicU32);

impl Notice {
    pub(crate) fn new() -> Notice {
        Notice(AtomicU32::new(0))
    }

    /// True: push the node to the owner's inbox.
    pub(crate) fn leave(&self) -> bool {
        self.0.swap(1, Ordering::AcqRel) == 0
    }

    /// Owner: the node came out of the inbox.
    pub(crate) fn taken(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}
