//! `Semaphore`: permits that are taken in turn.

use super::permits::{ALL, Grant, Permits, Refused};
use super::wait::{Patience, WaitError, acquire, give, wake};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;
use std::fmt;

/// So many permits: whoever takes one when there is none waits for one to come back. Bounds how
/// many
/// do something at the same time.
///
/// It is fair: requests are served in the order they came, a large one too; those behind it wait
/// until it has been served. std has no such type; the names are tokio's.
///
/// # Examples
///
/// ```
/// use tarae::sync::{Arc, Semaphore};
///
/// tarae::run(|| {
///     let connections = Arc::new(Semaphore::new(2));
///     let fetches: Vec<_> = (0..10)
///         .map(|n| {
///             let connections = Arc::clone(&connections);
///             tarae::spawn(move || {
///                 let _permit = connections.acquire().unwrap();
///                 // At most two at a time are here.
///                 tarae::yield_now();
///                 n
///             })
///         })
///         .collect();
///     let all: Vec<i32> = fetches.into_iter().map(|fetch| fetch.join().unwrap()).collect();
///     assert_eq!(all.len(), 10);
///     assert_eq!(connections.available_permits(), 2);
/// })
/// .unwrap();
/// ```
pub struct Semaphore(Permits<Unparker>);

/// Permits of a [`Semaphore`], given back when this is dropped.
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// Why [`Semaphore::acquire`] gave no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireError(Option<WaitError>);

impl AcquireError {
    /// The semaphore has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_none()
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.0.is_some_and(|error| error.is_timeout())
    }

    /// The wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_some_and(|error| error.is_cancelled())
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("the semaphore has been closed"),
        }
    }
}

impl std::error::Error for AcquireError {}

/// Why [`Semaphore::try_acquire`] gave no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryAcquireError(Refused);

impl TryAcquireError {
    /// The semaphore has been closed.
    pub fn is_closed(&self) -> bool {
        self.0 == Refused::Closed
    }

    /// There were too few permits, or others wait for them.
    pub fn is_no_permits(&self) -> bool {
        self.0 == Refused::TooFew
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Refused::Closed => "the semaphore has been closed",
            Refused::TooFew => "there are too few permits",
        })
    }
}

impl std::error::Error for TryAcquireError {}

impl Semaphore {
    /// As many permits as there can be.
    pub const MAX_PERMITS: usize = ALL as usize;

    /// With so many permits.
    ///
    /// # Panics
    ///
    /// When they are more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    pub const fn new(permits: usize) -> Semaphore {
        assert!(
            permits <= Self::MAX_PERMITS,
            "more permits than a semaphore can have"
        );
        Semaphore(Permits::new(permits as u64))
    }

    /// How many are free now.
    pub fn available_permits(&self) -> usize {
        self.0.free() as usize
    }

    /// Waits for a permit: parks the coroutine, blocks a plain thread.
    ///
    /// # Errors
    ///
    /// When the semaphore is closed, or the wait is cancelled.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// As [`acquire`](Semaphore::acquire), until the deadline.
    ///
    /// # Errors
    ///
    /// As `acquire`, and when the time is up.
    pub fn acquire_until(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many_until(1, deadline)
    }

    /// Waits for so many permits together.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Semaphore::acquire).
    pub fn acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(count, None)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), until the deadline.
    ///
    /// # Errors
    ///
    /// As `acquire_many`, and when the time is up.
    pub fn acquire_many_until(
        &self,
        count: u32,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(count, Some(deadline))
    }

    fn take(
        &self,
        count: u32,
        deadline: Option<Instant>,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        let patience = Patience::cancellable(deadline);
        match acquire(&self.0, count.into(), WaitReason::Permit, patience) {
            Ok(Grant::Taken) => Ok(self.permit(count)),
            Ok(Grant::Closed) => Err(AcquireError(None)),
            Err(error) => Err(AcquireError(Some(error))),
        }
    }

    fn permit(&self, count: u32) -> SemaphorePermit<'_> {
        SemaphorePermit {
            semaphore: self,
            count: count as usize,
        }
    }

    /// Takes a permit if one is free and nobody waits.
    ///
    /// # Errors
    ///
    /// When there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits together, if they are free and nobody waits.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Semaphore::try_acquire).
    pub fn try_acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        match self.0.try_take(count.into()) {
            Ok(()) => Ok(self.permit(count)),
            Err(refused) => Err(TryAcquireError(refused)),
        }
    }

    /// Adds new permits. Never waits.
    ///
    /// # Panics
    ///
    /// When they become more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    pub fn add_permits(&self, count: usize) {
        give(&self.0, count as u64);
    }

    /// Ends all present and future calls of `acquire` with an error. Permits that are held stay
    /// valid.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = tarae::sync::Semaphore::new(1);
    /// semaphore.close();
    /// assert!(semaphore.acquire().unwrap_err().is_closed());
    /// assert!(semaphore.try_acquire().unwrap_err().is_closed());
    /// ```
    pub fn close(&self) {
        wake(self.0.close());
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl SemaphorePermit<'_> {
    /// Drops the permits without giving them back: there are fewer from now on.
    pub fn forget(mut self) {
        self.count = 0;
    }

    /// How many permits these are.
    pub fn num_permits(&self) -> usize {
        self.count
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.add_permits(self.count);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .finish()
    }
}
