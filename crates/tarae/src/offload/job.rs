//! One offloaded call: its closure, its result and its record, all in the frame of who waits.
//!
//! Made by the call in `mod`, run by the threads of `pool`.
//!
//! Invariants. The stage belongs to the waiting side before the push, to the pool's thread from
//! `pop` to `complete`, and to the waiting side again when the record is done or withdrawn. The
//! closure runs at most once; it and its result change threads, so both are `Send`; neither is
//! `'static`: whoever made the job must not leave its frame before one of the two.

use std::cell::{Cell, UnsafeCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::thread;

use super::record::Record;
use crate::sched::Unparker;
use crate::sched::context::{self, Captured, Client};
use crate::sched::shared::Shared;
use crate::sched::worker::Worker;

thread_local! {
    /// Whether this is a pool's thread that runs a job.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// The part of a job that does not depend on its types. The record comes first: the queue's pointer
/// is the job's.
#[repr(C)]
pub(super) struct Header {
    record: Record<Client>,
    run: unsafe fn(NonNull<Header>),
    /// The deadlines, tokens and scopes that the waiting side stands inside of.
    context: Cell<Captured>,
    /// The worker whose coroutine waits, which keeps count of what borrows from its thread.
    home: Option<&'static Shared>,
}

#[repr(C)]
pub(super) struct Job<F, T> {
    header: Header,
    stage: UnsafeCell<Stage<F, T>>,
}

enum Stage<F, T> {
    Waiting(F),
    Taken,
    Ended(thread::Result<T>),
}

impl<F: FnOnce() -> T + Send, T: Send> Job<F, T> {
    /// Of the coroutine, or the plain thread, that calls this.
    pub(super) fn new(work: F) -> Job<F, T> {
        let worker = Worker::current().filter(|worker| worker.in_coroutine());
        let home = worker.map(Worker::shared);
        if let Some(home) = home {
            home.lend();
        }
        Job {
            header: Header {
                record: Record::new(Some(Client::Waiter(Unparker::current()))),
                run: run::<F, T>,
                context: Cell::new(context::capture()),
                home,
            },
            stage: UnsafeCell::new(Stage::Waiting(work)),
        }
    }

    pub(super) fn record(&self) -> &Record<Client> {
        &self.header.record
    }

    /// For the queue. It points to the whole job.
    pub(super) fn as_ptr(&self) -> NonNull<Record<Client>> {
        NonNull::from(self).cast()
    }

    /// The job was never queued, or was withdrawn.
    pub(super) fn abandon(self) {
        if let Some(home) = self.header.home {
            home.give_back();
        }
    }

    /// What the closure gave; its panic goes on here.
    pub(super) fn into_result(self) -> T {
        match self.stage.into_inner() {
            Stage::Ended(Ok(value)) => value,
            Stage::Ended(Err(payload)) => panic::resume_unwind(payload),
            _ => unreachable!("a job that is done has left its result"),
        }
    }
}

/// # Safety
/// `header` is a `Job<F, T>`'s, and this is the thread that popped its record.
unsafe fn run<F: FnOnce() -> T, T>(header: NonNull<Header>) {
    // SAFETY: the caller's promise; taking the cell's address reads nothing.
    let stage = unsafe { (*header.cast::<Job<F, T>>().as_ptr()).stage.get() };
    // SAFETY: from `pop` to `complete` the stage is this thread's.
    let taken = unsafe { mem::replace(&mut *stage, Stage::Taken) };
    let Stage::Waiting(work) = taken else {
        unreachable!("a job runs once")
    };
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    // SAFETY: as above.
    unsafe { *stage = Stage::Ended(result) };
}

/// Runs a job, in a pool's thread. True if somebody waits for it, who is not told yet.
///
/// # Safety
/// `record` was popped from the pool's queue by the caller; once.
pub(super) unsafe fn perform(record: NonNull<Record<Client>>) -> bool {
    // SAFETY: popped, so alive until completed, and its waiter's place is this thread's.
    let client = unsafe { record.as_ref().with_waiter(|client| client.cloned()) };
    RUNNING.set(true);
    let is_awaited = match client {
        Some(Client::Started(job)) => {
            // SAFETY: popped by the caller; once. The job, which has the record, is kept here.
            drop(unsafe { Record::complete(record) });
            job.run();
            false
        }
        client => {
            let header = record.cast::<Header>();
            // SAFETY: alive, as above; somebody waits, so it was made by `Job::as_ptr`. The context
            // is this thread's.
            unsafe {
                let header_ref = header.as_ref();
                context::lend_thread(header_ref.context.take(), client);
                (header_ref.run)(header);
            }
            context::lend_thread(Captured::default(), None);
            true
        }
    };
    RUNNING.set(false);
    is_awaited
}

/// Tells the waiter of a job that it has ended.
///
/// # Safety
/// Once, by the caller of `perform` and after it gave true; `record` is not touched any more.
pub(super) unsafe fn tell(record: NonNull<Record<Client>>) {
    // Nothing of the waiting side is used any more. Its worker's part is never freed.
    // SAFETY: popped and not completed, so alive.
    if let Some(home) = unsafe { record.cast::<Header>().as_ref() }.home {
        home.give_back();
    }
    // SAFETY: the caller's promise.
    if let Client::Waiter(waiter) = unsafe { Record::complete(record) } {
        waiter.unpark();
    }
}

/// Whether this is a pool's thread.
pub(super) fn is_running() -> bool {
    RUNNING.get()
}
