//! Step 4, the bare thing: a function that can stop in the middle and go on later.
//!
//! Public for whoever wants to schedule by hand; the runtime's own coroutines are built on the same
//! switch (`corosensei`) and the same stacks, but live in `sched`. Nothing here knows of workers,
//! sockets or time.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::Location;

use corosensei::CoroutineResult;

use crate::stack::overflow::{self, Occupant};
use crate::stack::switch::Switch;
use crate::stack::{self, Class};

/// A function that pauses itself, remembers where it was, and is resumed by its owner.
///
/// `Y` is what it hands out at each pause, `R` what it returns. It runs on a stack of its own
/// (512 KiB, of which only touched pages cost memory) on whichever call to
/// [`resume`](Coroutine::resume) it is in, on that caller's thread: there is no other thread and no
/// scheduler. The coroutines of [`tarae::spawn`](crate::spawn) are this, plus a scheduler that
/// knows what each of them waits for.
///
/// A coroutine never changes its thread (`!Send`), since its frames may hold anything:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(tarae::Coroutine::<(), ()>::new(|_| ()));
/// ```
///
/// # Examples
///
/// ```
/// use tarae::{Coroutine, Resumed};
///
/// let mut squares = Coroutine::new(|y| {
///     for n in 1..=3 {
///         y.pause(n * n);
///     }
///     "done"
/// });
/// assert_eq!(squares.resume(), Resumed::Paused(1));
/// assert_eq!(squares.resume(), Resumed::Paused(4));
/// assert_eq!(squares.resume(), Resumed::Paused(9));
/// assert_eq!(squares.resume(), Resumed::Finished("done"));
/// assert!(squares.is_finished());
/// ```
///
/// # Dropping
///
/// Dropping a paused coroutine unwinds its stack, so that what lives there is dropped: the pause it
/// is in throws, and every further pause throws again until the function has returned. Where panics
/// abort (`panic = "abort"`) the stack is leaked instead.
pub struct Coroutine<Y = (), R = ()> {
    inner: Option<Switch<(), Y, R>>,
}

/// What a [`Coroutine`] did when it was resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resumed<Y, R> {
    /// It paused and handed this out; it can be resumed.
    Paused(Y),
    /// It returned this; it cannot be resumed again.
    Finished(R),
}

/// The handle by which a [`Coroutine`] pauses itself. Another thread must not have it:
///
/// ```compile_fail,E0277
/// fn share<T: Sync>(_: &T) {}
/// tarae::Coroutine::<(), ()>::new(|yielder| share(yielder));
/// ```
///
/// Nor may it get out of the coroutine:
///
/// ```compile_fail,E0521
/// std::thread_local! {
///     static KEPT: std::cell::Cell<Option<&'static tarae::Yielder<()>>> = Default::default();
/// }
/// tarae::Coroutine::<(), ()>::new(|yielder| KEPT.set(Some(yielder)));
/// ```
#[repr(transparent)]
pub struct Yielder<Y> {
    inner: corosensei::Yielder<(), Y>,
}

impl<Y: 'static, R: 'static> Coroutine<Y, R> {
    /// Makes a coroutine that will run `f` from its first [`resume`](Coroutine::resume) on.
    ///
    /// # Panics
    ///
    /// When no stack can be had (address space or mappings used up); [`try_new`](Self::try_new)
    /// returns the error instead.
    #[track_caller]
    pub fn new(f: impl FnOnce(&Yielder<Y>) -> R + 'static) -> Coroutine<Y, R> {
        Coroutine::try_new(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`new`](Self::new), with the error of a stack that cannot be had.
    ///
    /// # Errors
    ///
    /// When the address space or the number of mappings of the process is used up.
    #[track_caller]
    pub fn try_new(f: impl FnOnce(&Yielder<Y>) -> R + 'static) -> io::Result<Coroutine<Y, R>> {
        Coroutine::with_stack_size(stack::DEFAULT_BYTES, f)
    }

    /// As [`try_new`](Self::try_new), with so many usable bytes of stack, at least 64 KiB.
    ///
    /// An overflow says where the coroutine was made and how large its stack is, then aborts the
    /// process; see [`thread::Builder::stack_size`](crate::thread::Builder::stack_size).
    ///
    /// # Errors
    ///
    /// When the address space or the number of mappings of the process is used up.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::{Coroutine, Resumed};
    ///
    /// let mut large = Coroutine::<(), usize>::with_stack_size(4 << 20, |_| {
    ///     std::hint::black_box([1u8; 1 << 20]).len()
    /// })?;
    /// assert_eq!(large.resume(), Resumed::Finished(1 << 20));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn with_stack_size(
        bytes: usize,
        f: impl FnOnce(&Yielder<Y>) -> R + 'static,
    ) -> io::Result<Coroutine<Y, R>> {
        overflow::watch_thread();
        let stack = Class::of(bytes).take(Occupant::bare(Location::caller()))?;
        let inner = Switch::with_stack(stack, move |yielder, ()| {
            // SAFETY: `Yielder` is a transparent wrapper.
            f(unsafe { &*std::ptr::from_ref(yielder).cast::<Yielder<Y>>() })
        });
        Ok(Coroutine { inner: Some(inner) })
    }

    /// Runs the coroutine until it pauses or returns.
    ///
    /// # Panics
    ///
    /// When it has finished already. A panic inside the coroutine goes on in the caller, and the
    /// coroutine is finished.
    pub fn resume(&mut self) -> Resumed<Y, R> {
        let inner = self
            .inner
            .as_mut()
            .expect("a finished coroutine was resumed");
        assert!(!inner.done(), "a finished coroutine was resumed");
        let _nesting = Nesting::deeper();
        match inner.resume(()) {
            CoroutineResult::Yield(value) => Resumed::Paused(value),
            CoroutineResult::Return(value) => Resumed::Finished(value),
        }
    }

    /// Whether the function has returned (or panicked).
    pub fn is_finished(&self) -> bool {
        self.inner.as_ref().is_none_or(Switch::done)
    }
}

thread_local! {
    /// Calls of `resume` in progress on this thread, one inside the other.
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// Counts one call of `resume` while it lives.
struct Nesting;

impl Nesting {
    fn deeper() -> Nesting {
        NESTING.set(NESTING.get() + 1);
        Nesting
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        NESTING.set(NESTING.get() - 1);
    }
}

/// Whether this thread is in a bare coroutine. No runtime may begin there: its `main` could pause
/// that coroutine, and so carry the worker's frames away from under it.
pub(crate) fn is_inside() -> bool {
    NESTING.get() > 0
}

/// The runtime on this thread, begun outside of all bare coroutines, has ended. Those that it had
/// to leak are not left any more, so they must not be counted any more.
pub(crate) fn leave_all() {
    NESTING.set(0);
}

impl<Y> Yielder<Y> {
    /// Stops here, hands `value` to the caller of [`Coroutine::resume`], and goes on when resumed
    /// again.
    pub fn pause(&self, value: Y) {
        self.inner.suspend(value);
    }
}

impl<Y, R> Drop for Coroutine<Y, R> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        let paused = inner.started() && !inner.done();
        if paused && cfg!(panic = "abort") {
            // The frames cannot be unwound, so their stack must never be used again.
            std::mem::forget(inner);
        }
    }
}

impl<Y: 'static, R: 'static> fmt::Debug for Coroutine<Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl<Y> fmt::Debug for Yielder<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yielder")
    }
}
