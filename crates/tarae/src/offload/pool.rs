//! The three pools: threads that are started when there is work and end when there is none.
//!
//! Called by the module's public functions. A pool's state is under one lock, which is never held
//! while a job runs or anybody is woken. Threads are made under it: so a job is only queued where
//! a thread is there, or is certain, to run it.
//!
//! Invariant: `threads` = those idle + those claimed + those at work. A claim is a job queued for a
//! thread that was idle or is just being made; any thread that comes out of its wait, or finds one
//! on its way into it, uses it up.

use std::io;
use std::ptr::NonNull;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{Queue, Record};
use super::{OffloadError, PoolStats, job};
use crate::sched::context::Client;
use crate::sched::standstill;

const IDLE: Duration = Duration::from_secs(10);
const QUEUE: usize = 65_536;

pub(super) struct Threads {
    name: &'static str,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    /// Jobs that no thread has taken. What exceeds the limit waits for room, in turn: the record of
    /// a caller that waits stands in its own frame, so one queue serves both.
    queue: Queue<Client>,
    threads: usize,
    idle: usize,
    claimed: usize,
    /// Threads in their wait for a claim, and how many of these are known to have none.
    waiting: usize,
    bystanders: usize,
    /// Threads ever started, for their names.
    started: usize,
    limits: Limits,
    /// A job has come: the limits stand.
    used: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// None: one for each core.
    pub(super) threads: Option<usize>,
    pub(super) queue: usize,
    pub(super) idle: Duration,
}

/// What a caller does when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Waits,
}

pub(super) static CPU: Threads = Threads::new("tarae-cpu", None);
pub(super) static BLOCKING: Threads = Threads::new("tarae-blocking", Some(512));
pub(super) static DNS: Threads = Threads::new("tarae-dns", Some(8));

impl Limits {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores)
    }
}

impl State {
    /// Jobs for which no thread is on its way.
    fn backlog(&self) -> usize {
        self.queue.len().saturating_sub(self.claimed)
    }

    /// After every change of `waiting` or `claimed`: tells of those that wait and have no job. Some
    /// that count as idle have yet to tell somebody of their last one.
    fn tell_of_bystanders(&mut self) {
        let now = self.waiting.saturating_sub(self.claimed);
        (self.bystanders..now).for_each(|_| standstill::begin_idle());
        (now..self.bystanders).for_each(|_| standstill::end_idle());
        self.bystanders = now;
    }

    /// What a thread does next; without a job it is idle from now on.
    fn next(&mut self) -> Option<NonNull<Record<Client>>> {
        let job = self.queue.pop();
        self.idle += usize::from(job.is_none());
        job
    }
}

impl Threads {
    const fn new(name: &'static str, threads: Option<usize>) -> Threads {
        let limits = Limits {
            threads,
            queue: QUEUE,
            idle: IDLE,
        };
        let state = State {
            queue: Queue::new(),
            threads: 0,
            idle: 0,
            claimed: 0,
            waiting: 0,
            bystanders: 0,
            started: 0,
            limits,
            used: false,
        };
        Threads {
            name,
            state: Mutex::new(state),
            work: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits, if no job has come yet.
    pub(super) fn configure(&self, change: impl FnOnce(&mut Limits)) -> bool {
        let mut state = self.locked();
        if !state.used {
            change(&mut state.limits);
        }
        !state.used
    }

    /// Queues a job and sees to it that a thread will take it.
    ///
    /// # Safety
    /// As for `Queue::push`; the record is that of a `Job`.
    pub(super) unsafe fn submit(
        &'static self,
        record: NonNull<Record<Client>>,
        patience: Patience,
    ) -> Result<(), OffloadError> {
        let mut state = self.locked();
        if !state.used {
            state.used = true;
            state.limits.threads = Some(state.limits.threads());
        }
        let may_start = state.threads < state.limits.threads();
        let full = state.idle == 0 && !may_start && state.backlog() >= state.limits.queue;
        if full && patience == Patience::None {
            return Err(OffloadError::full(state.limits.queue));
        }
        let notify = state.idle > 0;
        if notify {
            state.idle -= 1;
            state.claimed += 1;
        } else if may_start {
            match self.start(state.started) {
                Ok(()) => {
                    state.threads += 1;
                    state.claimed += 1;
                    state.started += 1;
                }
                Err(error) if state.threads == 0 => return Err(OffloadError::no_thread(error)),
                // Those that there are will come to it.
                Err(_) => {}
            }
        }
        state.tell_of_bystanders();
        // SAFETY: the caller's promise.
        unsafe { state.queue.push(record) };
        drop(state);
        if notify {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Takes a job back that no thread has taken.
    ///
    /// # Safety
    /// As for `Queue::withdraw`.
    pub(super) unsafe fn withdraw(&self, record: NonNull<Record<Client>>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.locked().queue.withdraw(record) }
    }

    fn start(&'static self, number: usize) -> io::Result<()> {
        std::thread::Builder::new()
            .name(format!("{}-{number}", self.name))
            .spawn(|| self.work())
            .map(drop)
    }

    /// A thread of the pool, from its first claim to the end of its patience.
    fn work(&self) {
        let mut state = self.locked();
        let idle = state.limits.idle;
        loop {
            // The claim comes first: whoever looks at the state later sees the job with it, or both
            // gone.
            if state.claimed > 0 {
                state.claimed -= 1;
                state.tell_of_bystanders();
            } else {
                state.idle -= 1;
                state.threads -= 1;
                return;
            }
            let mut next = state.next();
            drop(state);
            while let Some(record) = next {
                // SAFETY: just popped here.
                let is_awaited = unsafe { job::perform(record) };
                // Who is told may come with another job at once: by then this thread has taken the
                // next one or counts as idle, so that no other is woken or made in its place.
                next = self.locked().next();
                if is_awaited {
                    // SAFETY: performed, and told once.
                    unsafe { job::tell(record) };
                }
            }
            state = self.locked();
            state.waiting += 1;
            state.tell_of_bystanders();
            let waited = self
                .work
                .wait_timeout_while(state, idle, |state| state.claimed == 0);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
            state.tell_of_bystanders();
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.locked();
        let backlog = state.backlog();
        let queued = backlog.min(state.limits.queue);
        PoolStats {
            threads: state.threads,
            threads_max: state.limits.threads(),
            running: state.threads - state.idle,
            queued,
            queued_max: state.limits.queue,
            waiting: backlog - queued,
        }
    }
}
