//! `Mutex`: one permit, and std's mutex around the value, which is never contended.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use super::permits::Permits;
use super::wait::{Patience, WaitError, acquire, give};
use crate::sched::deadlock::{self, Owner};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// Mutual exclusion: [`std::sync::Mutex`], whose `lock` parks the coroutine in place of blocking
/// its worker. The guard may be held across a wait. A panic while it is held poisons the lock.
///
/// It is fair: whoever waits gets it in the order of asking, from the hand of the one before, and
/// nobody who comes later gets in between.
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
pub struct Mutex<T: ?Sized> {
    permit: Permits<Unparker>,
    owner: Owner,
    inner: std::sync::Mutex<T>,
}

/// Access to what a [`Mutex`] protects, until it is dropped. Not `Send`, as std's:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(tarae::sync::Mutex::new(()).lock().unwrap());
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    /// Present until the drop.
    inner: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            permit: Permits::new(1),
            owner: Owner::new(),
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
    /// A coroutine that waits for itself or in a circle with others waits for ever, and is reported
    /// ([`inspect::deadlocks`](crate::inspect::deadlocks)).
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        if self.permit.try_take(1).is_err() {
            let _blocking = deadlock::waits_for_lock(&self.owner);
            let waited = acquire(&self.permit, 1, WaitReason::Lock, Patience::ENDLESS);
            debug_assert!(waited.is_ok(), "this wait has no other end");
        }
        self.guard()
    }

    /// As [`lock`](Mutex::lock), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended without the lock.
    pub fn lock_cancellable(
        &self,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<LockResult<MutexGuard<'_, T>>, WaitError> {
        let patience = Patience::cancellable(deadline.into());
        acquire(&self.permit, 1, WaitReason::Lock, patience)?;
        Ok(self.guard())
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it is not; the guard too, if a holder panicked.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.permit.try_take(1) {
            Ok(()) => Ok(self.guard()?),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// The permit is ours: what is inside is nobody else's.
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.owner.take();
        let guard = |inner| MutexGuard {
            lock: self,
            inner: Some(inner),
        };
        match self.inner.try_lock() {
            Ok(inner) => Ok(guard(inner)),
            Err(TryLockError::Poisoned(error)) => Err(PoisonError::new(guard(error.into_inner()))),
            Err(TryLockError::WouldBlock) => unreachable!("there is one permit"),
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

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The lock it is of, for a condition to lock it again.
    pub(super) fn lock_of(&self) -> &'a Mutex<T> {
        self.lock
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        self.lock.owner.release();
        give(&self.lock.permit, 1);
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

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}
