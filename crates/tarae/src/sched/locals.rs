//! What a coroutine, or a plain thread, keeps under the keys of `coroutine_local!`.
//!
//! Used by `local`, which types it, and by `task`, which empties it when a coroutine ends.
//!
//! Invariants: nothing is borrowed while foreign code runs, so initialisers and destructors may use
//! other keys. A value is counted: it outlives whoever is using it. Only its own thread touches it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::task::contain;
use super::worker::Worker;

/// Values in the order they were made, each with its key's address.
#[derive(Default)]
pub(crate) struct Locals {
    values: RefCell<Vec<(usize, Rc<dyn Any>)>>,
    ended: Cell<bool>,
}

impl Locals {
    pub(crate) fn get(&self, key: usize) -> Option<Rc<dyn Any>> {
        let values = self.values.borrow();
        let found = values.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| Rc::clone(value))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Keeps a value, in place of the one that was there. False at the end: it is dropped.
    pub(crate) fn put(&self, key: usize, value: Rc<dyn Any>) -> bool {
        if self.ended.get() {
            return false;
        }
        let mut values = self.values.borrow_mut();
        let before = match values.iter_mut().find(|(other, _)| *other == key) {
            Some((_, place)) => Some(std::mem::replace(place, value)),
            None => {
                values.push((key, value));
                None
            }
        };
        drop(values);
        drop(before);
        true
    }

    /// Drops the values, the latest first, and takes no more.
    pub(super) fn destroy(&self) {
        self.ended.set(true);
        loop {
            let value = self.values.borrow_mut().pop();
            match value {
                Some(value) => contain(move || drop(value)),
                None => return,
            }
        }
    }
}

impl Drop for Locals {
    fn drop(&mut self) {
        self.destroy();
    }
}

thread_local! {
    static OF_THREAD: Locals = Locals::default();
}

/// Calls `f` with the locals of the coroutine or thread; none at a thread's end.
pub(crate) fn with<R>(f: impl FnOnce(&Locals) -> R) -> Option<R> {
    match Worker::current().filter(|worker| worker.in_coroutine()) {
        Some(worker) => Some(f(worker.locals())),
        None => OF_THREAD.try_with(f).ok(),
    }
}
