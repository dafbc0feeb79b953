//! Asynchronous calls: the caller goes on, and the result comes to it in one of several ways.
//!
//! Public. A call is *synchronous* when its caller waits for the result, and *asynchronous* when
//! the caller goes on meanwhile; whether a thread is blocked is another question. [`Completion`] is
//! the handle of an asynchronous call. These start one, and none of them waits:
//!
//! | starter | what is done | by whom |
//! | --- | --- | --- |
//! | [`tarae::start`](fn@crate::start) | a closure | a coroutine; needs a runtime |
//! | [`offload::start`], [`offload::start_in`] | a closure | a pool's thread; needs no runtime |
//! | [`start_read`], [`start_write`], [`start_accept`], [`start_connect`] | a socket's | below |
//! | [`File::start_read`], [`start_write_at`] and their like | a file's | a pool's thread |
//!
//! A socket's call that is started on a worker's thread is made by the worker's event loop, without
//! a coroutine or a stack; one that is started elsewhere by a thread of the blocking pool. (A
//! [Unix socket](crate::os::unix::net::UnixStream::start_connect) that waits for room in a
//! listener's queue, of which the kernel does not tell, takes a coroutine.)
//!
//! The result is had in one of these ways:
//!
//! | way | who processes the result | on which thread | does the caller wait? |
//! | --- | --- | --- | --- |
//! | *check*: [`try_get`] | the caller | its own | no |
//! | *notification*: [`Completions`] | the caller, when it was told | its own | no |
//! | [`notify_on`] an event loop | the caller's event loop | the loop's | no |
//! | *callback*: [`on_complete`] | the callback | the one that completed it, below | no |
//! | [`on_complete_in`] | the callback | the executor's | no |
//! | a future: `.await` | the task that awaits | its executor's | the task, not the thread |
//! | [`wait`], [`wait_timeout`], [`Completions::next`] | the caller | its own | **yes** |
//!
//! The last ones make the call a *synchronous* one. Of a notification the caller is told by a
//! descriptor, in whatever loop it waits for descriptors with; it may also ask
//! ([`try_next`]) when it likes. If that loop is an [`EventLoop`](crate::event::EventLoop), it
//! calls a function with the result.
//!
//! A loop around `try_get` that has nothing else to do is synchronous too: it does not block, but
//! it waits.
//!
//! # Where callbacks run
//!
//! Exactly once, never on the frame that registers them (even when the result is there already) or
//! that cancels:
//!
//! | the call | registered before the result comes | after it |
//! | --- | --- | --- |
//! | a coroutine, a socket's call on a worker | on the worker that completed it | the same |
//! | an offloaded job, a file's call | on the pool's thread that ran it | the service thread |
//! | one cancelled before a pool's thread had it | on the service thread | the same |
//!
//! The service thread, `tarae-service`, is started by the first callback that needs it, and ends
//! when none has come for ten seconds. It also serves for workers that have ended. On a worker, a
//! callback runs on the worker's own stack: it must be short and must not wait, or everything else
//! there waits with it. What waits is for a coroutine, which the callback may
//! [`spawn`](crate::spawn()). A panic of a callback is reported by the panic hook and ends nothing
//! else.
//!
//! # Ends
//!
//! Dropping a [`Completion`] detaches: the call goes on, and its result is dropped.
//! [`cancel`](Completion::cancel) asks it to end early; its one result then comes all the same. A
//! completion costs at most two allocations, with its callback if what that captures is small (four
//! words); `on_complete_in` hands the executor a box, and `notify_on` makes two.
//!
//! # Examples
//!
//! The same call in all ways:
//!
//! ```
//! use std::sync::mpsc;
//! use tarae::completion::{Check, Completions};
//!
//! fn length() -> tarae::Completion<usize> {
//!     tarae::offload::start(|| "asynchronous".len())
//! }
//!
//! // Check.
//! let mut call = length();
//! let value = loop {
//!     match call.try_get() {
//!         Check::Ready(value) => break value.unwrap(),
//!         _ => std::thread::yield_now(), // Or something better to do.
//!     }
//! };
//! assert_eq!(value, 12);
//!
//! // Notification.
//! let calls = Completions::new();
//! calls.add("first", length());
//! calls.add("second", length());
//! while let Some((_key, value)) = calls.next() {
//!     assert_eq!(value.unwrap(), 12);
//! }
//!
//! let events = tarae::event::EventLoop::new().unwrap();
//! length().notify_on(&events, |_, value| assert_eq!(value.unwrap(), 12));
//! events.run().unwrap();
//!
//! // Callback.
//! let (tell, told) = mpsc::channel();
//! length().on_complete(move |value| tell.send(value.unwrap()).unwrap());
//! assert_eq!(told.recv().unwrap(), 12);
//!
//! // A future.
//! let value = tarae::block_on(async { length().await.unwrap() + 1 });
//! assert_eq!(value, Ok(13));
//!
//! // Synchronously.
//! assert_eq!(length().wait().unwrap(), 12);
//! ```
//!
//! [`offload::start`]: crate::offload::start
//! [`offload::start_in`]: crate::offload::start_in
//! [`File::start_read`]: crate::fs::File::start_read
//! [`start_write_at`]: crate::fs::File::start_write_at
//! [`start_read`]: crate::net::TcpStream::start_read
//! [`start_write`]: crate::net::TcpStream::start_write
//! [`start_accept`]: crate::net::TcpListener::start_accept
//! [`start_connect`]: crate::net::TcpStream::start_connect
//! [`try_get`]: Completion::try_get
//! [`try_next`]: Completions::try_next
//! [`notify_on`]: Completion::notify_on
//! [`on_complete`]: Completion::on_complete
//! [`on_complete_in`]: Completion::on_complete_in
//! [`wait`]: Completion::wait
//! [`wait_timeout`]: Completion::wait_timeout

mod callback;
mod coroutine;
mod error;
pub(crate) mod io;
pub(crate) mod job;
mod operation;
mod queue;
mod service;
mod state;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::driver::Wake;
use crate::sched::task::contain;
use crate::sched::{self, Cancel as Cancellable, Unparker, WaitReason, context};
use callback::Callback;
use operation::{Cancel, Operation, Reaction};

pub use coroutine::start;
pub use error::CompletionError;
pub use queue::Completions;

/// The handle of an asynchronous call, and of its one result. See the [module](self).
///
/// Dropping it detaches: the call goes on and its result is dropped.
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     let answer = tarae::start(|| 6 * 7);
///     // … whatever else there is to do …
///     assert_eq!(answer.wait().unwrap(), 42);
/// })
/// .unwrap();
/// ```
///
/// The result comes from another thread, so it may not be bound to one:
///
/// ```compile_fail,E0277
/// tarae::offload::start(|| std::rc::Rc::new(1));
/// ```
#[must_use = "dropping it detaches the call, and drops its result"]
pub struct Completion<T: Send + 'static> {
    operation: Arc<dyn Operation<Output = T>>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The state has no reaction of ours.
    Idle,
    /// It has one that wakes.
    Reacting,
    /// The result was taken, or is somebody else's to take.
    Gone,
}

/// What [`Completion::try_get`] finds.
///
/// # Examples
///
/// See [`Completion::try_get`].
#[derive(Debug)]
pub enum Check<T> {
    /// The call has not completed.
    Pending,
    /// Its result, taken now.
    Ready(Result<T, CompletionError>),
    /// The result was taken before.
    Taken,
}

/// Runs jobs somewhere: where [`Completion::on_complete_in`] has callbacks run. Any
/// `Fn(Box<dyn FnOnce() + Send>)` is one.
///
/// # Examples
///
/// See [`Completion::on_complete_in`], and [`Handle`](crate::event::Handle), which is one.
pub trait Executor: Send + 'static {
    /// Has `job` run, once. Called by the thread that completes, on which it must not wait, or by
    /// the one that registers: an executor that runs it right here runs it there.
    fn execute(&self, job: Box<dyn FnOnce() + Send>);
}

impl<E> Executor for E
where
    E: Fn(Box<dyn FnOnce() + Send>) + Send + 'static,
{
    fn execute(&self, job: Box<dyn FnOnce() + Send>) {
        self(job);
    }
}

impl<T: Send + 'static> Completion<T> {
    fn new(operation: Arc<dyn Operation<Output = T>>) -> Completion<T> {
        Completion {
            operation,
            stage: Stage::Idle,
        }
    }

    /// Check: takes the result if it is there. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::completion::Check;
    ///
    /// let runtime = tarae::Builder::new().workers(1);
    /// let ended = runtime.run(|| {
    ///     let mut call = tarae::start(|| "done");
    ///     assert!(matches!(call.try_get(), Check::Pending));
    ///     tarae::yield_now(); // The coroutine has its turn.
    ///     assert!(matches!(call.try_get(), Check::Ready(Ok("done"))));
    ///     assert!(matches!(call.try_get(), Check::Taken));
    /// });
    /// ended.unwrap();
    /// ```
    pub fn try_get(&mut self) -> Check<T> {
        match self.stage {
            Stage::Gone => Check::Taken,
            _ if !self.is_complete() => Check::Pending,
            _ => Check::Ready(self.take()),
        }
    }

    /// Whether the result has come; whether or not it was taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let call = tarae::offload::start(|| 6 * 7);
    /// while !call.is_complete() {
    ///     std::thread::yield_now(); // Or something better to do.
    /// }
    /// assert_eq!(call.wait().unwrap(), 42);
    /// ```
    pub fn is_complete(&self) -> bool {
        self.operation.core().state.is_complete()
    }

    /// Callback: has `f` called with the result, exactly once, on the thread that the
    /// [module](self#where-callbacks-run) says, never on this frame. Never waits.
    ///
    /// On a worker it must not wait. Its panics are contained.
    ///
    /// # Panics
    ///
    /// When the result was taken before; or when the service thread is needed and cannot be
    /// started.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// tarae::Builder::new()
    ///     .workers(1)
    ///     .run(move || {
    ///         let call = tarae::start(|| 6 * 7);
    ///         call.on_complete(move |value| tell.send(value.unwrap()).unwrap());
    ///     })
    ///     .unwrap();
    /// // The runtime's end has cancelled what had not begun: its result was that.
    /// assert!(matches!(told.recv(), Ok(42) | Err(_)));
    /// ```
    pub fn on_complete<F>(self, f: F)
    where
        F: FnOnce(Result<T, CompletionError>) + Send + 'static,
    {
        self.react_last(Reaction::Callback(Callback::new(f)));
    }

    /// As [`on_complete`](Completion::on_complete), but `f` is a job of `executor`: it runs
    /// wherever that runs its jobs.
    ///
    /// # Panics
    ///
    /// When the result was taken before.
    ///
    /// # Examples
    ///
    /// The caller's own thread processes the result, in its own loop:
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// type Job = Box<dyn FnOnce() + Send>;
    /// let (jobs, mine) = mpsc::channel::<Job>();
    /// let here = std::thread::current().id();
    /// let call = tarae::offload::start(|| std::thread::current().id());
    /// call.on_complete_in(
    ///     move |job| jobs.send(job).unwrap(),
    ///     move |there| {
    ///         assert_eq!(std::thread::current().id(), here);
    ///         assert_ne!(there.unwrap(), here);
    ///     },
    /// );
    /// mine.into_iter().for_each(|job| job());
    /// ```
    pub fn on_complete_in<E, F>(self, executor: E, f: F)
    where
        E: Executor,
        F: FnOnce(Result<T, CompletionError>) + Send + 'static,
    {
        self.hand_over(move |outcome| executor.execute(Box::new(move || f(outcome))));
    }

    /// Waits for the result: parks the coroutine that calls it, blocks a plain thread. With this
    /// the call is a *synchronous* one.
    ///
    /// # Errors
    ///
    /// See [`CompletionError`]; [`is_cancelled`](CompletionError::is_cancelled) and
    /// [`is_timeout`](CompletionError::is_timeout) also when the wait itself was cut short by a
    /// cancellation or a [deadline](crate::cancel): the call goes on then, detached.
    ///
    /// # Examples
    ///
    /// See [`Completion`].
    pub fn wait(mut self) -> Result<T, CompletionError> {
        if self.stage == Stage::Gone {
            return Err(CompletionError::taken());
        }
        match self.wait_until(None) {
            Wake::Ready => self.take(),
            wake => Err(CompletionError::of_wait(wake)),
        }
    }

    /// As [`wait`](Completion::wait), for so long at most: `Pending` when the time is up, and early
    /// when the wait is cancelled. The call goes on, and may be asked again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tarae::completion::Check;
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut call = tarae::offload::start(move || told.recv().unwrap());
    /// assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Check::Pending));
    /// tell.send(5).unwrap();
    /// assert_eq!(call.wait().unwrap(), 5);
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Check<T> {
        if self.stage == Stage::Gone {
            return Check::Taken;
        }
        match self.wait_until(sched::now().checked_add(timeout)) {
            Wake::Ready => Check::Ready(self.take()),
            _ => Check::Pending,
        }
    }

    /// Asks the call to end early, and does not wait for it. Its result still comes, once:
    ///
    /// * A coroutine's waits are cancelled, as by
    ///   [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel); one that has not begun never
    ///   will, and its result is an error that [`is_cancelled`](CompletionError::is_cancelled).
    /// * An offloaded job that no thread has taken is withdrawn, with the same error. One that has
    ///   begun sees it by [`thread::is_cancelled`](crate::thread::is_cancelled), and its waits end.
    /// * A socket's operation that waits gives the buffer back, with an error that
    ///   [`Cancelled::is`](crate::Cancelled::is) recognises.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::net::{TcpListener, TcpStream};
    ///
    /// tarae::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     let read = client.start_read(vec![0; 16]);
    ///     read.cancel();
    ///     let (result, buffer) = read.wait().unwrap();
    ///     assert!(tarae::Cancelled::is(&result.unwrap_err()));
    ///     assert_eq!(buffer.len(), 16);
    /// })
    /// .unwrap();
    /// ```
    pub fn cancel(&self) {
        Arc::clone(&self.operation).cancel();
    }

    /// Something to cancel the call with when the handle is gone, to a callback for instance.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let call = tarae::offload::start(|| while !tarae::thread::is_cancelled() {});
    /// let canceller = call.canceller();
    /// call.on_complete(move |ended| tell.send(ended).unwrap());
    /// canceller.cancel();
    /// let ended = told.recv().unwrap();
    /// assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
    /// ```
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::<dyn Operation<Output = T>>::clone(&self.operation))
    }

    /// Waits for the end; the wait ends otherwise too, and leaves nothing behind then.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Wake {
        let operation = Arc::clone(&self.operation);
        let state = &operation.core().state;
        self.withdraw();
        // SAFETY: by the handle, which has no reaction there.
        let waits = unsafe { state.react(Reaction::Unpark(Unparker::current())) };
        if !waits {
            return Wake::Ready;
        }
        self.stage = Stage::Reacting;
        while !state.is_complete() {
            let wake = sched::park(WaitReason::Completion, deadline, Cancellable::Yes);
            if wake != Wake::Ready {
                self.withdraw();
                if !self.is_complete() {
                    return wake;
                }
                context::succeeded(deadline, wake);
            }
        }
        Wake::Ready
    }

    /// Takes a reaction that wakes back, if there is one.
    fn withdraw(&mut self) {
        if self.stage == Stage::Reacting {
            self.stage = Stage::Idle;
            // SAFETY: `react` gave true, and nothing was withdrawn since. If it is too late, the
            // result has come.
            unsafe { self.operation.core().state.withdraw() };
        }
    }

    /// Takes the result, which has come.
    fn take(&mut self) -> Result<T, CompletionError> {
        self.stage = Stage::Gone;
        // SAFETY: complete, and no reaction but one that wakes: it is the handle's, which takes it
        // once, as the stage says.
        let ended = unsafe { self.operation.core().state.take() };
        ended.expect("complete and not taken").outcome
    }

    pub(crate) fn assert_untaken(&self) {
        assert!(
            self.stage != Stage::Gone,
            "the result of this call was taken before"
        );
    }

    /// Has `f` pass the result on, right where that comes or, if it is there, here: it runs nothing
    /// of the user's.
    pub(crate) fn hand_over<F>(self, f: F)
    where
        F: FnOnce(Result<T, CompletionError>) + Send + 'static,
    {
        self.react_last(Reaction::Direct(Callback::new(f)));
    }

    fn react_last(mut self, reaction: Reaction<T>) {
        self.assert_untaken();
        self.withdraw();
        self.stage = Stage::Gone;
        // SAFETY: by the handle, which has left nothing and is gone with this.
        unsafe { operation::react_last(Arc::clone(&self.operation), reaction) };
    }
}

impl<T: Send + 'static> Drop for Completion<T> {
    fn drop(&mut self) {
        if self.stage == Stage::Gone {
            return;
        }
        self.withdraw();
        if self.operation.core().state.detach() {
            self.operation.detach();
        } else {
            let result = self.take();
            contain(move || drop(result));
        }
    }
}

/// Gives what [`wait`](Completion::wait) does, in any executor. Dropping it detaches the call.
///
/// # Panics
///
/// When it is polled after it gave the result.
impl<T: Send + 'static> Future for Completion<T> {
    type Output = Result<T, CompletionError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(
            self.stage != Stage::Gone,
            "polled after the result was taken"
        );
        self.withdraw();
        let reaction = Reaction::Wake(context.waker().clone());
        // SAFETY: by the handle, which has no reaction there.
        if unsafe { self.operation.core().state.react(reaction) } {
            self.stage = Stage::Reacting;
            return Poll::Pending;
        }
        Poll::Ready(self.take())
    }
}

impl<T: Send + 'static> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("is_complete", &self.is_complete())
            .field("is_taken", &(self.stage == Stage::Gone))
            .finish()
    }
}

/// Cancels an asynchronous call; see [`Completion::canceller`].
///
/// # Examples
///
/// See [`Completion::canceller`].
#[derive(Clone)]
pub struct Canceller(Arc<dyn Cancel>);

impl Canceller {
    /// As [`Completion::cancel`]; does nothing when the call has completed.
    ///
    /// # Examples
    ///
    /// See [`Completion::canceller`].
    pub fn cancel(&self) {
        Arc::clone(&self.0).cancel();
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}
