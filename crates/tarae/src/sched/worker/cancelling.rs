//! Cancelling a coroutine from anywhere: its worker ends the wait that it is in.
//!
//! Called by handles, by nodes of the tree of tokens and scopes, and at the worker's end. It must
//! never run anything foreign.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::{Wake, Worker};
use crate::sched::task::{Status, Task, TaskRef};

/// Cancels a coroutine from wherever this is called: one that has not started never will.
pub(in crate::sched) fn cancel(task: &TaskRef) {
    task.cancelled.store(true, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    on_its_worker(task, Worker::cancel);
}

/// Cancels those coroutines of this worker's runtime that have begun and have these numbers; on a
/// plain thread none.
pub(crate) fn cancel_numbered(ids: &[u64]) {
    let Some(here) = Worker::current() else {
        return;
    };
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let ids: Arc<[u64]> = sorted.into();
    for worker in here.runtime_workers() {
        let ids = Arc::clone(&ids);
        worker.post(move |worker| {
            for task in worker.all_started() {
                if ids.binary_search(&task.info.id).is_ok() {
                    cancel(&task);
                }
            }
        });
    }
}

/// Ends the wait of a coroutine if something that it stands inside of has been cancelled.
pub(in crate::sched) fn reexamine(task: &TaskRef) {
    on_its_worker(task, Worker::reexamine);
}

/// Calls `f` on the coroutine's worker, now or later; not for one that has not started or is gone.
fn on_its_worker(task: &TaskRef, f: fn(&Worker, &Task)) {
    let owner = task.owner.load(Ordering::Acquire);
    // SAFETY: null or a `Shared`, which is never freed.
    let Some(owner) = (unsafe { owner.as_ref() }) else {
        return;
    };
    match Worker::current() {
        Some(worker) if std::ptr::eq(owner, worker.shared) => f(worker, task),
        _ => {
            let task = task.clone();
            owner.post(move |worker| {
                // A later worker on this inbox does not own it.
                if task.status.get() != Status::Finished && worker.owns(&task) {
                    f(worker, &task);
                }
            });
        }
    }
}

impl Worker {
    /// Whether the running coroutine is refused what can be cancelled: it has been, or it unwinds.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.in_coroutine() && (self.task().is_cancelled() || self.is_unwinding())
    }

    /// Whether a coroutine was started on this worker and has not ended.
    pub(in crate::sched) fn owns(&self, task: &TaskRef) -> bool {
        let live = self.live.borrow();
        live.get(task.live.get())
            .is_some_and(|ours| ours.as_ptr() == task.as_ptr())
    }

    /// Cancels a coroutine of this worker: the wait it is in, if that can be, and all later ones.
    pub(in crate::sched) fn cancel(&self, task: &Task) {
        task.cancelled.store(true, Ordering::Relaxed);
        task.context.cancel_scopes();
        self.reexamine(task);
    }

    /// Ends the wait a coroutine is in, if it is cancelled and the wait can be.
    fn reexamine(&self, task: &Task) {
        if !task.cancellable.get() || !task.is_cancelled() {
            return;
        }
        match task.status.get() {
            Status::ParkedForToken => task.park.end(),
            Status::ParkedInDriver => {}
            _ => return,
        }
        self.forget_wait(task);
        self.make_ready(task, Wake::Cancelled);
    }
}
