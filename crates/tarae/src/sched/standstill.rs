//! The state in which nothing can ever run again.
//!
//! Called by each worker that is about to sleep without a bound. It reports once for each runtime
//! and ends nothing; `runtime` does that if it was asked to.
//!
//! A worker is *quiet* from before such a sleep until after it, if none of its coroutines waits for
//! the driver (a socket, a point in time) or for a job, and nobody is ready. One word holds how
//! many
//! are quiet, and above that how often one has ceased to be.
//!
//! Invariants: a worker that is woken ceases to be quiet before it takes its mail. So if all are
//! quiet, none has mail or unstarted coroutines on offer, and the word is the same after looking as
//! before, then there was a moment in which nobody ran and nothing was on its way. What could still
//! come could come from another thread only: then this says nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::shared::Shared;

const CEASED: u64 = 1 << 32;

#[derive(Debug)]
pub(super) struct Standstill {
    word: AtomicU64,
    reached: AtomicBool,
}

impl Standstill {
    pub(super) fn new() -> Standstill {
        Standstill {
            word: AtomicU64::new(0),
            reached: AtomicBool::new(false),
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    /// The caller is quiet from now on. True for the one that finds that nothing can run again.
    pub(super) fn enter(&self, workers: &[&'static Shared]) -> bool {
        let word = self.word.fetch_add(1, Ordering::SeqCst) + 1;
        let nothing = |worker: &&'static Shared| !worker.has_mail() && worker.offered.len() == 0;
        word % CEASED == workers.len() as u64
            && !self.is_reached()
            && workers.iter().all(nothing)
            && super::deadlock::await_reports()
            && crate::sys::threads().is_ok_and(|count| count == workers.len())
            && self.word.load(Ordering::SeqCst) == word
            && !self.reached.swap(true, Ordering::AcqRel)
    }

    /// The caller has been woken.
    pub(super) fn leave(&self) {
        self.word.fetch_add(CEASED - 1, Ordering::SeqCst);
    }
}

/// Says so, and who waits for what, each worker for itself. Wakes all of them.
pub(super) fn report(workers: &[&'static Shared]) {
    eprintln!("tarae: deadlock: nothing can ever run again; these wait:");
    for worker in workers {
        worker.post(|there| eprint!("{}", there.describe_started()));
    }
}
