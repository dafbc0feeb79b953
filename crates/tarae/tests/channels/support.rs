//! What the tests share. Decides nothing itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/running.rs"]
mod running;

use std::time::Duration;

use guards::{Guard, guard_saying};
pub(crate) use running::run_on;
use tarae::inspect::{self, WaitReason};

/// Guards a test against hanging.
pub(crate) fn guard(what: &'static str) -> Guard {
    guard_saying(what, Duration::from_secs(120), || ())
}

pub(crate) fn soak() -> bool {
    std::env::var_os("TARAE_SOAK").is_some()
}

/// Yields until so many coroutines wait for `reason`.
pub(crate) fn until_waiting(reason: WaitReason, count: usize) {
    let patience = Duration::from_secs(10);
    let waits = |one: &inspect::Coroutine| one.waits_for == reason;
    while inspect::coroutines(patience)
        .iter()
        .filter(|one| waits(one))
        .count()
        < count
    {
        tarae::yield_now();
    }
}

/// Waits for plain threads without holding the worker up.
pub(crate) fn join_threads<T>(threads: Vec<std::thread::JoinHandle<T>>) -> Vec<T> {
    while !threads.iter().all(|thread| thread.is_finished()) {
        tarae::time::sleep(Duration::from_millis(1));
    }
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

/// Small random numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
