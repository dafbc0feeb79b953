//! What is on a worker, for whoever wants to list it.
//!
//! Called by `inspect` and the reports of `sched`. It changes nothing but the order in which
//! unstarted coroutines would be stolen.

use std::os::fd::RawFd;

use super::{Ready, Waiter, Worker};
use crate::sched::seed::Seed;
use crate::sched::task::{Status, Task, TaskRef};

impl Worker {
    /// Every coroutine that has begun here.
    pub(crate) fn all_started(&self) -> Vec<TaskRef> {
        let live = self.live.borrow();
        live.iter().map(|(_, task)| task.clone()).collect()
    }

    /// The calls that one of its coroutines is suspended in, the innermost first; none while
    /// another one runs, or of one that has ended. Takes some tens of microseconds.
    pub(crate) fn calls(&self, task: &TaskRef) -> Vec<usize> {
        let suspended = matches!(
            task.status.get(),
            Status::Ready | Status::ParkedForToken | Status::ParkedInDriver
        );
        if !suspended || self.in_coroutine() || !self.owns(task) {
            return Vec::new();
        }
        // SAFETY: started, suspended and on its own thread, and the loop runs nobody: nobody else
        // touches the switch.
        let switch = unsafe { (*task.switch.get()).as_mut() };
        switch.map_or_else(Vec::new, super::super::task::Switch::calls)
    }

    /// Every coroutine here, started or not.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Task)) {
        self.live.borrow().iter().for_each(|(_, task)| f(task));
        self.starved.borrow().iter().for_each(&mut f);
        // Those on offer cannot be looked at where other workers may take them.
        let offered = std::iter::from_fn(|| self.shared.steal());
        let offered = offered.map(|task| Ready::Task(task.into_raw()));
        self.ready.borrow_mut().extend(offered);
        for ready in self.ready.borrow().iter() {
            if let Ready::Task(task) = ready {
                // SAFETY: queued, so alive.
                let task = unsafe { task.as_ref() };
                if task.status.get() == Status::Unstarted {
                    f(task);
                }
            }
        }
    }

    /// Every coroutine that is yet to be made, with the descriptor it waits for; `None` if it has
    /// been woken.
    pub(crate) fn for_each_seed(&self, mut f: impl FnMut(&Seed, Option<RawFd>)) {
        for (_, fd, waiter) in self.driver.borrow().waits() {
            if let Waiter::Spawn(seed) = waiter {
                f(seed, fd);
            }
        }
        for ready in self.ready.borrow().iter() {
            if let Ready::Seed(seed, ..) = ready {
                f(seed, None);
            }
        }
    }
}
