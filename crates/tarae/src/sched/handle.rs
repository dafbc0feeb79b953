//! `JoinHandle`: the typed end of a spawned coroutine.
//!
//! Made by `thread::spawn` and its kin. It never keeps a coroutine from running: dropping it
//! detaches.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::payload::Payload;
use super::select::{Alarm, Branch, Ending, Ticket, arm};
use super::task::{Blueprint, Failure, TaskRef};
use super::{Cancel, Unparker, WaitReason, deadlock};
use crate::driver::Wake;

/// Waits for a coroutine's end and gives its value, as [`std::thread::JoinHandle`] does.
///
/// Dropping the handle detaches the coroutine: it goes on.
///
/// # Examples
///
/// ```
/// let sum = tarae::run(|| {
///     let parts: Vec<_> = (1..=3).map(|n| tarae::spawn(move || n * 10)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
/// })
/// .unwrap();
/// assert_eq!(sum, 60);
/// ```
pub struct JoinHandle<T> {
    task: TaskRef,
    /// The result was moved out, or is not ours to drop any more.
    done: bool,
    result: PhantomData<T>,
}

impl<T> JoinHandle<T> {
    /// Makes a task and its handle.
    ///
    /// # Safety
    /// As for `TaskRef::new`.
    pub(crate) unsafe fn new<F: FnOnce(Wake) -> T>(
        blueprint: Blueprint<F>,
    ) -> (TaskRef, JoinHandle<T>) {
        // SAFETY: the caller's promise.
        let task = unsafe { TaskRef::new::<F, T>(blueprint) };
        let handle = JoinHandle {
            task: task.clone(),
            done: false,
            result: PhantomData,
        };
        (task, handle)
    }

    /// Waits for the end: parks the coroutine that calls it, blocks a plain thread.
    ///
    /// # Errors
    ///
    /// [`JoinError::is_panic`] when the coroutine panicked, [`JoinError::is_cancelled`] when it
    /// was cancelled before it ran, or when the wait itself was cancelled,
    /// [`JoinError::is_leaked`] when its runtime has ended without it,
    /// [`JoinError::is_no_stack`] when it cannot begin since there is no stack for it,
    /// [`JoinError::is_timeout`] when a deadline around it ended the wait. The coroutine goes on
    /// then, detached.
    ///
    /// # Panics
    ///
    /// When a coroutine joins itself.
    pub fn join(mut self) -> Result<T, JoinError> {
        if let Unparker::Coroutine(task) = Unparker::current() {
            assert!(
                task.as_ptr() != self.task.as_ptr(),
                "a coroutine cannot join itself"
            );
        }
        let reason = WaitReason::Join(self.task.info.id);
        // SAFETY: `self` is the one joiner, and it has not registered yet.
        let registered = unsafe { self.task.join.register(Alarm::current()) };
        let _blocking = registered.then(|| deadlock::waits_for_end(&self.task));
        while registered && !self.task.join.is_done() {
            let wake = super::park(reason, None, Cancel::Yes);
            if wake == Wake::Ready {
                continue;
            }
            // SAFETY: registered above.
            if unsafe { self.task.join.withdraw() } {
                return Err(JoinError {
                    kind: Kind::WaitEnded(wake),
                });
            }
            super::context::succeeded(None, wake);
        }
        self.done = true;
        // SAFETY: done, by the joiner, once; `T` is what the task was made with.
        unsafe { self.task.take_result::<T>() }.map_err(|failure| JoinError {
            kind: match failure {
                Failure::Panic(payload) => Kind::Panic(Payload::new(payload)),
                Failure::Cancelled => Kind::NeverRan,
                Failure::NoStack(error) => Kind::NoStack(error),
                Failure::Leaked => Kind::Leaked,
            },
        })
    }

    /// Asks the coroutine to stop, and does not wait for it: the wait it is in ends with
    /// [`Cancelled`](crate::Cancelled) (or early, where there is no error to give), and so does
    /// every later one. An operation that has succeeded returns its result. A coroutine that has
    /// not started never will: `join` says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::net::TcpListener;
    ///
    /// tarae::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let acceptor = tarae::spawn(move || listener.accept().map(drop));
    ///     tarae::yield_now();
    ///     acceptor.cancel();
    ///     match acceptor.join() {
    ///         Ok(accepted) => assert!(tarae::Cancelled::is(&accepted.unwrap_err())),
    ///         Err(error) => assert!(error.is_cancelled(), "it had not started"),
    ///     }
    /// })
    /// .unwrap();
    /// ```
    pub fn cancel(&self) {
        super::worker::cancel(&self.task);
    }

    /// Whether the coroutine has ended, or has been leaked; `join` does not wait then.
    pub fn is_finished(&self) -> bool {
        self.task.join.is_done()
    }

    /// The coroutine's identity: id, name, spawn site.
    pub fn thread(&self) -> crate::thread::Thread {
        crate::thread::Thread::of(self.task.clone())
    }
}

/// A coroutine whose end is told to a completion, which is its joiner.
pub(crate) struct Told<T> {
    task: TaskRef,
    result: PhantomData<fn() -> T>,
}

impl<T: Send> Told<T> {
    pub(crate) fn new(mut handle: JoinHandle<T>) -> Told<T> {
        handle.done = true;
        Told {
            task: handle.task.clone(),
            result: PhantomData,
        }
    }

    /// Has `ending` told of the end.
    ///
    /// # Safety
    /// Once, before the coroutine is given to anybody.
    pub(crate) unsafe fn tell(&self, ending: Arc<dyn Ending>) {
        // SAFETY: by the one joiner, once. It cannot have ended, since nobody has it.
        let registered = unsafe { self.task.join.register(Alarm::Completion(ending)) };
        assert!(registered, "it has not begun");
    }

    /// Nobody wants to know of the end any more, if it has not come: it is that of a coroutine
    /// whose handle was dropped.
    ///
    /// # Safety
    /// Once, after `tell`.
    pub(crate) unsafe fn detach(&self) {
        // SAFETY: registered by `tell`, and not withdrawn before.
        if unsafe { self.task.join.withdraw() } {
            self.task.detach();
        }
    }

    /// Moves the result out.
    ///
    /// # Safety
    /// Once, by the one who was told of the end.
    pub(crate) unsafe fn take(&self) -> Result<T, Failure> {
        // SAFETY: the caller's promise; `T` is what the task was made with.
        unsafe { self.task.take_result() }
    }

    /// See `JoinHandle::cancel`.
    pub(crate) fn cancel(&self) {
        super::worker::cancel(&self.task);
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if !self.done {
            self.task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(&self.task).finish()
    }
}

/// The branch `join` of a `select!`: whether the coroutine has ended. It borrows the handle alone,
/// so there is still one joiner.
pub struct JoinBranch<'a, T> {
    handle: &'a mut JoinHandle<T>,
    registered: bool,
    refusal: Option<Wake>,
}

impl<'a, T> JoinBranch<'a, T> {
    pub(crate) fn new(handle: &'a mut JoinHandle<T>) -> JoinBranch<'a, T> {
        JoinBranch {
            handle,
            registered: false,
            refusal: None,
        }
    }

    /// Why the handle is not to be joined, if it is not.
    #[doc(hidden)]
    pub fn take(&mut self) -> Option<JoinError> {
        self.refusal.map(|wake| JoinError {
            kind: Kind::WaitEnded(wake),
        })
    }

    arm!();
}

impl<T> Branch for JoinBranch<'_, T> {
    fn poll(&mut self, _waits: bool) -> bool {
        self.handle.is_finished()
    }

    fn register(&mut self, ticket: &Ticket) -> bool {
        let alarm = Alarm::Branch(ticket.clone());
        // SAFETY: the handle is borrowed alone, and what was registered has been withdrawn.
        self.registered = unsafe { self.handle.task.join.register(alarm) };
        !self.registered
    }

    fn unregister(&mut self) {
        if std::mem::take(&mut self.registered) {
            // SAFETY: registered by this branch. If it is too late, the end has come.
            unsafe { self.handle.task.join.withdraw() };
        }
    }

    fn refuse(&mut self, wake: Wake) {
        self.refusal = Some(wake);
    }
}

impl<T> Drop for JoinBranch<'_, T> {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// Why [`JoinHandle::join`] gave no value.
pub struct JoinError {
    kind: Kind,
}

enum Kind {
    Panic(Payload),
    NeverRan,
    NoStack(String),
    Leaked,
    /// It returned an error, which its scope gives.
    Failed,
    /// The wait was ended: cancelled, or by a deadline.
    WaitEnded(Wake),
}

impl JoinError {
    /// The coroutine panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Kind::Panic(_))
    }

    /// The coroutine was cancelled before it ran, or this wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::NeverRan | Kind::WaitEnded(Wake::Cancelled))
    }

    /// A [deadline](crate::cancel) ended the wait; the coroutine goes on.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::WaitEnded(Wake::TimedOut))
    }

    /// The coroutine returned an error, which is what its
    /// [`try_scope`](crate::scope::try_scope) gives if it was the first.
    pub fn is_failed(&self) -> bool {
        matches!(self.kind, Kind::Failed)
    }

    pub(crate) fn failed() -> JoinError {
        JoinError { kind: Kind::Failed }
    }

    pub(crate) fn never_ran() -> JoinError {
        JoinError {
            kind: Kind::NeverRan,
        }
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError {
            kind: Kind::Panic(Payload::new(payload)),
        }
    }

    /// The coroutine ignored its cancellation for the whole grace period at the end of its runtime:
    /// its stack was leaked, and it never runs again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut stubborn = None;
    /// let ended = tarae::Builder::new().grace(Duration::ZERO).run(|| {
    ///     stubborn = Some(tarae::spawn_local(|| loop {
    ///         tarae::time::sleep(Duration::from_secs(60));
    ///     }));
    ///     tarae::yield_now();
    /// });
    /// assert_eq!(ended.unwrap_err().stragglers().len(), 1);
    /// assert!(stubborn.unwrap().join().unwrap_err().is_leaked());
    /// ```
    pub fn is_leaked(&self) -> bool {
        matches!(self.kind, Kind::Leaked)
    }

    /// The coroutine never ran: the process has as many stacks as its limits allow, and none was
    /// free. The text says which limit was met and how to raise it.
    pub fn is_no_stack(&self) -> bool {
        matches!(self.kind, Kind::NoStack(_))
    }

    /// The payload of the panic, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// When it was not a panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.kind {
            Kind::Panic(payload) => payload.into_inner(),
            _ => panic!("the coroutine did not panic: {self}"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Panic(payload) => write!(f, "the coroutine panicked: {payload}"),
            Kind::NeverRan => f.write_str("the coroutine was cancelled before it ran"),
            Kind::NoStack(error) => write!(f, "the coroutine did not run: {error}"),
            Kind::Leaked => f.write_str(
                "the coroutine ignored its cancellation for the whole grace period and was leaked",
            ),
            Kind::Failed => f.write_str("the coroutine returned an error to its scope"),
            Kind::WaitEnded(Wake::TimedOut) => {
                f.write_str("the coroutine did not end before the deadline")
            }
            Kind::WaitEnded(_) => f.write_str("the wait for the coroutine was cancelled"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
