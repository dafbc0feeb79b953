//! A function that is called once with a value, kept in place where it is small.
//!
//! Used by `operation` for reactions, so that one whose captures take four words or less costs no
//! allocation. It knows nothing of completions.
//!
//! Invariant: `captured` holds an `F`, or a `Box<F>`, of the type that `call` and `drop_in_place`
//! were made for, until one of `call` and the drop has taken it out.

use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, MaybeUninit};

type Words = MaybeUninit<[usize; 4]>;

/// An `FnOnce(A) + Send`.
pub(super) struct Callback<A> {
    captured: Words,
    call: unsafe fn(*mut Words, A),
    drop_in_place: unsafe fn(*mut Words),
    argument: PhantomData<fn(A)>,
}

// SAFETY: what is captured is `Send` (see `new`), and nothing else is in it.
unsafe impl<A> Send for Callback<A> {}

impl<A> Callback<A> {
    pub(super) fn new<F: FnOnce(A) + Send + 'static>(f: F) -> Callback<A> {
        if size_of::<F>() <= size_of::<Words>() && align_of::<F>() <= align_of::<Words>() {
            Callback::in_place(f)
        } else {
            let boxed = Box::new(f);
            Callback::in_place(boxed)
        }
    }

    /// `F` fits.
    fn in_place<F: FnOnce(A) + Send + 'static>(f: F) -> Callback<A> {
        assert!(size_of::<F>() <= size_of::<Words>() && align_of::<F>() <= align_of::<Words>());
        let mut captured = Words::uninit();
        // SAFETY: it fits, as was just looked at.
        unsafe { captured.as_mut_ptr().cast::<F>().write(f) };
        Callback {
            captured,
            call: call::<A, F>,
            drop_in_place: drop_in_place::<F>,
            argument: PhantomData,
        }
    }

    pub(super) fn call(self, argument: A) {
        let mut this = ManuallyDrop::new(self);
        let call = this.call;
        // SAFETY: `captured` is what `call` was made for, and is not dropped after this.
        unsafe { call(&raw mut this.captured, argument) }
    }
}

/// # Safety
/// An `F` is there, which is taken out.
unsafe fn call<A, F: FnOnce(A)>(captured: *mut Words, argument: A) {
    // SAFETY: the caller's promise.
    let f = unsafe { captured.cast::<F>().read() };
    f(argument);
}

/// # Safety
/// An `F` is there, which is dropped.
unsafe fn drop_in_place<F>(captured: *mut Words) {
    // SAFETY: the caller's promise.
    drop(unsafe { captured.cast::<F>().read() });
}

impl<A> Drop for Callback<A> {
    fn drop(&mut self) {
        let drop_in_place = mem::replace(&mut self.drop_in_place, |_| {});
        // SAFETY: not called, or it would not be dropped; once.
        unsafe { drop_in_place(&raw mut self.captured) };
    }
}

#[cfg(test)]
mod tests {
    use super::Callback;
    use std::sync::Arc;

    fn check<const SIZE: usize>() {
        let counted = Arc::new(());
        let (seen, told) = std::sync::mpsc::channel();
        let make = || {
            let (ballast, counted, seen) = ([7u8; SIZE], Arc::clone(&counted), seen.clone());
            Callback::new(move |value: u32| {
                let _keep = &counted;
                seen.send((
                    value,
                    ballast.iter().map(|&byte| u32::from(byte)).sum::<u32>(),
                ))
                .unwrap();
            })
        };
        make().call(3);
        assert_eq!(told.try_recv(), Ok((3, 7 * SIZE as u32)));
        drop(make());
        assert!(told.try_recv().is_err(), "dropped, not called");
        assert_eq!(Arc::strong_count(&counted), 1, "what it captured is gone");
    }

    #[test]
    fn is_called_or_dropped_once_in_place_and_boxed() {
        check::<0>();
        check::<8>();
        check::<100>();
    }

    #[test]
    fn takes_what_is_aligned_to_more_than_a_word() {
        #[repr(align(64))]
        struct Aligned(u8);
        let value = Aligned(9);
        let (seen, told) = std::sync::mpsc::channel();
        let callback = Callback::new(move |()| {
            let whole = &value;
            seen.send((&raw const *whole as usize % 64, whole.0))
                .unwrap();
        });
        callback.call(());
        assert_eq!(told.try_recv(), Ok((0, 9)));
    }
}
