//! Waiting for what everybody who waits is told of: the receivers of `broadcast` and `watch`, and
//! the branch of a `select!` that is one.
//!
//! Used by those two. Whoever waits stands in a line that each event empties; it then looks again.

use std::time::Instant;

use super::waiters::{Key, Waiters};
use crate::driver::Wake;
use crate::sched::select::{Alarm, Branch, Ticket, arm};
use crate::sched::{self, Cancel, WaitReason, context};

/// Those who wait for the next event.
pub(in crate::sync) type Line = Waiters<(), Alarm>;

impl Line {
    /// Everybody, to be woken once the lock is free.
    pub(in crate::sync) fn empty(&mut self) -> Vec<Alarm> {
        let keys = std::iter::from_fn(|| self.next()).collect::<Vec<_>>();
        keys.into_iter()
            .filter_map(|key| self.waiter(key))
            .collect()
    }
}

/// A receiver: what it can find, and its line.
pub(in crate::sync) trait Listen {
    type Found;

    /// What is there for it, without waiting.
    fn look(&self) -> Option<Self::Found>;

    /// Whether there is something, which stays there.
    fn is_ready(&self) -> bool;

    /// Stands in line.
    fn enter(&self, alarm: Alarm) -> Key;

    /// Leaves its place.
    fn leave(&self, key: Key);

    /// The wait ended with this.
    fn refused(&self, wake: Wake) -> Self::Found;
}

/// Waits until there is something.
pub(in crate::sync) fn listen<L: Listen>(listener: &L, deadline: Option<Instant>) -> L::Found {
    let mut wake = Wake::Ready;
    loop {
        if let Some(found) = listener.look() {
            context::succeeded(deadline, wake);
            sched::spend_budget();
            return found;
        }
        if wake != Wake::Ready {
            return listener.refused(wake);
        }
        let key = listener.enter(Alarm::current());
        // It may have come before the line was entered.
        let found = listener.look();
        if found.is_none() {
            wake = sched::park(WaitReason::Channel, deadline, Cancel::Yes);
        }
        listener.leave(key);
        if let Some(found) = found {
            return found;
        }
    }
}

/// See [`select!`](crate::select!).
pub struct ListenBranch<'a, F> {
    listener: &'a dyn Listen<Found = F>,
    key: Option<Key>,
    found: Option<F>,
}

impl<'a, F> ListenBranch<'a, F> {
    pub(in crate::sync) fn new(listener: &'a dyn Listen<Found = F>) -> ListenBranch<'a, F> {
        ListenBranch {
            listener,
            key: None,
            found: None,
        }
    }

    /// What was found; the branch was taken.
    #[doc(hidden)]
    pub fn take(&mut self) -> F {
        self.found.take().expect("the branch was taken")
    }

    arm!();
}

impl<F> Branch for ListenBranch<'_, F> {
    fn poll(&mut self, _waits: bool) -> bool {
        self.found = self.listener.look();
        self.found.is_some()
    }

    fn register(&mut self, ticket: &Ticket) -> bool {
        self.key = Some(self.listener.enter(Alarm::Branch(ticket.clone())));
        self.listener.is_ready()
    }

    fn unregister(&mut self) {
        if let Some(key) = self.key.take() {
            self.listener.leave(key);
        }
    }

    fn refuse(&mut self, wake: Wake) {
        self.found = Some(self.listener.refused(wake));
    }
}

impl<F> Drop for ListenBranch<'_, F> {
    fn drop(&mut self) {
        self.unregister();
    }
}
