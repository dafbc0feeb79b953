//! `Barrier`: so many parties wait for each other.

use std::fmt;

use super::queue::Ticket;
use super::round::{Arrived, Round};
use super::wait::{Patience, WaitError, wait, wake};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// So many parties wait for each other, again and again: [`std::sync::Barrier`], whose `wait` parks
/// the coroutine in place of blocking its worker.
///
/// # Examples
///
/// ```
/// use tarae::sync::{Arc, Barrier};
///
/// tarae::run(|| {
///     let barrier = Arc::new(Barrier::new(3));
///     let parties: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = Arc::clone(&barrier);
///             tarae::spawn(move || barrier.wait().is_leader())
///         })
///         .collect();
///     let leaders = parties.into_iter().map(|party| party.join().unwrap());
///     assert_eq!(leaders.filter(|leader| *leader).count(), 1);
/// })
/// .unwrap();
/// ```
pub struct Barrier {
    round: Round<Unparker>,
    parties: usize,
}

/// What [`Barrier::wait`] gives; mirrors [`std::sync::BarrierWaitResult`], of which only std can
/// make one.
#[derive(Debug)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// True for one party of each round, the one that came last.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// For so many parties; nobody waits at a barrier for none or one.
    pub const fn new(parties: usize) -> Barrier {
        Barrier {
            round: Round::new(),
            parties,
        }
    }

    /// Waits until all parties are here. Not cancelled: its signature has no room for it.
    pub fn wait(&self) -> BarrierWaitResult {
        let waited = self.wait_for(Patience::ENDLESS);
        waited.expect("this wait has no other end")
    }

    /// As [`wait`](Barrier::wait), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended before all parties were here. The round then goes on without this one, and
    /// waits for another in its place.
    pub fn wait_cancellable(
        &self,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<BarrierWaitResult, WaitError> {
        self.wait_for(Patience::cancellable(deadline.into()))
    }

    fn wait_for(&self, patience: Patience) -> Result<BarrierWaitResult, WaitError> {
        let (arrived, wakes) = self.round.arrive(self.parties, Unparker::current());
        wake(wakes);
        let Arrived::Early(ticket) = arrived else {
            return Ok(BarrierWaitResult(true));
        };
        let collect = |ticket: &Ticket| self.round.collect(ticket);
        let withdraw = |ticket| self.round.withdraw(ticket);
        wait(WaitReason::Condition, patience, ticket, collect, withdraw)?;
        Ok(BarrierWaitResult(false))
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}
