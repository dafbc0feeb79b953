//! Waiting to be told: the state machine of `Condvar` and `Notify`, and the waiting room of `Once`
//! and `WaitGroup`.
//!
//! Called by those. No stacks, system calls or thread-locals in here, so that the model checker can
//! run it.
//!
//! ```text
//!   enter ──► in line ── tell_one, tell_all ──► told ── collect, withdraw ──► out
//!     └ takes the permit that `tell_one(keep)` left when nobody was in line
//! ```
//!
//! Invariants: each `tell_one` reaches exactly one who was in line when it came, the one who came
//! first, or leaves one permit if it is to be kept. One that was told and leaves for another reason
//! learns so from `withdraw`. Whoever enters before it looks at a condition misses no change of it
//! that is followed by a tell: both go through the lock.

use std::sync::PoisonError;

use super::queue::{Queue, Ticket, Wakes};
use crate::atomics::{Mutex, MutexGuard, const_fn};

#[derive(Debug)]
pub(crate) struct Signal<W>(Mutex<Inner<W>>);

#[derive(Debug)]
struct Inner<W> {
    permit: bool,
    queue: Queue<W, Told>,
}

/// How somebody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Alone: nobody else has been told in its place.
    Alone,
    /// With everybody else.
    WithAll,
}

impl<W> Signal<W> {
    const_fn! {
        pub(crate) fn new() -> Signal<W> {
            Signal(Mutex::new(Inner {
                permit: false,
                queue: Queue::new(),
            }))
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands in line, unless there was a permit, which is used up.
    pub(crate) fn enter(&self, waiter: W) -> Option<Ticket> {
        let mut inner = self.inner();
        if std::mem::take(&mut inner.permit) {
            return None;
        }
        Some(inner.queue.push(waiter, 0))
    }

    /// Tells the first in line; if there is none, leaves a permit if that is to be kept.
    #[must_use = "it sleeps on what it was told"]
    pub(crate) fn tell_one(&self, keep: bool) -> Option<W> {
        let mut inner = self.inner();
        let waiter = inner.queue.grant_oldest(Told::Alone);
        inner.permit |= keep && waiter.is_none();
        waiter
    }

    /// Tells all who are in line.
    pub(crate) fn tell_all(&self) -> Wakes<W> {
        self.inner().queue.grant_all(Told::WithAll)
    }

    /// Whether its holder has been told; the place is given back then.
    pub(crate) fn collect(&self, ticket: &Ticket) -> Option<Told> {
        self.inner().queue.collect(ticket)
    }

    /// Gives the place back; says whether its holder had been told.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<Told> {
        self.inner().queue.withdraw(ticket)
    }
}
