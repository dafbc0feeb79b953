//! The starters of offloaded jobs, which `offload` exports, and the job they share with `io` and
//! `fs`.
//!
//! One allocation holds the closure, its record in the pool's queue and the completion. The record
//! keeps it alive while it is queued.
//!
//! Invariants: `pop` and `withdraw` exclude each other, and whoever had the record completes, once.
//! The record is not touched after that.

use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::operation::{Cancel, Core, Operation, Outcome, complete};
use super::{Completion, CompletionError};
use crate::driver::Wake;
use crate::offload::{OffloadError, Pool, Record};
use crate::sched;
use crate::sched::cancel::Member;
use crate::sched::context::{self, Captured, Client, Started};

/// What a pool's thread is to do.
pub(crate) trait Work: Send + 'static {
    type Output: Send + 'static;

    fn run(self) -> Self::Output;

    /// It will never run.
    fn refuse(self, error: OffloadError) -> Outcome<Self::Output>;
}

/// A plain closure.
struct Closure<F>(F);

impl<F, T> Work for Closure<F>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;

    fn run(self) -> T {
        (self.0)()
    }

    fn refuse(self, error: OffloadError) -> Outcome<T> {
        Err(CompletionError::of_pool(error))
    }
}

struct Job<W: Work> {
    record: Record<Client>,
    pool: Pool,
    core: Core<W::Output>,
    work: Mutex<Option<W>>,
    is_cancelled: AtomicBool,
    /// The thread that runs it, while it does.
    thread: Mutex<Option<Member>>,
}

/// Has `f` run on a thread of the [blocking](Pool::Blocking) pool, and gives its [`Completion`]:
/// [`offload`](fn@crate::offload) for those who go on meanwhile. See [`start_in`].
///
/// # Examples
///
/// ```
/// let (tell, told) = std::sync::mpsc::channel();
/// // No runtime is needed; the callback runs on the pool's thread.
/// let text = tarae::offload::start(|| std::fs::read_to_string("/proc/self/comm"));
/// text.on_complete(move |text| {
///     let thread = std::thread::current();
///     tell.send((text.unwrap().is_ok(), thread.name().unwrap().to_owned())).unwrap();
/// });
/// let (is_read, thread) = told.recv().unwrap();
/// assert!(is_read && (thread.starts_with("tarae-blocking") || thread == "tarae-service"));
/// ```
#[track_caller]
pub fn start<F, T>(f: F) -> Completion<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    start_in(Pool::Blocking, f)
}

/// Has `f` run on a thread of `pool`, and gives its [`Completion`]. Never waits, and needs no
/// runtime. Since the caller goes on, `f` borrows nothing.
///
/// The completion's error is [`is_full`](CompletionError::is_full) when every thread is at work and
/// the queue is full, [`is_no_thread`](CompletionError::is_no_thread) when the pool has no thread
/// and the system gives it none.
///
/// When it is [cancelled](Completion::cancel) before a thread has taken it, it never runs; later it
/// sees that by [`thread::is_cancelled`](crate::thread::is_cancelled), and its waits end. Neither a
/// cancellation nor a deadline of the caller reaches it.
///
/// Unlike [`Pool::run`] it is queued in a pool's thread too: whoever waits there for its result
/// holds a thread that may be the one it needs. The end of a runtime does not end it. In a
/// [simulated run](crate::sim) `f` runs in a coroutine of its own.
///
/// # Examples
///
/// ```
/// use tarae::offload::{self, Pool};
///
/// let squares = offload::start_in(Pool::Cpu, || (1..=3).map(|n| n * n).collect::<Vec<_>>());
/// assert_eq!(squares.wait().unwrap(), [1, 4, 9]);
/// ```
#[track_caller]
pub fn start_in<F, T>(pool: Pool, f: F) -> Completion<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if sched::simulation().is_some() {
        return super::start(f);
    }
    submit(pool, Closure(f))
}

/// Queues a job; in a simulated run, which has no threads, does it right here.
pub(crate) fn start_work<W: Work>(pool: Pool, work: W) -> Completion<W::Output> {
    if sched::simulation().is_none() {
        return submit(pool, work);
    }
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| work.run()));
    super::io::ready(outcome.map_err(CompletionError::panicked))
}

/// Queues a job, or completes it at once if there is no room for it.
pub(super) fn submit<W: Work>(pool: Pool, work: W) -> Completion<W::Output> {
    let job = Arc::new(Job {
        record: Record::new(None),
        pool,
        core: Core::new(),
        work: Mutex::new(Some(work)),
        is_cancelled: AtomicBool::new(false),
        thread: Mutex::new(None),
    });
    let itself = Client::Started(Arc::<Job<W>>::clone(&job));
    // SAFETY: not pushed yet.
    unsafe { job.record.set_waiter(itself) };
    // SAFETY: fresh, and its waiter keeps it alive until it is out of the queue.
    if let Err(error) = unsafe { pool.submit(NonNull::from(&job.record)) } {
        // SAFETY: the pool has refused it, so it was never pushed.
        unsafe { job.refuse(error) };
    }
    Completion::new(job)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Work> Job<W> {
    /// Completes it without having run it.
    ///
    /// # Safety
    /// The record is withdrawn by the caller, or was never pushed; once.
    unsafe fn refuse(self: &Arc<Self>, error: OffloadError) {
        // SAFETY: the caller's promise; what it gives is the reference that the record had.
        drop(unsafe { Record::complete(NonNull::from(&self.record)) });
        let work = locked(&self.work).take();
        let work = work.expect("it has not run");
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| work.refuse(error)));
        let outcome = outcome.unwrap_or_else(|payload| Err(CompletionError::panicked(payload)));
        // SAFETY: whoever had the record completes, once.
        unsafe { complete(self, outcome, false) };
    }
}

impl<W: Work> Started for Job<W> {
    fn run(self: Arc<Self>) {
        let work = locked(&self.work).take();
        let work = work.expect("a job runs once");
        let client = Client::Started(Arc::<Job<W>>::clone(&self));
        context::lend_thread(Captured::default(), Some(client));
        *locked(&self.thread) = Some(context::member());
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| work.run()));
        *locked(&self.thread) = None;
        context::lend_thread(Captured::default(), None);
        let outcome = outcome.map_err(CompletionError::panicked);
        // SAFETY: called for the record that was popped, once; on a pool's thread.
        unsafe { complete(&self, outcome, true) };
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }
}

impl<W: Work> Operation for Job<W> {
    type Output = W::Output;

    fn core(&self) -> &Core<W::Output> {
        &self.core
    }
}

impl<W: Work> Cancel for Job<W> {
    fn cancel(self: Arc<Self>) {
        self.is_cancelled.store(true, Ordering::Release);
        if self.core.state.is_complete() {
            // It may never have been pushed.
            return;
        }
        // SAFETY: submitted to this pool, and not refused, or it would have been complete before
        // anybody could cancel it.
        if unsafe { self.pool.withdraw(NonNull::from(&self.record)) } {
            // SAFETY: withdrawn by this call, which is true for one alone.
            unsafe { self.refuse(OffloadError::ended(Wake::Cancelled)) };
        } else if let Some(thread) = &*locked(&self.thread) {
            thread.tell();
        }
    }
}
