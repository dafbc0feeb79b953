//! What the runtime is doing: plain data, for whoever wants to show it.
//!
//! Public. Asks every worker through its inbox and never touches another worker's state.
//!
//! # What is it doing?
//!
//! [`coroutines`] lists all of them with what they wait for, [`dump`] also says where in the
//! program each of them is:
//!
//! ```
//! use std::time::Duration;
//! use tarae::inspect::{State, dump};
//! use tarae::sync::mpsc::{Receiver, channel};
//!
//! #[inline(never)]
//! fn next_order(orders: &Receiver<u32>) -> Option<u32> {
//!     orders.recv().ok()
//! }
//!
//! tarae::Builder::new().workers(1).run(|| {
//!     let (_customer, orders) = channel();
//!     let shop = tarae::thread::Builder::new().name("shop".into());
//!     shop.spawn(move || while next_order(&orders).is_some() {}).unwrap();
//!     tarae::yield_now();
//!
//!     let all = dump(Duration::from_secs(1));
//!     let shop = all.iter().find(|d| d.coroutine.name.as_deref() == Some("shop")).unwrap();
//!     assert_eq!(shop.coroutine.state, State::Parked);
//!     println!("waits for {} at {}", shop.coroutine.waits_for, shop.coroutine.spawned_at);
//!     for frame in &shop.stack {
//!         println!("{frame}");
//!     }
//!     // The call that waits comes first; how it waits is left out.
//!     let innermost = shop.stack[0].function.as_deref().unwrap();
//!     assert!(innermost.contains("next_order"), "{innermost}");
//! })
//! .unwrap();
//! ```
//!
//! Coroutines that wait for each other for ever are reported without being asked for: see
//! [`deadlocks`]. For a worker that does not answer there is
//! [`Builder::watchdog`](crate::Builder::watchdog).

use std::os::fd::RawFd;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::driver::Wake;
use crate::offload;
use crate::sched::frames::Known;
use crate::sched::seed::Seed;
use crate::sched::task::{Status, Task, TaskRef};
use crate::sched::worker::Worker;
use crate::sched::{self, Cancel, Unparker, deadlock};

pub use crate::sched::WaitReason;

/// One coroutine, as it was when its worker answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Coroutine {
    /// Its number within the process; `None` while it is yet to be made ([`State::Idle`]).
    pub id: Option<u64>,
    /// The name it was given.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The worker it is on, counted from 0.
    pub worker: usize,
    /// What it does.
    pub state: State,
    /// What it waits for.
    pub waits_for: WaitReason,
}

/// What a coroutine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It has not begun.
    Unstarted,
    /// State put aside by [`park_until_readable`](crate::net::park_until_readable): no stack yet.
    Idle,
    /// It runs, or may run.
    Runnable,
    /// It waits.
    Parked,
}

/// A worker that did not come back to its scheduler for longer than the limit of
/// [`Builder::watchdog`](crate::Builder::watchdog). Printed, it is the report for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// The worker, counted from 0.
    pub worker: usize,
    /// Who holds it. A bare [`Coroutine`](crate::Coroutine) has no id, and the site where it was
    /// made. `None`: a callback or a hook, on the worker's own stack; or, if `stack` is empty, the
    /// thread has not answered, since it blocks the signal or waits where no signal reaches it.
    pub coroutine: Option<Coroutine>,
    /// For how long, at least.
    pub running_for: Duration,
    /// The calls it is in, the innermost first, as far as they can be followed: out to where the
    /// coroutine begins, or to the first function without unwinding tables.
    pub stack: Vec<Frame>,
}

/// One function in a stack, or a part of one that another was compiled into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Where the call returns to.
    pub address: usize,
    /// Its name, if the program says.
    pub function: Option<String>,
    /// The file it was compiled from, if the program says.
    pub file: Option<PathBuf>,
    /// The line of the call in it.
    pub line: Option<u32>,
}

/// The worker that this thread is, counted from 0 within its runtime; `None` on a plain thread.
pub fn worker_index() -> Option<usize> {
    Worker::current().map(Worker::index)
}

/// The number of the coroutine that calls this, as in [`Coroutine::id`]; `None` on a plain thread,
/// and in callbacks on a worker's own stack. Costs a few instructions and waits for nothing.
///
/// # Examples
///
/// ```
/// assert_eq!(tarae::inspect::coroutine_id(), None);
/// let (mine, other) = tarae::run(|| {
///     let other = tarae::spawn(tarae::inspect::coroutine_id).join().unwrap();
///     (tarae::inspect::coroutine_id(), other)
/// })
/// .unwrap();
/// assert!(mine.is_some() && other.is_some() && mine != other);
/// ```
#[inline]
pub fn coroutine_id() -> Option<u64> {
    Worker::current()?.running_id()
}

/// Coroutines that wait for each other in a circle, and will for ever: each for a lock of `sync`
/// that the next one has, or for the end of the next one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deadlock {
    /// In the order in which they wait; the last waits for the first. One that waits for itself is
    /// alone.
    pub members: Vec<Deadlocked>,
}

/// One of a [`Deadlock`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deadlocked {
    /// Its number within the process.
    pub id: u64,
    /// The name it was given.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// What it waits for.
    pub waits_for: WaitReason,
    /// The calls it is suspended in, as in [`Dump::stack`].
    pub stack: Vec<Frame>,
}

/// The deadlocks found in this process so far, the latest last; of many, the latest 64. Each has
/// been reported to standard error, stacks included, right after the last of its members had begun
/// to wait; nobody was woken or ended.
///
/// Seen are waits that nothing else can end: for the locks of [`sync`](crate::sync), a writer's or
/// a mutex's holder being the one that is waited for, by calls that cannot be cancelled; and for
/// the
/// end of a coroutine, by [`JoinHandle::join`](crate::thread::JoinHandle::join). Not seen are
/// cycles
/// through readers, through plain threads, or through what has no owner, such as a channel. A guard
/// that is handed to another coroutine still counts as that of the one that locked.
///
/// # Examples
///
/// ```
/// assert!(tarae::inspect::deadlocks().is_empty());
/// ```
pub fn deadlocks() -> Vec<Deadlock> {
    let member = |step: deadlock::Step| Deadlocked {
        id: step.id,
        name: step.name,
        spawned_at: step.spawned_at,
        waits_for: step.reason,
        stack: step.stack,
    };
    let cycle = |steps: Vec<deadlock::Step>| Deadlock {
        members: steps.into_iter().map(member).collect(),
    };
    deadlock::found().into_iter().map(cycle).collect()
}

/// A coroutine and what it is in the middle of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dump {
    /// Who it is and what it waits for.
    pub coroutine: Coroutine,
    /// The calls it is suspended in, the innermost first: from whatever called into this crate to
    /// wait, out to where the coroutine begins. Of more than 256 calls, the innermost. Empty if it
    /// is [unstarted](State::Unstarted), [idle](State::Idle), or has just ended.
    pub stack: Vec<Frame>,
}

/// Every coroutine of the runtime that this is called in; empty outside. Waits until all workers
/// have answered, or `patience` has passed: one that is stuck in a long computation is left out.
/// They answer one after the other, so a coroutine that another worker takes over before it has
/// begun may be missed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tarae::inspect::{State, coroutines};
///
/// tarae::Builder::new().workers(1).run(|| {
///     let sleeper = tarae::thread::Builder::new().name("sleeper".into());
///     sleeper.spawn(|| tarae::time::sleep(Duration::from_secs(60))).unwrap();
///     tarae::thread::yield_now();
///     let all = coroutines(Duration::from_secs(1));
///     assert!(all.iter().any(|c| c.name.as_deref() == Some("sleeper")));
/// })
/// .unwrap();
/// ```
pub fn coroutines(patience: Duration) -> Vec<Coroutine> {
    ask_workers(patience, |worker, index, answer| {
        let mut found = Vec::new();
        worker.for_each(|task| found.push(describe(task, index)));
        worker.for_each_seed(|seed, fd| found.push(describe_seed(seed, fd, index)));
        answer.add(&mut found);
    })
}

/// As [`coroutines`], with their stacks. The one that asks is suspended like the others meanwhile,
/// and so it is in the list.
///
/// A coroutine costs its worker some tens of microseconds; after each few of them others have their
/// turn, so each is shown at a moment of its own. The names are found on a thread of the
/// [blocking](crate::offload::Pool::Blocking) pool, which for the first time takes long (the
/// debug information of the program is read) and is not bounded by `patience`. When the caller is
/// cancelled, it gives what is there; names are then found in place.
///
/// Functions have names unless the program is stripped of them; files and lines are there if it was
/// compiled with debug information.
///
/// # Examples
///
/// See the [module](self).
pub fn dump(patience: Duration) -> Vec<Dump> {
    let found = ask_workers(patience, |worker, index, answer| {
        let mut waiting = Vec::new();
        worker.for_each(|task| {
            if task.state().0 == Status::Unstarted {
                waiting.push((describe(task, index), Vec::new()));
            }
        });
        worker.for_each_seed(|seed, fd| {
            waiting.push((describe_seed(seed, fd, index), Vec::new()));
        });
        answer.add(&mut waiting);
        dump_some(worker, index, worker.all_started(), answer);
    });
    let with_names = || {
        let mut known = Known::default();
        let dump = |(coroutine, calls): &(Coroutine, Vec<usize>)| Dump {
            coroutine: coroutine.clone(),
            stack: known.symbolised_waiting(calls),
        };
        found.iter().map(dump).collect()
    };
    offload::blocking(with_names).unwrap_or_else(|_| with_names())
}

/// Stacks that a worker looks at in one go.
const STACKS_AT_ONCE: usize = 16;

/// The rest of a worker's answer to `dump`: of these, those that have not ended.
fn dump_some(
    worker: &'static Worker,
    index: usize,
    mut left: Vec<TaskRef>,
    answer: Answer<(Coroutine, Vec<usize>)>,
) {
    let now = left.split_off(left.len().saturating_sub(STACKS_AT_ONCE));
    let now = now.iter().filter(|task| task.state().0 != Status::Finished);
    let dump = |task: &TaskRef| (describe(task, index), worker.calls(task));
    answer.add(&mut now.map(dump).collect());
    if !left.is_empty() {
        let home = worker.shared();
        home.post(move |there| dump_some(there, index, left, answer));
    }
}

/// One worker's answer to whoever has asked all of them. It ends when this is dropped.
struct Answer<T> {
    gathering: Arc<Mutex<Gathering<T>>>,
    asker: Unparker,
}

struct Gathering<T> {
    found: Vec<T>,
    missing: usize,
}

impl<T> Answer<T> {
    fn add(&self, found: &mut Vec<T>) {
        locked(&self.gathering).found.append(found);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        locked(&self.gathering).missing -= 1;
        self.asker.unpark();
    }
}

fn locked<T>(gathering: &Mutex<Gathering<T>>) -> MutexGuard<'_, Gathering<T>> {
    gathering.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has each worker of this runtime answer, and gives what they have found until all have, or the
/// patience ends.
fn ask_workers<T: Send + 'static>(
    patience: Duration,
    question: impl Fn(&'static Worker, usize, Answer<T>) + Copy + Send + 'static,
) -> Vec<T> {
    let Some(here) = Worker::current() else {
        return Vec::new();
    };
    let workers = here.runtime_workers();
    let gathering = Arc::new(Mutex::new(Gathering {
        found: Vec::new(),
        missing: workers.len(),
    }));
    for (index, worker) in workers.iter().enumerate() {
        let answer = Answer {
            gathering: Arc::clone(&gathering),
            asker: Unparker::current(),
        };
        worker.post(move |worker| question(worker, index, answer));
    }
    let deadline = sched::now().checked_add(patience);
    let all_there = || locked(&gathering).missing == 0;
    while !all_there() {
        if sched::park(WaitReason::Park, deadline, Cancel::Yes) != Wake::Ready {
            break;
        }
    }
    std::mem::take(&mut locked(&gathering).found)
}

fn describe(task: &Task, worker: usize) -> Coroutine {
    let (status, waits_for) = task.state();
    let state = match status {
        Status::Unstarted => State::Unstarted,
        Status::Ready | Status::Running | Status::Finished => State::Runnable,
        Status::ParkedForToken | Status::ParkedInDriver => State::Parked,
    };
    Coroutine {
        id: Some(task.info.id),
        name: task.info.name.as_deref().map(str::to_owned),
        spawned_at: task.info.spawned_at,
        worker,
        state,
        waits_for,
    }
}

fn describe_seed(seed: &Seed, fd: Option<RawFd>, worker: usize) -> Coroutine {
    Coroutine {
        id: None,
        name: None,
        spawned_at: seed.spawned_at(),
        worker,
        state: State::Idle,
        waits_for: fd.map_or(WaitReason::None, WaitReason::Readable),
    }
}
