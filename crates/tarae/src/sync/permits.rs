//! A fair number of permits: the state machine of `Mutex` (one), `RwLock` (a writer takes all) and
//! `Semaphore`.
//!
//! Called by those. No stacks, system calls or thread-locals in here, so that the model checker can
//! run it.
//!
//! One word: the free permits, and two flags.
//!
//! ```text
//!   QUEUED  somebody is in line: nobody may take or give but under the line's lock
//!   CLOSED  for good: nobody gets any more
//!
//!   try_take, try_give    QUEUED unset: one compare-and-swap, no lock
//!   enter                 under the lock: take, or set QUEUED and stand in line
//!   give_in_line, withdraw  under the lock: while there is enough for the first in line, it is
//!                         granted; QUEUED is unset with the last
//! ```
//!
//! Invariants: between two holders of the lock, QUEUED is set exactly if the line is not empty, and
//! then the first in line asks for more than is free. So nobody passes anybody, a large request is
//! served like a small one, and permits that come while somebody waits go from hand to hand: they
//! are never free for one who came later. Who leaves the line without a grant makes room for those
//! behind it. What was done before permits are given is seen after the `try_take`, `enter` or
//! `collect` that
//! gets those permits.

use std::sync::PoisonError;

use super::queue::{Queue, Ticket, Wakes};
use crate::atomics::{AtomicU64, Mutex, MutexGuard, Ordering, const_fn};

const QUEUED: u64 = 1;
const CLOSED: u64 = 2;
const ONE: u64 = 4;

/// As many permits as there can be.
pub(crate) const ALL: u64 = u64::MAX / ONE;

#[derive(Debug)]
pub(crate) struct Permits<W> {
    word: AtomicU64,
    line: Mutex<Queue<W, Grant>>,
}

/// How a wait in line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// The permits are the waiter's.
    Taken,
    /// There will be none.
    Closed,
}

/// Why `try_take` took none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    TooFew,
    Closed,
}

/// What came of `enter`.
#[derive(Debug)]
pub(crate) enum Entered {
    Done(Grant),
    InLine(Ticket),
}

impl<W> Permits<W> {
    const_fn! {
        pub(crate) fn new(free: u64) -> Permits<W> {
            Permits {
                word: AtomicU64::new(free * ONE),
                line: Mutex::new(Queue::new()),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Queue<W, Grant>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are free.
    pub(crate) fn free(&self) -> u64 {
        self.word.load(Ordering::Acquire) / ONE
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Takes permits if they are there and nobody is in line.
    #[inline]
    pub(crate) fn try_take(&self, count: u64) -> Result<(), Refused> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if word & QUEUED != 0 || word / ONE < count {
                return Err(Refused::TooFew);
            }
            match self.exchange(word, word - count * ONE) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes permits, or stands in line for them.
    pub(crate) fn enter(&self, count: u64, waiter: W) -> Entered {
        let mut line = self.line();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Entered::Done(Grant::Closed);
            }
            let enough = word & QUEUED == 0 && word / ONE >= count;
            let next = if enough {
                word - count * ONE
            } else {
                word | QUEUED
            };
            match self.exchange(word, next) {
                Ok(()) if enough => return Entered::Done(Grant::Taken),
                Ok(()) => return Entered::InLine(line.push(waiter, count)),
                Err(now) => word = now,
            }
        }
    }

    /// Gives permits, back or new, if nobody is in line; else `give_in_line` does.
    ///
    /// # Panics
    ///
    /// When there would be more than `ALL`.
    #[inline]
    pub(crate) fn try_give(&self, count: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            match self.exchange(word, more(word, count)) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives permits to whom they go, after `try_give` has refused to.
    ///
    /// # Panics
    ///
    /// As `try_give`.
    #[cold]
    pub(crate) fn give_in_line(&self, count: u64) -> Wakes<W> {
        let mut line = self.line();
        let mut word = self.word.load(Ordering::Relaxed);
        // The line may have emptied before the lock was ours.
        while let Err(now) = self.exchange(word, more(word, count)) {
            word = now;
        }
        self.serve(&mut line)
    }

    /// Grants whatever can be granted, in turn.
    fn serve(&self, line: &mut Queue<W, Grant>) -> Wakes<W> {
        let mut wakes = Wakes::none();
        while let Some(need) = line.oldest_need() {
            // With QUEUED set, only the holder of the lock changes the word.
            if self.word.load(Ordering::Relaxed) / ONE < need {
                return wakes;
            }
            self.word.fetch_sub(need * ONE, Ordering::AcqRel);
            if let Some(waiter) = line.grant_oldest(Grant::Taken) {
                wakes.add(waiter);
            }
        }
        self.word.fetch_and(!QUEUED, Ordering::AcqRel);
        wakes
    }

    /// How the wait ended, if it has; the place is given back then.
    pub(crate) fn collect(&self, ticket: &Ticket) -> Option<Grant> {
        self.line().collect(ticket)
    }

    /// Gives the place back; gives the grant if one had come.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> (Option<Grant>, Wakes<W>) {
        let mut line = self.line();
        let grant = line.withdraw(ticket);
        let wakes = match grant {
            Some(_) => Wakes::none(),
            None => self.serve(&mut line),
        };
        (grant, wakes)
    }

    /// Refuses all who wait and all who come.
    pub(crate) fn close(&self) -> Wakes<W> {
        let mut line = self.line();
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
        let wakes = line.grant_all(Grant::Closed);
        self.word.fetch_and(!QUEUED, Ordering::AcqRel);
        wakes
    }

    #[inline]
    fn exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
    }
}

#[inline]
fn more(word: u64, count: u64) -> u64 {
    assert!(
        word / ONE <= ALL - count.min(ALL) && count <= ALL,
        "more permits than a semaphore can have"
    );
    word + count * ONE
}
