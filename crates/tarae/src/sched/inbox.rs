//! The inbox of a worker: the only way in from other threads, and the handshake with its sleep.
//!
//! Called by `sched::shared` (push, from any thread) and `sched::worker` (the rest, its own thread
//! only). No stacks, system calls or thread-locals in here, so that the model checker can run it.
//!
//! ```text
//!   head: null ── push ──► node ── push ──► node → node        consumer takes the whole list
//!    any state ── close ─► CLOSED                              every later push is refused
//!
//!   producer                                consumer
//!   1 link the node, CAS head (release)     1 sleeping := 1
//!   2 list was empty? fence(SeqCst)         2 fence(SeqCst)
//!   3 swap sleeping 1 → 0: write eventfd    3 head == null? then really wait, else sleeping := 0
//! ```
//!
//! Invariants: a node is in at most one list. Either the producer sees `sleeping`, or the consumer
//! sees the node: the two fences forbid that both miss. A producer that found the list non-empty
//! need not look at `sleeping`: whoever made it non-empty does. (loom weakens SeqCst accesses to
//! acquire/release, hence fences.)

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::atomics::{AtomicPtr, AtomicU32, Ordering, fence};

/// Something that can stand in one inbox at a time.
///
/// # Safety
/// `next` gives the same field on every call, used by nothing else while the node is in an inbox.
pub(crate) unsafe trait Linked: Sized {
    fn next(&self) -> &AtomicPtr<Self>;
}

/// A multi-producer list of nodes, taken whole by its one consumer.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    head: AtomicPtr<T>,
    /// 1 while the consumer waits, or is about to, and nobody has undertaken to wake it.
    sleeping: AtomicU32,
}

/// The nodes of one `take`, oldest first.
pub(crate) struct Nodes<T> {
    next: *mut T,
    owns: PhantomData<T>,
}

/// The inbox was closed; the node stays with the caller.
#[derive(Debug)]
pub(crate) struct Closed;

impl<T: Linked> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            sleeping: AtomicU32::new(0),
        }
    }

    fn closed() -> *mut T {
        // Never dereferenced; no node lies at an unaligned address.
        ptr::without_provenance_mut(1)
    }

    /// Adds a node. True if the caller must now wake the consumer.
    ///
    /// # Safety
    /// `node` is in no inbox and stays alive until it has been taken out.
    pub(crate) unsafe fn push(&self, node: NonNull<T>) -> Result<bool, Closed> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == Self::closed() {
                return Err(Closed);
            }
            // SAFETY: alive, and ours alone until the exchange succeeds.
            unsafe { node.as_ref() }
                .next()
                .store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if !head.is_null() {
            return Ok(false);
        }
        fence(Ordering::SeqCst);
        Ok(self.claim_wake())
    }

    /// True if the consumer sleeps and the caller has undertaken to wake it.
    pub(crate) fn claim_wake(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) == 1 && self.sleeping.swap(0, Ordering::AcqRel) == 1
    }

    /// Whether a `take` would find nothing. Consumer only.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything. Consumer only.
    pub(crate) fn take(&self) -> Nodes<T> {
        if self.is_empty() {
            return Nodes {
                next: ptr::null_mut(),
                owns: PhantomData,
            };
        }
        Nodes::reversed(self.head.swap(ptr::null_mut(), Ordering::AcqRel))
    }

    /// Takes everything and refuses every later push. Consumer only.
    pub(crate) fn close(&self) -> Nodes<T> {
        Nodes::reversed(self.head.swap(Self::closed(), Ordering::AcqRel))
    }

    /// Lets pushes in again after `close`.
    pub(crate) fn reopen(&self) {
        self.head.store(ptr::null_mut(), Ordering::Release);
    }

    /// Announces that the consumer is about to wait. False if there is something to take: do not
    /// wait then. Either way, `end_sleep` follows. Consumer only.
    pub(crate) fn begin_sleep(&self) -> bool {
        self.sleeping.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.head.load(Ordering::Acquire).is_null()
    }

    /// Takes the announcement back. Consumer only.
    pub(crate) fn end_sleep(&self) {
        self.sleeping.store(0, Ordering::Relaxed);
    }
}

impl<T: Linked> Nodes<T> {
    /// The list as pushed is newest first; turns it round.
    fn reversed(mut newest: *mut T) -> Nodes<T> {
        if newest == Inbox::<T>::closed() {
            newest = ptr::null_mut();
        }
        let mut oldest = ptr::null_mut();
        while let Some(node) = NonNull::new(newest) {
            // SAFETY: taken out of the inbox, so ours alone; alive by the promise of `push`.
            let link = unsafe { node.as_ref() }.next();
            newest = link.load(Ordering::Relaxed);
            link.store(oldest, Ordering::Relaxed);
            oldest = node.as_ptr();
        }
        Nodes {
            next: oldest,
            owns: PhantomData,
        }
    }
}

impl<T: Linked> Iterator for Nodes<T> {
    type Item = NonNull<T>;

    fn next(&mut self) -> Option<NonNull<T>> {
        let node = NonNull::new(self.next)?;
        // SAFETY: as in `reversed`; the caller has not been given the node yet.
        self.next = unsafe { node.as_ref() }.next().load(Ordering::Relaxed);
        Some(node)
    }
}
