//! Tests of the runtime from outside, through its public surface: stacks, scheduling, waiting,
//! ending, leaks. One binary, run by `cargo test`; the sockets' own tests are next door in `net`.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging: a test that
//! makes no progress is named and ends the process (see `support::guard`).

mod abort;
mod bare;
mod dumps;
mod fairness;
mod hazards;
mod hooks;
mod locks;
mod pinning;
mod shutdown;
mod spawning;
mod stacks;
mod stragglers;
mod stress;
mod support;
mod waiting;
mod watchdog;
