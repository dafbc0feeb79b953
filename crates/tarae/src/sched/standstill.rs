//! The state in which nothing can ever run again.
//!
//! Called by each worker that is about to sleep without a bound. It reports once for each runtime
//! and ends nothing; `runtime` does that if it was asked to.
//!
//! A worker is *quiet* from before such a sleep until after it, if none of its coroutines waits for
//! the driver (a socket, a point in time) or for a job, and nobody is ready. A thread of a pool,
//! the watchdog's and the service thread are *bystanders* while they wait for something to do. One
//! word holds how many are quiet, and above that how often one has ceased to be; another one the
//! same of the bystanders of the process.
//!
//! Invariants: a worker that is woken ceases to be quiet before it takes its mail, and a bystander
//! ceases to be one when it is given something to do. So if both words are the same after looking
//! as before, all workers were quiet and all those bystanders idle meanwhile; and if the process
//! had no further thread at a moment in between, nothing was on its way from anybody but what lies
//! in the workers' mail or on offer, which is looked at last.
//!
//! A further thread may wake somebody, or not, and it may end: that is looked for again, every
//! second, by the worker that went quiet last.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::shared::Shared;

/// When to look again while there are other threads.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// How many are in a state, and how often one has left it.
#[derive(Debug)]
struct Members(AtomicU64);

const LEFT: u64 = 1 << 32;

impl Members {
    const fn new() -> Members {
        Members(AtomicU64::new(0))
    }

    fn enter(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn leave(&self) {
        self.0.fetch_add(LEFT - 1, Ordering::SeqCst);
    }

    fn word(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn count(word: u64) -> usize {
    (word % LEFT) as usize
}

static BYSTANDERS: Members = Members::new();

/// One of the runtime's own threads wakes nobody from now on until it is given something to do.
pub(crate) fn begin_idle() {
    BYSTANDERS.enter();
}

/// It is given something to do, or ends. By whoever does that, before it can go away itself.
pub(crate) fn end_idle() {
    BYSTANDERS.leave();
}

/// What a worker that went quiet has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Something may still happen, and will wake a worker.
    Life,
    /// Only other threads could make something happen.
    Others,
    /// Nothing can run again. Found once.
    Standstill,
}

#[derive(Debug)]
pub(super) struct Standstill {
    quiet: Members,
    reached: AtomicBool,
}

impl Standstill {
    pub(super) fn new() -> Standstill {
        Standstill {
            quiet: Members::new(),
            reached: AtomicBool::new(false),
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    /// The caller is quiet from now on.
    pub(super) fn enter(&self, workers: &[&'static Shared]) -> Found {
        let quiet = self.quiet.enter();
        if count(quiet) != workers.len() || self.is_reached() {
            return Found::Life;
        }
        super::deadlock::await_reports();
        let idle = BYSTANDERS.word();
        let own = workers.len() + count(idle);
        let alone = crate::sys::threads().is_ok_and(|count| count == own);
        let nothing = |worker: &&'static Shared| !worker.has_mail() && worker.offered.len() == 0;
        if !alone || BYSTANDERS.word() != idle {
            Found::Others
        } else if workers.iter().all(nothing)
            && self.quiet.word() == quiet
            && !self.reached.swap(true, Ordering::AcqRel)
        {
            Found::Standstill
        } else {
            Found::Life
        }
    }

    /// The caller has been woken.
    pub(super) fn leave(&self) {
        self.quiet.leave();
    }
}

/// Says so, and who waits for what, each worker for itself. Wakes all of them.
pub(super) fn report(workers: &[&'static Shared]) {
    eprintln!("tarae: deadlock: nothing can ever run again; these wait:");
    for worker in workers {
        worker.post(|there| eprint!("{}", there.describe_started()));
    }
}
