//! What the tests share: a watchdog, a process of one's own, many parties at once. Decides nothing
//! itself.

#[path = "../shared/guard.rs"]
mod guards;
#[path = "../shared/alone.rs"]
mod process;
#[path = "../shared/running.rs"]
mod running;

use std::sync::Arc;
use std::time::Duration;

use guards::guard_saying;
pub(crate) use process::{alone, alone_saying};
pub(crate) use running::{run_on, until};

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test; if it is stuck, names it and ends the process.
pub(crate) fn guarded<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    let _guard = guard_saying(name, PATIENCE, || ());
    test()
}

/// The parties of `contend`.
pub(crate) const PARTIES: usize = 12;

/// Runs `part` in 8 coroutines on 2 workers and on 4 plain threads at once.
pub(crate) fn contend(name: &'static str, part: impl Fn(usize) + Send + Sync + 'static) {
    let part = Arc::new(part);
    guarded(name, || {
        run_on(2, || {
            let own = |number| {
                let part = Arc::clone(&part);
                move || part(number)
            };
            let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(own(n))).collect();
            let coroutines: Vec<_> = (4..PARTIES).map(|n| tarae::spawn(own(n))).collect();
            for coroutine in coroutines {
                coroutine.join().unwrap();
            }
            for thread in threads {
                // What it has spawned may be on this worker.
                until(|| thread.is_finished());
                thread.join().unwrap();
            }
        });
    });
}
