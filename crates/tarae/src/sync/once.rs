//! `Once`: doing something once, while others wait until it is done.

use std::fmt;

use super::gate::{Begun, Gate};
use super::queue::Ticket;
use super::wait::{Patience, WaitError, wait, wake};
use crate::sched::{Unparker, WaitReason};
use crate::time::Instant;

/// Something that is done once: [`std::sync::Once`]. The closure may wait; whoever comes meanwhile
/// is
/// parked in place of blocking its worker. As with std's, a closure that calls its own `Once` waits
/// for itself.
///
/// # Examples
///
/// ```
/// use tarae::sync::Once;
///
/// static START: Once = Once::new();
///
/// tarae::run(|| {
///     START.call_once(|| tarae::yield_now());
///     START.call_once(|| unreachable!("it has been done"));
///     assert!(START.is_completed());
/// })
/// .unwrap();
/// ```
pub struct Once(Gate<Unparker>);

/// What the closure of [`Once::call_once_force`] gets; mirrors [`std::sync::OnceState`].
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether an earlier closure panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

/// Whether an earlier panic is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Poison {
    Panics,
    Ignored,
}

impl Once {
    /// It has not been done.
    pub const fn new() -> Once {
        Once(Gate::new())
    }

    /// Calls `f` if nobody has; returns when it has been done, by whomever. Waiting for another to
    /// do it is not cancelled: the signature has no room for it.
    ///
    /// # Panics
    ///
    /// With the panic of `f`, which poisons this; when it is poisoned.
    pub fn call_once(&self, f: impl FnOnce()) {
        let called = self.call(Poison::Panics, Patience::ENDLESS, |_| f());
        called.expect("this wait has no other end");
    }

    /// As [`call_once`](Once::call_once), after a panic too.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn call_once_force(&self, f: impl FnOnce(&OnceState)) {
        let called = self.call(Poison::Ignored, Patience::ENDLESS, f);
        called.expect("this wait has no other end");
    }

    /// As [`call_once`](Once::call_once), waiting for another until cancelled or until the
    /// deadline.
    ///
    /// # Errors
    ///
    /// When the wait ended before it had been done.
    ///
    /// # Panics
    ///
    /// As `call_once`.
    pub fn call_once_cancellable(
        &self,
        f: impl FnOnce(),
        deadline: impl Into<Option<Instant>>,
    ) -> Result<(), WaitError> {
        let patience = Patience::cancellable(deadline.into());
        self.call(Poison::Panics, patience, |_| f())
    }

    /// Waits until somebody has done it. Not cancelled.
    ///
    /// # Panics
    ///
    /// When it is poisoned.
    pub fn wait(&self) {
        let waited = self.await_done(Poison::Panics, Patience::ENDLESS);
        waited.expect("this wait has no other end");
    }

    /// As [`wait`](Once::wait), after a panic too.
    pub fn wait_force(&self) {
        let waited = self.await_done(Poison::Ignored, Patience::ENDLESS);
        waited.expect("this wait has no other end");
    }

    /// As [`wait`](Once::wait), until cancelled or until the deadline.
    ///
    /// # Errors
    ///
    /// When it ended before it had been done.
    ///
    /// # Panics
    ///
    /// As `wait`.
    pub fn wait_cancellable(&self, deadline: impl Into<Option<Instant>>) -> Result<(), WaitError> {
        self.await_done(Poison::Panics, Patience::cancellable(deadline.into()))
    }

    /// `call_once_force` that can be cancelled, for the cells.
    pub(super) fn call_force_cancellable(
        &self,
        f: impl FnOnce(&OnceState),
        deadline: Option<Instant>,
    ) -> Result<(), WaitError> {
        self.call(Poison::Ignored, Patience::cancellable(deadline), f)
    }

    /// `wait_force` that can be cancelled, for the cells.
    pub(super) fn wait_force_cancellable(
        &self,
        deadline: Option<Instant>,
    ) -> Result<(), WaitError> {
        self.await_done(Poison::Ignored, Patience::cancellable(deadline))
    }

    /// Whether it has been done.
    pub fn is_completed(&self) -> bool {
        self.0.is_done()
    }

    fn call(
        &self,
        poison: Poison,
        patience: Patience,
        f: impl FnOnce(&OnceState),
    ) -> Result<(), WaitError> {
        loop {
            match self.begin(true, poison) {
                Begun::Done => return Ok(()),
                Begun::Run { poisoned } => {
                    self.run(poisoned, f);
                    return Ok(());
                }
                Begun::Wait(ticket) => self.wait_in_line(patience, ticket)?,
                Begun::Poisoned => panic!("this `Once` is poisoned: an earlier call panicked"),
            }
        }
    }

    fn await_done(&self, poison: Poison, patience: Patience) -> Result<(), WaitError> {
        loop {
            match self.begin(false, poison) {
                Begun::Done => return Ok(()),
                Begun::Wait(ticket) => self.wait_in_line(patience, ticket)?,
                Begun::Poisoned => panic!("this `Once` is poisoned: an earlier call panicked"),
                Begun::Run { .. } => unreachable!("not asked for"),
            }
        }
    }

    fn begin(&self, run: bool, poison: Poison) -> Begun {
        if self.0.is_done() {
            return Begun::Done;
        }
        self.0
            .begin(run, poison == Poison::Ignored, Unparker::current)
    }

    fn wait_in_line(&self, patience: Patience, ticket: Ticket) -> Result<(), WaitError> {
        let collect = |ticket: &Ticket| self.0.collect(ticket);
        let withdraw = |ticket| self.0.withdraw(ticket);
        wait(WaitReason::Condition, patience, ticket, collect, withdraw).map(drop)
    }

    fn run(&self, poisoned: bool, f: impl FnOnce(&OnceState)) {
        /// Tells the others, a panic included.
        struct Finish<'a> {
            gate: &'a Gate<Unparker>,
            done: bool,
        }
        impl Drop for Finish<'_> {
            fn drop(&mut self) {
                wake(self.gate.finish(self.done));
            }
        }
        let mut finish = Finish {
            gate: &self.0,
            done: false,
        };
        f(&OnceState { poisoned });
        finish.done = true;
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poisoned = self.0.is_poisoned();
        f.debug_struct("Once")
            .field("completed", &self.is_completed())
            .field("poisoned", &poisoned)
            .finish()
    }
}
