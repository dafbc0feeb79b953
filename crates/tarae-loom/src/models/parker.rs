//! What a waiter of the models sleeps on.
//!
//! Used by `completion`, `offload`, `scope` and `sync`.

use loom::sync::{Condvar, Mutex};

/// What the waiter sleeps on; like `Unparker`, it outlives what it waits in.
#[derive(Debug, Default)]
pub(super) struct Parker {
    token: Mutex<bool>,
    given: Condvar,
}

impl Parker {
    pub(super) fn unpark(&self) {
        *self.token.lock().unwrap() = true;
        self.given.notify_one();
    }

    pub(super) fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.given.wait(token).unwrap();
        }
        *token = false;
    }
}
