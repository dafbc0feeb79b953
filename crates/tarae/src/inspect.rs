//! What the runtime is doing: plain data, for whoever wants to show it.
//!
//! Public. Asks every worker through its inbox and never touches another worker's state.

use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::driver::Wake;
use crate::sched::seed::Seed;
use crate::sched::task::{Status, Task};
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

/// The worker that this thread is, counted from 0 within its runtime; `None` on a plain thread.
pub fn worker_index() -> Option<usize> {
    Worker::current().map(Worker::index)
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
}

/// The deadlocks found in this process so far, the latest last; of many, the latest 64. Each has
/// been reported to standard error when it was found, which is when the last of its members began
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
    };
    let cycle = |steps: Vec<deadlock::Step>| Deadlock {
        members: steps.into_iter().map(member).collect(),
    };
    deadlock::found().into_iter().map(cycle).collect()
}

struct Gathering {
    found: Vec<Coroutine>,
    missing: usize,
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
    let Some(here) = Worker::current() else {
        return Vec::new();
    };
    let workers = here.runtime_workers();
    let gathering = Gathering {
        found: Vec::new(),
        missing: workers.len(),
    };
    let gathering = Arc::new(Mutex::new(gathering));
    for (index, worker) in workers.iter().enumerate() {
        let (theirs, asker) = (Arc::clone(&gathering), Unparker::current());
        let answer = move |worker: &'static Worker| {
            let mut found = Vec::new();
            worker.for_each(|task| found.push(describe(task, index)));
            worker.for_each_seed(|seed, fd| found.push(describe_seed(seed, fd, index)));
            let mut gathering = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            gathering.found.append(&mut found);
            gathering.missing -= 1;
            asker.unpark();
        };
        worker.post(answer);
    }
    let deadline = sched::now().checked_add(patience);
    loop {
        {
            let mut gathering = gathering.lock().unwrap_or_else(PoisonError::into_inner);
            if gathering.missing == 0 {
                return std::mem::take(&mut gathering.found);
            }
        }
        if sched::park(WaitReason::Park, deadline, Cancel::Yes) != Wake::Ready {
            let mut gathering = gathering.lock().unwrap_or_else(PoisonError::into_inner);
            return std::mem::take(&mut gathering.found);
        }
    }
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
