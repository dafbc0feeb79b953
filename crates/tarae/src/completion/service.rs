//! The service thread: where callbacks run that nobody else is there for.
//!
//! Called by `operation`, when the one who completed has gone on or ended: no worker, no pool's
//! thread. Started by the first such callback; ends when none has come for ten seconds. The lock is
//! never held while anything is delivered.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sched::shared::Delivery;
use crate::sched::standstill;
use crate::sched::task::contain;

const IDLE: Duration = Duration::from_secs(10);

struct State {
    queue: VecDeque<Arc<dyn Delivery>>,
    /// Whether there is a thread that will look at the queue again.
    is_served: bool,
    /// It waits, and nothing has come yet.
    is_idle: bool,
}

impl State {
    fn end_idle(&mut self) {
        if std::mem::take(&mut self.is_idle) {
            standstill::end_idle();
        }
    }
}

static STATE: Mutex<State> = Mutex::new(State {
    queue: VecDeque::new(),
    is_served: false,
    is_idle: false,
});
static CAME: Condvar = Condvar::new();

fn locked() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the service thread make the delivery.
///
/// # Panics
///
/// When there is none and the system gives none. The delivery waits for the next one then.
pub(super) fn hand_over(delivery: Arc<dyn Delivery>) {
    let mut state = locked();
    state.queue.push_back(delivery);
    if state.is_served {
        state.end_idle();
        drop(state);
        CAME.notify_one();
        return;
    }
    // Made under the lock, so that there is one.
    let thread = std::thread::Builder::new().name("tarae-service".into());
    let started = thread.spawn(serve);
    state.is_served = started.is_ok();
    drop(state);
    if let Err(error) = started {
        panic!("a callback needs the service thread, which could not be started: {error}");
    }
}

fn serve() {
    let mut state = locked();
    loop {
        while let Some(delivery) = state.queue.pop_front() {
            drop(state);
            contain(move || delivery.deliver());
            state = locked();
        }
        state.is_idle = true;
        standstill::begin_idle();
        let waited = CAME.wait_timeout_while(state, IDLE, |state| state.queue.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.end_idle();
        if state.queue.is_empty() {
            state.is_served = false;
            return;
        }
    }
}
