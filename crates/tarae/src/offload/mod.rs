//! Step 7: work that would hold a worker up, on threads of its own.
//!
//! Public. Whatever computes for long, or calls something that blocks the thread, is given to
//! [`offload`](fn@offload): the closure runs on a thread of a pool, and the caller waits for its
//! result. A coroutine is parked meanwhile and its worker goes on with others; a plain thread
//! blocks. Since the caller waits, the closure may borrow from its stack.
//!
//! ```
//! tarae::run(|| {
//!     let text = String::from("to be or not to be");
//!     // Borrowed, not moved or cloned.
//!     let words = tarae::offload(|| text.split(' ').count()).unwrap();
//!     assert_eq!((words, text.len()), (6, 18));
//! })
//! .unwrap();
//! ```
//!
//! There are three pools in a process, shared by all its runtimes. Each starts a thread when a job
//! comes and none is idle, up to a limit; a thread that finds nothing to do for ten seconds ends.
//!
//! | pool | for | threads | their names |
//! | --- | --- | --- | --- |
//! | [`Pool::Cpu`] | computing | one for each core | `tarae-cpu-0`, … |
//! | [`Pool::Blocking`] | calls that block the thread | 512 | `tarae-blocking-0`, … |
//! | [`Pool::Dns`] | names, looked up by [`net`](crate::net) | 8 | `tarae-dns-0`, … |
//!
//! Beyond that, jobs queue: 65,536 in each pool. When the queue is full a caller waits in turn for
//! its place in it, and [`try_offload`] gives an error. [`Builder`] sets the limits.
//!
//! * **A panic** of the closure goes on in the caller, as with [`std::thread::scope`].
//! * **Cancellation.** When the caller is cancelled before the job has begun, it never runs, and
//!   the call gives an error; so it is with a [deadline](crate::cancel). A job that has begun is
//!   never cut short, for it may be using what it borrows: it sees the cancellation by
//!   [`thread::is_cancelled`](crate::thread::is_cancelled) and in its waits, is waited for, and its
//!   result is what the call gives.
//! * **In a pool's thread** every call here simply runs its closure. So a job may offload without
//!   a thought, and never waits for a thread that waits for it.
//! * **In a [simulated run](crate::sim)** there are no threads: the closure runs in the coroutine
//!   that called, after some others have had their turn, and takes no virtual time.
//! * **When the runtime ends** and a job goes on beyond the grace period, its coroutine is named in
//!   the error of [`run`](crate::run) and keeps its stack for good. The thread that called `run`
//!   keeps its thread-locals too, which the job may be using: its end, which is the process's in
//!   case of the main thread, waits for the job's.
//!
//! A job costs no allocation: it stands in the caller's frame. It does cost two wake-ups of
//! sleeping threads, some tens of microseconds; what takes less is better done in place.

mod job;
mod pool;
mod record;

use std::fmt;
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::time::Duration;

use crate::driver::Wake;
use crate::sched::context::Client;
use crate::sched::io::Cancelled;
use crate::sched::{self, Cancel, WaitReason, loop_thread};
use job::Job;
use pool::{Patience, Threads};
pub(crate) use record::Record;

pub use crate::completion::job::{start, start_in};

/// One of the three pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    /// For computing: as many threads as there are cores.
    Cpu,
    /// For calls that block the thread: many threads, most of which sleep.
    Blocking,
    /// For looking up names, so that a slow name server never uses up the threads of the others.
    Dns,
}

impl Pool {
    fn threads(self) -> &'static Threads {
        match self {
            Pool::Cpu => &pool::CPU,
            Pool::Blocking => &pool::BLOCKING,
            Pool::Dns => &pool::DNS,
        }
    }

    /// Queues the job of a completion, if there is room.
    ///
    /// # Safety
    /// `record` is that of a `Client::Started`, which keeps it alive; as for `Queue::push`.
    pub(crate) unsafe fn submit(self, record: NonNull<Record<Client>>) -> Result<(), OffloadError> {
        // SAFETY: the caller's promise.
        unsafe { self.threads().submit(record, Patience::None) }
    }

    /// Takes such a job back that no thread has taken; true for one caller alone.
    ///
    /// # Safety
    /// `record` was submitted to this pool, and is alive.
    pub(crate) unsafe fn withdraw(self, record: NonNull<Record<Client>>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.threads().withdraw(record) }
    }

    /// Runs `f` on a thread of this pool and waits for its result: parks the coroutine, or blocks
    /// the plain thread. When the queue is full it waits in turn. In a pool's thread it runs `f`
    /// right here.
    ///
    /// # Errors
    ///
    /// [`is_cancelled`](OffloadError::is_cancelled): the coroutine was cancelled and `f` has not
    /// run. [`is_no_thread`](OffloadError::is_no_thread): the pool has no thread and the system
    /// gives it none; `f` has not run.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::offload::Pool;
    ///
    /// tarae::run(|| {
    ///     let mut squares = vec![1, 2, 3];
    ///     Pool::Cpu.run(|| squares.iter_mut().for_each(|n| *n *= *n)).unwrap();
    ///     assert_eq!(squares, [1, 4, 9]);
    /// })
    /// .unwrap();
    /// ```
    pub fn run<F, T>(self, f: F) -> Result<T, OffloadError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        call(self.threads(), Patience::Waits, f)
    }

    /// Makes a call that may block the thread: in a coroutine on a thread of this pool, elsewhere
    /// right here.
    pub(crate) fn system_call<F, T>(self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T> + Send,
        T: Send,
    {
        if sched::in_coroutine() {
            return self.run(f)?;
        }
        loop_thread::about_to_block()?;
        f()
    }

    /// As [`run`](Pool::run), but does not wait for room in the queue.
    ///
    /// # Errors
    ///
    /// [`is_full`](OffloadError::is_full) when every thread is at work and the queue is full; those
    /// of `run`.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn try_run<F, T>(self, f: F) -> Result<T, OffloadError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        call(self.threads(), Patience::None, f)
    }
}

/// Runs `f` on a thread of the [blocking](Pool::Blocking) pool and waits for its result: parks the
/// coroutine, or blocks the plain thread. `f` may borrow from the caller. See [`Pool::run`].
///
/// # Errors
///
/// [`OffloadError`]: `f` has not run.
///
/// # Panics
///
/// With the panic of `f`.
///
/// # Examples
///
/// The closure, what it borrows and its result change threads:
///
/// ```compile_fail,E0277
/// let here = std::cell::Cell::new(1);
/// tarae::offload(|| here.set(2)).unwrap();
/// ```
///
/// A program waits for another without holding up its worker:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let said = tarae::run(|| -> std::io::Result<String> {
///     let word = String::from("hello");
///     let output = tarae::offload(|| std::process::Command::new("echo").arg(&word).output())??;
///     Ok(String::from_utf8_lossy(&output.stdout).into_owned())
/// })??;
/// assert_eq!(said, "hello\n");
/// # Ok(())
/// # }
/// ```
pub fn offload<F, T>(f: F) -> Result<T, OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    Pool::Blocking.run(f)
}

/// As [`offload`](fn@offload), but does not wait for room in the queue. See [`Pool::try_run`].
///
/// # Errors
///
/// [`OffloadError`]: `f` has not run.
///
/// # Panics
///
/// With the panic of `f`.
pub fn try_offload<F, T>(f: F) -> Result<T, OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    Pool::Blocking.try_run(f)
}

/// [`Pool::Cpu`]`.run(f)`: for what computes.
///
/// # Errors
///
/// [`OffloadError`]: `f` has not run.
///
/// # Panics
///
/// With the panic of `f`.
pub fn cpu<F, T>(f: F) -> Result<T, OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    Pool::Cpu.run(f)
}

/// [`Pool::Blocking`]`.run(f)`: for what blocks the thread; the same as [`offload`](fn@offload).
///
/// # Errors
///
/// [`OffloadError`]: `f` has not run.
///
/// # Panics
///
/// With the panic of `f`.
pub fn blocking<F, T>(f: F) -> Result<T, OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    Pool::Blocking.run(f)
}

/// The frame of this function holds the job. It must not be left while the pool knows of it.
fn call<F, T>(pool: &'static Threads, patience: Patience, f: F) -> Result<T, OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if job::is_running() {
        return Ok(f());
    }
    if sched::context::is_cancelled() {
        // As every refused wait: a loop around it must not hold its worker for ever.
        sched::yield_now();
        return Err(OffloadError::ended(Wake::Cancelled));
    }
    if let Some(world) = sched::simulation() {
        // No threads there: others may go first, then it runs right here.
        (0..world.below(4)).for_each(|_| sched::yield_now());
        if sched::context::is_cancelled() {
            return Err(OffloadError::ended(Wake::Cancelled));
        }
        return Ok(f());
    }
    let job = Job::new(f);
    let stay = Stay;
    // SAFETY: fresh; it stays in place until the pool has refused it or `wait` has returned, which
    // is when it is withdrawn or done. `stay` sees to it that no panic gets in between.
    let queued = unsafe { pool.submit(job.as_ptr(), patience) };
    let outcome = queued.and_then(|()| wait(pool, &job));
    mem::forget(stay);
    match outcome {
        Ok(()) => Ok(job.into_result()),
        Err(error) => {
            job.abandon();
            Err(error)
        }
    }
}

/// Waits for the end of a job, or takes it back when cancelled before its beginning.
fn wait<F, T>(pool: &'static Threads, job: &Job<F, T>) -> Result<(), OffloadError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let mut cancel = Cancel::Yes;
    while !job.record().is_done() {
        let wake = sched::park(WaitReason::Offload, None, cancel);
        if wake != Wake::Ready {
            // SAFETY: this is the owner, and it was pushed to this pool.
            if unsafe { pool.withdraw(job.as_ptr()) } {
                return Err(OffloadError::ended(wake));
            }
            sched::context::succeeded(None, wake);
            cancel = Cancel::No;
        }
    }
    Ok(())
}

/// A frame that must not be unwound: a pool may be using it.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        eprintln!(
            "tarae: a panic while waiting for an offloaded job, which borrows from the stack"
        );
        std::process::abort();
    }
}

/// Why a closure was not run.
pub struct OffloadError {
    kind: Kind,
}

enum Kind {
    /// The wait was ended: cancelled, or by a deadline.
    Ended(Wake),
    Full(usize),
    NoThread(io::Error),
}

impl OffloadError {
    pub(crate) fn ended(wake: Wake) -> OffloadError {
        OffloadError {
            kind: Kind::Ended(wake),
        }
    }

    fn full(limit: usize) -> OffloadError {
        OffloadError {
            kind: Kind::Full(limit),
        }
    }

    fn no_thread(error: io::Error) -> OffloadError {
        OffloadError {
            kind: Kind::NoThread(error),
        }
    }

    /// The coroutine was cancelled before the job had begun.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::Ended(Wake::Cancelled))
    }

    /// A [deadline](crate::cancel) passed before the job had begun.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Ended(Wake::TimedOut))
    }

    /// Every thread is at work and the queue is full; only of `try_…`.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Full(_))
    }

    /// The pool has no thread, and the system would not give it one.
    pub fn is_no_thread(&self) -> bool {
        matches!(self.kind, Kind::NoThread(_))
    }
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Ended(Wake::TimedOut) => {
                f.write_str("the deadline passed before the offloaded job had begun")
            }
            Kind::Ended(_) => f.write_str("cancelled before the offloaded job had begun"),
            Kind::Full(limit) => write!(
                f,
                "all threads of the pool are at work and {limit} jobs are queued, which is its \
                 limit: wait with `offload`, or raise it with `offload::Builder::queue`"
            ),
            Kind::NoThread(error) => write!(f, "the pool has no thread and gets none: {error}"),
        }
    }
}

impl fmt::Debug for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OffloadError({self})")
    }
}

impl std::error::Error for OffloadError {}

impl From<OffloadError> for io::Error {
    /// A cancellation is recognised by [`Cancelled::is`], a deadline is a
    /// [`TimedOut`](io::ErrorKind::TimedOut), a full queue a
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    fn from(error: OffloadError) -> io::Error {
        match error.kind {
            Kind::Ended(Wake::TimedOut) => io::Error::new(io::ErrorKind::TimedOut, error),
            Kind::Ended(_) => io::Error::other(Cancelled),
            Kind::Full(_) => io::Error::new(io::ErrorKind::WouldBlock, error),
            Kind::NoThread(error) => error,
        }
    }
}

/// Sets the limits of a pool, before its first job.
///
/// # Examples
///
/// ```standalone_crate
/// use std::time::Duration;
/// use tarae::offload::{Builder, Pool, stats};
///
/// let pool = Builder::new(Pool::Blocking).threads(16).queue(1_000);
/// pool.idle(Duration::from_secs(60)).apply().unwrap();
/// assert_eq!(stats().blocking.threads_max, 16);
///
/// tarae::offload(|| "the first job").unwrap();
/// assert!(Builder::new(Pool::Blocking).threads(32).apply().is_err(), "too late");
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `apply`"]
pub struct Builder {
    pool: Pool,
    threads: Option<usize>,
    queue: Option<usize>,
    idle: Option<Duration>,
}

impl Builder {
    /// Changes nothing yet.
    pub fn new(pool: Pool) -> Builder {
        Builder {
            pool,
            threads: None,
            queue: None,
            idle: None,
        }
    }

    /// The most threads it may have.
    ///
    /// # Panics
    ///
    /// When it is zero.
    pub fn threads(mut self, threads: usize) -> Builder {
        assert!(threads > 0, "a pool needs at least one thread");
        self.threads = Some(threads);
        self
    }

    /// The most jobs that may be queued while all threads are at work.
    pub fn queue(mut self, jobs: usize) -> Builder {
        self.queue = Some(jobs);
        self
    }

    /// How long a thread with nothing to do stays. Default: ten seconds.
    pub fn idle(mut self, idle: Duration) -> Builder {
        self.idle = Some(idle);
        self
    }

    /// Sets what was given.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when the pool has had a job: nothing is
    /// changed.
    pub fn apply(self) -> io::Result<()> {
        let done = self.pool.threads().configure(|limits| {
            limits.threads = self.threads.or(limits.threads);
            limits.queue = self.queue.unwrap_or(limits.queue);
            limits.idle = self.idle.unwrap_or(limits.idle);
        });
        if done {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "the {:?} pool is in use: set its limits before the first job",
                self.pool
            ),
        ))
    }
}

/// What the pools are doing; see [`stats`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// [`Pool::Cpu`].
    pub cpu: PoolStats,
    /// [`Pool::Blocking`].
    pub blocking: PoolStats,
    /// [`Pool::Dns`].
    pub dns: PoolStats,
}

/// What one pool is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads it has.
    pub threads: usize,
    /// Threads it may have.
    pub threads_max: usize,
    /// Threads at work, or on their way to a job.
    pub running: usize,
    /// Jobs that no thread is there for yet.
    pub queued: usize,
    /// Jobs that may be queued.
    pub queued_max: usize,
    /// Callers beyond that, who wait for room in the queue.
    pub waiting: usize,
}

/// What the pools are doing now. Each is looked at by itself, so the three need not agree.
///
/// # Examples
///
/// ```standalone_crate
/// let before = tarae::offload::stats();
/// assert_eq!((before.cpu.threads, before.cpu.queued), (0, 0));
/// tarae::offload::cpu(|| ()).unwrap();
/// assert_eq!(tarae::offload::stats().cpu.threads, 1);
/// ```
pub fn stats() -> Stats {
    let [cpu, blocking, dns] =
        [Pool::Cpu, Pool::Blocking, Pool::Dns].map(|pool| pool.threads().stats());
    Stats { cpu, blocking, dns }
}
