//! Waiting in one of the lines of `sync`: the only place where its locks park.
//!
//! Called by every primitive but the channels. It must never be entered with a lock of ours held.

use std::fmt;
use std::io;
use std::time::Instant;

use super::permits::{Entered, Grant, Permits, Refused};
use super::queue::{Ticket, Wakes};
use crate::driver::Wake;
use crate::sched::{self, Cancel, Unparker, WaitReason, context};
use crate::{Cancelled, time};

/// Why a wait that can be cancelled ended without what it was for.
///
/// Nothing has happened then: whoever had got what it waited for at that moment gets it.
///
/// # Examples
///
/// ```
/// use tarae::sync::Mutex;
/// use tarae::time::{Duration, Instant};
///
/// let lock = Mutex::new(1);
/// let held = lock.lock().unwrap();
/// let soon = Instant::now() + Duration::from_millis(1);
/// assert!(lock.lock_cancellable(soon).unwrap_err().is_timeout());
/// drop(held);
/// assert_eq!(*lock.lock_cancellable(None).unwrap().unwrap(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitError(bool);

impl WaitError {
    pub(super) fn of(wake: Wake) -> WaitError {
        WaitError(wake == Wake::TimedOut)
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.0
    }

    /// The wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        !self.0
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            true => f.write_str("the time was up"),
            false => Cancelled.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}

impl From<WaitError> for io::Error {
    fn from(error: WaitError) -> io::Error {
        if error.is_timeout() {
            io::Error::new(io::ErrorKind::TimedOut, error)
        } else {
            io::Error::other(Cancelled)
        }
    }
}

/// How a wait may end without what it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    deadline: Option<Instant>,
    cancel: Cancel,
}

impl Patience {
    /// Never: of the calls that have no error to give.
    pub(super) const ENDLESS: Patience = Patience {
        deadline: None,
        cancel: Cancel::No,
    };

    /// With the deadline, but not by cancellation.
    pub(super) fn uncancelled(deadline: Option<Instant>) -> Patience {
        Patience {
            deadline,
            cancel: Cancel::No,
        }
    }

    /// By cancellation, and with the deadline if there is one.
    pub(super) fn cancellable(deadline: Option<time::Instant>) -> Patience {
        Patience {
            deadline: deadline.map(Instant::from),
            cancel: Cancel::Yes,
        }
    }
}

/// Parks until `collect` gives what the wait is for. When the wait ends otherwise, `withdraw` says
/// what had come until then: that counts.
pub(super) fn wait<G>(
    reason: WaitReason,
    patience: Patience,
    ticket: Ticket,
    collect: impl Fn(&Ticket) -> Option<G>,
    withdraw: impl FnOnce(Ticket) -> Option<G>,
) -> Result<G, WaitError> {
    loop {
        let wake = sched::park(reason, patience.deadline, patience.cancel);
        if wake != Wake::Ready {
            let grant = withdraw(ticket);
            if grant.is_some() && patience.cancel == Cancel::Yes {
                context::succeeded(patience.deadline, wake);
            }
            return grant.ok_or(WaitError::of(wake));
        }
        if let Some(grant) = collect(&ticket) {
            return Ok(grant);
        }
    }
}

/// Takes permits, now or in turn.
pub(super) fn acquire(
    permits: &Permits<Unparker>,
    count: u64,
    reason: WaitReason,
    patience: Patience,
) -> Result<Grant, WaitError> {
    match permits.try_take(count) {
        Ok(()) => return Ok(Grant::Taken),
        Err(Refused::Closed) => return Ok(Grant::Closed),
        Err(Refused::TooFew) => {}
    }
    match permits.enter(count, Unparker::current()) {
        Entered::Done(grant) => Ok(grant),
        Entered::InLine(ticket) => {
            let collect = |ticket: &Ticket| permits.collect(ticket);
            wait(reason, patience, ticket, collect, |ticket| {
                let (grant, wakes) = permits.withdraw(ticket);
                wake(wakes);
                grant
            })
        }
    }
}

/// Gives permits back and wakes who gets them.
#[inline]
pub(super) fn give(permits: &Permits<Unparker>, count: u64) {
    if !permits.try_give(count) {
        wake(permits.give_in_line(count));
    }
}

/// Wakes those who have been granted what they wait for.
pub(super) fn wake(wakes: Wakes<Unparker>) {
    wakes.into_iter().for_each(Unparker::unpark_last);
}
