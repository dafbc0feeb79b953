//! What is on a worker, for whoever wants to list it.
//!
//! Called by `inspect` and the reports of `sched`. It changes nothing but the order in which
//! unstarted coroutines would be stolen.

use std::os::fd::RawFd;

use super::{Ready, Waiter, Worker};
use crate::sched::seed::Seed;
use crate::sched::task::{Status, Task};

impl Worker {
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
            if let Ready::Seed(seed, _) = ready {
                f(seed, None);
            }
        }
    }
}
