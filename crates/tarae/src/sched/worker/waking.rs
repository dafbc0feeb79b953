//! Waking a parked coroutine, from its own worker or from anywhere else.
//!
//! Called by `sched::Unparker` and by the worker's loop, which takes notices out of its mail. It
//! must never run anything foreign.

use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

use super::{Driver, NONE, Ready, Shared, Status, Task, TaskRef, Wake, Worker};

/// Wakes a parked coroutine from wherever this is called.
pub(in crate::sched) fn unpark(task: &TaskRef) {
    if let Some(worker) = Worker::of(task) {
        return worker.unpark(task);
    }
    if let Some(owner) = leave_notice(task) {
        // A closed inbox: the coroutine was leaked at shutdown and never runs again.
        drop(owner.send(task.clone()));
    }
}

/// Leaves a coroutine of another worker its notice. Gives that worker if it is yet to be sent the
/// coroutine.
fn leave_notice(task: &TaskRef) -> Option<&'static Shared> {
    let mut owner = task.owner.load(Ordering::Acquire);
    if owner.is_null() {
        // Pairs with the fence in `start`: either this sees the owner, or what the caller wrote
        // before is seen by the coroutine, which cannot have parked yet.
        fence(Ordering::SeqCst);
        owner = task.owner.load(Ordering::Acquire);
    }
    // SAFETY: null or a `Shared`, which is never freed.
    let owner = unsafe { owner.as_ref() };
    owner.filter(|_| task.notice.leave())
}

/// As `unpark`, by the one who has the reference that the coroutine left for its wait.
#[inline(always)]
pub(in crate::sched) fn unpark_last(task: TaskRef) {
    match Worker::of(&task) {
        Some(worker) => worker.unpark_with(task),
        None => {
            if let Some(owner) = leave_notice(&task) {
                // As in `unpark`.
                drop(owner.send(task));
            }
        }
    }
}

impl Worker {
    #[inline]
    pub(super) fn make_ready(&self, task: &Task, wake: Wake) {
        task.status.set(Status::Ready);
        task.wake.set(wake);
        self.note(task, "is woken");
        let task = Ready::Task(NonNull::from(task));
        self.ready.borrow_mut().push_back(task);
    }

    /// Ends a wait that the driver knows of; the coroutine is woken otherwise.
    #[inline]
    pub(super) fn forget_wait(&self, task: &Task) {
        if task.wait.get() != NONE {
            self.cancel_wait(task);
        }
    }

    #[inline(never)]
    fn cancel_wait(&self, task: &Task) {
        let wait = task.wait.replace(NONE);
        // A coroutine's waiter is a pointer: dropping it runs nothing.
        drop(self.driver.borrow_mut().cancel(wait));
    }

    #[inline]
    fn unpark(&self, task: &Task) {
        if task.park.unpark() {
            self.forget_wait(task);
            self.make_ready(task, Wake::Ready);
        }
    }

    /// As `unpark`, with a reference that the coroutine may keep for its next wait.
    #[inline]
    pub(super) fn unpark_with(&self, task: TaskRef) {
        self.unpark(&task);
        if task.status.get() != Status::Finished {
            task.keep_spare();
        }
    }
}
