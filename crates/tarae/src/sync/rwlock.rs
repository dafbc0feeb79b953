//! `RwLock`: a reader takes one permit, a writer takes all; std's lock around the value, which is
//! never contended.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use super::permits::{ALL, Permits};
use super::wait::{Patience, WaitError, acquire, give};
use crate::sched::deadlock::{self, Owner};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// Many readers or one writer: [`std::sync::RwLock`], whose waits park the coroutine in place of
/// blocking its worker. Guards may be held across a wait. A panic of a writer poisons the lock.
///
/// It is fair: whoever waits is served in the order of asking, readers that stand together at the
/// same time. A writer waits for those who read when it asked, and readers that come after it wait
/// for the writer, so neither starves. Therefore who reads must not ask to read the same lock again
/// before it has let go, as with std's: a writer may stand in between.
///
/// # Examples
///
/// ```
/// use tarae::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!(*one + *two, 10);
///     assert!(lock.try_write().is_err());
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(lock.into_inner().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    permits: Permits<Unparker>,
    /// The writer.
    owner: Owner,
    inner: std::sync::RwLock<T>,
}

/// Shared access to what a [`RwLock`] protects, until it is dropped. Not `Send`, as std's.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Present until the drop.
    inner: Option<std::sync::RwLockReadGuard<'a, T>>,
}

/// Sole access to what a [`RwLock`] protects, until it is dropped. Not `Send`, as std's.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Present until the drop.
    inner: Option<std::sync::RwLockWriteGuard<'a, T>>,
}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            permits: Permits::new(ALL),
            owner: Owner::new(),
            inner: std::sync::RwLock::new(value),
        }
    }

    /// Gives the value back.
    ///
    /// # Errors
    ///
    /// The value too, if the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no writer has the lock or has asked before, and takes it for reading. Not
    /// cancelled: its signature has no room for it.
    ///
    /// # Errors
    ///
    /// The guard too, if a writer panicked.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.take(1);
        self.reader()
    }

    /// As [`read`](RwLock::read), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended without the lock.
    pub fn read_cancellable(
        &self,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<LockResult<RwLockReadGuard<'_, T>>, WaitError> {
        let patience = Patience::cancellable(deadline.into());
        acquire(&self.permits, 1, WaitReason::Lock, patience)?;
        Ok(self.reader())
    }

    /// Takes the lock for reading, if no writer has it and nobody waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it cannot; the guard too, if a writer panicked.
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match self.permits.try_take(1) {
            Ok(()) => Ok(self.reader()?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// Waits until nobody has the lock or has asked before, and takes it for writing. Not
    /// cancelled:
    /// its signature has no room for it.
    ///
    /// # Errors
    ///
    /// The guard too, if a writer panicked.
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.take(ALL);
        self.writer()
    }

    /// As [`write`](RwLock::write), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended without the lock.
    pub fn write_cancellable(
        &self,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<LockResult<RwLockWriteGuard<'_, T>>, WaitError> {
        let patience = Patience::cancellable(deadline.into());
        acquire(&self.permits, ALL, WaitReason::Lock, patience)?;
        Ok(self.writer())
    }

    /// Takes the lock for writing, if nobody has it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody has; the guard too, if a writer panicked.
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.permits.try_take(ALL) {
            Ok(()) => Ok(self.writer()?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    fn take(&self, permits: u64) {
        if self.permits.try_take(permits).is_err() {
            let _blocking = deadlock::waits_for_lock(&self.owner);
            let waited = acquire(&self.permits, permits, WaitReason::Lock, Patience::ENDLESS);
            debug_assert!(waited.is_ok(), "this wait has no other end");
        }
    }

    /// One permit is ours: no writer is inside.
    fn reader(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let guard = |inner| RwLockReadGuard {
            lock: self,
            inner: Some(inner),
        };
        match self.inner.try_read() {
            Ok(inner) => Ok(guard(inner)),
            Err(TryLockError::Poisoned(error)) => Err(PoisonError::new(guard(error.into_inner()))),
            // Beside a thousand million readers there may still be a lot of memory.
            Err(TryLockError::WouldBlock) => panic!("more readers than std's lock can have"),
        }
    }

    /// All permits are ours: nobody is inside.
    fn writer(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.owner.take();
        let guard = |inner| RwLockWriteGuard {
            lock: self,
            inner: Some(inner),
        };
        match self.inner.try_write() {
            Ok(inner) => Ok(guard(inner)),
            Err(TryLockError::Poisoned(error)) => Err(PoisonError::new(guard(error.into_inner()))),
            Err(TryLockError::WouldBlock) => unreachable!("a writer has all permits"),
        }
    }

    /// Whether a writer panicked.
    pub fn is_poisoned(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Forgets that a writer panicked.
    pub fn clear_poison(&self) {
        self.inner.clear_poison();
    }

    /// The value, without locking: nobody else can hold the lock.
    ///
    /// # Errors
    ///
    /// The reference too, if a writer panicked.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Lets readers in and goes on as one of them; no writer gets in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!(*reader + *lock.read().unwrap(), 4);
    /// ```
    pub fn downgrade(mut writer: Self) -> RwLockReadGuard<'a, T> {
        let lock = writer.lock;
        drop(writer.inner.take());
        // Poison is the business of who asks for the lock.
        let reader = lock.reader().unwrap_or_else(PoisonError::into_inner);
        // The drop of `writer` gives back all permits but the reader's.
        reader
    }

    fn permits_left(&self) -> u64 {
        if self.inner.is_some() { ALL } else { ALL - 1 }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        give(&self.lock.permits, 1);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        let left = self.permits_left();
        drop(self.inner.take());
        self.lock.owner.release();
        give(&self.lock.permits, left);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("present until the drop")
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("present until the drop")
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("present until the drop")
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}
