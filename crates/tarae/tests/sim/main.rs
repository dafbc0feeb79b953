//! The simulation from outside, and under it what only shows when time and chance can be ordered:
//! scheduling, timers, connections. One binary, run by `cargo test`.
//!
//! Every test is a loop over seeds; one that fails names its seed. Nothing here waits for real.

mod clock;
mod faults;
mod network;
mod refused;
mod scheduling;
mod select;
mod stuck;
mod traces;

/// Runs `body` for as many seeds; soaking takes ten times as many.
pub(crate) fn seeds(count: u64, body: impl Fn(u64)) {
    let factor = if std::env::var_os("TARAE_SOAK").is_some() {
        10
    } else {
        1
    };
    (0..count * factor).for_each(body);
}
