//! A function on a stack of its own, and what ThreadSanitizer is told of it.
//!
//! Called by `coroutine` and `sched`, in whose place it calls `corosensei`. AddressSanitizer is
//! told by that crate (its feature `sanitizer`). ThreadSanitizer takes whatever runs on a thread
//! for one sequence of calls, unless each stack is announced as a *fiber* (`cfg(tarae_tsan)`, set
//! by `cargo xtask soak`); without that, all of this is nothing but the call.
//!
//! Invariant: both changes of fiber are made by the side that resumes, before it goes over and
//! after it is back, also by a panic. A fiber is destroyed by a side that is not in it.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use corosensei::{CoroutineResult, Yielder};

use super::trace::{COPIED_BYTES_MAX, Copied};
use super::{Stack, overflow};
use crate::sys::{self, Registers};

/// As `corosensei::Coroutine`.
pub(crate) struct Switch<I, Y, R> {
    inner: ManuallyDrop<corosensei::Coroutine<I, Y, R, Stack>>,
    fiber: Fiber,
}

/// With what a function that suspends itself by [`suspend`] is resumed: to go on or, if that is a
/// place for its registers, to leave them there and suspend itself again.
pub(crate) type Request = Option<NonNull<Registers>>;

/// Suspends the function that runs here until it is to go on.
#[inline(always)]
pub(crate) fn suspend(out: &Yielder<Request, ()>) {
    while let Some(place) = out.suspend(()) {
        // SAFETY: `Switch::calls` waits for it, with the place in its frame.
        unsafe { Registers::note_here(place) };
    }
}

impl Switch<Request, (), ()> {
    /// The calls that it is suspended in, by [`suspend`], as [`Copied::calls`] gives them. It is
    /// asked for its registers only, so that it needs no room on its stack, and what it was
    /// suspended in stays as it is; the rest is done here.
    pub(crate) fn calls(&mut self) -> Vec<usize> {
        let mut registers = Registers::zero();
        self.resume(Some(NonNull::from(&mut registers)));
        let start = registers.0[Registers::STACK_POINTER];
        let end = overflow::frames_end(start).unwrap_or(start);
        let bytes = (end - start).min(COPIED_BYTES_MAX);
        let addresses = (start..start + bytes).step_by(size_of::<usize>());
        // SAFETY: words of the stack that it is suspended on, which nobody runs on.
        let words: Vec<usize> = addresses.map(|at| unsafe { sys::read_word(at) }).collect();
        let copied = Copied {
            registers,
            start,
            words: &words,
        };
        copied.calls()
    }
}

impl<I: 'static, Y: 'static, R: 'static> Switch<I, Y, R> {
    pub(crate) fn with_stack(
        stack: Stack,
        f: impl FnOnce(&Yielder<I, Y>, I) -> R + 'static,
    ) -> Switch<I, Y, R> {
        Switch {
            inner: ManuallyDrop::new(corosensei::Coroutine::with_stack(stack, f)),
            fiber: Fiber::new(),
        }
    }

    #[inline(always)]
    pub(crate) fn resume(&mut self, input: I) -> CoroutineResult<Y, R> {
        let inner = &mut self.inner;
        self.fiber.run(|| inner.resume(input))
    }
}

impl<I, Y, R> Switch<I, Y, R> {
    pub(crate) fn started(&self) -> bool {
        self.inner.started()
    }

    pub(crate) fn done(&self) -> bool {
        self.inner.done()
    }

    /// The stack of one that has ended.
    pub(crate) fn into_stack(self) -> Stack {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: once, since `this` is not dropped.
        unsafe { std::ptr::drop_in_place(&raw mut this.fiber) };
        // SAFETY: as above.
        let inner = unsafe { ManuallyDrop::take(&mut this.inner) };
        inner.into_stack()
    }
}

impl<I, Y, R> Drop for Switch<I, Y, R> {
    fn drop(&mut self) {
        let inner = &mut self.inner;
        // SAFETY: once, here. A suspended one is unwound, on its own stack.
        self.fiber.run(|| unsafe { ManuallyDrop::drop(inner) });
    }
}

#[cfg(not(tarae_tsan))]
struct Fiber;

#[cfg(not(tarae_tsan))]
impl Fiber {
    fn new() -> Fiber {
        Fiber
    }

    #[inline(always)]
    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

#[cfg(tarae_tsan)]
use tsan::Fiber;

#[cfg(tarae_tsan)]
mod tsan {
    use std::ffi::{c_uint, c_void};

    // ThreadSanitizer's interface, `sanitizer/tsan_interface.h`.
    unsafe extern "C" {
        fn __tsan_get_current_fiber() -> *mut c_void;
        fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    }

    /// What the sanitizer knows of one stack's calls.
    pub(super) struct Fiber(*mut c_void);

    impl Fiber {
        pub(super) fn new() -> Fiber {
            // SAFETY: takes no pointers.
            Fiber(unsafe { __tsan_create_fiber(0) })
        }

        /// Runs `f` as this fiber; what happened before on this thread, happened before.
        pub(super) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
            struct Back(*mut c_void);
            impl Drop for Back {
                fn drop(&mut self) {
                    // SAFETY: the fiber that this thread was in.
                    unsafe { __tsan_switch_to_fiber(self.0, 0) };
                }
            }
            // SAFETY: takes no pointers.
            let _back = Back(unsafe { __tsan_get_current_fiber() });
            // SAFETY: made by `new` and not destroyed yet.
            unsafe { __tsan_switch_to_fiber(self.0, 0) };
            f()
        }
    }

    impl Drop for Fiber {
        fn drop(&mut self) {
            // SAFETY: made by `new`, destroyed once, and not the present one.
            unsafe { __tsan_destroy_fiber(self.0) };
        }
    }
}
