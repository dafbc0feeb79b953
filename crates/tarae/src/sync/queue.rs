//! A queue of those who wait for one thing, first come, first woken. Used by the locks of `sync`.
//!
//! Invariant: whoever is in the queue is parked or about to look again at what it waits for. The
//! counter lets the uncontended path skip the lock; its `SeqCst` accesses order "I queued" before
//! "I look" against "I released" before "I count".

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sched::Unparker;

#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    length: AtomicUsize,
    next_ticket: AtomicU64,
    waiters: Mutex<VecDeque<(u64, Unparker)>>,
}

impl WaitQueue {
    pub(super) const fn new() -> WaitQueue {
        WaitQueue {
            length: AtomicUsize::new(0),
            next_ticket: AtomicU64::new(0),
            waiters: Mutex::new(VecDeque::new()),
        }
    }

    fn waiters(&self) -> MutexGuard<'_, VecDeque<(u64, Unparker)>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the caller; look again at what is waited for, then park.
    pub(super) fn enter(&self) -> u64 {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let mut waiters = self.waiters();
        waiters.push_back((ticket, Unparker::current()));
        self.length.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        fence(Ordering::SeqCst);
        ticket
    }

    /// Takes the caller out. False if somebody has taken it out to wake it.
    pub(super) fn leave(&self, ticket: u64) -> bool {
        let mut waiters = self.waiters();
        let found = waiters.iter().position(|(other, _)| *other == ticket);
        if let Some(index) = found {
            waiters.remove(index);
            self.length.store(waiters.len(), Ordering::SeqCst);
        }
        found.is_some()
    }

    /// Wakes the one who has waited longest.
    pub(super) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiters = self.waiters();
        let first = waiters.pop_front();
        self.length.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        if let Some((_, waiter)) = first {
            waiter.unpark();
        }
    }
}
