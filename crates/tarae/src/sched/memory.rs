//! The memory of tasks: the global allocator's, but for one piece that each worker keeps.
//!
//! Called by `task`. A server makes a coroutine for each request and is done with it before the
//! next, so that one piece goes round and stays warm.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use super::worker::Worker;

/// A worker's piece, if it has one.
#[derive(Default)]
pub(super) struct Spare(Cell<Option<(NonNull<u8>, Layout)>>);

/// Memory for a `T`; given back by [`free`] on any thread.
pub(super) fn allocate<T>() -> NonNull<T> {
    let layout = const { of::<T>() };
    if let Some(Spare(spare)) = Worker::current().map(Worker::spare)
        && let Some((memory, kept)) = spare.take()
    {
        if kept == layout {
            return memory.cast();
        }
        spare.set(Some((memory, kept)));
    }
    // SAFETY: the layout is that of a task and so not empty.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
/// `memory` is from `allocate::<T>`, nothing is in it any more, and it is freed once.
pub(super) unsafe fn free<T>(memory: NonNull<T>) {
    let layout = const { of::<T>() };
    if let Some(Spare(spare)) = Worker::current().map(Worker::spare) {
        let before = spare.replace(Some((memory.cast(), layout)));
        drop(Spare(Cell::new(before)));
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { dealloc(memory.as_ptr().cast(), layout) };
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some((memory, layout)) = self.0.take() {
            // SAFETY: allocated with this layout, and nobody uses it.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
    }
}

const fn of<T>() -> Layout {
    assert!(size_of::<T>() > 0);
    Layout::new::<T>()
}
