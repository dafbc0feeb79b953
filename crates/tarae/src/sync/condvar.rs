//! `Condvar`: a line of those who wait for a condition to change.

use std::fmt;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use super::mutex::MutexGuard;
use super::queue::Ticket;
use super::signal::Signal;
use super::wait::{Patience, WaitError, wait, wake};
use crate::sched::{self, Unparker, WaitReason};
use crate::time::Instant;

/// Waiting until somebody has changed what a [`Mutex`](super::Mutex) protects:
/// [`std::sync::Condvar`], whose waits park the coroutine in place of blocking its worker.
///
/// A notification reaches one who waited when it came, the longest first. It does not return
/// without
/// one, and a notified wait is never reported as timed out. Look at the condition all the same, or
/// use `wait_while`: others may have been at it before the lock was ours again.
///
/// # Examples
///
/// ```
/// use tarae::sync::{Arc, Condvar, Mutex};
///
/// tarae::run(|| {
///     let pair = Arc::new((Mutex::new(false), Condvar::new()));
///     let theirs = Arc::clone(&pair);
///     tarae::spawn(move || {
///         *theirs.0.lock().unwrap() = true;
///         theirs.1.notify_one();
///     });
///     let (lock, changed) = &*pair;
///     let ready = changed.wait_while(lock.lock().unwrap(), |ready| !*ready).unwrap();
///     assert!(*ready);
/// })
/// .unwrap();
/// ```
pub struct Condvar(Signal<Unparker>);

/// Whether a wait with a timeout ended because the time was up; mirrors
/// [`std::sync::WaitTimeoutResult`], of which only std can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// The time was up before a notification came.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Condvar {
        Condvar(Signal::new())
    }

    /// Lets go of the lock, waits for a notification, and locks again. Not cancelled: its signature
    /// has no room for it.
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let lock = guard.lock_of();
        let notified = self.wait_unlocked(guard, Patience::ENDLESS);
        debug_assert!(notified.is_ok(), "this wait has no other end");
        lock.lock()
    }

    /// As [`wait`](Condvar::wait), until cancelled or until the deadline. The lock is not held
    /// after
    /// an error: the wait is over at once, whoever may hold it. One that has been notified takes
    /// the
    /// lock, cancelled or not.
    ///
    /// # Errors
    ///
    /// When it ended without a notification.
    ///
    /// # Examples
    ///
    /// ```
    /// use tarae::sync::{Condvar, Mutex};
    /// use tarae::time::{Duration, Instant};
    ///
    /// let (lock, changed) = (Mutex::new(()), Condvar::new());
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// let error = changed.wait_cancellable(lock.lock().unwrap(), soon).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(lock.try_lock().is_ok());
    /// ```
    pub fn wait_cancellable<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<LockResult<MutexGuard<'a, T>>, WaitError> {
        let lock = guard.lock_of();
        self.wait_unlocked(guard, Patience::cancellable(deadline.into()))?;
        Ok(lock.lock())
    }

    /// Stands in line before it lets go of the lock, so that no change after that is missed.
    fn wait_unlocked<T>(
        &self,
        guard: MutexGuard<'_, T>,
        patience: Patience,
    ) -> Result<(), WaitError> {
        let Some(ticket) = self.0.enter(Unparker::current()) else {
            unreachable!("notifications are not kept here")
        };
        drop(guard);
        let collect = |ticket: &Ticket| self.0.collect(ticket);
        let withdraw = |ticket| self.0.withdraw(ticket);
        wait(WaitReason::Condition, patience, ticket, collect, withdraw).map(drop)
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Condvar::wait_while), until cancelled or until the deadline; see
    /// [`wait_cancellable`](Condvar::wait_cancellable).
    ///
    /// # Errors
    ///
    /// When it ended while `condition` held.
    pub fn wait_while_cancellable<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<LockResult<MutexGuard<'a, T>>, WaitError> {
        let deadline = deadline.into();
        while condition(&mut *guard) {
            guard = match self.wait_cancellable(guard, deadline)? {
                Ok(guard) => guard,
                Err(poisoned) => return Ok(Err(poisoned)),
            };
        }
        Ok(Ok(guard))
    }

    /// As [`wait`](Condvar::wait), for so long at most. Not cancelled.
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_deadline(guard, sched::now().checked_add(timeout))
    }

    /// As [`wait_while`](Condvar::wait_while), for so long at most. Not cancelled. Timed out means
    /// that `condition` still held then.
    ///
    /// # Errors
    ///
    /// The guard too, if a holder panicked.
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let deadline = sched::now().checked_add(timeout);
        let mut timed_out = false;
        while condition(&mut *guard) {
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let waited = self.wait_deadline(guard, deadline)?;
            (guard, timed_out) = (waited.0, waited.1.timed_out());
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    fn wait_deadline<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<StdInstant>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let lock = guard.lock_of();
        let waited = self.wait_unlocked(guard, Patience::uncancelled(deadline));
        let result = WaitTimeoutResult(waited.is_err());
        match lock.lock() {
            Ok(guard) => Ok((guard, result)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), result))),
        }
    }

    /// Wakes the one who has waited longest, if anybody waits.
    pub fn notify_one(&self) {
        if let Some(waiter) = self.0.tell_one(false) {
            waiter.unpark();
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        wake(self.0.tell_all());
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
