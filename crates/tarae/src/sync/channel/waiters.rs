//! Those who wait at a channel, first come, first served. Pure.
//!
//! Used by `core` under the channel's lock, and by `broadcast` and `watch`. Nothing here wakes
//! anybody: a waiter is handed out, and woken when the lock is free again.
//!
//! ```text
//!   push ──► queued ── next: claimed, or refused its claim ──► served ── remove ──► gone
//!               └───────────────────── remove ────────────────────────────────────► gone
//! ```
//!
//! Invariants: an entry is removed by whoever pushed it, and by nobody else, so a key stays good
//! until then. A queued entry has its waiter; the waiter is handed out once.

use crate::driver::slab::{NONE, Slab};

/// Names an entry until it is removed.
pub(crate) type Key = u32;

/// One who waits, as far as a queue can tell.
pub(crate) trait Claim {
    /// Whether it still waits for this: it is then bound to be woken. A branch of a `select!`
    /// refuses when another one has won.
    fn claim(&self) -> bool;
}

#[derive(Debug)]
pub(crate) struct Entry<D, W> {
    waiter: Option<W>,
    /// What the queue's owner keeps with it.
    pub(crate) data: D,
    queued: bool,
    prev: Key,
    next: Key,
}

#[derive(Debug)]
pub(crate) struct Waiters<D, W> {
    entries: Slab<Entry<D, W>>,
    head: Key,
    tail: Key,
}

impl<D, W: Claim> Waiters<D, W> {
    pub(crate) fn new() -> Waiters<D, W> {
        Waiters {
            entries: Slab::new(),
            head: NONE,
            tail: NONE,
        }
    }

    /// Whether nobody is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Entries, queued or served.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Queues one at the end.
    pub(crate) fn push(&mut self, waiter: W, data: D) -> Key {
        let key = self.insert(waiter, data);
        let tail = std::mem::replace(&mut self.tail, key);
        let entry = self.entry(key);
        entry.queued = true;
        entry.prev = tail;
        match tail {
            NONE => self.head = key,
            tail => self.entry(tail).next = key,
        }
        key
    }

    /// Adds one that is served already, by somebody who will give it what it wants.
    pub(crate) fn insert(&mut self, waiter: W, data: D) -> Key {
        self.entries.insert(Entry {
            waiter: Some(waiter),
            data,
            queued: false,
            prev: NONE,
            next: NONE,
        })
    }

    fn entry(&mut self, key: Key) -> &mut Entry<D, W> {
        self.entries.get_mut(key).expect("an entry that was pushed")
    }

    /// What is kept with an entry.
    pub(crate) fn data(&mut self, key: Key) -> &mut D {
        &mut self.entry(key).data
    }

    /// Whether it still stands in the queue.
    pub(crate) fn is_queued(&mut self, key: Key) -> bool {
        self.entry(key).queued
    }

    /// The waiter of a served entry, to be woken; `None` if it was handed out before.
    pub(crate) fn waiter(&mut self, key: Key) -> Option<W> {
        self.entry(key).waiter.take()
    }

    /// Takes the first one that still waits out of the queue; its entry stays.
    pub(crate) fn next(&mut self) -> Option<Key> {
        while self.head != NONE {
            let key = self.head;
            self.unlink(key);
            let waiter = self.entry(key).waiter.as_ref();
            if waiter.is_some_and(Claim::claim) {
                return Some(key);
            }
        }
        None
    }

    /// As `next`, of those whose data is as wanted; the others keep their places.
    pub(crate) fn next_where(&mut self, wanted: impl Fn(&D) -> bool) -> Option<Key> {
        let mut key = self.head;
        while key != NONE {
            let entry = self.entry(key);
            let after = entry.next;
            if wanted(&entry.data) {
                let claimed = entry.waiter.as_ref().is_some_and(Claim::claim);
                self.unlink(key);
                if claimed {
                    return Some(key);
                }
            }
            key = after;
        }
        None
    }

    /// Takes an entry out for good.
    pub(crate) fn remove(&mut self, key: Key) -> Entry<D, W> {
        if self.is_queued(key) {
            self.unlink(key);
        }
        self.entries.remove(key)
    }

    fn unlink(&mut self, key: Key) {
        let entry = self.entry(key);
        entry.queued = false;
        let (prev, next) = (entry.prev, entry.next);
        match prev {
            NONE => self.head = next,
            prev => self.entry(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.entry(next).prev = prev,
        }
    }
}

/// Waiters to be woken once the lock is free; room for one without an allocation.
pub(crate) struct Woken<W> {
    first: Option<W>,
    others: Vec<W>,
}

impl<W> Woken<W> {
    pub(crate) fn new() -> Woken<W> {
        Woken {
            first: None,
            others: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, waiter: Option<W>) {
        match waiter {
            Some(waiter) if self.first.is_some() => self.others.push(waiter),
            Some(waiter) => self.first = Some(waiter),
            None => {}
        }
    }

    /// Hands them to `wake`.
    pub(crate) fn each(self, mut wake: impl FnMut(W)) {
        if let Some(first) = self.first {
            wake(first);
        }
        if !self.others.is_empty() {
            self.others.into_iter().for_each(wake);
        }
    }
}
