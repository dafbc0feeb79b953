//! `OnceLock` and `LazyLock`: a value that is written once. `Once` says who writes it; std's cell
//! keeps it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use super::once::Once;
use super::wait::WaitError;
use crate::time::Instant;

/// A cell that is written once: [`std::sync::OnceLock`]. Its initialiser may wait; whoever comes
/// meanwhile is parked in place of blocking its worker. A panic of the initialiser leaves the cell
/// empty.
///
/// # Examples
///
/// ```
/// use tarae::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// tarae::run(|| {
///     assert_eq!(NAME.get(), None);
///     let name = NAME.get_or_init(|| {
///         tarae::yield_now();
///         "skein".to_string()
///     });
///     assert_eq!(name, "skein");
/// })
/// .unwrap();
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    /// An empty cell.
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            once: Once::new(),
            value: std::sync::OnceLock::new(),
        }
    }

    /// The value, if it has been written. Never waits.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if it has been written. Never waits.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Writes the value. Waits if somebody else is about to.
    ///
    /// # Errors
    ///
    /// With the value, when there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, written by `f` if it has not been. Waiting for another to write it is not
    /// cancelled: the signature has no room for it.
    ///
    /// # Panics
    ///
    /// With the panic of `f`; the next call tries again.
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.value.get() {
            return value;
        }
        self.once.call_once_force(|_| self.write(f()));
        self.written()
    }

    /// As [`get_or_init`](OnceLock::get_or_init), waiting for another until cancelled or until the
    /// deadline.
    ///
    /// # Errors
    ///
    /// When the wait ended before the value had been written.
    ///
    /// # Panics
    ///
    /// As `get_or_init`.
    pub fn get_or_init_cancellable(
        &self,
        f: impl FnOnce() -> T,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<&T, WaitError> {
        self.once
            .call_force_cancellable(|_| self.write(f()), deadline.into())?;
        Ok(self.written())
    }

    /// Waits until somebody has written the value. Not cancelled.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.written()
    }

    /// As [`wait`](OnceLock::wait), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended before the value had been written.
    pub fn wait_cancellable(&self, deadline: impl Into<Option<Instant>>) -> Result<&T, WaitError> {
        self.once.wait_force_cancellable(deadline.into())?;
        Ok(self.written())
    }

    fn write(&self, value: T) {
        let fresh = self.value.set(value).is_ok();
        debug_assert!(fresh, "`once` lets one in");
    }

    fn written(&self) -> &T {
        self.value.get().expect("`once` has been done")
    }

    /// The value, if it has been written.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out and leaves the cell empty.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get()
            .cloned()
            .map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let cell = OnceLock::new();
        cell.get_or_init(|| value);
        cell
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

/// A value that its first user makes: [`std::sync::LazyLock`]. Making it may wait; whoever comes
/// meanwhile is parked in place of blocking its worker, and is not cancelled. A panic poisons it.
///
/// # Examples
///
/// ```
/// use tarae::sync::LazyLock;
///
/// static PRIMES: LazyLock<Vec<u32>> = LazyLock::new(|| vec![2, 3, 5, 7]);
///
/// assert_eq!(PRIMES.len(), 4);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    value: std::sync::OnceLock<T>,
    make: Mutex<Option<F>>,
}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Not made yet.
    pub const fn new(make: F) -> LazyLock<T, F> {
        LazyLock {
            once: Once::new(),
            value: std::sync::OnceLock::new(),
            make: Mutex::new(Some(make)),
        }
    }

    /// Makes the value if nobody has.
    ///
    /// # Panics
    ///
    /// With the panic of the closure, and on every call after that.
    pub fn force(this: &LazyLock<T, F>) -> &T {
        if let Some(value) = this.value.get() {
            return value;
        }
        this.once.call_once(|| {
            let make = this
                .make
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let value = make.expect("`once` lets one in")();
            let fresh = this.value.set(value).is_ok();
            debug_assert!(fresh, "`once` lets one in");
        });
        this.value.get().expect("`once` has been done")
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("LazyLock");
        match self.value.get() {
            Some(value) => tuple.field(value).finish(),
            None => tuple.field(&format_args!("<uninit>")).finish(),
        }
    }
}
