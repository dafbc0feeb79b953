//! Functions posted from any thread to the one that owns an `EventLoop`: an inbox whose nodes are
//! the functions themselves, one allocation each, and a count of those who may still post.
//!
//! Called by `event` (`post`, `enter`, `leave` from any thread; the rest on the loop's own). No
//! stacks, system calls or thread-locals in here, so that the model checker can run it.
//!
//! ```text
//!   letter: made by post ──► in the inbox ──► Parcel ── open ─► called     (each exactly once)
//!                 │ closed: dropped             └ drop ──► dropped
//!   posters: n ── leave ──► n - 1 … 1 ── leave ──► 0, and a letter that does nothing
//! ```
//!
//! Invariants: a letter is called or dropped exactly once, and called by the consumer only. What a
//! poster posted before it left is in the inbox before the count is 0; whoever brings it to 0 posts
//! after that, so that a consumer that sleeps looks at the count again.

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use super::inbox::{Closed, Inbox, Linked};
use crate::atomics::{AtomicPtr, AtomicU32, Ordering};

/// What every letter begins with. `C` is what its function is called with.
#[repr(C)]
struct Header<C> {
    next: AtomicPtr<Header<C>>,
    /// Frees the letter, after its function has been called with the context, if there is one.
    consume: unsafe fn(NonNull<Header<C>>, Option<&C>),
}

#[repr(C)]
struct Letter<C, F> {
    header: Header<C>,
    function: F,
}

// SAFETY: one field, used by the inbox alone.
unsafe impl<C> Linked for Header<C> {
    fn next(&self) -> &AtomicPtr<Header<C>> {
        &self.next
    }
}

/// # Safety
/// A letter made for `F` and not used since; the caller gives it up.
unsafe fn consume<C, F: FnOnce(&C)>(letter: NonNull<Header<C>>, context: Option<&C>) {
    // SAFETY: the header is the letter's first field; the caller's promise.
    let letter = unsafe { Box::from_raw(letter.cast::<Letter<C, F>>().as_ptr()) };
    if let Some(context) = context {
        (letter.function)(context);
    }
}

pub(crate) struct Mailbox<C> {
    inbox: Inbox<Header<C>>,
    /// How many may still post.
    posters: AtomicU32,
}

impl<C> Mailbox<C> {
    pub(crate) fn new() -> Mailbox<C> {
        Mailbox {
            inbox: Inbox::new(),
            posters: AtomicU32::new(0),
        }
    }

    /// Leaves a function for the consumer. True if the caller must now wake it.
    pub(crate) fn post<F>(&self, function: F) -> Result<bool, Closed>
    where
        F: FnOnce(&C) + Send + 'static,
    {
        let header = Header {
            next: AtomicPtr::new(ptr::null_mut()),
            consume: consume::<C, F>,
        };
        let letter = Box::new(Letter { header, function });
        let node = NonNull::from(Box::leak(letter)).cast::<Header<C>>();
        // SAFETY: a fresh node, owned by the inbox from now on.
        unsafe { self.inbox.push(node) }.inspect_err(|Closed| drop(Parcel(node)))
    }

    /// Somebody may post from now on.
    pub(crate) fn enter(&self) {
        self.posters.fetch_add(1, Ordering::Relaxed);
    }

    /// They will not any more. True if the caller must now wake the consumer.
    pub(crate) fn leave(&self) -> bool {
        // Release: what was posted is seen by whoever sees the count.
        let last = self.posters.fetch_sub(1, Ordering::AcqRel) == 1;
        last && self.post(|_| {}).unwrap_or(false)
    }

    /// Whether nothing lies here and nobody is left who could post. Consumer only.
    pub(crate) fn is_deserted(&self) -> bool {
        self.posters.load(Ordering::Acquire) == 0 && self.inbox.is_empty()
    }

    /// Takes everything, oldest first. Consumer only.
    pub(crate) fn take(&self) -> impl Iterator<Item = Parcel<C>> {
        self.inbox.take().map(Parcel)
    }

    /// Takes everything and refuses whatever comes later. Consumer only.
    pub(crate) fn close(&self) -> impl Iterator<Item = Parcel<C>> {
        self.inbox.close().map(Parcel)
    }

    /// See `Inbox::begin_sleep`. Consumer only.
    pub(crate) fn begin_sleep(&self) -> bool {
        self.inbox.begin_sleep()
    }

    /// See `Inbox::end_sleep`. Consumer only.
    pub(crate) fn end_sleep(&self) {
        self.inbox.end_sleep();
    }
}

/// A letter taken out of the mailbox, for its consumer to open; dropping it drops the function.
pub(crate) struct Parcel<C>(NonNull<Header<C>>);

impl<C> Parcel<C> {
    /// Calls the function.
    pub(crate) fn open(self, context: &C) {
        let letter = ManuallyDrop::new(self).0;
        // SAFETY: a letter made by `post` with its own function, taken out, and given up here.
        unsafe { (letter.as_ref().consume)(letter, Some(context)) };
    }
}

impl<C> Drop for Parcel<C> {
    fn drop(&mut self) {
        // SAFETY: as in `open`.
        unsafe { (self.0.as_ref().consume)(self.0, None) };
    }
}
