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

use crate::driver::slab::NONE;

/// Names an entry until it is removed.
pub(crate) type Key = u32;

/// One who waits, as far as a queue can tell.
pub(crate) trait Claim {
    /// Whether it still waits for this: it is then bound to be woken. A branch of a `select!`
    /// refuses when another one has won.
    fn claim(&self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody's; `next` names another one.
    Free,
    Queued,
    Served,
}

#[derive(Debug)]
struct Entry<D, W> {
    /// Until it is handed out.
    waiter: Option<W>,
    /// What the queue's owner keeps with it.
    data: D,
    state: State,
    prev: Key,
    next: Key,
}

/// Entries keep their place until they are removed; a place is used again in place, since an entry
/// carries a message and whoever waits pays for each move of it.
#[derive(Debug)]
pub(crate) struct Waiters<D, W> {
    entries: Vec<Entry<D, W>>,
    free: Key,
    head: Key,
    tail: Key,
}

impl<D, W: Claim> Waiters<D, W> {
    pub(crate) fn new() -> Waiters<D, W> {
        Waiters {
            entries: Vec::new(),
            free: NONE,
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
        let used = |entry: &&Entry<D, W>| entry.state != State::Free;
        self.entries.iter().filter(used).count()
    }

    /// Queues one at the end.
    #[inline(always)]
    pub(crate) fn push(&mut self, waiter: W, data: D) -> Key {
        let tail = self.tail;
        let key = self.add(Entry {
            waiter: Some(waiter),
            data,
            state: State::Queued,
            prev: tail,
            next: NONE,
        });
        self.tail = key;
        match tail {
            NONE => self.head = key,
            tail => self.entry(tail).next = key,
        }
        key
    }

    /// Adds one that is served already, by somebody who will give it what it wants.
    pub(crate) fn insert(&mut self, waiter: W, data: D) -> Key {
        self.add(Entry {
            waiter: Some(waiter),
            data,
            state: State::Served,
            prev: NONE,
            next: NONE,
        })
    }

    #[inline(always)]
    fn add(&mut self, entry: Entry<D, W>) -> Key {
        let key = self.free;
        match self.entries.get_mut(key as usize) {
            Some(place) => {
                self.free = place.next;
                *place = entry;
                key
            }
            None => self.grow(entry),
        }
    }

    #[cold]
    fn grow(&mut self, entry: Entry<D, W>) -> Key {
        self.entries.push(entry);
        Key::try_from(self.entries.len() - 1).expect("fewer than 2^32 entries")
    }

    #[inline(always)]
    fn entry(&mut self, key: Key) -> &mut Entry<D, W> {
        let entry = &mut self.entries[key as usize];
        debug_assert_ne!(entry.state, State::Free, "an entry that was pushed");
        entry
    }

    /// What is kept with an entry.
    #[inline(always)]
    pub(crate) fn data(&mut self, key: Key) -> &mut D {
        &mut self.entry(key).data
    }

    /// Whether it still stands in the queue.
    #[inline(always)]
    pub(crate) fn is_queued(&self, key: Key) -> bool {
        self.entries[key as usize].state == State::Queued
    }

    /// The waiter of a served entry, to be woken; `None` if it was handed out before.
    #[inline(always)]
    pub(crate) fn waiter(&mut self, key: Key) -> Option<W> {
        self.entry(key).waiter.take()
    }

    /// Takes the first one that still waits out of the queue; its entry stays.
    #[inline(always)]
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
    #[inline]
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

    /// Takes an entry out for good, of which everything has been taken that was put into it. Gives
    /// its waiter if that was not handed out.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: Key) -> Option<W> {
        if self.is_queued(key) {
            self.unlink(key);
        }
        let free = std::mem::replace(&mut self.free, key);
        let entry = self.entry(key);
        entry.state = State::Free;
        entry.next = free;
        entry.waiter.take()
    }

    #[inline(always)]
    fn unlink(&mut self, key: Key) {
        let entry = self.entry(key);
        entry.state = State::Served;
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
    others: Option<Vec<W>>,
}

impl<W> Woken<W> {
    #[inline]
    pub(crate) fn new() -> Woken<W> {
        Woken {
            first: None,
            others: None,
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, waiter: Option<W>) {
        match waiter {
            Some(waiter) if self.first.is_some() => {
                self.others.get_or_insert_default().push(waiter);
            }
            Some(waiter) => self.first = Some(waiter),
            None => {}
        }
    }

    /// Hands them to `wake`.
    #[inline]
    pub(crate) fn each(self, mut wake: impl FnMut(W)) {
        if let Some(first) = self.first {
            wake(first);
        }
        if let Some(others) = self.others {
            others.into_iter().for_each(wake);
        }
    }
}
