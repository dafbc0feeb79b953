//! Tests of the offload pools from outside: calls, limits, cancellation, the end of a runtime,
//! names. One binary, run by `cargo test`.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging. The pools belong
//! to the process, so a test that counts threads or sets limits runs in a process of its own.

mod calls;
mod cancel;
mod limits;
mod names;
mod stress;
mod support;
