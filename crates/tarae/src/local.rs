//! `coroutine_local!`: `std::thread_local!`, where each coroutine has its own value.
//!
//! Public through `thread` and the crate's root. Values live in `sched::locals`; this gives them
//! their types. Never borrows anything while it calls foreign code.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::sched::locals;

/// Declares statics of which every coroutine has its own; mirrors [`std::thread_local!`].
///
/// A value is made at its first use in a coroutine and dropped when that coroutine ends, on its
/// worker, also after a panic or a cancellation; the latest first. On a plain thread it is a
/// thread-local. Use it by [`LocalKey`](crate::thread::LocalKey).
///
/// A new coroutine starts with none of its maker's values. The children of a
/// [scope](mod@crate::scope) get copies of those that it is told to
/// [inherit](crate::scope::Scope::inherit).
///
/// # Examples
///
/// ```
/// use std::cell::{Cell, RefCell};
///
/// tarae::coroutine_local! {
///     static REQUESTS: Cell<u32> = const { Cell::new(0) };
///     static USER: RefCell<String> = RefCell::new("nobody".into());
/// }
///
/// tarae::run(|| {
///     REQUESTS.set(REQUESTS.get() + 1);
///     USER.with_borrow_mut(|user| user.push_str(" yet"));
///     tarae::spawn(|| {
///         assert_eq!((REQUESTS.get(), USER.take().as_str()), (0, "nobody"));
///     })
///     .join()
///     .unwrap();
///     assert_eq!((REQUESTS.get(), USER.take().as_str()), (1, "nobody yet"));
/// })
/// .unwrap();
/// ```
#[macro_export]
macro_rules! coroutine_local {
    () => {};
    ($(#[$attribute:meta])* $visible:vis static $name:ident : $type:ty = $value:expr) => {
        $crate::coroutine_local!($(#[$attribute])* $visible static $name: $type = $value;);
    };
    (
        $(#[$attribute:meta])* $visible:vis static $name:ident : $type:ty = $value:expr;
        $($rest:tt)*
    ) => {
        $(#[$attribute])*
        $visible static $name: $crate::thread::LocalKey<$type> = {
            fn make() -> $type {
                $value
            }
            $crate::thread::LocalKey::new(make)
        };
        $crate::coroutine_local!($($rest)*);
    };
}

/// A static made by [`coroutine_local!`](crate::coroutine_local); mirrors
/// [`std::thread::LocalKey`].
///
/// The value may be used across waits: it belongs to the coroutine, which stays on its thread.
pub struct LocalKey<T: 'static> {
    make: fn() -> T,
}

/// The coroutine or thread is ending and its value is gone, or cannot be made any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a coroutine-local was used when its coroutine was ending")
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(make: fn() -> T) -> LocalKey<T> {
        LocalKey { make }
    }

    /// Its name among the values. It has a size, so no other static has its address.
    fn address(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn value(&'static self) -> Result<Rc<T>, AccessError> {
        let typed = |value: Rc<dyn Any>| value.downcast::<T>().map_err(|_| AccessError);
        if let Some(value) = locals::with(|all| all.get(self.address())).flatten() {
            return typed(value);
        }
        // At the end nothing is made any more, or a destructor might make itself again and again.
        if locals::with(|all| all.has_ended()).unwrap_or(true) {
            return Err(AccessError);
        }
        let value = Rc::new((self.make)());
        self.put(&value).map(|()| value)
    }

    fn put(&'static self, value: &Rc<T>) -> Result<(), AccessError> {
        let value = Rc::clone(value);
        match locals::with(|all| all.put(self.address(), value)) {
            Some(true) => Ok(()),
            _ => Err(AccessError),
        }
    }

    /// Gives the coroutine this value, in place of the one it had.
    pub(crate) fn replace_whole(&'static self, value: T) {
        // A child that has just begun is not ending.
        let _ = self.put(&Rc::new(value));
    }

    /// Calls `f` with the value, which is made first if need be.
    ///
    /// # Panics
    ///
    /// As [`try_with`](LocalKey::try_with) fails.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`with`](LocalKey::with).
    ///
    /// # Errors
    ///
    /// In the destructor of another value, when this one has been dropped or was never made.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        self.value().map(|value| f(&value))
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value; the one it would have been made with is never made.
    pub fn set(&'static self, value: T) {
        match locals::with(|all| all.get(self.address())).flatten() {
            Some(_) => self.with(|cell| cell.set(value)),
            None => self.replace_whole(Cell::new(value)),
        }
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default one.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value and gives the one before.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the value.
    ///
    /// # Panics
    ///
    /// When it is mutably borrowed.
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value, to change it.
    ///
    /// # Panics
    ///
    /// When it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value; the one it would have been made with is never made.
    ///
    /// # Panics
    ///
    /// When it is borrowed.
    pub fn set(&'static self, value: T) {
        match locals::with(|all| all.get(self.address())).flatten() {
            Some(_) => drop(self.replace(value)),
            None => self.replace_whole(RefCell::new(value)),
        }
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    ///
    /// When it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value and gives the one before.
    ///
    /// # Panics
    ///
    /// When it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
