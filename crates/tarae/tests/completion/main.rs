//! Tests of asynchronous calls from outside: who processes a result and on which thread, for every
//! starter and every way of collecting; ends; the queue; simulated runs. One binary, run by
//! `cargo test`; what counts allocations is another one.
//!
//! Every outcome is decided by causes, counts and order. Time only bounds hanging.

mod ends;
mod queue;
mod simulated;
mod stress;
mod support;
mod threads;
mod unix;
