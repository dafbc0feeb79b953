//! Cancellation and deadlines for whatever a closure does.
//!
//! Public. Whatever waits inside such a closure — sockets, sleeping, locks that can be cancelled,
//! channels, offloaded jobs, [`join`](crate::thread::JoinHandle::join), the children of
//! [scopes](mod@crate::scope) — is bounded by it, however deep it stands. Nothing is unwound and
//! nothing is dropped: the wait ends, and the call reports it.
//!
//! | | ends waits with | by |
//! | --- | --- | --- |
//! | [`timeout`], [`deadline`] | a time-out | time |
//! | [`CancelToken::run`] | a cancellation | [`CancelToken::cancel`] |
//! | [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel) | a cancellation | its caller |
//! | a [scope](mod@crate::scope) | a cancellation | its first error or panic, or its `cancel` |
//! | [`shield`] | neither of those around it | |
//!
//! * **They nest.** The tightest deadline is the one that counts, and a time-out belongs to whoever
//!   set it: when the outer one of two passes, the inner closure's result is an ordinary one, and
//!   [`timeout`] says so outside. Of two equal deadlines, the outer counts.
//! * **What has succeeded is not lost.** An operation is tried before it waits: data that is there
//!   is read, also after the deadline. A closure that returns has its value returned, inside
//!   [`TimedOut`] if need be.
//! * **Children inherit.** The children of a scope are bounded by all that the scope stands inside
//!   of. [`spawn`](fn@crate::spawn) makes a coroutine that stands inside nothing, since it may live
//!   longer.
//! * **Cancellation comes first**: a wait that both would end reports the cancellation.
//! * **A started job**, the end of a scope, and calls without room for it in std's signature, such
//!   as `lock`, are not cut short. What each call does is listed here:
//!
#![doc = include_str!("../docs/cancellation.md")]
//!
//! A [bare coroutine](crate::Coroutine) that pauses inside such a closure leaves it in force for
//! whoever resumed it, until it has been resumed to the closure's end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::sched::cancel::CancelNode;
use crate::sched::context::{self, Entered};
use crate::sched::worker;
use crate::time::Instant;

/// Has what runs inside of it cancelled, from anywhere, at once.
///
/// Clones are the same token. It can be cancelled once, and stays so.
///
/// # Examples
///
/// ```
/// use tarae::cancel::CancelToken;
/// use tarae::net::TcpListener;
///
/// tarae::run(|| {
///     let token = CancelToken::new();
///     let inside = token.clone();
///     let server = tarae::spawn(move || {
///         inside.run(|| TcpListener::bind("127.0.0.1:0")?.accept().map(drop))
///     });
///     tarae::yield_now();
///     token.cancel();
///     let accepted = server.join().unwrap();
///     assert!(tarae::Cancelled::is(&accepted.unwrap_err()));
/// })
/// .unwrap();
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<CancelNode>,
}

impl CancelToken {
    /// A token that nothing else cancels.
    pub fn new() -> CancelToken {
        CancelToken {
            node: CancelNode::under(&[]),
        }
    }

    /// A token that is cancelled with this one, and can be cancelled by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let all = tarae::cancel::CancelToken::new();
    /// let (one, other) = (all.child(), all.child());
    /// one.cancel();
    /// assert!(one.is_cancelled() && !all.is_cancelled() && !other.is_cancelled());
    /// all.cancel();
    /// assert!(other.is_cancelled() && all.child().is_cancelled());
    /// ```
    pub fn child(&self) -> CancelToken {
        CancelToken {
            node: CancelNode::under(std::slice::from_ref(&self.node)),
        }
    }

    /// Cancels what runs inside it, and inside its children, and waits for nothing. From any
    /// thread, any number of times.
    pub fn cancel(&self) {
        self.node.cancel();
    }

    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    pub(crate) fn node(&self) -> &Arc<CancelNode> {
        &self.node
    }

    /// Runs `f` here and now. Once the token is cancelled, the wait that `f` is in ends, and so
    /// does each that follows, as if the coroutine had been cancelled; after `run` it is not.
    ///
    /// On a plain thread too: its waits for sockets, time, and others end. (Inside tokens and
    /// scopes such a thread has an eventfd for that. Where the process has no descriptor left, it
    /// notices when the wait has ended by itself.) A job of [`offload`](fn@crate::offload) notices
    /// at the beginning of its next wait.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = context::enter_token(Arc::clone(&self.node));
        f()
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Cancels the coroutines with these numbers (see [`inspect::coroutine_id`]), as
/// [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel) does, for whoever has no handles of
/// them: a server whose connections are to end, for instance. Waits for nothing. Those that have
/// not begun, have ended, or belong to another runtime than the caller's are left alone; on a plain
/// thread all are.
///
/// A worker that is held by a computation gets round to it when that is over.
///
/// [`inspect::coroutine_id`]: crate::inspect::coroutine_id
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::{cancel, inspect, sync::mpsc, time};
///
/// tarae::run(|| {
///     let (tell, told) = mpsc::channel();
///     let sleeper = tarae::spawn(move || {
///         tell.send(inspect::coroutine_id().unwrap()).unwrap();
///         time::sleep(Duration::from_secs(3600));
///     });
///     cancel::cancel_coroutines(&[told.recv().unwrap()]);
///     sleeper.join().unwrap();
/// })
/// .unwrap();
/// ```
pub fn cancel_coroutines(ids: &[u64]) {
    worker::cancel_numbered(ids);
}

/// Runs `f`, in which no wait is ended by what is outside: neither a cancellation, that of the
/// coroutine by its handle or at the runtime's end included, nor a deadline. For what must be said
/// to the end: a rollback, a farewell.
///
/// Tokens, scopes and deadlines inside `f` work as ever; bound what may take long by a [`timeout`].
/// A cancellation that came meanwhile is met by the first wait after the shield. When the runtime
/// ends, whoever is still shielded after the grace period is a straggler.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::cancel::{shield, timeout};
/// use tarae::thread;
///
/// tarae::run(|| {
///     let worker = tarae::spawn(|| {
///         thread::park(); // Ends when cancelled.
///         assert!(thread::is_cancelled());
///         let unhurt = shield(|| {
///             let _ = timeout(Duration::from_millis(1), thread::park);
///             !thread::is_cancelled()
///         });
///         unhurt && thread::is_cancelled()
///     });
///     tarae::yield_now();
///     worker.cancel();
///     assert!(worker.join().unwrap_or(true));
/// })
/// .unwrap();
/// ```
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let _entered = context::enter_shield();
    f()
}

/// Runs `f`, whose waits end when `duration` has passed: those with an [`io::Result`] with
/// [`TimedOut`](io::ErrorKind::TimedOut), others as the table in [`cancel`](self) says.
///
/// # Errors
///
/// [`TimedOut`], with what `f` returned, if the deadline has ended a wait of `f` or of a scope's
/// child in it. It is `Ok` if nothing was cut short, however long it took; if the deadline of
/// another [`timeout`] around this one was the one that passed; and if an operation inside had a
/// time-out of its own that came first.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::cancel::timeout;
/// use tarae::net::TcpListener;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let accepted = timeout(Duration::from_millis(5), || listener.accept());
/// let inside = accepted.unwrap_err().into_inner().unwrap_err();
/// assert_eq!(inside.kind(), std::io::ErrorKind::TimedOut);
///
/// // A function that returns `io::Result` says it shorter.
/// fn first(listener: &TcpListener) -> std::io::Result<tarae::net::TcpStream> {
///     Ok(timeout(Duration::from_millis(5), || listener.accept())??.0)
/// }
/// assert_eq!(first(&listener).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// # Ok(())
/// # }
/// ```
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, TimedOut<T>> {
    match Instant::now().checked_add(duration) {
        Some(instant) => deadline(instant, f),
        // Beyond what the clock can say.
        None => Ok(f()),
    }
}

/// As [`timeout`], for a point in time. One that has passed lets through what need not wait.
///
/// # Errors
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use tarae::cancel::deadline;
/// use tarae::time::Instant;
///
/// let (sender, receiver) = tarae::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// let now = Instant::now();
/// assert_eq!(deadline(now, || receiver.recv()).unwrap(), Ok(1));
/// assert!(deadline(now, || receiver.recv()).is_err());
/// ```
pub fn deadline<T>(instant: Instant, f: impl FnOnce() -> T) -> Result<T, TimedOut<T>> {
    let entered = context::enter_deadline(instant.into());
    let value = f();
    if met(entered) {
        Err(TimedOut { value })
    } else {
        Ok(value)
    }
}

/// A deadline that is made once, for many closures that share it: in a server, for all requests of
/// one moment. Otherwise [`deadline`] says the same, and tells whether it was met.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::cancel::Deadline;
/// use tarae::time::Instant;
///
/// let soon = Deadline::new(Instant::now() + Duration::from_millis(5));
/// let (_sender, receiver) = tarae::sync::mpsc::channel::<()>();
/// assert!(soon.run(|| receiver.recv()).unwrap_err().is_timeout());
/// // It has passed: what need not wait goes on.
/// assert_eq!(soon.run(|| 6 * 7), 42);
/// ```
#[derive(Debug, Clone)]
pub struct Deadline(Option<context::Prepared>);

impl Deadline {
    /// One at this point in time; `None` never comes.
    pub fn new(at: impl Into<Option<Instant>>) -> Deadline {
        Deadline(at.into().map(|at| context::Prepared::new(at.into())))
    }

    /// Runs `f`, whose waits end at the deadline at the latest.
    #[inline]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.0.as_ref().map(context::Prepared::enter);
        f()
    }
}

/// Whether the deadline that was entered is the one that counted, and has ended a wait.
fn met(entered: Entered) -> bool {
    let limit = entered.limit().cloned();
    drop(entered);
    // One that is in force outside too is somebody else's.
    let outside = context::limit();
    let own = match (&limit, &outside) {
        (Some(limit), Some(outside)) => !Arc::ptr_eq(limit, outside),
        _ => true,
    };
    own && limit.is_some_and(|limit| limit.is_met())
}

/// The tightest deadline around whoever calls this, in a job of [`offload`](fn@crate::offload) that
/// of who waits for it. For what keeps time by itself.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::cancel::{current_deadline, timeout};
///
/// assert_eq!(current_deadline(), None);
/// timeout(Duration::from_secs(1), || assert!(current_deadline().is_some())).unwrap();
/// ```
pub fn current_deadline() -> Option<Instant> {
    context::limit().map(|limit| limit.at.into())
}

/// A deadline ended a wait; what was returned all the same is inside.
pub struct TimedOut<T> {
    value: T,
}

impl<T> TimedOut<T> {
    /// What the closure returned.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> fmt::Display for TimedOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl<T> fmt::Debug for TimedOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimedOut")
    }
}

impl<T> std::error::Error for TimedOut<T> {}

impl<T> From<TimedOut<T>> for io::Error {
    /// A [`TimedOut`](io::ErrorKind::TimedOut); what the closure returned is dropped.
    fn from(error: TimedOut<T>) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, error.to_string())
    }
}
