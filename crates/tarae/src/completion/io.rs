//! The starters of socket operations: an attempt, again and again, whenever the socket is ready.
//!
//! Called by `net` and `os`. On a worker's thread the operation is left with the driver as a
//! callback: no coroutine, no stack. Elsewhere a thread of the blocking pool makes the call.
//!
//! Invariants: on a worker's thread only that worker attempts, waits and ends, so the lock is never
//! contended there. `wait` names a wait that the driver has not handed out, or one that it has just
//! handed out and whose callback is still to be called; nobody takes a wait back between the two:
//! coroutines and posted functions do not run then, and callbacks post.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::job::{self, Work};
use super::operation::{Cancel, Core, Home, Operation, Outcome, complete};
use super::{Completion, CompletionError};
use crate::driver::{Direction, Source, WaitKey, Wake};
use crate::offload::{OffloadError, Pool};
use crate::sched;
use crate::sched::io::{Cancelled, Patience, leave, take_back, timed_out};
use crate::sched::worker::Worker;

/// A socket operation, as far as starting it needs to know it.
pub(crate) trait Asynchronous: Send + 'static {
    /// What an attempt gives.
    type Value: Send + 'static;
    /// What the completion gives.
    type Output: Send + 'static;
    const DIRECTION: Direction;

    /// Tries, and waits as `patience` says.
    fn attempt(&mut self, source: &Source, patience: Patience) -> io::Result<Self::Value>;

    fn finish(self, source: Arc<Source>, result: io::Result<Self::Value>) -> Self::Output;
}

struct Io<A: Asynchronous> {
    core: Core<A::Output>,
    home: Home,
    deadline: Option<Instant>,
    progress: Mutex<Progress<A>>,
}

struct Progress<A> {
    /// Present until it ends, but for the time of an attempt.
    step: Option<Step<A>>,
    wait: Option<WaitKey>,
}

/// What an attempt needs; on a pool's thread all there is.
struct Step<A> {
    source: Arc<Source>,
    operation: A,
}

/// Starts `operation` on `source`; the socket's own time-out bounds it.
pub(crate) fn start<A: Asynchronous>(source: &Arc<Source>, operation: A) -> Completion<A::Output> {
    let timeout = source.timeout(A::DIRECTION);
    let source = Arc::clone(source);
    let step = Step { source, operation };
    let Some(home) = Home::here() else {
        return job::submit(Pool::Blocking, step);
    };
    let io = Arc::new(Io {
        core: Core::new(),
        home,
        deadline: timeout.and_then(|timeout| sched::now().checked_add(timeout)),
        progress: Mutex::new(Progress {
            step: Some(step),
            wait: None,
        }),
    });
    io.go_on();
    Completion::new(io)
}

/// Starts a call that waits for what the driver does not know: in a coroutine on a worker's thread,
/// elsewhere on a thread of the blocking pool.
#[track_caller]
pub(crate) fn start_call<F, T>(f: F) -> Completion<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Home::here() {
        Some(_) => super::start(f),
        None => job::start(f),
    }
}

/// A completion that has its result from the start.
pub(crate) fn ready<T: Send + 'static>(outcome: Outcome<T>) -> Completion<T> {
    struct Ready<T>(Core<T>);
    impl<T: Send + 'static> Operation for Ready<T> {
        type Output = T;
        fn core(&self) -> &Core<T> {
            &self.0
        }
    }
    impl<T: Send + 'static> Cancel for Ready<T> {
        fn cancel(self: Arc<Self>) {}
    }
    let ready = Arc::new(Ready(Core::new()));
    // SAFETY: once.
    unsafe { complete(&ready, outcome, false) };
    Completion::new(ready)
}

impl<A: Asynchronous> Io<A> {
    fn progress(&self) -> MutexGuard<'_, Progress<A>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries; waits for the socket, or ends. On its worker, while it does not wait.
    fn go_on(self: &Arc<Self>) {
        // Not under the lock: the buffer's type may be anybody's.
        let step = self.progress().step.take();
        let mut step = step.expect("it has not ended");
        let attempt = AssertUnwindSafe(|| step.operation.attempt(&step.source, Patience::None));
        let result = match panic::catch_unwind(attempt) {
            Ok(result) => result,
            Err(payload) => return self.complete(Err(CompletionError::panicked(payload))),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(step),
            result => self.end(step, result),
        }
    }

    fn wait(self: &Arc<Self>, step: Step<A>) {
        let left = Left(Some(Arc::clone(self)));
        let mut left = Some(left);
        let callback = Box::new(move |wake| {
            let io = left.take().and_then(|mut left| left.0.take());
            io.into_iter().for_each(|io| io.woken(wake));
            false
        });
        match leave(&step.source, A::DIRECTION, self.deadline, callback) {
            Ok(wait) => {
                let mut progress = self.progress();
                progress.step = Some(step);
                progress.wait = Some(wait);
            }
            Err(error) => self.end(step, Err(error)),
        }
    }

    /// The driver has handed the wait out.
    fn woken(self: &Arc<Self>, wake: Wake) {
        self.progress().wait = None;
        match wake {
            Wake::Ready => self.go_on(),
            Wake::TimedOut => self.give_up(timed_out()),
            Wake::Cancelled => self.give_up(io::Error::other(Cancelled)),
        }
    }

    /// Ends it with an error, unless it has ended.
    fn give_up(self: &Arc<Self>, error: io::Error) {
        let step = self.progress().step.take();
        if let Some(step) = step {
            self.end(step, Err(error));
        }
    }

    fn end(self: &Arc<Self>, step: Step<A>, result: io::Result<A::Value>) {
        self.complete(Ok(step.operation.finish(step.source, result)));
    }

    fn complete(self: &Arc<Self>, outcome: Outcome<A::Output>) {
        let in_loop = Worker::current().is_some_and(|worker| !worker.in_coroutine());
        // SAFETY: the step was taken out for good, which happens once.
        unsafe { complete(self, outcome, in_loop) };
    }

    /// Ends the wait, if it waits. On its worker, while no callback is on its way.
    fn cancel_here(self: &Arc<Self>) {
        let wait = self.progress().wait.take();
        wait.into_iter().for_each(take_back);
    }
}

/// What the driver's callback has. If that is dropped uncalled, for it was taken back or its worker
/// is no more, the operation ends.
struct Left<A: Asynchronous>(Option<Arc<Io<A>>>);

impl<A: Asynchronous> Drop for Left<A> {
    fn drop(&mut self) {
        if let Some(io) = self.0.take() {
            io.give_up(io::Error::other(Cancelled));
        }
    }
}

impl<A: Asynchronous> Operation for Io<A> {
    type Output = A::Output;

    fn core(&self) -> &Core<A::Output> {
        &self.core
    }
}

impl<A: Asynchronous> Cancel for Io<A> {
    fn cancel(self: Arc<Self>) {
        match Worker::current() {
            Some(worker) if self.home.is(worker) && worker.in_coroutine() => self.cancel_here(),
            _ => self.home.post(move |_| self.cancel_here()),
        }
    }
}

impl<A: Asynchronous> Work for Step<A> {
    type Output = A::Output;

    fn run(mut self) -> A::Output {
        let patience = Patience::For(self.source.timeout(A::DIRECTION));
        let result = self.operation.attempt(&self.source, patience);
        self.operation.finish(self.source, result)
    }

    fn refuse(self, error: OffloadError) -> Outcome<A::Output> {
        Ok(self.operation.finish(self.source, Err(error.into())))
    }
}
