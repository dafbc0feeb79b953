//! The end of a worker: cancelling what is left, waiting for it, leaking what will not end.
//!
//! Called by `runtime`, after the last round of the loop. It must never unwind a suspended stack or
//! free one.

use std::time::Instant;

use super::{BATCH, Ready, Slab, Waiter, Wake, Woken, Worker};
use crate::driver::Driver;
use crate::sched::task::{Failure, Status, Task, TaskRef};

impl Worker {
    /// Cancels everything, schedules until all is gone or `deadline` has passed, closes the inbox.
    /// Gives the coroutines that would not end: their stacks are leaked.
    pub(in crate::sched) fn wind_down(&self, deadline: Instant) -> Vec<String> {
        self.cancel_all();
        loop {
            self.round(BATCH, || false);
            // After the round: what it has put aside is to be woken too.
            self.cancel_waits();
            if self.is_idle() || crate::sched::now() >= deadline {
                break;
            }
            self.look_at_driver(Some(deadline));
        }
        self.leave()
    }

    /// Asks everything to end, now and from now on.
    pub(super) fn cancel_all(&self) {
        self.stopping.set(true);
        let live: Vec<TaskRef> = self
            .live
            .borrow()
            .iter()
            .map(|(_, task)| task.clone())
            .collect();
        live.iter().for_each(|task| self.cancel(task));
    }

    /// Closes the inbox and gives the coroutines that would not end.
    pub(super) fn leave(&self) -> Vec<String> {
        self.empty_queues();
        self.leak()
    }

    /// Whether nothing is left that could run.
    pub(in crate::sched) fn is_idle(&self) -> bool {
        self.live.borrow().len() == 0
            && self.ready.borrow().is_empty()
            && self.starved.borrow().is_empty()
            && self.woken.borrow().is_empty()
            && self.driver.borrow().waits().next().is_none()
    }

    /// Leaks what is left, tells whoever joins it, and gives its description.
    fn leak(&self) -> Vec<String> {
        let left = self.live.replace(Slab::new());
        // All of them before anybody is woken: a joiner's unpark changes what it waits for.
        let stragglers = left.iter().map(|(_, task)| describe(task)).collect();
        for (_, task) in left.iter() {
            // SAFETY: suspended on this thread, whose loop is over; its frames, if they use the
            // result's place at all, never run again. It has not completed: it is live.
            unsafe {
                task.fail(Failure::Leaked);
                task.complete();
            }
        }
        if left.len() > 0 {
            // Their frames have not returned: neither the stacks nor the tasks may ever be freed.
            std::mem::forget(left);
        }
        stragglers
    }

    /// Wakes what waits without a coroutine: idle connections, callbacks, wakers.
    pub(super) fn cancel_waits(&self) {
        let mut driver = self.driver.borrow_mut();
        let keys: Vec<_> = driver
            .waits()
            .filter(|(_, _, waiter)| !matches!(waiter, Waiter::Coroutine(_)))
            .map(|(key, _, _)| key)
            .collect();
        let mut woken = self.woken.borrow_mut();
        for key in keys {
            let waiter = driver.cancel(key);
            woken.push(Woken {
                waiter,
                wake: Wake::Cancelled,
                place: None,
                source: std::ptr::null(),
            });
        }
        drop((driver, woken));
        self.handle_woken();
    }

    /// Ends whatever never ran and lets nothing more in.
    fn empty_queues(&self) {
        for message in self.shared.close() {
            self.receive(message);
        }
        self.abandon_starved();
        loop {
            let offered = self.shared.steal().map(|task| Ready::Task(task.into_raw()));
            let task = match offered.or_else(|| self.ready.borrow_mut().pop_front()) {
                Some(Ready::Task(task)) => task,
                Some(Ready::Seed(seed, ..)) => {
                    drop(seed);
                    continue;
                }
                None => break,
            };
            // SAFETY: queued, so alive.
            if unsafe { task.as_ref() }.status.get() == Status::Unstarted {
                // SAFETY: an unstarted entry owns its reference.
                self.abandon(unsafe { TaskRef::from_raw(task) }, Failure::Cancelled);
            }
        }
    }
}

/// A coroutine as a person would want it named.
pub(super) fn describe(task: &Task) -> String {
    let name = task.info.name.as_deref().unwrap_or("unnamed");
    let (id, site, reason) = (task.info.id, task.info.spawned_at, task.reason.get());
    format!("coroutine {id} ({name}), spawned at {site}, waiting for {reason}")
}
