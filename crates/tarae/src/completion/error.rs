//! Why an asynchronous call gave no value. Made by the starters and by `Completion::wait`.

use std::any::Any;
use std::fmt;

use crate::driver::Wake;
use crate::offload::OffloadError;
use crate::sched::payload::Payload;
use crate::sched::task::Failure;

/// Why an asynchronous call gave no value; see [`Completion`](super::Completion).
///
/// Calls of sockets give theirs inside an [`io::Error`](std::io::Error), beside the buffer.
pub struct CompletionError {
    kind: Kind,
}

enum Kind {
    Panic(Payload),
    Cancelled,
    NoStack(String),
    Leaked,
    Pool(OffloadError),
    /// The wait was ended; the call goes on.
    WaitEnded(Wake),
    Taken,
}

impl CompletionError {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> CompletionError {
        let kind = Kind::Panic(Payload::new(payload));
        CompletionError { kind }
    }

    pub(super) fn of_wait(wake: Wake) -> CompletionError {
        let kind = Kind::WaitEnded(wake);
        CompletionError { kind }
    }

    pub(super) fn taken() -> CompletionError {
        let kind = Kind::Taken;
        CompletionError { kind }
    }

    pub(super) fn of_pool(error: OffloadError) -> CompletionError {
        let kind = match error {
            error if error.is_cancelled() => Kind::Cancelled,
            error => Kind::Pool(error),
        };
        CompletionError { kind }
    }

    /// The closure panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Kind::Panic(_))
    }

    /// The call was cancelled before it began; or the wait for it was, and it goes on.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self.kind,
            Kind::Cancelled | Kind::WaitEnded(Wake::Cancelled)
        )
    }

    /// A [deadline](crate::cancel) around it ended the wait; the call goes on.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::WaitEnded(Wake::TimedOut))
    }

    /// The coroutine ignored its cancellation for the whole grace period at the end of its runtime,
    /// and was leaked.
    pub fn is_leaked(&self) -> bool {
        matches!(self.kind, Kind::Leaked)
    }

    /// The coroutine did not run: there was no stack for it, see
    /// [`spawn`](crate::spawn#where-there-is-no-stack).
    pub fn is_no_stack(&self) -> bool {
        matches!(self.kind, Kind::NoStack(_))
    }

    /// The offloaded job did not run: every thread of its pool is at work and the queue is full.
    pub fn is_full(&self) -> bool {
        matches!(&self.kind, Kind::Pool(error) if error.is_full())
    }

    /// The offloaded job did not run: the pool has no thread, and the system gives it none.
    pub fn is_no_thread(&self) -> bool {
        matches!(&self.kind, Kind::Pool(error) if error.is_no_thread())
    }

    /// [`try_get`](super::Completion::try_get) has taken the result before.
    pub fn is_taken(&self) -> bool {
        matches!(self.kind, Kind::Taken)
    }

    /// The payload of the panic, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// When it was not a panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.kind {
            Kind::Panic(payload) => payload.into_inner(),
            _ => panic!("the call did not panic: {self}"),
        }
    }
}

impl From<Failure> for CompletionError {
    fn from(failure: Failure) -> CompletionError {
        let kind = match failure {
            Failure::Panic(payload) => return CompletionError::panicked(payload),
            Failure::Cancelled => Kind::Cancelled,
            Failure::NoStack(text) => Kind::NoStack(text),
            Failure::Leaked => Kind::Leaked,
        };
        CompletionError { kind }
    }
}

impl fmt::Display for CompletionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Panic(payload) => write!(f, "the call panicked: {payload}"),
            Kind::Cancelled => f.write_str("the call was cancelled before it began"),
            Kind::NoStack(error) => write!(f, "the coroutine did not run: {error}"),
            Kind::Leaked => f.write_str(
                "the coroutine ignored its cancellation for the whole grace period and was leaked",
            ),
            Kind::Pool(error) => error.fmt(f),
            Kind::WaitEnded(Wake::TimedOut) => {
                f.write_str("the call did not complete before the deadline")
            }
            Kind::WaitEnded(_) => f.write_str("the wait for the call was cancelled"),
            Kind::Taken => f.write_str("the result has been taken before"),
        }
    }
}

impl fmt::Debug for CompletionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompletionError({self})")
    }
}

impl std::error::Error for CompletionError {}
