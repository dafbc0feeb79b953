//! Tests of the locks and conditions of `sync` from outside: contention, order, cancellation,
//! surface, deadlocks. One binary, run by `cargo test`.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging.

mod cancel;
mod deadlock;
mod fairness;
mod stress;
mod support;
mod surface;
