//! Coroutines of a worker that could not begin for want of a stack.
//!
//! Called by the worker's loop. Nothing is given up here but what somebody is told of: whoever
//! waits in `join` gets the error at once, since his own stack may be what is missing. All others,
//! a connection's coroutine above all, stay unstarted with everything they own until a stack is
//! free: one that ended here has left its own, or, every `RETRY`, another worker has given some
//! back or a limit was raised. Each worker has had one stack from its start, so what is here begins
//! once the coroutines before it have ended. It must never be in the way of one that has a stack.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Failure, Ready, Status, Task, TaskRef, WaitReason, Worker};
use crate::stack::Class;

/// How often a stack is asked for while none of this worker's is free.
const RETRY: Duration = Duration::from_millis(50);

/// The unstarted coroutines that wait for a stack, the longest waiting one first.
#[derive(Default)]
pub(super) struct Starved {
    waiting: VecDeque<One>,
    /// When to ask for stacks again.
    retry_at: Option<Instant>,
}

struct One {
    task: TaskRef,
    /// Made for a state that was put aside: it is to run even when the runtime ends.
    from_seed: bool,
}

impl Starved {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.waiting.iter().map(|one| &*one.task)
    }

    /// Until when the worker may sleep that otherwise would until `bound`.
    pub(super) fn bound(&self, bound: Option<Instant>) -> Option<Instant> {
        bound.into_iter().chain(self.retry_at).min()
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }
}

impl Worker {
    /// Whether a coroutine that has not begun never will.
    pub(super) fn is_too_late(&self, task: &Task) -> bool {
        self.stopping.get() || task.cancelled.load(Ordering::Relaxed)
    }

    /// Takes in a coroutine that there was no stack for.
    #[cold]
    pub(super) fn starve(&self, task: TaskRef, from_seed: bool, error: io::Error) {
        task.reason.set(WaitReason::Stack);
        let one = One { task, from_seed };
        if let Some(one) = self.unless_told(one, &error) {
            let mut starved = self.starved.borrow_mut();
            starved.waiting.push_back(one);
            let soon = self.coarse_now() + RETRY;
            starved.retry_at.get_or_insert(soon);
        }
    }

    /// A stack of this class has become free here.
    #[cold]
    pub(super) fn feed_one(&self, class: &'static Class) {
        let mut starved = self.starved.borrow_mut();
        let fits = |one: &One| std::ptr::eq(one.task.class, class);
        let at = starved.waiting.iter().position(fits);
        let one = at.and_then(|at| starved.waiting.remove(at));
        drop(starved);
        if let Some(Err((one, _))) = one.map(|one| self.start_starved(one)) {
            // Another worker has had it.
            self.starved.borrow_mut().waiting.push_front(one);
        }
    }

    /// Asks for a stack for each of them, until there is none.
    #[cold]
    pub(super) fn retry_starved(&self) {
        let waiting = std::mem::take(&mut self.starved.borrow_mut().waiting);
        let mut refused: Vec<(&Class, io::Error)> = Vec::new();
        let mut left = VecDeque::new();
        for one in waiting {
            let class = one.task.class;
            let known = refused.iter().position(|(of, _)| std::ptr::eq(*of, class));
            let (one, at) = match known {
                Some(at) => (one, at),
                None => match self.start_starved(one) {
                    Ok(()) => continue,
                    Err((one, error)) => {
                        refused.push((class, error));
                        (one, refused.len() - 1)
                    }
                },
            };
            left.extend(self.unless_told(one, &refused[at].1));
        }
        let mut starved = self.starved.borrow_mut();
        starved.retry_at = (!left.is_empty()).then(|| self.coarse_now() + RETRY);
        starved.waiting = left;
    }

    /// The worker ends: none of them will run.
    pub(super) fn abandon_starved(&self) {
        let waiting = std::mem::take(&mut self.starved.borrow_mut().waiting);
        for one in waiting {
            self.abandon(one.task, Failure::Cancelled);
        }
    }

    fn start_starved(&self, one: One) -> Result<(), (One, io::Error)> {
        if self.is_hopeless(&one) {
            self.abandon(one.task, Failure::Cancelled);
            return Ok(());
        }
        let from_seed = one.from_seed;
        let pointer = one.task.as_ptr();
        match self.start(one.task) {
            Ok(()) => {
                // SAFETY: started, so `live` keeps it.
                let task = unsafe { pointer.as_ref() };
                task.reason.set(WaitReason::None);
                task.status.set(Status::Ready);
                self.ready.borrow_mut().push_back(Ready::Task(pointer));
                Ok(())
            }
            Err((task, error)) => Err((One { task, from_seed }, error)),
        }
    }

    /// Ends one that somebody waits for, or that is not to begin any more; gives back the others.
    fn unless_told(&self, one: One, error: &io::Error) -> Option<One> {
        if self.is_hopeless(&one) {
            self.abandon(one.task, Failure::Cancelled);
        } else if one.task.join.is_awaited() {
            self.abandon(one.task, Failure::NoStack(error.to_string()));
        } else {
            return Some(one);
        }
        None
    }

    fn is_hopeless(&self, one: &One) -> bool {
        !one.from_seed && self.is_too_late(&one.task)
    }
}
