//! The runtime: starting workers, placing coroutines on them, ending them.
//!
//! Called by `run`, `Builder` and the spawning functions. The thread that calls `run` is worker 0;
//! with one worker no other thread is ever made here.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use super::deadlock;
use super::handle::{JoinError, JoinHandle};
use super::lent;
use super::loop_thread;
use super::overdue::Lookout;
use super::shared::Shared;
use super::standstill::Standstill;
use super::task::{Affinity, Blueprint, TaskRef, contain};
use super::watchdog::{StallHook, Watchdog};
use super::worker::Worker;
use crate::driver::Wake;
use crate::inspect::Stall;
use crate::stack::{self, Class};
use crate::thread::Thread;

/// Which way a worker switches, for [`Builder::on_switch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Switch {
    /// The coroutine is about to run.
    In,
    /// It has stopped: parked, yielded or ended.
    Out,
}

type SwitchHook = Box<dyn Fn(Switch, &Thread) + Send + Sync>;

pub(crate) struct Runtime {
    pub(super) workers: Vec<&'static Shared>,
    pub(super) class: &'static Class,
    pub(super) on_switch: Option<SwitchHook>,
    /// Whether there is a watchdog.
    pub(super) watched: bool,
    /// Workers that sleep or are about to; thieves to be called.
    pub(super) sleepers: AtomicUsize,
    pub(super) standstill: Standstill,
    deadlock_is_error: bool,
    stopping: AtomicBool,
    grace: Duration,
    deadline: OnceLock<Instant>,
    /// What the workers that have ended left behind.
    ended: Mutex<Vec<(u32, Vec<String>)>>,
    one_ended: Condvar,
}

/// How long beyond the grace a worker may take to notice: the machine may be busy.
const LATE: Duration = Duration::from_secs(5);

/// The runtimes that run now, for spawning from plain threads: the latest one serves.
static RUNNING: Mutex<Vec<Weak<Runtime>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Configures and starts a runtime.
///
/// # Examples
///
/// ```
/// let answer = tarae::Builder::new().workers(2).run(|| {
///     tarae::spawn(|| 6 * 7).join().unwrap()
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `run`"]
pub struct Builder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    grace: Option<Duration>,
    on_switch: Option<SwitchHook>,
    deadlock_is_error: bool,
    watchdog: Option<Duration>,
    on_stall: Option<StallHook>,
}

impl Builder {
    /// One worker per available core, 512 KiB stacks, five seconds of grace.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The number of workers, the calling thread included. Default: the cores the process may use.
    ///
    /// # Panics
    ///
    /// When it is zero.
    pub fn workers(mut self, workers: usize) -> Builder {
        assert!(workers > 0, "a runtime needs at least one worker");
        self.workers = Some(workers);
        self
    }

    /// Usable bytes of a coroutine's stack, at least 64 KiB; the default is 512 KiB. Only touched
    /// pages cost memory, so being generous is cheap; an overflow names the coroutine and aborts
    /// the process (see [`thread::Builder::stack_size`](crate::thread::Builder::stack_size)).
    ///
    /// # How many coroutines there can be
    ///
    /// A parked coroutine takes about 4.4 KB of memory, and its stack with its guard a range of
    /// addresses, of which the kernel keeps page tables beside that: 1,154 bytes each for the
    /// default stacks of 512 KiB, 257 for those of 64 KiB. So a million parked coroutines need no
    /// setting, but 5.6 GB of memory; with `stack_size(64 * 1024)` they need 4.7 GB.
    ///
    /// - Before Linux 6.13, and where memory is locked (`mlockall` with `MCL_FUTURE`), a guard
    ///   takes mappings: under the default `vm.max_map_count` of 65,530 there can be 32,253 stacks.
    /// - Under a limit on the address space (RLIMIT_AS, `ulimit -v`), strict overcommit
    ///   (`vm.overcommit_memory` is 2) or one on locked memory (RLIMIT_MEMLOCK), stacks and guards
    ///   count in full: 576 KiB each. Of the first two, 16 MiB are left for everybody else.
    ///
    /// If there is no stack even for the first coroutine of each worker, [`run`](Builder::run)
    /// gives an error; for what happens later see [`spawn`](crate::spawn). Both name the limit.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// How long coroutines may go on once the main one has returned and they have been cancelled.
    /// Default: five seconds.
    pub fn grace(mut self, grace: Duration) -> Builder {
        self.grace = Some(grace);
        self
    }

    /// Whether a standstill ends the runtime with an error ([`RunError::is_deadlock`]). Default:
    /// no.
    ///
    /// At a standstill every coroutine waits for another one (for a lock, a message, an end, an
    /// `unpark`), nobody waits for a socket, a point in time or a job, and the process has no other
    /// thread that could wake anybody: nothing can ever run again. It is reported to standard error
    /// in any case. With this, what there is gets cancelled as at the end of `main`.
    ///
    /// Threads of the runtime's own that have nothing to do (those of the pools, the watchdog) are
    /// no others. While there are others, a runtime whose workers all have nothing to wait for but
    /// each other looks once a second whether they have ended.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let runtime = tarae::Builder::new().workers(1).deadlock_is_error(true);
    /// let error = runtime.run(|| tarae::thread::park()).unwrap_err();
    /// assert!(error.is_deadlock());
    /// ```
    pub fn deadlock_is_error(mut self, yes: bool) -> Builder {
        self.deadlock_is_error = yes;
        self
    }

    /// Has `hook` called on every switch into and out of a coroutine, on the worker's own stack.
    /// It must not wait. Without a hook a switch costs one predictable branch more.
    pub fn on_switch(mut self, hook: impl Fn(Switch, &Thread) + Send + Sync + 'static) -> Builder {
        self.on_switch = Some(Box::new(hook));
        self
    }

    /// Has a thread of its own look after the workers: one that has not come back to its scheduler
    /// for `limit` (at least a millisecond) is reported on stderr, once for each stall, or to
    /// [`on_stall`](Builder::on_stall). The report names the coroutine that holds it, where it was
    /// spawned, and the calls it is in: a computation without end, a `std::sync::Mutex` whose
    /// holder waits on the same worker, a blocking system call. See [`Stall`]. Default: no such
    /// thread.
    ///
    /// The calls are found by a signal to the worker's thread, one for each stall: the real-time
    /// signal with the highest number whose action is the default. A blocking system call goes on
    /// after it as after any handled signal with `SA_RESTART`: a few, such as `poll`, end with
    /// `EINTR` instead. A worker that waits for events is never reported, however long. Each switch
    /// costs one relaxed store.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let (tell, told) = mpsc::channel();
    /// tarae::Builder::new()
    ///     .workers(1)
    ///     .watchdog(Duration::from_millis(20))
    ///     .on_stall(move |stall| tell.send(stall.clone()).unwrap())
    ///     .run(move || {
    ///         // Blocks the worker until the watchdog has noticed.
    ///         let stall = told.recv().unwrap();
    ///         assert_eq!(stall.coroutine.unwrap().name.as_deref(), Some("main"));
    ///         assert!(stall.stack.iter().any(|frame| frame.to_string().contains("recv")));
    ///     })
    ///     .unwrap();
    /// ```
    pub fn watchdog(mut self, limit: Duration) -> Builder {
        self.watchdog = Some(limit);
        self
    }

    /// Has the stalls that the [`watchdog`](Builder::watchdog) notices told to `hook`, on the
    /// watchdog's thread, rather than printed. Meanwhile it notices no others, and the runtime's
    /// end waits for it. Without a watchdog there are none.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Builder {
        self.on_stall = Some(Box::new(hook));
        self
    }

    /// Runs `main` as the first coroutine, and everything it spawns, until `main` has returned;
    /// then cancels what is left and waits for it (see [`run`]). The calling thread is a worker
    /// meanwhile; with one worker it is the only thread.
    ///
    /// # Errors
    ///
    /// See [`RunError`].
    ///
    /// # Panics
    ///
    /// With the panic of `main`, once the runtime has ended.
    #[track_caller]
    pub fn run<T>(mut self, main: impl FnOnce() -> T) -> Result<T, RunError> {
        if Worker::current().is_some() || crate::coroutine::is_inside() {
            return Err(RunError { kind: Kind::Nested });
        }
        loop_thread::will_block();
        let site = Location::caller();
        let start = |error| RunError {
            kind: Kind::Start(error),
        };
        let (limit, hook) = (self.watchdog, self.on_stall.take());
        let runtime = Arc::new(self.build().map_err(start)?);
        let worker = Worker::new(runtime.workers[0], Arc::clone(&runtime)).map_err(start)?;
        let started = match limit {
            Some(limit) => Watchdog::start(runtime.workers.clone(), limit, hook).map(Some),
            None => Ok(None),
        };
        let started = started.and_then(|dog| Ok((dog, start_threads(&runtime)?)));
        let (watchdog, threads) = match started {
            Ok(started) => started,
            Err(error) => {
                worker.shared().end_use();
                return Err(start(error));
            }
        };
        locked(&RUNNING).push(Arc::downgrade(&runtime));

        let blueprint = Blueprint::of_main(site, runtime.class).with_body(|_: Wake| main());
        // SAFETY: it stays on this thread, and has ended before this function returns, so neither
        // `main` nor its result need `Send` or `'static`.
        let (task, handle) = unsafe { JoinHandle::new(blueprint) };
        worker.enter(|| {
            worker.enqueue(task);
            worker.run_until(|| handle.is_finished() || runtime.ends_standing());
            let deadline = runtime.deadline();
            locked(&RUNNING).retain(|other| !std::ptr::eq(other.as_ptr(), &*runtime));
            runtime.stop();
            let watched = !worker.is_idle();
            let lookout = watched.then(|| Lookout::until(deadline + LATE, worker.shared()));
            let stragglers = worker.wind_down(deadline);
            drop(lookout);
            if !stragglers.is_empty() {
                lent::keep_thread_locals(worker.shared());
            }
            runtime.report(&worker, stragglers);
        });
        let stragglers = runtime.await_workers();
        if stragglers.is_empty() {
            join_all(threads);
        }
        // Callbacks and states that were put aside too late are dropped with it.
        contain(move || drop(worker));
        drop(watchdog);
        deadlock::await_reports();
        if runtime.ends_standing() {
            return Err(RunError {
                kind: Kind::Deadlock,
            });
        }
        finish(handle.join(), stragglers)
    }

    pub(super) fn build(self) -> io::Result<Runtime> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = self.workers.unwrap_or_else(cores);
        let mut runtime = Runtime {
            workers: Vec::with_capacity(count),
            class: Class::of(self.stack_size.unwrap_or(stack::DEFAULT_BYTES)),
            on_switch: self.on_switch,
            watched: self.watchdog.is_some(),
            sleepers: AtomicUsize::new(0),
            standstill: Standstill::new(),
            deadlock_is_error: self.deadlock_is_error,
            stopping: AtomicBool::new(false),
            grace: self.grace.unwrap_or(Duration::from_secs(5)),
            deadline: OnceLock::new(),
            ended: Mutex::default(),
            one_ended: Condvar::new(),
        };
        for _ in 0..count {
            runtime.workers.push(Shared::obtain()?);
        }
        Ok(runtime)
    }
}

fn finish<T>(result: Result<T, JoinError>, stragglers: Vec<String>) -> Result<T, RunError> {
    match result {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(RunError {
            kind: Kind::Start(io::Error::other(error.to_string())),
        }),
        Ok(_) if !stragglers.is_empty() => Err(RunError {
            kind: Kind::Stragglers(stragglers),
        }),
        Ok(value) => Ok(value),
    }
}

/// Starts the threads of workers 1 and up, and waits until each has its driver. If one cannot be
/// had, none is left.
fn start_threads(runtime: &Arc<Runtime>) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let (started, starts) = mpsc::channel();
    let mut threads = Vec::with_capacity(runtime.workers.len());
    let mut outcome = Ok(());
    for (index, &shared) in runtime.workers.iter().enumerate().skip(1) {
        let (runtime, started) = (Arc::clone(runtime), started.clone());
        let thread = std::thread::Builder::new()
            .name(format!("tarae-worker-{index}"))
            .spawn(move || run_worker(shared, runtime, started));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(started);
    if let Err(error) = outcome.and_then(|()| starts.iter().collect::<io::Result<()>>()) {
        runtime.stop();
        join_all(threads);
        return Err(error);
    }
    Ok(threads)
}

fn join_all(threads: Vec<std::thread::JoinHandle<()>>) {
    for thread in threads {
        // A worker's loop contains every panic but its own, which has been printed.
        let _ = thread.join();
    }
}

fn run_worker(
    shared: &'static Shared,
    runtime: Arc<Runtime>,
    started: mpsc::Sender<io::Result<()>>,
) {
    let worker = match Worker::new(shared, Arc::clone(&runtime)) {
        Ok(worker) => worker,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    drop(started);
    let stragglers = worker.enter(|| {
        worker.run_until(|| runtime.is_stopping());
        worker.wind_down(runtime.deadline())
    });
    let leaked = !stragglers.is_empty();
    runtime.report(&worker, stragglers);
    contain(move || drop(worker));
    drop(runtime);
    if leaked {
        // Thread-local destructors could pull the ground from under the leaked frames.
        loop {
            std::thread::park();
        }
    }
}

impl Runtime {
    pub(super) fn is_single(&self) -> bool {
        self.workers.len() == 1
    }

    /// Whether it is to end because nothing can ever run again.
    fn ends_standing(&self) -> bool {
        self.deadlock_is_error && self.standstill.is_reached()
    }

    /// When the grace is over, for all workers alike; it begins with the first call.
    pub(super) fn deadline(&self) -> Instant {
        // A century stands for a grace beyond what the clock can say.
        let century = Duration::from_secs(100 * 365 * 24 * 3600);
        *self
            .deadline
            .get_or_init(|| super::now() + self.grace.min(century))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for shared in &self.workers {
            shared.post(|_| {});
        }
    }

    pub(super) fn report(&self, worker: &Worker, stragglers: Vec<String>) {
        if stragglers.is_empty() {
            worker.shared().end_use();
        }
        locked(&self.ended).push((worker.number(), stragglers));
        self.one_ended.notify_all();
    }

    /// Waits until every worker has ended, or for a while beyond the deadline. Gives all that would
    /// not end.
    fn await_workers(&self) -> Vec<String> {
        let deadline = self.deadline() + LATE;
        let mut ended = locked(&self.ended);
        while ended.len() < self.workers.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.one_ended.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut stragglers: Vec<String> = ended
            .iter()
            .flat_map(|(_, stragglers)| stragglers.iter().cloned())
            .collect();
        for (index, shared) in self.workers.iter().enumerate() {
            if !ended.iter().any(|(number, _)| *number == shared.number()) {
                stragglers.push(format!("worker {index}, held by {}", shared.holder()));
            }
        }
        stragglers
    }

    /// The worker with the fewest connections; `here` if it is one of them.
    fn least_loaded(&self, here: Option<&'static Shared>) -> &'static Shared {
        let mut best = here.unwrap_or(self.workers[0]);
        for shared in &self.workers {
            if shared.load() < best.load() {
                best = shared;
            }
        }
        best
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for shared in &self.workers {
            if !shared.is_in_use() {
                shared.recycle();
            }
        }
    }
}

/// What to spawn, where it does not depend on the closure.
pub(crate) struct Spawn {
    pub(crate) name: Option<Box<str>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Spawn {
    /// No name, the runtime's stack size.
    pub(crate) fn here(spawned_at: &'static Location<'static>) -> Spawn {
        Spawn {
            name: None,
            stack_size: None,
            spawned_at,
        }
    }

    fn blueprint<F>(self, body: F, affinity: Affinity, default: &'static Class) -> Blueprint<F> {
        let class = self.stack_size.map_or(default, Class::of);
        Blueprint {
            body,
            name: self.name,
            spawned_at: self.spawned_at,
            affinity,
            class,
        }
    }
}

/// Spawns on the running runtime; see `thread::spawn`. `None` if there is none.
pub(crate) fn spawn<F, T>(spawn: Spawn, f: F) -> Option<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_with(spawn, f, |handle| handle)
}

/// As `spawn`; `prepare` gets the handle before the coroutine is given to anybody.
pub(crate) fn spawn_with<F, T, R>(
    spawn: Spawn,
    f: F,
    prepare: impl FnOnce(JoinHandle<T>) -> R,
) -> Option<R>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: `Send` and `'static`, so it may run and end on any thread at any time.
    unsafe { spawn_prepared(spawn, f, prepare) }.ok()
}

/// As `spawn`, for a scope; gives `f` back.
///
/// # Safety
/// `f` and `T` may change threads, and what they borrow outlives the run and the drop of `f`, and
/// whatever is done with the handle.
pub(crate) unsafe fn spawn_unchecked<F, T>(spawn: Spawn, f: F) -> Result<JoinHandle<T>, F>
where
    F: FnOnce() -> T,
{
    // SAFETY: the caller's promise.
    unsafe { spawn_prepared(spawn, f, |handle| handle) }
}

/// # Safety
/// As for `spawn_unchecked`; `prepare` keeps to it too.
unsafe fn spawn_prepared<F, T, R>(
    spawn: Spawn,
    f: F,
    prepare: impl FnOnce(JoinHandle<T>) -> R,
) -> Result<R, F>
where
    F: FnOnce() -> T,
{
    if let Some(worker) = Worker::current() {
        let runtime = &worker.runtime;
        let placed = !runtime.is_single() && worker.take_accept();
        let affinity = if placed {
            Affinity::Placed
        } else {
            Affinity::Stealable
        };
        // SAFETY: the caller's promise.
        let (task, handle) =
            unsafe { JoinHandle::new(spawn.blueprint(|_: Wake| f(), affinity, runtime.class)) };
        let prepared = prepare(handle);
        worker.note_spawn(&task);
        let here = worker.shared();
        let target = if placed {
            runtime.least_loaded(Some(here))
        } else {
            here
        };
        if std::ptr::eq(target, here) {
            if placed {
                here.add_placed(1);
            }
            worker.enqueue(task);
        } else {
            hand_over(target, task, placed);
        }
        return Ok(prepared);
    }
    let running = locked(&RUNNING).iter().rev().find_map(Weak::upgrade);
    let Some(runtime) = running else {
        return Err(f);
    };
    let blueprint = spawn.blueprint(|_: Wake| f(), Affinity::Stealable, runtime.class);
    // SAFETY: the caller's promise.
    let (task, handle) = unsafe { JoinHandle::new(blueprint) };
    let prepared = prepare(handle);
    hand_over(runtime.least_loaded(None), task, false);
    Ok(prepared)
}

fn hand_over(target: &'static Shared, task: TaskRef, placed: bool) {
    if placed {
        target.announce();
    }
    if let Err(task) = target.send(task) {
        // The worker has just ended: so does the coroutine, without having run.
        // SAFETY: unstarted, `Send`, and in nobody else's hands; completed once.
        unsafe {
            task.fail(super::task::Failure::Cancelled);
            task.complete();
        }
    }
}

/// Spawns on this worker and no other; see `spawn_local`. `None` if this is no worker's thread.
pub(crate) fn spawn_local<F, T>(spawn: Spawn, f: F) -> Option<JoinHandle<T>>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: `'static`.
    unsafe { spawn_local_unchecked(spawn, f) }.ok()
}

/// As `spawn_local`, for a scope; gives `f` back.
///
/// # Safety
/// What `f` and `T` borrow outlives the run and the drop of `f`, and whatever is done with the
/// handle.
pub(crate) unsafe fn spawn_local_unchecked<F, T>(spawn: Spawn, f: F) -> Result<JoinHandle<T>, F>
where
    F: FnOnce() -> T,
{
    let Some(worker) = Worker::current() else {
        return Err(f);
    };
    let blueprint = spawn.blueprint(|_: Wake| f(), Affinity::Local, worker.runtime.class);
    // SAFETY: the caller's promise. It starts, runs and ends on this thread, where its handle has
    // to stay too unless the result is `Send`.
    let (task, handle) = unsafe { JoinHandle::new(blueprint) };
    worker.note_spawn(&task);
    worker.enqueue(task);
    Ok(handle)
}

/// Why [`run`] gave no value.
///
/// One of: nothing could ever run again ([`RunError::is_deadlock`]); it was called inside a
/// runtime or a bare coroutine; a worker, or a stack for it, could not be had; or
/// `main` returned but coroutines ignored their cancellation for the whole grace period
/// ([`RunError::stragglers`]); what `main` gave is dropped then.
pub struct RunError {
    kind: Kind,
}

enum Kind {
    Nested,
    Start(io::Error),
    Deadlock,
    Stragglers(Vec<String>),
}

impl RunError {
    /// Nothing could ever run again; see [`Builder::deadlock_is_error`]. Whoever would not end when
    /// cancelled then, such as one that waits for a lock, has been leaked.
    pub fn is_deadlock(&self) -> bool {
        matches!(self.kind, Kind::Deadlock)
    }

    /// `run` was called on a worker's thread, or inside a [`Coroutine`](crate::Coroutine).
    pub fn is_nested(&self) -> bool {
        matches!(self.kind, Kind::Nested)
    }

    /// The coroutines that would not end, as text: id, name, spawn site and what they wait for.
    /// Their stacks were leaked, and so was what they own; whoever joins one of them is told
    /// ([`JoinError::is_leaked`](crate::thread::JoinError::is_leaked)). A worker beyond the first
    /// that did not come back to its loop is named with the coroutine that holds it, which goes on
    /// running. Empty for the other errors.
    pub fn stragglers(&self) -> &[String] {
        match &self.kind {
            Kind::Stragglers(names) => names,
            _ => &[],
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Nested => {
                f.write_str("a runtime was started inside a runtime or a bare coroutine")
            }
            Kind::Deadlock => f.write_str("a deadlock: nothing can ever run again"),
            Kind::Start(error) => write!(f, "the runtime could not start: {error}"),
            Kind::Stragglers(names) => {
                write!(f, "{} coroutines ignored their cancellation: ", names.len())?;
                f.write_str(&names.join("; "))
            }
        }
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunError({self})")
    }
}

impl std::error::Error for RunError {}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> io::Error {
        match error.kind {
            Kind::Start(error) => error,
            _ => io::Error::other(error),
        }
    }
}

/// Runs `main` as a coroutine on a runtime with the default configuration, and everything that it
/// spawns. Returns when `main` has returned and the rest has ended.
///
/// What still runs then is cancelled: its waits end with an error (or early, where there is no
/// error to give) and it has five seconds to return. Use [`Builder`] to change that. Coroutines
/// that do not use the chance are named in the error, and left: nothing is unwound by force.
///
/// A coroutine that computes without ever waiting or yielding cannot be left where it runs on the
/// calling thread: `run` waits for it, and says on stderr which one it is, five seconds after the
/// grace is over. Compute on [another thread](mod@crate::offload).
///
/// # Errors
///
/// See [`RunError`].
///
/// # Panics
///
/// With the panic of `main`. A panic of any other coroutine ends that coroutine only.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use tarae::net::{TcpListener, TcpStream};
///
/// tarae::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let server = tarae::spawn(move || -> std::io::Result<()> {
///         let (mut stream, _) = listener.accept()?;
///         stream.write_all(b"hello")
///     });
///     let mut text = String::new();
///     TcpStream::connect(address)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     server.join().unwrap()
/// })
/// .unwrap()
/// .unwrap();
/// ```
#[track_caller]
pub fn run<T>(main: impl FnOnce() -> T) -> Result<T, RunError> {
    Builder::new().run(main)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("grace", &self.grace)
            .field("watchdog", &self.watchdog)
            .finish_non_exhaustive()
    }
}
