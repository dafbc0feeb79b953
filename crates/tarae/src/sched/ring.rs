//! A worker's unstarted coroutines, where other workers may take them: a bounded queue with one
//! producer and many consumers, first in, first out.
//!
//! Called by `sched::worker`: its own thread pushes and pops, thieves pop. No stacks, system calls
//! or thread-locals in here. A started coroutine never stands in it: those are pinned.
//!
//! ```text
//!   head ≤ tail ≤ head + N       entry i lives in slot i mod N from push to pop
//!   owner pushes:  slot := p, tail := tail + 1 (release)
//!   anybody pops:  read head, tail, slot; CAS head → head + 1; the winner owns what it read
//! ```
//!
//! Invariants: the counters only grow (64 bits never wrap), so the CAS succeeds only if the slot
//! read is the one popped. The owner overwrites a slot only after the CAS that emptied it.

use core::ptr::{self, NonNull};

use crate::atomics::{AtomicPtr, AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Ring<T, const N: usize> {
    head: AtomicU64,
    tail: AtomicU64,
    slots: [AtomicPtr<T>; N],
}

impl<T, const N: usize> Ring<T, N> {
    pub(crate) fn new() -> Ring<T, N> {
        Ring {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            slots: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Entries in the queue; a snapshot for everybody but a lone owner.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire).saturating_sub(head) as usize
    }

    /// Owner: adds an entry; gives it back when the queue is full.
    pub(crate) fn push(&self, entry: NonNull<T>) -> Result<(), NonNull<T>> {
        let tail = self.tail.load(Ordering::Relaxed);
        if tail - self.head.load(Ordering::Acquire) == N as u64 {
            return Err(entry);
        }
        self.slots[tail as usize % N].store(entry.as_ptr(), Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        Ok(())
    }

    /// Anybody: takes the oldest entry.
    pub(crate) fn pop(&self) -> Option<NonNull<T>> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            if head >= self.tail.load(Ordering::Acquire) {
                return None;
            }
            let entry = self.slots[head as usize % N].load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                head + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return NonNull::new(entry),
                Err(now) => head = now,
            }
        }
    }
}
