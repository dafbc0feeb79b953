//! Which branch of a `select!` is taken, when several others decide: one word.
//!
//! Called by `sched::select`. No stacks, system calls or thread-locals in here.
//!
//! ```text
//!            arm                      claim(i): true
//!   POLLING ─────► WAITING ──────────────────────────────► i (claimed)
//!      │  ▲            │ end: None                            │ end: Some(i)
//!      │  └────────────┴──────────────────────────────────────┘
//!      │ claim(i): false
//!      └─────────► MISSED ── arm: false ──► POLLING
//! ```
//!
//! Invariants: only the select itself leaves POLLING, MISSED and a claim (`arm`, `end`); others
//! only claim. A claim succeeds at most once between `arm` and `end`, so one branch wins and the
//! others are given nothing. A claim that fails because the select is still looking around leaves
//! MISSED, so that it looks again before it waits: whoever failed need not come back.

use crate::atomics::{AtomicU32, Ordering};

const POLLING: u32 = u32::MAX;
const MISSED: u32 = u32::MAX - 1;
const WAITING: u32 = u32::MAX - 2;

#[derive(Debug)]
pub(crate) struct Choice(AtomicU32);

impl Choice {
    pub(crate) fn new() -> Choice {
        Choice(AtomicU32::new(POLLING))
    }

    /// Anybody: whether `branch` wins.
    pub(crate) fn claim(&self, branch: u32) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let next = match now {
                WAITING => branch,
                POLLING => MISSED,
                _ => return false,
            };
            match self
                .0
                .compare_exchange(now, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return now == WAITING,
                Err(changed) => now = changed,
            }
        }
    }

    /// The select: may wait now, unless somebody tried to claim it since it began to look around.
    pub(crate) fn arm(&self) -> bool {
        let armed = self
            .0
            .compare_exchange(POLLING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if armed.is_err() {
            self.0.store(POLLING, Ordering::Relaxed);
        }
        armed.is_ok()
    }

    /// The select: whether a branch has won, so that there is no point in waiting.
    pub(crate) fn is_claimed(&self) -> bool {
        self.0.load(Ordering::Acquire) != WAITING
    }

    /// The select: waits no longer. Gives the branch that has won.
    pub(crate) fn end(&self) -> Option<u32> {
        match self.0.swap(POLLING, Ordering::AcqRel) {
            WAITING => None,
            branch => Some(branch),
        }
    }
}
