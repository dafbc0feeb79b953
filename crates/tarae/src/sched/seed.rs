//! A coroutine that is yet to be made: what `io::park_until_readable` leaves with the driver, and
//! its worker grows when the wait is over.
//!
//! A connection that is idle costs its state and these three words: a task (see `task`) is made
//! only when there is something to do, from memory that is still warm.
//!
//! Invariants: `body` holds an `F` of the type that `vtable` was made for — in place if it fits
//! into a word, else as the address of its box — until `grow` or the drop takes it out, once. `F`
//! is `Send`, but its worker alone has the seed.

use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::panic::Location;

use std::ptr::NonNull;

use super::task::{Affinity, Blueprint, Task, TaskRef, contain};
use crate::driver::Wake;
use crate::stack::Class;
use crate::sys;

pub(crate) struct Seed {
    vtable: &'static VTable,
    body: Word,
    spawned_at: &'static Location<'static>,
}

type Word = MaybeUninit<*mut ()>;

struct VTable {
    affinity: Affinity,
    grow: unsafe fn(Word, Blueprint<()>) -> TaskRef,
    can_succeed: fn(&Task) -> bool,
    succeed: unsafe fn(NonNull<Task>, Word, Blueprint<()>, Wake),
    drop: unsafe fn(Word),
}

impl VTable {
    const fn of<F: FnOnce(Wake) + Send + 'static>(affinity: Affinity) -> VTable {
        VTable {
            affinity,
            grow: grow::<F>,
            can_succeed: Task::can_succeed::<F>,
            succeed: succeed::<F>,
            drop: drop_body::<F>,
        }
    }
}

impl Seed {
    /// `placed`: it counts as one of its worker's connections, from now on.
    pub(super) fn new<F>(body: F, placed: bool, spawned_at: &'static Location<'static>) -> Seed
    where
        F: FnOnce(Wake) + Send + 'static,
    {
        let vtable = if placed {
            const { &VTable::of::<F>(Affinity::Placed) }
        } else {
            const { &VTable::of::<F>(Affinity::Local) }
        };
        Seed {
            vtable,
            body: pack(body),
            spawned_at,
        }
    }

    /// Makes the coroutine, with nobody to join it.
    pub(super) fn grow(self, class: &'static Class) -> TaskRef {
        let seed = ManuallyDrop::new(self);
        // SAFETY: the body is of the vtable's type and taken out here only.
        unsafe { (seed.vtable.grow)(seed.body, seed.blueprint(class)) }
    }

    /// Whether its coroutine can take the place of one that has ended (see `Task::can_succeed`).
    pub(super) fn can_succeed(&self, ended: &Task) -> bool {
        (self.vtable.can_succeed)(ended)
    }

    /// Makes the coroutine out of one that has ended.
    ///
    /// # Safety
    /// As for `TaskRef::succeed`, and it `can_succeed`.
    pub(super) unsafe fn succeed(self, ended: NonNull<Task>, class: &'static Class, wake: Wake) {
        let seed = ManuallyDrop::new(self);
        // SAFETY: the body is of the vtable's type and taken out here only; the caller's promise.
        unsafe { (seed.vtable.succeed)(ended, seed.body, seed.blueprint(class), wake) };
    }

    fn blueprint(&self, class: &'static Class) -> Blueprint<()> {
        Blueprint {
            body: (),
            name: None,
            spawned_at: self.spawned_at,
            affinity: self.vtable.affinity,
            class,
        }
    }

    /// Has the processor fetch what the body points to, if it is an address: the state of a
    /// connection that has been idle is cold, and is looked at soon.
    pub(super) fn prefetch(&self) {
        sys::prefetch_pointee(&self.body);
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // SAFETY: the body is of the vtable's type, and nobody has taken it out.
        unsafe { (self.vtable.drop)(self.body) };
    }
}

const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Word>() && align_of::<F>() <= align_of::<Word>()
}

fn pack<F>(body: F) -> Word {
    let mut word = Word::uninit();
    if fits::<F>() {
        // SAFETY: it fits, and the word is ours.
        unsafe { word.as_mut_ptr().cast::<F>().write(body) };
    } else {
        word.write(Box::into_raw(Box::new(body)).cast());
    }
    word
}

/// # Safety
/// `word` comes from `pack::<F>` and is unpacked once.
unsafe fn unpack<F>(word: Word) -> F {
    if fits::<F>() {
        // SAFETY: the caller's promise.
        unsafe { word.as_ptr().cast::<F>().read() }
    } else {
        // SAFETY: the caller's promise: the address of a box.
        *unsafe { Box::from_raw(word.assume_init().cast::<F>()) }
    }
}

/// # Safety
/// As for `unpack`.
unsafe fn grow<F: FnOnce(Wake) + Send + 'static>(word: Word, rest: Blueprint<()>) -> TaskRef {
    // SAFETY: the caller's promise.
    let body = unsafe { unpack::<F>(word) };
    // SAFETY: `Send` and `'static`, and it stays on this worker.
    unsafe { TaskRef::new_detached(rest.with_body(body)) }
}

/// # Safety
/// As for `unpack` and `TaskRef::succeed`.
unsafe fn succeed<F: FnOnce(Wake) + Send + 'static>(
    ended: NonNull<Task>,
    word: Word,
    rest: Blueprint<()>,
    wake: Wake,
) {
    // SAFETY: the caller's promise.
    let body = unsafe { unpack::<F>(word) };
    // SAFETY: the caller's promise; `Send` and `'static`, and it stays on this worker.
    unsafe { TaskRef::succeed(ended, rest.with_body(body), wake) };
}

/// # Safety
/// As for `unpack`.
unsafe fn drop_body<F>(word: Word) {
    // SAFETY: the caller's promise.
    let body = unsafe { unpack::<F>(word) };
    contain(move || mem::drop(body));
}
