//! Operations of sockets and pipes, in direct style: try, wait, try again.
//!
//! Called by `net`, `signal` and `process`. In a coroutine the worker's driver tries and the
//! coroutine parks; on a plain thread the system call is made here and the thread waits in `ppoll`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::seed::Seed;
use super::select::Alarm;
use super::worker::{Near, Worker};
use super::{Waiter, now, wait_ready};
use crate::driver::{Attempt, Direction, Driver, Operation, Source, Step, WaitKey, Wake, sim};

/// How an operation waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Not at all: `WouldBlock`.
    None,
    /// Until it can be done, or so long.
    For(Option<Duration>),
}

/// Does `operation` on `source`, waiting as `patience` says.
pub(crate) fn perform<O: Operation>(
    source: &Source,
    patience: Patience,
    mut operation: O,
) -> io::Result<O::Output> {
    let worker = Worker::current();
    if let Some(worker) = worker
        && worker.in_coroutine()
    {
        worker.spend_budget();
    }
    let mut attempt = match patience {
        Patience::For(_) if !operation.is_empty() => Attempt::IfReady,
        _ => Attempt::Always,
    };
    let mut deadline = None;
    loop {
        match try_once(worker, source, &mut operation, attempt) {
            Step::Done(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Step::Done(Err(error)) if source.simulated().is_some() => {
                return Err(explained(error));
            }
            Step::Done(result) => return result,
            Step::NotReady => {}
        }
        let Patience::For(timeout) = patience else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if deadline.is_none() {
            deadline = timeout.and_then(|timeout| now().checked_add(timeout));
        }
        match wait_ready(source, O::DIRECTION, deadline)? {
            Wake::Ready => attempt = Attempt::Always,
            Wake::TimedOut => return Err(timed_out()),
            Wake::Cancelled => return Err(io::Error::other(Cancelled)),
        }
    }
}

fn try_once<O: Operation>(
    worker: Option<&Worker>,
    source: &Source,
    operation: &mut O,
    attempt: Attempt,
) -> Step<O::Output> {
    match worker {
        Some(worker) => {
            // SAFETY: the operation borrows its memory at least until `perform` returns, which is
            // after the step is done; epoll executes it within the call in any case.
            worker.with_driver(|driver| unsafe { driver.step(source, operation, attempt) })
        }
        None => match operation.attempt(source) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::NotReady,
            result => Step::Done(result),
        },
    }
}

/// An error of a simulated socket: what the kernel says to its number is that it has no such
/// descriptor.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EBADF) => sim::stranded(),
        _ => error,
    }
}

pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the operation timed out")
}

/// Has `f` called with `state` in a new coroutine when the state's source is readable, the deadline
/// has passed, or the runtime ends. On a plain thread: waits, then calls it.
pub(crate) fn park_until_readable<S, F>(
    state: S,
    source: fn(&S) -> &Source,
    deadline: Option<Instant>,
    spawned_at: &'static Location<'static>,
    f: F,
) where
    S: Send + 'static,
    F: FnOnce(S, Wake) + Send + 'static,
{
    let Some(worker) = Worker::current() else {
        return in_turn(Box::new(move || {
            let wake = wait_ready(source(&state), Direction::Read, deadline);
            f(state, wake.unwrap_or(Wake::Cancelled));
        }));
    };
    let place = worker.with_driver(|driver| driver.register(source(&state), Direction::Read));
    let placed = worker.is_placed();
    if placed {
        worker.shared().add_placed(1);
    }
    let seed = Seed::new(move |wake| f(state, wake), placed, spawned_at);
    worker.note_seed(&seed, "is put aside");
    let waiting = match place {
        Ok(place) => {
            worker.with_driver(|driver| driver.poll_ready(place, Waiter::Spawn(seed), deadline))
        }
        // Out of watches or memory: the state's owner is told, as if it had to give up.
        Err(_) => Err(Waiter::Spawn(seed)),
    };
    if let Err(Waiter::Spawn(seed)) = waiting {
        worker.sow(seed, Wake::Cancelled, Near::NOTHING);
    }
}

/// Runs a function that may come back here, and what it leaves, one after the other: a state that
/// is put aside again and again must not pile up frames on a plain thread.
fn in_turn(function: Box<dyn FnOnce()>) {
    type Left = Option<VecDeque<Box<dyn FnOnce()>>>;
    thread_local! {
        static LEFT: RefCell<Left> = const { RefCell::new(None) };
    }
    let outermost = LEFT.with_borrow_mut(|left| {
        let outermost = left.is_none();
        left.get_or_insert_default().push_back(function);
        outermost
    });
    if !outermost {
        return;
    }
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            // What a panic leaves behind is dropped outside the borrow: it may come back here.
            drop(LEFT.take());
        }
    }
    let _end = End;
    while let Some(function) = LEFT.with_borrow_mut(|left| left.as_mut()?.pop_front()) {
        function();
    }
}

/// Leaves a callback until `source` is ready, on this thread's worker. It is called on the worker's
/// own stack and goes on being called while it returns true.
pub(crate) fn watch(
    source: &Source,
    direction: Direction,
    callback: Box<dyn FnMut(Wake) -> bool>,
) -> io::Result<()> {
    leave(source, direction, None, callback).map(drop)
}

/// As `watch`, with a deadline for the first call; gives the wait.
pub(crate) fn leave(
    source: &Source,
    direction: Direction,
    deadline: Option<Instant>,
    callback: Box<dyn FnMut(Wake) -> bool>,
) -> io::Result<WaitKey> {
    let worker = Worker::current().ok_or_else(no_worker)?;
    worker.with_driver(|driver| {
        let place = driver.register(source, direction)?;
        match driver.poll_ready(place, Waiter::Callback(callback), deadline) {
            Ok(wait) => Ok(wait),
            Err(_) => unreachable!("the source is borrowed, so its registration stands"),
        }
    })
}

/// Takes a wait back that `leave` gave, and drops its callback. On the worker that has it, which
/// has not handed it out.
pub(crate) fn take_back(wait: WaitKey) {
    let worker = Worker::current().expect("on the worker that has the wait");
    let waiter = worker.with_driver(|driver| driver.cancel(wait));
    drop(waiter);
}

/// An alarm left with this worker's driver; dropping it takes it back.
pub(crate) struct Watch {
    wait: WaitKey,
    /// It has rung: the driver does not have it any more.
    rung: Rc<Cell<bool>>,
}

/// Has `alarm` ring once when `source` is ready. In a coroutine only, which keeps the source
/// borrowed until it drops the watch.
pub(crate) fn watch_once(source: &Source, direction: Direction, alarm: Alarm) -> io::Result<Watch> {
    let rung = Rc::new(Cell::new(false));
    let theirs = Rc::clone(&rung);
    let mut alarm = Some(alarm);
    let callback = Box::new(move |_| {
        theirs.set(true);
        alarm.take().into_iter().for_each(Alarm::ring);
        false
    });
    let wait = leave(source, direction, None, callback)?;
    Ok(Watch { wait, rung })
}

impl Drop for Watch {
    fn drop(&mut self) {
        // No coroutine runs between the driver's handing a callback out and its being called, so
        // one that has not rung is still there.
        if !self.rung.get() {
            take_back(self.wait);
        }
    }
}

/// For futures: whether `source` is worth trying; if not, its waker is left until it is.
pub(crate) fn poll_ready(
    source: &Source,
    direction: Direction,
    context: &Context<'_>,
) -> Poll<io::Result<()>> {
    let Some(worker) = Worker::current() else {
        return Poll::Ready(Err(no_worker()));
    };
    worker.with_driver(|driver| {
        let place = match driver.register(source, direction) {
            Ok(place) => place,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if driver.is_ready(place) {
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker();
        let known = |waiter: &Waiter| matches!(waiter, Waiter::Waker(w) if w.will_wake(waker));
        if !driver.has_waiter(place, known) {
            let left = driver.poll_ready(place, Waiter::Waker(waker.clone()), None);
            debug_assert!(
                left.is_ok(),
                "the source is borrowed, so its registration stands"
            );
        }
        Poll::Pending
    })
}

fn no_worker() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this thread is no worker: call it inside `tarae::run`",
    )
}

/// The wait was cancelled: the runtime shuts down, or somebody asked the coroutine to stop.
///
/// Calls that return an [`io::Result`] carry it inside their error:
///
/// ```
/// let error = std::io::Error::other(tarae::Cancelled);
/// assert!(tarae::Cancelled::is(&error));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl Cancelled {
    /// Whether `error` says that a wait was cancelled.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Cancelled>())
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait was cancelled")
    }
}

impl std::error::Error for Cancelled {}
