//! `Mutex`: std's, with a queue of parked waiters in front.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use super::queue::WaitQueue;
use crate::sched::{self, Cancel, WaitReason};

/// Mutual exclusion: [`std::sync::Mutex`], whose `lock` parks the coroutine in place of blocking
/// its worker. The guard may be held across a wait. A panic while it is held poisons the lock.
///
/// # Examples
///
/// ```
/// use tarae::sync::{Arc, Mutex};
///
/// let total = Arc::new(Mutex::new(0));
/// tarae::run(|| {
///     let handles: Vec<_> = (0..10)
///         .map(|n| {
///             let total = Arc::clone(&total);
///             tarae::spawn(move || *total.lock().unwrap() += n)
///         })
///         .collect();
///     handles.into_iter().for_each(|handle| handle.join().unwrap());
/// })
/// .unwrap();
/// assert_eq!(*total.lock().unwrap(), 45);
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    waiters: WaitQueue,
    inner: std::sync::Mutex<T>,
}

/// Access to what a [`Mutex`] protects, until it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Present until the drop.
    inner: Option<std::sync::MutexGuard<'a, T>>,
    waiters: &'a WaitQueue,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            waiters: WaitQueue::new(),
            inner: std::sync::Mutex::new(value),
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

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free and takes it. Not cancelled: its signature has no room for it.
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        loop {
            if let Some(result) = self.attempt() {
                return result;
            }
            let ticket = self.waiters.enter();
            // The holder may have gone before it could see us in the queue.
            if let Some(result) = self.attempt() {
                self.waiters.leave(ticket);
                return result;
            }
            sched::park(WaitReason::Lock, None, Cancel::No);
            self.waiters.leave(ticket);
        }
    }

    fn attempt(&self) -> Option<LockResult<MutexGuard<'_, T>>> {
        match self.try_lock() {
            Ok(guard) => Some(Ok(guard)),
            Err(TryLockError::Poisoned(error)) => Some(Err(error)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it is not; the guard too, if a holder panicked.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Ok(self.guard(guard)),
            Err(TryLockError::Poisoned(error)) => {
                Err(PoisonError::new(self.guard(error.into_inner())).into())
            }
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    fn guard<'a>(&'a self, inner: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            inner: Some(inner),
            waiters: &self.waiters,
        }
    }

    /// Whether a holder panicked.
    pub fn is_poisoned(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Forgets that a holder panicked.
    pub fn clear_poison(&self) {
        self.inner.clear_poison();
    }

    /// The value, without locking: nobody else can hold the lock.
    ///
    /// # Errors
    ///
    /// The reference too, if a holder panicked.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        self.waiters.wake_one();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("present until the drop")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("present until the drop")
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}
