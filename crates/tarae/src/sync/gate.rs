//! Something that is done once: the state machine of `Once`, and through it of `OnceLock` and
//! `LazyLock`.
//!
//! Called by `once`. No stacks, system calls or thread-locals in here, so that the model checker
//! can
//! run it.
//!
//! ```text
//!   NEW ──────────── begin ──────────► RUNNING ── finish(true) ───► DONE
//!   POISONED ── begin(poison is no matter) ─┘ └── finish(false) ──► POISONED
//! ```
//!
//! Invariants: between `begin` that gave `Run` and its `finish` nobody else runs. What was done
//! before `finish(true)` is seen by who sees DONE. Whoever waits has entered the line before it
//! looked at the state, and `finish` stores the state before it tells the line: nobody waits for an
//! end that has been.

use super::queue::{Ticket, Wakes};
use super::signal::{Signal, Told};
use crate::atomics::{AtomicU32, Ordering, const_fn};

const NEW: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;
const POISONED: u32 = 3;

#[derive(Debug)]
pub(crate) struct Gate<W> {
    state: AtomicU32,
    line: Signal<W>,
}

/// What the caller of `begin` is to do.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It has been done.
    Done,
    /// Do it, then `finish`.
    Run {
        /// Somebody failed at it.
        poisoned: bool,
    },
    /// Somebody failed at it.
    Poisoned,
    /// Somebody is doing it: wait to be told, then begin again.
    Wait(Ticket),
}

impl<W> Gate<W> {
    const_fn! {
        pub(crate) fn new() -> Gate<W> {
            Gate {
                state: AtomicU32::new(NEW),
                line: Signal::new(),
            }
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == POISONED
    }

    /// Does it, or joins the line of those who wait until it is done. `run`: whether the caller
    /// would do it itself; one that would not waits for others to come.
    pub(crate) fn begin(&self, run: bool, ignore_poison: bool, waiter: impl Fn() -> W) -> Begun {
        loop {
            match self.state.load(Ordering::Acquire) {
                DONE => return Begun::Done,
                POISONED if !ignore_poison => return Begun::Poisoned,
                state @ (NEW | POISONED) if run => {
                    if self.exchange(state) {
                        let poisoned = state == POISONED;
                        return Begun::Run { poisoned };
                    }
                }
                state => {
                    let Some(ticket) = self.line.enter(waiter()) else {
                        unreachable!("nobody leaves permits here")
                    };
                    if self.state.load(Ordering::Acquire) == state {
                        return Begun::Wait(ticket);
                    }
                    self.line.withdraw(ticket);
                }
            }
        }
    }

    fn exchange(&self, from: u32) -> bool {
        self.state
            .compare_exchange(from, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The one who ran has ended. Those who wait look again.
    pub(crate) fn finish(&self, done: bool) -> Wakes<W> {
        let state = if done { DONE } else { POISONED };
        self.state.store(state, Ordering::Release);
        self.line.tell_all()
    }

    /// See `Signal::collect`.
    pub(crate) fn collect(&self, ticket: &Ticket) -> Option<Told> {
        self.line.collect(ticket)
    }

    /// See `Signal::withdraw`.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<Told> {
        self.line.withdraw(ticket)
    }
}
