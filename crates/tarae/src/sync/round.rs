//! Rounds of so many parties: the state machine of `Barrier`.
//!
//! Called by `barrier`. No stacks, system calls or thread-locals in here, so that the model checker
//! can run it.
//!
//! Invariants: `arrived` is the length of the line. The last of a round lets all who are in line go
//! under the same lock, so that a round never takes its parties from two. One that leaves before
//! that has not arrived; one that leaves after it has taken part.

use std::sync::PoisonError;

use super::queue::{Queue, Ticket, Wakes};
use crate::atomics::{Mutex, MutexGuard, const_fn};

#[derive(Debug)]
pub(crate) struct Round<W>(Mutex<Inner<W>>);

#[derive(Debug)]
struct Inner<W> {
    arrived: usize,
    queue: Queue<W, ()>,
}

/// What came of arriving.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// The round was not complete yet.
    Early(Ticket),
    /// It is complete with this one.
    Last,
}

impl<W> Round<W> {
    const_fn! {
        pub(crate) fn new() -> Round<W> {
            Round(Mutex::new(Inner {
                arrived: 0,
                queue: Queue::new(),
            }))
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of `parties` is here.
    pub(crate) fn arrive(&self, parties: usize, waiter: W) -> (Arrived, Wakes<W>) {
        let mut inner = self.inner();
        if inner.arrived + 1 >= parties {
            inner.arrived = 0;
            return (Arrived::Last, inner.queue.grant_all(()));
        }
        inner.arrived += 1;
        (Arrived::Early(inner.queue.push(waiter, 0)), Wakes::none())
    }

    /// Whether the round is complete; the place is given back then.
    pub(crate) fn collect(&self, ticket: &Ticket) -> Option<()> {
        self.inner().queue.collect(ticket)
    }

    /// Gives the place back; says whether the round was complete.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<()> {
        let mut inner = self.inner();
        let complete = inner.queue.withdraw(ticket);
        if complete.is_none() {
            inner.arrived -= 1;
        }
        complete
    }
}
