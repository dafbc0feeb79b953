//! A job's record, as its pool and the one who waits see it, and the queue of those not begun.
//!
//! Used by `pool` (the queue, under its lock) and by the call in `mod` (the record, which stands in
//! its frame). No stacks, system calls or thread-locals in here, so that the model checker can run
//! it.
//!
//! ```text
//!              under the pool's lock            by the pool's thread alone
//!   QUEUED ─────────── pop ──────────► RUNNING ──────── complete ────────► DONE
//!      └───────────── withdraw ──────► WITHDRAWN
//! ```
//!
//! Invariants: exactly one of `pop` and `withdraw` takes a record out of the queue. The links
//! belong to whoever holds the lock; the waiter's place belongs to the pool's thread from `pop` on.
//! The owner may free the record when `withdraw` gave true or `is_done` does, and not before. So
//! the store of DONE is the last touch of a pool's thread: it moves the waiter out first and wakes
//! it afterwards, when the record may be gone. What the job wrote is seen by who sees DONE.

use core::ptr::NonNull;

use crate::atomics::{AtomicU32, Ordering, UnsafeCell};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;
const WITHDRAWN: u32 = 3;

type Link<W> = Option<NonNull<Record<W>>>;

#[derive(Debug)]
pub(crate) struct Record<W> {
    state: AtomicU32,
    older: UnsafeCell<Link<W>>,
    younger: UnsafeCell<Link<W>>,
    waiter: UnsafeCell<Option<W>>,
}

// SAFETY: whoever looks into the cells promises to be the one whose turn it is (see above); waiters
// are handed from the owner to a pool's thread.
unsafe impl<W: Send> Send for Record<W> {}
// SAFETY: as above.
unsafe impl<W: Send> Sync for Record<W> {}

impl<W> Record<W> {
    /// Of a job that `waiter` waits for; with none, `set_waiter` comes before the push.
    pub(crate) fn new(waiter: Option<W>) -> Record<W> {
        Record {
            state: AtomicU32::new(QUEUED),
            older: UnsafeCell::new(None),
            younger: UnsafeCell::new(None),
            waiter: UnsafeCell::new(waiter),
        }
    }

    /// Gives it a waiter.
    ///
    /// # Safety
    /// By the owner, before the record is pushed.
    pub(crate) unsafe fn set_waiter(&self, waiter: W) {
        // SAFETY: nobody else has the record yet.
        self.waiter
            .with_mut(|place| unsafe { *place = Some(waiter) });
    }

    /// Whether the job has ended: its result is in place and nobody else touches the record.
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Looks at the waiter; there is none after the end.
    ///
    /// # Safety
    /// By the thread that popped the record, before it completes it, or by the owner when the
    /// record is out.
    pub(crate) unsafe fn with_waiter<R>(&self, f: impl FnOnce(Option<&W>) -> R) -> R {
        // SAFETY: at those times the place is the caller's.
        self.waiter
            .with_mut(|place| f(unsafe { (*place).as_ref() }))
    }

    /// The end: the result is in place. Gives the waiter, to be woken now; `this` must not be
    /// touched any more.
    ///
    /// # Safety
    /// Once, by the thread that popped `this`, or by the owner who withdrew it or never
    /// pushed it.
    pub(crate) unsafe fn complete(this: NonNull<Record<W>>) -> W {
        // Not `&self`: that reference would have to stay valid beyond the store.
        let record = this.as_ptr();
        // SAFETY: alive until the store, and the waiter's place is this thread's.
        let waiter = unsafe { (*record).waiter.with_mut(|place| (*place).take()) };
        // SAFETY: as above.
        unsafe { (*record).state.store(DONE, Ordering::Release) };
        waiter.expect("a record is completed once")
    }
}

/// Records in the order they came. Each is owned by the frame it stands in.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    oldest: Link<W>,
    youngest: Link<W>,
    length: usize,
}

// SAFETY: whoever holds the queue may touch the links of what is in it; waiters are handed over.
unsafe impl<W: Send> Send for Queue<W> {}

impl<W> Queue<W> {
    pub(crate) const fn new() -> Queue<W> {
        Queue {
            oldest: None,
            youngest: None,
            length: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds a record.
    ///
    /// # Safety
    /// It was never in a queue, and it stays alive and in place until `withdraw` or `is_done` says
    /// that it is out.
    pub(crate) unsafe fn push(&mut self, record: NonNull<Record<W>>) {
        // SAFETY: alive, and the links are ours: it is in no other queue.
        unsafe { record.as_ref().older.with_mut(|link| *link = self.youngest) };
        match self.youngest {
            // SAFETY: queued, so alive; the queue is ours.
            Some(youngest) => unsafe {
                youngest
                    .as_ref()
                    .younger
                    .with_mut(|link| *link = Some(record));
            },
            None => self.oldest = Some(record),
        }
        self.youngest = Some(record);
        self.length += 1;
    }

    /// Takes the oldest record: its job is the caller's to run and to complete.
    pub(crate) fn pop(&mut self) -> Link<W> {
        let record = self.oldest?;
        // SAFETY: queued, so alive, and the queue is ours.
        unsafe { self.take_out(record, RUNNING) };
        Some(record)
    }

    /// Takes the record out unless its job has begun: it never will.
    ///
    /// # Safety
    /// By the record's owner, after it pushed it to this queue.
    pub(crate) unsafe fn withdraw(&mut self, record: NonNull<Record<W>>) -> bool {
        // SAFETY: the owner keeps it alive.
        let queued = unsafe { record.as_ref() }.state.load(Ordering::Relaxed) == QUEUED;
        if queued {
            // SAFETY: queued in this queue, which is ours.
            unsafe { self.take_out(record, WITHDRAWN) };
        }
        queued
    }

    /// # Safety
    /// `record` is in this queue.
    unsafe fn take_out(&mut self, record: NonNull<Record<W>>, state: u32) {
        // SAFETY: queued, so alive; the links of all that is queued are ours.
        let (older, younger) = unsafe {
            let record = record.as_ref();
            record.state.store(state, Ordering::Relaxed);
            let older = record.older.with_mut(|link| (*link).take());
            (older, record.younger.with_mut(|link| (*link).take()))
        };
        match older {
            // SAFETY: as above.
            Some(older) => unsafe { older.as_ref().younger.with_mut(|link| *link = younger) },
            None => self.oldest = younger,
        }
        match younger {
            // SAFETY: as above.
            Some(younger) => unsafe { younger.as_ref().older.with_mut(|link| *link = older) },
            None => self.youngest = older,
        }
        self.length -= 1;
    }
}
