//! The runtimes, each as one list of the same measurements.
//!
//! Called by `main`. A measurement must never count what comes before its first operation: each
//! starts its runtime first and the clock afterwards.

mod coro;
mod may_peer;
mod ours;
mod threads;
mod tokio_peer;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Our line in each table.
pub(crate) const OURS: &str = "tarae";

/// Parks that many tasks for good: calls the first function when the runtime is up, and the second
/// when all are parked. The second does not return.
type Park = fn(usize, &dyn Fn(), &dyn Fn());

/// Does something that many times; gives the time of all.
pub(crate) type Run = fn(u32) -> Duration;

/// What one runtime can do.
pub(crate) struct Peer {
    /// As printed.
    pub(crate) name: &'static str,
    /// Into a coroutine and back.
    pub(crate) switch: Option<Run>,
    /// Yields of two tasks.
    pub(crate) yields: Option<Run>,
    /// Spawn, run, join.
    pub(crate) spawn: Option<Run>,
    /// From a thread to a task and back.
    pub(crate) wake: Option<Run>,
    /// From a task of one worker to one of another and back, where tasks stay on their worker.
    pub(crate) cross: Option<Run>,
    /// A job on a thread for what blocks, and back.
    pub(crate) offload: Option<Run>,
    /// Parks tasks.
    pub(crate) park: Option<Park>,
    /// Its tasks are threads: dear, so it is measured less often.
    pub(crate) threads: bool,
}

/// In the order printed.
pub(crate) const PEERS: &[Peer] = &[
    ours::PEER,
    coro::PEER,
    tokio_peer::CURRENT_THREAD,
    tokio_peer::MULTI_THREAD,
    may_peer::PEER,
    threads::PEER,
];

/// A turn that goes between a thread and a task.
pub(crate) struct Turns {
    ping: AtomicU32,
    pong: AtomicU32,
    thread: Thread,
}

impl Turns {
    /// Made on the thread's side.
    pub(crate) fn new() -> Self {
        Turns {
            ping: 0.into(),
            pong: 0.into(),
            thread: std::thread::current(),
        }
    }

    /// The thread's side: wakes the task that many times and waits for each answer.
    pub(crate) fn drive(&self, times: u32, wake: impl Fn()) -> Duration {
        let turn = |number| {
            self.ping.store(number, Ordering::Release);
            wake();
            while self.pong.load(Ordering::Acquire) != number {
                std::thread::park();
            }
        };
        // The first turn waits for the task to start.
        turn(1);
        let start = Instant::now();
        (2..=times + 1).for_each(turn);
        start.elapsed()
    }

    /// The task's side: whether the thread has made that turn.
    pub(crate) fn is_due(&self, number: u32) -> bool {
        self.ping.load(Ordering::Acquire) >= number
    }

    /// The task's side: answers.
    pub(crate) fn answer(&self, number: u32) {
        self.pong.store(number, Ordering::Release);
        self.thread.unpark();
    }
}

/// All turns of the task's side.
pub(crate) fn turns(times: u32) -> impl Iterator<Item = u32> {
    1..=times + 1
}
