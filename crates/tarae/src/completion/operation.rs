//! What the starters have in common: the shared part of a completion, completing it, and carrying
//! out the reaction on the thread that is promised.
//!
//! Used by `coroutine`, `job` and `io`, which complete, and by `Completion` and `Completions`,
//! which register. Must never run a callback on a frame that registers or cancels.
//!
//! Invariants: `Core::state` has one handle, the `Completion`, until `react_last` or `detach`. An
//! operation is completed once. What it is delivered by, the parcel, is sent at most once: by
//! `react_last` if the result was there before the callback, else by `complete`.

use std::sync::Arc;
use std::task::Waker;

use super::callback::Callback;
use super::error::CompletionError;
use super::service;
use super::state::State;
use crate::sched::Unparker;
use crate::sched::join::Joiner;
use crate::sched::shared::{Delivery, Parcel, Shared};
use crate::sched::task::contain;
use crate::sched::worker::Worker;

pub(crate) type Outcome<T> = Result<T, CompletionError>;

/// An asynchronous call, as its handle sees it.
pub(super) trait Operation: Cancel {
    type Output: Send + 'static;

    fn core(&self) -> &Core<Self::Output>;

    /// The handle has gone, and left nothing that wants the result.
    fn detach(&self) {}
}

/// An asynchronous call whose type of result does not matter.
pub(super) trait Cancel: Delivery {
    fn cancel(self: Arc<Self>);
}

/// What is to be done with the result.
pub(super) enum Reaction<T> {
    /// The handle takes it.
    Wake(Waker),
    /// As above.
    Unpark(Unparker),
    /// Called by whoever completes, or by whoever registers too late: it only passes the result on.
    Direct(Callback<Outcome<T>>),
    /// Called where the completion's home is.
    Callback(Callback<Outcome<T>>),
}

/// What came, and where.
pub(super) struct Ended<T> {
    pub(super) outcome: Outcome<T>,
    home: Option<Home>,
}

/// A worker.
#[derive(Clone, Copy)]
pub(super) struct Home {
    shared: &'static Shared,
    number: u32,
}

impl Home {
    /// Of this thread.
    pub(super) fn here() -> Option<Home> {
        Worker::current().map(|worker| Home {
            shared: worker.shared(),
            number: worker.number(),
        })
    }

    pub(super) fn is(self, worker: &Worker) -> bool {
        self.number == worker.number()
    }

    /// Runs `f` on the worker's own stack, unless it has ended.
    pub(super) fn post(self, f: impl FnOnce(&Worker) + Send + 'static) {
        self.shared.post(move |worker| {
            if self.is(worker) {
                f(worker);
            }
        });
    }
}

/// The part of an operation that does not depend on how it was started.
pub(super) struct Core<T> {
    pub(super) state: State<Ended<T>, Reaction<T>>,
    parcel: Parcel,
}

impl<T> Core<T> {
    pub(super) fn new() -> Core<T> {
        Core {
            state: State::new(),
            parcel: Parcel::new(),
        }
    }
}

impl<O: Operation> Delivery for O {
    fn parcel(&self) -> &Parcel {
        &self.core().parcel
    }

    fn deliver(self: Arc<Self>) {
        let state = &self.core().state;
        // SAFETY: the reaction takes the result, and whoever was to carry it out has handed that to
        // this call.
        let (reaction, ended) = unsafe { (state.reclaim(), state.take()) };
        if let (Some(Reaction::Direct(f) | Reaction::Callback(f)), Some(ended)) = (reaction, ended)
        {
            f.call(ended.outcome);
        }
    }
}

/// The result has come. `is_home`: this is where a callback belongs, and nobody's frame but that of
/// a worker's loop or a pool's thread.
///
/// # Safety
/// Once for each operation.
pub(super) unsafe fn complete<O: Operation + 'static>(
    operation: &Arc<O>,
    outcome: Outcome<O::Output>,
    is_home: bool,
) {
    let state = &operation.core().state;
    let home = Home::here();
    // SAFETY: the caller's promise.
    match unsafe { state.complete(Ended { outcome, home }) } {
        Joiner::Absent => {}
        // SAFETY: detached, so the result is the completing side's.
        Joiner::Detached => contain(|| drop(unsafe { state.take() })),
        Joiner::Waiting(Reaction::Wake(waker)) => contain(move || waker.wake()),
        Joiner::Waiting(Reaction::Unpark(unparker)) => unparker.unpark_last(),
        Joiner::Waiting(reaction) => {
            let at_once = is_home || matches!(reaction, Reaction::Direct(_));
            // SAFETY: just given to us.
            unsafe { state.keep(reaction) };
            let operation = Arc::clone(operation);
            if at_once {
                contain(move || operation.deliver());
            } else {
                defer(operation, home);
            }
        }
    }
}

/// Leaves a reaction that takes the result, which may be there already.
///
/// # Safety
/// By the handle, which has left nothing and is not used again.
pub(super) unsafe fn react_last<T: Send + 'static>(
    operation: Arc<dyn Operation<Output = T>>,
    reaction: Reaction<T>,
) {
    let state = &operation.core().state;
    let is_direct = matches!(reaction, Reaction::Direct(_));
    // SAFETY: the caller's promise.
    if unsafe { state.react_last(reaction) } {
        return;
    }
    if is_direct {
        return contain(move || operation.deliver());
    }
    // SAFETY: complete, and nobody waited: it is still the handle's.
    let home = unsafe { state.with_result(|ended| ended.and_then(|ended| ended.home)) };
    defer(operation, home);
}

/// Has the worker that completed it carry out the reaction or, if there is none any more, the
/// service thread.
fn defer(delivery: Arc<dyn Delivery>, home: Option<Home>) {
    let refused = match home {
        Some(home) if home.shared.number() == home.number => home.shared.deliver(delivery).err(),
        _ => Some(delivery),
    };
    if let Some(delivery) = refused {
        service::hand_over(delivery);
    }
}
