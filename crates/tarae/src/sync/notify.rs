//! `Notify`: being told, without a value and without a lock.

use std::fmt;
use std::marker::PhantomData;

use super::queue::Ticket;
use super::signal::{Signal, Told};
use super::wait::{Patience, WaitError, wait, wake};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// Tells others that something has happened. std has no such type; names and meaning are those of
/// tokio's `Notify`.
///
/// * [`notify_one`](Notify::notify_one) tells the one who has waited longest. If nobody waits it
///   leaves one permit, which the next wait uses up at once. More than one permit is never kept.
/// * [`notify_waiters`](Notify::notify_waiters) tells all who wait now, and leaves no permit.
///
/// Nothing is lost: one that was told by `notify_one` and goes away without having waited, or whose
/// time was up in that moment, passes it on.
///
/// # Examples
///
/// ```
/// use tarae::sync::{Arc, Notify};
///
/// tarae::run(|| {
///     let notify = Arc::new(Notify::new());
///     let theirs = Arc::clone(&notify);
///     tarae::spawn(move || theirs.notify_one());
///     notify.notified().wait().unwrap();
/// })
/// .unwrap();
/// ```
pub struct Notify(Signal<Unparker>);

/// A place among those who wait for a [`Notify`], from [`Notify::notified`] on.
#[must_use = "nothing waits until `wait`"]
pub struct Notified<'a> {
    notify: &'a Notify,
    /// None when there was a permit, or the place has been given back.
    ticket: Option<Ticket>,
    /// A permit was used up and has not been waited for.
    permit: bool,
    /// Whoever asked is whom the notification wakes: it stays there.
    stays: PhantomData<*const ()>,
}

impl Notify {
    /// Without a permit.
    pub const fn new() -> Notify {
        Notify(Signal::new())
    }

    /// Stands in line, or takes the permit if there is one. What is notified from here on is not
    /// missed: look at what you wait for between this and [`Notified::wait`].
    pub fn notified(&self) -> Notified<'_> {
        let ticket = self.0.enter(Unparker::current());
        Notified {
            notify: self,
            permit: ticket.is_none(),
            ticket,
            stays: PhantomData,
        }
    }

    /// Tells the one who has waited longest, or leaves a permit.
    ///
    /// # Examples
    ///
    /// ```
    /// let notify = tarae::sync::Notify::new();
    /// notify.notify_one();
    /// notify.notified().wait().unwrap();
    /// ```
    pub fn notify_one(&self) {
        if let Some(waiter) = self.0.tell_one(true) {
            waiter.unpark();
        }
    }

    /// Tells all who wait.
    pub fn notify_waiters(&self) {
        wake(self.0.tell_all());
    }
}

impl Notified<'_> {
    /// Waits to be told: parks the coroutine, blocks a plain thread.
    ///
    /// # Errors
    ///
    /// When the wait is cancelled.
    pub fn wait(self) -> Result<(), WaitError> {
        self.wait_for(Patience::cancellable(None))
    }

    /// As [`wait`](Notified::wait), until the deadline.
    ///
    /// # Errors
    ///
    /// When the wait is cancelled or the time is up.
    pub fn wait_until(self, deadline: Instant) -> Result<(), WaitError> {
        self.wait_for(Patience::cancellable(Some(deadline)))
    }

    fn wait_for(mut self, patience: Patience) -> Result<(), WaitError> {
        self.permit = false;
        let signal = &self.notify.0;
        let Some(ticket) = self.ticket.take() else {
            return Ok(());
        };
        if signal.collect(&ticket).is_some() {
            return Ok(());
        }
        let collect = |ticket: &Ticket| signal.collect(ticket);
        let withdraw = |ticket| signal.withdraw(ticket);
        wait(WaitReason::Condition, patience, ticket, collect, withdraw).map(drop)
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let told = self
            .ticket
            .take()
            .and_then(|ticket| self.notify.0.withdraw(ticket));
        if self.permit || told == Some(Told::Alone) {
            self.notify.notify_one();
        }
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}
