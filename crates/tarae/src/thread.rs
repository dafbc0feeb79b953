//! `std::thread`, for coroutines: `use tarae::thread` in place of `use std::thread`.
//!
//! Public. Nothing here starts a thread: `spawn` makes a coroutine on the runtime that is running.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::sched::runtime::Spawn;
use crate::sched::task::TaskRef;
use crate::sched::worker::Worker;
use crate::sched::{self, Cancel, Unparker, WaitReason, runtime};

pub use crate::local::{AccessError, LocalKey};
pub use crate::sched::handle::{JoinError, JoinHandle};
pub use crate::scope::{Scope, ScopedJoinHandle, scope};

/// What [`JoinHandle::join`] gives.
pub type Result<T> = std::result::Result<T, JoinError>;

/// Spawns a coroutine that runs `f`.
///
/// It starts on this worker or, before it has started, on another one that is idle; once started it
/// never changes its thread, so its locals need not be `Send`. If the coroutine that calls this has
/// just accepted a connection, the new one is taken for that connection's and goes to the worker
/// that has the fewest. On a plain thread it goes to the runtime that is running.
///
/// It begins when a worker comes round to it, never inside this call. Idle workers are called to
/// help when more than one waits to begin; a single one begins when this coroutine waits or yields.
///
/// # Where there is no stack
///
/// A stack is needed when the coroutine begins. If the limits of the process allow no further one,
/// it waits with all that its closure owns until one is free, shown by
/// [`inspect`](crate::inspect) as [`WaitReason::Stack`]. So a connection that was accepted is
/// served later, not lost. Only whoever joins it is told, without waiting, by
/// [`JoinError::is_no_stack`]. How many there can be is said at
/// [`tarae::Builder::stack_size`](crate::Builder::stack_size).
///
/// # Panics
///
/// When no runtime is running: call it inside [`run`](crate::run).
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     let greeting = tarae::thread::spawn(|| "hello".to_string());
///     assert_eq!(greeting.join().unwrap(), "hello");
/// })
/// .unwrap();
/// ```
///
/// Until it starts it may go to another thread, and its result may come from one, so neither what
/// it captures nor the result may be bound to a thread:
///
/// ```compile_fail,E0277
/// let here = std::rc::Rc::new(1);
/// tarae::spawn(move || *here);
/// ```
/// ```compile_fail,E0277
/// tarae::spawn(|| std::rc::Rc::new(1));
/// ```
///
/// Nor may it borrow from the one who spawns it, who may end first:
///
/// ```compile_fail,E0373
/// let local = 1;
/// tarae::spawn(|| local + 1);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawn = Spawn::here(Location::caller());
    runtime::spawn(spawn, f).expect(NO_RUNTIME)
}

/// Spawns a coroutine on this worker and no other, so that neither `f` nor its result needs `Send`.
///
/// # Panics
///
/// When this thread is not a worker's.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// tarae::run(|| {
///     let count = Rc::new(Cell::new(0));
///     let theirs = Rc::clone(&count);
///     tarae::spawn_local(move || theirs.set(7)).join().unwrap();
///     assert_eq!(count.get(), 7);
/// })
/// .unwrap();
/// ```
///
/// The handle of a result that is bound to its thread is bound to it too:
///
/// ```compile_fail,E0277
/// let handle = tarae::spawn_local(|| std::rc::Rc::new(1));
/// std::thread::spawn(move || handle.join());
/// ```
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let spawn = Spawn::here(Location::caller());
    runtime::spawn_local(spawn, f).expect(NO_RUNTIME)
}

pub(crate) const NO_RUNTIME: &str = "no runtime is running here: spawn inside `tarae::run`";

/// A coroutine with a name or a stack size of its own; mirrors [`std::thread::Builder`].
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     let worker = tarae::thread::Builder::new().name("indexer".into());
///     let handle = worker.spawn(|| tarae::current().name().map(str::to_owned)).unwrap();
///     assert_eq!(handle.join().unwrap().as_deref(), Some("indexer"));
/// })
/// .unwrap();
/// ```
#[derive(Debug, Default, Clone)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, the runtime's stack size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the coroutine in dumps and reports.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// Usable bytes of its stack, at least 64 KiB. Default: the runtime's
    /// ([`tarae::Builder::stack_size`](crate::Builder::stack_size)).
    ///
    /// # Overflow
    ///
    /// A stack does not grow. Whoever overflows it runs into a guard of 64 KiB, and the process
    /// says who it was and aborts (SIGABRT):
    ///
    /// ```text
    /// tarae: coroutine 7 (up), spawned at up.rs:2:9, has overflowed its stack of 512 KiB; aborting
    /// tarae: give it more with `tarae::thread::Builder::stack_size`, …
    /// ```
    ///
    /// The first runtime (or bare [`Coroutine`](crate::Coroutine)) of the process installs a
    /// handler for SIGSEGV and SIGBUS for that. Every other fault is left to the handler that was
    /// there before. One installed later has to pass on what it does not know, as usual. Not seen
    /// is the overflow of a single frame that reaches beyond the guard without touching it, which
    /// C code compiled without stack probes can have, and Rust code cannot.
    ///
    /// # Examples
    ///
    /// ```
    /// tarae::run(|| {
    ///     let deep = tarae::thread::Builder::new().stack_size(4 << 20);
    ///     let handle = deep.spawn(|| std::hint::black_box([1u8; 1 << 20]).len()).unwrap();
    ///     assert_eq!(handle.join().unwrap(), 1 << 20);
    /// })
    /// .unwrap();
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    fn into_spawn(self, spawned_at: &'static Location<'static>) -> Spawn {
        let name = self.name.map(String::into_boxed_str);
        Spawn {
            name,
            stack_size: self.stack_size,
            spawned_at,
        }
    }

    /// As [`spawn`].
    ///
    /// # Errors
    ///
    /// When no runtime is running.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        runtime::spawn(self.into_spawn(Location::caller()), f).ok_or_else(no_runtime)
    }

    /// As [`spawn_local`].
    ///
    /// # Errors
    ///
    /// When this thread is not a worker's.
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        runtime::spawn_local(self.into_spawn(Location::caller()), f).ok_or_else(no_runtime)
    }

    /// As [`Scope::spawn`].
    ///
    /// # Errors
    ///
    /// When no runtime is running.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::thread;
    ///
    /// tarae::run(|| {
    ///     let text = String::from("borrowed");
    ///     thread::scope(|s| {
    ///         let builder = thread::Builder::new().name("reader".into());
    ///         let reader = builder.spawn_scoped(s, || text.len()).unwrap();
    ///         assert_eq!(reader.thread().name(), Some("reader"));
    ///         assert_eq!(reader.join().unwrap(), 8);
    ///     });
    /// })
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let spawn = self.into_spawn(Location::caller());
        scope.spawn_as(spawn, f).ok_or_else(no_runtime)
    }
}

fn no_runtime() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, NO_RUNTIME)
}

/// Who runs: a coroutine, or on a plain thread that thread. Mirrors [`std::thread::Thread`].
#[derive(Clone)]
pub struct Thread {
    inner: Unparker,
}

/// Identifies a coroutine or thread within the process; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId(Id);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Id {
    Coroutine(u64),
    Thread(std::thread::ThreadId),
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Id::Coroutine(id) => write!(f, "coroutine {id}"),
            Id::Thread(id) => write!(f, "{id:?}"),
        }
    }
}

impl Thread {
    pub(crate) fn of(task: TaskRef) -> Thread {
        Thread {
            inner: Unparker::Coroutine(task),
        }
    }

    /// For the switch hook of a simulated run, which calls it on the coroutine's own worker.
    pub(crate) fn note_switch(&self, worker: &Worker, runs: bool) {
        if let Unparker::Coroutine(task) = &self.inner {
            worker.note_switch(task, runs);
        }
    }

    /// Its identity.
    pub fn id(&self) -> ThreadId {
        ThreadId(match &self.inner {
            Unparker::Coroutine(task) => Id::Coroutine(task.info.id),
            Unparker::Thread(thread) => Id::Thread(thread.id()),
        })
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        match &self.inner {
            Unparker::Coroutine(task) => task.info.name.as_deref(),
            Unparker::Thread(thread) => thread.name(),
        }
    }

    /// Where the coroutine was spawned; `None` for a plain thread.
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        match &self.inner {
            Unparker::Coroutine(task) => Some(task.info.spawned_at),
            Unparker::Thread(_) => None,
        }
    }

    /// Ends its present or next [`park`].
    pub fn unpark(&self) {
        if let Unparker::Coroutine(task) = &self.inner {
            task.unparked.store(true, Ordering::Release);
        }
        self.inner.unpark();
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish()
    }
}

/// The coroutine that calls this, or the plain thread.
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     assert_eq!(tarae::current().name(), Some("main"));
///     let other = tarae::spawn(|| tarae::current().id()).join().unwrap();
///     assert_ne!(other, tarae::current().id());
/// })
/// .unwrap();
/// ```
pub fn current() -> Thread {
    Thread {
        inner: Unparker::current(),
    }
}

/// Whether the waits of whoever calls this are cancelled, by its handle, a [token](crate::cancel),
/// its scope or the end of the runtime: each that can be returns at once from now on. For loops
/// around calls that have no error to give, such as [`sleep`].
///
/// Also true while a panic unwinds the coroutine: what a destructor waits for then is refused in
/// the same way, since the panic would be taken for that of others meanwhile
/// ([`std::thread::panicking`] knows threads only). Waits that cannot be cancelled are made.
///
/// In a job that was [offloaded](mod@crate::offload): whether who waits for it has been cancelled.
/// On a plain thread: whether a token or a scope that it stands inside of has been.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// tarae::run(|| {
///     tarae::spawn(|| {
///         while !tarae::thread::is_cancelled() {
///             tarae::thread::sleep(Duration::from_secs(1));
///         }
///     });
/// })
/// .unwrap();
/// ```
pub fn is_cancelled() -> bool {
    sched::context::is_cancelled()
}

/// Lets everybody else who is ready run first: the coroutines of this worker or, on a plain thread,
/// other threads.
pub fn yield_now() {
    sched::yield_now();
}

/// Waits at least so long, to the next millisecond: parks the coroutine or blocks the plain thread.
/// Returns early when cancelled. See [`time::sleep`](crate::time::sleep).
pub fn sleep(duration: Duration) {
    crate::time::sleep(duration);
}

/// Waits for [`Thread::unpark`], which may have come already; may return without cause, and returns
/// when cancelled or at a deadline around it. Parks the coroutine or blocks the plain thread.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
/// use std::sync::Arc;
///
/// tarae::run(|| {
///     let done = Arc::new(AtomicBool::new(false));
///     let theirs = Arc::clone(&done);
///     let me = tarae::current();
///     tarae::spawn(move || {
///         theirs.store(true, SeqCst);
///         me.unpark();
///     });
///     while !done.load(SeqCst) {
///         tarae::thread::park();
///     }
/// })
/// .unwrap();
/// ```
pub fn park() {
    park_until(None);
}

/// As [`park`], for so long at most.
pub fn park_timeout(timeout: Duration) {
    park_until(sched::now().checked_add(timeout));
}

fn park_until(deadline: Option<Instant>) {
    match Unparker::current() {
        Unparker::Coroutine(task) => {
            if task.unparked.swap(false, Ordering::Acquire) {
                sched::spend_budget();
            } else {
                sched::park(WaitReason::Park, deadline, Cancel::Yes);
                task.unparked.swap(false, Ordering::Acquire);
            }
        }
        Unparker::Thread(_) => {
            sched::park(WaitReason::Park, deadline, Cancel::Yes);
        }
    }
}
