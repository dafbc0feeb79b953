//! The driver seam: step 2, the one place where a worker meets the kernel.
//!
//! Called by `sched::worker` (waiting) and `driver::source` (operations of sockets). It knows
//! sockets, deadlines and whom to wake; it never runs a coroutine, a callback or a `Waker` itself:
//! it hands out `(Waiter, Wake)` pairs and the worker acts on them.
//!
//! # The contract of a backend
//!
//! | operation | what it does |
//! | --- | --- |
//! | `register` | has edges of a source reported from now on |
//! | `poll_ready` | leaves a waiter until a place is ready, or a deadline passes |
//! | `sleep` | leaves a waiter until a deadline passes |
//! | `step` | tries an operation (recv, send, accept, connect…): `Done` or `NotReady` |
//! | `cancel` | takes a waiter back; afterwards it is never handed out |
//! | `wait` | sleeps until something is ready, due, or notified; hands out the waiters |
//! | `notify` | a write to the notification descriptor, from any thread, ends a `wait` |
//!
//! * A waiter is handed out exactly once, or taken back by `cancel`; never both.
//! * Waiters of one direction of a source form a list; one edge hands out all of them.
//! * A step borrows its buffer only for the call in a backend that executes it at once, as epoll
//!   does. A completion backend keeps it until the step is `Done` *even when cancelled*, so `step`
//!   is `unsafe`: the caller keeps the buffer alive and unmoved until `Done`.
//! * Handles are per worker. Nothing here is shared but the notification descriptor, and the world
//!   of a simulated run.
//!
//! Backends: `epoll`, and `sim` for simulated runs, where `wait` only looks and `notify` is not
//! needed; `Backend` is whichever a worker has. A simulated socket is a `Source` without a
//! descriptor; an `Operation` says what it does to one.
//!
//! # Edge-triggered readiness
//!
//! `NotReady` is only ever concluded from `EAGAIN` — or from a short read of a TCP stream by its
//! registration's owner, after a non-empty, non-peek read, with no RDHUP, HUP, ERR or PRI ever seen
//! on that registration. Unix sockets stop short at ancillary data, datagrams and peeks are always
//! short, and out-of-band data splits a stream, all without a new edge.

pub(crate) mod epoll;
pub(crate) mod message;
pub(crate) mod operation;
pub(crate) mod poller;
pub(crate) mod sendfile;
pub(crate) mod sim;
pub(crate) mod slab;
pub(crate) mod source;
pub(crate) mod timers;
pub(crate) mod waits;

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

pub(crate) use epoll::Epoll;
pub(crate) use sim::Sim;
pub(crate) use source::Source;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// What was waited for is there (or may be: look again).
    Ready,
    /// The deadline passed first.
    TimedOut,
    /// The one who waits was cancelled, for instance because the runtime shuts down.
    Cancelled,
}

/// The direction of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

impl Direction {
    /// What `ppoll` is to look for: ordinary data or its end, or room.
    pub(crate) fn poll_events(self) -> i16 {
        match self {
            Direction::Read => libc::POLLIN | libc::POLLRDHUP,
            Direction::Write => libc::POLLOUT,
        }
    }
}

/// Names a wait until its waiter is handed out or taken back.
pub(crate) type WaitKey = u32;

/// A direction of a registered source, where waiters may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) direction: Direction,
}

/// A waiter handed out by `wait`; `place` says where it waited, if for a source.
pub(crate) struct Woken<W> {
    pub(crate) waiter: W,
    pub(crate) wake: Wake,
    pub(crate) place: Option<Place>,
    /// For a prefetch and nothing else: it may be gone. Null if there is none.
    pub(crate) source: *const Source,
}

/// Where a worker is told that one of its registrations has lost its source.
pub(crate) trait Home: Sync {
    /// The registration was taken out of the kernel; its slot can be freed. From any thread.
    fn release(&self, worker: u32, slot: u32, generation: u32);
}

/// Whether a step is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Always,
    /// Not if the source is known to have nothing to give.
    IfReady,
}

/// One step of an operation.
#[derive(Debug)]
pub(crate) enum Step<T> {
    Done(io::Result<T>),
    NotReady,
}

/// The seam. See the module's documentation for the contract.
pub(crate) trait Driver {
    /// Whom a wait wakes: `sched::Waiter`, which the driver only keeps and hands out.
    type Waiter;

    /// Sees to it that edges of `source` in `direction` are reported from now on.
    fn register(&mut self, source: &Source, direction: Direction) -> io::Result<Place>;

    /// Leaves a waiter until the place is ready; gives it back if the source is gone.
    fn poll_ready(
        &mut self,
        place: Place,
        waiter: Self::Waiter,
        deadline: Option<Instant>,
    ) -> Result<WaitKey, Self::Waiter>;

    fn sleep(&mut self, waiter: Self::Waiter, deadline: Instant) -> WaitKey;

    fn cancel(&mut self, wait: WaitKey) -> Self::Waiter;

    /// Waits until `deadline` at most; `None`: without bound. `Some` of a past time only looks.
    fn wait(
        &mut self,
        bound: Option<Instant>,
        woken: &mut Vec<Woken<Self::Waiter>>,
    ) -> io::Result<()>;

    /// The present, as of the last `wait`.
    fn now(&self) -> Instant;

    /// Tries an operation: at once, in a backend of readiness, or as `attempt` says. After
    /// `NotReady`, wait and call again with the same operation.
    ///
    /// # Safety
    /// The operation's memory stays valid and unmoved until the step is `Done`.
    unsafe fn step<O: Operation>(
        &mut self,
        source: &Source,
        operation: &mut O,
        attempt: Attempt,
    ) -> Step<O::Output>;
}

/// A data operation of a source: a system call that does not block.
pub(crate) trait Operation {
    type Output;
    const DIRECTION: Direction;

    fn attempt(&mut self, source: &Source) -> io::Result<Self::Output>;

    /// The same on a simulated socket.
    fn simulate(&mut self, _socket: &sim::Socket) -> io::Result<Self::Output> {
        Err(sim::unsupported("this operation"))
    }

    /// Whether it is done at once, ready or not: it writes or scatters no bytes at all. (A plain
    /// receive waits for data even then, as in std.)
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether a successful attempt shows that a TCP stream has nothing more to read.
    fn is_short(&self, _output: &Self::Output) -> bool {
        false
    }
}

/// A worker's driver: the kernel's, but in a simulated run.
pub(crate) enum Backend<W> {
    Epoll(Epoll<W>),
    Sim(Sim<W>),
}

/// The same call on whichever it is.
macro_rules! either {
    ($backend:expr, $driver:ident => $call:expr) => {
        match $backend {
            Backend::Epoll($driver) => $call,
            Backend::Sim($driver) => $call,
        }
    };
}

impl<W> Backend<W> {
    /// Waits in progress, with the descriptor they are for; of a simulated socket its number,
    /// negative.
    pub(crate) fn waits(&self) -> Box<dyn Iterator<Item = (WaitKey, Option<RawFd>, &W)> + '_> {
        either!(self, driver => Box::new(driver.waits()))
    }

    /// Whether anybody waits, for a source or for a point in time.
    pub(crate) fn has_waits(&self) -> bool {
        either!(self, driver => driver.has_waits())
    }

    /// Whether one of those who wait at `place` is `wanted`.
    pub(crate) fn has_waiter(&self, place: Place, wanted: impl Fn(&W) -> bool) -> bool {
        either!(self, driver => driver.waiters_at(place).any(wanted))
    }

    /// Whether there is something to be had at `place`, as far as is known.
    pub(crate) fn is_ready(&self, place: Place) -> bool {
        either!(self, driver => driver.is_ready(place))
    }

    /// Has the processor fetch what the next waits at a slot will look at.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        if let Backend::Epoll(driver) = self {
            driver.prefetch_slot(slot);
        }
    }

    /// Frees a slot whose source is gone from the kernel; whoever still waits is cancelled.
    pub(crate) fn release(&mut self, slot: u32, generation: u32, woken: &mut Vec<Woken<W>>) {
        // Simulated sockets tell the driver by themselves.
        if let Backend::Epoll(driver) = self {
            driver.release(slot, generation, woken);
        }
    }
}

impl<W> Driver for Backend<W> {
    type Waiter = W;

    fn register(&mut self, source: &Source, direction: Direction) -> io::Result<Place> {
        either!(self, driver => driver.register(source, direction))
    }

    fn poll_ready(
        &mut self,
        place: Place,
        waiter: W,
        deadline: Option<Instant>,
    ) -> Result<WaitKey, W> {
        either!(self, driver => driver.poll_ready(place, waiter, deadline))
    }

    fn sleep(&mut self, waiter: W, deadline: Instant) -> WaitKey {
        either!(self, driver => driver.sleep(waiter, deadline))
    }

    fn cancel(&mut self, wait: WaitKey) -> W {
        either!(self, driver => driver.cancel(wait))
    }

    fn wait(&mut self, bound: Option<Instant>, woken: &mut Vec<Woken<W>>) -> io::Result<()> {
        either!(self, driver => driver.wait(bound, woken))
    }

    fn now(&self) -> Instant {
        either!(self, driver => driver.now())
    }

    unsafe fn step<O: Operation>(
        &mut self,
        source: &Source,
        operation: &mut O,
        attempt: Attempt,
    ) -> Step<O::Output> {
        // SAFETY: the caller's promise, passed on.
        either!(self, driver => unsafe { driver.step(source, operation, attempt) })
    }
}

/// Numbers below what it is called with, the same for the same seed.
///
/// Xorshift: Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (2003).
#[cfg(test)]
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut random = seed;
    move |below| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    }
}
