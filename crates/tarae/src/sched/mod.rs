//! Steps 5 and 6: who may run, and running it. Workers, ready queues, parking and waking.
//!
//! Called by the public modules (`thread`, `net`, `time`, `sync`, `signal`), which see only what
//! this file exports: a wait that works in a coroutine and on a plain thread alike. It knows the
//! driver, stacks and the switch; it knows nothing of sockets' addresses, HTTP or printing.
//!
//! * `worker`: one thread's loop, its queue, the switch in and out
//! * `task`: a coroutine's memory and who may touch which part of it
//! * `memory`: where tasks are allocated
//! * `runtime`: starting, placing and ending workers
//! * `shared`: the part of a worker that other threads touch
//! * `inbox`, `park`, `join`, `ring`: the lock-free protocols, model-checked
//! * `mailbox`: functions posted to an event loop, in an inbox of their own
//! * `seed`: a coroutine that is yet to be made, when something is readable
//! * `handle`: `JoinHandle`
//! * `payload`: what a panic carried
//! * `frames`: which functions the calls on a stack are in
//! * `deadlock`: cycles of coroutines that wait for each other
//! * `standstill`: nothing can ever run again
//! * `context`, `cancel`: the deadlines, tokens and scopes that a wait stands inside of
//! * `locals`: what a coroutine keeps under the keys of `coroutine_local!`
//! * `lent`: what a thread whose stacks are lent to jobs must not give up
//! * `loop_thread`: calls that would block the thread of an event loop
//! * `overdue`: what is said when the end cannot come
//! * `simulation`: all workers of a simulated run on one thread, and its virtual clock
//! * `watchdog`: notices workers that do not come back, and says who holds them
//! * `io`: operations of sockets: try, wait, try again
//! * `spin`: the lock of the channels
//! * `choice`, `select`: waiting for the first of several things

pub(crate) mod cancel;
mod choice;
pub(crate) mod context;
pub(crate) mod deadlock;
pub(crate) mod frames;
pub(crate) mod handle;
mod inbox;
pub(crate) mod io;
pub(crate) mod join;
mod lent;
pub(crate) mod locals;
pub(crate) mod loop_thread;
pub(crate) mod mailbox;
mod memory;
mod overdue;
mod park;
pub(crate) mod payload;
mod ring;
pub(crate) mod runtime;
pub(crate) mod seed;
pub(crate) mod select;
pub(crate) mod shared;
pub(crate) mod simulation;
pub(crate) mod spin;
pub(crate) mod standstill;
pub(crate) mod task;
mod watchdog;
pub(crate) mod worker;

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::driver::sim::{self, World};
use crate::driver::{Direction, Source, Wake};
use seed::Seed;
use task::{Task, TaskRef};
use worker::Worker;

/// The present: virtual in a simulated run. Nothing but the drivers and waits of plain threads may
/// ask std for it.
pub(crate) fn now() -> Instant {
    simulation().map_or_else(Instant::now, |world| world.now())
}

/// The simulated run that this is called in.
pub(crate) fn simulation() -> Option<&'static Arc<World>> {
    Worker::current().and_then(Worker::world)
}

/// Whether a wait parks a coroutine here, and leaves the thread to others.
pub(crate) fn in_coroutine() -> bool {
    Worker::current().is_some_and(Worker::in_coroutine)
}

/// An error inside a simulated run, for what does not belong there.
pub(crate) fn refuse_simulated(what: &str) -> std::io::Result<()> {
    match simulation() {
        Some(_) => Err(sim::unsupported(what)),
        None => Ok(()),
    }
}

/// Who is to be woken when a wait of the driver ends.
pub(crate) enum Waiter {
    /// A coroutine parked in this wait. Not counted: a parked coroutine is alive.
    Coroutine(NonNull<Task>),
    /// A coroutine to be made now: its closure gets the `Wake`.
    Spawn(Seed),
    /// A future's waker.
    Waker(Waker),
    /// A function to be called on the worker's own stack. Returning true on `Ready` leaves it
    /// waiting (persistent); otherwise it has been called for the last time (one-shot).
    Callback(Box<dyn FnMut(Wake) -> bool>),
}

/// With it a wait of the driver takes one line of the cache.
const _: () = assert!(size_of::<Option<Waiter>>() <= 32);

/// What a coroutine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitReason {
    /// Nothing: it runs, or may run.
    None,
    /// A descriptor to become readable; negative: the [simulated](crate::sim) socket of that
    /// number.
    Readable(RawFd),
    /// A descriptor to become writable; or a simulated socket, as above.
    Writable(RawFd),
    /// A point in time.
    Sleep,
    /// The end of another coroutine, by its id.
    Join(u64),
    /// An `unpark`, or a future's waker.
    Park,
    /// A lock.
    Lock,
    /// A permit of a semaphore.
    Permit,
    /// To be told: a condition variable, a barrier, the end of something done once.
    Condition,
    /// A message, or room for one.
    Channel,
    /// The first of several things.
    Select,
    /// A job on a pool's thread.
    Offload,
    /// A stack to begin on: the process has as many as its limits allow, see
    /// [`spawn`](crate::spawn).
    Stack,
    /// The end of a scope, or room in it.
    Scope,
    /// The result of an asynchronous call, see [`completion`](crate::completion).
    Completion,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::None => f.write_str("nothing"),
            WaitReason::Readable(fd @ ..0) => write!(f, "simulated socket {} to be readable", -fd),
            WaitReason::Writable(fd @ ..0) => write!(f, "simulated socket {} to be writable", -fd),
            WaitReason::Readable(fd) => write!(f, "descriptor {fd} to be readable"),
            WaitReason::Writable(fd) => write!(f, "descriptor {fd} to be writable"),
            WaitReason::Sleep => f.write_str("a point in time"),
            WaitReason::Join(id) => write!(f, "the end of coroutine {id}"),
            WaitReason::Park => f.write_str("an unpark"),
            WaitReason::Lock => f.write_str("a lock"),
            WaitReason::Permit => f.write_str("a permit"),
            WaitReason::Condition => f.write_str("a condition"),
            WaitReason::Channel => f.write_str("a channel"),
            WaitReason::Select => f.write_str("the first of several things"),
            WaitReason::Offload => f.write_str("an offloaded job"),
            WaitReason::Stack => f.write_str("a stack"),
            WaitReason::Scope => f.write_str("the end of a scope"),
            WaitReason::Completion => f.write_str("the result of an asynchronous call"),
        }
    }
}

/// Wakes one coroutine or thread out of [`park`]. Any thread may use it, any number of times.
#[derive(Debug, Clone)]
pub(crate) enum Unparker {
    Coroutine(TaskRef),
    Thread(std::thread::Thread),
}

impl Unparker {
    /// Of whoever calls this.
    #[inline]
    pub(crate) fn current() -> Unparker {
        match Worker::current().and_then(Worker::current_task) {
            Some(task) => Unparker::Coroutine(task),
            None => Unparker::Thread(std::thread::current()),
        }
    }

    pub(crate) fn unpark(&self) {
        match self {
            Unparker::Coroutine(task) => worker::unpark(task),
            Unparker::Thread(thread) => thread.unpark(),
        }
    }

    /// As `unpark`; this one is not needed any more.
    #[inline(always)]
    pub(crate) fn unpark_last(self) {
        match self {
            Unparker::Coroutine(task) => worker::unpark_last(task),
            Unparker::Thread(thread) => unblock(&thread),
        }
    }

    /// Whether the coroutine has been cancelled; a plain thread never is.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Unparker::Coroutine(task) => task.cancelled.load(Ordering::Relaxed),
            Unparker::Thread(_) => false,
        }
    }
}

/// Whether a wait may end with `Wake::Cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    Yes,
    No,
}

/// Waits for an unpark: parks the coroutine, or blocks the plain thread. May return `Ready` without
/// cause: callers look at what they wait for, and call again.
pub(crate) fn park(reason: WaitReason, deadline: Option<Instant>, cancel: Cancel) -> Wake {
    park_in_place(reason, deadline, cancel)
}

/// As `park`, in its caller's own frame, for a wait that is to cost as little as it can: a return
/// from a function that was entered before the switch is one that the processor predicts wrongly.
#[inline(always)]
pub(crate) fn park_in_place(reason: WaitReason, deadline: Option<Instant>, cancel: Cancel) -> Wake {
    match Worker::current() {
        Some(worker) if worker.in_coroutine() => worker.park(reason, deadline, cancel),
        _ => block(deadline, cancel),
    }
}

#[inline(never)]
fn unblock(thread: &std::thread::Thread) {
    thread.unpark();
}

/// As `park`, on a plain thread.
#[inline(never)]
fn block(deadline: Option<Instant>, cancel: Cancel) -> Wake {
    let (deadline, outer) = match cancel {
        Cancel::Yes if context::is_cancelled() => return Wake::Cancelled,
        Cancel::Yes => context::bound(deadline),
        Cancel::No => (deadline, false),
    };
    match deadline {
        None => {
            loop_thread::will_block();
            std::thread::park();
        }
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return timed_out(outer);
            }
            loop_thread::will_block();
            std::thread::park_timeout(left);
        }
    }
    Wake::Ready
}

/// Waits until a source is ready: parks the coroutine, or blocks the plain thread in `ppoll`.
pub(crate) fn wait_ready(
    source: &Source,
    direction: Direction,
    deadline: Option<Instant>,
) -> std::io::Result<Wake> {
    if let Some(worker) = Worker::current()
        && worker.in_coroutine()
    {
        return worker.wait_ready(source, direction, deadline);
    }
    if source.simulated().is_some() {
        return Err(sim::stranded());
    }
    let (deadline, outer) = context::bound(deadline);
    let bell = context::bell();
    let mut events = match direction {
        Direction::Read => libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP,
        Direction::Write => libc::POLLOUT,
    };
    if loop_thread::is_marked() {
        let now = Some(Duration::ZERO);
        if poll(source.raw(), events, now, None)? == 0
            && deadline.is_none_or(|at| at > Instant::now())
        {
            loop_thread::about_to_block()?;
        }
    }
    loop {
        if context::is_cancelled() {
            return Ok(Wake::Cancelled);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(source.raw(), events, left, bell.as_deref())? {
            0 if left.is_some_and(|left| left.is_zero()) => return Ok(timed_out(outer)),
            // The time may be up now, or a signal came.
            0 => {}
            // Out-of-band data ends a wait for reading in a coroutine, but would do so here again
            // and again for a reader that leaves it there: look for ordinary data only, then.
            libc::POLLPRI => events &= !libc::POLLPRI,
            _ => return Ok(Wake::Ready),
        }
    }
}

/// Sleeps until `deadline`, and gives `Ready` then. Earlier when cancelled, or when the time is up
/// that bounds it from outside.
pub(crate) fn sleep_until(deadline: Instant) -> Wake {
    if let Some(worker) = Worker::current()
        && worker.in_coroutine()
    {
        return worker.sleep_until(deadline);
    }
    let (bound, outer) = context::bound(Some(deadline));
    let bound = bound.unwrap_or(deadline);
    let bell = context::bell();
    loop {
        if context::is_cancelled() {
            return Wake::Cancelled;
        }
        let left = bound.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return if outer { timed_out(outer) } else { Wake::Ready };
        }
        loop_thread::will_block();
        let waited = bell
            .as_deref()
            .map(|bell| poll(-1, 0, Some(left), Some(bell)));
        if !matches!(waited, Some(Ok(_))) {
            std::thread::sleep(left);
        }
    }
}

/// A plain thread's wait is over; `outer`: by the deadline that it stands inside of.
fn timed_out(outer: bool) -> Wake {
    if outer {
        context::met();
    }
    Wake::TimedOut
}

/// As `sys::poll_wait`; a cancellation ends it too, as a time-out of nothing does.
fn poll(
    fd: RawFd,
    events: i16,
    timeout: Option<Duration>,
    bell: Option<&OwnedFd>,
) -> std::io::Result<i16> {
    let bell = bell.map(AsRawFd::as_raw_fd);
    let (events, rang) = crate::sys::poll_either_wait(fd, events, bell, timeout)?;
    if let (true, Some(bell)) = (rang, bell) {
        // Whoever rang has set its flag before; the counter would end the next wait too.
        let _ = crate::sys::eventfd_read(bell);
    }
    Ok(events)
}

/// Lets everybody else who is ready run first.
pub(crate) fn yield_now() {
    match Worker::current() {
        Some(worker) if worker.in_coroutine() => worker.yield_now(),
        _ => std::thread::yield_now(),
    }
}

/// Counts one operation that went through without waiting; every so often the coroutine yields.
#[inline]
pub(crate) fn spend_budget() {
    if let Some(worker) = Worker::current()
        && worker.in_coroutine()
    {
        worker.spend_budget();
    }
}
