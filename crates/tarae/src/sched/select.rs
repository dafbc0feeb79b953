//! Waiting for the first of several things, without taking anything from the others.
//!
//! Called by `select!` through `crate::select`; `sync` and `crate::select` bring the branches. Must
//! never leave a registration behind: what a round has registered it takes back before it ends.
//!
//! A round: look at every branch; if none can be done, leave a *ticket* with each; wait; take the
//! tickets back. Who has something for a branch *claims* the select first (`choice`), and only one
//! can, so a branch that loses was never given anything. A claim says that the branch is worth
//! looking at; a channel puts what it hands over into the branch's own entry, where it stays.
//!
//! In a coroutine the tickets of sockets stand in the driver as callbacks. A plain thread registers
//! none: it waits in `ppoll` for all its sockets and for an eventfd that claims write to.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use super::choice::Choice;
use super::io::{Watch, watch_once};
use super::worker::Worker;
use super::{Cancel, Unparker, WaitReason, context, in_coroutine, loop_thread};
use crate::driver::{Direction, Source, Wake, sim};
use crate::sys;

/// One thing that a select waits for.
pub(crate) trait Branch {
    /// Does what it can without waiting; true: this branch is taken. `waits`: the select would
    /// wait otherwise, so a partner may be told to count on it.
    fn poll(&mut self, waits: bool) -> bool;

    /// Leaves a ticket. True: look again, something may have come meanwhile.
    fn register(&mut self, _ticket: &Ticket) -> bool {
        false
    }

    /// Takes the ticket back, if there is one.
    fn unregister(&mut self) {}

    /// Its ticket was claimed: takes what was given and the ticket back. True: this branch is
    /// taken; false: look again.
    fn claimed(&mut self) -> bool {
        self.unregister();
        false
    }

    /// When it is to be looked at again.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What it is to be ready.
    fn source(&self) -> Option<(&Source, Direction)> {
        None
    }

    /// The wait ended otherwise, with this; the branch is taken and tells.
    fn refuse(&mut self, wake: Wake);

    /// The kernel does not let its source be waited for; the branch is taken and tells.
    fn fail(&mut self, _error: io::Error) {}

    /// Whether it is the one that waits for cancellation.
    fn is_for_cancellation(&self) -> bool {
        false
    }
}

/// A branch, as `select!` passes it on.
pub struct Arm<'a>(pub(crate) &'a mut dyn Branch);

/// The method that every type of branch has for `select!`.
macro_rules! arm {
    () => {
        #[doc(hidden)]
        pub fn arm(&mut self) -> $crate::sched::select::Arm<'_> {
            $crate::sched::select::Arm(self)
        }
    };
}
pub(crate) use arm;

/// Whom to wake: somebody who waits for one thing, or a branch of a select.
#[derive(Debug, Clone)]
pub(crate) enum Alarm {
    One(Unparker),
    Branch(Ticket),
    /// A completion that the end of a coroutine is told to; left with a `JoinState` only.
    Completion(Arc<dyn Ending>),
}

/// Somebody who is told of a coroutine's end on its worker's own stack.
pub(crate) trait Ending: Send + Sync {
    fn ended(self: Arc<Self>);
}

impl fmt::Debug for dyn Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ending")
    }
}

/// A branch of a select that waits.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    selecting: Arc<Selecting>,
    branch: u32,
}

/// A select that waits, as others see it.
#[derive(Debug)]
struct Selecting {
    choice: Choice,
    unparker: Unparker,
    /// A plain thread in `ppoll` is woken by this one.
    eventfd: Option<Arc<OwnedFd>>,
}

impl Alarm {
    /// Of whoever calls this.
    pub(crate) fn current() -> Alarm {
        Alarm::One(Unparker::current())
    }

    /// Whether it still waits for this; it must then be woken.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        match self {
            Alarm::One(_) | Alarm::Completion(_) => true,
            Alarm::Branch(ticket) => ticket.selecting.choice.claim(ticket.branch),
        }
    }

    /// Wakes the one that was claimed.
    #[inline(always)]
    pub(crate) fn wake(self) {
        match self {
            Alarm::One(unparker) => unparker.unpark_last(),
            Alarm::Completion(ending) => ending.ended(),
            Alarm::Branch(ticket) => ticket.wake(),
        }
    }

    /// Claims and wakes; does nothing if another branch has won.
    pub(crate) fn ring(self) {
        if self.claim() {
            self.wake();
        }
    }
}

/// Waits until one of `branches` is taken, and gives its index; `branches.len()` when none can be
/// at once and `waits` is false. `fair`: begins to look at a random one, not at the first.
pub(crate) fn choose(branches: &mut [&mut dyn Branch], fair: bool, waits: bool) -> usize {
    let count = branches.len();
    let start = match count {
        0 => 0,
        count if fair => (random() % count as u64) as usize,
        _ => 0,
    };
    let deadline = nearest(branches);
    let mut selecting = None;
    let mut wake = Wake::Ready;
    loop {
        let order = (start..count).chain(0..start);
        for index in order {
            if branches[index].poll(waits && wake == Wake::Ready) {
                context::succeeded(deadline, wake);
                super::spend_budget();
                return index;
            }
        }
        if !waits {
            super::spend_budget();
            return count;
        }
        if wake != Wake::Ready {
            return refuse(branches, start, wake);
        }
        let needs_eventfd = !in_coroutine() && branches.iter().any(|one| one.source().is_some());
        let selecting = selecting.get_or_insert_with(|| Selecting::new(needs_eventfd));
        match round(branches, selecting, deadline) {
            Ok(index) => return index,
            Err(ended) => wake = ended,
        }
    }
}

fn nearest(branches: &[&mut dyn Branch]) -> Option<Instant> {
    branches.iter().filter_map(|one| one.deadline()).min()
}

/// No branch can be done and the wait may not go on: one of them tells.
fn refuse(branches: &mut [&mut dyn Branch], start: usize, wake: Wake) -> usize {
    let told = match wake {
        Wake::Cancelled => branches.iter().position(|one| one.is_for_cancellation()),
        _ => branches.iter().position(|one| !one.is_for_cancellation()),
    };
    let index = told.unwrap_or(start);
    branches[index].refuse(wake);
    index
}

/// Registers, waits, takes everything back. Gives the branch taken, or how the wait ended.
fn round(
    branches: &mut [&mut dyn Branch],
    selecting: &Arc<Selecting>,
    deadline: Option<Instant>,
) -> Result<usize, Wake> {
    let mut again = false;
    for (index, branch) in branches.iter_mut().enumerate() {
        again |= branch.register(&Ticket::new(selecting, index));
    }
    let mut wake = Wake::Ready;
    let mut winner = None;
    let watches = watch_sources(branches, selecting);
    let failed = watches.as_ref().err().map(|(index, _)| *index);
    if !again && failed.is_none() && selecting.choice.arm() {
        wake = selecting.wait(branches, deadline);
        winner = selecting.choice.end().map(|index| index as usize);
    }
    let watches = watches.map(drop);
    for (index, branch) in branches.iter_mut().enumerate() {
        if Some(index) != winner {
            branch.unregister();
        }
    }
    if let Err((index, error)) = watches {
        branches[index].fail(error);
        return Ok(index);
    }
    match winner {
        Some(index) if branches[index].claimed() => {
            context::succeeded(deadline, wake);
            Ok(index)
        }
        Some(_) => Err(Wake::Ready),
        None => Err(wake),
    }
}

/// In a coroutine: has the driver ring for every branch with a source. Elsewhere `poll_sources`
/// looks at them, provided that the kernel knows them.
fn watch_sources(
    branches: &[&mut dyn Branch],
    selecting: &Arc<Selecting>,
) -> Result<Vec<Watch>, (usize, io::Error)> {
    let mut watches = Vec::new();
    let parks = in_coroutine();
    for (index, branch) in branches.iter().enumerate() {
        if let Some((source, direction)) = branch.source() {
            if !parks {
                if source.simulated().is_some() {
                    return Err((index, sim::stranded()));
                }
                continue;
            }
            let alarm = Alarm::Branch(Ticket::new(selecting, index));
            match watch_once(source, direction, alarm) {
                Ok(watch) => watches.push(watch),
                Err(error) => return Err((index, error)),
            }
        }
    }
    Ok(watches)
}

impl Ticket {
    fn new(selecting: &Arc<Selecting>, branch: usize) -> Ticket {
        Ticket {
            selecting: Arc::clone(selecting),
            branch: branch as u32,
        }
    }

    #[inline(never)]
    fn wake(self) {
        self.selecting.unparker.unpark();
        if let Some(eventfd) = &self.selecting.eventfd {
            sys::eventfd_write(eventfd.as_raw_fd());
        }
    }
}

impl Selecting {
    fn new(needs_eventfd: bool) -> Arc<Selecting> {
        Arc::new(Selecting {
            choice: Choice::new(),
            unparker: Unparker::current(),
            eventfd: needs_eventfd.then(thread_eventfd),
        })
    }

    /// Until a claim, the nearest deadline, or the readiness of a plain thread's sources.
    fn wait(&self, branches: &[&mut dyn Branch], deadline: Option<Instant>) -> Wake {
        while !self.choice.is_claimed() {
            if let Some(eventfd) = &self.eventfd {
                return poll_sources(branches, eventfd, deadline);
            }
            let wake = super::park(WaitReason::Select, deadline, Cancel::Yes);
            if wake != Wake::Ready {
                return wake;
            }
        }
        Wake::Ready
    }
}

/// A plain thread: waits in `ppoll` for its sources and its eventfd.
fn poll_sources(
    branches: &[&mut dyn Branch],
    eventfd: &OwnedFd,
    deadline: Option<Instant>,
) -> Wake {
    let (deadline, outer) = context::bound(deadline);
    let bell = context::bell();
    if context::is_cancelled() {
        return Wake::Cancelled;
    }
    let entry = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let bell = bell.as_deref().map_or(-1, AsRawFd::as_raw_fd);
    let ends = [eventfd.as_raw_fd(), bell];
    let mut entries: Vec<_> = ends.map(|fd| entry(fd, libc::POLLIN)).into();
    for (source, direction) in branches.iter().filter_map(|one| one.source()) {
        entries.push(entry(source.raw(), direction.poll_events()));
    }
    let left = deadline.map(|deadline| deadline.saturating_duration_since(super::now()));
    if loop_thread::is_marked() {
        let _ = sys::poll_many(&mut entries, Some(Duration::ZERO));
        if entries.iter().all(|entry| entry.revents == 0) {
            loop_thread::will_block();
        }
    }
    // Too little memory for it: looking again is all that can be done.
    let _ = sys::poll_many(&mut entries, left);
    for rang in entries[..2].iter().filter(|entry| entry.revents != 0) {
        let _ = sys::eventfd_read(rang.fd);
    }
    match deadline {
        Some(deadline) if outer && super::now() >= deadline => super::timed_out(outer),
        _ => Wake::Ready,
    }
}

/// One for each plain thread that ever waits for sources and something else at once.
fn thread_eventfd() -> Arc<OwnedFd> {
    thread_local! {
        static EVENTFD: OnceCell<Arc<OwnedFd>> = const { OnceCell::new() };
    }
    EVENTFD.with(|cell| {
        Arc::clone(cell.get_or_init(|| {
            Arc::new(sys::eventfd().expect("a descriptor to wait for several things with"))
        }))
    })
}

/// Where random numbers begin.
pub(super) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next random number (xorshift).
fn step(state: &Cell<u64>) -> u64 {
    let mut x = state.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    state.set(x);
    x >> 11
}

/// A worker has its own numbers; a simulated run has those of its seed.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(SEED) };
    }
    match Worker::current() {
        Some(worker) => match worker.world() {
            Some(world) => world.random(),
            None => step(&worker.random),
        },
        None => STATE.with(step),
    }
}
