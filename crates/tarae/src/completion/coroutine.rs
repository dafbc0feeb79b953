//! The starter of coroutines. Public through the crate's root.
//!
//! The completion is the coroutine's joiner: the end is told to it in a worker's loop, with the
//! result or with why there is none.

use std::panic::Location;
use std::sync::Arc;

use super::Completion;
use super::operation::{Cancel, Core, Operation, complete};
use crate::sched::handle::Told;
use crate::sched::runtime::{self, Spawn};
use crate::sched::select::Ending;
use crate::thread::NO_RUNTIME;

struct Coroutine<T> {
    core: Core<T>,
    told: Told<T>,
}

/// Starts a coroutine that runs `f`, and gives its [`Completion`]: as [`spawn`](crate::spawn),
/// whose `JoinHandle` is for those who wait.
///
/// Never waits. On a plain thread the coroutine goes to the runtime that is running. Neither a
/// cancellation nor a deadline of the caller reaches it. If there is
/// [no stack](crate::spawn#where-there-is-no-stack) for it, its result is an error that says so;
/// with the handle dropped it waits for one. In a [simulated run](crate::sim) it is a
/// coroutine as any other.
///
/// # Panics
///
/// When no runtime is running: call it inside [`run`](crate::run).
/// [`offload::start`](crate::offload::start) needs none.
///
/// # Examples
///
/// ```
/// tarae::run(|| {
///     let sum = tarae::start(|| (1..=10).sum::<i32>());
///     let product = tarae::start(|| (1..=10).product::<i32>());
///     // … whatever else there is to do …
///     assert_eq!((sum.wait().unwrap(), product.wait().unwrap()), (55, 3_628_800));
/// })
/// .unwrap();
/// ```
#[track_caller]
pub fn start<F, T>(f: F) -> Completion<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawn = Spawn::here(Location::caller());
    let coroutine = runtime::spawn_with(spawn, f, |handle| {
        let coroutine = Arc::new(Coroutine {
            core: Core::new(),
            told: Told::new(handle),
        });
        // SAFETY: once, and nobody has the coroutine yet.
        unsafe { coroutine.told.tell(Arc::<Coroutine<T>>::clone(&coroutine)) };
        coroutine
    });
    Completion::new(coroutine.expect(NO_RUNTIME))
}

impl<T: Send + 'static> Ending for Coroutine<T> {
    fn ended(self: Arc<Self>) {
        // SAFETY: this is who is told of the end, once.
        let outcome = unsafe { self.told.take() }.map_err(Into::into);
        // SAFETY: as above. In a worker's loop, or before the handle was given to anybody.
        unsafe { complete(&self, outcome, true) };
    }
}

impl<T: Send + 'static> Operation for Coroutine<T> {
    type Output = T;

    fn core(&self) -> &Core<T> {
        &self.core
    }

    fn detach(&self) {
        // SAFETY: after `tell`; a handle goes once.
        unsafe { self.told.detach() };
    }
}

impl<T: Send + 'static> Cancel for Coroutine<T> {
    fn cancel(self: Arc<Self>) {
        self.told.cancel();
    }
}
